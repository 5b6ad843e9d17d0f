"""CMMS assets synced at once, in the process of the command or of the admin service.

Dagster is told afterwards: importing it takes longer than the whole sync.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from zoneinfo import ZoneInfo

from innomaint_pipeline.cli.environment import Addresses, ensure_dagster, export_for_dagster
from innomaint_pipeline.defs.innomaint.opening import client_opener
from innomaint_pipeline.domain.innomaint import SOURCE
from innomaint_pipeline.domain.innomaint.selection import SyncOptions, SyncResult
from innomaint_pipeline.domain.states import SyncState
from innomaint_pipeline.settings import Settings
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.innomaint.asset_details import Outcome
from innomaint_pipeline.store.innomaint.selection import plan_sync
from innomaint_pipeline.store.settings import load_refresh_minutes
from innomaint_pipeline.sync.innomaint.single import SingleReport, sync_assets

logger = logging.getLogger(__name__)


def sync_named(
    settings: Settings,
    database: Database,
    names: Sequence[str],
    is_cancelled: Callable[[], bool] = lambda: False,
) -> SingleReport:
    """Sync a few CMMS assets now; raise `ConfigurationError` for unknown ones and a missing token."""
    settings.require_token()
    with database.begin() as connection:
        plan = plan_sync(connection, SyncOptions(cmms_asset_ids=tuple(names)))
        minutes = load_refresh_minutes(connection, SOURCE, settings.innomaint_refresh_minutes)
    return sync_assets(
        database,
        plan.names,
        client_opener(settings, database),
        ZoneInfo(settings.innomaint_timezone),
        refresh_minutes=minutes,
        is_cancelled=is_cancelled,
    )


def tell_dagster(report: SingleReport) -> None:
    """Report what was synced to the Dagster instance of this process's variables."""
    import dagster as dg

    from innomaint_pipeline.defs.innomaint.single import report_single_syncs

    with dg.DagsterInstance.get() as instance:
        report_single_syncs(instance, report)


def run_single(
    settings: Settings, database: Database, names: Sequence[str]
) -> tuple[SyncResult, SingleReport]:
    """Sync a few CMMS assets now; return the result of `sync`, and what Dagster is to be told."""
    began = time.monotonic()
    report = sync_named(settings, database, names)
    result = SyncResult(total=len(report.outcomes))
    for name, outcome in report.outcomes.items():
        if outcome is None:
            continue
        if outcome.state is SyncState.SYNCED:
            result.success += 1
            result.unchanged += bool(outcome.is_unchanged)
        else:
            result.failed += 1
            result.errors.append(f"{name}: {outcome.error_class}: {outcome.error_message}")
    if report.stopped_by is not None:
        result.stop_code, result.stop_message = report.stopped_by.exit_code, str(report.stopped_by)
    result.duration_ms = round((time.monotonic() - began) * 1000)
    return result, report


class SingleSyncs:
    """Syncs one CMMS asset at once for the admin service, and tells Dagster from a thread of its own."""

    def __init__(self, settings: Settings, database: Database, addresses: Addresses) -> None:
        self._settings = settings
        self._database = database
        self._addresses = addresses
        self._telling = ThreadPoolExecutor(1, thread_name_prefix="tell Dagster")
        self._is_exported = False

    def sync(self, cmms_asset_id: str, is_stopping: Callable[[], bool]) -> Outcome:
        """Sync one and return what became of it; raise what kept it from being asked for."""
        report = sync_named(self._settings, self._database, [cmms_asset_id], is_stopping)
        self._telling.submit(self._tell, report)
        return report.only_outcome()

    def _tell(self, report: SingleReport) -> None:
        try:
            if not self._is_exported:
                ensure_dagster(self._addresses)
                export_for_dagster(self._settings, self._addresses)
                self._is_exported = True
            tell_dagster(report)
        except Exception:  # whatever Dagster raises: the CMMS asset is synced all the same
            logger.exception("Dagster could not be told of %s", ", ".join(report.outcomes))

    def close(self) -> None:
        """Tell Dagster what it was not told yet."""
        self._telling.shutdown()
