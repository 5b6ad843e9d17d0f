"""Everything that Dagster loads, put together; nothing is defined here."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import dagster as dg

from innomaint_pipeline.defs.alerts import build_alerts
from innomaint_pipeline.defs.customers.definitions import CUSTOMERS
from innomaint_pipeline.defs.housekeeping import build_check_tables, build_housekeeping
from innomaint_pipeline.defs.innomaint.definitions import INNOMAINT
from innomaint_pipeline.defs.maximo.definitions import MAXIMO
from innomaint_pipeline.defs.recovery import leased_executor
from innomaint_pipeline.defs.requests import build_requests_sensor
from innomaint_pipeline.defs.resources import Ic3DatabaseResource
from innomaint_pipeline.defs.source import SourceDefinitions
from innomaint_pipeline.defs.workbook import WORKBOOK
from innomaint_pipeline.redaction import install_redaction
from innomaint_pipeline.store.housekeeping import REQUESTS

SOURCES = (WORKBOOK, INNOMAINT, MAXIMO, CUSTOMERS)


def build_defs(sources: Sequence[SourceDefinitions] = SOURCES, **overrides: Any) -> dg.Definitions:
    """Return the definitions; `overrides` replace arguments of `dagster.Definitions` by name."""
    retentions = [REQUESTS, *chain.from_iterable(source.retentions for source in sources)]
    housekeeping, daily_housekeeping = build_housekeeping(retentions)
    asset_checks = list(chain.from_iterable(source.asset_checks for source in sources))
    check_tables, hourly_checks = build_check_tables(asset_checks)
    loaders = [source.load_conditions for source in sources if source.load_conditions is not None]
    closers = [source.close_lost for source in sources if source.close_lost is not None]
    works = list(chain.from_iterable(source.requested_work for source in sources))
    resources: dict[str, Any] = {"ic3": Ic3DatabaseResource()}
    for source in sources:
        resources |= source.resources
    arguments: dict[str, Any] = {
        "assets": list(chain.from_iterable(source.assets for source in sources)),
        "asset_checks": asset_checks,
        "jobs": [check_tables, housekeeping, *chain.from_iterable(source.jobs for source in sources)],
        "sensors": [
            build_alerts(loaders, closers),
            *([build_requests_sensor(works)] if works else []),
            *chain.from_iterable(source.sensors for source in sources),
        ],
        "schedules": [
            hourly_checks,
            daily_housekeeping,
            *chain.from_iterable(source.schedules for source in sources),
        ],
        "resources": resources,
        # A process for each step costs a batch more than twice the time of one process for all of them.
        "executor": leased_executor,
    }
    return dg.Definitions(**{**arguments, **overrides})


install_redaction()
defs = build_defs()
