"""Bring a database to the declaration of `store.tables` without losing a row.

See docs/tables.md.

Belongs here: what can be added to tables that may already exist: tables, columns, defaults, keys, indexes.
What cannot be expressed as an addition is an Alembic revision. Everything runs in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import (
    Column,
    Connection,
    Index,
    Inspector,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
    inspect,
    text,
)
from sqlalchemy.schema import AddConstraint, CreateIndex, CreateTable
from sqlalchemy.types import TypeEngine

from innomaint_pipeline import crash_points
from innomaint_pipeline.errors import AdoptionError
from innomaint_pipeline.store.tables import metadata

# the beginning of a type's name -> what values of it can be written from one another
_FAMILIES = {
    "INTEGER": "number",
    "BIGINT": "number",
    "SMALLINT": "number",
    "NUMERIC": "number",
    "DOUBLE": "number",
    "REAL": "number",
    "TEXT[]": "texts",
    "TEXT": "text",
    "VARCHAR": "text",
    "CHAR": "text",
    "TIMESTAMP": "time",
}
_SHOWN_DUPLICATES = 10


def _family(connection: Connection, column_type: TypeEngine) -> str:
    name = column_type.compile(connection.dialect).upper()
    return next((family for start, family in _FAMILIES.items() if name.startswith(start)), name)


def _quoted(connection: Connection, name: str) -> str:
    return connection.dialect.identifier_preparer.quote(name)


def _list(connection: Connection, names: Iterable[str]) -> str:
    return ", ".join(_quoted(connection, name) for name in names)


def reconcile(connection: Connection) -> list[str]:
    """Create what is missing and return what was done, a sentence each; an empty list the second time.

    Raises `AdoptionError` when existing rows or columns stand in the way; nothing is changed then.
    """
    done: list[str] = []
    inspector = inspect(connection)
    existing = set(inspector.get_table_names())
    for table in metadata.sorted_tables:
        if table.name not in existing:
            connection.execute(CreateTable(table))
            for index in sorted(table.indexes, key=lambda item: str(item.name)):
                connection.execute(CreateIndex(index))
            done.append(f"created table {table.name}")
        else:
            done += _adopt(connection, inspector, table)
        crash_points.reach("upgrade: table made or adopted")
    crash_points.reach("upgrade: tables declared")
    return done


def _adopt(connection: Connection, inspector: Inspector, table: Table) -> list[str]:
    done: list[str] = []
    found = {column["name"]: column for column in inspector.get_columns(table.name)}
    for column in table.columns:
        if column.name not in found:
            _add_column(connection, table, column)
            done.append(f"added column {table.name}.{column.name}")
            continue
        actual = found[column.name]["type"]
        if _family(connection, column.type) != _family(connection, actual):
            raise AdoptionError(
                f"{table.name}.{column.name} exists as {actual}, expected {column.type}: "
                "convert the column, then run innomaint db upgrade again"
            )
    declared = {column.name for column in table.columns}
    for name, column in found.items():
        is_filled = (
            column["nullable"]
            or column["default"] is not None
            or column.get("identity")
            or column.get("computed")
        )
        if name not in declared and not is_filled:
            raise AdoptionError(
                f"{table.name}.{name} is NOT NULL without a default, so that no row could be added: "
                "give it a default or allow null, then run innomaint db upgrade again"
            )
    done += _adopt_defaults(connection, table, found)
    done += _adopt_identity(connection, table, found)
    done += _adopt_keys(connection, inspector, table)
    known = {index["name"] for index in inspector.get_indexes(table.name)}
    for index in sorted(table.indexes, key=lambda item: str(item.name)):
        if index.name not in known:
            connection.execute(CreateIndex(index))
            done.append(f"created index {index.name}")
    return done


def _add_column(connection: Connection, table: Table, column: Column) -> None:
    specification = connection.dialect.ddl_compiler(connection.dialect, None).get_column_specification(column)  # pyright: ignore[reportArgumentType]
    connection.execute(text(f"ALTER TABLE {_quoted(connection, table.name)} ADD COLUMN {specification}"))


def _adopt_defaults(connection: Connection, table: Table, found: dict) -> list[str]:
    """Give columns that are filled by a default, like created_at, theirs.

    They may be NOT NULL without one.
    """
    done: list[str] = []
    compiler = connection.dialect.ddl_compiler(connection.dialect, None)  # pyright: ignore[reportArgumentType]
    for column in table.columns:
        actual = found.get(column.name)
        default = compiler.get_column_default_string(column)
        if default is None or actual is None or actual["default"] is not None:
            continue
        name, key = _quoted(connection, table.name), _quoted(connection, column.name)
        connection.execute(text(f"ALTER TABLE {name} ALTER COLUMN {key} SET DEFAULT {default}"))
        done.append(f"gave {table.name}.{column.name} its default")
    return done


def _adopt_identity(connection: Connection, table: Table, found: dict) -> list[str]:
    """Give a generated key of an existing table its generator, continuing after the highest value."""
    done: list[str] = []
    for column in table.columns:
        actual = found.get(column.name)
        if (
            column.identity is None
            or actual is None
            or actual["default"] is not None
            or actual.get("identity")
        ):
            continue
        name, key = _quoted(connection, table.name), _quoted(connection, column.name)
        if actual["nullable"]:
            _refuse_nulls(connection, table, [column.name])
            connection.execute(text(f"ALTER TABLE {name} ALTER COLUMN {key} SET NOT NULL"))
        highest = connection.execute(text(f"SELECT coalesce(max({key}), 0) + 1 FROM {name}")).scalar_one()  # noqa: S608 # names from tables.py
        connection.execute(
            text(
                f"ALTER TABLE {name} ALTER COLUMN {key} ADD GENERATED BY DEFAULT AS IDENTITY (START "
                f"WITH {highest})"
            )
        )
        done.append(f"{table.name}.{column.name} is generated from {highest} on")
    return done


def _adopt_keys(connection: Connection, inspector: Inspector, table: Table) -> list[str]:
    primary = inspector.get_pk_constraint(table.name)
    present = {frozenset(primary["constrained_columns"])} if primary["constrained_columns"] else set()
    present |= {frozenset(key["column_names"]) for key in inspector.get_unique_constraints(table.name)}
    present |= {
        frozenset(index["column_names"])
        for index in inspector.get_indexes(table.name)
        if index["unique"] and not index.get("dialect_options", {}).get("postgresql_where")
    }
    done: list[str] = []
    for constraint in sorted(table.constraints, key=lambda item: type(item).__name__):
        if not isinstance(constraint, (PrimaryKeyConstraint, UniqueConstraint)):
            continue
        columns = [column.name for column in constraint.columns]
        if not columns or frozenset(columns) in present:
            continue
        _refuse_duplicates(connection, table, columns)
        if constraint is table.primary_key and not primary["constrained_columns"]:
            _refuse_nulls(connection, table, columns)
            # Isolated, the declaration itself would lose its key for the next CREATE TABLE of this process.
            connection.execute(AddConstraint(table.primary_key, isolate_from_table=False))
        else:
            unique = Index(
                f"uq_{table.name}_{'_'.join(columns)}", *(table.c[name] for name in columns), unique=True
            )
            connection.execute(CreateIndex(unique))
            table.indexes.discard(unique)
        done.append(f"added the key {table.name} ({', '.join(columns)})")
    return done


def _refuse_duplicates(connection: Connection, table: Table, columns: list[str]) -> None:
    names = _list(connection, columns)
    present = " AND ".join(f"{_quoted(connection, name)} IS NOT NULL" for name in columns)
    rows = connection.execute(
        text(
            f"SELECT {names}, count(*) FROM {_quoted(connection, table.name)} WHERE {present} "  # noqa: S608
            f"GROUP BY {names} HAVING count(*) > 1 ORDER BY {names}"
        )
    ).all()
    if rows:
        shown = "; ".join(
            f"{', '.join(repr(value) for value in row[:-1])} ({row[-1]} rows)"
            for row in rows[:_SHOWN_DUPLICATES]
        )
        more = f" and {len(rows) - _SHOWN_DUPLICATES} more" if len(rows) > _SHOWN_DUPLICATES else ""
        raise AdoptionError(
            f"{table.name} cannot take the unique key ({', '.join(columns)}): {shown}{more}. "
            "Merge or remove the duplicates, then run innomaint db upgrade again; nothing was changed"
        )


def _refuse_nulls(connection: Connection, table: Table, columns: list[str]) -> None:
    empty = " OR ".join(f"{_quoted(connection, name)} IS NULL" for name in columns)
    count = connection.execute(
        text(f"SELECT count(*) FROM {_quoted(connection, table.name)} WHERE {empty}")  # noqa: S608
    ).scalar_one()
    if count:
        raise AdoptionError(
            f"{table.name} cannot take the primary key ({', '.join(columns)}): {count} rows hold null there. "
            "Fill or remove them, then run innomaint db upgrade again; nothing was changed"
        )
