"""When the next run is due, how the source is doing, and what people are told: once for each transition."""

from datetime import UTC, datetime, timedelta

import pytest

from innomaint_pipeline.domain.alerts import NoticeKind, Told, decide_notices
from innomaint_pipeline.domain.customers.runs import (
    WORKER_LOST,
    Outcome,
    RunSeen,
    SourceFacts,
    Trigger,
    judge_health,
    list_conditions,
    next_due,
)
from innomaint_pipeline.domain.health import Health

NOW = datetime(2026, 6, 20, 10, tzinfo=UTC)
HALF_HOUR = timedelta(minutes=30)
C, U, R, F, S, X = (
    *(Outcome.CHANGED, Outcome.UNCHANGED, Outcome.REJECTED),
    *(Outcome.FAILED, Outcome.SKIPPED, Outcome.CANCELLED),
)


def seen(*outcomes: Outcome, minutes_apart: int = 30) -> list[RunSeen]:
    """Return runs that ended so, newest first, each a minute long; the newest began a minute ago."""
    runs = []
    for number, outcome in enumerate(outcomes):
        began = NOW - timedelta(minutes=1 + number * minutes_apart)
        runs.append(
            RunSeen(f"run-{len(outcomes) - number}", began, began + timedelta(minutes=1), outcome, "x", "why")
        )
    return runs


def facts(*outcomes: Outcome, hours: float | None = 0.5, **options) -> SourceFacts:
    accepted_at = None if hours is None else NOW - timedelta(hours=hours)
    given = {"is_paused": False, "awake_since": NOW - timedelta(days=1), **options}
    return SourceFacts(
        runs=seen(*outcomes), accepted_at=accepted_at, interval=HALF_HOUR, judged_at=NOW, **given
    )


@pytest.mark.parametrize(
    ("found", "word"),
    [
        (facts(hours=None), Health.UNKNOWN),
        (facts(C), Health.HEALTHY),
        (facts(S, S, C, hours=1.4), Health.HEALTHY),
        (facts(S, S, C, hours=1.6), Health.STALE),
        (facts(F, F, C), Health.HEALTHY),
        (facts(F, F, F), Health.DEGRADED),
        (facts(F, X, F, F), Health.DEGRADED),
        # A run that looked and found nothing has not failed.
        (facts(S, F, F, F), Health.HEALTHY),
        (facts(F, F, F, hours=2), Health.DOWN),
        (facts(F, F, F, hours=None), Health.DOWN),
        (facts(R, C), Health.DEGRADED),
        (facts(S, R, C), Health.DEGRADED),
        (facts(C, R), Health.HEALTHY),
        # The first list, refused: there is still nothing to judge.
        (facts(R, hours=None), Health.UNKNOWN),
        (facts(F, F, F, hours=9, is_paused=True), Health.PAUSED),
    ],
)
def test_the_first_word_that_applies_counts(found: SourceFacts, word: Health):
    assert judge_health(found) is word


def test_a_released_list_is_no_rejection_any_more_and_another_one_stays_one():
    rejected = RunSeen("r", NOW, NOW, R, sha256="a")
    for sha, word in (("a", Health.HEALTHY), ("b", Health.DEGRADED)):
        release = RunSeen("x", NOW, NOW, C, trigger=Trigger.RELEASE, sha256=sha)
        given = SourceFacts(
            is_paused=False, runs=[release, rejected], accepted_at=NOW, interval=HALF_HOUR, judged_at=NOW
        )
        assert judge_health(given) is word


def test_the_next_run_is_due_an_interval_after_the_last_start():
    assert next_due([], HALF_HOUR, NOW) == NOW
    assert next_due(seen(S), HALF_HOUR, NOW) == NOW + timedelta(minutes=29)
    ahead = RunSeen("a", NOW + timedelta(hours=1), None, S)
    assert next_due([ahead], HALF_HOUR, NOW) == NOW
    lost = [RunSeen(str(n), NOW, NOW, F, WORKER_LOST) for n in range(3)]
    assert next_due([lost[0], *seen(C, minutes_apart=1)[:1]], HALF_HOUR, NOW) == NOW + timedelta(minutes=29)
    assert next_due([RunSeen("open", NOW, None, None)], HALF_HOUR, NOW) == NOW
    # What kills three runs in a row is not begun each minute.
    assert next_due(lost, HALF_HOUR, NOW) == NOW + HALF_HOUR


def told(*states: SourceFacts) -> list[tuple[str, str]]:
    """Return the notices of states that follow each other."""
    known: dict[str, Told] = {}
    found = []
    for state in states:
        for notice in decide_notices(list_conditions(state), known, NOW):
            found.append((notice.name, str(notice.kind)))
            known[notice.name] = Told(notice.value, NOW)
    return found


def test_people_are_told_once_for_each_transition_and_of_the_recovery():
    raised, recovered = str(NoticeKind.RAISED), str(NoticeKind.RECOVERED)
    # Stale first, then three failures: one alert.
    assert told(facts(C), facts(S, hours=2), facts(F, F, F, hours=2), facts(C)) == [
        ("customers_sync", raised),
        ("customers_sync", recovered),
    ]
    assert told(facts(R), facts(S, R), facts(C)) == [
        ("customers_rejected", raised),
        ("customers_rejected", recovered),
    ]
    assert told(facts(C, held=20, held_sha256="a"), facts(C)) == [
        ("customers_held", raised),
        ("customers_held", recovered),
    ]
    assert told(facts(F, F, F, hours=9, is_paused=True)) == []


def test_after_a_sleep_staleness_is_told_only_once_a_run_has_ended():
    asleep = facts(S, hours=9, awake_since=NOW)
    assert judge_health(asleep) is Health.STALE
    assert told(asleep) == []
    assert told(facts(S, hours=9, awake_since=NOW - timedelta(seconds=30))) == [("customers_sync", "raised")]
    assert told(facts(S, hours=9, awake_since=None)) == []
