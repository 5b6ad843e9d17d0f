"""Processes that `innomaint up` keeps running: started, watched, started again, stopped together.

A process that ends by itself is started again; one that ends too often ends the whole, with the reason. On
POSIX each has a session of its own, so that Ctrl-C in the terminal reaches only `up`, which then stops them
in order.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

import psutil

from innomaint_pipeline.cli.environment import project_folder
from innomaint_pipeline.cli.output import say
from innomaint_pipeline.embedded.watch import ProcessIdentity, identify_process
from innomaint_pipeline.errors import InnomaintPipelineError

_STOP_SECONDS = 15.0
# Before each restart one pause more than before the last, up to five.
_PAUSE_SECONDS = 1.0
_MOST_RESTARTS = 5
_WITHIN_SECONDS = 300
_LOG_LIMIT_BYTES = 20 * 1024 * 1024


class ChildEndedError(InnomaintPipelineError):
    """A process that should run on has ended too often."""


@dataclass
class KeptProcess:
    """A process to keep running, and when it was started again.

    `name` is that of its log, `title` what people call it; `variables` are for it alone.
    """

    name: str
    command: list[str]
    title: str
    variables: dict[str, str] = field(default_factory=dict, repr=False)
    restarts: deque[float] = field(default_factory=deque)
    running: subprocess.Popen[bytes] | None = None


class ProcessKeeper:
    """Keeps processes running; use it as a context manager, which stops them at the end.

    Which processes run stands in a file of the home, so that those of an `up` that was killed are ended by
    the next. A process gets `stop_seconds` to end before it is killed.
    """

    def __init__(
        self, home: Path, *, stop_seconds: float = _STOP_SECONDS, pause_seconds: float = _PAUSE_SECONDS
    ) -> None:
        self._stop_seconds = stop_seconds
        self._pause_seconds = pause_seconds
        self._logs = home / "logs"
        self._register = home / "processes.json"
        self._processes: list[KeptProcess] = []

    def __enter__(self) -> Self:
        self._logs.mkdir(parents=True, exist_ok=True)
        _end_leftovers(self._register, self._stop_seconds)
        return self

    def __exit__(self, *_: object) -> None:
        running = [item.running for item in self._processes if item.running and item.running.poll() is None]
        # Found first: who has ended no longer knows what it had started, like runs under way.
        children = [child for process in running for child in _children(process.pid)]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + self._stop_seconds
        for process in reversed(running):
            _end(process, deadline)
        _kill_after(children, deadline)
        self._register.unlink(missing_ok=True)

    def start(self, process: KeptProcess) -> None:
        """Start a process and keep it from now on."""
        self._processes.append(process)
        self._launch(process)

    def look(self) -> None:
        """Start again what has ended; raise `ChildEndedError` for what ends again and again."""
        for process in self._processes:
            if process.running is None or process.running.poll() is None:
                continue
            log = self._logs / f"{process.name}.log"
            now = time.monotonic()
            while process.restarts and now - process.restarts[0] > _WITHIN_SECONDS:
                process.restarts.popleft()
            if len(process.restarts) >= _MOST_RESTARTS:
                raise ChildEndedError(
                    f"{process.title} ended {_MOST_RESTARTS + 1} times within {_WITHIN_SECONDS // 60} "
                    f"minutes (exit {process.running.returncode}); the reason stands in {log}"
                )
            say(f"{process.title} ended (exit {process.running.returncode}) and is started again; see {log}")
            process.restarts.append(now)
            time.sleep(min(len(process.restarts) - 1, 5) * self._pause_seconds)
            self._launch(process)

    def _launch(self, process: KeptProcess) -> None:
        path = self._logs / f"{process.name}.log"
        if path.exists() and path.stat().st_size > _LOG_LIMIT_BYTES:
            path.replace(path.with_suffix(".old.log"))
        is_posix = sys.platform != "win32"
        with path.open("ab") as log:
            process.running = subprocess.Popen(  # noqa: S603 # our own interpreter and modules
                process.command,
                cwd=project_folder(),
                env={**os.environ, **process.variables},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=is_posix,
                creationflags=0 if is_posix else subprocess.CREATE_NEW_PROCESS_GROUP,  # pyright: ignore[reportAttributeAccessIssue]
            )
        running = []
        for item in self._processes:
            with suppress(psutil.NoSuchProcess):
                if item.running is not None:
                    running.append(asdict(identify_process(item.running.pid)))
        # Replaced as a whole: half a register would leave every process behind.
        written = self._register.with_suffix(".new")
        written.write_text(json.dumps(running), encoding="utf-8")
        written.replace(self._register)


def _end_leftovers(register: Path, stop_seconds: float) -> None:
    if not register.exists():
        return
    left = []
    try:
        registered = [ProcessIdentity(**entry) for entry in json.loads(register.read_text(encoding="utf-8"))]
    except (ValueError, TypeError):
        say(f"{register} cannot be read: processes of an earlier innomaint up may still run")
        registered = []
    for identity in registered:
        with suppress(psutil.NoSuchProcess):
            if identity.is_alive():
                process = psutil.Process(identity.pid)
                left += [process, *process.children(recursive=True)]
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _kill_after(left, time.monotonic() + stop_seconds)


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _end(process: subprocess.Popen[bytes], deadline: float) -> None:
    try:
        process.wait(max(deadline - time.monotonic(), 0.1))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _kill_after(processes: list[psutil.Process], deadline: float) -> None:
    for process in psutil.wait_procs(processes, timeout=max(deadline - time.monotonic(), 0.1))[1]:
        with suppress(psutil.NoSuchProcess):
            process.kill()
