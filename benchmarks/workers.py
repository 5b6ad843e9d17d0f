"""Two workers with a home each, as two machines: how soon they sync everything together, at one pace."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.place import (
    INNOMAINT,
    NOTE_STARTS,
    PROJECT,
    TOKEN,
    Place,
    Scale,
    count_synced,
    find_free_port,
    find_noted_pauses_ms,
    find_pauses_ms,
    import_serials,
    keep_running,
    serials_of,
    wait_until,
)
from benchmarks.report import Row
from benchmarks.servers import running_postgres, running_redis
from innomaint_pipeline.domain.pacing import START_TOLERANCE_SECONDS

_SIZE = 600
_RATE_MS = 50
_TARGET_SECONDS = 180
_MACHINES = ("first", "second")
_SHIPPED = PROJECT / "deploy" / "celery"


def run(place: Place, scale: str) -> list[Row]:
    """Let two workers sync everything; the tiny scale leaves it to the tests, which kill one of them too."""
    if scale == Scale.TINY:
        return []
    with (
        tempfile.TemporaryDirectory(prefix="imb-") as folder,
        running_redis(Path(folder)) as (broker, _),
        running_postgres(Path(folder), password=TOKEN) as server,
        place.simulator(_SIZE) as simulator,
        server.database("ic3") as database,
    ):
        import_serials(database, serials_of(_SIZE))
        with database.begin() as connection:
            connection.exec_driver_sql(NOTE_STARTS)
        server.ensure_database("dagster")
        variables = place.environment(
            IC3_DATABASE_URL=database.url,
            DAGSTER_PG_URL=server.url("dagster"),
            INNOMAINT_BROKER_URL=broker,
            INNOMAINT_API_URL=simulator.url,
            INNOMAINT_API_TOKEN=TOKEN,
            INNOMAINT_RATE_MS=str(_RATE_MS),
        )
        ports = ["--port", str(find_free_port()), "--admin-port", str(find_free_port())]
        homes = {name: Path(folder) / name for name in _MACHINES}
        with ExitStack() as stack:
            began = time.monotonic()
            started = [stack.enter_context(_running(homes["first"], variables, ["up", *ports]))]
            started += [stack.enter_context(_running(home, variables, ["worker"])) for home in homes.values()]
            wait_until(lambda: count_synced(database) == _SIZE, "all are synced", started, Path(folder))
            seconds = time.monotonic() - began
        runs = {name: _count_runs(home / "logs" / "worker.log") for name, home in homes.items()}
        pauses = find_noted_pauses_ms(database)
        record = simulator.requests()
    return list(_rows(record, pauses, seconds, runs))


def _rows(
    record: dict[str, Any], pauses: Sequence[float], seconds: float, runs: dict[str, int]
) -> Iterator[Row]:
    scale = f"{_SIZE} assets at {_RATE_MS} ms, two workers with a home each"
    yield Row(
        "all synced by two workers, from the start of everything",
        f"<= {_TARGET_SECONDS} s",
        f"{seconds:.0f} s",
        "-",
        scale,
        seconds <= _TARGET_SECONDS,
    )
    yield Row(
        "runs of each worker",
        ">= 1",
        " and ".join(str(count) for count in runs.values()),
        "-",
        scale,
        all(runs.values()),
    )
    requests = record["requests"]
    times = Counter(Counter(item["serial"] for item in requests).values())
    yield Row(
        "assets asked once",
        str(_SIZE),
        str(times[1]),
        "-",
        scale,
        times == {1: _SIZE},
        {"assets by times asked": dict(times)},
    )
    yield Row(
        "least time between two starts, by the clock of both",
        f">= {_RATE_MS} ms, less 2 ms of a timer",
        f"{pauses[0]:.1f} ms",
        "-",
        scale,
        pauses[0] >= _RATE_MS - 1000 * START_TOLERANCE_SECONDS,
    )
    # A request that travels for longer than the one behind it arrives nearer to that.
    arrivals = find_pauses_ms([item["monotonic_seconds"] for item in requests])
    yield Row(
        "least time between two arrivals, by the source's record",
        "-",
        f"{arrivals[0]:.1f} ms; at most {record['summary']['max_in_any_second']} in a second",
        "-",
        scale,
        None,
        {"least_ms": [round(pause, 1) for pause in arrivals[:20]]},
    )


@contextmanager
def _running(
    home: Path, variables: dict[str, str], arguments: Sequence[str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in the folder of a machine, which has the files that are shipped and is its home."""
    home.mkdir(exist_ok=True)
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(_SHIPPED / name, home)
    command, log = [*INNOMAINT, *arguments], home / f"{arguments[0]}.log"
    environment = variables | {"INNOMAINT_HOME": str(home)}
    with keep_running(command, folder=home, environment=environment, log=log) as process:
        yield process


def _count_runs(log: Path) -> int:
    """Return how many runs a worker has executed to their end."""
    return log.read_text("utf-8", "replace").count("RUN_SUCCESS") if log.exists() else 0
