"""Runs of Dagster in any state, made without running anything."""

import sys
import time
from typing import Any

import dagster as dg
from dagster._core.events import EngineEventData
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from innomaint_pipeline.definitions import defs

_ORIGIN = RemoteRepositoryOrigin(
    InProcessCodeLocationOrigin(
        LoadableTargetOrigin(executable_path=sys.executable, module_name="innomaint_pipeline.definitions")
    ),
    "__repository__",
)


def make_run(
    instance: dg.DagsterInstance,
    batch_key: str | None,
    status: dg.DagsterRunStatus = dg.DagsterRunStatus.QUEUED,
    *,
    job: str = "sync_batch",
) -> str:
    """Make a run of a job, of a partition where a batch is given, and return its id."""
    run = instance.create_run_for_job(
        defs.resolve_job_def(job),
        tags={"dagster/partition": batch_key} if batch_key else {},
        status=status,
        remote_job_origin=_ORIGIN.get_job_origin(job),
    )
    return run.run_id


def report(
    instance: dg.DagsterInstance, run_id: str, kind: dg.DagsterEventType, *, seconds_ago: float = 0.0
) -> None:
    """Let a run report an event, some time ago."""
    run = instance.get_run_by_id(run_id)
    assert run is not None
    fields: dict[str, Any] = {"event_type_value": kind.value, "job_name": run.job_name}
    if kind is dg.DagsterEventType.ENGINE_EVENT:
        fields["event_specific_data"] = EngineEventData()
    instance.handle_new_event(
        dg.EventLogEntry(
            error_info=None,
            user_message="",
            level=10,
            run_id=run_id,
            timestamp=time.time() - seconds_ago,
            dagster_event=dg.DagsterEvent(**fields),
        )
    )


def start_run(instance: dg.DagsterInstance, batch_key: str | None, *, seconds_ago: float) -> str:
    """Make a run that has started some time ago and has said nothing since; return its id."""
    run_id = make_run(instance, batch_key)
    report(instance, run_id, dg.DagsterEventType.RUN_START, seconds_ago=seconds_ago)
    return run_id


def status_of(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status
