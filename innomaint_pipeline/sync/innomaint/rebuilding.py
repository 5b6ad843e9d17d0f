"""Many batches from their stored answers, without a request (docs/how-it-works.md).

Belongs here: sharing batches out to processes. What is done to one is `sync.innomaint.steps.enrich_batch`.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache
from zoneinfo import ZoneInfo

from innomaint_pipeline.errors import InnomaintPipelineError
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.sync.innomaint.batch import BatchRun
from innomaint_pipeline.sync.innomaint.steps import EnrichReport, enrich_batch

# Reading answers keeps one core busy, and threads would share it. A process of its own starts in half a
# second, in which this one rebuilds a dozen batches.
_FEW_BATCHES = 20
_MOST_PROCESSES = 4


@dataclass(frozen=True)
class RebuildTask:
    """A batch to rebuild by the run `run_id`."""

    batch_key: str
    run_id: str
    refresh_minutes: int


def rebuild_batches(
    database: Database, tasks: Sequence[RebuildTask], timezone: ZoneInfo, *, processes: int | None = None
) -> Iterator[tuple[RebuildTask, EnrichReport]]:
    """Rebuild the tables of batches and yield each report in the order given.

    Few are rebuilt in this process, many by up to `processes` others, by default one for each core and at
    most four; each holds one page of answers. An error, or the end of the caller's interest, lets the batches
    under way end and begins no other.
    """
    count = processes or min(os.cpu_count() or 1, _MOST_PROCESSES)
    if count == 1 or (processes is None and len(tasks) <= _FEW_BATCHES):
        for task in tasks:
            yield task, _rebuild(database, task, timezone)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_prepare_process)
    try:
        futures = [pool.submit(_rebuild_elsewhere, database.url, task, timezone) for task in tasks]
        for task, future in zip(tasks, futures, strict=True):
            yield task, future.result()
    except BrokenProcessPool as error:
        raise InnomaintPipelineError(
            "a process that rebuilt batches was killed; what was done is kept: run innomaint enrich again"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _rebuild(database: Database, task: RebuildTask, timezone: ZoneInfo) -> EnrichReport:
    run = BatchRun(database, task.batch_key, task.run_id, task.refresh_minutes)
    return enrich_batch(run, timezone, is_rebuild=True, is_last_step=True)


def _rebuild_elsewhere(url: str, task: RebuildTask, timezone: ZoneInfo) -> EnrichReport:
    return _rebuild(_open_once(url), task, timezone)


@cache
def _open_once(url: str) -> Database:
    return Database(url)


def _prepare_process() -> None:
    # Ctrl-C is the parent's, which lets the batches under way end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_when_orphaned, daemon=True).start()


def _end_when_orphaned() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        # The lease of the batch under way expires by itself, like that of any killed run.
        os._exit(1)
