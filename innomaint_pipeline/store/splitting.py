"""Write many at once, and find the one that the database refuses (spec 03, "Storing")."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlalchemy.exc import DBAPIError

from innomaint_pipeline.errors import ConflictError, DatabaseError
from innomaint_pipeline.store.database import Connection, Database, short_message

_CONFLICT_REPEATS = 5

Item = TypeVar("Item")


def write_splitting(
    database: Database,
    items: Sequence[Item],
    write: Callable[[Connection, Sequence[Item]], object],
    refuse: Callable[[Item, str], None],
) -> int:
    """Write items in one transaction; where that fails, in halves, until the one bad item stands alone.

    `write` runs in its own transaction: all of its items or none. A single item that the database refuses is
    given to `refuse`, with the server's own words. Deadlocks and serialization failures are repeated; those
    that stay, and server trouble, are raised as `DatabaseError`. Returns how many were written.
    """
    if not items:
        return 0
    for repeat in range(_CONFLICT_REPEATS + 1):
        try:
            with database.begin() as connection:
                write(connection, items)
        except ConflictError as error:
            if repeat == _CONFLICT_REPEATS:
                raise DatabaseError(f"writing met the same conflict {repeat + 1} times: {error}") from error
        except DBAPIError as error:
            if len(items) == 1:
                refuse(items[0], short_message(error))
                return 0
            middle = len(items) // 2
            return sum(
                write_splitting(database, part, write, refuse) for part in (items[:middle], items[middle:])
            )
        else:
            return len(items)
    raise AssertionError("unreachable")
