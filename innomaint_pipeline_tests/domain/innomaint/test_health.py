"""What Innomaint's health is judged by, and what people are told about it."""

from dataclasses import replace

import pytest

from innomaint_pipeline.domain.alerts import Condition
from innomaint_pipeline.domain.health import Health
from innomaint_pipeline.domain.innomaint.health import (
    HealthFacts,
    HealthMoments,
    assess_health,
    explain_health,
    find_conditions,
)

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
        ({"has_no_worker": True}, Health.DEGRADED),
        ({"has_no_worker": True, "synced": 0}, Health.DEGRADED),
        ({"has_no_worker": True, "is_breaker_open": True}, Health.DOWN),
        ({"is_paused": True}, Health.PAUSED),
        ({"is_set": False, "is_paused": True, "is_token_refused": True}, Health.NOT_SET),
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


OF_EACH_WORD = {
    Health.HEALTHY: {},
    Health.NOT_SET: {"is_set": False},
    Health.UNKNOWN: {"synced": 0},
    Health.STALE: {"oldest_success_seconds": 10.0 * TWO_DAYS_SECONDS},
    Health.DEGRADED: {"synced": 50, "failed": 50},
    Health.DOWN: {"is_breaker_open": True},
    Health.PAUSED: {"is_paused": True},
}


def conditions(facts: HealthFacts, *, refused_at: str | None = None) -> dict[str, Condition]:
    found = find_conditions(facts, explain_health(facts, HealthMoments()), refused_at=refused_at)
    return {item.name: item for item in found}


def test_each_word_of_health_but_the_good_ones_is_a_condition_with_its_reason_and_advice():
    assert set(OF_EACH_WORD) == set(Health)
    for word, changes in OF_EACH_WORD.items():
        facts = replace(GOOD, **changes)
        report, found = explain_health(facts, HealthMoments()), conditions(facts)["health"]
        is_good = word in {Health.HEALTHY, Health.UNKNOWN, Health.NOT_SET}
        assert report.word is word
        assert found.value == (None if is_good else word)
        assert found.message.startswith(f"Health is {word}")
        assert is_good or (report.reason in found.message and report.what_to_do in found.message)


def test_three_failed_batch_runs_in_a_row_are_a_condition_whatever_health_says():
    for failures, value in ((0, None), (2, None), (3, "failing"), (40, "failing")):
        found = conditions(replace(GOOD, consecutive_failures=failures, is_paused=True))["failed_runs"]
        assert found.value == value
        assert value is None or f"{failures} batch runs in a row" in found.message


def test_a_refused_token_is_a_condition_that_says_what_to_do():
    assert conditions(GOOD)["token"].value is None
    found = conditions(GOOD, refused_at="2026-06-20T10:00:00+00:00")["token"]
    assert found.value == "refused"
    assert "2026-06-20T10:00:00+00:00: renew INNOMAINT_API_TOKEN" in found.message


def test_that_no_worker_takes_runs_is_a_condition_with_what_helps():
    assert conditions(GOOD)["workers"].value is None
    absent = conditions(replace(GOOD, has_no_worker=True))
    assert absent["workers"].value == "absent"
    for name in ("workers", "health"):
        assert "No worker takes runs" in absent[name].message
        assert "start innomaint worker" in absent[name].message


def test_of_a_source_that_is_not_set_nobody_is_told_anything():
    facts = replace(GOOD, is_set=False, consecutive_failures=9, is_token_refused=True)
    report = explain_health(facts, HealthMoments())
    assert "INNOMAINT_API_TOKEN is missing" in report.reason
    assert {item.value for item in find_conditions(facts, report, refused_at="2026-06-20")} == {None}
