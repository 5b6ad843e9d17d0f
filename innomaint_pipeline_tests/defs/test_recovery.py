"""Runs whose process is gone: recognized by their lease, reported once, never a living one."""

import time

import dagster as dg
import pytest

from innomaint_pipeline.defs.innomaint.assets import BATCH_RUNS
from innomaint_pipeline.defs.recovery import find_partitions_in_runs, report_lost_runs
from innomaint_pipeline.domain.innomaint.batches import lease_name
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.leases import acquire_lease, release_lease
from innomaint_pipeline_tests.conftest import FIRST_BATCH
from innomaint_pipeline_tests.defs.runs import make_run, report, start_run, status_of

STARTED = dg.DagsterRunStatus.STARTED
SECOND_BATCH = "batch_000002"


def report_lost(instance: dg.DagsterInstance, database: Database) -> list[str]:
    return report_lost_runs(instance, database, BATCH_RUNS, now=time.time())


def lease(database: Database, owner: str, *, seconds: float = 30) -> None:
    with database.begin() as connection:
        assert acquire_lease(connection, lease_name(FIRST_BATCH), owner, seconds=seconds)


def test_a_silent_run_without_a_lease_is_reported_failed_once(
    instance: dg.DagsterInstance, database: Database
) -> None:
    run_id = start_run(instance, FIRST_BATCH, seconds_ago=61)

    assert report_lost(instance, database) == [run_id]
    assert report_lost(instance, database) == []

    assert status_of(instance, run_id) is dg.DagsterRunStatus.FAILURE
    messages = [entry.message for entry in instance.all_logs(run_id)]
    assert any("The process of this run is gone" in message for message in messages)
    assert find_partitions_in_runs(instance, BATCH_RUNS) == {}


def test_a_run_with_a_live_lease_is_left_alone_however_old(
    instance: dg.DagsterInstance, database: Database
) -> None:
    run_id = start_run(instance, FIRST_BATCH, seconds_ago=10_000)
    lease(database, run_id)

    assert report_lost(instance, database) == []
    assert status_of(instance, run_id) is STARTED


@pytest.mark.leaves("expired_leases")
def test_a_run_whose_lease_has_expired_is_reported_although_it_spoke_a_moment_ago(
    instance: dg.DagsterInstance, database: Database
) -> None:
    run_id = start_run(instance, FIRST_BATCH, seconds_ago=61)
    report(instance, run_id, dg.DagsterEventType.ENGINE_EVENT, seconds_ago=1)
    lease(database, run_id, seconds=-1)

    assert report_lost(instance, database) == [run_id]


def test_a_run_that_has_just_given_up_its_lease_is_about_to_end_and_left_alone(
    instance: dg.DagsterInstance, database: Database
) -> None:
    run_id = start_run(instance, FIRST_BATCH, seconds_ago=300)
    lease(database, run_id)
    report(instance, run_id, dg.DagsterEventType.ENGINE_EVENT, seconds_ago=1)
    with database.begin() as connection:
        release_lease(connection, lease_name(FIRST_BATCH), run_id)

    assert report_lost(instance, database) == []
    assert status_of(instance, run_id) is STARTED


def test_a_run_younger_than_the_grace_is_left_alone(instance: dg.DagsterInstance, database: Database) -> None:
    run_id = start_run(instance, FIRST_BATCH, seconds_ago=10)

    assert report_lost(instance, database) == []
    assert status_of(instance, run_id) is STARTED


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED])
def test_a_run_that_has_not_started_is_left_to_dagster(
    instance: dg.DagsterInstance, database: Database, status: dg.DagsterRunStatus
) -> None:
    run_id = make_run(instance, FIRST_BATCH, status)

    assert report_lost_runs(instance, database, BATCH_RUNS, now=time.time() + 1e6) == []
    assert status_of(instance, run_id) is status


def test_a_lost_run_that_was_to_be_cancelled_is_cancelled(
    instance: dg.DagsterInstance, database: Database
) -> None:
    run_id = start_run(instance, FIRST_BATCH, seconds_ago=90)
    report(instance, run_id, dg.DagsterEventType.RUN_CANCELING, seconds_ago=80)

    assert report_lost(instance, database) == [run_id]
    assert status_of(instance, run_id) is dg.DagsterRunStatus.CANCELED


def test_the_lease_of_another_run_does_not_cover_a_lost_one(
    instance: dg.DagsterInstance, database: Database
) -> None:
    lost, alive = (start_run(instance, FIRST_BATCH, seconds_ago=90) for _ in range(2))
    lease(database, alive)

    assert report_lost(instance, database) == [lost]
    assert status_of(instance, alive) is STARTED


def test_runs_without_a_partition_hold_no_lease_and_are_left_alone(
    instance: dg.DagsterInstance, database: Database
) -> None:
    run_id = make_run(instance, None, job="housekeeping")
    report(instance, run_id, dg.DagsterEventType.RUN_START, seconds_ago=1000)

    assert report_lost(instance, database) == []
    assert find_partitions_in_runs(instance, BATCH_RUNS) == {}


def test_a_finished_run_is_never_touched(instance: dg.DagsterInstance, database: Database) -> None:
    run_id = start_run(instance, FIRST_BATCH, seconds_ago=90)
    report(instance, run_id, dg.DagsterEventType.RUN_SUCCESS, seconds_ago=80)

    assert report_lost(instance, database) == []
    assert status_of(instance, run_id) is dg.DagsterRunStatus.SUCCESS


def test_whether_a_lost_run_is_repeated_is_left_to_dagster(database: Database) -> None:
    settings = {
        "run_retries": {"enabled": True, "max_retries": 1, "retry_on_asset_or_op_failure": False},
    }
    with dg.DagsterInstance.ephemeral(settings=settings) as instance:
        instance.add_dynamic_partitions("innomaint_batches", [FIRST_BATCH])
        run_id = start_run(instance, FIRST_BATCH, seconds_ago=61)

        assert report_lost(instance, database) == [run_id]

        run = instance.get_run_by_id(run_id)
        assert run is not None
        assert run.tags["dagster/will_retry"] == "true"


def test_batches_with_a_run_queued_or_under_way_are_found(instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions("innomaint_batches", [SECOND_BATCH, "batch_000003"])
    started = start_run(instance, FIRST_BATCH, seconds_ago=5)
    queued = make_run(instance, SECOND_BATCH)
    ended = start_run(instance, "batch_000003", seconds_ago=5)
    report(instance, ended, dg.DagsterEventType.RUN_FAILURE)

    assert find_partitions_in_runs(instance, BATCH_RUNS) == {FIRST_BATCH: started, SECOND_BATCH: queued}

    report(instance, started, dg.DagsterEventType.RUN_CANCELING)
    assert find_partitions_in_runs(instance, BATCH_RUNS) == {FIRST_BATCH: started, SECOND_BATCH: queued}
