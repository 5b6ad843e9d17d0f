"""Processes that execute batch runs, a few at a time, for `innomaint sync`.

Each takes batch after batch, so that while one batch ends the next one's requests start. Where the system can
fork, all are copies of one process that has imported Dagster, which costs more than a small batch. A worker
whose parent is gone cancels its run and ends; a worker that dies is reported, and its batch left to the
caller.
"""

from __future__ import annotations

import _thread
import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from innomaint_pipeline.cli.code_server import open_forking_context
from innomaint_pipeline.cli.output import write_output_to
from innomaint_pipeline.embedded.server import join
from innomaint_pipeline.embedded.watch import bound_log
from innomaint_pipeline.errors import InnomaintPipelineError
from innomaint_pipeline.store.readiness import find_dagster_trouble

if TYPE_CHECKING:
    from innomaint_pipeline.cli.innomaint.runs import RunExecutor

WORKERS = 3
_POLL_SECONDS = 0.3
_END_SECONDS = 40.0
_BLOCKED = {signal.SIGINT, signal.SIGTERM}
_IMPORTED_BEFORE = ["innomaint_pipeline.cli.innomaint.runs", "innomaint_pipeline.definitions"]


@dataclass(frozen=True)
class BatchTask:
    """One run of `sync_batch` to execute."""

    partition_key: str
    run_config: Mapping[str, Any]
    tags: Mapping[str, str]


@dataclass(frozen=True)
class LostWorker:
    """A worker process ended without a result, killed or crashed; its run was of this batch."""

    partition_key: str
    exit_code: int | None


@dataclass(frozen=True)
class _Started:
    """What a worker process says when it takes tasks, or why it cannot, with the exit code of that."""

    pid: int
    problem: str | None = None
    exit_code: int = 1


class WorkerStartError(InnomaintPipelineError):
    """A worker process could not start: no batch was begun, and the next one would fail alike."""


def _cancel_when_told_or_orphaned(executor: RunExecutor, is_cancelled: Any) -> None:
    parent = multiprocessing.parent_process()
    while (parent is None or parent.is_alive()) and not is_cancelled.is_set():
        time.sleep(_POLL_SECONDS)
    try:
        # Without this Dagster takes the interrupt for a crash, which its daemon answers with another run.
        executor.report_canceling()
    finally:
        _thread.interrupt_main()


def _open_context() -> Any:
    """Return what starts processes: where it can, as forks of one that has imported what each needs."""
    context = open_forking_context(_IMPORTED_BEFORE)
    if context is None:
        return multiprocessing.get_context("spawn")
    # What is forked from it must be able to end in order when the whole group is told to end.
    usual = signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, usual)
    return context


def _work(
    tasks: Any,
    results: Any,
    is_cancelled: Any,
    home: Path,
    environment: Mapping[str, str],
    *,
    embedded_home: Path | None,
) -> None:
    """Take tasks until there is a None; runs in a process of its own."""
    # What it is forked from may have been started before a variable was set.
    os.environ.clear()
    os.environ.update(environment)
    # Ctrl-C reaches the parent alone, which then has the runs under way cancelled, once.
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _BLOCKED)
    log = home / "logs" / "sync-workers.log"
    try:
        write_output_to(log)
        if embedded_home is not None:
            # An orphan still has to give its lease back.
            join(embedded_home)
        from innomaint_pipeline.cli.innomaint.runs import RunExecutor

        executor = RunExecutor()
    except Exception as error:
        if not isinstance(error, InnomaintPipelineError):
            error = find_dagster_trouble(error, os.environ["DAGSTER_PG_URL"]) or error
        code = error.exit_code if isinstance(error, InnomaintPipelineError) else 1
        results.put(_Started(os.getpid(), f"{type(error).__name__}: {error}", code))
        raise
    results.put(_Started(os.getpid()))
    watch = threading.Thread(target=_cancel_when_told_or_orphaned, args=(executor, is_cancelled), daemon=True)
    watch.start()
    parent = multiprocessing.parent_process()
    while parent is None or parent.is_alive():
        try:
            task: BatchTask | None = tasks.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            continue
        if task is None:
            return
        bound_log(log)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            result = executor.execute(
                "sync_batch", partition_key=task.partition_key, run_config=task.run_config, tags=task.tags
            )
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        results.put(result)


class WorkerPool:
    """A fixed number of worker processes; use it as a context manager.

    Their log is in `home`; `embedded_home` is that of the embedded server where they use it.
    """

    def __init__(self, home: Path, *, embedded_home: Path | None, size: int = WORKERS) -> None:
        self._home = home
        self._embedded_home = embedded_home
        self._context = _open_context()
        self._size = size
        self._results: Any = self._context.Queue()
        self._is_cancelled: Any = self._context.Event()
        self._workers: list[tuple[BaseProcess, Any]] = []
        self._busy: dict[int, BatchTask] = {}
        self._started: set[int] = set()
        self._unread: list[Any] = []
        self._is_finishing = False

    def __enter__(self) -> Self:
        for _ in range(self._size):
            self._workers.append(self._start())
        return self

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        if error_type is not None:
            self.cancel()
        for _process, tasks in self._workers:
            tasks.put(None)
        deadline = time.monotonic() + _END_SECONDS
        for process, _tasks in self._workers:
            process.join(max(deadline - time.monotonic(), 0.1))
            if process.is_alive():
                process.kill()
                process.join()

    def _start(self) -> tuple[BaseProcess, Any]:
        tasks = self._context.Queue()
        process = self._context.Process(
            target=_work,
            args=(
                tasks,
                self._results,
                self._is_cancelled,
                self._home,
                dict(os.environ),
            ),
            kwargs={"embedded_home": self._embedded_home},
            daemon=True,
        )
        process.start()
        return process, tasks

    def cancel(self) -> None:
        """Cancel the runs under way; what they stored is kept."""
        self._is_cancelled.set()

    def finish(self) -> None:
        """Begin no further task; `execute` still yields the results of those under way."""
        self._is_finishing = True

    def execute(self, tasks: Sequence[BatchTask]) -> Iterator[Any]:
        """Execute tasks in order, a few at a time; yield a `RunResult` or a `LostWorker` for each as it ends.

        Yields None about three times a second while nothing ends, so that the caller can show progress or
        stop: tasks not yet begun are dropped when the caller stops iterating. Raises `WorkerStartError`.
        """
        waiting = list(tasks)
        while self._busy or (waiting and not self._is_finishing):
            for index, (process, channel) in enumerate(self._workers):
                pid = process.pid or 0
                if not process.is_alive():
                    self._refuse_false_start(process)
                    lost = self._busy.pop(pid, None)
                    self._workers[index] = self._start()
                    if lost is not None:
                        yield LostWorker(lost.partition_key, process.exitcode)
                elif pid not in self._busy and waiting and not self._is_finishing:
                    task = waiting.pop(0)
                    self._busy[pid] = task
                    channel.put(task)
            try:
                result = self._unread.pop(0) if self._unread else self._results.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                yield None
                continue
            if isinstance(result, _Started):
                self._note_start(result)
                continue
            for pid, task in list(self._busy.items()):
                if task.partition_key == result.partition_key:
                    del self._busy[pid]
            yield result

    def _note_start(self, started: _Started) -> None:
        if started.problem is not None:
            refusal = WorkerStartError(
                f"a worker process could not start: {started.problem}; nothing was begun"
            )
            refusal.exit_code = started.exit_code
            raise refusal
        self._started.add(started.pid)

    def _refuse_false_start(self, process: BaseProcess) -> None:
        """Raise `WorkerStartError` for a process that ended by itself before it took a task."""
        # A signal has ended one that was killed.
        if process.pid in self._started or process.exitcode is None or process.exitcode < 0:
            return
        while True:
            # What it had to say may not be read yet.
            try:
                said = self._results.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                break
            if isinstance(said, _Started):
                self._note_start(said)
            else:
                self._unread.append(said)
        if process.pid not in self._started:
            raise WorkerStartError(
                f"a worker process could not start (exit {process.exitcode}); the reason stands in "
                f"{self._home / 'logs'}"
            )
