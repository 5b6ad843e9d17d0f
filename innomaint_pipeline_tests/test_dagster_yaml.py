"""dagster.yaml, loaded into a real instance: the values in effect, and that it works."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest

with warnings.catch_warnings():
    # Dagster asks pydantic for a name that pydantic deprecates, and warns of what it calls beta.
    warnings.simplefilter("ignore")
    import dagster as dg
    from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteRepositoryOrigin
    from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext
    from dagster._core.storage.compute_log_manager import ComputeIOType
    from dagster_postgres import PostgresEventLogStorage, PostgresRunStorage, PostgresScheduleStorage

    from innomaint_pipeline.defs.compute_logs import HomeComputeLogManager

from innomaint_pipeline.defs.account import ACCOUNT_TAG
from innomaint_pipeline.defs.recovery import LeasedRunLauncher
from innomaint_pipeline.defs.source import SOURCE_TAG
from innomaint_pipeline.embedded.server import EmbeddedPostgres
from innomaint_pipeline.store.connections import with_driver

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def instance(postgres: EmbeddedPostgres, home: Path) -> Iterator[dg.DagsterInstance]:
    """The instance of dagster.yaml in a database of its own."""
    postgres.ensure_database("dagster_yaml")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DAGSTER_HOME", str(PROJECT))
        environment.setenv("DAGSTER_PG_URL", with_driver(postgres.url("dagster_yaml"), "psycopg2"))
        environment.setenv("INNOMAINT_HOME", str(home))
        environment.setenv("INNOMAINT_CONCURRENT_RUNS", "6")
        environment.delenv("DAGSTER_DISABLE_TELEMETRY", raising=False)
        with dg.DagsterInstance.get() as opened:
            yield opened


def test_runs_events_and_ticks_are_kept_in_postgresql(instance: dg.DagsterInstance) -> None:
    assert isinstance(instance.run_storage, PostgresRunStorage)
    assert isinstance(instance.event_log_storage, PostgresEventLogStorage)
    assert isinstance(instance.schedule_storage, PostgresScheduleStorage)


def test_a_process_keeps_its_connections_and_replaces_those_that_the_server_has_ended(
    instance: dg.DagsterInstance, postgres: EmbeddedPostgres
) -> None:
    ours = "pid from pg_stat_activity where datname = 'dagster_yaml'"
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as looking:
        seen = set()
        for _ in range(5):
            instance.get_runs()
            instance.add_dynamic_partitions("innomaint_batches", ["batch_000001"])
            instance.all_instigator_state()
            seen |= {pid for (pid,) in looking.execute(f"select {ours}")}
        assert 1 <= len(seen) <= 2
        looking.execute(f"select pg_terminate_backend(pid) from (select {ours})")
        assert instance.get_runs() == []


def test_what_is_written_is_read_back(instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions("innomaint_batches", ["batch_000001"])
    instance.report_runless_asset_event(dg.AssetMaterialization("ic3_asset_master", metadata={"rows": 25}))

    assert instance.get_dynamic_partitions("innomaint_batches") == ["batch_000001"]
    event = instance.get_latest_materialization_event(dg.AssetKey("ic3_asset_master"))
    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.metadata["rows"].value == 25


def test_three_runs_at_once_for_each_source_and_for_each_account(instance: dg.DagsterInstance) -> None:
    assert isinstance(instance.run_coordinator, QueuedRunCoordinator)
    queue = instance.get_concurrency_config().run_queue_config

    assert queue is not None
    assert queue.max_concurrent_runs == 6
    assert queue.tag_concurrency_limits == [
        {"key": SOURCE_TAG, "value": {"applyLimitPerUniqueValue": True}, "limit": 3},
        {"key": ACCOUNT_TAG, "value": {"applyLimitPerUniqueValue": True}, "limit": 3},
    ]


def test_a_run_that_is_launched_anywhere_says_whose_it_is_by_its_code_location(
    instance: dg.DagsterInstance,
) -> None:
    def submit(location: str) -> dict[str, str]:
        origin = RemoteRepositoryOrigin(GrpcServerCodeLocationOrigin("127.0.0.1", 1, None, location), "r")
        # What a person materializes in the UI runs in Dagster's own job, which has no tags.
        run = dg.DagsterRun("__ASSET_JOB", remote_job_origin=origin.get_job_origin("__ASSET_JOB"))
        instance.run_storage.add_run(run)
        queued = instance.run_coordinator.submit_run(SubmitRunContext(run, cast("Any", None)))
        assert queued.status is dg.DagsterRunStatus.QUEUED
        return {key: value for key, value in queued.tags.items() if not key.startswith(".dagster")}

    assert submit("innomaint_north") == {ACCOUNT_TAG: "north", "dagster-celery/queue": "north"}
    assert submit("innomaint_pipeline") == {}


def test_a_run_whose_machine_died_does_not_stay_started_for_ever(instance: dg.DagsterInstance) -> None:
    assert instance.run_monitoring_enabled
    assert isinstance(instance.run_launcher, LeasedRunLauncher)
    assert instance.run_launcher.supports_check_run_worker_health
    assert instance.run_monitoring_poll_interval_seconds == 5
    assert instance.run_monitoring_start_timeout_seconds == 90
    assert instance.run_monitoring_cancel_timeout_seconds == 60
    # A refusal stops everybody: two passes, each refused five times for fifteen minutes.
    worst_honest_batch_seconds = 2 * 5 * 15 * 60
    assert instance.run_monitoring_max_runtime_seconds == 14400 > worst_honest_batch_seconds


def test_a_crashed_run_is_repeated_once_and_a_failed_step_is_not(instance: dg.DagsterInstance) -> None:
    assert instance.run_retries_enabled
    assert instance.run_retries_max_retries == 1
    assert instance.run_retries_retry_on_asset_or_op_failure is False


def test_nothing_is_told_to_anybody(instance: dg.DagsterInstance) -> None:
    assert instance.telemetry_enabled is False
    assert instance.nux_enabled is False


def test_what_steps_print_is_kept_in_the_home(instance: dg.DagsterInstance, home: Path) -> None:
    manager = instance.compute_log_manager
    assert isinstance(manager, HomeComputeLogManager)

    with manager.open_log_stream(["run-1", "compute_logs", "step"], ComputeIOType.STDOUT) as stream:
        assert stream is not None
        stream.write("printed by a step")

    (written,) = (home / "compute_logs").rglob("step*")
    assert written.read_text() == "printed by a step"


def test_nothing_is_written_beside_the_configuration(instance: dg.DagsterInstance, home: Path) -> None:
    assert Path(instance.root_directory) == home
    assert Path(instance.storage_directory()).is_relative_to(home)
    assert not [name for name in ("storage", "history", "schedules") if (PROJECT / name).exists()]
