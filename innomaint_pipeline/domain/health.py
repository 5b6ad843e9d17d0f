"""How the sync of a source is doing, in one vocabulary for all of them.

Belongs here: the words, and which of them is the most urgent. What a source's health is judged by, and the
reason in words, is that source's own (`domain.innomaint.health`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Health(StrEnum):
    """One word for the state of a sync; `NOT_SET` where its source is not configured."""

    NOT_SET = "not_set"
    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    STALE = "stale"
    DEGRADED = "degraded"
    PAUSED = "paused"
    DOWN = "down"


_URGENCY = (Health.HEALTHY, Health.UNKNOWN, Health.PAUSED, Health.STALE, Health.DEGRADED, Health.DOWN)


def most_urgent(words: Iterable[Health]) -> Health:
    """Return the word for several sources together; unknown where none is set.

    A person's pause of one source must not hide another's trouble, and one that is not set says nothing.
    """
    known = [word for word in words if word is not Health.NOT_SET]
    return max(known, key=_URGENCY.index, default=Health.UNKNOWN)


@dataclass(frozen=True)
class HealthReport:
    """Health for people: the word, since when (None: not known, or no trouble), why, and what to do."""

    word: Health
    since: datetime | None
    reason: str
    what_to_do: str
