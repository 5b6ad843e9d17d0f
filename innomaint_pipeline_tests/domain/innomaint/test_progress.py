"""How far a sync is and how long it takes: time left as a range, and which runs belong together."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from innomaint_pipeline.domain.innomaint.batches import BatchState, batch_state
from innomaint_pipeline.domain.innomaint.health import (
    HealthFacts,
    HealthMoments,
    assess_health,
    explain_health,
)
from innomaint_pipeline.domain.innomaint.progress import EndedRun, TimeLeft, estimate_time_left, find_wave

NOW = datetime(2026, 6, 20, 10, tzinfo=UTC)


def ended(seconds_ago: int, duration_seconds: int, asked: int) -> EndedRun:
    return EndedRun(NOW - timedelta(seconds=seconds_ago), duration_seconds * 1000, asked)


def test_the_time_left_is_a_range_between_the_allowed_and_the_measured_rate() -> None:
    assert estimate_time_left(100, allowed_per_second=5, measured_per_second=4) == TimeLeft(20, 61)
    assert estimate_time_left(100, allowed_per_second=5, measured_per_second=0) == TimeLeft(20, 55)
    assert estimate_time_left(100, allowed_per_second=0, measured_per_second=0) is None
    assert estimate_time_left(0, allowed_per_second=5, measured_per_second=5) is None


@given(st.integers(1, 10**6), st.floats(0, 1000), st.floats(0.01, 1000))
def test_the_range_is_never_upside_down(due: int, allowed: float, measured: float) -> None:
    left = estimate_time_left(due, allowed_per_second=allowed, measured_per_second=measured)
    assert left is not None
    assert 0 <= left.low_seconds <= left.high_seconds


def test_runs_that_follow_each_other_are_one_wave_and_older_ones_are_not() -> None:
    began = NOW - timedelta(seconds=10)
    wave = find_wave(began, [ended(15, 20, 100), ended(60, 30, 90), ended(600, 30, 80)])

    assert (wave.since, wave.asked) == (NOW - timedelta(seconds=90), 190)
    alone = find_wave(began, [ended(600, 30, 80)])
    assert (alone.since, alone.asked) == (began, 0)


def test_the_state_of_a_batch_is_the_first_that_applies() -> None:
    def state(**changes: object) -> BatchState:
        counts = {
            "is_leased": False,
            "retryable": 0,
            "failed": 0,
            "synced": 9,
            "never": 0,
            "last_status": None,
        }
        return batch_state(**{**counts, **changes})  # pyright: ignore[reportArgumentType]

    assert state() is BatchState.COMPLETE
    assert state(is_leased=True, retryable=1) is BatchState.RUNNING
    assert state(retryable=1, failed=1) is BatchState.FAILED
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
