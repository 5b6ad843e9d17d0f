"""What people are told about Innomaint, from the tables."""

from innomaint_pipeline.domain.alerts import Condition
from innomaint_pipeline.domain.health import Health, HealthReport
from innomaint_pipeline.domain.innomaint import SOURCE
from innomaint_pipeline.domain.innomaint.batches import lease_name
from innomaint_pipeline.domain.pacing import SourceAccount
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.innomaint.health import load_conditions, load_health_facts, load_health_report
from innomaint_pipeline.store.leases import UP_LEASE, acquire_lease
from innomaint_pipeline.store.settings import AUTH_REFUSED_AT, SYNC_INTERVAL_SECONDS, save_setting
from innomaint_pipeline_tests.conftest import Pipeline


def conditions(database: Database) -> tuple[Health, dict[str, Condition]]:
    with database.snapshot() as connection:
        word, found = load_conditions(connection, SourceAccount("https://vendor.invalid", 1440))
    return word, {item.name: item for item in found}


def test_nothing_is_wrong_in_a_new_database(database: Database) -> None:
    word, found = conditions(database)

    assert word is Health.UNKNOWN
    assert {name: item.value for name, item in found.items()} == dict.fromkeys(
        ("health", "failed_runs", "workers", "token", "states")
    )


def test_a_refused_token_is_a_condition(database: Database) -> None:
    with database.begin() as connection:
        save_setting(connection, SOURCE, AUTH_REFUSED_AT, "2026-06-20T10:00:00+00:00")

    word, found = conditions(database)

    assert word is Health.DOWN
    assert found["token"].value == "refused"
    assert "2026-06-20T10:00:00+00:00" in found["token"].message


def test_before_the_first_sync_it_is_told_when_it_begins_where_up_runs(pipeline: Pipeline) -> None:
    account = SourceAccount(pipeline.simulator.url, 1440, sync_interval_start_seconds=20)

    def explained() -> HealthReport:
        with pipeline.database.snapshot() as connection:
            return load_health_report(connection, account, load_health_facts(connection, account))

    assert explained().what_to_do == "start innomaint up, or sync"
    with pipeline.database.begin() as connection:
        acquire_lease(connection, UP_LEASE, "a machine")
    assert explained().reason == "Nothing was asked for yet; the first sync begins within 20 s."
    assert explained().what_to_do == "nothing"
    with pipeline.database.begin() as connection:
        save_setting(connection, SOURCE, SYNC_INTERVAL_SECONDS, 45)
    assert "begins within 45 s" in explained().reason
    with pipeline.database.begin() as connection:
        acquire_lease(connection, lease_name("batch_000001"), "run-1")
    assert (explained().reason, explained().what_to_do) == ("The first sync is under way.", "nothing")
