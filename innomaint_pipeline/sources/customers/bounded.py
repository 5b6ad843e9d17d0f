"""A process of its own for what touches a stranger's file or a share that may hang: how it starts and ends.

Belongs here: both sides of that process, whatever it does. It gets no environment, ends with its parent, and
holds to bounds of processor time and memory.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import sys
import threading
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import innomaint_pipeline

LONGEST_LINE_BYTES = 8 * 2**20
# As an argument list, in isolated mode: neither the environment nor the working folder has a say.
_START = (
    "import sys; from importlib import import_module; sys.path.insert(0, sys.argv[1]); "
    "import_module(sys.argv[2]).main()"
)
_ROOT = str(Path(innomaint_pipeline.__file__).parents[1])
_PR_SET_PDEATHSIG = 1
_KILLED_SECONDS = 5


async def start_process(module: str, order: dict[str, Any]) -> Process:
    """Start `main` of a module in a process of its own, for which `take_order` returns the order."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-c", _START, _ROOT, module, str(os.getpid()), json.dumps(order)),
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL,
        env={key: value for key in ("SYSTEMROOT",) if (value := os.environ.get(key))},
        limit=LONGEST_LINE_BYTES,
        start_new_session=True,
    )


async def end_processes(processes: Iterable[Process]) -> None:
    """Kill what still runs, and leave no pipe behind; nobody else may be reading from them any more.

    What cannot be killed, since the system waits for a dead share, is left to itself.
    """
    for process in processes:
        kill_process(process)
        with suppress(TimeoutError):
            async with asyncio.timeout(_KILLED_SECONDS):
                await process.communicate()


def kill_process(process: Process) -> None:
    """Kill a process if it still runs, without taking its exit code from whoever waits for it.

    `Process.kill` takes it where the process has just ended: its watcher then reports the code 255.
    """
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


def take_order() -> dict[str, Any]:
    """Return the order, in the process that was started; from now on it ends with its parent."""
    parent, order = sys.argv[3:5]
    _end_with_parent(int(parent))
    return json.loads(order)


def limit_itself(*, cpu_seconds: int, memory_mb: int) -> None:
    """Bound this process, where the system has such limits."""
    try:
        import resource  # noqa: PLC0415 # not on Windows
    except ImportError:
        return
    for kind, limit in (
        (resource.RLIMIT_AS, memory_mb * 2**20),
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_CORE, 0),
    ):
        soft, hard = resource.getrlimit(kind)
        known = [it for it in (soft, hard, limit) if it != resource.RLIM_INFINITY]
        # The hard limit stays: beyond the soft one of processor time the system sends SIGXCPU, whose meaning
        # is known, beyond the hard one SIGKILL.
        with suppress(ValueError, OSError):
            resource.setrlimit(kind, (min(known), hard))


def say(kind: str, content: object) -> None:
    """Write a line of JSON to standard output."""
    sys.stdout.write(json.dumps({kind: content}, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def _end_with_parent(parent: int) -> None:
    """End when the parent does, also where it is killed: Linux tells it, elsewhere the closed pipe does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
    threading.stack_size(256 * 1024)
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    with suppress(OSError):
        os.read(0, 1)
    os._exit(1)
