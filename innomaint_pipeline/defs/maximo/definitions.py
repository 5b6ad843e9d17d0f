"""Everything that the source Maximo brings to the definitions."""

from innomaint_pipeline.defs.maximo.assets import MAXIMO_ASSETS, maximo_global, maximo_site
from innomaint_pipeline.defs.maximo.automation import load_maximo_conditions, maximo_due
from innomaint_pipeline.defs.maximo.checks import CHECKS
from innomaint_pipeline.defs.maximo.requests import REQUESTED_READS
from innomaint_pipeline.defs.source import SourceDefinitions
from innomaint_pipeline.store.maximo.conditions import RETENTIONS

MAXIMO = SourceDefinitions(
    assets=MAXIMO_ASSETS,
    asset_checks=CHECKS,
    jobs=[maximo_global, maximo_site],
    sensors=[maximo_due],
    requested_work=[REQUESTED_READS],
    retentions=RETENTIONS,
    load_conditions=load_maximo_conditions,
)
