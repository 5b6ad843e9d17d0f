"""What is stored while the program runs and overrides how it started: innomaint_setting.

Belongs here: settings of any source, each under the source's name, so that pausing one pauses no other.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline.store.tables import setting

PAUSED = "paused"
"""True while a person has paused what the source does by itself."""
REFRESH_MINUTES = "refresh_minutes"
SYNC_INTERVAL_SECONDS = "sync_interval_seconds"
AUTH_REFUSED_AT = "auth_refused_at"
"""When the source refused the token last, as ISO text; absent once it has taken one again."""
ORIGIN = "data_origin"
IMPORT_ERROR = "import_error"
"""Why the last import failed; absent once one has succeeded."""
WORKBOOK_TROUBLE = "workbook_trouble"
"""Why the watched workbook cannot be opened; absent while it can."""
IMPORT_VERDICT = "import_verdict"
"""The content of the watched workbook that was imported or refused last, and the run; absent before."""
LAST_IMPORT = "last_import"
"""What the last import read, noticed and counted, as the JSON of its report; absent before the first."""

_INSTALLATION = "installation"
_ACCOUNT = "account"
_ENGINE = "engine"
_NOT_BEGUN = "not_begun"


def stored_name(source: str, name: str) -> str:
    """Return the key under which a setting of a source is stored: paused of innomaint -> innomaint/paused."""
    return f"{source}/{name}"


def load_setting(connection: Connection, source: str, name: str) -> Any:
    """Return a stored setting's JSON value, None when it was never set."""
    return connection.execute(
        select(setting.c.value).where(setting.c.name == stored_name(source, name))
    ).scalar_one_or_none()


def save_setting(connection: Connection, source: str, name: str, value: Any) -> None:
    """Store a setting's JSON value."""
    statement = insert(setting).values(name=stored_name(source, name), value=value)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["name"], set_={"value": statement.excluded.value, "updated_at": func.now()}
        )
    )


def clear_setting(connection: Connection, source: str, name: str) -> None:
    """Forget a stored setting."""
    connection.execute(delete(setting).where(setting.c.name == stored_name(source, name)))


def set_paused(connection: Connection, source: str, *, is_paused: bool) -> None:
    """Pause what a source does by itself, or let it go on; a pause keeps the time at which it began."""
    if not is_paused:
        clear_setting(connection, source, PAUSED)
    elif not load_setting(connection, source, PAUSED):
        save_setting(connection, source, PAUSED, value=True)


def load_refresh_minutes(connection: Connection, source: str, start_value: int) -> int:
    """Return a source's refresh interval: the stored setting, else the environment's start value."""
    stored = load_setting(connection, source, REFRESH_MINUTES)
    return start_value if stored is None else int(stored)


def load_account(connection: Connection) -> str | None:
    """Return the account that a database holds the data of, None where it never had one."""
    return load_setting(connection, _INSTALLATION, _ACCOUNT)


def save_account(connection: Connection, account: str) -> None:
    """Let a database remember whose data it holds."""
    save_setting(connection, _INSTALLATION, _ACCOUNT, account)


def adopt_account(connection: Connection, account: str) -> bool:
    """Let a database without an account be that of one; return whether it had none.

    Raise `ConfigurationError` where it is another's.
    """
    if load_account(connection) is None:
        save_account(connection, account)
        return True
    require_account(connection, account)
    return False


def require_account(connection: Connection, account: str | None) -> None:
    """Raise `ConfigurationError` where a database holds the data of another account than this one.

    Two accounts in one database would be two clocks, and two registers, in one.
    """
    stored = load_account(connection)
    if stored == account:
        return
    if stored is None:
        raise ConfigurationError(
            f"this database holds data without an account, not that of {account}: if it is that account's, "
            f"run innomaint db adopt-account {account}; else use another database (IC3_DATABASE_URL)"
        )
    whose = "without an account" if account is None else f"for {account}"
    raise ConfigurationError(
        f"this database holds the data of the account {stored}, and this program works {whose}: start it "
        f"with innomaint --account {stored}, or use another database (IC3_DATABASE_URL)"
    )


def note_not_begun(connection: Connection, run_id: str) -> None:
    """Note that nobody has begun a run that was launched; an earlier note keeps its time."""
    values = {"name": stored_name(_ENGINE, _NOT_BEGUN), "value": run_id}
    connection.execute(insert(setting).values(values).on_conflict_do_nothing())


def note_begun(connection: Connection) -> None:
    """Note that a run has begun: somebody takes them."""
    clear_setting(connection, _ENGINE, _NOT_BEGUN)


def find_not_begun(connection: Connection) -> datetime | None:
    """Return since when launched runs are given up because nobody begins them, None where somebody does."""
    return connection.execute(
        select(setting.c.updated_at).where(setting.c.name == stored_name(_ENGINE, _NOT_BEGUN))
    ).scalar_one_or_none()


def claim_origin(connection: Connection, source: str, origin: str, *, address_variable: str) -> None:
    """Make sure that a source's tables hold either live or simulated data, never both.

    `origin` is `live` or `simulated`; the first sync decides. Raises `ConfigurationError` for the other one,
    which names the variable of the source's address.
    """
    values = {"name": stored_name(source, ORIGIN), "value": origin}
    connection.execute(insert(setting).values(values).on_conflict_do_nothing())
    stored = load_setting(connection, source, ORIGIN)
    if stored != origin:
        raise ConfigurationError(
            f"this database holds {stored} data, and {address_variable} leads to a {origin} source: they are "
            "never mixed. Use another database (IC3_DATABASE_URL or INNOMAINT_HOME), or correct "
            f"{address_variable}"
        )
