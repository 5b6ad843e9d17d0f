"""How long a command takes to start, and what loading the definitions costs on top of Dagster."""

from __future__ import annotations

import statistics
import sys

from benchmarks.place import INNOMAINT, Place, Scale
from benchmarks.report import Row, spread

_ROUNDS = {Scale.TINY: 1, Scale.DEFAULT: 7, Scale.FULL: 15}
_STATUS_SECONDS, _IMPORT_SECONDS = 1.0, 0.2
# dagster.yaml makes every process of Dagster load its PostgreSQL storage, and SQLAlchemy with it.
_DEFINITIONS = (
    "import time; a = time.perf_counter(); import dagster, dagster_postgres; b = time.perf_counter(); "
    "import innomaint_pipeline.definitions; print(b - a, time.perf_counter() - b)"
)


def run(place: Place, scale: str) -> list[Row]:
    """Start `innomaint status` and load the definitions a few times; the medians count."""
    rounds = _ROUNDS[scale]
    with place.database() as (url, _):
        command = [sys.executable, "-X", "importtime", *INNOMAINT[1:], "status", "--json"]
        traced = place.run(command, IC3_DATABASE_URL=url).err
        has_dagster = any(line.split("|")[-1].strip().startswith("dagster") for line in traced.splitlines())
        status = [place.run([*INNOMAINT, "status", "--json"], IC3_DATABASE_URL=url) for _ in range(rounds)]
        bare = [place.run([sys.executable, "-c", "pass"]) for _ in range(rounds)]
    loads = [place.run([sys.executable, "-c", _DEFINITIONS]).out.split() for _ in range(rounds)]
    theirs, ours = ([float(load[number]) for load in loads] for number in (0, 1))
    seconds = [ended.seconds for ended in status]
    times = statistics.median(seconds) / statistics.median(ended.seconds for ended in bare)
    return [
        Row(
            "start of innomaint status",
            f"<= {_STATUS_SECONDS:g} s, without Dagster",
            spread(seconds, " s") + (", imports Dagster" if has_dagster else ", no Dagster"),
            f"{times:.1f}x an empty Python",
            f"{rounds} rounds",
            statistics.median(seconds) <= _STATUS_SECONDS and not has_dagster,
        ),
        Row(
            "loading the definitions, on top of Dagster and its storage",
            f"<= {_IMPORT_SECONDS} s",
            spread(ours, " s"),
            f"{statistics.median(ours) / statistics.median(theirs):.2f} of Dagster's own",
            f"{rounds} rounds",
            statistics.median(ours) <= _IMPORT_SECONDS,
        ),
    ]
