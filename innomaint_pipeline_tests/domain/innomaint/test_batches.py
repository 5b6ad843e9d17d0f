import itertools
from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innomaint_pipeline.domain.innomaint.batches import (
    BatchDemand,
    LastBatch,
    assign_batches,
    batch_key,
    batch_number,
)

NO_BATCH = LastBatch(0, 0)
sizes = st.integers(1, 7)
arrivals = st.lists(st.tuples(st.integers(0, 25), sizes), max_size=8)


def arrive(groups: list[tuple[int, int]]) -> list[dict[int, str]]:
    """Assign group after group, each with its own batch size; the state after each."""
    assigned: dict[int, str] = {}
    history = []
    for count, batch_size in groups:
        last = NO_BATCH
        if assigned:
            key = max(assigned.values())
            last = LastBatch(batch_number(key), Counter(assigned.values())[key])
        new = range(len(assigned), len(assigned) + count)
        added = list(assign_batches(new, last, batch_size))
        assert [asset_id for asset_id, _ in added] == list(new)
        assigned = {**assigned, **dict(added)}
        history.append(assigned)
    return history


def test_batches_fill_in_the_order_given():
    assert list(assign_batches([7, 3, 9, 1, 4], NO_BATCH, 2)) == [
        (7, "batch_000001"),
        (3, "batch_000001"),
        (9, "batch_000002"),
        (1, "batch_000002"),
        (4, "batch_000003"),
    ]


def test_new_cmms_assets_fill_the_last_open_batch_first():
    assert list(assign_batches([11, 12], LastBatch(4, 99), 100)) == [
        (11, "batch_000004"),
        (12, "batch_000005"),
    ]


def test_a_batch_that_is_full_under_a_smaller_size_gets_nobody():
    assert list(assign_batches([11], LastBatch(4, 99), 50)) == [(11, "batch_000005")]


def test_a_larger_size_reopens_the_last_batch():
    assert list(assign_batches([11], LastBatch(4, 50), 100)) == [(11, "batch_000004")]


def test_nobody_new_opens_no_batch():
    assert list(assign_batches([], LastBatch(4, 100), 100)) == []


@given(arrivals)
def test_each_cmms_asset_is_in_exactly_one_batch(groups):
    for total, assigned in zip(
        (sum(c for c, _ in groups[: i + 1]) for i in range(len(groups))), arrive(groups), strict=True
    ):
        assert sorted(assigned) == list(range(total))


@given(arrivals)
def test_adding_cmms_assets_moves_none_whatever_the_batch_size_becomes(groups):
    history = arrive(groups)
    for before, after in itertools.pairwise(history):
        assert before.items() <= after.items()


@given(arrivals)
def test_no_batch_outgrows_the_largest_size_and_no_number_is_left_out(groups):
    history = arrive(groups)
    assigned = history[-1] if history else {}
    members = Counter(assigned.values())
    assert sorted(members) == [batch_key(number) for number in range(1, len(members) + 1)]
    assert all(count <= max(size for _, size in groups) for count in members.values())


@given(st.integers(0, 200), sizes)
def test_with_one_size_every_batch_but_the_last_is_full(count, batch_size):
    members = Counter(key for _, key in assign_batches(range(count), NO_BATCH, batch_size))
    assert len(members) == -(-count // batch_size)
    assert all(members[key] == batch_size for key in sorted(members)[:-1])


@given(st.integers(1, 10**8))
def test_a_key_and_its_number_tell_the_same(number):
    assert batch_number(batch_key(number)) == number


def test_a_key_looks_like_the_contract_says():
    assert batch_key(1) == "batch_000001"


@pytest.mark.parametrize(
    "key",
    [
        "",
        "batch_",
        "batch_000000",
        "batch_-00001",
        "batch_1",
        "batch_0000001",
        "batch_00000x",
        "000001",
        "Batch_000001",
        " batch_000001",
        "batch_000001 ",
        "batch_00000\u0661",
        "batch_" + "9" * 5000,
    ],
)
def test_what_is_no_batch_key_is_refused(key):
    with pytest.raises(ValueError, match="is no batch key: expected one like batch_000001"):
        batch_number(key)


def test_what_is_due_of_a_batch_is_the_sum_of_its_kinds():
    demand = BatchDemand(
        "batch_000001", never=1, retryable=20, stale=300, oldest_due_at=datetime(2026, 6, 20, tzinfo=UTC)
    )
    assert demand.due == 321
