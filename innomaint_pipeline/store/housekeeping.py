"""Bounded growth: old rows of the logs go, in small steps (spec 02, "Growth is bounded")."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import ColumnElement, Table, delete, func, select

from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.tables import batch_log, data_issue, sync_log, sync_request

LOG_RETENTION = timedelta(days=90)
_ROWS_PER_STEP = 5_000


def delete_old_rows(database: Database, *, older_than: timedelta = LOG_RETENTION) -> dict[str, int]:
    """Delete rows older than the retention; return how many of each table.

    A few thousand in each transaction, so that nobody waits. The newest row of each batch stays in
    cmms_sync_log.
    """
    limit = func.now() - older_than
    newest = select(func.max(batch_log.c.id)).group_by(batch_log.c.batch_key)
    return {
        "ic3_sync_log": _delete(database, sync_log, sync_log.c.synced_at < limit),
        "cmms_sync_log": _delete(
            database, batch_log, (batch_log.c.synced_at < limit) & batch_log.c.id.not_in(newest)
        ),
        "innomaint_data_issue": _delete(database, data_issue, data_issue.c.resolved_at < limit),
        "innomaint_sync_request": _delete(database, sync_request, sync_request.c.requested_at < limit),
    }


def _delete(database: Database, table: Table, where: ColumnElement[bool]) -> int:
    deleted = 0
    while True:
        step = select(table.c.id).where(where).limit(_ROWS_PER_STEP)
        with database.begin() as connection:
            count = len(
                connection.execute(delete(table).where(table.c.id.in_(step)).returning(table.c.id)).all()
            )
        deleted += count
        if count < _ROWS_PER_STEP:
            return deleted
