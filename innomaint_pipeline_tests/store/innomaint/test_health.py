"""What people are told about Innomaint, from the tables."""

from innomaint_pipeline.domain.alerts import Condition
from innomaint_pipeline.domain.health import Health
from innomaint_pipeline.domain.innomaint import SOURCE
from innomaint_pipeline.domain.pacing import SourceAccount
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.innomaint.health import load_conditions
from innomaint_pipeline.store.settings import AUTH_REFUSED_AT, save_setting


def conditions(database: Database) -> tuple[Health, dict[str, Condition]]:
    with database.snapshot() as connection:
        word, found = load_conditions(connection, SourceAccount("https://vendor.invalid", 1440))
    return word, {item.name: item for item in found}


def test_nothing_is_wrong_in_a_new_database(database: Database) -> None:
    word, found = conditions(database)

    assert word is Health.UNKNOWN
    assert {name: item.value for name, item in found.items()} == dict.fromkeys(
        ("health", "failed_runs", "token")
    )


def test_a_refused_token_is_a_condition(database: Database) -> None:
    with database.begin() as connection:
        save_setting(connection, SOURCE, AUTH_REFUSED_AT, "2026-06-20T10:00:00+00:00")

    word, found = conditions(database)

    assert word is Health.DOWN
    assert found["token"].value == "refused"
    assert "2026-06-20T10:00:00+00:00" in found["token"].message
