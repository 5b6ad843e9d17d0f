"""What Dagster is told of CMMS assets that were synced at once, without a run of it."""

from collections import defaultdict

import dagster as dg

from innomaint_pipeline.defs.account import asset_key
from innomaint_pipeline.defs.innomaint.partitions import ensure_partitions
from innomaint_pipeline.domain.states import SyncState
from innomaint_pipeline.sync.innomaint.single import SingleReport

# Not fetch or settle: their partitions stay red while the batch is to be repaired, whatever one asset did.
_ASSET = asset_key("ic3_asset_enrichment")


def report_single_syncs(instance: dg.DagsterInstance, report: SingleReport) -> None:
    """Report a materialization of each batch with what was synced of it, else an observation with why not."""
    by_batch = defaultdict(list)
    for name, outcome in report.outcomes.items():
        by_batch[report.batch_keys[name]].append((name, outcome))
    ensure_partitions(instance, sorted(by_batch))
    for key, found in sorted(by_batch.items()):
        synced = [name for name, outcome in found if outcome and outcome.state is SyncState.SYNCED]
        failed = {
            name: f"{outcome.error_class}: {outcome.error_message}" if outcome else "not asked for"
            for name, outcome in found
            if name not in set(synced)
        }
        metadata = {
            "cmms_asset_ids": dg.MetadataValue.json([name for name, _ in found]),
            "assets_synced": dg.MetadataValue.int(len(synced)),
            "failed": dg.MetadataValue.json(failed),
        }
        event = dg.AssetMaterialization if synced else dg.AssetObservation
        instance.report_runless_asset_event(event(asset_key=_ASSET, partition=key, metadata=metadata))
