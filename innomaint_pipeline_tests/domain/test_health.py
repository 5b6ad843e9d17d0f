from dataclasses import replace

import pytest

from innomaint_pipeline.domain.health import Health, HealthFacts, assess_health

GOOD = HealthFacts(
    total=100,
    synced=100,
    failed=0,
    oldest_success_seconds=3600.0,
    refresh_minutes=1440,
    consecutive_failures=0,
    is_breaker_open=False,
    is_paused=False,
)
TWO_DAYS_SECONDS = 2 * 1440 * 60


@pytest.mark.parametrize(
    ("changes", "health"),
    [
        ({}, Health.HEALTHY),
        ({"synced": 50}, Health.HEALTHY),
        ({"synced": 90, "failed": 10}, Health.HEALTHY),
        ({"synced": 89, "failed": 11}, Health.DEGRADED),
        ({"consecutive_failures": 2}, Health.HEALTHY),
        ({"consecutive_failures": 3}, Health.DEGRADED),
        ({"oldest_success_seconds": TWO_DAYS_SECONDS}, Health.HEALTHY),
        ({"oldest_success_seconds": TWO_DAYS_SECONDS + 1}, Health.STALE),
        ({"oldest_success_seconds": 601.0, "refresh_minutes": 5}, Health.STALE),
        ({"synced": 0, "failed": 5, "oldest_success_seconds": None}, Health.HEALTHY),
        ({"synced": 0, "oldest_success_seconds": None}, Health.UNKNOWN),
        ({"total": 0, "synced": 0, "oldest_success_seconds": None}, Health.UNKNOWN),
        ({"is_breaker_open": True}, Health.DOWN),
        ({"is_token_refused": True}, Health.DOWN),
        ({"is_token_refused": True, "is_paused": True}, Health.PAUSED),
        ({"is_paused": True}, Health.PAUSED),
    ],
)
def test_each_fact_gives_its_word(changes, health):
    assert assess_health(replace(GOOD, **changes)) is health


def test_the_most_urgent_word_wins():
    worst = replace(
        GOOD,
        synced=50,
        failed=50,
        consecutive_failures=9,
        oldest_success_seconds=10.0 * TWO_DAYS_SECONDS,
        is_breaker_open=True,
        is_paused=True,
    )
    assert assess_health(worst) is Health.PAUSED
    assert assess_health(replace(worst, is_paused=False)) is Health.DOWN
    assert assess_health(replace(worst, is_paused=False, is_breaker_open=False)) is Health.DEGRADED
    stale = replace(worst, is_paused=False, is_breaker_open=False, failed=0, consecutive_failures=0)
    assert assess_health(stale) is Health.STALE
    assert assess_health(replace(worst, is_paused=False, synced=0, failed=0)) is Health.DOWN


def test_an_error_alone_is_no_data_and_not_yet_stale():
    assert assess_health(replace(GOOD, synced=0, failed=1, oldest_success_seconds=None)) is Health.HEALTHY
