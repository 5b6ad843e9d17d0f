"""What is done by the clock for all sources: their checks each hour, the clean-up each night.

The clean-up removes old log rows, and what Dagster itself never removes: old runs, the records of their
checks, and what ticks have logged. docs/operation.md has a table of what grows.
"""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from pydantic import Field

from innomaint_pipeline.defs.account import ACCOUNT, account_tags, own_runs
from innomaint_pipeline.defs.resources import Ic3DatabaseResource
from innomaint_pipeline.store.housekeeping import LOG_RETENTION, Retention, delete_old_rows
from innomaint_pipeline.store.leases import delete_expired_leases

_PARTITION_TAG = "dagster/partition"
_PAGE_RUNS = 100
# What sensors and schedules log lies beside the output of runs, in a folder of this name.
_TICK_LOGS = "__repository__"
_FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


class HousekeepingConfig(dg.Config):
    """How long things are kept."""

    log_days: int = Field(
        default=LOG_RETENTION.days, ge=1, description="Days that rows of the sync logs are kept."
    )
    run_days: int = Field(default=14, ge=1, description="Days that Dagster's runs and events are kept.")
    most_runs: int = Field(default=5000, ge=1, description="How many runs one clean-up removes at most.")


@dg.op(description="Delete Dagster's old runs with their events; the latest of each partition and job stay.")
def delete_old_runs(context: dg.OpExecutionContext, config: HousekeepingConfig) -> None:
    """Delete old runs, oldest first, one transaction each."""
    began = time.monotonic()
    cutoff = datetime.now(UTC) - timedelta(days=config.run_days)
    deleted = 0
    # Found before the first is deleted: a page of runs begins after the last one of the page before.
    for run_id in list(find_old_runs(context.instance, cutoff, limit=config.most_runs)):
        context.instance.compute_log_manager.delete_logs(prefix=[run_id])
        context.instance.delete_run(run_id)
        deleted += 1
    context.add_output_metadata(
        {
            "runs_deleted": deleted,
            "check_records_deleted": delete_check_records(context.instance, cutoff),
            "tick_logs_deleted": delete_tick_logs(context.instance, cutoff),
            "seconds": round(time.monotonic() - began, 1),
        }
    )


def delete_check_records(instance: dg.DagsterInstance, cutoff: datetime) -> int:
    """Delete the records of checks from before `cutoff` whose run is gone, whosever; return how many."""
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        return 0
    table = AssetCheckExecutionsTable
    is_old = table.c.create_timestamp < cutoff.astimezone(UTC).replace(tzinfo=None)
    with storage.index_connection() as connection:
        query = table.select().with_only_columns(table.c.run_id).where(is_old).distinct()
        run_ids = [row[0] for row in connection.execute(query)]
    deleted = 0
    for start in range(0, len(run_ids), _PAGE_RUNS):
        page = run_ids[start : start + _PAGE_RUNS]
        kept = {run.run_id for run in instance.get_runs(filters=dg.RunsFilter(run_ids=page))}
        gone = [run_id for run_id in page if run_id not in kept]
        with storage.index_connection() as connection:
            deleted += connection.execute(table.delete().where(is_old & table.c.run_id.in_(gone))).rowcount
    return deleted


def delete_tick_logs(instance: dg.DagsterInstance, cutoff: datetime) -> int:
    """Delete the files of what ticks logged before `cutoff`, and empty folders; return how many files.

    Their names do not tell accounts apart: the shortest retention of all counts.
    """
    manager = instance.compute_log_manager
    if not isinstance(manager, LocalComputeLogManager):
        return 0
    deleted = 0
    folder = Path(manager.get_captured_local_path([_TICK_LOGS, "any"], "out")).parent
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_file() and path.stat().st_mtime < cutoff.timestamp():
            path.unlink()
            deleted += 1
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    return deleted


def find_old_runs(instance: dg.DagsterInstance, cutoff: datetime, *, limit: int) -> Iterator[str]:
    """Yield the account's finished runs from before `cutoff`, oldest first, but what the UI depends on.

    Of each partition, or job without partitions, the latest run and the latest successful one stay.
    """
    kept: dict[tuple[str, str | None], set[str]] = {}
    cursor = None
    found = 0
    while found < limit:
        records = instance.get_run_records(
            filters=own_runs(statuses=_FINISHED, created_before=cutoff),
            limit=_PAGE_RUNS,
            ascending=True,
            cursor=cursor,
        )
        if not records:
            return
        cursor = records[-1].dagster_run.run_id
        for record in records:
            run = record.dagster_run
            group = (run.job_name, run.tags.get(_PARTITION_TAG))
            if group not in kept:
                kept[group] = _find_kept(instance, *group)
            if run.run_id not in kept[group] and found < limit:
                found += 1
                yield run.run_id


def _find_kept(instance: dg.DagsterInstance, job_name: str, partition_key: str | None) -> set[str]:
    tags = {_PARTITION_TAG: partition_key} if partition_key else {}
    latest = instance.get_runs(filters=own_runs(job_name=job_name, tags=tags), limit=1)
    successful = instance.get_runs(
        filters=own_runs(job_name=job_name, tags=tags, statuses=[dg.DagsterRunStatus.SUCCESS]), limit=1
    )
    return {run.run_id for run in (*latest, *successful)}


def build_housekeeping(
    retentions: Sequence[Retention],
) -> tuple[dg.JobDefinition, dg.ScheduleDefinition]:
    """Return the nightly clean-up of the rows with a retention, and of Dagster's runs, and its schedule."""

    @dg.op(description="Delete rows of the logs beyond their retention.")
    def delete_old_log_rows(
        context: dg.OpExecutionContext, config: HousekeepingConfig, ic3: Ic3DatabaseResource
    ) -> None:
        with ic3.open() as database:
            deleted = delete_old_rows(database, retentions, older_than=timedelta(days=config.log_days))
            with database.begin() as connection:
                deleted["innomaint_lease"] = delete_expired_leases(connection)
        context.add_output_metadata(dict(deleted))

    @dg.job(description="Delete what is older than its retention.", tags=account_tags(ACCOUNT))
    def housekeeping() -> None:
        delete_old_log_rows()
        delete_old_runs()

    return housekeeping, dg.ScheduleDefinition(
        job=housekeeping,
        name="daily_housekeeping",
        cron_schedule="40 2 * * *",
        execution_timezone="Asia/Kolkata",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Every night.",
    )


def build_check_tables(
    asset_checks: Sequence[dg.AssetChecksDefinition],
) -> tuple[Any, dg.ScheduleDefinition]:
    """Return the job that runs the checks which stand alone, and its schedule.

    A check that is made by the step of its asset is left to that step: to run it would be to run the step.
    """
    check_tables = dg.define_asset_job(
        "check_tables",
        selection=dg.AssetSelection.checks(*asset_checks),
        description="Run every asset check that stands alone.",
        tags=account_tags(ACCOUNT),
    )
    return check_tables, dg.ScheduleDefinition(
        job=check_tables,
        name="hourly_checks",
        cron_schedule="5 * * * *",
        execution_timezone="Asia/Kolkata",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Every hour.",
    )
