"""Asset checks: what must hold in the tables, cheap enough to run with every import and batch."""

import dagster as dg

from innomaint_pipeline.defs.resources import Ic3DatabaseResource
from innomaint_pipeline.domain.states import SyncState
from innomaint_pipeline.store.invariants import count_assets_without_state, count_orphans, count_states


@dg.asset_check(
    asset="ic3_asset_master",
    description="Each row of ic3_asset_master has one state, and synced + failed + never = total.",
)
def every_asset_has_one_state(ic3: Ic3DatabaseResource) -> dg.AssetCheckResult:
    """Check that the states add up, as they must at every moment (spec 02)."""
    with ic3.open() as database, database.begin() as connection:
        counts = count_states(connection)
        without = count_assets_without_state(connection)
    added = sum(counts[state] for state in SyncState)
    return dg.AssetCheckResult(
        passed=without == 0 and added == counts["total"], metadata={**counts, "without_state": without}
    )


@dg.asset_check(
    asset="ic3_asset_master", description="Performance and work orders belong to a row of ic3_asset_master."
)
def no_orphan_rows(ic3: Ic3DatabaseResource) -> dg.AssetCheckResult:
    """Check that no enriched row is left without its CMMS asset."""
    with ic3.open() as database, database.begin() as connection:
        orphans = count_orphans(connection)
    return dg.AssetCheckResult(passed=not any(orphans.values()), metadata=orphans)


CHECKS = [every_asset_has_one_state, no_orphan_rows]
