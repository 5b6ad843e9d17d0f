"""Everything that the source Innomaint brings to the definitions."""

from innomaint_pipeline.defs.innomaint.assets import BATCH_ASSETS, sync_batch
from innomaint_pipeline.defs.innomaint.automation import (
    close_lost_batch,
    continuous_sync,
    load_innomaint_conditions,
)
from innomaint_pipeline.defs.innomaint.checks import CHECKS
from innomaint_pipeline.defs.innomaint.requests import REQUESTED_BATCHES
from innomaint_pipeline.defs.innomaint.resource import InnomaintResource
from innomaint_pipeline.defs.source import SourceDefinitions
from innomaint_pipeline.store.innomaint.batch_rows import RETENTIONS

INNOMAINT = SourceDefinitions(
    assets=BATCH_ASSETS,
    asset_checks=CHECKS,
    jobs=[sync_batch],
    sensors=[continuous_sync],
    requested_work=[REQUESTED_BATCHES],
    resources={"innomaint": InnomaintResource()},
    retentions=RETENTIONS,
    load_conditions=load_innomaint_conditions,
    close_lost=close_lost_batch,
)
