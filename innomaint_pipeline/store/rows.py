"""Set-based writing: many rows a statement, none written to the values it already has (docs/how-it-works.md).

Belongs here: what every upsert shares. Rows travel as one jsonb parameter, so that a statement's text does
not depend on how many there are; rows are grouped by the columns they hold, because an absent column keeps
its stored value.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from enum import Enum
from functools import lru_cache
from typing import Any, TypeVar

import psycopg
import simplejson
from sqlalchemy import (
    ClauseElement,
    Connection,
    FromClause,
    Table,
    TableClause,
    TextClause,
    bindparam,
    cast,
    column,
    func,
    literal_column,
    or_,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, dialect, insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import Text

from innomaint_pipeline.errors import ConflictError, DatabaseError
from innomaint_pipeline.store.database import Database, short_message

Item = TypeVar("Item")
Row = Mapping[str, Any]

_CONFLICT_REPEATS = 5
# Writes parameters as `text` reads them.
_NAMED = dialect(paramstyle="named")


def _json_value(value: object) -> str:
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} cannot be stored")


def rows_parameter(rows: Iterable[Row]) -> str:
    """Return rows as the JSON text that a `recordset` reads."""
    return _dump(list(rows))


def _dump(document: object) -> str:
    return simplejson.dumps(document, ensure_ascii=False, use_decimal=True, default=_json_value)


def copy_rows(connection: Connection, target: TableClause, rows: Iterable[Row]) -> None:
    """Append rows to a table by COPY, null where a row lacks a column; PostgreSQL reads while they are made.

    The table's own name needs no quoting. Raises SQLAlchemy's `DBAPIError`, as a statement does.
    """
    names = [it.name for it in target.columns]
    documents = [at for at, it in enumerate(target.columns) if isinstance(it.type, JSONB)]
    quote = connection.dialect.identifier_preparer.quote
    statement = f"COPY {target.name} ({', '.join(map(quote, names))}) FROM STDIN"
    driver: Any = connection.connection.driver_connection
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                cells = [row.get(name) for name in names]
                for at in documents:
                    if cells[at] is not None:
                        cells[at] = _dump(cells[at])
                copy.write_row(cells)
    except psycopg.Error as error:
        raise DBAPIError.instance(
            statement, None, error, psycopg.Error, dialect=connection.dialect
        ) from error


def recordset(
    table: Table, columns: Sequence[str], name: str = "given", extra: Sequence[Any] = ()
) -> FromClause:
    """Return `rows_parameter` rows as a relation with the columns' declared types; bind parameter `rows`."""
    typed = [column(item, table.c[item].type) for item in columns]
    source = func.jsonb_to_recordset(cast(bindparam("rows", type_=Text), JSONB))
    return source.table_valued(*typed, *extra, name=name).render_derived(with_types=True)


def group_by_columns(rows: Iterable[Row]) -> dict[tuple[str, ...], list[Row]]:
    """Group rows by the columns they hold, each group's columns sorted."""
    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(sorted(row))].append(row)
    return groups


def upsert_rows(
    connection: Connection,
    table: Table,
    keys: Sequence[str],
    rows: Iterable[Row],
    *,
    stamp: str | None = "updated_at",
) -> int:
    """Insert or update rows by key; return how many were written.

    A column that a row lacks keeps its stored value; a row whose columns are as stored is not touched, else
    `stamp` is set. No two rows may have the same key. Rows are locked in key order, so that two batches never
    deadlock.
    """
    written = 0
    for columns, group in group_by_columns(rows).items():
        statement = _upsert(table, tuple(keys), columns, stamp)
        # Counted from what comes back: psycopg reports the affected rows of the statement, kept or not.
        written += len(connection.execute(statement, {"rows": rows_parameter(group)}).all())
    return written


@lru_cache(maxsize=256)
def _upsert(table: Table, keys: tuple[str, ...], columns: tuple[str, ...], stamp: str | None) -> TextClause:
    given = recordset(table, columns)
    values = [name for name in columns if name not in keys]
    stamps = [stamp] if stamp else []
    statement = insert(table).from_select(
        [*columns, *stamps],
        select(*(given.c[name] for name in columns), *(func.now() for _ in stamps)).order_by(
            *(given.c[name] for name in keys)
        ),
    )
    if values:
        new = statement.excluded
        statement = statement.on_conflict_do_update(
            index_elements=list(keys),
            set_={**{name: new[name] for name in values}, **{name: func.now() for name in stamps}},
            where=or_(*(table.c[name].is_distinct_from(new[name]) for name in values)),
        )
    else:
        statement = statement.on_conflict_do_nothing(index_elements=list(keys))
    return prepared(statement.returning(literal_column("1")))


def prepared(statement: ClauseElement) -> TextClause:
    """Return a statement as text with its parameters, for keeping and executing again and again.

    SQLAlchemy puts a large statement together, or looks for its like among those it has compiled, anew for
    every execution, which took a third of the time of enriching a batch. Constants keep their values, for
    which None must be written `null()`; a parameter of a list is given as an array (`= ANY`), since an `IN`
    grows with it.
    """
    compiled = statement.compile(dialect=_NAMED)
    constants = {name: value for name, value in (compiled.params or {}).items() if value is not None}
    return text(str(compiled)).bindparams(
        **{name: value.value if isinstance(value, Enum) else value for name, value in constants.items()}
    )


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
