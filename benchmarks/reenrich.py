"""Enriching stored answers without a request: the first time, and once more. Shows growth end to end."""

from __future__ import annotations

import time

from benchmarks.answers import enrich_all, store_answers
from benchmarks.place import BATCH_SIZE, Place, Scale, import_serials
from benchmarks.report import Row, exponent
from innomaint_pipeline.simulator.innomaint.world import World

_SIZES = {
    Scale.TINY: (60,),
    Scale.DEFAULT: (1_000, 10_000),
    Scale.FULL: (1_000, 10_000, 100_000),
}
_TARGET_PER_SECOND, _TARGET_SIZE = 5000, 100_000


def run(place: Place, scale: str) -> list[Row]:
    """Apply and rebuild at each size."""
    sizes = _SIZES[scale]
    first, again = [], []
    for size in sizes:
        with place.database() as (_, database):
            world = World(size)
            import_serials(database, world.serials)
            store_answers(database, world)
            first.append(_seconds(lambda d=database: enrich_all(d, "first", is_rebuild=False)))
            again.append(_seconds(lambda d=database: enrich_all(d, "again", is_rebuild=True)))
    scaled = f"{sizes[-1]:,} answers" + ("" if scale == Scale.FULL else " (full: 100,000)")
    scaled += f", batches of {BATCH_SIZE}"
    rows = []
    for name, seconds in (("re-enrich stored answers", again), ("enrich stored answers, first time", first)):
        # Starting the processes is a second, which a tenth of the answers pays as much as all of them.
        rate = sizes[-1] / seconds[-1]
        is_target = seconds is again
        growth = f"grows with n^{exponent(sizes, seconds):.2f}" if len(sizes) > 1 else "-"
        rows.append(
            Row(
                name,
                f">= {_TARGET_PER_SECOND:,}/s of {_TARGET_SIZE:,}" if is_target else "-",
                f"{rate:,.0f}/s",
                growth,
                scaled,
                rate >= _TARGET_PER_SECOND if is_target and sizes[-1] == _TARGET_SIZE else None,
                {"sizes": sizes, "seconds": seconds},
            )
        )
    return rows


def _seconds(work: object) -> float:
    began = time.perf_counter()
    work()  # type: ignore[operator]
    return time.perf_counter() - began
