"""The checks after every test, each against a violation that is planted."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from innomaint_pipeline.domain.innomaint.batches import lease_name
from innomaint_pipeline.store.leases import LEASE_SECONDS, acquire_lease
from innomaint_pipeline_tests.conftest import CANARY_TOKEN, FIRST_BATCH, Pipeline
from innomaint_pipeline_tests.invariants import (
    SECRET,
    check_invariants,
    find_secret,
    find_tables_with,
    find_violations,
)

_DROP_CHECK = "alter table innomaint_sync_state drop constraint innomaint_sync_state_failed_has_class; "


@pytest.mark.parametrize(
    ("name", "statement"),
    [
        ("assets_without_state", "delete from innomaint_sync_state where asset_id = 1"),
        ("sum_of_states", "delete from innomaint_sync_state where asset_id = 1"),
        ("failed_without_class", _DROP_CHECK + "update innomaint_sync_state set state = 'failed'"),
        ("failed_without_class", _DROP_CHECK + "update innomaint_sync_state set error_class = 'data'"),
        ("synced_without_answer", "delete from innomaint_response where asset_id = 1"),
        ("synced_without_answer", "update ic3_asset_master set last_synced_at = null where asset_id = 1"),
        (
            "synced_without_answer",
            "update innomaint_sync_state set last_success_at = null where asset_id = 1",
        ),
        ("batch_sums", "update cmms_sync_log set skipped = 1"),
        ("batch_sums", "update cmms_sync_log set unchanged = assets_synced + 1"),
        ("ic3_asset_performance", "insert into ic3_asset_performance (asset_id) values (4711)"),
        ("ic3_workorder_summary", "insert into ic3_workorder_summary values (4711, 'upto')"),
        (
            "leases_of_finished_runs",
            (
                "insert into innomaint_lease"
                " select 'innomaint/' || batch_key, run_id, synced_at, now() from cmms_sync_log"
            ),
        ),
        (
            "expired_leases",
            "insert into innomaint_lease values ('batch_1', 'killed', now(), now() - interval '1 s')",
        ),
    ],
)
def test_a_planted_violation_is_found(pipeline: Pipeline, name: str, statement: str) -> None:
    began = datetime.now(UTC)
    pipeline.sync(pipeline.run("first"))
    check_invariants(pipeline.database, began)
    with pipeline.database.engine.connect() as connection:  # never committed: the end of the test is sound
        connection.exec_driver_sql(statement)
        assert name in find_violations(connection, began)


def test_a_lease_that_was_not_settled_is_no_violation_however_slow_the_machine_is(pipeline: Pipeline) -> None:
    now = datetime.now(UTC)
    began = now - timedelta(seconds=LEASE_SECONDS + 60)
    with pipeline.database.engine.connect() as connection:
        # Taken ten seconds after the test began, and never given up.
        assert acquire_lease(connection, lease_name(FIRST_BATCH), "first", seconds=-50)
        assert "expired_leases" not in find_violations(connection, began)
        assert "expired_leases" in find_violations(connection, now)


def test_a_mark_covers_what_it_names_alone_and_must_be_true(pipeline: Pipeline) -> None:
    began = datetime.now(UTC)
    pipeline.execute("insert into ic3_asset_performance (asset_id) values (4711)")
    with pytest.raises(AssertionError, match="ic3_asset_performance"):
        check_invariants(pipeline.database, began, {"expired_leases"})
    check_invariants(pipeline.database, began, {"ic3_asset_performance"})
    pipeline.execute("delete from ic3_asset_performance")
    with pytest.raises(AssertionError, match="as its mark says"):
        check_invariants(pipeline.database, began, {"ic3_asset_performance"})


@pytest.mark.parametrize(
    "statement",
    [
        "insert into innomaint_setting values ('a', jsonb_build_object('deep', jsonb_build_array('{}')))",
        "insert into ic3_sync_log (error_message) values ('Bearer {} was refused')",
        "create schema elsewhere; create table elsewhere.notes as select array['{}']",
        "create table pictures (content bytea); insert into pictures values ('{}')",
    ],
)
def test_a_token_in_any_column_of_any_table_is_found(
    pipeline: Pipeline, database_url: str, statement: str
) -> None:
    assert find_tables_with(database_url, SECRET) == []
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(statement.format(CANARY_TOKEN).encode())
    with pytest.raises(AssertionError, match="a token stands in these tables"):
        check_invariants(pipeline.database, datetime.now(UTC))
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("drop schema if exists elsewhere cascade; drop table if exists pictures")
        connection.execute("delete from innomaint_setting; delete from ic3_sync_log")


PLANTED = """
import logging
import os
import subprocess

def test_prints():
    print("the header is Bearer " + os.environ["PLANTED"])

def test_logs():
    logging.getLogger("anything").warning("refused: %s", os.environ["PLANTED"])

def test_starts_a_program_that_prints():
    subprocess.run(["sh", "-c", 'echo "$PLANTED" >&2'], check=True)

def test_says_nothing_of_it():
    print("the header is Bearer <token>")
"""


def test_a_token_in_the_output_or_log_of_a_test_fails_it(tmp_path: Path) -> None:
    path = tmp_path / "test_planted.py"
    path.write_text(PLANTED)
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "innomaint_pipeline_tests.invariants"]
    ended = subprocess.run(
        [*command, "-p", "no:cacheprovider", f"--rootdir={tmp_path}", "--show-capture=no", path],
        env={**os.environ, "PLANTED": CANARY_TOKEN, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1, ended.stderr
    outcomes = {
        line.split("::")[1].split()[0]: line.split()[0]
        for line in ended.stdout.splitlines()
        if line.startswith(("PASSED", "FAILED"))
    }
    assert outcomes == {
        "test_prints": "FAILED",
        "test_logs": "FAILED",
        "test_starts_a_program_that_prints": "FAILED",
        "test_says_nothing_of_it": "PASSED",
    }


def test_the_report_of_a_leak_does_not_repeat_the_token() -> None:
    assert find_secret(f"first\nBearer {CANARY_TOKEN}!\nlast") == "Bearer <token>!"
    assert find_secret("nothing of it") is None
