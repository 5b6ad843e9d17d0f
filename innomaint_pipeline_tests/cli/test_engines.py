"""An installation whose runs execute elsewhere: what is refused before anything starts, and why."""

import os
import shutil
import sys

import pytest

from innomaint_pipeline.cli.innomaint import asking
from innomaint_pipeline.store.database import Database
from innomaint_pipeline_tests.cli.conftest import PROJECT, Cli
from innomaint_pipeline_tests.conftest import Pipeline

CLOSED = "postgresql://nobody@127.0.0.1:1/ic3"
BROKER = "redis://:invented-password@127.0.0.1:1/0"


@pytest.fixture
def elsewhere(connected: Cli) -> Cli:
    """A folder with the files of deploy/celery."""
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(PROJECT / "deploy" / "celery" / name, name)
    os.environ["INNOMAINT_BROKER_URL"] = BROKER
    return connected


def test_a_worker_where_runs_execute_beside_the_daemon_is_refused(connected: Cli) -> None:
    ended = connected("worker")

    assert ended.code == 2
    assert "no worker gets any" in ended.err


@pytest.mark.parametrize("command", ["worker", "up", "sync"])
def test_what_an_engine_lacks_is_named_before_anything_starts(
    elsewhere: Cli, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, words in (
        ("INNOMAINT_BROKER_URL", "INNOMAINT_BROKER_URL is not set"),
        ("IC3_DATABASE_URL", "an embedded database is for one machine"),
    ):
        with monkeypatch.context() as without:
            without.delenv(name)
            ended = elsewhere(command)
        assert ended.code == 2
        assert words in " ".join(ended.err.split())
    # As where the extra is not installed.
    monkeypatch.setitem(sys.modules, "redis", None)
    ended = elsewhere(command)
    assert ended.code == 2
    assert "requirements-celery.txt" in ended.err
    assert not elsewhere.home.exists()


def test_a_worker_looks_at_databases_tables_and_broker_in_turn(
    elsewhere: Cli, empty_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as away:
        away.setenv("IC3_DATABASE_URL", CLOSED)
        ended = elsewhere("worker")
    assert ended.code == 4
    with monkeypatch.context() as bare:
        bare.setenv("IC3_DATABASE_URL", empty_database.engine.url.render_as_string(hide_password=False))
        ended = elsewhere("worker")
    assert ended.code == 2
    assert "innomaint db upgrade" in ended.err
    ended = elsewhere("worker")
    assert ended.code == 2
    assert "the broker of INNOMAINT_BROKER_URL cannot be reached" in " ".join(ended.err.split())
    assert "invented-password" not in ended.err


def test_a_sync_that_no_daemon_looks_for_says_so_and_stays_stored(
    elsewhere: Cli, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "LOOK_IS_LATE_SECONDS", 0.1)

    ended = elsewhere("sync", "--all", "--json")

    assert ended.code == 4
    assert "Dagster's daemon last looked never" in " ".join(ended.err.split())
    assert pipeline.simulator.record.starts == ()
    with pipeline.database.begin() as connection:
        query = "select state, asked_by from innomaint_request"
        assert connection.exec_driver_sql(query).tuples().all() == [("waiting", "command line")]
