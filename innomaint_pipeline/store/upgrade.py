"""`innomaint db upgrade`: create or adopt the tables of every source, then run the revisions.

Belongs here: the order of it, and the line of each source: its tables, and what it does at the end. One
transaction under an advisory lock: two upgrades at once wait for each other, a killed one leaves the old
state.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from innomaint_pipeline import crash_points
from innomaint_pipeline.errors import AdoptionError, DatabaseError
from innomaint_pipeline.store.adoption import reconcile, write_comments
from innomaint_pipeline.store.database import (
    AdvisoryLock,
    Database,
    is_server_trouble,
    short_message,
    sqlstate,
    take_lock,
)
from innomaint_pipeline.store.innomaint import tables as innomaint_tables
from innomaint_pipeline.store.innomaint.batches import finish_upgrade as finish_innomaint_upgrade
from innomaint_pipeline.store.maximo.schema import upgrade_schema as upgrade_maximo
from innomaint_pipeline.store.tables import metadata

SOURCE_TABLES = (innomaint_tables,)
"""Importing the tables of a source adds them to `metadata`."""

_VERSION_TABLE = "innomaint_schema_version"
_OLDEST_SERVER = 150000


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


def _config() -> Config:
    config = Config()
    # Alembic's options know "%(name)s": a percent sign in the path is written twice.
    folder = str(Path(__file__).parent / "migrations").replace("%", "%%")
    config.set_main_option("script_location", folder)
    config.attributes["version_table"] = _VERSION_TABLE
    return config


def upgrade_database(database: Database, *, batch_size: int) -> list[str]:
    """Bring the database up to date; return what was done, a sentence each, or nothing.

    Rows that already stand in ic3_asset_master get their state and their batch. Repeatable at will.
    """
    try:
        with database.begin() as connection:
            version = int(connection.execute(text("SHOW server_version_num")).scalar_one())
            if version < _OLDEST_SERVER:
                raise DatabaseError(
                    f"{database.place} is PostgreSQL {version // 10000}; 15 or later is needed"
                )
            take_lock(connection, AdvisoryLock.UPGRADE)
            done = reconcile(connection)
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            done += write_comments(connection)
            done += upgrade_maximo(connection)
            done += finish_innomaint_upgrade(connection, batch_size=batch_size)
            crash_points.reach("upgrade: batches given")
    except (DBAPIError, DatabaseError) as error:
        cause = error if isinstance(error, DBAPIError) else error.__cause__
        if not isinstance(cause, DBAPIError) or is_server_trouble(cause):
            raise
        if sqlstate(cause) == "42501":
            raise DatabaseError(
                f"{database.place}: {short_message(cause)}; use a role that may create tables"
            ) from cause
        raise AdoptionError(
            f"{database.place} cannot be upgraded: {short_message(cause)}; nothing was changed"
        ) from cause
    crash_points.reach("upgrade: committed")
    return done
