"""What a command needs around it: the databases, and the variables that Dagster's processes read.

Belongs here: finding or starting the embedded PostgreSQL, and everything that is handed to child processes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click

from innomaint_pipeline.accounts import WITHOUT_ENV_FILE, database_name, describe_open_env_files
from innomaint_pipeline.cli.output import say
from innomaint_pipeline.embedded.server import embedded_postgres
from innomaint_pipeline.errors import ConfigurationError, DatabaseError
from innomaint_pipeline.redaction import redact
from innomaint_pipeline.settings import (
    Settings,
    fingerprint,
    load_accounts,
    load_settings_of,
    resolve_variables,
)
from innomaint_pipeline.store.connections import (
    in_same_server,
    refuse_missing_database,
    with_driver,
    with_options_of_environment,
)
from innomaint_pipeline.store.database import AdvisoryLock, Database
from innomaint_pipeline.store.readiness import check_dagster, check_rights
from innomaint_pipeline.store.settings import require_account
from innomaint_pipeline.store.sole_use import Hold
from innomaint_pipeline.store.upgrade import check_tables, upgrade_database

_DAGSTER_DATABASE = "dagster"
CONCURRENT_RUNS = "INNOMAINT_CONCURRENT_RUNS"
"""How many runs Dagster executes at once, of all sources together; dagster.yaml reads it."""
# Three of a source that is busy, and as many of the others.
_RUNS_WITHOUT_ACCOUNTS = 6
_BATCHES_OF_EACH = 3
_OTHER_RUNS = 2
_DAGSTER_FILES = ("dagster.yaml", "workspace.yaml")
_PRINT_FINGERPRINT = (
    "from innomaint_pipeline.settings import fingerprint, load_settings; print(fingerprint(load_settings()))"
)
_MAKE_TABLES = "from innomaint_pipeline.cli.environment import make_dagster_tables; make_dagster_tables()"


@dataclass(frozen=True)
class Addresses:
    """The two databases of one installation.

    `is_embedded` tells whether the IC3 one is ours to upgrade at will.
    """

    ic3_url: str = field(repr=False)
    dagster_url: str = field(repr=False)
    is_embedded: bool


def own_settings() -> Settings:
    """Return the settings of the person who runs the command, and tell of a .env that others may read.

    Raise `ConfigurationError` where the folder holds several accounts and none was named.
    """
    whose = load_accounts()
    if whose.innomaint_accounts and whose.innomaint_account is None:
        raise ConfigurationError(
            f"INNOMAINT_ACCOUNTS names {', '.join(whose.innomaint_accounts)}: say which is meant, like "
            f"innomaint --account {whose.innomaint_accounts[0]}"
        )
    return settings_of(whose.innomaint_account)


def settings_of(account: str | None) -> Settings:
    """Return the settings of an account for a person, as `own_settings`."""
    if warning := describe_open_env_files(account):
        say(warning)
    settings = load_settings_of(account)
    if "innomaint_home" not in settings.model_fields_set:
        _refuse_foreign_folder(Path.cwd())
    return settings


def _refuse_foreign_folder(folder: Path) -> None:
    """Raise `ConfigurationError` where the data would be written into another Dagster project."""
    if _is_ours(folder):
        return
    names = [name for name in _DAGSTER_FILES if (folder / name).exists()]
    if names:
        raise ConfigurationError(
            f"{folder} belongs to another Dagster project (it holds {' and '.join(names)}), and nothing is "
            "written into it: start innomaint in a folder of its own, or set INNOMAINT_HOME"
        )


def command_settings() -> Settings:
    """Return the settings of the command: the person's, or with --demo the demonstration's."""
    root = click.get_current_context().find_root()
    if not root.params["is_demo"]:
        return own_settings()
    from innomaint_pipeline.cli.demo import demo_environment

    return root.with_resource(demo_environment(settings_of(None), has_outage=False))


CODE_FOLDER = Path(__file__).resolve().parents[2]
"""The folder that holds the package: nothing else is imported from where a command is started."""


def project_folder() -> Path:
    """Return the folder of dagster.yaml and workspace.yaml, which is the installation.

    It is a DAGSTER_HOME that holds a dagster.yaml, else the working directory, else the source checkout.
    """
    chosen = os.environ.get("DAGSTER_HOME")
    if chosen and (Path(chosen) / "dagster.yaml").is_file():
        return Path(chosen).resolve()
    for folder in (Path.cwd(), CODE_FOLDER):
        if _is_ours(folder):
            return folder
    raise ConfigurationError(
        "dagster.yaml and workspace.yaml were not found: run innomaint in the folder of the installation, "
        "which holds them"
    )


def _is_ours(folder: Path) -> bool:
    """Tell this project's folder from one of another Dagster project."""
    workspace = folder / "workspace.yaml"
    return (
        (folder / "dagster.yaml").is_file()
        and workspace.is_file()
        and "innomaint_pipeline.definitions" in workspace.read_text(encoding="utf-8", errors="replace")
    )


def hand_on(accounts: Sequence[Settings]) -> list[dict[str, str]]:
    """Let every process that this one starts read the settings that it has read, whatever its folder.

    Return the variables of the processes of each account; those of the only one are also set here. Raise
    `ConfigurationError` where a process would read others.
    """
    handed_on = [resolve_variables(settings) for settings in accounts]
    os.environ |= handed_on[0] if len(accounts) == 1 else {WITHOUT_ENV_FILE: "1"}
    # What lies in the working directory is data, not Python.
    os.environ["PYTHONSAFEPATH"] = "1"
    for settings, variables in zip(accounts, handed_on, strict=True):
        _refuse_other_reading(settings, variables)
    return handed_on


def _refuse_other_reading(settings: Settings, variables: Mapping[str, str]) -> None:
    printed, reason = _run_python(_PRINT_FINGERPRINT, variables)
    if printed != fingerprint(settings):
        raise ConfigurationError(
            "the processes that innomaint up starts would not read the settings that it has read itself"
            f"{f' ({reason})' if reason else ''}: look for what else sets variables of the project, "
            "like sitecustomize or a .pth file of this Python"
        )


def _run_python(code: str, variables: Mapping[str, str] | None = None) -> tuple[str, str]:
    """Run code in a process of its own; return what it printed and, if it failed, the last line of why."""
    ended = subprocess.run(  # noqa: S603 # our own interpreter and code
        [sys.executable, "-c", code],
        env={**os.environ, **(variables or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    said = ended.stderr.decode(errors="replace").strip().splitlines() or ["no reason was given"]
    return ended.stdout.decode(errors="replace").strip(), redact(said[-1]) if ended.returncode else ""


@contextmanager
def open_addresses(settings: Settings) -> Iterator[Addresses]:
    """Yield the addresses; the embedded server runs as long as somebody needs it."""
    with ExitStack() as stack:
        ic3 = settings.ic3_database_url
        dagster = settings.dagster_pg_url
        if ic3 is None:
            make_home(settings.shared_home)
            server = stack.enter_context(embedded_postgres(settings.shared_home))
            name = database_name(settings.innomaint_account)
            server.ensure_database(name)
            ic3_url = server.url(name)
        else:
            ic3_url = ic3.get_secret_value()
            refuse_missing_database(ic3_url)
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
                with database.begin() as connection:
                    require_account(connection, settings.innomaint_account)
            if uses_dagster:
                ensure_dagster(addresses)
            if addresses.is_embedded:
                upgrade_own(settings, database)
            yield database, addresses
        finally:
            database.close()


def upgrade_own(settings: Settings, database: Database) -> list[str]:
    """Bring the database of the settings up to date; return what was done, a sentence each."""
    return upgrade_database(
        database, batch_size=settings.innomaint_batch_size, account=settings.innomaint_account
    )


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


def ensure_dagster(addresses: Addresses) -> None:
    """Create Dagster's database if it is missing; raise `DatabaseError` where Dagster cannot work in it."""
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
    os.environ |= {**dagster_variables(settings, addresses), "IC3_DATABASE_URL": addresses.ic3_url}
    make_dagster_tables()


def runs_at_once(accounts: int) -> int:
    """Return how many runs Dagster executes at once for so many accounts, 0 where there are none."""
    return _BATCHES_OF_EACH * accounts + _OTHER_RUNS if accounts else _RUNS_WITHOUT_ACCOUNTS


def dagster_variables(settings: Settings, addresses: Addresses) -> dict[str, str]:
    """Return the variables that Dagster's processes read, whatever account they serve."""
    accounts = len(settings.innomaint_accounts) or int(settings.innomaint_account is not None)
    return {
        "DAGSTER_HOME": str(project_folder()),
        # Named, because "postgresql://" means another driver from SQLAlchemy 2.1 on.
        "DAGSTER_PG_URL": with_driver(addresses.dagster_url, "psycopg2"),
        "INNOMAINT_HOME": str(settings.shared_home),
        # dagster.yaml cannot reckon: its limit on runs is a variable.
        CONCURRENT_RUNS: str(runs_at_once(accounts)),
        "DAGSTER_DISABLE_TELEMETRY": "yes",
    }


def make_dagster_tables() -> None:
    """Make the tables of the Dagster instance of this environment where they are missing."""
    import dagster as dg

    # Processes that make Dagster's tables at the same time disturb each other, and one may fail.
    with Hold(os.environ["DAGSTER_PG_URL"], AdvisoryLock.MAKING_TABLES) as hold:
        hold.wait()
        with dg.DagsterInstance.get():
            pass


def make_dagster_tables_elsewhere() -> None:
    """Make Dagster's tables in a process of its own: who only keeps others running needs no Dagster."""
    _, reason = _run_python(_MAKE_TABLES)
    if reason:
        raise DatabaseError(f"Dagster's tables cannot be made: {reason}")
