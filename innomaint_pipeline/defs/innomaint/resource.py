"""The Innomaint API as a Dagster resource: thin configuration around `settings`, `store` and `sources`."""

from zoneinfo import ZoneInfo

import dagster as dg

from innomaint_pipeline.defs.innomaint import opening
from innomaint_pipeline.domain.innomaint import SOURCE
from innomaint_pipeline.settings import Settings, load_settings
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.settings import load_refresh_minutes
from innomaint_pipeline.sync.innomaint.fetching import OpenClient


class InnomaintResource(dg.ConfigurableResource):
    """The Innomaint API of INNOMAINT_API_URL, asked at the shared pace."""

    def settings(self) -> Settings:
        """Return the settings of this process."""
        return load_settings()

    def timezone(self) -> ZoneInfo:
        """Return the vendor's time zone."""
        return ZoneInfo(self.settings().innomaint_timezone)

    def refresh_minutes(self, database: Database) -> int:
        """Return the refresh interval in force."""
        with database.begin() as connection:
            return load_refresh_minutes(connection, SOURCE, self.settings().innomaint_refresh_minutes)

    def client_opener(self, database: Database) -> OpenClient:
        """Return what opens a client for one run.

        Raise `ConfigurationError` for a missing token or mixed data.
        """
        return opening.client_opener(self.settings(), database)
