"""Bounded growth: rows beyond their retention go, in small steps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Column, ColumnElement, Table, delete, func, select

from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.tables import request

LOG_RETENTION = timedelta(days=90)
_ROWS_PER_STEP = 5_000


@dataclass(frozen=True)
class Retention:
    """Rows of a table, which has a key `id`, that go by their age, that of `moment`.

    `is_removable` tells those that may go from those that are kept for another reason; None: all may. A table
    that `may_be_missing` is of a source whose schema not every database has.
    """

    table: Table
    moment: Column
    is_removable: ColumnElement[bool] | None = None
    may_be_missing: bool = False


REQUESTS = Retention(request, request.c.requested_at)


def delete_old_rows(
    database: Database, retentions: Iterable[Retention], *, older_than: timedelta = LOG_RETENTION
) -> dict[str, int]:
    """Delete rows older than the retention, a few thousand in each transaction, so that nobody waits.

    Return how many of each table.
    """
    return {
        item.table.name: _delete(database, item, older_than)
        for item in retentions
        if not (item.may_be_missing and _is_missing(database, item.table))
    }


def _is_missing(database: Database, table: Table) -> bool:
    with database.begin() as connection:
        return connection.execute(select(func.to_regclass(table.fullname))).scalar_one() is None


def _delete(database: Database, retention: Retention, older_than: timedelta) -> int:
    table = retention.table
    where = retention.moment < func.now() - older_than
    if retention.is_removable is not None:
        where &= retention.is_removable
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
