"""The clean-up: old rows and old runs go, with events and output; the newest of each partition stay."""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import TickStatus
from dagster._core.storage.compute_log_manager import ComputeIOType
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from pydantic import ValidationError
from sqlalchemy import text

from innomaint_pipeline.definitions import defs
from innomaint_pipeline.defs.housekeeping import find_old_runs
from innomaint_pipeline_tests.conftest import FIRST_BATCH, Pipeline
from innomaint_pipeline_tests.defs.conftest import PROJECT
from innomaint_pipeline_tests.defs.runs import make_run, report

SUCCESS = dg.DagsterEventType.RUN_SUCCESS
FAILURE = dg.DagsterEventType.RUN_FAILURE
CANCELED = dg.DagsterEventType.RUN_CANCELED
SECOND_BATCH = "batch_000002"
LATER = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
def instance(instance: dg.DagsterInstance) -> dg.DagsterInstance:
    instance.add_dynamic_partitions("innomaint_batches", [SECOND_BATCH])
    return instance


@pytest.fixture
def outputs(instance: dg.DagsterInstance, tmp_path: Path) -> LocalComputeLogManager:
    """The output of steps in files, as dagster.yaml has it; an ephemeral instance keeps none."""
    manager = LocalComputeLogManager(str(tmp_path / "compute_logs"))
    manager.register_instance(instance)
    instance._compute_log_manager = manager
    return manager


def end_run(
    instance: dg.DagsterInstance,
    kind: dg.DagsterEventType,
    batch_key: str | None = FIRST_BATCH,
    *,
    job: str = "sync_batch",
) -> str:
    run_id = make_run(instance, batch_key, job=job)
    report(instance, run_id, kind)
    return run_id


def old_runs(instance: dg.DagsterInstance, cutoff: datetime = LATER, limit: int = 1000) -> list[str]:
    return list(find_old_runs(instance, cutoff, limit=limit))


def age(instance: dg.DagsterInstance, run_ids: list[str], *, days: int) -> None:
    created = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=days)
    with instance.run_storage.connect() as connection:  # pyright: ignore[reportAttributeAccessIssue]
        for run_id in run_ids:
            connection.execute(
                text("update runs set create_timestamp = :created where run_id = :run_id"),
                {"created": created, "run_id": run_id},
            )


def clean_up(instance: dg.DagsterInstance, **config: int) -> dg.ExecuteInProcessResult:
    names = ("delete_old_log_rows", "delete_old_runs")
    return defs.resolve_job_def("housekeeping").execute_in_process(
        instance=instance, run_config={"ops": {name: {"config": config} for name in names}}
    )


def write_output(manager: LocalComputeLogManager, run_id: str) -> Path:
    key = [run_id, "compute_logs", "step"]
    with manager.open_log_stream(key, ComputeIOType.STDOUT) as stream:
        assert stream is not None
        stream.write("printed")
    path = Path(manager.get_captured_local_path(key, "out"))
    assert path.read_text() == "printed"
    return path


def test_the_latest_run_and_the_latest_good_one_of_each_partition_stay(
    instance: dg.DagsterInstance,
) -> None:
    first = [end_run(instance, kind) for kind in (FAILURE, SUCCESS, SUCCESS, CANCELED, FAILURE)]
    second = [end_run(instance, kind, SECOND_BATCH) for kind in (FAILURE, FAILURE)]
    good = end_run(instance, SUCCESS, SECOND_BATCH)

    assert old_runs(instance) == [first[0], first[1], first[3], *second]
    assert good not in old_runs(instance)


def test_jobs_without_partitions_keep_their_latest_runs_too(instance: dg.DagsterInstance) -> None:
    imports = [end_run(instance, SUCCESS, None, job="import_asset_master") for _ in range(3)]
    checks = [end_run(instance, kind, None, job="check_tables") for kind in (SUCCESS, FAILURE, FAILURE)]

    assert old_runs(instance) == [*imports[:2], checks[1]]


def test_what_is_younger_or_not_finished_stays(instance: dg.DagsterInstance) -> None:
    runs = [end_run(instance, SUCCESS) for _ in range(3)]
    make_run(instance, FIRST_BATCH)
    age(instance, runs[:1], days=20)

    assert old_runs(instance, datetime.now(UTC) - timedelta(days=14)) == runs[:1]
    # The latest run is now the queued one.
    assert old_runs(instance) == runs[:2]


def test_no_more_than_the_limit_is_found_the_oldest_first(instance: dg.DagsterInstance) -> None:
    runs = [end_run(instance, SUCCESS) for _ in range(6)]
    assert old_runs(instance, limit=2) == runs[:2]


def test_more_than_a_page_of_runs_is_found(instance: dg.DagsterInstance) -> None:
    runs = [make_run(instance, FIRST_BATCH, dg.DagsterRunStatus.SUCCESS) for _ in range(104)]
    assert old_runs(instance) == runs[:-1]


@pytest.mark.usefixtures("environment")
def test_the_job_deletes_old_runs_with_their_events_and_output(
    instance: dg.DagsterInstance, outputs: LocalComputeLogManager
) -> None:
    runs = [end_run(instance, SUCCESS) for _ in range(4)]
    written = [write_output(outputs, run_id) for run_id in runs]
    age(instance, runs[:3], days=15)

    result = clean_up(instance)

    assert [instance.get_run_by_id(run_id) is None for run_id in runs] == [True, True, True, False]
    assert [bool(instance.all_logs(run_id)) for run_id in runs] == [False, False, False, True]
    assert [path.exists() for path in written] == [False, False, False, True]
    assert instance.get_run_by_id(result.run_id) is not None


@pytest.mark.usefixtures("environment")
def test_how_long_runs_are_kept_and_how_many_go_at_once_can_be_set(instance: dg.DagsterInstance) -> None:
    runs = [end_run(instance, SUCCESS) for _ in range(4)]
    age(instance, runs, days=5)

    clean_up(instance, run_days=4, most_runs=2)

    assert [instance.get_run_by_id(run_id) is None for run_id in runs] == [True, True, False, False]


@pytest.mark.usefixtures("environment")
def test_the_job_deletes_old_rows_of_the_logs(instance: dg.DagsterInstance, pipeline: Pipeline) -> None:
    for days in (89, 91):
        pipeline.execute(
            "insert into ic3_sync_log (serialnumber, synced_at)"
            " values ('old', now() - make_interval(days => :days))",
            days=days,
        )

    result = clean_up(instance)

    assert pipeline.one("select count(*) as rows from ic3_sync_log where serialnumber = 'old'")["rows"] == 1
    (event,) = [
        event
        for event in result.all_events
        if event.event_type_value == "STEP_OUTPUT" and event.step_key == "delete_old_log_rows"
    ]
    assert event.step_output_data.metadata["ic3_sync_log"].value == 1


@pytest.mark.usefixtures("environment")
def test_after_a_year_every_table_and_folder_is_within_its_bound(
    instance: dg.DagsterInstance, outputs: LocalComputeLogManager, pipeline: Pipeline
) -> None:
    """A day in ten of a year: rows, requests, leases, runs with their checks and output, logs of ticks."""
    days = range(5, 365, 10)
    before = {"ic3_sync_log": pipeline.one("select count(*) as n from ic3_sync_log")["n"]}
    runs: list[str] = []
    files: list[Path] = []
    for number, day in enumerate(days):
        run_id = end_run(instance, SUCCESS, None, job="check_tables")
        runs.append(run_id)
        age_check_records(instance, run_id, days=day)
        written = [write_output(outputs, run_id), write_tick_log(outputs, number)]
        for path in written:
            os.utime(path, (time.time() - day * 86_400,) * 2)
        files += written
        age(instance, [run_id], days=day)
        for statement in _A_DAY:
            pipeline.execute(statement, day=day, number=number)

    assert runs_with_check_records(instance) == set(runs)

    clean_up(instance)

    young = [day for day in days if day < 14]
    logs = [day for day in days if day < 90]
    left = [run_id for run_id in runs if instance.get_run_by_id(run_id) is not None]
    # The newest ones, and beside them the latest of the job.
    assert len(left) == len(young) + 1
    assert runs_with_check_records(instance) == set(left)
    assert sum(path.exists() for path in files) == len(left) + len(young)
    for table, bound in {
        "ic3_sync_log": len(logs),
        "cmms_sync_log": len(logs),
        "innomaint_request": len(logs),
        "innomaint_request_part": len(logs),
        "innomaint_data_issue": len(logs),
        "innomaint_lease": 0,
    }.items():
        rows = pipeline.one(f"select count(*) as n from {table}")["n"] - before.get(table, 0)
        assert rows <= bound + (table == "cmms_sync_log"), table


_AGO = "now() - make_interval(days => :day)"
_A_DAY = [
    f"insert into ic3_sync_log (serialnumber, synced_at) values ('old', {_AGO})",
    f"""
    insert into cmms_sync_log (sync_type, status, batch_key, run_id, total, assets_synced, failed, synced_at)
    values ('api_sync', 'complete', 'batch_000001', 'run' || :number, 0, 0, 0, {_AGO})
    """,
    f"""
    with made as (
        insert into innomaint_request (kind, options, requested_at, finished_at, state)
        values ('innomaint/sync', '{{}}', {_AGO}, {_AGO}, 'done') returning id
    )
    insert into innomaint_request_part (request_id, part, items, state)
    select id, 'batch_000001', '{{}}', 'done' from made
    """,
    f"""
    insert into innomaint_data_issue
        (asset_id, source, field, raw_value, reason, first_seen_at, last_seen_at, resolved_at)
    select asset_id, 'innomaint', 'field ' || :number, 'x', 'y', {_AGO}, {_AGO}, {_AGO}
    from ic3_asset_master order by asset_id limit 1
    """,
    f"""
    insert into innomaint_lease (resource, owner, acquired_at, expires_at)
    values ('run/' || :number, 'run' || :number, {_AGO}, {_AGO})
    """,
]


def age_check_records(instance: dg.DagsterInstance, run_id: str, *, days: int) -> None:
    """Let the records of the checks that a run was to evaluate, which it made at its start, be old."""
    created = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=days)
    table = AssetCheckExecutionsTable
    with instance.event_log_storage.index_connection() as connection:  # pyright: ignore[reportAttributeAccessIssue]
        connection.execute(table.update().where(table.c.run_id == run_id).values(create_timestamp=created))


def runs_with_check_records(instance: dg.DagsterInstance) -> set[str]:
    with instance.event_log_storage.index_connection() as connection:  # pyright: ignore[reportAttributeAccessIssue]
        return {row.run_id for row in connection.execute(AssetCheckExecutionsTable.select())}


def write_tick_log(manager: LocalComputeLogManager, number: int) -> Path:
    key = ["__repository__", "alerts", str(number)]
    with manager.open_log_stream(key, ComputeIOType.STDERR) as stream:
        assert stream is not None
        stream.write("logged")
    return Path(manager.get_captured_local_path(key, "err"))


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("config", [{"log_days": 0}, {"run_days": 0}, {"most_runs": 0}])
def test_a_retention_of_nothing_is_refused(instance: dg.DagsterInstance, config: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        clean_up(instance, **config)


def test_the_clean_up_runs_every_night_by_default() -> None:
    schedule = defs.resolve_schedule_def("daily_housekeeping")
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    assert schedule.cron_schedule == "40 2 * * *"


@pytest.mark.parametrize("kind", [InstigatorType.SENSOR, InstigatorType.SCHEDULE])
def test_no_tick_is_kept_for_ever_and_skipped_ones_of_sensors_for_days(kind: InstigatorType) -> None:
    settings = yaml.safe_load((PROJECT / "dagster.yaml").read_text(encoding="utf-8"))
    with dg.DagsterInstance.ephemeral(settings={"retention": settings["retention"]}) as configured:
        kept = configured.get_tick_retention_settings(kind)

    assert set(kept) == set(TickStatus)
    assert all(1 <= days <= 90 for days in kept.values())
    if kind is InstigatorType.SENSOR:
        assert kept[TickStatus.SKIPPED] <= 7
