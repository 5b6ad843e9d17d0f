"""Set-based writing: many rows a statement, none written to the values it already has (docs/how-it-works.md).

Belongs here: what every upsert shares. Rows travel as one jsonb parameter, so that a statement's text does
not depend on how many there are; rows are grouped by the columns they hold, because an absent column keeps
its stored value.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
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
    and_,
    bindparam,
    cast,
    column,
    func,
    or_,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, dialect, insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import Text

from innomaint_pipeline.errors import ConflictError, DatabaseError, RefusedRowError
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.faults import Fault, judge, short_message

Item = TypeVar("Item")
Row = Mapping[str, Any]

_CONFLICT_REPEATS = 5
_CONFLICT_REPEATS_OF_PARTS = 1
_SHOWN_REFUSALS = 5
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
        came_back = connection.execute(statement, {"rows": rows_parameter(group)}).all()
        refuse_left_out(connection, table, keys, group, came_back)
        written += len(came_back)
    return written


def refuse_left_out(
    connection: Connection,
    table: Table,
    keys: Sequence[str],
    group: Sequence[Row],
    came_back: Iterable[Sequence[Any]],
    *,
    is_update: bool = False,
) -> None:
    """Raise `RefusedRowError` where a row of the same columns that did not come back is not as given.

    A trigger may leave a row out without an error; what else it makes of a row is its owner's word.
    `came_back` are the keys of the rows that were written. `is_update` lets rows be missing that an update
    found no longer.
    """
    written = {tuple(map(str, row)) for row in came_back}
    others = [row for row in group if tuple(str(row[name]) for name in keys) not in written]
    if not others:
        return
    statement = _find_different(table, tuple(keys), tuple(sorted(others[0])), is_update=is_update)
    found = connection.execute(statement, {"rows": rows_parameter(others)}).first()
    if found is not None:
        raise left_out(table, dict(zip(keys, found, strict=True)))


def left_out(table: Table, key: Mapping[str, object]) -> RefusedRowError:
    """Return the error of a row that a trigger or a policy of the table left out in silence."""
    row = ", ".join(f"{name} {value}" for name, value in key.items())
    reason = f"a trigger of {table.name} left out the row of {row} without an error"
    return RefusedRowError(reason, reason=reason, is_certain=False)


@lru_cache(maxsize=256)
def _find_different(
    table: Table, keys: tuple[str, ...], columns: tuple[str, ...], *, is_update: bool
) -> TextClause:
    given = recordset(table, columns)
    is_same = and_(*(table.c[name] == given.c[name] for name in keys))
    values = [name for name in columns if name not in keys]
    return prepared(
        select(*(given.c[name] for name in keys))
        .select_from(given.join(table, is_same, isouter=not is_update))
        .where(
            or_(
                table.c[keys[0]].is_(None),
                *(table.c[name].is_distinct_from(given.c[name]) for name in values),
            )
        )
        .limit(1)
    )


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
    return prepared(statement.returning(*(table.c[name] for name in keys)))


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
    """Write items in one transaction; where that fails, in halves, until each bad item stands alone.

    `write` runs in its own transaction: all of its items or none. Items that the database refuses are given
    to `refuse`, with its own words. What it says against each of several items is everybody's trouble and
    raised as `DatabaseError`, as is trouble of the server; a value or constraint is always its item's fault.
    Conflicts with other transactions are repeated. Returns how many were written.
    """
    refused: list[tuple[Item, RefusedRowError | ConflictError]] = []
    written = _write_parts(database, items, write, refused, repeats=_CONFLICT_REPEATS)
    if is_everybodys([error for _, error in refused], has_taken=written > 0):
        raise DatabaseError(
            f"the database ({database.place}) refuses each of {len(refused)} rows, so that it is no row's "
            f"fault: {reason_of(refused[0][1])}. Nothing was written; correct the trigger or function that "
            "says so, or the rights of this role"
        ) from refused[0][1]
    for item, error in refused:
        refuse(item, reason_of(error))
    return written


def write_within(
    connection: Connection,
    items: Sequence[Item],
    write: Callable[[Sequence[Item]], Collection[Item]],
    *,
    has_taken: bool = False,
) -> dict[Item, str]:
    """Write items inside the caller's transaction, each that the database refuses left out of it.

    `write` returns the items that were left out without an error, or raises `RefusedRowError` where none of
    them may stay. Returns the items, distinct, that are not written, with the database's own words. What it
    says against each of several is everybody's trouble and raised as `DatabaseError`, unless others were
    taken before (`has_taken`). What earlier statements put off to the commit speaks before.
    """
    speak_now(connection)
    errors: dict[Item, RefusedRowError] = {}
    _write_nested(connection, items, write, errors)
    if is_everybodys(list(errors.values()), has_taken=has_taken or len(errors) < len(items)):
        reason = next(iter(errors.values())).reason
        raise DatabaseError(
            f"the database refuses each of {len(errors)} rows, so that it is no row's fault: {reason}. "
            "Nothing was written; correct the trigger or function that says so, or the rights of this role"
        )
    return {item: error.reason for item, error in errors.items()}


def _write_nested(
    connection: Connection,
    items: Sequence[Item],
    write: Callable[[Sequence[Item]], Collection[Item]],
    errors: dict[Item, RefusedRowError],
) -> None:
    if not items:
        return
    try:
        with connection.begin_nested():
            missing = write(items)
            speak_now(connection)
    except (DBAPIError, RefusedRowError) as error:
        refusal = _refusal_of(error)
        if len(items) > 1:
            middle = len(items) // 2
            for half in (items[:middle], items[middle:]):
                _write_nested(connection, half, write, errors)
            return
        errors[items[0]] = refusal
    else:
        reason = "a trigger of the table left it out without an error"
        errors.update({item: RefusedRowError(reason, reason=reason, is_certain=False) for item in missing})


def _refusal_of(error: DBAPIError | RefusedRowError) -> RefusedRowError:
    """Return what an error says against a row; raise it where it is no row's."""
    if isinstance(error, RefusedRowError):
        return error
    fault = judge(error)
    if fault in {Fault.SERVER, Fault.SCHEMA}:
        raise error
    reason = short_message(error)
    return RefusedRowError(reason, reason=reason, is_certain=fault is Fault.ROW)


def speak_now(connection: Connection) -> None:
    """Let what would speak at the commit speak now, while it can be told whose fault it is."""
    connection.exec_driver_sql("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")


def describe_refusals(refused: Mapping[str, str], table: str) -> str:
    """Return what the database refused of a table, by the name of each row, in words that say what to do."""
    shown = [f"{name!r}: {reason}" for name, reason in list(refused.items())[:_SHOWN_REFUSALS]]
    more = f" and {len(refused) - len(shown)} more" if len(refused) > len(shown) else ""
    return (
        f"the database refuses {len(refused)} rows of {table}, each alone: {'; '.join(shown)}{more}. Correct "
        "the constraint, trigger or policy of the table that says so"
    )


def is_everybodys(errors: Sequence[DatabaseError], *, has_taken: bool) -> bool:
    """Tell what fails for each row alone, and so is no row's fault, from rows that are refused for their own.

    A single row that none stands beside has the benefit of the doubt to be the only one.
    """
    is_certain = any(isinstance(error, RefusedRowError) and error.is_certain for error in errors)
    return len(errors) > 1 and not has_taken and not is_certain


def reason_of(error: RefusedRowError | ConflictError) -> str:
    """Return the database's own words."""
    return error.reason if isinstance(error, RefusedRowError) else str(error)


def _write_parts(
    database: Database,
    items: Sequence[Item],
    write: Callable[[Connection, Sequence[Item]], object],
    refused: list[tuple[Item, RefusedRowError | ConflictError]],
    *,
    repeats: int,
) -> int:
    if not items:
        return 0
    failure = _write_once(database, items, write)
    for _ in range(repeats):
        if not isinstance(failure, ConflictError):
            break
        failure = _write_once(database, items, write)
    if failure is None:
        return len(items)
    if len(items) == 1:
        refused.append((items[0], failure))
        return 0
    middle = len(items) // 2
    return sum(
        _write_parts(database, part, write, refused, repeats=min(repeats, _CONFLICT_REPEATS_OF_PARTS))
        for part in (items[:middle], items[middle:])
    )


def _write_once(
    database: Database, items: Sequence[Item], write: Callable[[Connection, Sequence[Item]], object]
) -> RefusedRowError | ConflictError | None:
    try:
        with database.begin() as connection:
            write(connection, items)
    # A trigger may call a conflict what it says of one row each time.
    except (RefusedRowError, ConflictError) as error:
        return error
    return None
