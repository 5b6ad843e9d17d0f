"""Each batch at a glance, and one in detail, for people."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, RowMapping, func, select, true

from innomaint_pipeline.domain.innomaint.batches import LEASES, BatchState, batch_state
from innomaint_pipeline.domain.innomaint.stops import WHAT_HELPS, StopCause
from innomaint_pipeline.domain.states import RETRYABLE_CLASSES, ErrorClass, SyncState
from innomaint_pipeline.store.innomaint.batch_runs import (
    BatchRun,
    batch_runs,
    find_newest_runs,
    newest_runs,
)
from innomaint_pipeline.store.innomaint.tables import asset_master, sync_state
from innomaint_pipeline.store.leases import find_leases

_SHOWN_FAILURES = 200
_SHOWN_RUNS = 10
_OF_LAST_RUN = ("run_id", "status", "synced_at", "duration_ms", "reason", "cause")


@dataclass(frozen=True)
class LastRun:
    """The newest run of a batch that has ended."""

    run_id: str | None
    status: str
    synced_at: datetime
    duration_ms: int | None
    reason: str | None
    cause: str | None

    @property
    def what_to_do(self) -> str | None:
        """What helps, None where the run says nothing of why it ended."""
        return WHAT_HELPS[StopCause(self.cause)] if self.cause in set(StopCause) else None


@dataclass(frozen=True)
class Batch:
    """A batch at a glance; `retryable` are the failed ones that are worth asking again."""

    batch_key: str
    total: int
    synced: int
    failed: int
    never: int
    retryable: int
    due: int
    state: BatchState
    last_run: LastRun | None


@dataclass(frozen=True)
class Failure:
    """A failed CMMS asset of a batch."""

    cmms_asset_id: str
    error_class: ErrorClass
    message: str | None
    failed_since: datetime | None
    last_attempt_at: datetime | None
    next_due_at: datetime


@dataclass(frozen=True)
class BatchDetail(Batch):
    """A batch with its first failures in report order, how many there are, and its newest runs."""

    failures: tuple[Failure, ...]
    failures_total: int
    runs: tuple[BatchRun, ...]


def load_batches(connection: Connection, *, batch_key: str | None = None) -> list[Batch]:
    """Return the batches in the order of their keys, or the one named."""
    state = sync_state.c.state
    is_retryable = sync_state.c.error_class.in_(sorted(RETRYABLE_CLASSES))
    counts = select(
        sync_state.c.batch_key,
        func.count().label("total"),
        func.count().filter(state == SyncState.SYNCED).label("synced"),
        func.count().filter(state == SyncState.FAILED).label("failed"),
        func.count().filter(state == SyncState.NEVER).label("never"),
        func.count().filter(is_retryable).label("retryable"),
        func.count().filter(sync_state.c.next_due_at <= func.now()).label("due"),
    ).where(sync_state.c.batch_key.is_not(None))
    if batch_key is not None:
        counts = counts.where(sync_state.c.batch_key == batch_key)
    counted = counts.group_by(sync_state.c.batch_key).subquery()
    runs = batch_runs()
    last = newest_runs(runs, *_OF_LAST_RUN).where(runs.c.batch_key == counted.c.batch_key).limit(1).lateral()
    query = (
        select(counted, *(last.c[name] for name in _OF_LAST_RUN))
        .select_from(counted.outerjoin(last, true()))
        .order_by(counted.c.batch_key)
    )
    leased = {lease.key for lease in find_leases(connection, LEASES)}
    return [
        _as_batch(row, is_leased=row["batch_key"] in leased) for row in connection.execute(query).mappings()
    ]


def _as_batch(row: RowMapping, *, is_leased: bool) -> Batch:
    counts = {name: row[name] for name in ("synced", "failed", "never")}
    last = None
    if row["status"] is not None:
        last = LastRun(*(row[name] for name in _OF_LAST_RUN))
    return Batch(
        batch_key=row["batch_key"],
        total=row["total"],
        **counts,
        retryable=row["retryable"],
        due=row["due"],
        state=batch_state(is_leased=is_leased, last_status=row["status"], **counts),
        last_run=last,
    )


def load_batch(connection: Connection, batch_key: str) -> BatchDetail | None:
    """Return one batch with its failures and last runs, None when there is no such batch."""
    found = load_batches(connection, batch_key=batch_key)
    if not found:
        return None
    (batch,) = found
    failures = connection.execute(
        select(
            asset_master.c.cmms_asset_id,
            sync_state.c.error_class,
            sync_state.c.error_message.label("message"),
            sync_state.c.failed_since,
            sync_state.c.last_attempt_at,
            sync_state.c.next_due_at,
        )
        .join(asset_master, asset_master.c.asset_id == sync_state.c.asset_id)
        .where(sync_state.c.batch_key == batch_key, sync_state.c.state == SyncState.FAILED)
        .order_by(asset_master.c.report_seq_no.asc().nulls_last(), sync_state.c.asset_id)
        .limit(_SHOWN_FAILURES)
    )
    return BatchDetail(
        **vars(batch),
        failures=tuple(
            Failure(**{**row, "error_class": ErrorClass(row["error_class"])}) for row in failures.mappings()
        ),
        failures_total=batch.failed,
        runs=find_newest_runs(connection, _SHOWN_RUNS, batch_key=batch_key),
    )
