"""Dagster resources that every source shares: thin configuration around `settings` and `store`.

Settings are read when a step runs, not when the code location loads; the token never becomes Dagster
configuration, which is stored with every run and shown in the UI.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline.settings import load_settings
from innomaint_pipeline.store.database import Database


class Ic3DatabaseResource(dg.ConfigurableResource):
    """The IC3 database of IC3_DATABASE_URL."""

    @contextmanager
    def open(self) -> Iterator[Database]:
        """Yield the database; raise `ConfigurationError` when the address is not set."""
        url = load_settings().ic3_database_url
        if url is None:
            raise ConfigurationError(
                "IC3_DATABASE_URL is not set in the process that runs this step: start Dagster with "
                "innomaint up, which sets it, or set it to a postgresql:// address before dagster dev"
            )
        database = Database(url.get_secret_value())
        try:
            yield database
        finally:
            database.close()
