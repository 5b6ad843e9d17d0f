"""How the sync is doing, from persisted facts (spec 04, JSON of `status`)."""

from __future__ import annotations

from dataclasses import dataclass
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
