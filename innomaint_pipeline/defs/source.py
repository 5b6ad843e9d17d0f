"""What one source brings to the definitions; `definitions.py` puts the sources together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from innomaint_pipeline.defs.account import ACCOUNT, account_tags
from innomaint_pipeline.defs.recovery import RunCloser
from innomaint_pipeline.defs.requests import RequestedWork
from innomaint_pipeline.domain.alerts import Condition
from innomaint_pipeline.domain.health import Health
from innomaint_pipeline.settings import Settings
from innomaint_pipeline.store.database import Connection
from innomaint_pipeline.store.housekeeping import Retention

SOURCE_TAG = "innomaint/source"
"""On the runs of a source's jobs: dagster.yaml bounds how many of one source, and account, run at once."""


def source_tags(source: str) -> dict[str, str]:
    """Return the tags of the runs of a source's jobs."""
    whose = source if ACCOUNT is None else f"{ACCOUNT}/{source}"
    return {SOURCE_TAG: whose, **account_tags(ACCOUNT)}


ConditionLoader = Callable[[Connection, Settings], tuple[Health, list[Condition]]]
"""Returns how a source is doing and its conditions, good or bad; no two sources have one of the same name."""


@dataclass(frozen=True)
class SourceDefinitions:
    """The Dagster definitions of one source, and what shared ones do for it.

    `retentions` are the rows that the nightly clean-up deletes by their age; `load_conditions` returns what
    people are told about the source; `requested_work` is what people may ask for of it; `close_lost` notes
    why a run of it ended that had lost the database.
    """

    assets: Sequence[dg.AssetsDefinition]
    asset_checks: Sequence[dg.AssetChecksDefinition] = ()
    jobs: Sequence[Any] = ()
    sensors: Sequence[dg.SensorDefinition] = ()
    schedules: Sequence[dg.ScheduleDefinition] = ()
    resources: Mapping[str, Any] = field(default_factory=dict)
    retentions: Sequence[Retention] = ()
    load_conditions: ConditionLoader | None = None
    requested_work: Sequence[RequestedWork] = ()
    close_lost: RunCloser | None = None
