"""The numbers of `innomaint status`, each recomputed from the tables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from innomaint_pipeline.domain.health import Health, HealthReport
from innomaint_pipeline.domain.innomaint.progress import BatchProgress
from innomaint_pipeline.domain.pacing import SourceAccount
from innomaint_pipeline.domain.states import SyncState
from innomaint_pipeline.store.innomaint.batch_runs import BatchRun, count_runs, find_newest_runs
from innomaint_pipeline.store.innomaint.batches import count_by_kind, count_by_state, count_due, select_failed
from innomaint_pipeline.store.innomaint.health import load_health_facts, load_health_report
from innomaint_pipeline.store.innomaint.progress import Progress, load_progress
from innomaint_pipeline.store.innomaint.tables import sync_state
from innomaint_pipeline.store.pacing import load_rate_state

_SHOWN_RUNS = 5


@dataclass(frozen=True)
class BatchInProgress:
    """A batch under way, and how far the whole sync is that it belongs to.

    Between two batches it stands for the next one, which has neither a key nor a run yet.
    """

    batch_key: str | None
    run_id: str | None
    since: datetime
    total: int
    done: int
    state: BatchProgress
    sync_since: datetime
    sync_total: int
    sync_done: int


@dataclass(frozen=True)
class Status:
    """How far the sync is; synced, failed and never add up to the total, also while a sync runs.

    `failed_since` is by class when the first of the failed ones began to fail, `last_answer_at` when any good
    answer came last, `last_change_at` when one that differed from the one before. `rate_per_second` is the
    measured one; `eta_seconds` is None where it is not known.
    """

    total_assets: int
    synced_assets: int
    failed_assets: int
    never_synced: int
    failed_by_class: dict[str, int]
    failed_since: dict[str, datetime]
    last_answer_at: datetime | None
    last_change_at: datetime | None
    last_sync_at: datetime | None
    last_batch: tuple[BatchRun, ...]
    progress: Progress | None
    rate_per_second: float
    eta_seconds: int | None
    report: HealthReport
    total_syncs: int
    consecutive_failures: int
    average_duration_ms: int | None
    refresh_minutes: int
    next_due_at: datetime | None

    @property
    def in_progress(self) -> tuple[BatchInProgress, ...]:
        """The batches under way, or the next one, each with how far the whole sync is."""
        sync = self.progress
        if sync is None:
            return ()
        whole = (sync.since, sync.total, sync.done)
        if not sync.batches:
            rest = sync.total - sync.done
            return (BatchInProgress(None, None, sync.since, rest, 0, BatchProgress.WAITING, *whole),)
        return tuple(
            BatchInProgress(
                batch.batch_key, batch.run_id, batch.since, batch.total, batch.done, batch.state, *whole
            )
            for batch in sync.batches
        )

    @property
    def health(self) -> Health:
        """The word."""
        return self.report.word

    @property
    def health_reason(self) -> str:
        """Why this word, in a sentence."""
        return self.report.reason

    @property
    def what_to_do(self) -> str:
        """What helps."""
        return self.report.what_to_do


def load_status(connection: Connection, account: SourceAccount) -> Status:
    """Return the status; the connection must read a snapshot, or the numbers are those of several moments.

    Nothing is left while nothing is due and no sync runs; the time is not known while one is not running.
    """
    by_kind = count_by_kind(connection)
    counts = count_by_state(by_kind)
    progress = load_progress(connection, account)
    newest = find_newest_runs(connection, _SHOWN_RUNS)
    totals = count_runs(connection)
    facts = load_health_facts(connection, account)
    report = load_health_report(connection, account, facts)
    rate_state = load_rate_state(connection, account.name)
    measured = rate_state[0].measured_rate(rate_state[1]) if rate_state else 0.0
    newest_of_each = select(func.max(sync_state.c.last_success_at), func.max(sync_state.c.last_changed_at))
    answer_at, change_at = connection.execute(newest_of_each).one()
    return Status(
        total_assets=sum(by_kind.values()),
        synced_assets=counts[SyncState.SYNCED],
        failed_assets=counts[SyncState.FAILED],
        never_synced=counts[SyncState.NEVER],
        failed_by_class=select_failed(by_kind),
        failed_since=_find_failed_since(connection),
        last_answer_at=answer_at,
        last_change_at=change_at,
        last_sync_at=newest[0].synced_at if newest else None,
        last_batch=newest,
        progress=progress,
        rate_per_second=round(measured, 2),
        eta_seconds=_time_left(connection, progress),
        report=report,
        total_syncs=totals.runs,
        consecutive_failures=facts.consecutive_failures,
        average_duration_ms=totals.average_duration_ms,
        refresh_minutes=facts.refresh_minutes,
        next_due_at=find_next_due(connection),
    )


def _find_failed_since(connection: Connection) -> dict[str, datetime]:
    rows = connection.execute(
        select(sync_state.c.error_class, func.min(sync_state.c.failed_since))
        .where(sync_state.c.state == SyncState.FAILED, sync_state.c.failed_since.is_not(None))
        .group_by(sync_state.c.error_class)
    )
    return dict(rows.tuples().all())


def _time_left(connection: Connection, progress: Progress | None) -> int | None:
    if progress is not None:
        return progress.left.seconds if progress.left else None
    return 0 if count_due(connection) == 0 else None


def find_next_due(connection: Connection) -> datetime | None:
    """Return when the next CMMS asset is due."""
    return connection.execute(
        select(func.min(sync_state.c.next_due_at)).where(sync_state.c.batch_key.is_not(None))
    ).scalar_one()
