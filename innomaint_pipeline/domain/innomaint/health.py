"""What Innomaint's health is judged by, its reason in words, and what people are told about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from innomaint_pipeline.domain.alerts import Condition
from innomaint_pipeline.domain.health import Health, HealthReport
from innomaint_pipeline.domain.innomaint.stops import WHAT_HELPS, Stop, StopCause

FAILED_BATCHES_IN_A_ROW = 3
FAILED_SHARE = 0.1
STALE_AFTER_REFRESHES = 2
_SHOWN_HELD_BACK = 5


@dataclass(frozen=True)
class HealthFacts:
    """What health is judged by, and explained with.

    `oldest_success_seconds` is the age of the oldest good data, or None; `last_stop` is why the newest batch
    run failed, None where it did not; `probe_in_seconds` is None while the breaker is closed. Within
    `next_look_seconds` continuous sync looks for work; None where `innomaint up` does not run. `held_back`
    are CMMS assets whose states the database refuses, each with its reason. `is_under_way` tells that a run
    holds a batch. `has_no_worker` tells that runs were launched which nobody began.
    """

    total: int
    synced: int
    failed: int
    oldest_success_seconds: float | None
    refresh_minutes: int
    consecutive_failures: int
    is_breaker_open: bool
    is_paused: bool
    is_token_refused: bool = False
    last_stop: Stop | None = None
    probe_in_seconds: float | None = None
    next_look_seconds: int | None = None
    has_no_worker: bool = False
    held_back: tuple[tuple[str, str], ...] = ()
    is_set: bool = True
    is_under_way: bool = False


def assess_health(facts: HealthFacts) -> Health:  # noqa: PLR0911 # a word a line
    """Return the first word that applies; a pause before all, because nothing is asked for while it lasts.

    What is not configured has no state of its own.
    """
    if not facts.is_set:
        return Health.NOT_SET
    if facts.is_paused:
        return Health.PAUSED
    if facts.is_breaker_open or facts.is_token_refused:
        return Health.DOWN
    if facts.has_no_worker:
        return Health.DEGRADED
    if facts.synced + facts.failed == 0:
        return Health.UNKNOWN
    if facts.consecutive_failures >= FAILED_BATCHES_IN_A_ROW or facts.failed > FAILED_SHARE * facts.total:
        return Health.DEGRADED
    limit_seconds = STALE_AFTER_REFRESHES * facts.refresh_minutes * 60
    if facts.oldest_success_seconds is not None and facts.oldest_success_seconds > limit_seconds:
        return Health.STALE
    return Health.HEALTHY


@dataclass(frozen=True)
class HealthMoments:
    """Since when each condition holds, as far as the tables tell."""

    paused_at: datetime | None = None
    breaker_opened_at: datetime | None = None
    token_refused_at: datetime | None = None
    failing_since: datetime | None = None
    no_worker_since: datetime | None = None
    stale_since: datetime | None = None


_NOTHING = "nothing"
_NO_WORKER = "No worker takes runs: those that are launched are not begun"
_START_A_WORKER = "start innomaint worker, or see that it reaches the broker; the work then goes on by itself"


def explain_health(  # noqa: PLR0911 # a word a line
    facts: HealthFacts, moments: HealthMoments
) -> HealthReport:
    """Return the word of `assess_health` with its reason."""
    word = assess_health(facts)
    if word is Health.NOT_SET:
        return HealthReport(
            word, None, "Innomaint is not set: INNOMAINT_API_TOKEN is missing, and Maximo is read.", _NOTHING
        )
    if word is Health.PAUSED:
        return HealthReport(
            word,
            moments.paused_at,
            "A person has paused continuous sync.",
            "resume it when it should go on (innomaint resume); what a person asks for is done meanwhile",
        )
    if word is Health.DOWN:
        return _explain_down(facts, moments)
    if word is Health.UNKNOWN:
        return _explain_unknown(facts, moments)
    if word is Health.DEGRADED:
        return _explain_degraded(facts, moments)
    if word is Health.STALE:
        return HealthReport(
            word,
            moments.stale_since,
            "The oldest good data are older than two refresh intervals.",
            "see that innomaint up runs; raise the refresh interval if the rate does not suffice",
        )
    return _explain_healthy(facts)


def _explain_unknown(facts: HealthFacts, moments: HealthMoments) -> HealthReport:
    word = Health.UNKNOWN
    if facts.total == 0:
        return HealthReport(word, None, "No CMMS asset is imported yet.", "import the asset master")
    if facts.last_stop is not None:
        reason = f"Nothing was asked for yet. {_last_failure(facts)}"
        return HealthReport(word, moments.failing_since, reason, facts.last_stop.what_to_do)
    if facts.is_under_way:
        return HealthReport(word, None, "The first sync is under way.", _NOTHING)
    if facts.next_look_seconds is None:
        return HealthReport(word, None, "Nothing was asked for yet.", "start innomaint up, or sync")
    reason = f"Nothing was asked for yet; the first sync begins within {facts.next_look_seconds} s."
    return HealthReport(word, None, reason, _NOTHING)


def _explain_healthy(facts: HealthFacts) -> HealthReport:
    never = facts.total - facts.synced - facts.failed
    counts = ((facts.failed, "failed"), (never, "not synced yet"))
    lacking = [f"{count} {'is' if count == 1 else 'are'} {words}" for count, words in counts if count]
    reason = (
        f"The data are fresh; of {facts.total} CMMS assets {' and '.join(lacking)}."
        if lacking
        else "The data are fresh and all CMMS assets are synced."
    )
    if facts.last_stop is None:
        return HealthReport(Health.HEALTHY, None, reason, _NOTHING)
    return HealthReport(Health.HEALTHY, None, f"{reason} {_last_failure(facts)}", facts.last_stop.what_to_do)


def _last_failure(facts: HealthFacts) -> str:
    """Return that the newest batch runs failed, and why, as a sentence."""
    count = facts.consecutive_failures
    runs = "The last batch run failed" if count == 1 else f"The last {count} batch runs failed"
    return f"{runs}: {_sentence(facts.last_stop.reason)}" if facts.last_stop else f"{runs}."


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _explain_degraded(facts: HealthFacts, moments: HealthMoments) -> HealthReport:
    if facts.has_no_worker:
        return HealthReport(Health.DEGRADED, moments.no_worker_since, f"{_NO_WORKER}.", _START_A_WORKER)
    if facts.consecutive_failures >= FAILED_BATCHES_IN_A_ROW:
        return HealthReport(
            Health.DEGRADED,
            moments.failing_since,
            _last_failure(facts),
            facts.last_stop.what_to_do if facts.last_stop else "look at the log of the last run in Dagster",
        )
    return HealthReport(
        Health.DEGRADED,
        None,
        f"{facts.failed} of {facts.total} CMMS assets are failed, more than {FAILED_SHARE:.0%}.",
        "look at the groups of failures, the largest first",
    )


def _explain_down(facts: HealthFacts, moments: HealthMoments) -> HealthReport:
    if facts.is_breaker_open:
        return HealthReport(
            Health.DOWN,
            moments.breaker_opened_at,
            f"Innomaint does not answer: nothing is sent but a probe now and then{_next_probe(facts)}.",
            WHAT_HELPS[StopCause.BREAKER],
        )
    return HealthReport(
        Health.DOWN,
        moments.token_refused_at,
        "Innomaint refuses the token (401 or 403); no CMMS asset was marked as failed.",
        WHAT_HELPS[StopCause.TOKEN],
    )


def _next_probe(facts: HealthFacts) -> str:
    if facts.probe_in_seconds is None:
        return ""
    return f", the next in {facts.probe_in_seconds:.0f} s" if facts.probe_in_seconds > 0 else ", the next now"


def find_conditions(facts: HealthFacts, report: HealthReport, *, refused_at: str | None) -> list[Condition]:
    """Return what people are told about Innomaint, good or bad; `refused_at` is when it refused the token."""
    is_fine = report.word in {Health.HEALTHY, Health.UNKNOWN, Health.NOT_SET}
    is_failing = facts.is_set and facts.consecutive_failures >= FAILED_BATCHES_IN_A_ROW
    return [
        Condition(
            "health",
            None if is_fine else report.word,
            f"Health is {report.word}"
            + (
                "."
                if is_fine
                else f": {report.reason} What to do: {report.what_to_do}. See innomaint status."
            ),
        ),
        Condition(
            "failed_runs",
            "failing" if is_failing else None,
            f"{facts.consecutive_failures} batch runs in a row failed. {_why_failing(facts)}"
            if is_failing
            else "Batch runs succeed again.",
        ),
        Condition(
            "workers",
            "absent" if facts.has_no_worker else None,
            f"{_NO_WORKER}. What to do: {_START_A_WORKER}."
            if facts.has_no_worker
            else "Workers take runs again.",
        ),
        Condition(
            "token",
            "refused" if refused_at and facts.is_set else None,
            f"Innomaint refused the token at {refused_at}: renew INNOMAINT_API_TOKEN and start again. "
            "No asset was marked as failed."
            if refused_at and facts.is_set
            else "Innomaint accepts the token.",
        ),
        Condition(
            "states",
            "refused" if facts.held_back else None,
            _describe_held_back(facts.held_back)
            if facts.held_back
            else "The database notes every state again.",
        ),
    ]


def _describe_held_back(held: Sequence[tuple[str, str]]) -> str:
    shown = "; ".join(f"{name!r}: {reason}" for name, reason in held[:_SHOWN_HELD_BACK])
    more = f" and {len(held) - _SHOWN_HELD_BACK} more" if len(held) > _SHOWN_HELD_BACK else ""
    return (
        f"The database refuses to note what became of {len(held)} CMMS assets ({shown}{more}): they are "
        "asked for ever more rarely. Correct the constraint, trigger or policy of innomaint_sync_state."
    )


def _why_failing(facts: HealthFacts) -> str:
    if facts.last_stop is None:
        return "See innomaint status and Dagster's run log."
    return f"The last: {_sentence(facts.last_stop.reason)} What to do: {facts.last_stop.what_to_do}."
