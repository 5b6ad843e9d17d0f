"""Runs that Dagster believes to be under way although nobody works on them any more (spec 03, "A batch run").

A killed worker cannot report its end, and Dagster's own launcher cannot ask it. Its lease does tell: it is
renewed every few seconds while the run lives. Reporting such a run failed frees its slot and lets Dagster
launch it once more.
"""

import dagster as dg

from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.leases import find_lease_owners

# A run needs a moment from its start to its first lease: loading the definitions, connecting.
_GRACE_SECONDS = 30.0
_PARTITION_TAG = "dagster/partition"
_LOST = (
    "The process of this run is gone: it holds no lease on its batch any more. What it had stored is "
    "kept; the next run "
    "of the batch asks only for the rest."
)


def find_batches_in_runs(instance: dg.DagsterInstance) -> dict[str, str]:
    """Return the batches with a run queued or under way, with the run's id."""
    runs = instance.get_runs(
        filters=dg.RunsFilter(
            statuses=[
                dg.DagsterRunStatus.QUEUED,
                dg.DagsterRunStatus.NOT_STARTED,
                dg.DagsterRunStatus.STARTING,
                dg.DagsterRunStatus.STARTED,
                dg.DagsterRunStatus.CANCELING,
            ]
        )
    )
    return {run.tags[_PARTITION_TAG]: run.run_id for run in runs if _PARTITION_TAG in run.tags}


def report_lost_runs(instance: dg.DagsterInstance, database: Database, *, now: float) -> list[str]:
    """Report batch runs without a lease as failed; return their ids. `now` is a Unix time. Repeatable."""
    records = instance.get_run_records(
        filters=dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING])
    )
    suspects = [
        record
        for record in records
        if _PARTITION_TAG in record.dagster_run.tags
        and record.start_time is not None
        and now - record.start_time > _GRACE_SECONDS
    ]
    if not suspects:
        return []
    with database.begin() as connection:
        owners = find_lease_owners(connection)
    lost = []
    for record in suspects:
        run = record.dagster_run
        is_lease_live = owners.get(run.run_id)
        # Without a lease row it may be about to end: its last step has given the lease up properly.
        if is_lease_live or (is_lease_live is None and not _is_silent(instance, run.run_id, now=now)):
            continue
        current = instance.get_run_by_id(run.run_id)
        if current is not None and not current.is_finished:
            if current.status is dg.DagsterRunStatus.CANCELING:
                instance.report_run_canceled(current, _LOST)
            else:
                instance.report_run_failed(current, _LOST)
            lost.append(run.run_id)
    return lost


def _is_silent(instance: dg.DagsterInstance, run_id: str, *, now: float) -> bool:
    newest = instance.get_records_for_run(run_id, limit=1, ascending=False).records
    return not newest or now - newest[0].event_log_entry.timestamp > _GRACE_SECONDS
