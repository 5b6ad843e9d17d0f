"""`innomaint sync`: a selection of CMMS assets, synced as Dagster runs, one for each batch (spec 04)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from innomaint_pipeline.cli.environment import export_for_dagster, open_database
from innomaint_pipeline.cli.output import people, say
from innomaint_pipeline.cli.workers import WORKERS, BatchTask, LostWorker, WorkerPool
from innomaint_pipeline.domain.answers import normalise_id
from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline.settings import Settings
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.leases import find_leases
from innomaint_pipeline.store.logs import load_refresh_minutes, sum_batch_rows
from innomaint_pipeline.store.requests import (
    Request,
    count_members,
    find_by_name,
    find_due_batches,
    find_retryable,
    find_slice,
    finish_request,
    open_request,
)
from innomaint_pipeline.store.states import find_failed
from innomaint_pipeline.sync.batch import Selection

if TYPE_CHECKING:
    from innomaint_pipeline.cli.runs import RunResult

_LEASE_POLL_SECONDS = 1.0
_REPEATS_OF_LOST = 3


@dataclass(frozen=True)
class SyncOptions:
    """What the options of `innomaint sync` select; without any, everything that is due."""

    everything: bool = False
    limit: int | None = None
    offset: int = 0
    partition_key: str | None = None
    is_retry_failed: bool = False
    cmms_asset_ids: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the selection in a form by which the same request is recognized."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in vars(self).items()
            if value
        }


@dataclass
class Plan:
    """Which CMMS assets of which batches; an empty list of names means the whole batch."""

    total: int
    names: dict[str, list[str]]
    request: Request | None = None

    def selection(self, batch_key: str) -> Selection:
        """Return what the run of a batch asks for."""
        moment = self.request.requested_at if self.request else None
        return Selection(tuple(self.names[batch_key]), moment)


@dataclass
class SyncResult:
    """The result of a sync, and why it stopped early if it did.

    `has_fault` tells that a run ended for a reason that is neither of its CMMS assets nor of everybody.
    """

    total: int = 0
    success: int = 0
    failed: int = 0
    unchanged: int = 0
    errors: list[str] = field(default_factory=list)
    duration_ms: int = 0
    stop_code: int | None = None
    stop_message: str | None = None
    has_fault: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the JSON of `sync`."""
        return {
            "total": self.total,
            "success": self.success,
            "failed": self.failed,
            "skipped": self.total - self.success - self.failed,
            "unchanged": self.unchanged,
            "errors": self.errors,
            "duration_ms": self.duration_ms,
        }

    @property
    def exit_code(self) -> int:
        """0 nothing failed, 1 some failed, else why it stopped."""
        return self.stop_code or (1 if self.failed or self.has_fault else 0)


def plan_sync(database: Database, options: SyncOptions, settings: Settings) -> Plan:
    """Find the CMMS assets of the options; raise `ConfigurationError` for unknown ones."""
    with database.begin() as connection:
        if options == SyncOptions():
            demands = find_due_batches(connection)
            return Plan(sum(item.due for item in demands), {item.batch_key: [] for item in demands})
        members = count_members(connection)
        if options.everything:
            names: dict[str, list[str]] = {key: [] for key in members}
        elif options.partition_key is not None:
            if options.partition_key not in members:
                last = next(reversed(members), None)
                hint = f"there are batch_000001 to {last}" if last else "no asset is imported yet"
                raise ConfigurationError(f"there is no partition {options.partition_key!r}: {hint}")
            names = {options.partition_key: []}
        elif options.is_retry_failed:
            names = find_retryable(connection)
        elif options.cmms_asset_ids:
            wanted = [normalise_id(name) for name in options.cmms_asset_ids]
            names = find_by_name(connection, wanted)
            unknown = sorted(set(wanted) - {name for group in names.values() for name in group})
            if unknown:
                raise ConfigurationError(
                    f"not in the asset master: {', '.join(map(repr, unknown))}; check the spelling, "
                    "or import the workbook "
                    "that holds them"
                )
        else:
            names = find_slice(connection, limit=options.limit or 0, offset=options.offset)
        total = sum(len(group) or members[key] for key, group in names.items())
        minutes = load_refresh_minutes(connection, settings.innomaint_refresh_minutes)
        request = open_request(connection, options.to_json(), resume_minutes=minutes) if names else None
        return Plan(total, names, request)


def run_sync(settings: Settings, options: SyncOptions, *, is_quiet: bool) -> SyncResult:
    """Sync a selection and return its result.

    Stops early for what concerns everybody (a refused token, an open breaker, the database). Raises
    `KeyboardInterrupt` when interrupted: what was stored is kept, and the same command takes the request up
    again.
    """
    settings.require_token()
    with open_database(settings) as (database, addresses):
        began = time.monotonic()
        plan = plan_sync(database, options, settings)
        result = SyncResult(total=plan.total)
        if plan.names:
            export_for_dagster(settings, addresses)
            if plan.request is not None and plan.request.is_resumed:
                say(
                    f"Taking up the same request of {plan.request.requested_at:%Y-%m-%d %H:%M} UTC, "
                    "which was not finished: "
                    "what it has asked for is not asked for again."
                )
            run_ids = _execute(settings, database, plan, result, is_quiet=is_quiet)
            _count(database, plan, run_ids, result, is_due_only=plan.request is None)
            if plan.request is not None and result.stop_code is None:
                with database.begin() as connection:
                    finish_request(connection, plan.request.id)
        result.duration_ms = round((time.monotonic() - began) * 1000)
        return result


def _count(
    database: Database, plan: Plan, run_ids: list[str], result: SyncResult, *, is_due_only: bool
) -> None:
    with database.begin() as connection:
        sums = sum_batch_rows(connection, run_ids)
        failed = [item for run_id in run_ids for item in find_failed(connection, run_id=run_id)]
    result.success, result.failed, result.unchanged = sums.success, sums.failed, sums.unchanged
    # Settle also asks for failures of the batch that were not due yet.
    asked = sums.success + sums.failed
    result.total = max(plan.total, asked) if is_due_only else plan.total
    result.errors = [str(item) for item in failed]


def _execute(
    settings: Settings, database: Database, plan: Plan, result: SyncResult, *, is_quiet: bool
) -> list[str]:
    # Imported here: Dagster takes seconds to import, and a plan may be empty.
    import dagster as dg

    from innomaint_pipeline.defs.innomaint import selection_run_config
    from innomaint_pipeline.defs.partitions import register_batches

    with dg.DagsterInstance.get() as instance:
        register_batches(instance, database)
    run_ids: list[str] = []
    losses: Counter[str] = Counter()
    waiting = list(plan.names)
    show = _progress(plan.total, is_quiet=is_quiet)
    with (
        show as advance,
        WorkerPool(
            settings.home, is_embedded=settings.ic3_database_url is None, size=min(WORKERS, len(waiting))
        ) as pool,
    ):
        while waiting and result.stop_code is None:
            ready = _not_leased(database, waiting)
            if not ready:
                time.sleep(_LEASE_POLL_SECONDS)
                continue
            waiting = [key for key in waiting if key not in ready]
            tasks = [BatchTask(key, selection_run_config(plan.selection(key)), {}) for key in ready]
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
                advance(lambda: _done(database, run_ids))
    return run_ids


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
    return _was_leased_elsewhere(database, ended.run_id)


def _note_loss(ended: LostWorker, result: SyncResult, losses: Counter[str], home: Path) -> bool:
    """Take note of a process that died; tell whether its batch is to be run again."""
    losses[ended.partition_key] += 1
    is_to_repeat = losses[ended.partition_key] <= _REPEATS_OF_LOST
    result.has_fault = result.has_fault or not is_to_repeat
    what_next = "it is repeated" if is_to_repeat else f"the reason stands in {home / 'logs'}"
    say(f"The process that worked on {ended.partition_key} ended (exit {ended.exit_code}); {what_next}.")
    return is_to_repeat


def _not_leased(database: Database, batch_keys: list[str]) -> list[str]:
    """Return the batches that no run works on.

    Another run's, or a killed run's whose lease has not expired, must wait.
    """
    with database.begin() as connection:
        leased = {lease.batch_key for lease in find_leases(connection)}
    return [key for key in batch_keys if key not in leased]


def _was_leased_elsewhere(database: Database, run_id: str) -> bool:
    with database.begin() as connection:
        return sum_batch_rows(connection, [run_id]).rows == 0


def _done(database: Database, run_ids: list[str]) -> int:
    with database.begin() as connection:
        sums = sum_batch_rows(connection, run_ids)
        return sums.success + sums.failed + sum(lease.done for lease in find_leases(connection))


@contextmanager
def _progress(total: int, *, is_quiet: bool) -> Iterator[Callable[[Callable[[], int]], None]]:
    """Yield what shows progress: a bar on a terminal, nothing elsewhere.

    It is given what counts the work done.
    """
    if is_quiet or not people.is_terminal:
        yield lambda _count: None
        return
    columns = (
        TextColumn("syncing"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=people) as bar:
        task = bar.add_task("sync", total=total)
        yield lambda count: bar.update(task, completed=min(count(), total))
