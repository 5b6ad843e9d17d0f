"""The sensor and the schedule that import the workbook: what they launch and tell, and why they wait."""

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import dagster as dg
import psycopg
import pytest
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.definitions.schedule_definition import ScheduleExecutionData
from dagster._core.definitions.sensor_definition import SensorExecutionData

from innomaint_pipeline.definitions import defs
from innomaint_pipeline.defs.innomaint.automation import continuous_sync
from innomaint_pipeline.defs.innomaint.resource import InnomaintResource
from innomaint_pipeline.defs.resources import Ic3DatabaseResource
from innomaint_pipeline.defs.workbook import daily_import, workbook_changed
from innomaint_pipeline.errors import DatabaseError
from innomaint_pipeline.simulator.innomaint.workbook import write_sample_workbook
from innomaint_pipeline.simulator.innomaint.world import World
from innomaint_pipeline.store.workbook import load_conditions
from innomaint_pipeline_tests.conftest import FIRST_BATCH, Pipeline
from innomaint_pipeline_tests.defs.conftest import Dagster
from innomaint_pipeline_tests.defs.runs import make_run, report


@pytest.fixture
def workbook(tmp_path: Path, environment: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "master.xlsx"
    write_sample_workbook(World(12), path)
    let_age(path)
    environment.setenv("INNOMAINT_WORKBOOK", str(path))
    return path


def let_age(path: Path) -> None:
    """Let a file be at rest: nobody waits for one that was written an hour ago."""
    os.utime(path, (time.time() - 3600,) * 2)


def resources() -> dict[str, object]:
    return {"ic3": Ic3DatabaseResource(), "innomaint": InnomaintResource()}


def look_once(
    instance: dg.DagsterInstance, cursor: str | None = None, sensor: dg.SensorDefinition = workbook_changed
) -> SensorExecutionData:
    context = dg.build_sensor_context(instance=instance, cursor=cursor, definitions=defs)
    with context, partition_loading_context(dynamic_partitions_store=instance):
        return sensor.evaluate_tick(context)


def look(instance: dg.DagsterInstance, cursor: str | None = None) -> SensorExecutionData:
    """Look twice, the second time as if more than two seconds had gone by."""
    first = look_once(instance, cursor)
    seen = json.loads(first.cursor or "{}")
    if "pending" not in seen:
        return first
    assert not first.run_requests
    return look_once(instance, json.dumps(seen | {"pending_at": seen["pending_at"] - 2}))


def plan(instance: dg.DagsterInstance) -> ScheduleExecutionData:
    context = dg.build_schedule_context(
        instance=instance,
        scheduled_execution_time=datetime(2026, 6, 20, 19, 45, tzinfo=UTC),
        resources=resources(),
    )
    with context:
        return daily_import.evaluate_tick(context)


def import_master(instance: dg.DagsterInstance) -> bool:
    job = defs.resolve_job_def("import_asset_master")
    return job.execute_in_process(instance=instance, raise_on_error=False).success


def remembered(pipeline: Pipeline) -> str | None:
    """Return what people are told of the import, None while it is well."""
    with pipeline.database.begin() as connection:
        (condition,) = load_conditions(connection)
    return condition.message if condition.value else None


@pytest.mark.usefixtures("workbook")
def test_the_workbook_is_imported_once_a_day(dagster: Dagster) -> None:
    (request,) = plan(dagster.instance).run_requests or []
    assert request.run_key == "daily-2026-06-20"


@pytest.mark.usefixtures("workbook")
def test_a_workbook_at_rest_is_imported_until_it_has_succeeded(dagster: Dagster) -> None:
    first = look(dagster.instance)
    assert [request.run_key for request in first.run_requests or []] == [None]
    # The run was lost before it began.
    second = look(dagster.instance, first.cursor)
    assert len(second.run_requests or []) == 1

    assert import_master(dagster.instance)

    third = look(dagster.instance, second.cursor)
    assert not third.run_requests
    assert third.skip_message == "the workbook is unchanged"


@pytest.mark.usefixtures("workbook")
def test_an_import_under_way_is_waited_for_and_one_that_was_lost_is_repeated(dagster: Dagster) -> None:
    assert import_master(dagster.instance)
    run_id = make_run(dagster.instance, None, job="import_asset_master")
    assert look(dagster.instance).skip_message == "an import is under way"
    report(dagster.instance, run_id, dg.DagsterEventType.RUN_FAILURE)

    waiting = look(dagster.instance)
    assert "it is tried again in" in str(waiting.skip_message)

    late = make_run(dagster.instance, None, job="import_asset_master")
    report(dagster.instance, late, dg.DagsterEventType.RUN_START, seconds_ago=1000)
    report(dagster.instance, late, dg.DagsterEventType.RUN_FAILURE, seconds_ago=900)
    assert len(look(dagster.instance, waiting.cursor).run_requests or []) == 1


def test_a_workbook_that_still_grows_is_not_imported(dagster: Dagster, workbook: Path) -> None:
    seen = json.loads(look_once(dagster.instance).cursor or "")
    with workbook.open("ab") as file:
        file.write(b"more")
    later = look_once(dagster.instance, json.dumps(seen | {"pending_at": seen["pending_at"] - 60}))

    assert not later.run_requests
    assert "is it complete?" in str(later.skip_message)


def test_a_workbook_that_grows_while_the_database_restarts_is_imported_whole(
    dagster: Dagster, environment: pytest.MonkeyPatch, tmp_path: Path, database_url: str
) -> None:
    path = tmp_path / "copied slowly.csv"
    environment.setenv("INNOMAINT_WORKBOOK", str(path))
    rows = [f"Pump station {number:04d} north,Pump\n" for number in range(12)]
    path.write_text("CMMS Asset ID,Asset Name\n" + "".join(rows[:5]) + rows[5][:9], encoding="utf-8")
    cursor = look_once(dagster.instance).cursor
    name = urlsplit(database_url).path.strip("/")
    with psycopg.connect(
        urlunsplit(urlsplit(database_url)._replace(path="/postgres")), autocommit=True
    ) as other:
        other.execute(f"alter database {name} allow_connections false".encode())
        other.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name])
        with pytest.raises(DatabaseError):
            look_once(dagster.instance, cursor)
        other.execute(f"alter database {name} allow_connections true".encode())
    with path.open("a", encoding="utf-8") as file:
        file.write(rows[5][9:] + "".join(rows[6:]))
    seen = json.loads(cursor or "") | {"pending_at": 0}
    grown = look_once(dagster.instance, json.dumps(seen))
    assert not grown.run_requests
    assert len(look(dagster.instance, grown.cursor).run_requests or []) == 1
    let_age(path)
    assert import_master(dagster.instance)
    found = dagster.pipeline.rows("select cmms_asset_id from ic3_asset_master where asset_name = 'Pump'")
    assert {row["cmms_asset_id"] for row in found} == {row.partition(",")[0] for row in rows}
    assert remembered(dagster.pipeline) is None


def test_a_touched_workbook_is_no_change_and_a_changed_one_is(dagster: Dagster, workbook: Path) -> None:
    assert import_master(dagster.instance)
    os.utime(workbook, (1_750_000_000, 1_750_000_000))
    touched = look(dagster.instance)
    write_sample_workbook(World(13), workbook)
    changed = look(dagster.instance, touched.cursor)

    assert not touched.run_requests
    assert json.loads(touched.cursor or "")["same"][1] == 1_750_000_000
    assert len(changed.run_requests or []) == 1


@pytest.mark.usefixtures("workbook")
def test_a_broken_cursor_means_a_first_look(dagster: Dagster) -> None:
    assert len(look(dagster.instance, "garbage").run_requests or []) == 1


@pytest.mark.usefixtures("dagster")
def test_without_a_workbook_there_is_a_reason_and_no_run(instance: dg.DagsterInstance) -> None:
    for found in (plan(instance), look(instance)):
        assert not found.run_requests
        assert "INNOMAINT_WORKBOOK is not set" in str(found.skip_message)


@pytest.mark.parametrize("value", ["gone.xlsx", "."])
def test_a_file_that_is_not_there_is_told_like_a_broken_one(
    dagster: Dagster, environment: pytest.MonkeyPatch, value: str
) -> None:
    environment.setenv("INNOMAINT_WORKBOOK", value)

    for found in (plan(dagster.instance), look(dagster.instance)):
        assert not found.run_requests
        assert f"{value} cannot be read" in str(found.skip_message)
    assert f"{value} cannot be read" in str(remembered(dagster.pipeline))


def test_a_workbook_that_is_away_for_a_while_is_told_and_not_imported_again_for_that(
    dagster: Dagster, workbook: Path
) -> None:
    assert import_master(dagster.instance)
    workbook.rename(workbook.with_suffix(".away"))
    away = look(dagster.instance)
    assert "cannot be read" in str(away.skip_message)
    assert "cannot be read" in str(remembered(dagster.pipeline))
    workbook.with_suffix(".away").rename(workbook)

    assert not look(dagster.instance, away.cursor).run_requests
    assert remembered(dagster.pipeline) is None


def test_a_broken_workbook_is_remembered_and_a_good_one_forgets_it_and_the_sync_goes_on(
    dagster: Dagster, workbook: Path
) -> None:
    good = workbook.read_bytes()
    workbook.write_text("no workbook")
    let_age(workbook)
    assert not import_master(dagster.instance)
    assert "master.xlsx" in str(remembered(dagster.pipeline))
    assert not look(dagster.instance).run_requests, "it is refused for what it holds"
    launched = look_once(dagster.instance, sensor=continuous_sync).run_requests or []
    assert FIRST_BATCH in [request.partition_key for request in launched]

    workbook.write_bytes(good)
    let_age(workbook)

    assert import_master(dagster.instance)
    assert remembered(dagster.pipeline) is None


def test_they_are_on_by_default() -> None:
    assert workbook_changed.default_status is dg.DefaultSensorStatus.RUNNING
    assert daily_import.default_status is dg.DefaultScheduleStatus.RUNNING
