"""`innomaint up`: database, Dagster's webserver and daemon, until Ctrl-C (spec 04)."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from innomaint_pipeline.cli.environment import export_for_dagster, open_database, project_folder
from innomaint_pipeline.cli.output import say
from innomaint_pipeline.errors import ConfigurationError, InnomaintPipelineError
from innomaint_pipeline.settings import Settings
from innomaint_pipeline.store.upgrade import upgrade_database

_READY_SECONDS = 120
_STOP_SECONDS = 20
_HOST = "127.0.0.1"


class ChildEndedError(InnomaintPipelineError):
    """A process that should run on has ended."""


def run_up(settings: Settings, *, is_demo: bool, port: int) -> None:
    """Start everything, say where it is, and wait; raise `ChildEndedError` when a part ends by itself."""
    with ExitStack() as stack:
        if is_demo:
            from innomaint_pipeline.cli.demo import demo_environment

            settings = stack.enter_context(demo_environment(settings, has_outage=False))
        settings.require_token()
        database, addresses = stack.enter_context(open_database(settings))
        for line in upgrade_database(database, batch_size=settings.innomaint_batch_size):
            say(line)
        export_for_dagster(settings, addresses)
        _refuse_taken_port(port)
        logs = settings.home / "logs"
        webserver = ["dagster_webserver", "-h", _HOST, "-p", str(port)]
        children = {
            "webserver": stack.enter_context(_child("webserver", webserver, logs)),
            "daemon": stack.enter_context(_child("daemon", ["dagster._daemon", "run"], logs)),
        }
        with interruptible():
            address = f"http://{_HOST}:{port}"
            _wait_until(lambda: _answers(f"{address}/server_info"), children, logs)
            say(f"Ready: Dagster's UI is at {address} (logs in {logs}). Ctrl-C stops everything.")
            while True:
                _check(children, logs)
                time.sleep(1)


def _refuse_taken_port(port: int) -> None:
    import socket

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            raise ConfigurationError(
                f"port {port} on {_HOST} is taken: stop what uses it (another innomaint up?), or give --port"
            ) from None


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextmanager
def _child(name: str, module_and_arguments: list[str], logs: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Python module beside us, in a process group of its own; ended, with what it started, at the end."""
    logs.mkdir(parents=True, exist_ok=True)
    is_posix = sys.platform != "win32"
    with (logs / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 # our own interpreter and modules
            [sys.executable, "-m", *module_and_arguments],
            cwd=project_folder(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=is_posix,
            creationflags=0 if is_posix else subprocess.CREATE_NEW_PROCESS_GROUP,  # pyright: ignore[reportAttributeAccessIssue]
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 # our own loopback address
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def _check(children: dict[str, subprocess.Popen[bytes]], logs: Path) -> None:
    for name, process in children.items():
        if process.poll() is not None:
            raise ChildEndedError(
                f"Dagster's {name} ended by itself (exit {process.returncode}); the reason stands in {logs / name}.log"
            )


def _wait_until(
    is_ready: Callable[[], bool], children: dict[str, subprocess.Popen[bytes]], logs: Path
) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not is_ready():
        _check(children, logs)
        if time.monotonic() > deadline:
            raise ChildEndedError(f"Dagster's webserver was not ready after {_READY_SECONDS} s; see {logs}")
        time.sleep(0.3)
