"""What one source brings to the definitions; `definitions.py` puts the sources together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from innomaint_pipeline.store.housekeeping import Retention


@dataclass(frozen=True)
class SourceDefinitions:
    """The Dagster definitions of one source, and what shared ones do for it.

    `retentions` are the rows that the nightly clean-up deletes by their age.
    """

    assets: Sequence[dg.AssetsDefinition]
    asset_checks: Sequence[dg.AssetChecksDefinition] = ()
    jobs: Sequence[Any] = ()
    sensors: Sequence[dg.SensorDefinition] = ()
    schedules: Sequence[dg.ScheduleDefinition] = ()
    resources: Mapping[str, Any] = field(default_factory=dict)
    retentions: Sequence[Retention] = ()
