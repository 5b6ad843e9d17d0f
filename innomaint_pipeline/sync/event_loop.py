"""Requests in an event loop that runs in a thread of its own.

A signal's exception, which Python raises in the main thread, thus never lands inside the loop: the main
thread cancels the loop, and what had arrived is stored.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any


def run_in_thread(work: Coroutine[Any, Any, None], check: Callable[[], None]) -> None:
    """Run a coroutine to its end, asking `check` now and then, which raises what is to stop it.

    What stops it, that or an exception of the main thread, cancels it and is raised when it has ended.
    """
    loop = asyncio.new_event_loop()
    task = loop.create_task(work)
    # An exception that interrupts Thread.join makes CPython 3.11 take the thread for ended.
    ended = threading.Event()

    def run() -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(asyncio.wait({task}))
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            loop.close()
            ended.set()

    thread = threading.Thread(target=run, name="requests", daemon=True)
    thread.start()
    try:
        while not ended.wait(0.2):
            check()
    except BaseException:
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(task.cancel)
        ended.wait()
        raise
    thread.join()
    task.result()
