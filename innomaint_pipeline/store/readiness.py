"""Whether a database can be worked with, looked at before anything is written.

Belongs here: what a role, a server or a database may lack, each with the statement that helps. What stands in
the way of the tables is told by `store.objections`.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.rows import namedtuple_row
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from innomaint_pipeline.errors import DatabaseError
from innomaint_pipeline.store.connections import connect, ensure_database, name_place, read_address
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.faults import first_line
from innomaint_pipeline.store.tables import metadata

_ENCODING = "UTF8"
# Some of Dagster's tables, by which it is seen whether they are there.
_OF_DAGSTER = ("runs", "event_logs", "alembic_version")

_PLACE = """
    select quote_ident(current_database()) as database, quote_ident(current_user) as role,
           quote_ident(current_schema()) as schema, current_setting('search_path') as search_path,
           getdatabaseencoding() as encoding, current_setting('server_version_num')::int as version,
           current_setting('transaction_read_only')::bool as is_read_only,
           pg_is_in_recovery() as is_standby,
           has_database_privilege(current_database(), 'TEMPORARY') as may_stage,
           has_schema_privilege(current_schema(), 'CREATE') as may_create
"""
_TABLES_WITHOUT_RIGHTS = """
    select quote_ident(c.relname) from pg_class c
    where c.relnamespace = to_regnamespace(quote_ident(current_schema())) and c.relkind in ('r', 'p')
      and c.relname = any({names})
      and not (has_table_privilege(c.oid, 'SELECT') and has_table_privilege(c.oid, 'INSERT')
               and has_table_privilege(c.oid, 'UPDATE') and has_table_privilege(c.oid, 'DELETE'))
    order by 1
"""
# Keys of adopted tables may come from a sequence; one of an identity needs no right of its own.
_SEQUENCES_WITHOUT_RIGHTS = """
    select s.oid::regclass::text from pg_class s
    join pg_depend d on d.objid = s.oid and d.classid = 'pg_class'::regclass and d.deptype = 'a'
    join pg_class c on c.oid = d.refobjid
    where s.relkind = 'S' and c.relnamespace = to_regnamespace(quote_ident(current_schema()))
      and c.relname = any({names})
      and case when s.relkind = 'S' then not has_sequence_privilege(s.oid, 'USAGE') end
    order by 1
"""
_OLDEST_SERVER = 150000


def check_server(connection: Connection, place: str) -> None:
    """Raise `DatabaseError` where a database cannot hold the tables, whatever they are."""
    found = connection.execute(text(_PLACE)).one()
    if found.version < _OLDEST_SERVER:
        raise DatabaseError(f"{place} is PostgreSQL {found.version // 10000}; 15 or later is needed")
    if found.encoding != _ENCODING:
        name = found.database.strip('"')
        raise DatabaseError(
            f"{place} is encoded in {found.encoding}, which cannot hold every character; expected "
            f"{_ENCODING}. Make a new database, copy the tables into it (pg_dump, psql) and name it in the "
            f"address: CREATE DATABASE {name}_utf8 ENCODING '{_ENCODING}' TEMPLATE template0;"
        )
    _refuse_lacks(place, _find_lacks_of_place(found))


def _find_lacks_of_place(place: Any) -> list[str]:
    """Return what a row of `_PLACE` lacks."""
    lacks: list[str] = []
    if place.is_standby:
        lacks.append(
            "it is a standby, which takes no changes: name the primary server in the address, or several "
            "hosts with target_session_attrs=read-write"
        )
    elif place.is_read_only:
        lacks.append(
            f"it takes no changes: ALTER DATABASE {place.database} SET default_transaction_read_only = off;"
        )
    if place.schema is None:
        lacks.append(
            f"no schema of the search path ({place.search_path}) is there and open to the role: "
            f"CREATE SCHEMA …; or GRANT USAGE ON SCHEMA … TO {place.role};"
        )
    return lacks


def _refuse_lacks(place: str, lacks: list[str]) -> None:
    if lacks:
        raise DatabaseError(f"the database ({place}) cannot be used: {' '.join(lacks)}")


def check_rights(database: Database) -> None:
    """Raise `DatabaseError` where a command that changes rows would fail for want of a right."""
    names = {"names": list(metadata.tables)}
    with database.begin() as connection:
        check_server(connection, database.place)
        found = connection.execute(text(_PLACE)).one()
        tables = connection.execute(text(_TABLES_WITHOUT_RIGHTS.format(names=":names")), names)
        lacks = _grants(found.role, list(tables.scalars()))
        sequences = connection.execute(text(_SEQUENCES_WITHOUT_RIGHTS.format(names=":names")), names)
        lacks += [f"GRANT USAGE ON SEQUENCE {name} TO {found.role};" for name in sequences.scalars()]
        if not found.may_stage:
            lacks.append(f"GRANT TEMPORARY ON DATABASE {found.database} TO {found.role};")
    if lacks:
        raise DatabaseError(
            f"the role {found.role} lacks rights in the database ({database.place}). Its administrator has "
            f"to run: {' '.join(lacks)}"
        )


def _grants(role: str, tables: list[str]) -> list[str]:
    if not tables:
        return []
    return [f"GRANT SELECT, INSERT, UPDATE, DELETE ON {', '.join(tables)} TO {role};"]


def find_dagster_trouble(error: BaseException, url: str) -> DatabaseError | None:
    """Return what of an error is the trouble of Dagster's own database, None where it is another.

    Looks through what caused it, and asks the database itself where the causes do not tell.
    """
    place = name_place(url)
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, DBAPIError):
            words = first_line(cause.orig)
            return DatabaseError(f"Dagster's database ({place}) is unreachable or refuses: {words}")
        cause = cause.__cause__ or cause.__context__
    try:
        with connect(read_address(url)):
            return None
    except psycopg.Error as refusal:
        words = first_line(refusal)
        return DatabaseError(f"Dagster's database ({place}) is unreachable or refuses: {words}")


def check_dagster(url: str) -> None:
    """Create Dagster's database if it is missing; raise `DatabaseError` where Dagster cannot work in it."""
    ensure_database(url)
    place = name_place(url)
    try:
        with (
            connect(read_address(url)) as connection,
            connection.cursor(row_factory=namedtuple_row) as cursor,
        ):
            found: Any = cursor.execute(_PLACE).fetchone()
            lacks = _find_lacks_of_place(found)
            if not lacks:
                query = "select to_regclass(name) is not null from unnest(%s::text[]) name"
                is_there = all(is_there for (is_there,) in cursor.execute(query, [list(_OF_DAGSTER)]))
                closed = [
                    name
                    for (name,) in cursor.execute(
                        _TABLES_WITHOUT_RIGHTS.format(names="%s").encode(), [list(_OF_DAGSTER)]
                    )
                ]
                lacks = _grants(found.role, closed)
                if not is_there and not found.may_create:
                    lacks.append(
                        f"the role {found.role} may not make Dagster's tables there: GRANT USAGE, CREATE ON "
                        f"SCHEMA {found.schema} TO {found.role};"
                    )
    except psycopg.Error as error:
        raise DatabaseError(f"the database ({place}) refuses: {first_line(error)}") from error
    _refuse_lacks(place, lacks)
