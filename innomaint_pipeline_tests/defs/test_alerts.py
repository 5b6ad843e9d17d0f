"""Telling people, end to end: real tables, a real web server, and secrets that appear nowhere."""

import socket
import time
from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.definitions.sensor_definition import SensorExecutionData

from innomaint_pipeline.cli.innomaint.commands import save_pause
from innomaint_pipeline.definitions import defs
from innomaint_pipeline.defs.alerts import build_alerts
from innomaint_pipeline.defs.innomaint.automation import load_innomaint_conditions
from innomaint_pipeline.defs.workbook import load_workbook_conditions
from innomaint_pipeline.domain.pacing import SourceAccount
from innomaint_pipeline.settings import load_settings
from innomaint_pipeline.simulator.innomaint.faults import Status
from innomaint_pipeline.store.innomaint.health import load_conditions
from innomaint_pipeline.store.settings import IMPORT_ERROR, clear_setting, save_setting
from innomaint_pipeline_tests.conftest import CANARY_TOKEN, Pipeline
from innomaint_pipeline_tests.defs.conftest import Dagster
from innomaint_pipeline_tests.sources.listener import SECRET, Listener, listening, watched_log

# Apprise, while it loads its plugins.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")


@pytest.fixture
def listener(environment: pytest.MonkeyPatch) -> Iterator[Listener]:
    """Somebody whose address is in INNOMAINT_ALERT_URLS."""
    with listening() as made:
        environment.setenv("INNOMAINT_ALERT_URLS", made.address)
        yield made


@pytest.fixture(autouse=True)
def _no_secret_in_any_log(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> Iterator[None]:
    with watched_log(caplog):
        yield
    printed = "".join(capfd.readouterr())
    assert [secret for secret in (SECRET, CANARY_TOKEN) if secret in printed] == []


def look(instance: dg.DagsterInstance, cursor: str | None = None) -> SensorExecutionData:
    with dg.build_sensor_context(instance=instance, cursor=cursor, definitions=defs) as context:
        found = build_alerts([load_workbook_conditions, load_innomaint_conditions]).evaluate_tick(context)
    assert SECRET not in repr(found)
    return found


def titles(listener: Listener) -> list[str]:
    """Return what was told since the last time, without the words that all share."""
    told = [message["title"].removeprefix("Innomaint sync: ") for message in listener.told]
    listener.told.clear()
    return told


def health(pipeline: Pipeline) -> str:
    with pipeline.database.snapshot() as connection:
        word, _ = load_conditions(connection, SourceAccount(pipeline.simulator.url, 1440))
    return word


def fail_runs(pipeline: Pipeline, count: int) -> None:
    pipeline.execute(
        "insert into cmms_sync_log (sync_type, status) select 'api_sync', 'failed'"
        " from generate_series(1, :count)",
        count=count,
    )


def test_while_all_is_well_nobody_is_told(dagster: Dagster, listener: Listener) -> None:
    assert dagster.sync().success

    found = look(dagster.instance)

    assert found.skip_message == "health healthy; nothing new to tell"
    assert not found.run_requests
    assert titles(listener) == []


def test_a_refused_token_is_told_at_once_and_its_end_after_a_good_run(
    dagster: Dagster, listener: Listener, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("INNOMAINT_API_TOKEN", "canary-token-that-expired")
    assert not dagster.sync().success
    assert health(dagster.pipeline) == "down"

    look(dagster.instance)
    assert "renew INNOMAINT_API_TOKEN" in listener.told[1]["message"]
    assert titles(listener) == ["health raised", "token raised"]
    look(dagster.instance)
    assert titles(listener) == []

    environment.setenv("INNOMAINT_API_TOKEN", CANARY_TOKEN)
    assert dagster.sync().success
    assert health(dagster.pipeline) == "healthy"
    look(dagster.instance)
    assert titles(listener) == ["health recovered", "token recovered"]
    look(dagster.instance)
    assert titles(listener) == []


def test_three_failed_runs_in_a_row_are_told_and_two_are_not(dagster: Dagster, listener: Listener) -> None:
    dagster.pipeline.simulator.faults.always(dagster.pipeline.serials[0], Status(500))
    assert not dagster.sync().success
    fail_runs(dagster.pipeline, 2)
    look(dagster.instance)
    assert titles(listener) == []

    fail_runs(dagster.pipeline, 1)
    look(dagster.instance)
    assert titles(listener) == ["health raised", "failed runs raised"]

    dagster.pipeline.simulator.faults.clear()
    dagster.pipeline.execute("update innomaint_sync_state set next_due_at = now()")
    assert dagster.sync().success
    look(dagster.instance)
    assert titles(listener) == ["health recovered", "failed runs recovered"]


def test_three_failed_runs_are_told_while_paused_too(dagster: Dagster, listener: Listener) -> None:
    save_pause(load_settings(), is_paused=True)
    fail_runs(dagster.pipeline, 3)

    look(dagster.instance)

    assert [message["message"].split()[0] for message in listener.told] == ["Health", "3"]


def test_a_failed_import_is_told_and_its_end_too(dagster: Dagster, listener: Listener) -> None:
    with dagster.pipeline.database.begin() as connection:
        save_setting(connection, "workbook", IMPORT_ERROR, "master.xlsx is no workbook.")
    look(dagster.instance)
    with dagster.pipeline.database.begin() as connection:
        clear_setting(connection, "workbook", IMPORT_ERROR)
    look(dagster.instance)

    assert "master.xlsx is no workbook." in listener.told[0]["message"]
    assert titles(listener) == ["import raised", "import recovered"]


def test_what_lasts_is_reminded_of_after_a_day(dagster: Dagster, listener: Listener) -> None:
    save_pause(load_settings(), is_paused=True)
    look(dagster.instance)
    dagster.pipeline.execute("update innomaint_alert set told_at = now() - interval '23 hours'")
    look(dagster.instance)
    assert titles(listener) == ["health raised"]

    dagster.pipeline.execute("update innomaint_alert set told_at = now() - interval '25 hours'")
    look(dagster.instance)
    look(dagster.instance)

    assert titles(listener) == ["health reminder"]


def test_what_nobody_took_fails_the_tick_without_the_address_and_is_sent_again(
    dagster: Dagster, listener: Listener
) -> None:
    save_pause(load_settings(), is_paused=True)
    listener.status = 500
    for _ in range(2):
        with pytest.raises(ConnectionError, match="did not take: health raised") as raised:
            look(dagster.instance)
        assert SECRET not in repr(raised.value)
    assert titles(listener) == ["health raised"] * 2

    listener.status = 200
    found = look(dagster.instance)

    assert found.skip_message == "health paused; told: health raised"
    assert titles(listener) == ["health raised"]
    look(dagster.instance)
    assert titles(listener) == []


def test_an_address_that_refuses_does_not_make_the_others_hear_everything_again(
    dagster: Dagster, listener: Listener, environment: pytest.MonkeyPatch
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = f"json://user:{SECRET}@127.0.0.1:{probe.getsockname()[1]}/"
    environment.setenv("INNOMAINT_ALERT_URLS", f"{nobody} {listener.address}")
    save_pause(load_settings(), is_paused=True)

    for _ in range(3):
        with pytest.raises(ConnectionError, match=r"health raised \(address 1\)"):
            look(dagster.instance)

    assert titles(listener) == ["health raised"]


def test_an_address_that_is_added_later_is_told_what_is_wrong_now(
    dagster: Dagster, listener: Listener, environment: pytest.MonkeyPatch
) -> None:
    environment.delenv("INNOMAINT_ALERT_URLS")
    save_pause(load_settings(), is_paused=True)
    assert look(dagster.instance).skip_message == "health paused; told: health raised"
    assert look(dagster.instance).skip_message == "health paused; nothing new to tell"

    environment.setenv("INNOMAINT_ALERT_URLS", listener.address)
    look(dagster.instance)

    assert titles(listener) == ["health raised"]


def test_an_address_nobody_understands_is_told_of_and_silences_no_other(
    dagster: Dagster, listener: Listener, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("INNOMAINT_ALERT_URLS", f"nonsense://{SECRET}@host {listener.address}")
    environment.setenv("INNOMAINT_HEARTBEAT_URL", listener.heartbeat)
    save_pause(load_settings(), is_paused=True)

    with pytest.raises(ConnectionError, match="address 1 of 2") as raised:
        look(dagster.instance)

    assert SECRET not in str(raised.value)
    assert titles(listener) == ["health raised"]
    assert len(listener.beats) == 1


def test_a_heartbeat_is_sent_at_most_once_a_minute(
    dagster: Dagster, listener: Listener, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("INNOMAINT_HEARTBEAT_URL", listener.heartbeat)

    first = look(dagster.instance)
    second = look(dagster.instance, first.cursor)
    assert len(listener.beats) == 1
    assert second.cursor == first.cursor

    look(dagster.instance, str(time.time() - 61))
    assert len(listener.beats) == 2


@pytest.mark.parametrize("cursor", ["garbage", "nan", "4102444800.0"])
def test_a_broken_cursor_or_a_clock_set_back_does_not_silence_the_heartbeat(
    dagster: Dagster, listener: Listener, environment: pytest.MonkeyPatch, cursor: str
) -> None:
    environment.setenv("INNOMAINT_HEARTBEAT_URL", listener.heartbeat)
    look(dagster.instance, cursor)
    assert len(listener.beats) == 1


def test_a_heartbeat_that_is_not_taken_fails_the_tick_after_the_alerts_went_out(
    dagster: Dagster, listener: Listener, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("INNOMAINT_HEARTBEAT_URL", f"http://127.0.0.1:1/{SECRET}")
    save_pause(load_settings(), is_paused=True)

    with pytest.raises(ConnectionError, match="heartbeat address") as raised:
        look(dagster.instance)

    assert SECRET not in repr(raised.value)
    assert titles(listener) == ["health raised"]


def test_a_refused_alert_does_not_stop_the_heartbeat(
    dagster: Dagster, listener: Listener, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("INNOMAINT_HEARTBEAT_URL", listener.heartbeat)
    save_pause(load_settings(), is_paused=True)
    environment.setenv("INNOMAINT_ALERT_URLS", "json://127.0.0.1:1/")

    with pytest.raises(ConnectionError, match="did not take"):
        look(dagster.instance)

    assert len(listener.beats) == 1


def test_no_secret_of_an_address_stands_in_the_database(dagster: Dagster, listener: Listener) -> None:
    save_pause(load_settings(), is_paused=True)
    look(dagster.instance)

    rows = dagster.pipeline.rows("select * from innomaint_alert")
    assert len(rows) == 2
    assert SECRET not in repr(rows)
    assert titles(listener) == ["health raised"]
