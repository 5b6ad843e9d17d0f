"""How far a sync is and how long it takes, as arithmetic; what a batch and health are called."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from innomaint_pipeline.domain.innomaint.batches import BatchState, batch_state
from innomaint_pipeline.domain.innomaint.health import (
    HealthFacts,
    HealthMoments,
    assess_health,
    explain_health,
)
from innomaint_pipeline.domain.innomaint.progress import (
    LastLaunch,
    Rates,
    SecondPass,
    SyncUnderWay,
    TimeLeft,
    combine_syncs,
    estimate_time_left,
    measure_pace,
)

NOW = datetime(2026, 6, 20, 10, tzinfo=UTC)


def left(
    rest: int, allowed: float, measured: float = 0, running: float = 60, done: int = 9, **known: Any
) -> TimeLeft | None:
    return estimate_time_left(
        SyncUnderWay(NOW, done + rest, done), Rates(allowed, measured, running), **known
    )


def seconds_left(rest: int, allowed: float, **known: Any) -> int:
    found = left(rest, allowed, **known)
    assert found is not None
    return found.seconds


def test_the_time_left_is_what_is_left_at_the_slower_of_both_rates_and_the_end_of_the_last_run() -> None:
    assert left(100, 5, 4) == TimeLeft(27, 23, 34)
    assert left(100, 5, 9) == TimeLeft(22, 19, 28), "more than is allowed was measured before"
    assert left(100, 5, 0) == TimeLeft(22, 19, 28)
    assert left(100, 0, 4) == TimeLeft(27, 23, 34)
    assert left(0, 5, 5) == TimeLeft(2, 2, 2)
    assert left(100, 0, 0) is None


def test_a_rate_is_not_low_because_the_sync_is_young() -> None:
    assert left(100, 5, 2, running=4) == TimeLeft(22, 19, 28)
    assert left(100, 5, 2, running=60) == TimeLeft(52, 44, 65)


def test_what_an_earlier_sync_was_measured_at_is_not_the_rate_of_one_without_an_outcome() -> None:
    assert left(300, 20, 0.02, running=1, done=0) == TimeLeft(17, 14, 21)
    assert left(300, 0, 0.02, running=1, done=0) is None


def test_the_pace_of_outcomes_counts_before_the_rate_of_requests_and_never_above_what_is_allowed() -> None:
    assert seconds_left(100, 5, measured=5, pace=2.5) == 42, "each CMMS asset took two requests"
    assert seconds_left(100, 5, measured=0.1, pace=8) == 22
    assert seconds_left(100, 0, pace=10) == 12


def test_the_time_left_is_not_over_before_the_last_launch_and_what_it_launches() -> None:
    assert seconds_left(150, 20, last_launch=LastLaunch(30, 40)) == 38
    assert seconds_left(600, 5, last_launch=LastLaunch(30, 100)) == 122, "there is enough to do until then"


def test_the_time_left_has_in_it_the_stop_of_the_source_and_the_longest_second_pass() -> None:
    assert seconds_left(0, 5, second_passes=[SecondPass(6, 3.2), SecondPass(0, 0)]) == 5, "waits of one"
    assert seconds_left(0, 5, second_passes=[SecondPass(6, 3.2), SecondPass(100, 3.2)]) == 22, (
        "requests of all"
    )
    stopped = estimate_time_left(SyncUnderWay(NOW, 20, 10), Rates(5, stopped_seconds=60))
    assert stopped is not None
    assert stopped.seconds == 64


def at(*seconds: float) -> list[datetime]:
    return [NOW + timedelta(seconds=one) for one in seconds]


def test_a_pause_in_which_nothing_was_worked_on_is_no_part_of_the_pace() -> None:
    steady = [number / 4 for number in range(21)]
    assert measure_pace(at(*steady), now=NOW + timedelta(hours=1)) == 4
    assert measure_pace(at(*steady, *(60 + one for one in steady)), now=NOW + timedelta(hours=1)) == 4


def test_outcomes_that_are_stored_together_are_no_faster_pace() -> None:
    # Ten at a time, every two seconds: the first ten tell nothing of how long they took.
    assert (
        measure_pace(at(*[2.0 * (number // 10) for number in range(40)]), now=NOW + timedelta(hours=1)) == 5
    )


def test_a_few_outcomes_or_those_of_a_clock_that_was_set_back_are_no_pace() -> None:
    assert measure_pace([], now=NOW) is None
    assert measure_pace(at(*range(10)), now=NOW + timedelta(hours=1)) is None
    assert measure_pace(at(*[0.0] * 50), now=NOW + timedelta(hours=1)) is None
    assert measure_pace(at(*range(50)), now=NOW) is None


@given(st.integers(0, 10**6), st.floats(0, 1000), st.floats(0.01, 1000), st.floats(0, 10**6))
def test_the_range_is_never_upside_down(rest: int, allowed: float, measured: float, running: float) -> None:
    found = left(rest, allowed, measured, running)
    assert found is not None
    assert 0 < found.low_seconds <= found.seconds <= found.high_seconds


SYNCS = st.lists(st.builds(SyncUnderWay, st.just(NOW), st.integers(0, 50), st.integers(0, 50)))


@given(SYNCS, st.integers(0, 60))
def test_syncs_together_have_never_more_done_than_all_and_never_more_than_there_are(
    syncs: list[SyncUnderWay], assets: int
) -> None:
    whole = combine_syncs(syncs, assets=assets)
    assert (whole is None) == (not syncs)
    if whole is not None:
        assert 0 <= whole.done <= whole.total <= assets


def test_the_state_of_a_batch_is_the_first_that_applies() -> None:
    def state(**changes: object) -> BatchState:
        counts = {
            "is_leased": False,
            "failed": 0,
            "synced": 9,
            "never": 0,
            "last_status": None,
        }
        return batch_state(**{**counts, **changes})  # pyright: ignore[reportArgumentType]

    assert state() is BatchState.COMPLETE
    assert state(is_leased=True, failed=1) is BatchState.RUNNING
    assert state(failed=9, synced=0) is BatchState.FAILED
    assert state(last_status="failed") is BatchState.FAILED
    assert state(failed=1) is BatchState.PARTIAL
    assert state(synced=0, never=9) is BatchState.NEVER
    assert state(never=1) is BatchState.PARTIAL


@given(
    st.builds(
        HealthFacts,
        total=st.integers(0, 50),
        synced=st.integers(0, 50),
        failed=st.integers(0, 50),
        oldest_success_seconds=st.none() | st.floats(0, 10**7),
        refresh_minutes=st.integers(5, 1440),
        consecutive_failures=st.integers(0, 9),
        is_breaker_open=st.booleans(),
        is_paused=st.booleans(),
        is_token_refused=st.booleans(),
    )
)
def test_every_health_is_explained_under_its_own_word_and_since_its_own_moment(facts: HealthFacts) -> None:
    names = ("paused_at", "breaker_opened_at", "token_refused_at", "failing_since", "stale_since")
    moments = {name: NOW - timedelta(hours=hours) for hours, name in enumerate(names)}
    report = explain_health(facts, HealthMoments(**moments))

    assert report.word is assess_health(facts)
    assert report.reason.endswith(".")
    assert report.what_to_do
    expected = {
        "paused": {moments["paused_at"]},
        "down": {moments["breaker_opened_at" if facts.is_breaker_open else "token_refused_at"]},
        "degraded": {moments["failing_since"], None},
        "stale": {moments["stale_since"]},
    }
    assert report.since in expected.get(report.word, {None})
