"""Runs whose process is gone: recognized by their lease, whatever they do; a living one is left alone."""

import logging
import threading
import time
from typing import Any, cast

import dagster as dg
import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run
from dagster._core.launcher.base import WorkerStatus
from dagster._daemon.monitoring.run_monitoring import monitor_started_run, monitor_starting_run

from innomaint_pipeline.definitions import defs
from innomaint_pipeline.defs import recovery
from innomaint_pipeline.defs.failures import Explanation, observe_missing
from innomaint_pipeline.defs.innomaint.assets import BATCH_RUNS
from innomaint_pipeline.defs.innomaint.automation import close_lost_batch
from innomaint_pipeline.defs.launchers.celery import LeasedCeleryRunLauncher
from innomaint_pipeline.defs.recovery import LeasedRunLauncher, find_partitions_in_runs, tell_of_lost_runs
from innomaint_pipeline.domain.innomaint.batches import lease_name
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.leases import RUN_LEASES, acquire_lease, find_leases, is_owner_alive
from innomaint_pipeline.store.settings import find_not_begun, note_begun, note_not_begun
from innomaint_pipeline.sync.holding import keep_lease
from innomaint_pipeline_tests.conftest import FIRST_BATCH, Pipeline
from innomaint_pipeline_tests.defs.conftest import Dagster
from innomaint_pipeline_tests.defs.runs import make_run, report, start_run, status_of

SECOND_BATCH = "batch_000002"
JOBS = ["sync_batch", "import_asset_master", "check_tables", "housekeeping"]


class Monitor:
    """Dagster's run monitoring over an instance, by the leases of a database."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance

    def look(self, run_id: str) -> dg.DagsterRunStatus:
        """Look at a run as Dagster's daemon does; return its status afterwards."""
        record = self.instance.get_run_record_by_id(run_id)
        assert record is not None
        monitor_started_run(self.instance, cast("Any", None), record, logging.getLogger("test"))
        return status_of(self.instance, run_id)


@pytest.fixture
def monitor(
    instance: dg.DagsterInstance,
    database: Database,
    bare_environment: pytest.MonkeyPatch,
) -> Monitor:
    url = database.engine.url.render_as_string(hide_password=False)
    bare_environment.setenv("IC3_DATABASE_URL", url)
    # The pause between the two looks is not waited for.
    bare_environment.setattr(instance, "_run_launcher", build_launcher(instance, second_look_seconds=0.0))
    return Monitor(instance)


def build_launcher(instance: dg.DagsterInstance, *, second_look_seconds: float) -> LeasedRunLauncher:
    launcher = LeasedRunLauncher(second_look_seconds=second_look_seconds)
    launcher.register_instance(instance)
    return launcher


def health(launcher: LeasedRunLauncher, instance: dg.DagsterInstance, run_id: str) -> WorkerStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return launcher.check_run_worker_health(run).status


def lease(database: Database, owner: str, *, resource: str | None = None, seconds: float = 30) -> None:
    with database.begin() as connection:
        assert acquire_lease(connection, resource or RUN_LEASES + owner, owner, seconds=seconds)


@pytest.mark.parametrize("job", JOBS)
def test_a_silent_run_without_a_lease_ends_as_failed_whatever_it_does(monitor: Monitor, job: str) -> None:
    run_id = make_run(monitor.instance, FIRST_BATCH if job == "sync_batch" else None, job=job)
    report(monitor.instance, run_id, dg.DagsterEventType.RUN_START, seconds_ago=61)

    assert monitor.look(run_id) is dg.DagsterRunStatus.FAILURE

    messages = [entry.message for entry in monitor.instance.all_logs(run_id)]
    assert any("The process of this run is gone" in message for message in messages)
    planned, observed = (
        {event.asset_key for entry in found if (event := entry.dagster_event) is not None}
        for kind in ("ASSET_MATERIALIZATION_PLANNED", "ASSET_OBSERVATION")
        for found in (monitor.instance.all_logs(run_id, of_type=dg.DagsterEventType[kind]),)
    )
    assert observed == planned
    if job == "sync_batch":
        assert observed == BATCH_RUNS.asset_keys
    assert find_partitions_in_runs(monitor.instance, BATCH_RUNS) == {}


def test_a_run_that_its_code_server_has_ended_is_told_once_on_the_pages_of_its_assets(
    monitor: Monitor, database: Database
) -> None:
    killed, living = (start_run(monitor.instance, FIRST_BATCH, seconds_ago=61) for _ in range(2))
    lease(database, killed, seconds=-1)
    lease(database, living)
    run = monitor.instance.get_run_by_id(killed)
    assert run is not None
    monitor.instance.report_run_failed(run, "Run execution process unexpectedly exited with exit code -9")

    for _ in range(2):
        tell_of_lost_runs(dg.build_sensor_context(instance=monitor.instance), database)

    def observed(run_id: str) -> list[dg.AssetObservation]:
        kind = dg.DagsterEventType.ASSET_OBSERVATION
        found = monitor.instance.all_logs(run_id, of_type=kind)
        return [entry.get_dagster_event().asset_observation_data.asset_observation for entry in found]

    assert {item.asset_key for item in observed(killed)} == BATCH_RUNS.asset_keys
    assert len(observed(killed)) == len(BATCH_RUNS.asset_keys)
    assert observed(living) == []
    first = observed(killed)[0]
    assert first.partition == FIRST_BATCH
    assert "is gone" in str(first.metadata["reason"].value)
    with database.begin() as connection:
        assert (is_owner_alive(connection, killed), is_owner_alive(connection, living)) == (None, True)


def test_a_batch_run_that_lost_the_database_leaves_its_row_when_the_database_is_back(
    monitor: Monitor, pipeline: Pipeline
) -> None:
    pipeline.import_serials()
    run_id = start_run(monitor.instance, FIRST_BATCH, seconds_ago=61)
    lease(pipeline.database, run_id, seconds=-1)
    run = monitor.instance.get_run_by_id(run_id)
    assert run is not None
    told = Explanation("database", "the database is unreachable", "see that it runs")
    observe_missing(monitor.instance, run, told.metadata())
    monitor.instance.report_run_failed(run)

    for _ in range(2):
        tell_of_lost_runs(
            dg.build_sensor_context(instance=monitor.instance), pipeline.database, [close_lost_batch]
        )

    assert pipeline.rows("select batch_key, status, cause, reason, total from cmms_sync_log") == [
        {
            "batch_key": FIRST_BATCH,
            "status": "failed",
            "cause": "database",
            "reason": "the database is unreachable",
            "total": len(pipeline.serials),
        }
    ]
    kind = dg.DagsterEventType.ASSET_OBSERVATION
    observed = monitor.instance.all_logs(run_id, of_type=kind)
    assert len(observed) == len(BATCH_RUNS.asset_keys), "the first reason stays the only one"


@pytest.mark.parametrize("resource", [None, lease_name(FIRST_BATCH)])
def test_a_run_with_a_live_lease_is_left_alone_however_old(
    monitor: Monitor, database: Database, resource: str | None
) -> None:
    run_id = start_run(monitor.instance, FIRST_BATCH, seconds_ago=10_000)
    lease(database, run_id, resource=resource)

    assert monitor.look(run_id) is dg.DagsterRunStatus.STARTED


def test_a_run_whose_lease_has_expired_ends_although_it_spoke_a_moment_ago_and_keeps_no_lease(
    monitor: Monitor, database: Database
) -> None:
    run_id = start_run(monitor.instance, FIRST_BATCH, seconds_ago=61)
    report(monitor.instance, run_id, dg.DagsterEventType.ENGINE_EVENT, seconds_ago=1)
    lease(database, run_id, seconds=-1)
    lease(database, run_id, resource=lease_name(FIRST_BATCH), seconds=-1)

    assert monitor.look(run_id) is dg.DagsterRunStatus.FAILURE
    with database.begin() as connection:
        assert is_owner_alive(connection, run_id) is None


def test_a_lease_is_looked_at_twice_since_the_living_renew_first_after_a_halt(
    monitor: Monitor, database: Database
) -> None:
    run_id = start_run(monitor.instance, FIRST_BATCH, seconds_ago=61)
    patient = build_launcher(monitor.instance, second_look_seconds=3600)
    quick = build_launcher(monitor.instance, second_look_seconds=0.01)

    for _ in range(2):
        lease(database, run_id, seconds=-1)
        assert health(patient, monitor.instance, run_id) is WorkerStatus.RUNNING
        assert health(quick, monitor.instance, run_id) is WorkerStatus.RUNNING
        lease(database, run_id)
        assert health(patient, monitor.instance, run_id) is WorkerStatus.RUNNING
        assert health(quick, monitor.instance, run_id) is WorkerStatus.RUNNING

    lease(database, run_id, seconds=-1)
    assert health(quick, monitor.instance, run_id) is WorkerStatus.RUNNING
    time.sleep(0.02)
    assert health(quick, monitor.instance, run_id) is WorkerStatus.FAILED


def test_a_run_that_is_about_to_begin_or_to_end_is_left_alone(monitor: Monitor) -> None:
    run_id = start_run(monitor.instance, FIRST_BATCH, seconds_ago=300)
    report(monitor.instance, run_id, dg.DagsterEventType.ENGINE_EVENT, seconds_ago=1)

    assert monitor.look(run_id) is dg.DagsterRunStatus.STARTED


def test_the_lease_of_another_run_does_not_cover_a_lost_one(monitor: Monitor, database: Database) -> None:
    lost, alive = (start_run(monitor.instance, FIRST_BATCH, seconds_ago=90) for _ in range(2))
    lease(database, alive)

    assert monitor.look(lost) is dg.DagsterRunStatus.FAILURE
    assert monitor.look(alive) is dg.DagsterRunStatus.STARTED


def test_a_run_holds_its_lease_while_it_works_and_gives_it_back(dagster: Dagster) -> None:
    held: list[str] = []

    @dg.op
    def look_at_leases(context: dg.OpExecutionContext) -> None:
        deadline = time.monotonic() + 60
        while not held and time.monotonic() < deadline:
            with dagster.pipeline.database.begin() as connection:
                held.extend(lease.owner for lease in find_leases(connection, RUN_LEASES))
            time.sleep(0.01)
        assert held == [context.run.run_id]

    @dg.job(executor_def=recovery.leased_executor)
    def working() -> None:
        look_at_leases()

    with dagster.pipeline.database.begin() as connection:
        note_not_begun(connection, "an earlier run, which waited in vain")
    # As Dagster executes runs; execute_in_process would replace the executor.
    plan_run = dagster.instance.create_run_for_job(working)

    assert execute_run(InMemoryJob(working), plan_run, dagster.instance).success
    with dagster.pipeline.database.begin() as connection:
        assert find_leases(connection, RUN_LEASES) == []
        assert find_not_begun(connection) is None


def test_a_run_that_was_reported_as_lost_learns_of_it(database: Database) -> None:
    told = threading.Event()
    with keep_lease(database, "run/halted", "halted", on_lost=told.set, renewal_seconds=0.01):
        while True:
            with database.begin() as connection:
                if is_owner_alive(connection, "halted"):
                    recovery.remove_leases(connection, "halted")
                    break
        assert told.wait(60)


@pytest.mark.parametrize(
    ("is_elsewhere", "has_work_leased", "status"),
    [
        (True, False, dg.DagsterRunStatus.CANCELED),
        # Its step reads the wish itself.
        (True, True, dg.DagsterRunStatus.SUCCESS),
        # Its launcher interrupts it.
        (False, False, dg.DagsterRunStatus.SUCCESS),
    ],
)
def test_a_run_that_its_launcher_cannot_reach_reads_that_it_is_to_end(
    dagster: Dagster,
    bare_environment: pytest.MonkeyPatch,
    is_elsewhere: bool,
    has_work_leased: bool,
    status: dg.DagsterRunStatus,
) -> None:
    database = dagster.pipeline.database
    launcher = LeasedCeleryRunLauncher(default_queue="dagster", broker="redis://127.0.0.1:1/0")
    if is_elsewhere:
        launcher.register_instance(dagster.instance)
        bare_environment.setattr(dagster.instance, "_run_launcher", launcher)
    noted: list[str] = []

    @dg.executor(name="in_process")
    def renewing_often(_: dg.InitExecutorContext) -> recovery.LeasedExecutor:
        return recovery.LeasedExecutor(renewal_seconds=0.01)

    @dg.op
    def import_for_long(context: dg.OpExecutionContext) -> None:
        if has_work_leased:
            lease(database, context.run.run_id, resource=lease_name(FIRST_BATCH))
        context.instance.report_run_canceling(context.run)
        try:
            time.sleep(60 if status is dg.DagsterRunStatus.CANCELED else 0.5)
        finally:
            # An interrupt, and no second one that breaks this off.
            time.sleep(0.1)
            noted.append("the end")

    @dg.job(executor_def=renewing_often)
    def importing() -> None:
        import_for_long()

    run = dagster.instance.create_run_for_job(importing)
    # As in a process that executes runs: the interrupt that ends one is no failure of it.
    execute_run(InMemoryJob(importing), run, dagster.instance)

    assert status_of(dagster.instance, run.run_id) is status
    assert noted == ["the end"]
    with database.begin() as connection:
        assert find_leases(connection, RUN_LEASES) == []


def test_every_job_holds_the_lease_of_its_runs() -> None:
    for job in defs.resolve_all_job_defs():
        assert job.executor_def is recovery.leased_executor, job.name


def test_batches_with_a_run_queued_or_under_way_are_found(instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions("innomaint_batches", [SECOND_BATCH, "batch_000003"])
    started = start_run(instance, FIRST_BATCH, seconds_ago=5)
    queued = make_run(instance, SECOND_BATCH)
    ended = start_run(instance, "batch_000003", seconds_ago=5)
    report(instance, ended, dg.DagsterEventType.RUN_FAILURE)

    assert find_partitions_in_runs(instance, BATCH_RUNS) == {FIRST_BATCH: started, SECOND_BATCH: queued}

    report(instance, started, dg.DagsterEventType.RUN_CANCELING)
    assert find_partitions_in_runs(instance, BATCH_RUNS) == {FIRST_BATCH: started, SECOND_BATCH: queued}


def test_what_a_lost_run_was_to_do_is_repeated_by_one_alone(monitor: Monitor) -> None:
    batch = start_run(monitor.instance, FIRST_BATCH, seconds_ago=61)
    other = make_run(monitor.instance, None, job="import_asset_master")
    report(monitor.instance, other, dg.DagsterEventType.RUN_START, seconds_ago=61)

    for run_id, max_retries in ((batch, "0"), (other, None)):
        assert monitor.look(run_id) is dg.DagsterRunStatus.FAILURE
        run = monitor.instance.get_run_by_id(run_id)
        assert run is not None
        # A batch is launched again by its sensor or request; Dagster repeats what has neither.
        assert run.tags.get("dagster/max_retries") == max_retries


def test_a_run_that_no_worker_begins_is_noted_until_one_begins(
    monitor: Monitor, database: Database, bare_environment: pytest.MonkeyPatch
) -> None:
    broker = "redis://127.0.0.1:1/0"
    launcher = LeasedCeleryRunLauncher(default_queue="dagster", broker=broker)
    launcher.register_instance(monitor.instance)
    bare_environment.setattr(monitor.instance, "_run_launcher", launcher)
    bare_environment.setattr(
        type(monitor.instance), "run_monitoring_start_timeout_seconds", property(lambda _: 1)
    )
    run_id = make_run(monitor.instance, FIRST_BATCH)
    report(monitor.instance, run_id, dg.DagsterEventType.RUN_STARTING, seconds_ago=5)
    record = monitor.instance.get_run_record_by_id(run_id)
    assert record is not None

    monitor_starting_run(monitor.instance, record, logging.getLogger("test"))

    assert status_of(monitor.instance, run_id) is dg.DagsterRunStatus.FAILURE
    ended = monitor.instance.get_run_by_id(run_id)
    assert ended is not None
    assert ended.tags["dagster/max_retries"] == "0"
    with database.begin() as connection:
        assert find_not_begun(connection) is not None
        note_begun(connection)
        assert find_not_begun(connection) is None


def test_terminate_of_a_run_elsewhere_is_a_wish_in_the_database(monitor: Monitor) -> None:
    launcher = LeasedCeleryRunLauncher(default_queue="dagster", broker="redis://127.0.0.1:1/0")
    launcher.register_instance(monitor.instance)
    run_id = start_run(monitor.instance, FIRST_BATCH, seconds_ago=5)

    assert launcher.terminate(run_id)
    assert status_of(monitor.instance, run_id) is dg.DagsterRunStatus.CANCELING
    report(monitor.instance, run_id, dg.DagsterEventType.RUN_CANCELED)
    assert not launcher.terminate(run_id)
