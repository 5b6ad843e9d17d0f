"""`innomaint db upgrade`: create or adopt the tables of every source, then run the revisions.

Belongs here: the order of it, and the line of each source: its tables, and what it does at the end. One
transaction under an advisory lock: two upgrades at once wait for each other, a killed one leaves the old
state.
"""

from __future__ import annotations

import threading
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Connection, MetaData, Table, Text, text
from sqlalchemy.exc import DBAPIError

from innomaint_pipeline import crash_points
from innomaint_pipeline.errors import AdoptionError, DatabaseError
from innomaint_pipeline.store.adoption import describe_tables, reconcile
from innomaint_pipeline.store.customers.tables import customers_metadata
from innomaint_pipeline.store.database import AdvisoryLock, Database, take_lock
from innomaint_pipeline.store.faults import Fault, is_lock_timeout, judge, lacks_right, short_message
from innomaint_pipeline.store.innomaint import tables as innomaint_tables
from innomaint_pipeline.store.innomaint.batches import finish_upgrade as finish_innomaint_upgrade
from innomaint_pipeline.store.maximo.schema import upgrade_schema as upgrade_maximo
from innomaint_pipeline.store.readiness import check_server
from innomaint_pipeline.store.schemas import upgrade_tables
from innomaint_pipeline.store.settings import require_account, save_account
from innomaint_pipeline.store.tables import metadata

SOURCE_TABLES = (innomaint_tables,)
"""Importing the tables of a source adds them to `metadata`."""

_LONGEST_LOCK_WAIT_SECONDS = 5
_VERSION_TABLE = "innomaint_schema_version"
# What a revision works on is one global of the process: two threads would take each other's connection.
_ONE_AT_A_TIME = threading.Lock()
# Alembic makes it.
_version_table = Table(
    _VERSION_TABLE,
    MetaData(),
    Column("version_num", Text, comment="the newest revision that has run"),
    comment="How far the revisions of this program have run: one row",
)


def find_missing(connection: Connection) -> str | None:
    """Return in words what a database lacks that `upgrade_database` would add, None when it is up to date."""
    rows = connection.execute(
        text(
            "SELECT table_name::text, column_name::text FROM information_schema.columns "
            "WHERE table_schema = current_schema()"
        )
    )
    present = set(rows.tuples().all())
    for table in metadata.sorted_tables:
        missing = [column.name for column in table.columns if (table.name, column.name) not in present]
        if missing:
            return f"table or column {table.name}.{missing[0]}"
    if (_VERSION_TABLE, "version_num") not in present:
        return f"table {_VERSION_TABLE}"
    applied = connection.execute(text(f"SELECT version_num FROM {_VERSION_TABLE}")).scalars().all()  # noqa: S608 # a constant
    newest = ScriptDirectory.from_config(_config()).get_current_head()
    return None if newest in applied else f"revision {newest}"


def check_tables(database: Database) -> None:
    """Raise `DatabaseError` where the tables are not up to date."""
    with database.begin() as connection:
        missing = find_missing(connection)
    if missing is not None:
        raise DatabaseError(f"the database ({database.place}) lacks {missing}; run: innomaint db upgrade")


_HAS_SETTINGS = text("select to_regclass(quote_ident(current_schema()) || '.innomaint_setting') is not null")
_HOLDERS = text(
    """
    select a.pid, a.usename::text, coalesce(nullif(a.application_name, ''), 'a program without a name'),
           string_agg(distinct c.relname, ', ')
    from pg_locks l join pg_class c on c.oid = l.relation join pg_stat_activity a on a.pid = l.pid
    where l.granted and c.relname = any(:names) and a.datname = current_database()
      and c.relnamespace = to_regnamespace(quote_ident(current_schema())) and a.pid <> pg_backend_pid()
    group by 1, 2, 3 order by 1
    """
)


def _name_holders(database: Database) -> str:
    """Return in words whose locks the upgrade has waited for."""
    with database.begin() as connection:
        found = connection.execute(_HOLDERS, {"names": list(metadata.tables)}).tuples().all()
    held = "; ".join(
        f"process {pid} (role {role}, {name}) holds {tables}" for pid, role, name, tables in found
    )
    ends = " ".join(f"SELECT pg_terminate_backend({row[0]});" for row in found)
    return (
        f"{database.place} was not upgraded: its tables are in use, and {_LONGEST_LOCK_WAIT_SECONDS} s were "
        f"waited in vain. {held or 'Whoever held them has ended meanwhile'}. Nothing was changed; run "
        f"innomaint db upgrade again when that has ended{f', or end it: {ends}' if ends else ''}"
    )


def _config() -> Config:
    config = Config()
    # Alembic's options know "%(name)s": a percent sign in the path is written twice.
    folder = str(Path(__file__).parent / "migrations").replace("%", "%%")
    config.set_main_option("script_location", folder)
    config.attributes["version_table"] = _VERSION_TABLE
    return config


def upgrade_database(database: Database, *, batch_size: int, account: str | None = None) -> list[str]:
    """Bring the database up to date; return what was done, a sentence each, or nothing.

    Rows that already stand in ic3_asset_master get their state and their batch. Repeatable at will. A
    database that gets its tables remembers for which account; `ConfigurationError` where it is another's.
    """
    try:
        with database.begin() as connection:
            check_server(connection, database.place)
            take_lock(connection, AdvisoryLock.UPGRADE)
            # Whoever reads the tables would queue behind an upgrade that waits.
            connection.execute(text(f"SET LOCAL lock_timeout = '{_LONGEST_LOCK_WAIT_SECONDS}s'"))
            is_new = not connection.execute(_HAS_SETTINGS).scalar_one()
            done = reconcile(connection)
            config = _config()
            config.attributes["connection"] = connection
            with _ONE_AT_A_TIME:
                command.upgrade(config, "head")
            done += describe_tables(connection, (*metadata.sorted_tables, _version_table))
            done += upgrade_maximo(connection)
            done += upgrade_tables(connection, customers_metadata)
            done += finish_innomaint_upgrade(connection, batch_size=batch_size)
            if is_new and account is not None:
                save_account(connection, account)
                done.append(f"the database is that of the account {account} from now on")
            require_account(connection, account)
            crash_points.reach("upgrade: batches given")
    except DatabaseError as error:
        cause = error.__cause__
        if is_lock_timeout(cause):
            raise DatabaseError(_name_holders(database)) from error
        if not isinstance(cause, DBAPIError) or judge(cause) is Fault.SERVER:
            raise
        if lacks_right(cause):
            raise DatabaseError(
                f"{database.place}: {short_message(cause)}; use a role that may create tables "
                "there, or GRANT USAGE, CREATE on its schema to this one (docs/database-roles.md)"
            ) from cause
        raise AdoptionError(
            f"{database.place} cannot be upgraded: {short_message(cause)}; nothing was changed"
        ) from cause
    crash_points.reach("upgrade: committed")
    return done
