"""The row that each batch run leaves: cmms_sync_log."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Integer, cast, func, insert, literal, select

from innomaint_pipeline import crash_points
from innomaint_pipeline.domain.innomaint.batches import lease_name
from innomaint_pipeline.domain.innomaint.stops import Stop, StopCause
from innomaint_pipeline.store.housekeeping import Retention
from innomaint_pipeline.store.innomaint.states import RunCounts
from innomaint_pipeline.store.innomaint.tables import batch_log, data_issue, sync_log
from innomaint_pipeline.store.rows import write_within
from innomaint_pipeline.store.tables import lease


def save_batch_row(
    connection: Connection,
    *,
    batch_key: str,
    run_id: str,
    status: str,
    total: int,
    counts: RunCounts,
    stop: Stop | None = None,
) -> str | None:
    """Append the row of a batch run; return why the database refused it, None where it is there.

    Its duration runs from the moment the run took the batch's lease.

    `stop` is why it ended early or failed, None where nothing is to be said.

    A row that says the same of the same run is not written twice: when the connection is lost at the commit,
    the step is repeated without knowing whether its row is there.
    """
    began = select(lease.c.acquired_at).where(
        lease.c.owner == run_id, lease.c.resource == lease_name(batch_key)
    )
    elapsed = (
        func.extract("epoch", func.clock_timestamp() - func.coalesce(began.scalar_subquery(), func.now()))
        * 1000
    )
    outcome = {
        "sync_type": "api_sync",
        "status": status,
        "assets_synced": counts.success,
        "batch_key": batch_key,
        "run_id": run_id,
        "total": total,
        "failed": counts.failed,
        "unchanged": counts.unchanged,
        "skipped": max(total - counts.success - counts.failed, 0),
    }
    is_written = select(batch_log.c.id).where(
        *(batch_log.c[name] == value for name, value in outcome.items())
    )
    said = {"cause": stop.cause if stop else None, "reason": stop.reason if stop else None}
    values = [literal(value, batch_log.c[name].type) for name, value in (outcome | said).items()]
    append = insert(batch_log).from_select(
        [*outcome, *said, "duration_ms", "synced_at"],
        select(*values, cast(elapsed, Integer), func.clock_timestamp()).where(~is_written.exists()),
    )

    def write(rows: Sequence[str]) -> Collection[str]:
        is_there = (
            connection.execute(append.returning(batch_log.c.id)).first()
            or connection.execute(is_written).first()
        )
        return () if is_there else rows

    refused = write_within(connection, [batch_key], write)
    crash_points.reach("settle: batch row written")
    return refused.get(batch_key)


@dataclass(frozen=True)
class BatchSums:
    """The batch rows of some runs, added up."""

    rows: int
    success: int
    failed: int
    unchanged: int


def sum_batch_rows(connection: Connection, run_ids: Sequence[str]) -> BatchSums:
    """Add up the batch rows of runs, of each run and batch the newest."""
    names = ("assets_synced", "failed", "unchanged")
    newest = (
        select(*(batch_log.c[name] for name in names))
        .where(batch_log.c.run_id.in_(list(run_ids)))
        .distinct(batch_log.c.run_id, batch_log.c.batch_key)
        .order_by(batch_log.c.run_id, batch_log.c.batch_key, batch_log.c.id.desc())
        .subquery()
    )
    sums = (func.coalesce(func.sum(newest.c[name]), 0) for name in names)
    row = connection.execute(select(func.count(), *sums).select_from(newest)).one()
    return BatchSums(*row)


def find_row_statuses(connection: Connection, run_ids: Sequence[str]) -> dict[str, str]:
    """Return the status of the batch row of each run that wrote one."""
    rows = connection.execute(
        select(batch_log.c.run_id, batch_log.c.status).where(batch_log.c.run_id.in_(list(run_ids)))
    )
    return dict(rows.tuples().all())


def find_early_end(connection: Connection, run_ids: Sequence[str]) -> str | None:
    """Return why the newest of these runs that ended early did, None where none has."""
    return connection.execute(
        select(batch_log.c.reason)
        .where(
            batch_log.c.run_id.in_(list(run_ids)),
            batch_log.c.cause.is_not(None),
            batch_log.c.cause != StopCause.ASSETS,
        )
        .order_by(batch_log.c.id.desc())
        .limit(1)
    ).scalar_one_or_none()


RETENTIONS = (
    Retention(sync_log, sync_log.c.synced_at),
    # The newest row of each batch stays: it tells how the batch is.
    Retention(
        batch_log,
        batch_log.c.synced_at,
        batch_log.c.id.not_in(select(func.max(batch_log.c.id)).group_by(batch_log.c.batch_key)),
    ),
    Retention(data_issue, data_issue.c.resolved_at),
)
"""What Innomaint's logs keep no longer than the retention."""
