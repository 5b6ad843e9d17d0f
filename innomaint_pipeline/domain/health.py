"""How the sync is doing, from persisted facts (spec 04, JSON of `status`)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

FAILED_BATCHES_IN_A_ROW = 3
FAILED_SHARE = 0.1
STALE_AFTER_REFRESHES = 2


class Health(StrEnum):
    """One word for the state of the whole sync."""

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    STALE = "stale"
    DEGRADED = "degraded"
    PAUSED = "paused"
    DOWN = "down"


@dataclass(frozen=True)
class HealthFacts:
    """What health is judged by; `oldest_success_seconds` is the age of the oldest good data, or None."""

    total: int
    synced: int
    failed: int
    oldest_success_seconds: float | None
    refresh_minutes: int
    consecutive_failures: int
    is_breaker_open: bool
    is_paused: bool
    is_token_refused: bool = False


def assess_health(facts: HealthFacts) -> Health:
    """Return the most urgent word that applies."""
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


@dataclass(frozen=True)
class HealthReport:
    """Health for people: the word, since when (None: not known, or no trouble), why, and what to do."""

    word: Health
    since: datetime | None
    reason: str
    what_to_do: str


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
        reason = "No CMMS asset is imported yet." if facts.total == 0 else "Nothing was asked for yet."
        advice = "import the asset master" if facts.total == 0 else "start innomaint up, or sync"
        return HealthReport(word, None, reason, advice)
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
