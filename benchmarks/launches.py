"""The CPU of a run that our code server forks, beside one that Dagster's own spawns."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import dagster as dg
import psutil

from benchmarks.place import PROJECT, Place, Scale, find_free_port, keep_running
from benchmarks.report import Row

_RUNS = {Scale.TINY: 1, Scale.DEFAULT: 3, Scale.FULL: 20}
_TARGET = 0.5
_LIMIT_SECONDS = 180
_SERVERS = {
    "forked": ["-m", "innomaint_pipeline.cli.code_server"],
    "spawned": ["-m", "dagster", "api", "grpc"],
}
# Without a daemon, runs start at once.
_DAGSTER = "run_coordinator: {module: dagster.core.run_coordinator, class: DefaultRunCoordinator}\n"


def run(place: Place, scale: str) -> list[Row]:
    """Launch runs of housekeeping at both servers in turn; the first of each does not count."""
    runs = _RUNS[scale]
    with tempfile.TemporaryDirectory(prefix="imb-") as folder, place.database() as (url, _):
        variables = place.environment(IC3_DATABASE_URL=url, INNOMAINT_HOME=folder, DAGSTER_HOME=folder)
        Path(folder, "dagster.yaml").write_text(_DAGSTER, encoding="utf-8")
        used = {
            name: _count_seconds(server, variables, Path(folder), runs) for name, server in _SERVERS.items()
        }
        with dg.DagsterInstance.from_config(folder) as instance:
            ended = instance.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS]))
        if ended != len(_SERVERS) * (runs + 1):
            raise RuntimeError(f"{ended} runs succeeded of {len(_SERVERS) * (runs + 1)}")
    return [
        Row(
            "CPU of a small run, forked by our code server",
            f"<= {_TARGET} of one that Dagster spawns",
            f"{used['forked']:.2f} s",
            f"{used['forked'] / used['spawned']:.2f} ({used['spawned']:.2f} s)",
            f"{runs} runs of housekeeping each",
            used["forked"] / used["spawned"] <= _TARGET,
        )
    ]


def _count_seconds(server: list[str], variables: dict[str, str], folder: Path, runs: int) -> float:
    """Return the mean seconds of CPU of a run."""
    with _running(server, variables, folder) as (process, workspace):
        _launch(process, workspace, variables)
        before = _used_below(process)
        for _ in range(runs):
            _launch(process, workspace, variables)
        return (_used_below(process) - before) / runs


@contextmanager
def _running(
    server: list[str], variables: dict[str, str], folder: Path
) -> Iterator[tuple[psutil.Process, Path]]:
    port = find_free_port()
    workspace = folder / f"{port}.yaml"
    workspace.write_text(f"load_from: [grpc_server: {{host: 127.0.0.1, port: {port}}}]\n", encoding="utf-8")
    command = [sys.executable, *server, "-h", "127.0.0.1", "-p", str(port)]
    command += ["-m", "innomaint_pipeline.definitions"]
    log = folder / f"{port}.log"
    with keep_running(command, folder=PROJECT, environment=variables, log=log) as process:
        deadline = time.monotonic() + _LIMIT_SECONDS
        while socket.socket().connect_ex(("127.0.0.1", port)) != 0:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(
                    f"the code server did not start: {log.read_text('utf-8', 'replace')[-2000:]}"
                )
            time.sleep(0.2)
        yield psutil.Process(process.pid), workspace


def _launch(server: psutil.Process, workspace: Path, variables: dict[str, str]) -> None:
    """Launch a run and wait until its process has ended."""
    before = {process.pid for process in server.children(recursive=True)}
    launch = [sys.executable, "-m", "dagster", "job", "launch", "-w", str(workspace), "-j", "housekeeping"]
    subprocess.run(launch, env=variables, cwd=PROJECT, check=True, capture_output=True)
    deadline = time.monotonic() + _LIMIT_SECONDS
    while _executing(server) - before:
        if time.monotonic() > deadline:
            raise RuntimeError("a run did not end")
        time.sleep(0.1)


def _executing(server: psutil.Process) -> set[int]:
    """Return the processes below a server that may execute a run: neither what forks them nor what tracks."""
    found = set()
    for process in server.children(recursive=True):
        with suppress(psutil.Error):
            line = " ".join(process.cmdline())
            is_helper = "resource_tracker" in line or ("forkserver" in line and process.ppid() == server.pid)
            if process.status() != psutil.STATUS_ZOMBIE and not is_helper:
                found.add(process.pid)
    return found


def _used_below(server: psutil.Process) -> float:
    """Return the seconds of CPU of all below a server, those that have ended too."""
    times = server.cpu_times()
    seconds = times.children_user + times.children_system
    for process in server.children(recursive=True):
        with suppress(psutil.Error):
            times = process.cpu_times()
            seconds += times.user + times.system + times.children_user + times.children_system
    return seconds
