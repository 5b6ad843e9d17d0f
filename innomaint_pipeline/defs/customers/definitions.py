"""Everything that the source customers brings to the definitions."""

from innomaint_pipeline.defs.customers.assets import customers_list, customers_sync
from innomaint_pipeline.defs.customers.automation import (
    REQUESTED_LISTS,
    customers_due,
    load_customers_conditions,
)
from innomaint_pipeline.defs.customers.checks import CHECKS
from innomaint_pipeline.defs.source import SourceDefinitions
from innomaint_pipeline.store.customers.runs import RETENTIONS

CUSTOMERS = SourceDefinitions(
    assets=[customers_list],
    asset_checks=CHECKS,
    jobs=[customers_sync],
    sensors=[customers_due],
    requested_work=[REQUESTED_LISTS],
    retentions=RETENTIONS,
    load_conditions=load_customers_conditions,
)
