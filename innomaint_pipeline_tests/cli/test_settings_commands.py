"""`innomaint set`, `pause` and `resume`: what can be changed while the program runs."""

import os
from typing import Any

import pytest

from innomaint_pipeline.domain.innomaint import SOURCE
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.settings import load_setting
from innomaint_pipeline_tests.cli.conftest import Cli
from innomaint_pipeline_tests.conftest import Pipeline


@pytest.fixture
def online(cli: Cli, database_url: str, database: Database) -> Cli:
    """The command line with a database; no token, which none of these commands needs."""
    del database
    os.environ["IC3_DATABASE_URL"] = database_url
    return cli


def stored(database: Database, name: str) -> Any:
    with database.begin() as connection:
        return load_setting(connection, SOURCE, name)


@pytest.mark.parametrize(
    ("name", "value", "key"),
    [
        ("refresh-minutes", 5, "refresh_minutes"),
        ("refresh-minutes", 1440, "refresh_minutes"),
        ("sync-interval-seconds", 5, "sync_interval_seconds"),
        ("sync-interval-seconds", 3600, "sync_interval_seconds"),
    ],
)
def test_a_value_within_its_bounds_is_stored(
    online: Cli, database: Database, name: str, value: int, key: str
) -> None:
    ended = online("set", name, str(value))

    assert ended.code == 0
    assert f"{name} is {value} from now on." in ended.err
    assert ended.out == ""
    assert stored(database, key) == value


@pytest.mark.parametrize(
    ("name", "value", "bounds"),
    [
        ("refresh-minutes", "4", "from 5 to 1440"),
        ("refresh-minutes", "1441", "from 5 to 1440"),
        ("sync-interval-seconds", "4", "from 5 to 3600"),
        ("sync-interval-seconds", "3601", "from 5 to 3600"),
        ("sync-interval-seconds", "0", "from 5 to 3600"),
    ],
)
def test_a_value_outside_its_bounds_is_refused_with_the_bounds_and_nothing_is_stored(
    online: Cli, database: Database, name: str, value: str, bounds: str
) -> None:
    ended = online("set", name, value)

    assert ended.code == 2
    assert f"{name} is {value}, expected a whole number {bounds}" in ended.err
    assert stored(database, name.replace("-", "_")) is None


@pytest.mark.parametrize(
    "arguments",
    [
        ["set"],
        ["set", "refresh-minutes"],
        ["set", "refresh-minutes", "many"],
        ["set", "refresh-minutes", "5.5"],
        ["set", "refresh-minutes", ""],
        ["set", "refresh-minutes", "5", "6"],
        ["set", "rate-ms", "5"],
        ["set", "paused", "1"],
        ["pause", "now"],
        ["resume", "--all"],
    ],
    ids=" ".join,
)
def test_an_unknown_name_or_a_value_that_is_no_number_is_a_usage_error(
    online: Cli, database: Database, arguments: list[str]
) -> None:
    ended = online(*arguments)

    assert ended.code == 2
    assert "Usage: innomaint" in ended.err
    assert stored(database, "refresh_minutes") is None


def test_the_names_that_can_be_set_are_told(online: Cli) -> None:
    assert "'refresh-minutes', 'sync-interval-seconds'" in online("set", "rate-ms", "5").err


@pytest.mark.leaves("synced_without_answer")
def test_changed_refresh_minutes_count_at_once_and_show_in_status(
    online: Cli, database: Database, pipeline: Pipeline
) -> None:
    del database
    pipeline.execute(
        "update innomaint_sync_state set state = 'synced', last_success_at = now() - interval '1 hour',"
        " next_due_at = now() + interval '23 hours'"
    )

    assert online("set", "refresh-minutes", "30").code == 0

    assert pipeline.one("select bool_and(next_due_at < now()) as due from innomaint_sync_state")["due"]
    assert online("status", "--json").json["refresh_minutes"] == 30


def test_pause_and_resume_can_be_repeated_and_show_in_health(online: Cli, pipeline: Pipeline) -> None:
    del pipeline
    seen = []
    for command in ("pause", "pause", "resume", "resume"):
        ended = online(command)
        assert (ended.code, ended.out) == (0, "")
        assert "Continuous sync" in ended.err
        seen.append(online("status", "--json").json["health"])

    assert seen == ["paused", "paused", "unknown", "unknown"]


@pytest.mark.parametrize("arguments", [["pause"], ["resume"], ["set", "refresh-minutes", "5"]], ids=" ".join)
def test_an_unreachable_database_exits_with_4(cli: Cli, arguments: list[str]) -> None:
    os.environ["IC3_DATABASE_URL"] = "postgresql://somebody@127.0.0.1:1/ic3"
    assert cli(*arguments).code == 4
