"""What people were told, by condition and address."""

from datetime import timedelta

from innomaint_pipeline.domain.alerts import Notice, NoticeKind
from innomaint_pipeline.store.alerts import load_told, save_told
from innomaint_pipeline.store.database import Database

RAISED = Notice("health", NoticeKind.RAISED, "stale", "Health is stale.")


def told(database: Database, number: int) -> dict[str, str | None]:
    with database.begin() as connection:
        return {name: item.value for name, item in load_told(connection, number).items()}


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
