"""What runs by itself: continuous sync.

Thin: the decision is `domain.innomaint.launches`'s, the facts are `store.innomaint.due_batches`'s.
"""

from contextlib import suppress

import dagster as dg

from innomaint_pipeline.defs.failures import PARTITION_TAG, Explanation
from innomaint_pipeline.defs.innomaint.assets import BATCH_RUNS, sync_batch
from innomaint_pipeline.defs.innomaint.partitions import ensure_partitions, register_new_batches
from innomaint_pipeline.defs.innomaint.selection import read_selection
from innomaint_pipeline.defs.recovery import find_partitions_in_runs
from innomaint_pipeline.defs.resources import look_at_database
from innomaint_pipeline.domain.alerts import Condition
from innomaint_pipeline.domain.health import Health
from innomaint_pipeline.domain.innomaint import SOURCE
from innomaint_pipeline.domain.innomaint.launches import decide_launches, plan_launches
from innomaint_pipeline.domain.innomaint.stops import StopCause
from innomaint_pipeline.domain.pacing import SourceAccount
from innomaint_pipeline.domain.schedule import parse_moment
from innomaint_pipeline.errors import ConfigurationError, DatabaseError
from innomaint_pipeline.settings import Settings, load_settings
from innomaint_pipeline.store.database import Connection, Database, find_now
from innomaint_pipeline.store.innomaint.batch_rows import find_row_statuses
from innomaint_pipeline.store.innomaint.batches import assign_new_batches
from innomaint_pipeline.store.innomaint.due_batches import load_sync_facts
from innomaint_pipeline.store.innomaint.health import load_conditions
from innomaint_pipeline.store.innomaint.progress import note_round
from innomaint_pipeline.store.settings import SYNC_INTERVAL_SECONDS, load_setting
from innomaint_pipeline.sync.innomaint.batch import BatchRun
from innomaint_pipeline.sync.innomaint.steps import close_failed_batch

_LONGEST_BEAT_SECONDS = 15


def _beat_seconds() -> int:
    """Return the sensor's own beat; in between two looks it does nothing.

    As short as the interval that the program starts with, and short enough for another one to count soon.
    """
    with suppress(ConfigurationError):  # told by the looks themselves
        return min(load_settings().innomaint_sync_interval_s, _LONGEST_BEAT_SECONDS)
    return _LONGEST_BEAT_SECONDS


_BEAT_SECONDS = _beat_seconds()


@dg.sensor(
    job=sync_batch,
    name="continuous_sync",
    minimum_interval_seconds=_BEAT_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Every INNOMAINT_SYNC_INTERVAL_S it keeps up to three batches in flight while anything is due: never "
        "synced first, then retryable failures whose time has come, then the stalest."
    ),
)
def continuous_sync(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Launch what is due, without run keys: a batch that failed must be launched again."""
    settings = load_settings()
    with look_at_database() as database:
        with database.begin() as connection:
            stored_interval = load_setting(connection, SOURCE, SYNC_INTERVAL_SECONDS)
            now = find_now(connection).timestamp()
        interval = stored_interval or settings.innomaint_sync_interval_s
        last = parse_moment(context.cursor)
        # A clock that was set back must not silence the sensor.
        if 0 <= now - last < interval - _BEAT_SECONDS / 2:
            return dg.SkipReason(f"looked {now - last:.0f} s ago; looks every {interval} s")
        with database.begin() as connection:
            assign_new_batches(connection, settings.innomaint_batch_size)
            facts = load_sync_facts(connection, account=settings.innomaint_api_url, batches_in_runs=())
        # At rest nobody opens Dagster's database, which costs more than everything else here.
        if facts.has_work:
            register_new_batches(context.instance, database)
            in_runs = find_partitions_in_runs(context.instance, BATCH_RUNS)
            with database.begin() as connection:
                facts = load_sync_facts(
                    connection, account=settings.innomaint_api_url, batches_in_runs=in_runs
                )
        decision = decide_launches(facts)
        to_come = plan_launches(facts, decision.launch) if facts.has_work else None
        with database.begin() as connection:
            note_round(connection, to_come, looks_every_seconds=interval)
    if not decision.launch:
        return dg.SensorResult(skip_reason=dg.SkipReason(decision.reason), cursor=str(now))
    ensure_partitions(context.instance, decision.launch)
    context.log.info(f"launching {', '.join(decision.launch)}: {decision.reason}")
    requests = [
        dg.RunRequest(partition_key=key, tags={"innomaint/started_by": "continuous sync"})
        for key in decision.launch
    ]
    return dg.SensorResult(run_requests=requests, cursor=str(now))


def load_innomaint_conditions(connection: Connection, settings: Settings) -> tuple[Health, list[Condition]]:
    """Return how Innomaint's sync is doing, and what people are told about it."""
    account = SourceAccount(
        settings.innomaint_api_url, settings.innomaint_refresh_minutes, is_set=settings.has_innomaint
    )
    return load_conditions(connection, account)


def close_lost_batch(database: Database, run: dg.DagsterRun, why: Explanation) -> None:
    """Write the row of a batch run that ended while the database was away, once it is back."""
    batch_key = run.tags.get(PARTITION_TAG)
    if why.cause != StopCause.DATABASE or batch_key is None or not BATCH_RUNS.includes(run):
        return
    with database.begin() as connection:
        if find_row_statuses(connection, [run.run_id]):
            return
    close_failed_batch(
        BatchRun(database, batch_key, run.run_id, 0, read_selection(run.run_config)),
        DatabaseError(why.reason),
    )
