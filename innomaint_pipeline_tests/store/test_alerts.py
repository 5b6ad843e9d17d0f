"""The conditions that people are told about, and what they were told."""

from datetime import timedelta

import pytest

from innomaint_pipeline.domain.alerts import Condition, Notice, NoticeKind
from innomaint_pipeline.domain.health import Health
from innomaint_pipeline.domain.innomaint import SOURCE
from innomaint_pipeline.store.alerts import load_conditions, load_told, save_told
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.settings import AUTH_REFUSED_AT, IMPORT_ERROR, save_setting

RAISED = Notice("health", NoticeKind.RAISED, "stale", "Health is stale.")


def conditions(
    database: Database, *, health: Health = Health.HEALTHY, failures: int = 0
) -> dict[str, Condition]:
    with database.begin() as connection:
        found = load_conditions(connection, health=health, consecutive_failures=failures)
    return {item.name: item for item in found}


def told(database: Database, number: int) -> dict[str, str | None]:
    with database.begin() as connection:
        return {name: item.value for name, item in load_told(connection, number).items()}


def test_nothing_is_wrong_in_a_new_database(database: Database) -> None:
    found = conditions(database, health=Health.UNKNOWN)

    assert {name: item.value for name, item in found.items()} == dict.fromkeys(
        ("health", "failed_runs", "token", "import")
    )


@pytest.mark.parametrize("health", Health)
def test_each_word_of_health_but_the_good_ones_is_a_condition_with_words(
    database: Database, health: Health
) -> None:
    found = conditions(database, health=health)["health"]

    assert found.value == (None if health in {Health.HEALTHY, Health.UNKNOWN} else health)
    assert str(health) in found.message


@pytest.mark.parametrize(("failures", "value"), [(2, None), (3, "failing"), (40, "failing")])
def test_three_failed_batch_runs_in_a_row_are_a_condition_whatever_health_says(
    database: Database, failures: int, value: str | None
) -> None:
    found = conditions(database, failures=failures)["failed_runs"]

    assert found.value == value
    assert value is None or f"{failures} batch runs in a row" in found.message


def test_a_refused_token_and_a_failed_import_are_conditions_that_say_what_to_do(database: Database) -> None:
    with database.begin() as connection:
        save_setting(connection, SOURCE, AUTH_REFUSED_AT, "2026-06-20T10:00:00+00:00")
        save_setting(connection, "workbook", IMPORT_ERROR, "master.xlsx is no workbook.")

    found = conditions(database)

    assert found["token"].value == "refused"
    assert "renew INNOMAINT_API_TOKEN" in found["token"].message
    assert found["import"].value == "failed"
    assert "master.xlsx is no workbook. The sync goes on with the old one." in found["import"].message


def test_what_an_address_was_told_is_kept_replaced_and_forgotten_on_recovery(database: Database) -> None:
    down = Notice("health", NoticeKind.RAISED, "down", "Health is down.")
    well = Notice("health", NoticeKind.RECOVERED, None, "Health is healthy.")

    seen = [told(database, 1)]
    for notice in (RAISED, down, well):
        with database.begin() as connection:
            save_told(connection, notice, 1)
        seen.append(told(database, 1))

    assert seen == [{}, {"health": "stale"}, {"health": "down"}, {}]


def test_a_reminder_begins_the_day_anew(database: Database) -> None:
    reminder = Notice("health", NoticeKind.REMINDER, "stale", "Health is stale.")
    with database.begin() as connection:
        save_told(connection, RAISED, 1)
        first = load_told(connection, 1)["health"].at
    with database.begin() as connection:
        save_told(connection, reminder, 1)
        second = load_told(connection, 1)["health"].at
    assert timedelta(0) < second - first < timedelta(hours=1)


def test_addresses_are_told_independently_of_each_other(database: Database) -> None:
    with database.begin() as connection:
        save_told(connection, RAISED, 1)
        save_told(connection, RAISED, 12)

    assert [told(database, number) for number in (0, 1, 2, 12)] == [
        {},
        {"health": "stale"},
        {},
        {"health": "stale"},
    ]
