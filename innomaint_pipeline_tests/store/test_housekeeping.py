"""Old rows go, and nothing that is still needed goes with them."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event

from innomaint_pipeline.store.housekeeping import LOG_RETENTION, REQUESTS, delete_old_rows
from innomaint_pipeline.store.innomaint.batch_rows import RETENTIONS
from innomaint_pipeline_tests.conftest import Pipeline

KEPT = (*RETENTIONS, REQUESTS)
DAYS = [400, 91, 89, 1]
TABLES = ("ic3_sync_log", "cmms_sync_log", "innomaint_data_issue", "innomaint_request")


@pytest.fixture
def aged(pipeline: Pipeline) -> Pipeline:
    """Rows of all ages in every log; batch_000002 has only old ones, and so have rows without a batch."""
    for days in DAYS:
        pipeline.execute(
            "with aged as (select now() - make_interval(days => :days) as at), sync_log as ("
            " insert into ic3_sync_log (serialnumber, synced_at) select 'P', at from aged),"
            " batches as (insert into cmms_sync_log (batch_key, synced_at)"
            "  select 'batch_000001', at from aged),"
            " requests as (insert into innomaint_request (kind, options, requested_at)"
            "  select 'innomaint/sync', '{}', at from aged)"
            " insert into innomaint_data_issue (asset_id, field, reason, resolved_at)"
            "  select 1, 'mttr', 'is no duration', at from aged",
            days=days,
        )
    pipeline.execute(
        "insert into cmms_sync_log (batch_key, synced_at) values"
        " ('batch_000002', now() - interval '500 days'), ('batch_000002', now() - interval '200 days'),"
        " (null, now() - interval '500 days'), (null, now() - interval '200 days')"
    )
    pipeline.execute(
        "insert into innomaint_data_issue (asset_id, field, reason, first_seen_at)"
        " values (1, 'mtbf', 'is no duration', now() - interval '500 days')"
    )
    return pipeline


def ages(pipeline: Pipeline, table: str, column: str) -> list[int]:
    return [
        row["days"]
        for row in pipeline.rows(
            f"select extract(day from now() - {column})::int as days from {table} order by 1 nulls last"
        )
    ]


def test_rows_beyond_the_retention_go_and_the_others_stay(aged: Pipeline) -> None:
    before = aged.one("select count(*) as rows from ic3_sync_log")["rows"]

    deleted = delete_old_rows(aged.database, KEPT)

    assert deleted == {
        "ic3_sync_log": 2,
        "cmms_sync_log": 4,
        "innomaint_data_issue": 2,
        "innomaint_request": 2,
    }
    assert aged.one("select count(*) as rows from ic3_sync_log")["rows"] == before - 2
    assert ages(aged, "innomaint_request", "requested_at") == [1, 89]


def test_an_issue_that_is_still_open_stays_however_old(aged: Pipeline) -> None:
    delete_old_rows(aged.database, KEPT)
    assert ages(aged, "innomaint_data_issue", "resolved_at") == [1, 89, None]


def test_the_newest_row_of_each_batch_stays_however_old(aged: Pipeline) -> None:
    delete_old_rows(aged.database, KEPT, older_than=timedelta(hours=1))

    rows = aged.rows(
        "select batch_key, extract(day from now() - synced_at)::int as days from cmms_sync_log"
        " order by batch_key"
    )
    assert [tuple(row.values()) for row in rows] == [
        ("batch_000001", 1),
        ("batch_000002", 200),
        (None, 200),
    ]


def test_a_second_clean_up_finds_nothing(aged: Pipeline) -> None:
    delete_old_rows(aged.database, KEPT)
    assert delete_old_rows(aged.database, KEPT) == dict.fromkeys(TABLES, 0)


def test_many_rows_go_in_steps_of_a_few_thousand_each_committed_by_itself(pipeline: Pipeline) -> None:
    pipeline.execute(
        "insert into ic3_sync_log (serialnumber, synced_at)"
        " select 'P', now() - interval '1 year' from generate_series(1, 12000)"
    )
    sizes: list[int] = []
    engine = pipeline.database.engine

    def note(_connection: object, cursor: Any, statement: str, *_: object) -> None:
        if statement.startswith("DELETE"):
            sizes.append(cursor.rowcount)

    event.listen(engine, "after_cursor_execute", note)
    commits: list[object] = []
    event.listen(engine, "commit", commits.append)

    assert delete_old_rows(pipeline.database, KEPT)["ic3_sync_log"] == 12_000

    assert sizes[:3] == [5_000, 5_000, 2_000]
    assert len(commits) == len(sizes)


def test_the_retention_is_ninety_days() -> None:
    assert timedelta(days=90) == LOG_RETENTION
