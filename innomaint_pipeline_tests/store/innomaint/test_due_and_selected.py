"""What is due, in which order, and what a person selects."""

import pytest

from innomaint_pipeline.store.innomaint.batches import count_members
from innomaint_pipeline.store.innomaint.due_batches import find_due_batches
from innomaint_pipeline.store.innomaint.selection import find_by_name, find_retryable, find_slice
from innomaint_pipeline_tests.conftest import Pipeline

NAMES = tuple(f"Pump {number:02d}" for number in range(1, 13))


@pytest.fixture
def batches(empty_pipeline: Pipeline) -> Pipeline:
    """Six batches of two, everything synced and not due."""
    empty_pipeline.import_serials(NAMES, batch_size=2)
    empty_pipeline.execute(
        "update innomaint_sync_state set state = 'synced', next_due_at = now() + interval '1 hour'"
    )
    return empty_pipeline


def set_state(pipeline: Pipeline, name: str, state: str, error_class: str | None, due_in: str) -> None:
    pipeline.execute(
        "update innomaint_sync_state set state = :state, error_class = :class,"
        " next_due_at = now() + cast(:due as interval)"
        " where asset_id = (select asset_id from ic3_asset_master where cmms_asset_id = :name)",
        **{"state": state, "class": error_class, "due": due_in, "name": name},
    )


def due(pipeline: Pipeline) -> list[tuple[str, int, int, int]]:
    with pipeline.database.begin() as connection:
        return [
            (item.batch_key[-1], item.never, item.retryable, item.stale)
            for item in find_due_batches(connection)
        ]


@pytest.mark.leaves("synced_without_answer")
def test_nothing_is_due_while_everything_is_fresh(batches: Pipeline) -> None:
    assert due(batches) == []


def test_new_assets_are_due_at_once(empty_pipeline: Pipeline) -> None:
    empty_pipeline.import_serials(NAMES, batch_size=5)
    assert due(empty_pipeline) == [("1", 5, 0, 0), ("2", 5, 0, 0), ("3", 2, 0, 0)]


@pytest.mark.leaves("synced_without_answer")
def test_never_synced_come_first_then_retryable_failures_then_the_stalest(batches: Pipeline) -> None:
    set_state(batches, NAMES[0], "synced", None, "-1 day")
    set_state(batches, NAMES[2], "synced", None, "-2 days")
    set_state(batches, NAMES[4], "failed", "transient", "-1 minute")
    set_state(batches, NAMES[6], "failed", "internal", "-2 minutes")
    set_state(batches, NAMES[8], "never", None, "-1 second")
    set_state(batches, NAMES[9], "failed", "rate_limited", "-1 day")
    set_state(batches, NAMES[10], "failed", "not_found", "-1 hour")
    assert due(batches) == [
        ("5", 1, 1, 0),
        ("4", 0, 1, 0),
        ("3", 0, 1, 0),
        ("2", 0, 0, 1),
        ("1", 0, 0, 1),
        ("6", 0, 0, 1),
    ]


@pytest.mark.leaves("synced_without_answer")
def test_failures_whose_time_has_not_come_are_not_due(batches: Pipeline) -> None:
    set_state(batches, NAMES[4], "failed", "transient", "1 minute")
    assert due(batches) == []


@pytest.mark.leaves("synced_without_answer")
def test_a_demand_sums_up_and_names_the_oldest(batches: Pipeline) -> None:
    set_state(batches, NAMES[0], "synced", None, "-1 day")
    set_state(batches, NAMES[1], "failed", "transient", "-3 days")
    with batches.database.begin() as connection:
        (demand,) = find_due_batches(connection)
    assert demand.due == 2
    oldest = batches.one("select min(next_due_at) from innomaint_sync_state")["min"]
    assert demand.oldest_due_at == oldest


@pytest.mark.leaves("synced_without_answer")
def test_a_slice_goes_by_report_order_across_batches(batches: Pipeline) -> None:
    with batches.database.begin() as connection:
        assert find_slice(connection, limit=3, offset=3) == {
            "batch_000002": [NAMES[3]],
            "batch_000003": [NAMES[4], NAMES[5]],
        }
        assert find_slice(connection, limit=5, offset=11) == {"batch_000006": [NAMES[11]]}
        assert find_slice(connection, limit=5, offset=12) == {}


@pytest.mark.leaves("synced_without_answer")
def test_named_assets_are_found_by_batch_and_unknown_names_left_out(batches: Pipeline) -> None:
    with batches.database.begin() as connection:
        found = find_by_name(connection, [NAMES[7], "Pump of nobody", NAMES[0], NAMES[6]])
    assert found == {"batch_000001": [NAMES[0]], "batch_000004": [NAMES[6], NAMES[7]]}


@pytest.mark.leaves("synced_without_answer")
def test_retryable_failures_are_found_due_or_not(batches: Pipeline) -> None:
    set_state(batches, NAMES[1], "failed", "transient", "1 hour")
    set_state(batches, NAMES[2], "failed", "contract", "-1 hour")
    set_state(batches, NAMES[3], "failed", "internal", "-1 hour")
    with batches.database.begin() as connection:
        assert find_retryable(connection) == {"batch_000001": [NAMES[1]], "batch_000002": [NAMES[3]]}


@pytest.mark.leaves("synced_without_answer")
def test_members_are_counted_by_batch(batches: Pipeline) -> None:
    with batches.database.begin() as connection:
        assert list(count_members(connection).items()) == [
            (f"batch_00000{number}", 2) for number in range(1, 7)
        ]
