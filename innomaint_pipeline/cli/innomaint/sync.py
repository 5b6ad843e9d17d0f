"""`innomaint sync`: a selection of CMMS assets, synced as Dagster runs, one for each batch."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

from innomaint_pipeline.cli.engine import find_engine, require_engine
from innomaint_pipeline.cli.environment import export_for_dagster, open_database, project_folder
from innomaint_pipeline.cli.innomaint.asking import ShowProgress, ask_for_sync
from innomaint_pipeline.cli.innomaint.status import describe_seconds, innomaint_account
from innomaint_pipeline.cli.innomaint.workers import WORKERS, BatchTask, LostWorker, WorkerPool
from innomaint_pipeline.cli.output import people, say
from innomaint_pipeline.domain.innomaint import SOURCE
from innomaint_pipeline.domain.innomaint.batches import LEASES
from innomaint_pipeline.domain.innomaint.selection import (
    SYNC_REQUESTS,
    SyncOptions,
    SyncResult,
    is_of_everything,
)
from innomaint_pipeline.domain.requests import is_given_up
from innomaint_pipeline.settings import Settings
from innomaint_pipeline.store.database import Connection, Database, find_now
from innomaint_pipeline.store.innomaint.batch_rows import sum_batch_rows
from innomaint_pipeline.store.innomaint.outcome_log import count_unlogged
from innomaint_pipeline.store.innomaint.progress import COMMANDS, count_asked, load_progress, selected_by
from innomaint_pipeline.store.innomaint.selection import Plan, count_sync, plan_sync
from innomaint_pipeline.store.leases import find_leases, forget_expired, report_progress
from innomaint_pipeline.store.lock_waits import LockTeller
from innomaint_pipeline.store.requests import OwnRequest, finish_own_request, open_own_request
from innomaint_pipeline.store.rows import describe_refusals
from innomaint_pipeline.store.settings import load_refresh_minutes
from innomaint_pipeline.sync.holding import Claim, hold_lease
from innomaint_pipeline.sync.innomaint.batch import Selection

if TYPE_CHECKING:
    from innomaint_pipeline.cli.innomaint.runs import RunResult

_LEASE_POLL_SECONDS = 1.0


@dataclass
class _Work:
    """The batches of a selection and, where it can be taken up again, its stored request.

    `since` is when what is asked for belongs to it at the earliest; the lease of the command tells every
    surface how far it is.
    """

    plan: Plan
    options: SyncOptions
    since: datetime
    request: OwnRequest | None = None
    lease: str = field(default_factory=lambda: f"{COMMANDS}{uuid.uuid4()}")

    def selection(self, batch_key: str) -> Selection:
        """Return what the run of a batch asks for."""
        moment = self.request.requested_at if self.request else None
        return Selection(tuple(self.plan.names[batch_key]), moment)

    def note_progress(self, connection: Connection) -> int:
        """Note in the command's lease how far the selection is, and return it."""
        is_whole = is_of_everything(self.options.to_json()) or self.plan.is_due_only
        where = None if is_whole else selected_by(self.plan.names)
        done = min(count_asked(connection, self.since, where), self.plan.total)
        report_progress(connection, self.lease, self.lease, total=self.plan.total, done=done)
        return done


def _open(database: Database, options: SyncOptions, settings: Settings) -> _Work:
    with database.begin() as connection:
        plan = plan_sync(connection, options)
        if plan.is_due_only or not plan.names:
            return _Work(plan, options, find_now(connection))
        minutes = load_refresh_minutes(connection, SOURCE, settings.innomaint_refresh_minutes)
        request = open_own_request(connection, SYNC_REQUESTS, options.to_json(), resume_minutes=minutes)
        return _Work(plan, options, request.requested_at, request)


def run_sync(settings: Settings, options: SyncOptions, *, is_quiet: bool) -> SyncResult:
    """Sync a selection and return its result.

    Stops early for what concerns everybody (a refused token, an open breaker, the database). Raises
    `KeyboardInterrupt` when interrupted: what was stored is kept, and the same command takes the request up
    again.
    """
    settings.require_token()
    engine = find_engine(project_folder())
    require_engine(engine, settings)
    with open_database(settings, uses_dagster=True) as (database, addresses):
        if engine is not None:
            with _progress(is_quiet=is_quiet) as show:
                return ask_for_sync(settings, database, addresses, options, show)
        began = time.monotonic()
        work = _open(database, options, settings)
        result = SyncResult(total=work.plan.total)
        if work.plan.names:
            export_for_dagster(settings, addresses)
            if work.request is not None and work.request.is_resumed:
                say(
                    f"Taking up the same request of {work.request.requested_at:%Y-%m-%d %H:%M} UTC, which "
                    "was not finished: what it has asked for is not asked for again."
                )
            run_ids = _execute(settings, database, work, result, is_quiet=is_quiet)
            with database.begin() as connection:
                count_sync(connection, work.plan, run_ids, result)
                if unlogged := count_unlogged(connection, run_ids):
                    say(
                        f"The database refuses {unlogged} rows of ic3_sync_log, which the next run of their "
                        "batch writes; the logs of the runs in Dagster say why."
                    )
                # What was given up is not done: the same command takes it up again.
                if work.request is not None and result.stop_code is None and not result.has_fault:
                    finish_own_request(connection, work.request.id)
        result.duration_ms = round((time.monotonic() - began) * 1000)
        return result


def _execute(
    settings: Settings, database: Database, work: _Work, result: SyncResult, *, is_quiet: bool
) -> list[str]:
    # Imported here: Dagster takes seconds to import, and a plan may be empty.
    import dagster as dg

    from innomaint_pipeline.defs.innomaint.partitions import register_batches
    from innomaint_pipeline.defs.innomaint.selection import selection_run_config

    with dg.DagsterInstance.get() as instance:
        register_batches(instance, database)
    run_ids: list[str] = []
    losses: Counter[str] = Counter()
    waiting = list(work.plan.names)
    with database.begin() as connection:
        forget_expired(connection, COMMANDS)
    with ExitStack() as stack:
        stack.enter_context(hold_lease(Claim(database, work.lease, work.lease), is_last_step=True))
        show = stack.enter_context(_progress(is_quiet=is_quiet))
        # Before the workers start, which takes seconds: nobody is to read 0 of 0.
        _advance(settings, database, work, show)
        pool = stack.enter_context(
            WorkerPool(
                settings.home,
                embedded_home=settings.shared_home if settings.ic3_database_url is None else None,
                size=min(WORKERS, len(waiting)),
            )
        )
        locks = LockTeller(database.url, database.place, say)
        while waiting and result.stop_code is None:
            _advance(settings, database, work, show)
            locks.look()
            ready = _not_leased(database, waiting)
            if not ready:
                time.sleep(_LEASE_POLL_SECONDS)
                continue
            waiting = [key for key in waiting if key not in ready]
            tasks = [BatchTask(key, selection_run_config(work.selection(key)), {}) for key in ready]
            for ended in pool.execute(tasks):
                if ended is not None:
                    if isinstance(ended, LostWorker):
                        is_to_repeat = _note_loss(ended, result, losses, settings.home)
                    else:
                        run_ids.append(ended.run_id)
                        is_to_repeat = _note_end(ended, result, database)
                    if is_to_repeat:
                        waiting.append(ended.partition_key)
                    if result.stop_code is not None:
                        pool.finish()
                _advance(settings, database, work, show)
                locks.look()
    return run_ids


def _advance(settings: Settings, database: Database, work: _Work, show: ShowProgress | None) -> None:
    """Note how far the sync is, for everybody who looks, and show it where there is a terminal."""
    with database.begin() as connection:
        done = work.note_progress(connection)
    if show is not None:
        with database.snapshot() as connection:
            progress = load_progress(connection, innomaint_account(settings))
        show(done, work.plan.total, progress.left.seconds if progress and progress.left else None)


def _note_end(ended: RunResult, result: SyncResult, database: Database) -> bool:
    """Take note of how a run ended; tell whether its batch is to be run again."""
    if ended.stop_code is not None:
        if result.stop_code is None:
            result.stop_code, result.stop_message = ended.stop_code, ended.message
        return False
    if ended.fault is not None:
        result.has_fault = True
        say(f"{ended.partition_key}: its run ended as {ended.status}: {ended.fault}")
        return False
    if ended.row_refused is not None:
        say(describe_refusals({ended.partition_key or "": ended.row_refused}, "cmms_sync_log"))
        return False
    return _was_leased_elsewhere(database, ended.run_id)


def _note_loss(ended: LostWorker, result: SyncResult, losses: Counter[str], home: Path) -> bool:
    """Take note of a process that died; tell whether its batch is to be run again."""
    losses[ended.partition_key] += 1
    is_to_repeat = not is_given_up(losses[ended.partition_key])
    result.has_fault = result.has_fault or not is_to_repeat
    what_next = "it is repeated" if is_to_repeat else f"the reason stands in {home / 'logs'}"
    say(f"The process that worked on {ended.partition_key} ended (exit {ended.exit_code}); {what_next}.")
    return is_to_repeat


def _not_leased(database: Database, batch_keys: list[str]) -> list[str]:
    """Return the batches that no run works on.

    Another run's, or a killed run's whose lease has not expired, must wait.
    """
    with database.begin() as connection:
        leased = {lease.key for lease in find_leases(connection, LEASES)}
    return [key for key in batch_keys if key not in leased]


def _was_leased_elsewhere(database: Database, run_id: str) -> bool:
    with database.begin() as connection:
        return sum_batch_rows(connection, [run_id]).rows == 0


@contextmanager
def _progress(*, is_quiet: bool) -> Iterator[ShowProgress | None]:
    """Yield what shows done, total and the seconds left in a bar on a terminal, None elsewhere."""
    if is_quiet or not people.is_terminal:
        yield None
        return
    columns = (
        TextColumn("syncing"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=people) as bar:
        task = bar.add_task("sync", total=None, left="")

        def show(done: int, total: int, seconds: int | None) -> None:
            bar.update(
                task, completed=done, total=total, left=f"{describe_seconds(seconds)} left" if seconds else ""
            )

        yield show
