"""The CPU of `innomaint up` while nothing is to be done, beside a bare `dagster dev` with one sensor."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from benchmarks.place import INNOMAINT, PROJECT, TOKEN, Place, Scale, find_free_port, keep_running
from benchmarks.report import Row

_SECONDS = {Scale.TINY: 5, Scale.DEFAULT: 60, Scale.FULL: 300}
_QUIET_SECONDS = 45
_START_SECONDS = 180
_TARGET = 1.3
_BARE = """
import dagster as dg

@dg.op
def nothing(): ...

@dg.job
def idle(): nothing()

@dg.sensor(job=idle, minimum_interval_seconds=30, default_status=dg.DefaultSensorStatus.RUNNING)
def one(): return dg.SkipReason("nothing to do")

defs = dg.Definitions(jobs=[idle], sensors=[one])
"""
_PARTS = ("webserver", "_daemon", "code_server", "serve", "postgres")


def run(place: Place, scale: str) -> list[Row]:
    """Let both rest side by side and count the CPU that they use."""
    seconds = _SECONDS[scale]
    with tempfile.TemporaryDirectory(prefix="imb-") as folder, place.database() as (url, _):
        place.postgres.ensure_database("rest_dagster")
        ours, theirs = Path(folder) / "ours", Path(folder) / "theirs"
        ours.mkdir()
        theirs.mkdir()
        (theirs / "bare.py").write_text(_BARE, encoding="utf-8")
        variables = place.environment(
            INNOMAINT_HOME=str(ours),
            IC3_DATABASE_URL=url,
            DAGSTER_PG_URL=place.postgres.url("rest_dagster"),
            INNOMAINT_API_URL="http://127.0.0.1:9/",
            INNOMAINT_API_TOKEN=TOKEN,
        )
        port, bare_port = find_free_port(), find_free_port()
        up = [*INNOMAINT, "up", "--port", str(port), "--admin-port", str(find_free_port())]
        bare = [sys.executable, "-m", "dagster", "dev", "-f", "bare.py", "-p", str(bare_port)]
        bare_variables = place.environment(DAGSTER_HOME=str(theirs))
        with (
            _running(up, PROJECT, variables, port, ours / "up.log") as used_up,
            _running(bare, theirs, bare_variables, bare_port, theirs / "dev.log") as used_bare,
        ):
            time.sleep(_QUIET_SECONDS)
            before = Counter(used_up()), Counter(used_bare())
            time.sleep(seconds)
            parts = {name: used - before[0][name] for name, used in used_up().items()}
            used = sum(parts.values())
            bare_used = sum(used_bare().values()) - sum(before[1].values())
    return [
        Row(
            "CPU of innomaint up at rest",
            f"<= {_TARGET}x a bare dagster dev with one sensor",
            f"{100 * used / seconds:.1f} % of a core",
            f"{used / bare_used:.2f}x ({100 * bare_used / seconds:.1f} %)",
            f"{seconds} s, side by side; PostgreSQL's own is not counted",
            used / bare_used <= _TARGET,
            {"seconds_by_part": {name: round(value, 2) for name, value in parts.items()}},
        )
    ]


@contextmanager
def _running(
    command: Sequence[str], folder: Path, environment: dict[str, str], port: int, log: Path
) -> Iterator[Callable[[], dict[str, float]]]:
    """Run a program until the end; yield what returns the seconds of CPU that its parts have used."""
    with keep_running(command, folder=folder, environment=environment, log=log) as process:
        _wait_for_webserver(process, port)
        yield lambda: _count_seconds(process.pid)


def _count_seconds(pid: int) -> dict[str, float]:
    """Return the seconds of CPU by part, those of processes that have ended with their parent."""
    root = psutil.Process(pid)
    used: Counter[str] = Counter()
    for process in [root, *root.children(recursive=True)]:
        with suppress(psutil.Error):
            line, times = " ".join(process.cmdline()), process.cpu_times()
            name = next((part for part in _PARTS if part in line), "keeper" if process == root else "other")
            used[name] += times.user + times.system + times.children_user + times.children_system
    return dict(used)


def _wait_for_webserver(process: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        with suppress(OSError, ValueError):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=10) as answer:
                json.load(answer)
            return
        time.sleep(0.5)
    raise RuntimeError(f"no webserver answered at port {port} within {_START_SECONDS} s")
