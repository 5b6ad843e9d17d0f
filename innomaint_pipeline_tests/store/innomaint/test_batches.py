"""The counts by batch: right after every change, also of two transactions at once; mended when spoiled."""

import random
import threading
from typing import Any

import pytest
from sqlalchemy import text

from innomaint_pipeline.domain.pacing import SourceAccount
from innomaint_pipeline.domain.states import RETRYABLE_CLASSES, ErrorClass
from innomaint_pipeline.store.innomaint.batches import (
    count_by_kind,
    count_due,
    count_members,
    find_batch_keys,
    find_last_batch_key,
    find_miscounted,
)
from innomaint_pipeline.store.innomaint.due_batches import find_due_batches, find_urgent_batches
from innomaint_pipeline.store.innomaint.status import load_status
from innomaint_pipeline.store.upgrade import upgrade_database
from innomaint_pipeline_tests.conftest import FIRST_BATCH, Pipeline

NAMES = tuple(f"Pump {number:02d}" for number in range(1, 31))


@pytest.fixture
def batches(empty_pipeline: Pipeline) -> Pipeline:
    """Six batches of five, never synced."""
    empty_pipeline.import_serials(NAMES, batch_size=5)
    return empty_pipeline


def miscounted(pipeline: Pipeline) -> list[str]:
    with pipeline.database.begin() as connection:
        return find_miscounted(connection)


def by_kind(pipeline: Pipeline) -> dict[str, int]:
    with pipeline.database.begin() as connection:
        return count_by_kind(connection)


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        pytest.param(
            "update innomaint_sync_state set state = 'synced' where asset_id = 3",
            {"never": 29, "synced": 1},
            marks=pytest.mark.leaves("synced_without_answer"),
        ),
        (
            "update innomaint_sync_state set state = 'failed', error_class = 'data' where asset_id < 8",
            {"never": 23, "data": 7},
        ),
        (
            "update innomaint_sync_state set batch_key = 'batch_000007' where asset_id in (1, 9)",
            {"never": 30},
        ),
        ("update innomaint_sync_state set batch_key = null where asset_id in (2, 30)", {"never": 30}),
        ("update innomaint_sync_state set next_due_at = next_due_at + interval '1 day'", {"never": 30}),
        ("delete from ic3_asset_master where asset_id in (4, 5, 6)", {"never": 27}),
        ("delete from ic3_asset_master where asset_id < 6", {"never": 25}),
        ("truncate ic3_asset_master cascade", {}),
        ("insert into ic3_asset_master (asset_name) values ('without an id')", {"never": 31}),
    ],
)
def test_counts_follow_whoever_changes_a_state(
    batches: Pipeline, statement: str, expected: dict[str, int]
) -> None:
    batches.execute(statement)
    assert miscounted(batches) == []
    assert by_kind(batches) == expected


@pytest.mark.leaves("synced_without_answer")
def test_a_change_that_concerns_no_count_writes_none(batches: Pipeline) -> None:
    before = batches.rows("select xmin::text, * from innomaint_batch_count order by batch_key, kind")
    batches.execute("update innomaint_sync_state set attempts = 3, is_logged = false")
    assert batches.rows("select xmin::text, * from innomaint_batch_count order by batch_key, kind") == before
    batches.execute("update innomaint_sync_state set state = 'synced' where asset_id = 1")
    after = batches.rows("select xmin::text, * from innomaint_batch_count order by batch_key, kind")
    assert [row for row in after if row["batch_key"] != FIRST_BATCH] == before[1:]


def naive_demands(pipeline: Pipeline) -> dict[str, tuple[int, int, int, Any]]:
    """Return what is due as a walk over every state finds it."""
    rows = pipeline.rows(
        "select batch_key, count(*) filter (where state = 'never') as never,"
        " count(*) filter (where error_class = any(:retryable)) as retryable, count(*) as due,"
        " min(next_due_at) as oldest from innomaint_sync_state"
        " where next_due_at <= now() and batch_key is not null group by 1",
        retryable=sorted(RETRYABLE_CLASSES),
    )
    return {
        row["batch_key"]: (
            row["never"],
            row["retryable"],
            row["due"] - row["never"] - row["retryable"],
            row["oldest"],
        )
        for row in rows
    }


@pytest.mark.leaves("synced_without_answer")
@pytest.mark.parametrize("seed", range(4))
def test_what_is_due_is_what_a_walk_over_every_state_finds(batches: Pipeline, seed: int) -> None:
    chance = random.Random(seed)
    kinds = [("never", None), ("synced", None), *(("failed", item.value) for item in ErrorClass)]
    for _ in range(3):
        for asset_id in chance.sample(range(1, 31), 12):
            state, error_class = chance.choice(kinds)
            batches.execute(
                "update innomaint_sync_state set state = :state, error_class = :error_class,"
                " next_due_at = now() + make_interval(mins => :minutes) where asset_id = :asset_id",
                state=state,
                error_class=error_class,
                minutes=chance.randint(-50, 50),
                asset_id=asset_id,
            )
        assert miscounted(batches) == []
        with batches.database.begin() as connection:
            found = find_due_batches(connection)
            due = count_due(connection)
            urgent = find_urgent_batches(connection, 2)
        demands = {
            item.batch_key: (item.never, item.retryable, item.stale, item.oldest_due_at) for item in found
        }
        assert demands == naive_demands(batches)
        assert due == sum(item.due for item in found)
        assert urgent.demands == found[:2]
        assert urgent.due_elsewhere == sum(item.due for item in found[2:])


def test_batches_are_known_by_their_counts(batches: Pipeline) -> None:
    batches.execute("delete from ic3_asset_master where asset_id between 26 and 30")
    with batches.database.begin() as connection:
        assert find_batch_keys(connection) == [f"batch_{number:06d}" for number in range(1, 6)]
        assert find_last_batch_key(connection) == "batch_000005"
        assert set(count_members(connection).values()) == {5}


@pytest.mark.leaves("synced_without_answer")
def test_two_transactions_that_change_one_batch_at_once_are_both_counted(batches: Pipeline) -> None:
    done = threading.Event()

    def change_another() -> None:
        batches.execute("update innomaint_sync_state set state = 'synced' where asset_id in (2, 7)")
        done.set()

    with batches.database.begin() as connection:
        connection.execute(
            text("update innomaint_sync_state set state = 'synced' where asset_id in (1, 6, 11)")
        )
        other = threading.Thread(target=change_another)
        other.start()
        # Either waits for the counts of the two batches that both have changed.
        assert not done.wait(0.3)
        with batches.database.begin() as reader:
            assert count_by_kind(reader) == {"never": 30}, "as long as neither has committed"
            assert find_miscounted(reader) == []
    other.join()
    assert by_kind(batches) == {"never": 25, "synced": 5}
    assert miscounted(batches) == []


@pytest.mark.leaves("synced_without_answer")
def test_many_batches_at_once_never_wait_for_one_another(batches: Pipeline) -> None:
    with batches.database.begin() as connection:
        connection.execute(text("update innomaint_sync_state set state = 'synced' where asset_id = 1"))
        # Another batch: were any row shared, this would wait until the lock's time is over and fail.
        batches.execute(
            "set local lock_timeout = '5s'; update innomaint_sync_state set state = 'synced'"
            " where asset_id between 6 and 30"
        )
    assert by_kind(batches) == {"never": 4, "synced": 26}


def test_spoiled_counts_are_found_and_the_upgrade_counts_anew(batches: Pipeline) -> None:
    batches.execute(
        "update innomaint_sync_state set state = 'failed', error_class = 'data' where asset_id = 1"
    )
    expected = batches.rows("select * from innomaint_batch_count order by 1, 2")
    batches.execute("update innomaint_batch_count set assets = assets + 1 where batch_key = 'batch_000002'")
    batches.execute("delete from innomaint_batch_count where batch_key = 'batch_000004'")
    batches.execute("delete from innomaint_batch_count where kind = 'data'")
    batches.execute("insert into innomaint_batch_count values ('batch_000099', 'synced', 7, now(), now())")
    assert miscounted(batches) == [FIRST_BATCH, "batch_000002", "batch_000004", "batch_000099"]

    done = upgrade_database(batches.database, batch_size=5)

    assert done == ["counted the states of 4 batches"]
    assert miscounted(batches) == []
    counted = batches.rows(
        "select * from innomaint_batch_count where batch_key < 'batch_000099' order by 1, 2"
    )
    assert counted == expected


def test_the_table_of_counts_comes_back_with_its_numbers(batches: Pipeline) -> None:
    batches.execute("drop table innomaint_batch_count")
    done = upgrade_database(batches.database, batch_size=5)
    assert done == ["created table innomaint_batch_count", "counted the states of 6 batches"]
    assert by_kind(batches) == {"never": 30}


@pytest.mark.leaves("synced_without_answer")
def test_states_of_a_database_from_before_are_counted(batches: Pipeline) -> None:
    for change in ("insert", "update", "delete", "truncate"):
        batches.execute(f"drop trigger innomaint_count_after_{change} on innomaint_sync_state")
    batches.execute("drop table innomaint_batch_count")
    batches.execute("drop function innomaint_follow_sync_state, innomaint_recount_batches")
    batches.execute("update innomaint_schema_version set version_num = '0001'")

    upgrade_database(batches.database, batch_size=5)

    assert by_kind(batches) == {"never": 30}
    batches.execute("update innomaint_sync_state set state = 'synced' where asset_id = 30")
    assert by_kind(batches) == {"never": 29, "synced": 1}
    with batches.database.snapshot() as connection:
        found = load_status(connection, SourceAccount("none", 1440, 5.0))
    assert (found.total_assets, found.synced_assets, found.never_synced) == (30, 1, 29)
