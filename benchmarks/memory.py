"""The memory of the processes that run batches, while they run many: `innomaint sync` and its workers."""

from __future__ import annotations

import statistics
import tempfile

from benchmarks.place import INNOMAINT, TOKEN, Place, Scale, import_serials
from benchmarks.report import Row
from innomaint_pipeline.simulator.innomaint.world import World

_BATCHES = {Scale.DEFAULT: 30, Scale.FULL: 150}
_BATCH_SIZE = 100
_TARGET_MIB = 300
# Growth between the first third and the last that is no leak: arenas, caches of plans and statements.
_FLAT = 1.1


def run(place: Place, scale: str) -> list[Row]:
    """Sync many batches unthrottled and watch; the tiny scale leaves it out, Dagster alone takes longer."""
    if scale == Scale.TINY:
        return []
    batches = _BATCHES[scale]
    with (
        tempfile.TemporaryDirectory(prefix="imb-") as folder,
        place.database() as (url, database),
        place.simulator(batches * _BATCH_SIZE) as simulator,
    ):
        import_serials(database, World(batches * _BATCH_SIZE).serials, batch_size=_BATCH_SIZE)
        place.postgres.ensure_database("measured_dagster_memory")
        ended = place.run(
            [*INNOMAINT, "sync", "--json"],
            INNOMAINT_HOME=folder,
            IC3_DATABASE_URL=url,
            DAGSTER_PG_URL=place.postgres.url("measured_dagster_memory"),
            INNOMAINT_API_URL=simulator.url,
            INNOMAINT_API_TOKEN=TOKEN,
            INNOMAINT_RATE_MS="0",
        )
    if ended.json["success"] != batches * _BATCH_SIZE:
        raise RuntimeError(f"the sync ended with {ended.json}")
    growths, peaks = [], []
    for samples in ended.samples.values():
        # Workers are those that live long and hold Dagster.
        if len(samples) > 60 and max(samples) > 100:
            third = len(samples) // 3
            working = samples[third:]
            part = len(working) // 3
            growths.append(statistics.median(working[-part:]) / statistics.median(working[:part]))
            peaks.append(max(samples))
    growth = max(growths)
    return [
        Row(
            "memory of a process that runs batches",
            f"<= {_TARGET_MIB} MiB",
            f"{max(peaks):.0f} MiB",
            "-",
            f"{batches} batches of {_BATCH_SIZE}, {len(peaks)} processes",
            max(peaks) <= _TARGET_MIB,
            {"peaks_mib": peaks},
        ),
        Row(
            "its growth while batch follows batch",
            f"flat: <= {_FLAT}x",
            f"{growth:.2f}x",
            "-",
            f"{batches} batches; last part of the samples against an earlier one",
            growth <= _FLAT,
            {"growths": growths},
        ),
    ]
