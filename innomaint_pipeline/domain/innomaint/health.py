"""What Innomaint's health is judged by, its reason in words, and what people are told about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from innomaint_pipeline.domain.alerts import Condition
from innomaint_pipeline.domain.health import Health, HealthReport

FAILED_BATCHES_IN_A_ROW = 3
FAILED_SHARE = 0.1
STALE_AFTER_REFRESHES = 2


@dataclass(frozen=True)
class HealthFacts:
    """What health is judged by; `oldest_success_seconds` is the age of the oldest good data, or None.

    Within `next_look_seconds` continuous sync looks for work; None where `innomaint up` does not run.
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
    next_look_seconds: int | None = None


def assess_health(facts: HealthFacts) -> Health:
    """Return the first word that applies; a pause before all, because nothing is asked for while it lasts."""
    if facts.is_paused:
        return Health.PAUSED
    if facts.is_breaker_open or facts.is_token_refused:
        return Health.DOWN
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
    stale_since: datetime | None = None


_NOTHING = "nothing"


def explain_health(facts: HealthFacts, moments: HealthMoments) -> HealthReport:
    """Return the word of `assess_health` with its reason."""
    word = assess_health(facts)
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
        return _explain_unknown(facts)
    if word is Health.DEGRADED:
        return _explain_degraded(facts, moments)
    if word is Health.STALE:
        return HealthReport(
            word,
            moments.stale_since,
            "The oldest good data are older than two refresh intervals.",
            "see that innomaint up runs; raise the refresh interval if the rate does not suffice",
        )
    return HealthReport(word, None, "The data are fresh and nearly all CMMS assets are synced.", _NOTHING)


def _explain_unknown(facts: HealthFacts) -> HealthReport:
    if facts.total == 0:
        return HealthReport(Health.UNKNOWN, None, "No CMMS asset is imported yet.", "import the asset master")
    if facts.next_look_seconds is None:
        return HealthReport(Health.UNKNOWN, None, "Nothing was asked for yet.", "start innomaint up, or sync")
    reason = f"Nothing was asked for yet; the first sync begins within {facts.next_look_seconds} s."
    return HealthReport(Health.UNKNOWN, None, reason, _NOTHING)


def _explain_degraded(facts: HealthFacts, moments: HealthMoments) -> HealthReport:
    if facts.consecutive_failures >= FAILED_BATCHES_IN_A_ROW:
        return HealthReport(
            Health.DEGRADED,
            moments.failing_since,
            f"The last {facts.consecutive_failures} batch runs failed.",
            "look at the failures and their messages",
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
            "Innomaint does not answer: nothing is sent but a probe now and then.",
            "nothing: it goes on by itself when Innomaint answers again; if it stays, tell Innomaint",
        )
    return HealthReport(
        Health.DOWN,
        moments.token_refused_at,
        "Innomaint refuses the token (401 or 403); no CMMS asset was marked as failed.",
        "renew INNOMAINT_API_TOKEN and start again",
    )


def find_conditions(facts: HealthFacts, report: HealthReport, *, refused_at: str | None) -> list[Condition]:
    """Return what people are told about Innomaint, good or bad; `refused_at` is when it refused the token."""
    is_fine = report.word in {Health.HEALTHY, Health.UNKNOWN}
    is_failing = facts.consecutive_failures >= FAILED_BATCHES_IN_A_ROW
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
            f"{facts.consecutive_failures} batch runs in a row failed. See innomaint status and Dagster's "
            "run log."
            if is_failing
            else "Batch runs succeed again.",
        ),
        Condition(
            "token",
            "refused" if refused_at else None,
            f"Innomaint refused the token at {refused_at}: renew INNOMAINT_API_TOKEN and start again. "
            "No asset was marked as failed."
            if refused_at
            else "Innomaint accepts the token.",
        ),
    ]
