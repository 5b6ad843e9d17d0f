"""What the start of the program does for the customer list: it asks for a newer one where the last is old."""

from __future__ import annotations

from innomaint_pipeline.settings import Settings
from innomaint_pipeline.store.customers.requests import ask_at_start
from innomaint_pipeline.store.customers.runs import forget_looks, has_schema
from innomaint_pipeline.store.database import Database


def begin_looks(settings: Settings, database: Database) -> None:
    """Let Dagster's next look at what is due be the first one of this start, which launches nothing."""
    if settings.customers_inbox is not None:
        with database.begin() as connection:
            if has_schema(connection):
                forget_looks(connection)


def ask_for_customers(settings: Settings, database: Database) -> None:
    """Ask Dagster for a run, unless no list is read, or one was accepted within the interval."""
    if settings.customers_inbox is not None:
        with database.begin() as connection:
            ask_at_start(connection, settings.customers_interval_minutes)
