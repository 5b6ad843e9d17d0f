"""Processes that `innomaint up` keeps running: started, watched, started again, stopped together.

A process that ends by itself is started again; one that ends too often ends the whole, with the reason. On
POSIX each has a session of its own, so that Ctrl-C in the terminal reaches only `up`, which then stops them
in order. Every process carries, with all that it starts, the home that it is kept for: what an `up` that was
killed has left is found by that, without a file that could be lost.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psutil

from innomaint_pipeline.cli.output import say
from innomaint_pipeline.embedded.watch import bound_log, wait_for_end
from innomaint_pipeline.errors import InnomaintPipelineError

_STOP_SECONDS = 15.0
# Before each restart one pause more than before the last, up to five.
_PAUSE_SECONDS = 1.0
_MOST_RESTARTS = 5
_WITHIN_SECONDS = 300
_KEPT_FOR = "INNOMAINT_KEPT_FOR"


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

    A process gets `stop_seconds` to end before it is killed.
    """

    def __init__(
        self, home: Path, *, stop_seconds: float = _STOP_SECONDS, pause_seconds: float = _PAUSE_SECONDS
    ) -> None:
        self._stop_seconds = stop_seconds
        self._pause_seconds = pause_seconds
        self._home = home
        self._logs = home / "logs"
        self._processes: list[KeptProcess] = []

    def __enter__(self) -> Self:
        self._logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        running = [item.running for item in self._processes if item.running and item.running.poll() is None]
        # Found first, to wait for them as well: what they had started, like runs under way.
        children = find_kept(self._home)
        for process in running:
            process.terminate()
        deadline = time.monotonic() + self._stop_seconds
        for process in reversed(running):
            _end(process, deadline)
        _kill_after(children, deadline)

    def start(self, process: KeptProcess) -> None:
        """Start a process and keep it from now on."""
        self._processes.append(process)
        self._launch(process)

    def look(self) -> None:
        """Start again what has ended, and cut logs that are long.

        Raise `ChildEndedError` for what ends again and again.
        """
        for process in self._processes:
            log = self._logs / f"{process.name}.log"
            bound_log(log)
            if process.running is None or process.running.poll() is None:
                continue
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
        is_posix = sys.platform != "win32"
        with path.open("ab") as log:
            process.running = subprocess.Popen(  # noqa: S603 # our own interpreter and modules
                process.command,
                env={**os.environ, **process.variables, _KEPT_FOR: str(self._home)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=is_posix,
                creationflags=0 if is_posix else subprocess.CREATE_NEW_PROCESS_GROUP,  # pyright: ignore[reportAttributeAccessIssue]
            )


def find_kept(home: Path) -> list[psutil.Process]:
    """Return every process that is kept for a home, and what they have started, whoever started them."""
    found = []
    for process in psutil.process_iter():
        # Those of other people may not be looked at.
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.environ().get(_KEPT_FOR) == str(home):
                found.append(process)
    return found


def end_leftovers(home: Path, *, stop_seconds: float = _STOP_SECONDS) -> None:
    """End what an `up` of this home has left that was killed; the caller holds the home."""
    left = find_kept(home)
    if not left:
        return
    say(f"Ending {len(left)} processes that an earlier innomaint up has left.")
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _kill_after(left, time.monotonic() + stop_seconds)


def _end(process: subprocess.Popen[bytes], deadline: float) -> None:
    try:
        process.wait(max(deadline - time.monotonic(), 0.1))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _kill_after(processes: list[psutil.Process], deadline: float) -> None:
    for process in wait_for_end(processes, max(deadline - time.monotonic(), 0.1)):
        with suppress(psutil.NoSuchProcess):
            process.kill()
