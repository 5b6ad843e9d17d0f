"""The share of the allowed rate over a whole continuous sync: real daemon, sensor, queue, run workers."""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.place import (
    INNOMAINT,
    PROJECT,
    TOKEN,
    Place,
    Scale,
    find_free_port,
    import_serials,
    keep_running,
)
from benchmarks.rate import rate_shares
from benchmarks.report import Row
from innomaint_pipeline.domain.innomaint import SOURCE
from innomaint_pipeline.simulator.innomaint.world import World
from innomaint_pipeline.store.settings import SYNC_INTERVAL_SECONDS, save_setting

_SIZES = {Scale.DEFAULT: 500, Scale.FULL: 2957}
_RATE_MS = 200
_TARGET = 0.95
_LONGEST_SECONDS = 1800


def run(place: Place, scale: str) -> list[Row]:
    """Let `innomaint up` sync everything, first request to last; the tiny scale leaves it to the tests."""
    if scale == Scale.TINY:
        return []
    size = _SIZES[scale]
    with (
        tempfile.TemporaryDirectory(prefix="imb-") as folder,
        place.database() as (url, database),
        place.simulator(size, latency=0.8, faults=0.02) as simulator,
    ):
        import_serials(database, World(size).serials)
        with database.begin() as connection:
            save_setting(connection, SOURCE, SYNC_INTERVAL_SECONDS, 30)
        place.postgres.ensure_database("measured_dagster")
        environment = place.environment(
            INNOMAINT_HOME=folder,
            IC3_DATABASE_URL=url,
            DAGSTER_PG_URL=place.postgres.url("measured_dagster"),
            INNOMAINT_API_URL=simulator.url,
            INNOMAINT_API_TOKEN=TOKEN,
            INNOMAINT_RATE_MS=str(_RATE_MS),
        )
        log = Path(folder) / "up.log"
        ports = ["--port", str(find_free_port()), "--admin-port", str(find_free_port())]
        up = [*INNOMAINT, "up", *ports]
        with keep_running(up, folder=PROJECT, environment=environment, log=log) as process:
            _wait(process, simulator, size, log)
        record = simulator.requests()
    shares = rate_shares(record["requests"], 1000 / _RATE_MS)
    return [
        Row(
            "share of the allowed rate, continuous sync under the daemon",
            f">= {_TARGET}",
            f"{shares['whole']:.3f}; up to the last first request {shares['steady']:.3f}",
            "-",
            f"{size:,} assets at 5/s" + ("" if scale == Scale.FULL else " (full: 2,957)"),
            shares["whole"] >= _TARGET,
            {
                "shares": shares,
                "requests": len(record["requests"]),
                "most_in_a_second": record["summary"]["max_in_any_second"],
            },
        )
    ]


def _wait(process: subprocess.Popen[bytes], simulator: object, size: int, log: Path) -> None:
    deadline = time.monotonic() + _LONGEST_SECONDS
    quiet_since: float | None = None
    known = 0
    while True:
        if process.poll() is not None:
            raise RuntimeError(f"innomaint up ended: {log.read_text('utf-8', 'replace')[-2000:]}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"after {_LONGEST_SECONDS} s {known} requests had come for {size} assets")
        record = simulator.requests()  # type: ignore[attr-defined]
        count = record["summary"]["requests"]
        if count != known or record["summary"]["serials"] < size:
            known, quiet_since = count, time.monotonic()
        elif quiet_since is not None and time.monotonic() - quiet_since > 8:
            return
        time.sleep(1)
