"""The offline file: the tables of Maximo as one SQLite file that people carry.

Belongs here: reading all tables in one snapshot, writing them beside the target, replacing it in one step, so
that a reader sees the old file or the new one, never half of one.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from datetime import UTC, date, datetime, time
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import Connection, Numeric, Select, Table, or_, select, text
from sqlalchemy.types import BigInteger, Boolean, Integer

from innomaint_pipeline.domain.maximo.declarations import STRUCTURES
from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.maximo.schema import require_schema
from innomaint_pipeline.store.maximo.tables import EXPORTED, TABLES, root_table, sync_run

_HEAD = b"SQLite format 3\0"
_PARTIAL = ".partial-"
_ROWS_AT_ONCE = 1000
_SIDECARS = ("-journal", "-wal", "-shm")


def export(database: Database, target: Path, sites: Sequence[str] = ()) -> dict[str, int]:
    """Write the offline file; return how many rows each table has in it.

    With `sites`, rows of others are left out; what has no site is kept. Raises `ConfigurationError` for a
    target that is no offline file or cannot be written.
    """
    target = target.expanduser().absolute()
    _check_target(target)
    _remove_leftovers(target)
    partial = target.with_name(f".{target.name}{_PARTIAL}{os.getpid()}")
    try:
        # Nobody else may read it, from its first byte on.
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with closing(sqlite3.connect(partial)) as file:
            counts = _write(database, file, sites)
        with partial.open("rb+") as written:
            os.fsync(written.fileno())
        for ending in _SIDECARS:
            # A journal of the old file would be taken for one of the new.
            target.with_name(target.name + ending).unlink(missing_ok=True)
        partial.replace(target)
    except OSError as error:
        raise ConfigurationError(
            f"{target} cannot be written ({error.strerror}): choose another place"
        ) from None
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    return counts


def _check_target(target: Path) -> None:
    if not target.parent.is_dir():
        raise ConfigurationError(f"the folder {target.parent} does not exist: make it, or choose another")
    if not target.exists():
        return
    try:
        with target.open("rb") as held:
            head = held.read(len(_HEAD))
    except OSError as error:
        raise ConfigurationError(f"{target} cannot be read ({error.strerror}): choose another file") from None
    if head not in {_HEAD, b""}:
        raise ConfigurationError(
            f"{target} is there and no SQLite file: it is not overwritten; choose another name"
        )


def _remove_leftovers(target: Path) -> None:
    """Remove what exports that were killed have left."""
    for path in target.parent.glob(f".{target.name}{_PARTIAL}*"):
        number = path.name.rpartition("-")[2]
        if not number.isdecimal() or int(number) == os.getpid() or not psutil.pid_exists(int(number)):
            path.unlink(missing_ok=True)


def _write(database: Database, file: sqlite3.Connection, sites: Sequence[str]) -> dict[str, int]:
    file.execute("PRAGMA journal_mode = OFF")
    file.execute("PRAGMA synchronous = OFF")
    counts: dict[str, int] = {}
    with database.snapshot() as connection:
        require_schema(connection)
        for table in EXPORTED:
            _create(file, table)
            counts[table.name] = _copy(connection, file, table, sites)
            _create_indexes(file, table)
        counts["sync_status"] = _copy_status(connection, file)
        _write_info(connection, file, counts)
    file.commit()
    return counts


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _kind(column: Any) -> str:
    return "INTEGER" if isinstance(column.type, (BigInteger, Integer, Boolean)) else "TEXT"


def _create(file: sqlite3.Connection, table: Table) -> None:
    columns = []
    for column in table.columns:
        required = " NOT NULL" if column.primary_key else ""
        columns.append(f"{_quote(column.name)} {_kind(column)}{required}")
        if isinstance(column.type, Numeric):
            columns.append(f"{_quote(f'{column.name}_real')} REAL")
    keys = ", ".join(_quote(column.name) for column in table.primary_key.columns)
    file.execute(f"CREATE TABLE {_quote(table.name)} ({', '.join(columns)}, PRIMARY KEY ({keys}))")


def _create_indexes(file: sqlite3.Connection, table: Table) -> None:
    for column in table.columns:
        if column.foreign_keys:
            name = _quote(f"ix_{table.name}_{column.name}")
            file.execute(f"CREATE INDEX {name} ON {_quote(table.name)} ({_quote(column.name)})")


def _copy(connection: Connection, file: sqlite3.Connection, table: Table, sites: Sequence[str]) -> int:
    width = len(table.columns) + sum(isinstance(column.type, Numeric) for column in table.columns)
    places = ", ".join("?" * width)
    insert = f"INSERT INTO {_quote(table.name)} VALUES ({places})"  # noqa: S608 # declared names
    count = 0
    statement = _at_sites(select(table), table, sites).order_by(*table.primary_key.columns)
    found = connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(statement)
    for rows in found.partitions():
        file.executemany(insert, [list(_values(table, row)) for row in rows])
        count += len(rows)
    return count


def _at_sites(statement: Select, table: Table, sites: Sequence[str]) -> Select:
    if not sites:
        return statement
    if table.name not in TABLES:
        site = table.c["site"]
        return statement.where(or_(site.in_(sites), site == "", site.is_(None)))
    structure = next(item for item in STRUCTURES if table.name in {spec.name for spec in item.tables()})
    if not structure.has_site:
        return statement
    root = root_table(structure)
    if table is root:
        return statement.where(or_(root.c["siteid"].in_(sites), root.c["siteid"].is_(None)))
    spec = next(spec for spec in structure.tables() if spec.name == table.name)
    ((link, parent),) = spec.links.items()
    kept = select(root.c[parent]).where(or_(root.c["siteid"].in_(sites), root.c["siteid"].is_(None)))
    return statement.where(table.c[link].in_(kept))


def _values(table: Table, row: Any) -> Iterator[Any]:
    for column, value in zip(table.columns, row, strict=True):
        yield _plain(value)
        if isinstance(column.type, Numeric):
            yield None if value is None else float(value)


def _plain(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return value


def _copy_status(connection: Connection, file: sqlite3.Connection) -> int:
    file.execute(
        "CREATE TABLE sync_status "
        "(endpoint TEXT PRIMARY KEY, last_sync TEXT, record_count INTEGER, status TEXT, message TEXT)"
    )
    rows = connection.execute(
        text("SELECT endpoint, last_sync, record_count, status, message FROM maximo.sync_status")
    )
    plain = [[_plain(value) for value in row] for row in rows]
    file.executemany("INSERT INTO sync_status VALUES (?, ?, ?, ?, ?)", plain)
    return len(plain)


def _write_info(connection: Connection, file: sqlite3.Connection, counts: dict[str, int]) -> None:
    newest = (
        select(sync_run.c.endpoint, sync_run.c.site, sync_run.c.run_id)
        .where(sync_run.c.status != "error")
        .distinct(sync_run.c.endpoint, sync_run.c.site)
        .order_by(sync_run.c.endpoint, sync_run.c.site, sync_run.c.id.desc())
    )
    runs = {
        row.endpoint + (f"/{row.site}" if row.site else ""): row.run_id for row in connection.execute(newest)
    }
    moment = connection.execute(text("SELECT now()")).scalar_one()
    file.execute("CREATE TABLE export_info (name TEXT PRIMARY KEY, value TEXT)")
    file.executemany(
        "INSERT INTO export_info VALUES (?, ?)",
        [
            ("exported_at", _plain(moment)),
            ("version", version("innomaint-pipeline")),
            ("runs", json.dumps(runs)),
            ("counts", json.dumps(counts)),
        ],
    )
