"""What a command needs around it: the databases, and the variables that Dagster's processes read.

Belongs here: finding or starting the embedded PostgreSQL, and everything that is handed to child processes.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click
from filelock import FileLock

from innomaint_pipeline.cli.output import say
from innomaint_pipeline.embedded.server import embedded_postgres
from innomaint_pipeline.errors import ConfigurationError, DatabaseError
from innomaint_pipeline.settings import Settings, describe_open_env_file, load_settings
from innomaint_pipeline.store.connections import (
    in_same_server,
    with_driver,
    with_options_of_environment,
)
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.readiness import check_dagster, check_rights
from innomaint_pipeline.store.upgrade import check_tables, upgrade_database

_IC3_DATABASE = "ic3"
_DAGSTER_DATABASE = "dagster"


@dataclass(frozen=True)
class Addresses:
    """The two databases of one installation.

    `is_embedded` tells whether the IC3 one is ours to upgrade at will.
    """

    ic3_url: str = field(repr=False)
    dagster_url: str = field(repr=False)
    is_embedded: bool


def own_settings() -> Settings:
    """Return the settings of the person who runs the command, and tell of a .env that others may read."""
    if warning := describe_open_env_file():
        say(warning)
    return load_settings()


def command_settings() -> Settings:
    """Return the settings of the command: the person's, or with --demo the demonstration's."""
    settings = own_settings()
    root = click.get_current_context().find_root()
    if not root.params["is_demo"]:
        return settings
    from innomaint_pipeline.cli.demo import demo_environment

    return root.with_resource(demo_environment(settings, has_outage=False))


def project_folder() -> Path:
    """Return the folder of dagster.yaml and workspace.yaml: the working directory, or the source checkout."""
    for folder in (Path.cwd(), Path(__file__).resolve().parents[2]):
        if (folder / "dagster.yaml").is_file() and (folder / "workspace.yaml").is_file():
            return folder
    raise ConfigurationError(
        "dagster.yaml and workspace.yaml were not found: run innomaint in the project's folder, "
        "which holds them"
    )


@contextmanager
def open_addresses(settings: Settings) -> Iterator[Addresses]:
    """Yield the addresses; the embedded server runs as long as somebody needs it."""
    with ExitStack() as stack:
        ic3 = settings.ic3_database_url
        dagster = settings.dagster_pg_url
        if ic3 is None:
            make_home(settings.home)
            server = stack.enter_context(embedded_postgres(settings.home))
            server.ensure_database(_IC3_DATABASE)
            ic3_url = server.url(_IC3_DATABASE)
        else:
            ic3_url = ic3.get_secret_value()
        ic3_url = with_options_of_environment(ic3_url)
        if dagster is None:
            # A schema chosen for the IC3 tables is none of Dagster's.
            os.environ.pop("PGOPTIONS", None)
        dagster_url = dagster.get_secret_value() if dagster else in_same_server(ic3_url, _DAGSTER_DATABASE)
        yield Addresses(ic3_url, dagster_url, is_embedded=ic3 is None)


@contextmanager
def open_database(
    settings: Settings,
    *,
    is_writing: bool = True,
    uses_dagster: bool = False,
    is_upgraded_next: bool = False,
) -> Iterator[tuple[Database, Addresses]]:
    """Yield the IC3 database; an embedded one gets its tables, a server's only on `innomaint db upgrade`.

    What is needed, by a command that changes rows (`is_writing`) and one that works with Dagster
    (`uses_dagster`), is looked at before anything is written.
    """
    with open_addresses(settings) as addresses:
        database = Database(addresses.ic3_url)
        try:
            if uses_dagster:
                make_home(settings.home)
            if not (addresses.is_embedded or is_upgraded_next):
                if is_writing:
                    check_rights(database)
                check_tables(database)
            if uses_dagster:
                _check_dagster(addresses)
            if addresses.is_embedded:
                upgrade_database(database, batch_size=settings.innomaint_batch_size)
            yield database, addresses
        finally:
            database.close()


def make_home(home: Path) -> None:
    """Make the data folder, and see that files can be written there; raise `ConfigurationError` if not."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home):
            pass
    except OSError as error:
        raise ConfigurationError(
            f"INNOMAINT_HOME: the folder {home} cannot be made or written to ({error.strerror}); name one "
            "that this user may write to, then start again"
        ) from None


def _check_dagster(addresses: Addresses) -> None:
    try:
        check_dagster(addresses.dagster_url)
    except DatabaseError as error:
        raise DatabaseError(
            f"Dagster's database cannot be used: {str(error).rstrip('.')}. Or set DAGSTER_PG_URL to one in "
            "which the role may make tables"
        ) from error


def export_for_dagster(settings: Settings, addresses: Addresses) -> None:
    """Set the variables that Dagster's processes read, in this process and its children.

    Afterwards Dagster's database has its tables.
    """
    os.environ |= {
        "DAGSTER_HOME": str(project_folder()),
        # Named, because "postgresql://" means another driver from SQLAlchemy 2.1 on.
        "DAGSTER_PG_URL": with_driver(addresses.dagster_url, "psycopg2"),
        "IC3_DATABASE_URL": addresses.ic3_url,
        "INNOMAINT_HOME": str(settings.home),
        "DAGSTER_DISABLE_TELEMETRY": "yes",
    }
    import dagster as dg

    # Processes that make Dagster's tables at the same time disturb each other, and one may fail.
    with FileLock(settings.home / "dagster.lock"), dg.DagsterInstance.get():
        pass
