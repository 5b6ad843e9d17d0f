"""Asset checks: what must hold in the tables, and how good the data is; their numbers plot in the UI.

Cheap: each is one or two queries.
"""

from typing import Any

import dagster as dg

from innomaint_pipeline.defs.account import asset_key
from innomaint_pipeline.defs.innomaint.resource import InnomaintResource
from innomaint_pipeline.defs.resources import Ic3DatabaseResource
from innomaint_pipeline.domain.innomaint.health import STALE_AFTER_REFRESHES
from innomaint_pipeline.domain.states import SyncState
from innomaint_pipeline.store.innomaint.batch_runs import load_run_figures
from innomaint_pipeline.store.innomaint.batches import find_miscounted
from innomaint_pipeline.store.innomaint.data_quality import (
    count_contradictions,
    count_data_issues,
    count_not_found,
    find_unfinished_batches,
)
from innomaint_pipeline.store.innomaint.health import find_oldest_success
from innomaint_pipeline.store.innomaint.invariants import count_orphans, count_states, count_violations

NOT_FOUND_SHARE = 0.05
LOWEST_SUCCESS_RATE = 0.9
_WARN = dg.AssetCheckSeverity.WARN


@dg.asset_check(
    asset=asset_key("ic3_asset_master"),
    description="Each row of ic3_asset_master has one state that its class, answer and runs agree with, and "
    "synced + failed + never = total.",
)
def every_asset_has_one_state(ic3: Ic3DatabaseResource) -> dg.AssetCheckResult:
    """Check that the states add up, as they must at every moment."""
    with ic3.open() as database, database.begin() as connection:
        counts = count_states(connection)
        violations = {
            **count_violations(connection),
            "miscounted_batches": len(find_miscounted(connection)),
        }
    added = sum(counts[state] for state in SyncState)
    return dg.AssetCheckResult(
        passed=not any(violations.values()) and added == counts["total"], metadata={**counts, **violations}
    )


@dg.asset_check(
    asset=asset_key("ic3_asset_master"),
    description="Performance and work orders belong to a row of ic3_asset_master.",
)
def no_orphan_rows(ic3: Ic3DatabaseResource) -> dg.AssetCheckResult:
    """Check that no enriched row is left without its CMMS asset."""
    with ic3.open() as database, database.begin() as connection:
        orphans = count_orphans(connection)
    return dg.AssetCheckResult(passed=not any(orphans.values()), metadata=orphans)


@dg.asset_check(
    asset=asset_key("innomaint_response"),
    description=f"At most {NOT_FOUND_SHARE:.0%} of the assets are unknown to Innomaint.",
)
def few_assets_are_not_found(ic3: Ic3DatabaseResource) -> dg.AssetCheckResult:
    """Warn when many ids of the asset master mean nothing to Innomaint: more likely a wrong workbook."""
    with ic3.open() as database, database.begin() as connection:
        not_found = count_not_found(connection)
        total = count_states(connection)["total"]
    share = not_found / total if total else 0.0
    metadata = {"not_found": not_found, "total": total, "share": round(share, 4)}
    return dg.AssetCheckResult(passed=share <= NOT_FOUND_SHARE, severity=_WARN, metadata=metadata)


@dg.asset_check(
    asset=asset_key("ic3_asset_enrichment"),
    description="The oldest good data is younger than twice the refresh interval.",
)
def data_is_fresh(ic3: Ic3DatabaseResource, innomaint: InnomaintResource) -> dg.AssetCheckResult:
    """Warn when data is stale, by age over all partitions: Dagster's own policies look at the newest only."""
    with ic3.open() as database:
        limit = STALE_AFTER_REFRESHES * innomaint.refresh_minutes(database) * 60
        with database.begin() as connection:
            oldest = find_oldest_success(connection)
    metadata: dict[str, Any] = {"limit_seconds": limit}
    if oldest is not None:
        metadata["oldest_success_seconds"] = round(oldest.age_seconds)
    is_fresh = oldest is None or oldest.age_seconds <= limit
    return dg.AssetCheckResult(passed=is_fresh, severity=_WARN, metadata=metadata)


@dg.asset_check(
    asset=asset_key("ic3_asset_enrichment"), description="Every value of the answers could be read."
)
def every_value_is_readable(ic3: Ic3DatabaseResource) -> dg.AssetCheckResult:
    """Warn of values that could not be read, by field; the assets are synced without them."""
    with ic3.open() as database, database.begin() as connection:
        issues = count_data_issues(connection)
    metadata = {"issues": sum(issues.values()), "by_field": dg.MetadataValue.json(issues)}
    return dg.AssetCheckResult(passed=not issues, severity=_WARN, metadata=metadata)


@dg.asset_check(
    asset=asset_key("ic3_asset_performance"),
    description="The vendor's numbers obey the vendor's arithmetic and agree with each other.",
)
def vendor_numbers_agree(ic3: Ic3DatabaseResource) -> dg.AssetCheckResult:
    """Warn of answers that contradict themselves, for their owners to look at."""
    with ic3.open() as database, database.begin() as connection:
        counts = count_contradictions(connection)
    wrong = sum(count for name, count in counts.items() if name != "compared")
    return dg.AssetCheckResult(passed=wrong == 0, severity=_WARN, metadata=counts)


@dg.asset_check(
    asset=asset_key("cmms_sync_log"),
    description="No batch lacks assets whose class is worth retrying; those that do are named.",
)
def no_batches_left_failed(ic3: Ic3DatabaseResource) -> dg.AssetCheckResult:
    """List the batches to repair: re-execute them from failure, or backfill the failed partitions."""
    with ic3.open() as database, database.begin() as connection:
        unfinished = find_unfinished_batches(connection)
    return dg.AssetCheckResult(
        passed=not unfinished,
        metadata={
            "batches": len(unfinished),
            "assets": sum(unfinished.values()),
            "by_batch": dg.MetadataValue.json(unfinished),
        },
    )


@dg.asset_check(
    asset=asset_key("cmms_sync_log"),
    description=f"At least {LOWEST_SUCCESS_RATE:.0%} of the newest batch runs succeeded.",
)
def batch_runs_succeed(ic3: Ic3DatabaseResource) -> dg.AssetCheckResult:
    """Warn when batch runs fail; their durations, and changed against unchanged answers, plot."""
    with ic3.open() as database, database.begin() as connection:
        figures = load_run_figures(connection)
    metadata = {name: value for name, value in vars(figures).items() if value is not None}
    is_good = figures.success_rate is None or figures.success_rate >= LOWEST_SUCCESS_RATE
    return dg.AssetCheckResult(passed=is_good, severity=_WARN, metadata=metadata)


CHECKS = [
    every_asset_has_one_state,
    no_orphan_rows,
    few_assets_are_not_found,
    data_is_fresh,
    every_value_is_readable,
    vendor_numbers_agree,
    no_batches_left_failed,
    batch_runs_succeed,
]
