"""Everything that Dagster loads, put together; nothing is defined here."""

from __future__ import annotations

from typing import Any

import dagster as dg

from innomaint_pipeline.defs.alerts import alerts
from innomaint_pipeline.defs.housekeeping import daily_housekeeping, housekeeping
from innomaint_pipeline.defs.innomaint.assets import BATCH_ASSETS, sync_batch
from innomaint_pipeline.defs.innomaint.automation import continuous_sync, daily_import, workbook_changed
from innomaint_pipeline.defs.innomaint.checks import CHECKS, check_tables, hourly_checks
from innomaint_pipeline.defs.requests import requested_syncs
from innomaint_pipeline.defs.resources import Ic3DatabaseResource, InnomaintResource
from innomaint_pipeline.defs.workbook import ic3_asset_master, import_asset_master
from innomaint_pipeline.redaction import install_redaction


def build_defs(**overrides: Any) -> dg.Definitions:
    """Return the definitions; `overrides` replace arguments of `dagster.Definitions` by name."""
    arguments: dict[str, Any] = {
        "assets": [ic3_asset_master, *BATCH_ASSETS],
        "asset_checks": CHECKS,
        "jobs": [check_tables, housekeeping, import_asset_master, sync_batch],
        "sensors": [continuous_sync, requested_syncs, workbook_changed, alerts],
        "schedules": [daily_import, hourly_checks, daily_housekeeping],
        "resources": {"ic3": Ic3DatabaseResource(), "innomaint": InnomaintResource()},
        # A process for each step costs a batch more than twice the time of one process for all of them.
        "executor": dg.in_process_executor,
    }
    return dg.Definitions(**{**arguments, **overrides})


install_redaction()
defs = build_defs()
