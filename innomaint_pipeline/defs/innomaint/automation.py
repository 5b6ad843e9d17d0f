"""What runs by itself: continuous sync, and the import of the asset master (spec 03, spec 04 "Dagster").

Thin: the decision is `domain.innomaint.launches`'s, the facts are `store.innomaint.due_batches`'s.
"""

import json
import time
from datetime import UTC

import dagster as dg

from innomaint_pipeline.defs.innomaint.assets import sync_batch
from innomaint_pipeline.defs.innomaint.partitions import ensure_partitions, register_new_batches
from innomaint_pipeline.defs.recovery import find_batches_in_runs, report_lost_runs
from innomaint_pipeline.defs.resources import Ic3DatabaseResource, InnomaintResource
from innomaint_pipeline.defs.workbook import import_asset_master
from innomaint_pipeline.domain.innomaint.launches import decide_launches, parse_moment
from innomaint_pipeline.store.innomaint.batch_rows import SYNC_INTERVAL, load_setting
from innomaint_pipeline.store.innomaint.due_batches import load_sync_facts
from innomaint_pipeline.store.workbook import assign_new_batches
from innomaint_pipeline.sync.workbook import look_at_workbook, parse_mark

# The sensor's own beat: short, so that a changed interval takes effect at once. In between it does nothing.
_BEAT_SECONDS = 5
_WORKBOOK_SECONDS = 60


@dg.sensor(
    job=sync_batch,
    name="continuous_sync",
    minimum_interval_seconds=_BEAT_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Every INNOMAINT_SYNC_INTERVAL_S it keeps up to three batches in flight while anything is "
        "due: never synced "
        "first, then retryable failures whose time has come, then the stalest."
    ),
)
def continuous_sync(
    context: dg.SensorEvaluationContext, ic3: Ic3DatabaseResource, innomaint: InnomaintResource
) -> dg.SensorResult | dg.SkipReason:
    """Launch what is due. Without run keys.

    A batch that failed must be launched again when it is due again.
    """
    settings = innomaint.settings()
    now = time.time()
    with ic3.open() as database:
        with database.begin() as connection:
            interval = load_setting(connection, SYNC_INTERVAL) or settings.innomaint_sync_interval_s
        last = parse_moment(context.cursor)
        # A clock that was set back must not silence the sensor.
        if 0 <= now - last < interval - _BEAT_SECONDS / 2:
            return dg.SkipReason(f"looked {now - last:.0f} s ago; looks every {interval} s")
        lost = report_lost_runs(context.instance, database, now=now)
        with database.begin() as connection:
            assign_new_batches(connection, settings.innomaint_batch_size)
        register_new_batches(context.instance, database)
        with database.begin() as connection:
            facts = load_sync_facts(
                connection,
                account=settings.innomaint_api_url,
                batches_in_runs=find_batches_in_runs(context.instance),
            )
    decision = decide_launches(facts)
    reason = decision.reason + (f"; {len(lost)} lost runs were reported failed" if lost else "")
    if not decision.launch:
        return dg.SensorResult(skip_reason=dg.SkipReason(reason), cursor=str(now))
    ensure_partitions(context.instance, decision.launch)
    context.log.info(f"launching {', '.join(decision.launch)}: {reason}")
    requests = [
        dg.RunRequest(partition_key=key, tags={"innomaint/started_by": "continuous sync"})
        for key in decision.launch
    ]
    return dg.SensorResult(run_requests=requests, cursor=str(now))


@dg.schedule(
    job=import_asset_master,
    name="daily_import",
    cron_schedule="15 1 * * *",
    execution_timezone="Asia/Kolkata",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Imports the workbook of INNOMAINT_WORKBOOK every night; an unchanged one changes nothing.",
)
def daily_import(
    context: dg.ScheduleEvaluationContext, innomaint: InnomaintResource
) -> dg.RunRequest | dg.SkipReason:
    """Import the asset master once a day."""
    found = look_at_workbook(innomaint.settings().innomaint_workbook, None)
    if isinstance(found, str):
        return dg.SkipReason(found)
    day = context.scheduled_execution_time.astimezone(UTC).date().isoformat()
    return dg.RunRequest(run_key=f"daily-{day}", tags={"innomaint/started_by": "daily import"})


@dg.sensor(
    job=import_asset_master,
    name="workbook_changed",
    minimum_interval_seconds=_WORKBOOK_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Imports the workbook when its size or time and then its hash have changed.",
)
def workbook_changed(
    context: dg.SensorEvaluationContext, innomaint: InnomaintResource
) -> dg.SensorResult | dg.SkipReason:
    """Import the asset master when the file has changed."""
    known = parse_mark(context.cursor)
    found = look_at_workbook(innomaint.settings().innomaint_workbook, known)
    if isinstance(found, str):
        return dg.SkipReason(found)
    cursor = json.dumps(vars(found))
    if known is not None and found.sha256 == known.sha256:
        return dg.SensorResult(skip_reason=dg.SkipReason("the workbook is unchanged"), cursor=cursor)
    request = dg.RunRequest(tags={"innomaint/started_by": "changed workbook"})
    return dg.SensorResult(run_requests=[request], cursor=cursor)
