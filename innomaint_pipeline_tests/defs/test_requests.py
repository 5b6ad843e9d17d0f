"""What people ask the admin service for is carried out, whatever is lost in between."""

from collections.abc import Sequence
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.definitions.sensor_definition import SensorExecutionData

from innomaint_pipeline.definitions import defs
from innomaint_pipeline.defs.innomaint.requests import REQUESTED_BATCHES
from innomaint_pipeline.defs.requests import build_requests_sensor
from innomaint_pipeline.domain.innomaint import SOURCE
from innomaint_pipeline.domain.innomaint.batches import lease_name
from innomaint_pipeline.domain.innomaint.selection import SYNC_REQUESTS, SyncOptions
from innomaint_pipeline.simulator.innomaint.faults import Status
from innomaint_pipeline.simulator.innomaint.server import InnomaintSimulator
from innomaint_pipeline.simulator.innomaint.world import World
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.innomaint.selection import plan_sync, wish_for
from innomaint_pipeline.store.leases import acquire_lease, release_lease
from innomaint_pipeline.store.requests import (
    RequestDetail,
    RequestRun,
    Stored,
    load_request,
    open_own_request,
    seconds_since_look,
    submit,
)
from innomaint_pipeline.store.settings import set_paused
from innomaint_pipeline_tests.conftest import Pipeline, fix_world
from innomaint_pipeline_tests.defs.conftest import Dagster, requested
from innomaint_pipeline_tests.defs.runs import make_run, report

BATCHES = [f"batch_{number:06d}" for number in range(1, 6)]


@pytest.fixture
def pipeline(database: Database, simulator: InnomaintSimulator) -> Pipeline:
    """Ten CMMS assets in five batches of two."""
    fix_world(simulator, World(10))
    made = Pipeline(database, simulator)
    made.import_serials(batch_size=2)
    return made


def ask(pipeline: Pipeline, **options: Any) -> Stored:
    with pipeline.database.begin() as connection:
        chosen = SyncOptions(**options)
        return submit(connection, wish_for(chosen, plan_sync(connection, chosen)), asked_by="page")


def found(pipeline: Pipeline, stored: Stored) -> RequestDetail:
    with pipeline.database.begin() as connection:
        loaded = load_request(connection, SYNC_REQUESTS, stored.id)
    assert loaded is not None
    return loaded


def look(instance: dg.DagsterInstance) -> SensorExecutionData:
    """Evaluate the sensor as the daemon does; nothing is kept from the look before."""
    context = dg.build_sensor_context(instance=instance, definitions=defs)
    with context, partition_loading_context(dynamic_partitions_store=instance):
        return build_requests_sensor([REQUESTED_BATCHES]).evaluate_tick(context)


def launches(instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    return list(look(instance).run_requests or [])


def execute(dagster: Dagster, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
    return defs.resolve_job_def("sync_batch").execute_in_process(
        partition_key=request.partition_key,
        instance=dagster.instance,
        run_config=request.run_config,
        tags=dict(request.tags),
        raise_on_error=False,
    )


def keys(requests: Sequence[dg.RunRequest]) -> list[str | None]:
    return [request.partition_key for request in requests]


def queue(dagster: Dagster, request: dg.RunRequest) -> str:
    """Make the run of a request as the daemon does, without executing it."""
    run_id = make_run(dagster.instance, request.partition_key)
    dagster.instance.add_run_tags(run_id, dict(request.tags))
    return run_id


def carry_out(dagster: Dagster) -> int:
    """Look and execute until nothing is launched any more; return how many runs it took."""
    count = 0
    while requests := launches(dagster.instance):
        for request in requests:
            execute(dagster, request)
            count += 1
        assert count < 20
    return count


def test_a_slice_is_synced_batch_by_batch_and_its_request_closed_with_the_result(dagster: Dagster) -> None:
    stored = ask(dagster.pipeline, limit=5, offset=1)

    first = launches(dagster.instance)

    assert keys(first) == BATCHES[:3]
    assert {request.tags["innomaint/started_by"] for request in first} == {"page"}
    assert {request.tags["innomaint/request"] for request in first} == {str(stored.id)}
    assert found(dagster.pipeline, stored).state == "waiting"
    for request in first:
        execute(dagster, request)
    assert launches(dagster.instance) == []
    closed = found(dagster.pipeline, stored)
    assert closed.state == "done"
    result = dict(closed.result or {})
    assert result.pop("duration_ms") >= 0
    assert result == {"total": 5, "success": 5, "failed": 0, "skipped": 0, "unchanged": 0, "errors": []}
    assert sorted(filter(None, requested(dagster.pipeline))) == sorted(dagster.pipeline.serials[1:6])
    assert [run.part for run in closed.runs] == BATCHES[:3]


def test_three_batches_at_a_time_are_launched_for_a_request(dagster: Dagster) -> None:
    stored = ask(dagster.pipeline, everything=True)

    first = launches(dagster.instance)
    for request in first:
        queue(dagster, request)
    assert keys(first) == BATCHES[:3]
    assert launches(dagster.instance) == []
    assert found(dagster.pipeline, stored).state == "running"


def test_everything_is_carried_out_to_its_end(dagster: Dagster) -> None:
    dagster.pipeline.simulator.faults.always(dagster.pipeline.serials[3], Status(404))
    stored = ask(dagster.pipeline, everything=True)

    assert carry_out(dagster) == 5

    result = found(dagster.pipeline, stored).result
    assert (result["total"], result["success"], result["failed"], result["skipped"]) == (10, 9, 1, 0)
    assert result["errors"][0].startswith(f"{dagster.pipeline.serials[3]}: not_found: ")


def test_what_was_asked_for_is_asked_again_though_it_is_not_due(dagster: Dagster) -> None:
    ask(dagster.pipeline, limit=2)
    carry_out(dagster)
    stored = ask(dagster.pipeline, limit=2)
    assert carry_out(dagster) == 1
    assert found(dagster.pipeline, stored).result["unchanged"] == 2
    assert len(requested(dagster.pipeline)) == 4


def test_the_same_request_in_flight_is_one_and_afterwards_another(dagster: Dagster) -> None:
    first, second = ask(dagster.pipeline, limit=2), ask(dagster.pipeline, limit=2)
    other = ask(dagster.pipeline, limit=1)

    assert (first.id, first.is_new, second.is_new, second.requested_at) == (
        second.id,
        True,
        False,
        first.requested_at,
    )
    assert other.id != first.id
    carry_out(dagster)
    assert ask(dagster.pipeline, limit=2).id != first.id


def test_a_request_of_nothing_is_done_at_once(dagster: Dagster) -> None:
    stored = ask(dagster.pipeline, is_retry_failed=True)

    assert found(dagster.pipeline, stored).state == "done"
    assert found(dagster.pipeline, stored).result["total"] == 0
    assert launches(dagster.instance) == []


def test_a_batch_is_asked_only_for_what_is_due_or_worth_retrying(dagster: Dagster) -> None:
    pipeline = dagster.pipeline
    pipeline.simulator.faults.always(pipeline.serials[0], Status(503))
    ask(pipeline, limit=2)
    carry_out(dagster)
    pipeline.simulator.faults.clear()
    already = len(requested(pipeline))

    stored = ask(pipeline, partition_key=BATCHES[0], is_due_only=True)

    assert stored.total == 1
    assert carry_out(dagster) == 1
    assert requested(pipeline)[already:] == [pipeline.serials[0]]
    assert found(pipeline, stored).result["success"] == 1
    assert ask(pipeline, partition_key=BATCHES[0], is_due_only=True).total == 0


def test_retrying_failures_can_be_limited_to_a_slice_of_them(dagster: Dagster) -> None:
    pipeline = dagster.pipeline
    for serial in pipeline.serials[:4]:
        pipeline.simulator.faults.always(serial, Status(503))
    ask(pipeline, limit=4)
    carry_out(dagster)
    pipeline.simulator.faults.clear()

    stored = ask(pipeline, is_retry_failed=True, limit=2, offset=1)

    carry_out(dagster)
    assert found(pipeline, stored).result["success"] == 2
    assert [state for state, _ in pipeline.states().values()][:4] == ["failed", "synced", "synced", "failed"]


def test_a_launch_that_the_daemon_did_not_live_to_make_is_made_under_the_same_key(dagster: Dagster) -> None:
    ask(dagster.pipeline, limit=2)

    lost = launches(dagster.instance)
    again = launches(dagster.instance)

    assert [request.run_key for request in lost] == [request.run_key for request in again]
    assert len(again) == 1


def test_a_run_in_the_queue_is_waited_for_and_not_doubled(dagster: Dagster) -> None:
    stored = ask(dagster.pipeline, limit=2)
    (request,) = launches(dagster.instance)
    run_id = queue(dagster, request)

    assert launches(dagster.instance) == []
    assert found(dagster.pipeline, stored).runs == (RequestRun(BATCHES[0], run_id),)


def test_a_lost_run_is_followed_by_another_one_with_another_key(dagster: Dagster) -> None:
    stored = ask(dagster.pipeline, limit=2)
    (first,) = launches(dagster.instance)
    report(dagster.instance, queue(dagster, first), dg.DagsterEventType.RUN_FAILURE)

    (second,) = launches(dagster.instance)
    assert second.run_key != first.run_key
    execute(dagster, second)
    assert launches(dagster.instance) == []
    closed = found(dagster.pipeline, stored)
    assert (closed.state, closed.result["success"], len(closed.runs)) == ("done", 2, 2)


def test_a_lost_run_that_dagster_repeats_itself_is_left_to_dagster(dagster: Dagster) -> None:
    ask(dagster.pipeline, limit=2)
    (first,) = launches(dagster.instance)
    run_id = queue(dagster, first)
    dagster.instance.add_run_tags(run_id, {"dagster/will_retry": "true"})
    report(dagster.instance, run_id, dg.DagsterEventType.RUN_FAILURE)

    assert launches(dagster.instance) == []


def test_runs_that_are_lost_again_and_again_fail_the_request_with_the_reason(dagster: Dagster) -> None:
    stored = ask(dagster.pipeline, limit=2)
    count = 0
    while requests := launches(dagster.instance):
        count += 1
        assert count <= 10
        report(dagster.instance, queue(dagster, requests[0]), dg.DagsterEventType.RUN_FAILURE)

    assert count == 4
    closed = found(dagster.pipeline, stored)
    assert closed.state == "failed"
    assert "4 runs ended before they were done" in closed.message
    assert closed.result["skipped"] == 2


def test_what_a_lost_run_had_synced_is_counted_once(dagster: Dagster) -> None:
    stored = ask(dagster.pipeline, limit=2)
    (first,) = launches(dagster.instance)
    run_id = queue(dagster, first)
    # Killed in settle: both are stored and enriched, no row is written.
    pipeline = dagster.pipeline
    run = pipeline.run(run_id)
    pipeline.fetch(run)
    pipeline.enrich(run)
    with pipeline.database.begin() as connection:
        release_lease(connection, lease_name(BATCHES[0]), run_id)
    report(dagster.instance, run_id, dg.DagsterEventType.RUN_FAILURE)

    assert carry_out(dagster) == 1

    result = found(pipeline, stored).result
    assert (result["total"], result["success"], result["skipped"]) == (2, 2, 0)
    assert len(requested(pipeline)) == 2


def test_a_batch_that_another_run_holds_is_waited_for(dagster: Dagster) -> None:
    stored = ask(dagster.pipeline, limit=4)
    with dagster.pipeline.database.begin() as connection:
        acquire_lease(connection, lease_name(BATCHES[0]), "run of a command")

    (other,) = launches(dagster.instance)
    assert other.partition_key == BATCHES[1]
    assert "another run holds it" in found(dagster.pipeline, stored).message
    with dagster.pipeline.database.begin() as connection:
        release_lease(connection, lease_name(BATCHES[0]), "run of a command")
    execute(dagster, other)
    assert keys(launches(dagster.instance)) == [BATCHES[0]]


def test_a_run_that_found_the_lease_taken_is_followed_by_another_one(dagster: Dagster) -> None:
    stored = ask(dagster.pipeline, limit=2)
    (first,) = launches(dagster.instance)
    with dagster.pipeline.database.begin() as connection:
        acquire_lease(connection, lease_name(BATCHES[0]), "somebody else")
    assert execute(dagster, first).success
    with dagster.pipeline.database.begin() as connection:
        release_lease(connection, lease_name(BATCHES[0]), "somebody else")

    assert carry_out(dagster) == 1
    assert found(dagster.pipeline, stored).result["success"] == 2


def test_two_requests_do_not_launch_the_same_batch_at_once(dagster: Dagster) -> None:
    ask(dagster.pipeline, limit=2)
    second = ask(dagster.pipeline, cmms_asset_ids=(dagster.pipeline.serials[0],))

    (first,) = launches(dagster.instance)
    execute(dagster, first)
    assert carry_out(dagster) == 1
    closed = found(dagster.pipeline, second)
    assert (closed.state, closed.message) == (
        "partial",
        "1 not asked for: another sync has asked for them meanwhile",
    )


def test_a_refused_token_closes_the_request_with_what_to_do_and_launches_no_more(dagster: Dagster) -> None:
    dagster.pipeline.simulator.faults.always_everywhere(Status(401))
    stored = ask(dagster.pipeline, everything=True)

    first = launches(dagster.instance)
    execute(dagster, first[0])
    waiting = [queue(dagster, request) for request in first[1:]]
    assert launches(dagster.instance) == []
    assert found(dagster.pipeline, stored).finished_at is None, "two runs are under way"
    for run_id in waiting:
        report(dagster.instance, run_id, dg.DagsterEventType.RUN_FAILURE)
    assert launches(dagster.instance) == []

    closed = found(dagster.pipeline, stored)
    assert (closed.state, closed.stop_code) == ("failed", 3)
    assert "INNOMAINT_API_TOKEN" in closed.message
    assert closed.result["skipped"] == 10


def test_a_run_that_a_person_terminated_is_not_repeated(dagster: Dagster) -> None:
    stored = ask(dagster.pipeline, limit=2)
    (first,) = launches(dagster.instance)
    report(dagster.instance, queue(dagster, first), dg.DagsterEventType.RUN_CANCELED)

    assert launches(dagster.instance) == []
    closed = found(dagster.pipeline, stored)
    assert closed.state == "failed"
    assert "ended by a person" in closed.message


def test_a_pause_does_not_hold_back_what_a_person_asked_for(dagster: Dagster) -> None:
    with dagster.pipeline.database.begin() as connection:
        set_paused(connection, SOURCE, is_paused=True)
    ask(dagster.pipeline, limit=2)

    assert carry_out(dagster) == 1


def test_a_request_of_the_command_line_is_left_to_it(dagster: Dagster) -> None:
    selection = SyncOptions(limit=2).to_json()
    with dagster.pipeline.database.begin() as connection:
        own = open_own_request(connection, SYNC_REQUESTS, selection, resume_minutes=60)

    assert launches(dagster.instance) == []
    asked = ask(dagster.pipeline, limit=2)
    assert asked.id != own.id
    with dagster.pipeline.database.begin() as connection:
        assert open_own_request(connection, SYNC_REQUESTS, selection, resume_minutes=60).id == own.id


def test_each_look_is_noted(dagster: Dagster) -> None:
    with dagster.pipeline.database.begin() as connection:
        assert seconds_since_look(connection, SYNC_REQUESTS) is None
    look(dagster.instance)
    with dagster.pipeline.database.begin() as connection:
        seconds = seconds_since_look(connection, SYNC_REQUESTS)
    assert seconds is not None
    assert 0 <= seconds < 60
