"""Which batches are launched now, and why: a table, and what holds for whatever the facts are."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innomaint_pipeline.domain.innomaint.batches import BatchDemand, batch_key
from innomaint_pipeline.domain.innomaint.launches import (
    BATCHES_IN_FLIGHT,
    LaunchesToCome,
    SyncFacts,
    decide_launches,
    hold_seconds,
    plan_launches,
)
from innomaint_pipeline.domain.schedule import parse_moment

MOMENT = datetime(2026, 6, 20, 10, tzinfo=UTC)


def demand(number: int, *, never: int = 0, retryable: int = 0, stale: int = 0) -> BatchDemand:
    return BatchDemand(batch_key(number), never, retryable, stale, MOMENT)


def flying(*numbers: int) -> frozenset[str]:
    return frozenset(map(batch_key, numbers))


DUE = (
    demand(1, never=100),
    demand(2, never=57),
    demand(3, retryable=4),
    demand(4, stale=9),
    demand(5, stale=1),
)
FACTS = SyncFacts(total=457, demands=DUE, in_flight=frozenset())


@pytest.mark.parametrize(
    ("changes", "launched", "reason"),
    [
        ({}, [1, 2, 3], "157 never synced, 4 failed and due again, 0 stale"),
        ({"in_flight": flying(1)}, [2, 3], "57 never synced, 4 failed and due again, 0 stale"),
        ({"in_flight": flying(2, 3)}, [1], "100 never synced, 0 failed and due again, 0 stale"),
        ({"in_flight": flying(7, 8, 9)}, [], "3 batches in flight, 171 assets due"),
        ({"in_flight": flying(1, 2, 3, 4, 5, 6)}, [], "6 batches in flight, 171 assets due"),
        ({"demands": DUE[:1], "in_flight": flying(1)}, [], "1 batches in flight, 100 assets due"),
        ({"demands": DUE[3:]}, [4, 5], "0 never synced, 0 failed and due again, 10 stale"),
        ({"has_no_worker": True}, [1], "100 never synced, 0 failed and due again, 0 stale"),
        (
            {"has_no_worker": True, "in_flight": flying(9)},
            [],
            "no worker takes runs; 1 batches in flight, 171 assets due",
        ),
        ({"is_paused": True}, [], "paused by a person: innomaint resume continues"),
        ({"total": 0, "demands": ()}, [], "no asset is imported yet"),
        (
            {"demands": (), "next_due_in_seconds": 90.0},
            [],
            "nothing is due: 457 assets, the next in 1.5 min",
        ),
        (
            {"demands": (), "next_due_in_seconds": -1.0},
            [],
            "nothing is due: 457 assets, the next in 0.0 min",
        ),
        ({"demands": ()}, [], "nothing is due: none of 457 assets has a batch"),
        (
            {"probe_in_seconds": 12.4},
            [],
            "Innomaint is down (the circuit breaker is open); 171 assets are due, the next try is in 12 s",
        ),
        ({"probe_in_seconds": 0.0}, [1], "100 never synced, 0 failed and due again, 0 stale"),
        ({"probe_in_seconds": 0.0, "in_flight": flying(9)}, [], "1 batches in flight, 171 assets due"),
        (
            {"consecutive_failures": 2, "seconds_since_failure": 0.0},
            [1, 2, 3],
            "157 never synced, 4 failed and due again, 0 stale",
        ),
        (
            {"consecutive_failures": 3, "seconds_since_failure": 1.0},
            [],
            "the last 3 batch runs failed; 171 assets are due, the next try is in 29 s",
        ),
        (
            {"consecutive_failures": 3, "seconds_since_failure": 30.0},
            [1],
            "100 never synced, 0 failed and due again, 0 stale",
        ),
        (
            {"consecutive_failures": 4, "seconds_since_failure": 30.0},
            [],
            "the last 4 batch runs failed; 171 assets are due, the next try is in 30 s",
        ),
        # The clock was set back: a failure that is still to come holds nobody until then.
        (
            {"consecutive_failures": 9, "seconds_since_failure": -3000.0},
            [1],
            "100 never synced, 0 failed and due again, 0 stale",
        ),
        (
            {"consecutive_failures": 3, "seconds_since_failure": None},
            [1],
            "100 never synced, 0 failed and due again, 0 stale",
        ),
        (
            {"consecutive_failures": 9, "seconds_since_failure": 600.0, "in_flight": flying(1, 9)},
            [],
            "2 batches in flight, 171 assets due",
        ),
        # What the breaker says is newer than what the batches say.
        (
            {"consecutive_failures": 50, "seconds_since_failure": 1.0, "probe_in_seconds": 0.0},
            [1],
            "100 never synced, 0 failed and due again, 0 stale",
        ),
        (
            {"is_paused": True, "probe_in_seconds": 0.0},
            [],
            "paused by a person: innomaint resume continues",
        ),
    ],
)
def test_each_situation_has_its_launches_and_its_words(
    changes: dict[str, Any], launched: list[int], reason: str
) -> None:
    decision = decide_launches(replace(FACTS, **changes))

    assert list(decision.launch) == list(map(batch_key, launched))
    assert decision.reason == reason


def demands() -> st.SearchStrategy[list[BatchDemand]]:
    """Batches with something due, in the order of urgency in which the database gives them."""

    def build(counts: list[tuple[int, int, int]]) -> list[BatchDemand]:
        made = [
            demand(number, never=never, retryable=retryable, stale=stale)
            for number, (never, retryable, stale) in enumerate(counts, start=1)
            if never + retryable + stale
        ]
        return sorted(made, key=urgency)

    small = st.integers(0, 3)
    return st.lists(st.tuples(small, small, small), max_size=12).map(build)


def urgency(item: BatchDemand) -> int:
    return 0 if item.never else 1 if item.retryable else 2


seconds = st.floats(0, 10_000, allow_nan=False)
facts = st.builds(
    SyncFacts,
    total=st.integers(0, 10_000),
    demands=demands(),
    in_flight=st.frozensets(st.integers(1, 15).map(batch_key), max_size=5),
    is_paused=st.booleans(),
    probe_in_seconds=st.none() | seconds,
    consecutive_failures=st.integers(0, 100),
    seconds_since_failure=st.none() | seconds,
    next_due_in_seconds=st.none() | st.floats(-1000, 1e9, allow_nan=False),
)
calm_facts = facts.map(
    lambda found: replace(found, is_paused=False, probe_in_seconds=None, consecutive_failures=0, total=1)
)


@given(facts)
def test_never_more_than_three_in_flight_and_none_of_them_twice(found: SyncFacts) -> None:
    launch = decide_launches(found).launch

    assert len(set(launch)) == len(launch)
    assert not found.in_flight & set(launch)
    assert not launch or len(launch) + len(found.in_flight) <= BATCHES_IN_FLIGHT


@given(facts)
def test_only_batches_with_something_due_are_launched_and_there_is_always_a_reason(found: SyncFacts) -> None:
    decision = decide_launches(found)

    assert set(decision.launch) <= {item.batch_key for item in found.demands}
    assert decision.reason


@given(calm_facts)
def test_while_all_is_well_the_room_is_used(found: SyncFacts) -> None:
    waiting = [item for item in found.demands if item.batch_key not in found.in_flight]
    room = max(BATCHES_IN_FLIGHT - len(found.in_flight), 0)

    assert len(decide_launches(found).launch) == min(room, len(waiting))


@given(calm_facts)
def test_never_goes_before_retryable_and_retryable_before_stale(found: SyncFacts) -> None:
    launch = decide_launches(found).launch
    by_key = {item.batch_key: urgency(item) for item in found.demands}
    launched = [by_key[key] for key in launch]
    left = [by_key[key] for key in by_key if key not in launch and key not in found.in_flight]

    assert launched == sorted(launched)
    assert not launched or not left or max(launched) <= min(left)


@given(facts.map(lambda found: replace(found, is_paused=True)))
def test_nothing_is_launched_while_paused(found: SyncFacts) -> None:
    assert decide_launches(found).launch == ()


@given(facts, st.integers(3, 1000))
def test_in_trouble_one_batch_at_a_time_is_tried(found: SyncFacts, failures: int) -> None:
    launch = decide_launches(replace(found, consecutive_failures=failures)).launch

    assert len(launch) <= 1
    assert not launch or not found.in_flight


@given(calm_facts.filter(lambda found: bool(found.demands)), st.integers(3, 1000))
def test_in_trouble_it_always_comes_back_within_ten_minutes(found: SyncFacts, failures: int) -> None:
    waited = replace(found, consecutive_failures=failures, seconds_since_failure=600.0, in_flight=frozenset())

    assert decide_launches(waited).launch == (found.demands[0].batch_key,)


@given(calm_facts.filter(lambda found: bool(found.demands)), seconds.filter(bool))
def test_an_open_breaker_is_probed_when_its_time_has_come_and_not_before(
    found: SyncFacts, probe_in_seconds: float
) -> None:
    still = replace(found, in_flight=frozenset())

    assert decide_launches(replace(still, probe_in_seconds=probe_in_seconds)).launch == ()
    assert len(decide_launches(replace(still, probe_in_seconds=0.0)).launch) == 1


@pytest.mark.parametrize(
    ("failures", "expected"),
    [(0, 0), (2, 0), (3, 30), (4, 60), (5, 120), (6, 240), (7, 480), (8, 600), (9, 600), (100_000, 600)],
)
def test_the_intervals_between_tries_grow_from_30_seconds_to_10_minutes(
    failures: int, expected: float
) -> None:
    assert hold_seconds(failures) == expected


@pytest.mark.parametrize(
    ("cursor", "moment"),
    [
        ("1750000000.5", 1750000000.5),
        (None, 0),
        ("", 0),
        ("yesterday", 0),
        ("nan", 0),
        ("inf", 0),
        ('{"a": 1}', 0),
    ],
)
def test_a_cursor_that_holds_no_time_is_long_ago(cursor: str | None, moment: float) -> None:
    assert parse_moment(cursor) == moment


def test_what_waits_is_launched_three_batches_a_look() -> None:
    demands = [demand(number, never=50) for number in range(1, 9)]
    found = SyncFacts(total=400, demands=demands, in_flight=flying(1))

    assert plan_launches(found, [batch_key(2), batch_key(3)]) == LaunchesToCome(2, 100)
    assert plan_launches(found, [one.batch_key for one in demands]) == LaunchesToCome()
    assert plan_launches(replace(found, due_elsewhere=25), []) == LaunchesToCome(3, 75)
