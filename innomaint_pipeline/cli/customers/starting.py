"""What the start of the program asks for: a newer customer list, where the last one is old."""

from __future__ import annotations

from innomaint_pipeline.settings import Settings
from innomaint_pipeline.store.customers.requests import ask_at_start
from innomaint_pipeline.store.database import Database


def ask_for_customers(settings: Settings, database: Database) -> None:
    """Ask Dagster for a run, unless no list is read, or one was accepted within the interval."""
    if settings.customers_inbox is not None:
        with database.begin() as connection:
            ask_at_start(connection, settings.customers_interval_minutes)
