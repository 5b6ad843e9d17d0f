"""Dagster resources that every source shares: thin configuration around `settings` and `store`.

Settings are read when a step runs, not when the code location loads; the token never becomes Dagster
configuration, which is stored with every run and shown in the UI.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from innomaint_pipeline.accounts import database_variable
from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline.settings import find_database_url, load_settings
from innomaint_pipeline.store.database import Database


@contextmanager
def open_database_of(account: str | None) -> Iterator[Database]:
    """Yield the IC3 database of an account, for what serves all of them, like Dagster's daemon.

    Raise `ConfigurationError` when its address is not set.
    """
    url = find_database_url(account)
    if url is None:
        name = "IC3_DATABASE_URL" if account is None else database_variable(account)
        raise ConfigurationError(
            f"{name} is not set in a process that looks after all runs: start Dagster with innomaint up, "
            "which sets it, or set it to a postgresql:// address"
        )
    database = Database(url.get_secret_value())
    try:
        yield database
    finally:
        database.close()


class _Kept:
    """The database that the sensors of this process look at."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._database: Database | None = None

    def open(self, url: str) -> Database:
        """Return the database of an address; one of another address is closed."""
        with self._lock:
            if self._database is not None and self._database.url != url:
                self._database.close()
                self._database = None
            if self._database is None:
                self._database = Database(url)
            return self._database


_KEPT = _Kept()


class Ic3DatabaseResource(dg.ConfigurableResource):
    """The IC3 database of IC3_DATABASE_URL."""

    @contextmanager
    def open(self) -> Iterator[Database]:
        """Yield the database; raise `ConfigurationError` when the address is not set."""
        database = Database(_address())
        try:
            yield database
        finally:
            database.close()


def _address() -> str:
    url = load_settings().ic3_database_url
    if url is None:
        raise ConfigurationError(
            "IC3_DATABASE_URL is not set in the process that runs this step: start Dagster with "
            "innomaint up, which sets it, or set it to a postgresql:// address before dagster dev"
        )
    return url.get_secret_value()


@contextmanager
def look_at_database() -> Iterator[Database]:
    """Yield the database for one look of a sensor; it stays open for the next one; errors as of `open`.

    To connect, and to compile statements anew, costs many times what a look costs. No Dagster resource:
    for a sensor that has one, Dagster opens its own database too, at each look.
    """
    yield _KEPT.open(_address())
