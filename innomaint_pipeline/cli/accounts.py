"""Several accounts in one folder: their settings, what no two may share, and whose a database is.

Belongs here: what concerns more than the account that a command works for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Sequence
from contextlib import closing
from pathlib import Path

from pydantic import SecretStr

from innomaint_pipeline.accounts import ACCOUNT_VARIABLE, check_account, database_name, own_env_file
from innomaint_pipeline.cli.environment import open_addresses, own_settings, settings_of
from innomaint_pipeline.cli.output import say
from innomaint_pipeline.embedded.server import embedded_postgres
from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline.settings import Settings, load_accounts
from innomaint_pipeline.store.connections import identify, in_same_server
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.settings import adopt_account as adopt


def work_for(account: str) -> None:
    """Let this process, and those that it starts, work for an account of this folder.

    Raise `ConfigurationError` for a name that is none, an account that has no file, and where the environment
    is that of another one.
    """
    try:
        check_account(account)
    except ValueError as error:
        raise ConfigurationError(f"--account: {account!r} is not usable ({error})") from None
    given = next((value for name, value in os.environ.items() if name.upper() == ACCOUNT_VARIABLE), "")
    if given not in {"", account}:
        raise ConfigurationError(
            f"--account is {account}, but the environment is that of {given} ({ACCOUNT_VARIABLE}): remove one"
        )
    if not given:
        _require_file(account)
    os.environ[ACCOUNT_VARIABLE] = account


def _require_file(account: str) -> None:
    path = Path(own_env_file(account))
    if not path.is_file():
        raise ConfigurationError(
            f"{path.absolute()} is not there: it holds what is the account {account}'s own, like its token; "
            "correct the name of the account, or make the file (.env.example shows the variables)"
        )


def load_side_by_side() -> list[Settings]:
    """Return the settings of every account of INNOMAINT_ACCOUNTS, or else those of the one, or of none.

    Raise `ConfigurationError` where an account has no file, or two share what is one account's alone.
    """
    whose = load_accounts()
    if not whose.innomaint_accounts:
        return [own_settings()]
    if whose.innomaint_account is not None:
        raise ConfigurationError(
            f"{ACCOUNT_VARIABLE} (or --account) is {whose.innomaint_account}, and INNOMAINT_ACCOUNTS names "
            "all that run side by side: remove one of them"
        )
    for account in whose.innomaint_accounts:
        _require_file(account)
    accounts = [settings_of(account) for account in whose.innomaint_accounts]
    refuse_shared(accounts)
    return accounts


def refuse_shared(accounts: Sequence[Settings]) -> None:
    """Raise `ConfigurationError` where two accounts share what is one's alone, or differ in what is common.

    Two clocks for one token would double its rate. Names variables and accounts, and no value.
    """
    for name, find in _OF_ONE_ALONE.items():
        holders: dict[Hashable, str | None] = {}
        for settings in accounts:
            value = find(settings)
            if value is None:
                continue
            if value in holders:
                raise ConfigurationError(
                    f"the accounts {holders[value]} and {settings.innomaint_account} have the same {name}, "
                    "from their files, .env or the environment: each needs one of its own"
                )
            holders[value] = settings.innomaint_account
    for name, find in _COMMON.items():
        if len({find(settings) for settings in accounts}) > 1:
            raise ConfigurationError(
                f"the accounts differ in {name}, which all have in common: set it in .env alone"
            )


def _secret(value: SecretStr | None) -> str | None:
    return None if value is None else value.get_secret_value()


def _database(settings: Settings) -> Hashable:
    url = _secret(settings.ic3_database_url)
    return database_name(settings.innomaint_account) if url is None else identify(url)


def _dagster_database(settings: Settings) -> Hashable:
    url, own = _secret(settings.dagster_pg_url), _secret(settings.ic3_database_url)
    if url is not None:
        return identify(url)
    return None if own is None else identify(in_same_server(own, "dagster"))


_OF_ONE_ALONE: dict[str, Callable[[Settings], Hashable]] = {
    "INNOMAINT_API_TOKEN": lambda settings: _secret(settings.innomaint_api_token),
    "MAXIMO_API_KEY": lambda settings: _secret(settings.maximo_api_key),
    "CUSTOMERS_INBOX": lambda settings: settings.customers_inbox and settings.customers_inbox.resolve(),
    "database (IC3_DATABASE_URL)": _database,
    "INNOMAINT_ADMIN_PORT": lambda settings: settings.innomaint_admin_port,
}
_COMMON: dict[str, Callable[[Settings], Hashable]] = {
    "INNOMAINT_HOME": lambda settings: settings.shared_home,
    "Dagster's database (DAGSTER_PG_URL, or else the server of IC3_DATABASE_URL)": _dagster_database,
}


def adopt_account(account: str, *, folders: Sequence[str]) -> None:
    """Let a database that had no account be that of one from now on; repeatable.

    It is the one that the account's settings name; in the embedded server it is the one without an account,
    which gets the account's name. `folders` are those of the home that belong to the data. Raise
    `ConfigurationError` where it is another account's.
    """
    work_for(account)
    settings = own_settings()
    if settings.ic3_database_url is None:
        with embedded_postgres(settings.shared_home) as server:
            server.rename_database(database_name(None), database_name(account))
    with open_addresses(settings) as addresses, closing(Database(addresses.ic3_url)) as database:
        with database.begin() as connection:
            is_new = adopt(connection, account)
        for name in folders:
            _move(settings.shared_home / name, settings.home / name)
        say(
            f"The database ({database.place}) "
            f"{'is from now on' if is_new else 'was already'} that of the account {account}."
        )


def _move(old: Path, new: Path) -> None:
    """Move a folder to where the account looks for its files, and deletes them in time."""
    if old.is_dir() and not new.exists():
        new.parent.mkdir(parents=True, exist_ok=True)
        old.rename(new)
