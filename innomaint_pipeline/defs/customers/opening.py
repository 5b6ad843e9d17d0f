"""From settings to a run of the customer list: what arrives, how it is read, by which bounds it is judged.

Belongs here: what Dagster and the command line share. It imports no Dagster, which takes seconds.
"""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from innomaint_pipeline.domain.customers import SOURCE
from innomaint_pipeline.domain.customers.checks import Guards
from innomaint_pipeline.domain.customers.lists import CustomerList
from innomaint_pipeline.domain.customers.runs import Trigger
from innomaint_pipeline.settings import Settings
from innomaint_pipeline.sources.customers.headers import read_headers
from innomaint_pipeline.sources.customers.inbox import Export, look
from innomaint_pipeline.sources.customers.reading import PARSER_VERSION, ParserBounds, read_list
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.sync.customers.running import Arrival, Kept, ListRun, Progress


def read_guards(settings: Settings) -> Guards:
    """Return by what a list is judged and applied."""
    return Guards(
        max_drop_pct=settings.customers_max_drop_pct,
        max_change_pct=settings.customers_max_change_pct,
        max_remove_pct=settings.customers_max_remove_pct,
        interval_minutes=settings.customers_interval_minutes,
    )


def build_run(
    settings: Settings, database: Database, run_id: str, trigger: Trigger, *, file: Path | None = None
) -> ListRun:
    """Return a run of the newest list of the inbox, or of a file that a person names.

    Raises `ConfigurationError` where neither is given, or CUSTOMERS_HEADERS cannot be used.
    """
    inbox = settings.require_customers() if file is None else file
    headers = read_headers(settings.customers_headers)
    bounds = ParserBounds(
        cpu_seconds=settings.customers_parse_timeout_s, memory_mb=settings.customers_parse_mb
    )

    def fetch(folder: Path) -> Coroutine[Any, Any, Arrival]:
        return look(
            inbox,
            folder,
            max_bytes=int(settings.customers_max_mb * 2**20),
            timezone=ZoneInfo(settings.customers_timezone),
            is_chosen=file is not None,
        )

    def read(export: Export, on_progress: Progress) -> Coroutine[Any, Any, CustomerList]:
        return read_list(export.path, bounds, headers, on_progress=on_progress)

    kept = Kept(
        settings.home / SOURCE,
        days=settings.customers_keep_days,
        deleted_days=settings.customers_keep_deleted_days,
    )
    return ListRun(
        database,
        run_id,
        trigger,
        fetch,
        read,
        read_guards(settings),
        kept,
        PARSER_VERSION,
        is_chosen=file is not None,
    )
