"""Runs that Dagster believes to be under way although nobody works on them any more.

A killed worker cannot report its end, and Dagster's own launcher cannot ask it. Its lease does tell: it is
renewed every few seconds while the run lives. Reporting such a run failed frees its slot and lets Dagster
launch it once more.

Belongs here: telling whose runs they are, and which of them are lost. Only runs of a source that says that
its runs hold leases are judged, each by whether its own id owns a live one.
"""

from collections.abc import Collection
from dataclasses import dataclass

import dagster as dg
from dagster._core.definitions.assets.job.asset_job import IMPLICIT_ASSET_JOB_NAME

from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.leases import find_lease_owners

# A run needs a moment from its start to its first lease: loading the definitions, connecting.
_GRACE_SECONDS = 30.0
_PARTITION_TAG = "dagster/partition"
_LOST = (
    "The process of this run is gone: it holds no lease on its work any more. What it had stored is kept; "
    "the next run asks only for the rest."
)
_UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dataclass(frozen=True)
class RunsOfSource:
    """The leased runs of one source: those of its jobs, and those that materialize its assets in the UI."""

    job_names: frozenset[str]
    asset_keys: frozenset[dg.AssetKey]

    def includes(self, run: dg.DagsterRun) -> bool:
        """Tell whether a run is one of them."""
        if run.job_name in self.job_names:
            return True
        # What a person selects in the UI runs in Dagster's own job, whichever source it belongs to.
        chosen: Collection[dg.AssetKey] = run.asset_selection or ()
        return run.job_name == IMPLICIT_ASSET_JOB_NAME and not self.asset_keys.isdisjoint(chosen)


def find_partitions_in_runs(instance: dg.DagsterInstance, runs: RunsOfSource) -> dict[str, str]:
    """Return the partitions of a source with a run queued or under way, with the run's id."""
    found = instance.get_runs(filters=dg.RunsFilter(statuses=_UNDER_WAY))
    return {
        run.tags[_PARTITION_TAG]: run.run_id
        for run in found
        if _PARTITION_TAG in run.tags and runs.includes(run)
    }


def report_lost_runs(
    instance: dg.DagsterInstance, database: Database, runs: RunsOfSource, *, now: float
) -> list[str]:
    """Report the runs of a source that hold no lease as failed; return their ids. Repeatable.

    `now` is a Unix time.
    """
    records = instance.get_run_records(
        filters=dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING])
    )
    suspects = [
        record
        for record in records
        if runs.includes(record.dagster_run)
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
