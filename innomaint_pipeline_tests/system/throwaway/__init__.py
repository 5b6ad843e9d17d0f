"""A source for a test: tide gauges, with partitions, leases, a clock, health and alerts of its own.

It touches no file that sources share: what they offer is handed its parts. A run of it holds the lease of its
gauge, asks at the pace of its own account, and lasts until its file in the home is removed.
"""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from innomaint_pipeline.defs.recovery import RunsOfSource, find_partitions_in_runs
from innomaint_pipeline.defs.resources import Ic3DatabaseResource
from innomaint_pipeline.defs.source import SOURCE_TAG, SourceDefinitions
from innomaint_pipeline.domain.alerts import Condition
from innomaint_pipeline.domain.health import Health
from innomaint_pipeline.settings import Settings
from innomaint_pipeline.store.database import Connection
from innomaint_pipeline.store.leases import find_leases
from innomaint_pipeline.store.pacing import SharedPacing, ensure_account
from innomaint_pipeline.sync.holding import Claim, hold_lease

SOURCE = "tides"
GAUGES = dg.DynamicPartitionsDefinition(name="tides_gauges")
NAMES = ("harbour", "river")
GOES_ON = "tides_go_on"
RUNS = RunsOfSource(frozenset({"read_tides"}), frozenset({dg.AssetKey("tide_level")}))
_RATE_MS = 50
_BEAT_SECONDS = 5


@dg.asset(partitions_def=GAUGES, output_required=False)
def tide_level(context: dg.AssetExecutionContext, ic3: Ic3DatabaseResource) -> Iterator[dg.MaterializeResult]:
    """Read a gauge again and again, until nobody wants it any more."""
    run_id = context.run.run_id
    with ic3.open() as database:
        with database.begin() as connection:
            ensure_account(connection, SOURCE)
        claim = Claim(database, f"{SOURCE}/{context.partition_key}", run_id)
        with hold_lease(claim, is_last_step=True) as watch:
            if watch is None:
                return
            home = Path(os.environ["INNOMAINT_HOME"])
            # Dagster does not tell which process works on a run.
            (home / f"{context.partition_key}.pid").write_text(str(os.getpid()), encoding="utf-8")
            pacing = SharedPacing(database, SOURCE, owner=run_id, rate_ms=_RATE_MS)
            starts = 0
            while (home / GOES_ON).exists():
                asyncio.run(_start(pacing))
                starts += 1
                watch.check()
    yield dg.MaterializeResult(metadata={"starts": starts})


async def _start(pacing: SharedPacing) -> None:
    await pacing.start(is_bulk=False)
    await asyncio.sleep(0.2)


read_tides = dg.define_asset_job("read_tides", selection=[tide_level], tags={SOURCE_TAG: SOURCE})


@dg.sensor(
    job=read_tides, minimum_interval_seconds=_BEAT_SECONDS, default_status=dg.DefaultSensorStatus.RUNNING
)
def tides_due(
    context: dg.SensorEvaluationContext, ic3: Ic3DatabaseResource
) -> dg.SensorResult | dg.SkipReason:
    """Keep a run for each gauge while the readings go on."""
    with ic3.open() as database:
        busy = set(find_partitions_in_runs(context.instance, RUNS))
        with database.begin() as connection:
            busy |= {lease.key for lease in find_leases(connection, f"{SOURCE}/")}
    wanted = NAMES if (Path(os.environ["INNOMAINT_HOME"]) / GOES_ON).exists() else ()
    launch = [name for name in wanted if name not in busy]
    if not launch:
        return dg.SkipReason(f"{len(busy)} gauges are read")
    return dg.SensorResult(
        run_requests=[dg.RunRequest(partition_key=name) for name in launch],
        dynamic_partitions_requests=[GAUGES.build_add_request(list(NAMES))],
    )


def load_conditions(connection: Connection, _: Settings) -> tuple[Health, list[Condition]]:
    """Return that the gauges are down, which is told beside Innomaint's conditions."""
    read = len(find_leases(connection, f"{SOURCE}/"))
    return Health.DEGRADED, [Condition("tides", "low", f"{read} gauges are read")]


TIDES = SourceDefinitions(
    assets=[tide_level], jobs=[read_tides], sensors=[tides_due], load_conditions=load_conditions
)
