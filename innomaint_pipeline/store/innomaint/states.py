"""The truth about each CMMS asset: innomaint_sync_state (docs/how-it-works.md).

Belongs here: who is due, and what became of whom. The log of it is `outcome_log`'s.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
    Integer,
    Select,
    Text,
    TextClause,
    and_,
    bindparam,
    case,
    cast,
    column,
    func,
    null,
    select,
    true,
    update,
)

from innomaint_pipeline.domain.states import RETRYABLE_CLASSES, ErrorClass, SyncState, retry_delay
from innomaint_pipeline.store.innomaint.held_back import hold_back, is_held_back, let_go
from innomaint_pipeline.store.innomaint.outcome_log import LoggedAsset, append_outcomes
from innomaint_pipeline.store.innomaint.tables import asset_master, response, sync_state
from innomaint_pipeline.store.rows import left_out, prepared, recordset, rows_parameter, write_within

_RETRYABLE = sorted(RETRYABLE_CLASSES)
_SECONDS = column("due_in_seconds", Double)


@dataclass(frozen=True)
class Target:
    """A CMMS asset to ask for; `consecutive_failures` as they stand before this run."""

    asset_id: int
    cmms_asset_id: str
    consecutive_failures: int = 0


@dataclass(frozen=True)
class Failure:
    """What became of a CMMS asset that failed; `attempts` and `duration_ms` of this pass."""

    target: Target
    error_class: ErrorClass
    message: str
    http_status: int | None = None
    attempts: int = 0
    duration_ms: int = 0


def _of_batch(batch_key: str | None, cmms_asset_ids: Sequence[str] | None) -> ColumnElement[bool]:
    where = true() if batch_key is None else sync_state.c.batch_key == batch_key
    if cmms_asset_ids:
        where = and_(where, asset_master.c.cmms_asset_id.in_(list(cmms_asset_ids)))
    return where


def _targets(run_id: str) -> Select:
    # The failures of this run's own first pass are counted already.
    before = sync_state.c.consecutive_failures - case((sync_state.c.run_id == run_id, 1), else_=0)
    return (
        select(sync_state.c.asset_id, asset_master.c.cmms_asset_id, func.greatest(before, 0))
        .join(asset_master, asset_master.c.asset_id == sync_state.c.asset_id)
        .order_by(asset_master.c.report_seq_no.asc().nulls_last(), sync_state.c.asset_id)
    )


def count_batch(connection: Connection, batch_key: str, cmms_asset_ids: Sequence[str] | None) -> int:
    """Return how many CMMS assets a batch holds, of those named where names are given."""
    return connection.execute(
        select(func.count())
        .select_from(sync_state.join(asset_master, asset_master.c.asset_id == sync_state.c.asset_id))
        .where(_of_batch(batch_key, cmms_asset_ids))
    ).scalar_one()


def find_strangers(
    connection: Connection, batch_key: str, cmms_asset_ids: Sequence[str]
) -> dict[str, str | None]:
    """Return the ids that are not of the batch, each with its own batch, None where it is unknown."""
    rows = connection.execute(
        select(asset_master.c.cmms_asset_id, sync_state.c.batch_key)
        .join(sync_state, sync_state.c.asset_id == asset_master.c.asset_id)
        .where(asset_master.c.cmms_asset_id.in_(list(cmms_asset_ids)))
    )
    batches: dict[str, str | None] = dict(rows.tuples().all())
    return {name: batches.get(name) for name in cmms_asset_ids if batches.get(name) != batch_key}


def has_failed(connection: Connection, batch_key: str) -> bool:
    """Tell whether a batch holds a failed CMMS asset, worth retrying or not."""
    is_failed = (sync_state.c.batch_key == batch_key) & (sync_state.c.state == SyncState.FAILED)
    return bool(connection.execute(select(select(sync_state.c.asset_id).where(is_failed).exists())).scalar())


def find_targets(
    connection: Connection,
    batch_key: str,
    *,
    run_id: str,
    cmms_asset_ids: Sequence[str] | None = None,
    asked_before: datetime | None = None,
) -> list[Target]:
    """Return the CMMS assets of a batch to ask for in the first pass, in report order.

    Without `asked_before` those that are due; with it every one not asked since. Never those that this run
    has asked, nor those whose answer is stored and only waits to be enriched: a repeated step, or the run
    after a killed one, asks only for what is lacking.
    """
    if asked_before is None:
        is_wanted = and_(sync_state.c.next_due_at <= func.now(), ~is_held_back())
        is_stored = response.c.is_pending
    else:
        is_wanted = func.coalesce(sync_state.c.last_attempt_at < asked_before, True)
        is_stored = and_(response.c.is_pending, response.c.fetched_at >= asked_before)
    query = _targets(run_id).where(
        _of_batch(batch_key, cmms_asset_ids),
        is_wanted,
        sync_state.c.run_id.is_distinct_from(run_id),
        ~select(response.c.asset_id).where(response.c.asset_id == sync_state.c.asset_id, is_stored).exists(),
    )
    return [Target(*row) for row in connection.execute(query)]


def find_left_over(
    connection: Connection, batch_key: str, *, run_id: str, cmms_asset_ids: Sequence[str] | None = None
) -> list[Target]:
    """Return the failed CMMS assets of a batch whose class is worth retrying, due or not."""
    query = _targets(run_id).where(
        _of_batch(batch_key, cmms_asset_ids),
        sync_state.c.state == SyncState.FAILED,
        sync_state.c.error_class.in_(_RETRYABLE),
    )
    return [Target(*row) for row in connection.execute(query)]


def count_failed(connection: Connection, batch_key: str) -> dict[ErrorClass, int]:
    """Count the failed CMMS assets of a batch by class, whichever run they failed in."""
    rows = connection.execute(
        select(sync_state.c.error_class, func.count())
        .where(sync_state.c.batch_key == batch_key, sync_state.c.state == SyncState.FAILED)
        .group_by(sync_state.c.error_class)
    )
    return {ErrorClass(name): count for name, count in rows}


def find_named_targets(connection: Connection, batch_key: str, cmms_asset_ids: Sequence[str]) -> list[Target]:
    """Return CMMS assets of a batch by their ids, due or not, in report order."""
    query = _targets("").where(_of_batch(batch_key, cmms_asset_ids))
    return [Target(*row) for row in connection.execute(query)]


def mark_failed(connection: Connection, failures: Sequence[Failure], *, run_id: str) -> dict[str, str]:
    """Set CMMS assets to failed, due again by class and number of failures; their last good values stay.

    Returns, by CMMS asset id, why the database refused to note it: their states stay as they were, and they
    are held back (`held_back`).
    """

    def write(part: Sequence[Failure]) -> Collection[Failure]:
        marked = _mark_failed(connection, part, run_id)
        missing = _find_unmarked(connection, [item.target.asset_id for item in part], marked)
        return [item for item in part if item.target.asset_id in missing]

    refused = write_within(connection, failures, write) if failures else {}
    hold_back(connection, {item.target.asset_id: reason for item, reason in refused.items()})
    let_go(connection, [item.target.asset_id for item in failures if item not in refused])
    return {item.target.cmms_asset_id: reason for item, reason in refused.items()}


def _mark_failed(
    connection: Connection, failures: Sequence[Failure], run_id: str
) -> Sequence[tuple[Any, ...]]:
    given = recordset(
        sync_state,
        [
            "asset_id",
            "error_class",
            "error_message",
            "consecutive_failures",
            "http_status",
            "attempts",
            "duration_ms",
        ],
        extra=[_SECONDS],
    )
    rows = [
        {
            "asset_id": item.target.asset_id,
            "error_class": item.error_class,
            "error_message": item.message,
            "consecutive_failures": item.target.consecutive_failures + 1,
            "http_status": item.http_status,
            "attempts": item.attempts,
            "duration_ms": item.duration_ms,
            "due_in_seconds": retry_delay(
                item.error_class, item.target.consecutive_failures + 1
            ).total_seconds(),
        }
        for item in failures
    ]
    is_same_run = sync_state.c.run_id == run_id
    statement = (
        update(sync_state)
        .where(sync_state.c.asset_id == given.c.asset_id)
        .values(
            state=SyncState.FAILED,
            error_class=given.c.error_class,
            error_message=given.c.error_message,
            consecutive_failures=given.c.consecutive_failures,
            failed_since=func.coalesce(sync_state.c.failed_since, func.clock_timestamp()),
            last_attempt_at=func.clock_timestamp(),
            next_due_at=func.clock_timestamp() + func.make_interval(0, 0, 0, 0, 0, 0, given.c.due_in_seconds),
            run_id=run_id,
            http_status=given.c.http_status,
            attempts=given.c.attempts + case((is_same_run, func.coalesce(sync_state.c.attempts, 0)), else_=0),
            duration_ms=given.c.duration_ms
            + case((is_same_run, func.coalesce(sync_state.c.duration_ms, 0)), else_=0),
            is_unchanged=None,
            is_logged=False,
        )
        .returning(sync_state.c.asset_id)
    )
    return [tuple(row) for row in connection.execute(statement, {"rows": rows_parameter(rows)})]


def clear_contract_errors(connection: Connection, cmms_asset_ids: Collection[str]) -> None:
    """Make transient failures of contract errors that were the source's trouble, due again within minutes."""
    if not cmms_asset_ids:
        return
    query = (
        select(asset_master.c.cmms_asset_id, sync_state)
        .join(asset_master, asset_master.c.asset_id == sync_state.c.asset_id)
        .where(
            asset_master.c.cmms_asset_id.in_(sorted(cmms_asset_ids)),
            sync_state.c.state == SyncState.FAILED,
            sync_state.c.error_class == ErrorClass.CONTRACT,
        )
        .with_for_update(of=sync_state)
    )
    for row in connection.execute(query).all():
        delay = retry_delay(ErrorClass.TRANSIENT, row.consecutive_failures)
        connection.execute(
            update(sync_state)
            .where(sync_state.c.asset_id == row.asset_id)
            .values(error_class=ErrorClass.TRANSIENT, next_due_at=row.last_attempt_at + delay)
        )


def mark_synced(
    connection: Connection, outcomes: Sequence[dict], *, run_id: str, refresh_minutes: int
) -> dict[str, str]:
    """Set CMMS assets to synced and log it; return why a row of the log was not written, by CMMS asset id.

    Each outcome holds `asset_id`, `last_success_at` (when its answer came), `response_hash`, `is_unchanged`,
    `attempts` and `duration_ms`; requests of the same run's failed first pass are added to them. A row of the
    log that is refused stays to be written (`log_outcomes`). Raises `RefusedRowError` for a state that a
    trigger leaves out.
    """
    parameters = {"rows": rows_parameter(outcomes), "run": run_id, "refresh_minutes": refresh_minutes}
    marked = [LoggedAsset(*row) for row in connection.execute(_mark_synced(), parameters)]
    missing = _find_unmarked(connection, [item["asset_id"] for item in outcomes], marked)
    if missing:
        raise left_out(sync_state, {"asset_id": min(missing)})
    let_go(connection, [item["asset_id"] for item in outcomes])
    return append_outcomes(connection, marked)


def _find_unmarked(
    connection: Connection, asset_ids: Sequence[int], marked: Collection[tuple[Any, ...]]
) -> set[int]:
    """Return the CMMS assets that are there, and that an update of their states has left out."""
    missing = set(asset_ids).difference(row[0] for row in marked)
    if not missing:
        return missing
    there = select(sync_state.c.asset_id).where(sync_state.c.asset_id.in_(sorted(missing)))
    return set(connection.execute(there).scalars())


@cache
def _mark_synced() -> TextClause:
    columns = ["asset_id", "last_success_at", "response_hash", "is_unchanged", "attempts", "duration_ms"]
    given = recordset(sync_state, columns)
    run_id = cast(bindparam("run", type_=Text), Text)
    refresh_minutes = cast(bindparam("refresh_minutes", type_=Integer), Integer)
    is_same_run = and_(sync_state.c.run_id == run_id, ~sync_state.c.is_logged)
    return prepared(
        update(sync_state)
        .where(sync_state.c.asset_id == given.c.asset_id, sync_state.c.asset_id == asset_master.c.asset_id)
        .values(
            state=SyncState.SYNCED,
            error_class=null(),
            error_message=null(),
            consecutive_failures=0,
            failed_since=null(),
            last_attempt_at=given.c.last_success_at,
            last_success_at=given.c.last_success_at,
            last_changed_at=case(
                (given.c.is_unchanged, sync_state.c.last_changed_at), else_=given.c.last_success_at
            ),
            next_due_at=given.c.last_success_at + func.make_interval(0, 0, 0, 0, 0, refresh_minutes),
            response_hash=given.c.response_hash,
            is_unchanged=given.c.is_unchanged,
            run_id=run_id,
            http_status=null(),
            attempts=given.c.attempts + case((is_same_run, func.coalesce(sync_state.c.attempts, 0)), else_=0),
            duration_ms=given.c.duration_ms
            + case((is_same_run, func.coalesce(sync_state.c.duration_ms, 0)), else_=0),
            is_logged=True,
        )
        .returning(sync_state.c.asset_id, asset_master.c.cmms_asset_id)
    )


@dataclass(frozen=True)
class RunCounts:
    """What became of the CMMS assets that a run asked for; `success` includes `unchanged`."""

    success: int
    failed: int
    unchanged: int


def count_run(
    connection: Connection,
    batch_key: str | None,
    run_id: str,
    cmms_asset_ids: Sequence[str] | None = None,
) -> RunCounts:
    """Count the outcomes of one run in one batch (None: in any), of those named where names are given.

    A run also enriches answers that a killed one left behind: they count only where they were selected.
    """
    is_synced = sync_state.c.state == SyncState.SYNCED
    row = connection.execute(
        select(
            func.count().filter(is_synced),
            func.count().filter(sync_state.c.state == SyncState.FAILED),
            func.count().filter(is_synced, sync_state.c.is_unchanged),
        )
        .select_from(sync_state.join(asset_master, asset_master.c.asset_id == sync_state.c.asset_id))
        .where(_of_batch(batch_key, cmms_asset_ids), sync_state.c.run_id == run_id)
    ).one()
    return RunCounts(*row)


@dataclass(frozen=True)
class FailedAsset:
    """A failed CMMS asset, for messages."""

    cmms_asset_id: str
    error_class: ErrorClass
    message: str

    def __str__(self) -> str:
        return f"{self.cmms_asset_id}: {self.error_class}: {self.message}"


def find_failed(
    connection: Connection,
    *,
    batch_key: str | None = None,
    run_id: str | None = None,
    is_retryable_only: bool = False,
) -> list[FailedAsset]:
    """Return failed CMMS assets, of one batch or one run where given, in report order.

    With `is_retryable_only` those whose class is worth retrying.
    """
    query = (
        select(asset_master.c.cmms_asset_id, sync_state.c.error_class, sync_state.c.error_message)
        .join(asset_master, asset_master.c.asset_id == sync_state.c.asset_id)
        .where(sync_state.c.state == SyncState.FAILED)
        .order_by(asset_master.c.report_seq_no.asc().nulls_last(), sync_state.c.asset_id)
    )
    if is_retryable_only:
        query = query.where(sync_state.c.error_class.in_(_RETRYABLE))
    if batch_key is not None:
        query = query.where(sync_state.c.batch_key == batch_key)
    if run_id is not None:
        query = query.where(sync_state.c.run_id == run_id)
    return [
        FailedAsset(key, ErrorClass(kind), message or "") for key, kind, message in connection.execute(query)
    ]
