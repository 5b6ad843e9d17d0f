"""The customer list in Dagster, from a real PDF: what a run makes, what it refuses, what is launched."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import text

from innomaint_pipeline.definitions import defs
from innomaint_pipeline.defs.customers.assets import SNAPSHOT
from innomaint_pipeline.defs.customers.automation import (
    REQUESTED_LISTS,
    customers_due,
    load_customers_conditions,
)
from innomaint_pipeline.defs.requests import build_requests_sensor
from innomaint_pipeline.domain.customers.checks import CHECKS
from innomaint_pipeline.domain.customers.runs import Trigger
from innomaint_pipeline.domain.health import Health
from innomaint_pipeline.embedded.server import EmbeddedPostgres
from innomaint_pipeline.settings import load_settings
from innomaint_pipeline.simulator.customers.drawing import draw_customers
from innomaint_pipeline.simulator.customers.people import Customer, invent_customers
from innomaint_pipeline.store.customers.requests import ask_at_start, submit_run
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.settings import set_paused
from innomaint_pipeline_tests.defs.conftest import materializations

STAND_ALONE = ("data_is_fresh", "customers_equal_last_snapshot", "nothing_is_quarantined")
CANARY = "Zaffiro Canarino"
PEOPLE: Sequence[Customer] = [{**item, "name": CANARY} for item in invent_customers(6)]


@pytest.fixture
def inbox(bare_environment: pytest.MonkeyPatch, database_url: str, tmp_path: Path) -> Path:
    """A folder for lists, known to the steps, with one list in it."""
    folder = tmp_path / "inbox"
    folder.mkdir()
    bare_environment.setenv("IC3_DATABASE_URL", database_url)
    bare_environment.setenv("CUSTOMERS_INBOX", str(folder))
    bare_environment.setenv("INNOMAINT_HOME", str(tmp_path / "home"))
    return folder


def draw(inbox: Path, name: str, minutes_ago: int, **options: Any) -> None:
    moment = datetime.now(UTC) - timedelta(minutes=minutes_ago)
    draw_customers(inbox / name, PEOPLE, exported_at=moment, **options)


def run(instance: dg.DagsterInstance, job: str = "customers_sync", **config: Any) -> Any:
    ops = {"customers_list": {"config": config}} if config else {}
    return defs.resolve_job_def(job).execute_in_process(
        instance=instance, run_config={"ops": ops} if ops else None, raise_on_error=False
    )


def look(instance: dg.DagsterInstance, sensor: dg.SensorDefinition) -> Any:
    context = dg.build_sensor_context(instance=instance, definitions=defs)
    with context:
        return sensor.evaluate_tick(context)


def checks(result: Any) -> dict[str, bool]:
    return {item.check_name: item.passed for item in result.get_asset_check_evaluations()}


def told(database: Database) -> tuple[Health, dict[str, str | None]]:
    with database.begin() as connection:
        health, conditions = load_customers_conditions(connection, load_settings())
    return health, {item.name: item.value for item in conditions}


def test_a_list_is_read_refused_and_told_of_and_nobody_is_named(
    instance: dg.DagsterInstance, inbox: Path, database: Database, postgres: EmbeddedPostgres
):
    draw(inbox, "a.pdf", 20)
    first = run(instance)

    assert first.success
    made = materializations(first)
    assert set(made) == {f"customers/{name}" for name in ("snapshot", "customer", "change")}
    assert made["customers/snapshot"]["new"] == made["customers/customer"]["dagster/row_count"] == 6
    assert {"parse_ms", "sum_actual_sales", "count", "pages"} <= made["customers/snapshot"].keys()
    assert checks(first) == dict.fromkeys((*CHECKS, *STAND_ALONE), True)
    assert told(database) == (
        Health.HEALTHY,
        {"customers_sync": None, "customers_rejected": None, "customers_held": None},
    )

    again = run(instance)
    assert again.success
    assert materializations(again) == checks(again) == {}

    # The database tells the row that it refuses, and the driver the values.
    with database.begin() as connection:
        connection.execute(text("alter table customers.customer add constraint t check (false) not valid"))
    moment = datetime.now(UTC) - timedelta(minutes=15)
    draw_customers(inbox / "c.pdf", [{**PEOPLE[0], "city": CANARY}, *PEOPLE[1:]], exported_at=moment)
    assert not run(instance).success
    with database.begin() as connection:
        rows = connection.execute(text("select error_class, error_message from customers.sync_run")).all()
        connection.execute(text("alter table customers.customer drop constraint t"))
    assert rows[-1].error_class == "database"
    assert CANARY not in str(rows)
    assert CANARY not in (postgres.home / "postgres" / "log").read_text("utf-8")

    draw(inbox, "b.pdf", 10, fault="wrong_totals")
    refused = run(instance)
    assert not refused.success
    assert checks(refused)["totals_agree"] is False
    assert materializations(refused) == {}
    health, conditions = told(database)
    assert health is Health.DEGRADED
    assert conditions["customers_rejected"] == refused.run_id

    alone = run(instance, "check_tables")
    found = checks(alone)
    assert (found["nothing_is_quarantined"], found["customers_equal_last_snapshot"]) == (False, True)
    made_alone = {
        item.check_name for item in alone.get_asset_check_evaluations() if item.asset_key == SNAPSHOT
    }
    assert not made_alone & set(CHECKS)
    with database.begin() as connection:
        assert connection.execute(text("select count(*) from customers.sync_run")).scalar_one() == 4
    events = [entry.to_json() for item in instance.get_runs() for entry in instance.all_logs(item.run_id)]
    assert not [event for event in events if CANARY in event]


def test_what_is_due_or_asked_for_is_one_run(instance: dg.DagsterInstance, inbox: Path, database: Database):
    draw(inbox, "a.pdf", 20)
    # What is due when the program starts is asked for by the start itself.
    assert look(instance, customers_due).run_requests == []
    with database.begin() as connection:
        assert ask_at_start(connection, 30)
        submit_run(connection, Trigger.MANUAL, asked_by="a person")
    scheduled = look(instance, customers_due).run_requests
    asked = look(instance, build_requests_sensor([REQUESTED_LISTS])).run_requests
    assert len(scheduled) == len(asked) == 1

    for request in (*scheduled, *asked):
        made = defs.resolve_job_def("customers_sync").execute_in_process(
            instance=instance, run_config=request.run_config, tags=dict(request.tags)
        )
        assert made.success
    look(instance, build_requests_sensor([REQUESTED_LISTS]))

    with database.begin() as connection:
        rows = connection.execute(text("select trigger, outcome from customers.sync_run")).tuples().all()
        (state,) = connection.execute(text("select state from innomaint_request")).scalars()
        assert not ask_at_start(connection, 30)
    assert rows == [("schedule", "succeeded_changed")]
    assert state == "done"
    assert look(instance, customers_due).run_requests == []
    with database.begin() as connection:
        connection.execute(text("update customers.sync_run set started_at = now() - interval '31 min'"))
    assert len(look(instance, customers_due).run_requests) == 1
    with database.begin() as connection:
        set_paused(connection, "customers", is_paused=True)
    assert look(instance, customers_due).run_requests == []
    assert told(database)[0] is Health.PAUSED


def test_without_an_inbox_the_source_is_off(
    instance: dg.DagsterInstance, inbox: Path, database: Database, bare_environment: pytest.MonkeyPatch
):
    bare_environment.delenv("CUSTOMERS_INBOX")
    assert look(instance, customers_due).run_requests == []
    assert told(database) == (Health.NOT_SET, {})
    assert not list(inbox.iterdir())
