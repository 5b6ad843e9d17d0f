"""What the batch runs that have ended did: this project's rows of cmms_sync_log, read.

Other programs write to that table as well. Every number is taken from `batch_runs`, so that their rows count
nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, Select, Subquery, false, func, select, text

from innomaint_pipeline.domain.innomaint.stops import Stop, StopCause
from innomaint_pipeline.store.innomaint.tables import asset_master, batch_log, sync_state

_API_SYNC = "api_sync"
_CONSECUTIVE_AT_MOST = 100
_FIGURES_RUNS = 500
_HISTORY_RUNS = 500
_HISTORY_SPANS = 60


def batch_runs() -> Subquery:
    """Return the relation of this project's batch runs; its columns are those of cmms_sync_log."""
    is_own = (batch_log.c.sync_type == _API_SYNC) & batch_log.c.synced_at.is_not(None)
    return select(batch_log).where(is_own).subquery("batch_runs")


def telling_runs() -> Subquery:
    """Return the batch runs that tell how the source is doing: not those that had nothing to ask."""
    runs = batch_runs()
    is_silent = (runs.c.status != "failed") & (runs.c.assets_synced == 0) & (runs.c.failed == 0)
    return select(runs).where(~func.coalesce(is_silent, false())).subquery("telling_runs")


def newest_runs(runs: Subquery, *names: str) -> Select:
    """Select columns of the runs, all without `names`, the newest first."""
    columns = [runs.c[name] for name in names] or [*runs.c]
    return select(*columns).order_by(runs.c.synced_at.desc(), runs.c.id.desc())


@dataclass(frozen=True)
class BatchRun:
    """A row of cmms_sync_log; rows of the system that this one replaces lack what it did not write."""

    id: int
    sync_type: str
    status: str | None
    assets_synced: int | None
    duration_ms: int | None
    synced_at: datetime
    batch_key: str | None
    run_id: str | None
    total: int | None
    failed: int | None
    unchanged: int | None
    skipped: int | None
    reason: str | None
    cause: str | None


def find_newest_runs(
    connection: Connection, limit: int, *, batch_key: str | None = None
) -> tuple[BatchRun, ...]:
    """Return the newest runs, of all batches or of one."""
    runs = batch_runs()
    query = newest_runs(runs).limit(limit)
    if batch_key is not None:
        query = query.where(runs.c.batch_key == batch_key)
    return tuple(BatchRun(**row) for row in connection.execute(query).mappings())


@dataclass(frozen=True)
class RunTotals:
    """How many batch runs there were, and how long they took on average."""

    runs: int
    average_duration_ms: int | None


def count_runs(connection: Connection) -> RunTotals:
    """Count the batch runs that the table holds."""
    runs = batch_runs()
    count, average = connection.execute(select(func.count(runs.c.id), func.avg(runs.c.duration_ms))).one()
    return RunTotals(count, None if average is None else round(average))


def count_consecutive_failures(connection: Connection) -> int:
    """Count the newest batch runs that failed as a whole, up to a hundred."""
    query = newest_runs(telling_runs(), "status").limit(_CONSECUTIVE_AT_MOST)
    count = 0
    for status in connection.execute(query).scalars():
        if status != "failed":
            break
        count += 1
    return count


def find_last_stop(connection: Connection) -> Stop | None:
    """Return why the newest batch run failed, None where it did not, or where an older program wrote it."""
    row = connection.execute(newest_runs(batch_runs(), "status", "cause", "reason").limit(1)).first()
    if row is None or row.status != "failed" or row.cause not in set(StopCause):
        return None
    return Stop(StopCause(row.cause), row.reason or "")


def find_failing_since(connection: Connection) -> datetime | None:
    """Return when the first of the newest batch runs that failed in a row has ended."""
    runs, earlier = telling_runs(), telling_runs().alias("earlier")
    good = select(func.max(earlier.c.synced_at)).where(earlier.c.status != "failed").scalar_subquery()
    return connection.execute(
        select(func.min(runs.c.synced_at)).where(
            runs.c.status == "failed",
            runs.c.synced_at > func.coalesce(good, text("'-infinity'::timestamptz")),
        )
    ).scalar_one()


def seconds_since_newest_run(connection: Connection) -> float | None:
    """Return how long ago the newest batch run that asked for anything has ended, None without one."""
    age = func.extract("epoch", func.clock_timestamp() - func.max(telling_runs().c.synced_at))
    seconds = connection.execute(select(age)).scalar_one()
    return None if seconds is None else float(seconds)


@dataclass(frozen=True)
class RunFigures:
    """How the newest batch runs went, at most five hundred; durations in milliseconds, None without a run."""

    runs: int
    success_rate: float | None
    average_duration_ms: int | None
    p95_duration_ms: int | None
    changed: int
    unchanged: int


def load_run_figures(connection: Connection) -> RunFigures:
    """Return figures of the newest batch runs; one that neither failed nor was cancelled is a success."""
    newest = newest_runs(batch_runs()).limit(_FIGURES_RUNS).subquery()
    is_good = newest.c.status.in_(["complete", "partial"])
    row = connection.execute(
        select(
            func.count().label("runs"),
            func.count().filter(is_good).label("good"),
            func.avg(newest.c.duration_ms).label("average"),
            func.percentile_cont(0.95).within_group(newest.c.duration_ms).label("p95"),
            func.coalesce(func.sum(newest.c.assets_synced - newest.c.unchanged), 0).label("changed"),
            func.coalesce(func.sum(newest.c.unchanged), 0).label("unchanged"),
        )
    ).one()
    return RunFigures(
        runs=row.runs,
        success_rate=round(row.good / row.runs, 4) if row.runs else None,
        average_duration_ms=None if row.average is None else round(row.average),
        p95_duration_ms=None if row.p95 is None else round(row.p95),
        changed=row.changed,
        unchanged=row.unchanged,
    )


@dataclass(frozen=True)
class PastRun:
    """A batch run as the charts show it."""

    synced_at: datetime
    batch_key: str | None
    status: str | None
    duration_ms: int | None
    total: int | None
    changed: int | None
    unchanged: int | None
    failed: int | None


@dataclass(frozen=True)
class ProgressPoint:
    """How many CMMS assets had their last success by a moment."""

    at: datetime
    synced: int


@dataclass(frozen=True)
class History:
    """What the sync did over time: runs, oldest first, and the progress at the end of equal spans."""

    runs: tuple[PastRun, ...]
    progress: tuple[ProgressPoint, ...]
    total_assets: int


def load_history(connection: Connection, *, hours: int) -> History:
    """Return the newest batch runs of the last so many hours, and the progress over them."""
    now: datetime = connection.execute(select(func.now())).scalar_one()
    since = now - timedelta(hours=hours)
    runs = batch_runs()
    newest = newest_runs(runs).where(runs.c.synced_at > since).limit(_HISTORY_RUNS)
    found = [
        PastRun(
            *(row.synced_at, row.batch_key, row.status, row.duration_ms, row.total),
            changed=_difference(row.assets_synced, row.unchanged),
            unchanged=row.unchanged,
            failed=row.failed,
        )
        for row in connection.execute(newest)
    ]
    total = connection.execute(select(func.count()).select_from(asset_master)).scalar_one()
    return History(tuple(reversed(found)), _load_progress(connection, since, now), total)


def _difference(synced: int | None, unchanged: int | None) -> int | None:
    return None if synced is None or unchanged is None else synced - unchanged


def _load_progress(connection: Connection, since: datetime, now: datetime) -> tuple[ProgressPoint, ...]:
    # 0 holds what was synced before, above the last what the clock of another machine put into the future.
    span = func.width_bucket(
        func.extract("epoch", sync_state.c.last_success_at),
        since.timestamp(),
        now.timestamp(),
        _HISTORY_SPANS,
    )
    counted = connection.execute(
        select(span, func.count()).where(sync_state.c.last_success_at.is_not(None)).group_by(span)
    )
    counts: dict[int, int] = dict(counted.tuples().all())
    counts[_HISTORY_SPANS] = counts.get(_HISTORY_SPANS, 0) + counts.get(_HISTORY_SPANS + 1, 0)
    width = (now - since) / _HISTORY_SPANS
    synced = counts.get(0, 0)
    progress = []
    for number in range(1, _HISTORY_SPANS + 1):
        synced += counts.get(number, 0)
        progress.append(ProgressPoint(since + width * number, synced))
    return tuple(progress)
