"""The sensors and the schedule on a real database: what they launch, and why they do not."""

import re
import time
from collections.abc import Sequence

import dagster as dg
import pytest
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.definitions.sensor_definition import SensorExecutionData

from innomaint_pipeline.cli.innomaint.commands import change_setting, save_pause
from innomaint_pipeline.definitions import defs
from innomaint_pipeline.defs.innomaint import automation
from innomaint_pipeline.defs.innomaint.automation import continuous_sync
from innomaint_pipeline.errors import ConfigurationError, DatabaseError
from innomaint_pipeline.settings import load_settings
from innomaint_pipeline.simulator.innomaint.faults import Status
from innomaint_pipeline.simulator.innomaint.server import InnomaintSimulator
from innomaint_pipeline.simulator.innomaint.world import World
from innomaint_pipeline.store.database import Database
from innomaint_pipeline_tests.conftest import CANARY_TOKEN, FIRST_BATCH, Pipeline, fix_world
from innomaint_pipeline_tests.defs.conftest import Dagster
from innomaint_pipeline_tests.defs.runs import make_run

BATCHES = [f"batch_{number:06d}" for number in range(1, 7)]


@pytest.fixture
def pipeline(database: Database, simulator: InnomaintSimulator) -> Pipeline:
    """Twelve CMMS assets in six batches of two."""
    fix_world(simulator, World(12))
    made = Pipeline(database, simulator)
    made.import_serials(batch_size=2)
    return made


@pytest.fixture
def environment(environment: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    environment.setenv("INNOMAINT_BATCH_SIZE", "2")
    return environment


def look(
    instance: dg.DagsterInstance, cursor: str | None = None, sensor: dg.SensorDefinition = continuous_sync
) -> SensorExecutionData:
    """Evaluate a sensor as the daemon does."""
    context = dg.build_sensor_context(instance=instance, cursor=cursor, definitions=defs)
    with context, partition_loading_context(dynamic_partitions_store=instance):
        return sensor.evaluate_tick(context)


def launched(found: SensorExecutionData) -> list[str | None]:
    return [request.partition_key for request in found.run_requests or []]


def queue(instance: dg.DagsterInstance, keys: Sequence[str | None]) -> None:
    """Put runs into Dagster's queue, as the daemon does with what a sensor asks for."""
    for key in keys:
        make_run(instance, key)


def sync(dagster: Dagster, batch_key: str) -> dg.ExecuteInProcessResult:
    return defs.resolve_job_def("sync_batch").execute_in_process(
        partition_key=batch_key, instance=dagster.instance, raise_on_error=False
    )


def all_are_synced(pipeline: Pipeline) -> None:
    pipeline.execute(
        "update innomaint_sync_state set state = 'synced', last_success_at = now(),"
        " next_due_at = now() + interval '1 day'"
    )


def test_the_first_three_due_batches_are_launched_without_run_keys(dagster: Dagster) -> None:
    found = look(dagster.instance)

    assert launched(found) == BATCHES[:3]
    requests = found.run_requests or []
    assert {request.run_key for request in requests} == {None}
    assert [request.tags["dagster/partition"] for request in requests] == BATCHES[:3]
    assert {request.tags["innomaint/started_by"] for request in requests} == {"continuous sync"}
    assert found.cursor is not None
    assert abs(float(found.cursor) - time.time()) < 60


def test_every_batch_of_the_database_becomes_a_partition(dagster: Dagster) -> None:
    assert list(dagster.instance.get_dynamic_partitions("innomaint_batches")) == [FIRST_BATCH]
    look(dagster.instance)
    assert sorted(dagster.instance.get_dynamic_partitions("innomaint_batches")) == BATCHES


def test_a_second_look_launches_nothing_that_is_queued_already(dagster: Dagster) -> None:
    queue(dagster.instance, launched(look(dagster.instance))[:2])

    again = look(dagster.instance)
    assert launched(again) == [BATCHES[2]]
    queue(dagster.instance, launched(again))
    full = look(dagster.instance)

    assert launched(full) == []
    assert full.skip_message == "3 batches in flight, 12 assets due"


def test_a_batch_that_a_command_line_works_on_is_in_flight_too(dagster: Dagster) -> None:
    dagster.pipeline.execute(
        "insert into innomaint_lease (resource, owner, acquired_at, expires_at)"
        " values ('innomaint/batch_000001', 'a command line', now(), now() + interval '1 minute')"
    )
    assert launched(look(dagster.instance)) == BATCHES[1:3]


@pytest.mark.leaves("synced_without_answer")
def test_a_failed_batch_is_launched_again_when_its_assets_are_due_again(dagster: Dagster) -> None:
    all_are_synced(dagster.pipeline)
    dagster.pipeline.simulator.faults.always(dagster.pipeline.serials[0], Status(500))
    dagster.pipeline.execute("update innomaint_sync_state set next_due_at = now() where asset_id = 1")
    assert launched(look(dagster.instance)) == [FIRST_BATCH]
    assert not sync(dagster, FIRST_BATCH).success

    waiting = look(dagster.instance)
    assert launched(waiting) == []
    assert (waiting.skip_message or "").startswith("nothing is due: 12 assets, the next in ")

    for round_number in range(2):
        dagster.pipeline.execute("update innomaint_sync_state set next_due_at = now() where asset_id = 1")
        if round_number:
            for run in dagster.instance.get_runs():
                dagster.instance.delete_run(run.run_id)
        assert launched(look(dagster.instance)) == [FIRST_BATCH]


@pytest.mark.leaves("synced_without_answer")
def test_a_good_run_leaves_nothing_due(dagster: Dagster) -> None:
    all_are_synced(dagster.pipeline)
    dagster.pipeline.execute("update innomaint_sync_state set next_due_at = now() where asset_id < 3")
    assert launched(look(dagster.instance)) == [FIRST_BATCH]
    assert sync(dagster, FIRST_BATCH).success

    found = look(dagster.instance)

    assert launched(found) == []
    assert (found.skip_message or "").startswith("nothing is due: 12 assets, the next in 14")


def test_after_three_failures_in_a_row_one_batch_is_tried_when_its_time_has_come(dagster: Dagster) -> None:
    dagster.pipeline.execute(
        "insert into cmms_sync_log (sync_type, status, synced_at)"
        " select 'api_sync', 'failed', now() from generate_series(1, 4)"
    )
    held = look(dagster.instance)
    assert launched(held) == []
    assert "the last 4 batch runs failed; 12 assets are due, the next try is in " in str(held.skip_message)

    dagster.pipeline.execute("update cmms_sync_log set synced_at = now() - interval '61 s'")

    assert launched(look(dagster.instance)) == [FIRST_BATCH]


def test_an_open_breaker_lets_one_batch_probe(dagster: Dagster) -> None:
    statement = (
        "insert into innomaint_rate_limit (account, breaker_opened_at, breaker_probe_at)"
        " values (:account, 1, extract(epoch from now()) + :seconds)"
        " on conflict (account) do update set breaker_probe_at = excluded.breaker_probe_at"
    )
    account = dagster.pipeline.simulator.url
    dagster.pipeline.execute(statement, account=account, seconds=300)
    assert "Innomaint is down" in str(look(dagster.instance).skip_message)

    dagster.pipeline.execute(statement, account=account, seconds=-1)

    assert launched(look(dagster.instance)) == [FIRST_BATCH]


def test_between_two_looks_the_sensor_only_says_so(dagster: Dagster) -> None:
    found = look(dagster.instance, str(time.time() - 10))

    assert launched(found) == []
    # How long a look takes is the machine's.
    assert re.fullmatch(r"looked 1\d s ago; looks every 30 s", str(found.skip_message))
    assert launched(look(dagster.instance, str(time.time() - 29))) == BATCHES[:3]


def test_the_interval_of_the_environment_counts_and_a_changed_one_at_once(
    dagster: Dagster, environment: pytest.MonkeyPatch
) -> None:
    minute_ago = str(time.time() - 60)
    environment.setenv("INNOMAINT_SYNC_INTERVAL_S", "120")
    said = str(look(dagster.instance, minute_ago).skip_message)
    assert re.fullmatch(r"looked \d+ s ago; looks every 120 s", said)

    change_setting(load_settings(), "sync-interval-seconds", 45)

    assert launched(look(dagster.instance, minute_ago)) == BATCHES[:3]


@pytest.mark.leaves("synced_without_answer")
def test_changed_refresh_minutes_make_older_data_due_at_the_next_look(dagster: Dagster) -> None:
    all_are_synced(dagster.pipeline)
    dagster.pipeline.execute(
        "update innomaint_sync_state set last_success_at = now() - asset_id * interval '10 min'"
    )
    assert launched(look(dagster.instance)) == []

    change_setting(load_settings(), "refresh-minutes", 90)

    found = look(dagster.instance)
    assert launched(found) == [BATCHES[5], BATCHES[4]]


def test_a_pause_holds_and_a_resume_goes_on(dagster: Dagster) -> None:
    save_pause(load_settings(), is_paused=True)
    paused = look(dagster.instance)
    assert launched(paused) == []
    assert paused.skip_message == "paused by a person: innomaint resume continues"

    save_pause(load_settings(), is_paused=False)

    assert launched(look(dagster.instance)) == BATCHES[:3]


@pytest.mark.leaves("synced_without_answer")
def test_assets_that_another_program_inserts_get_a_batch_a_partition_and_a_run(dagster: Dagster) -> None:
    all_are_synced(dagster.pipeline)
    dagster.pipeline.execute(
        "insert into ic3_asset_master (cmms_asset_id) select 'New ' || n from generate_series(1, 3) n"
    )

    found = look(dagster.instance)

    assert launched(found) == ["batch_000007", "batch_000008"]
    assert {"batch_000007", "batch_000008"} <= set(
        dagster.instance.get_dynamic_partitions("innomaint_batches")
    )


def test_an_empty_database_is_told_as_such(dagster: Dagster) -> None:
    dagster.pipeline.execute("delete from ic3_asset_master")
    assert look(dagster.instance).skip_message == "no asset is imported yet"


@pytest.mark.parametrize("cursor", ["garbage", "nan", "inf", "-inf", "{}", " ", "4102444800.0"])
def test_a_broken_cursor_or_a_clock_set_back_does_not_silence_it(dagster: Dagster, cursor: str) -> None:
    found = look(dagster.instance, cursor)

    assert launched(found) == BATCHES[:3]
    assert abs(float(found.cursor or 0) - time.time()) < 60


def test_without_an_address_of_the_database_the_tick_fails_and_names_the_variable(
    dagster: Dagster, environment: pytest.MonkeyPatch
) -> None:
    environment.delenv("IC3_DATABASE_URL")

    with pytest.raises(ConfigurationError, match="IC3_DATABASE_URL is not set"):
        look(dagster.instance)


@pytest.mark.parametrize("name", ["gone", "postgres"])
def test_a_missing_database_or_table_fails_the_tick_clearly(
    dagster: Dagster, environment: pytest.MonkeyPatch, name: str
) -> None:
    url = dagster.pipeline.database.engine.url.set(database=name)
    environment.setenv("IC3_DATABASE_URL", url.render_as_string(hide_password=False))

    with pytest.raises(DatabaseError, match=rf"database {name}\) (is unreachable|lacks a table)"):
        look(dagster.instance)


def test_what_runs_by_itself_is_on_by_default() -> None:
    assert continuous_sync.default_status is dg.DefaultSensorStatus.RUNNING


def test_no_reason_and_no_launch_holds_the_token(dagster: Dagster) -> None:
    assert CANARY_TOKEN not in repr(look(dagster.instance))


def test_it_is_asked_as_often_as_its_shortest_interval_needs(bare_environment: pytest.MonkeyPatch) -> None:
    found = {}
    for interval in ("5", "12", "30", "3600", "no number"):
        bare_environment.setenv("INNOMAINT_SYNC_INTERVAL_S", interval)
        found[interval] = automation._beat_seconds()

    assert found == {"5": 5, "12": 12, "30": 15, "3600": 15, "no number": 15}
