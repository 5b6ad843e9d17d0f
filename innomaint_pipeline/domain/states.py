"""The states of a CMMS asset, its error classes, their words for people, and when it is due again.

Belongs here: names and arithmetic. When a state changes is decided in `sync`; where it is kept, in `store`.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum


class SyncState(StrEnum):
    """What is known of a CMMS asset; exactly one at any moment."""

    NEVER = "never"
    SYNCED = "synced"
    FAILED = "failed"


class ErrorClass(StrEnum):
    """Why a CMMS asset failed. A refused token is no asset's class: it stops the sync."""

    TRANSIENT = "transient"
    RATE_LIMITED = "rate_limited"
    NOT_FOUND = "not_found"
    CONTRACT = "contract"
    DATA = "data"
    INTERNAL = "internal"


RETRYABLE_CLASSES = frozenset({ErrorClass.TRANSIENT, ErrorClass.RATE_LIMITED, ErrorClass.INTERNAL})

WHAT_TO_DO = {
    ErrorClass.TRANSIENT: "nothing: it is asked again by itself; if it stays, Innomaint is having trouble",
    ErrorClass.RATE_LIMITED: "nothing: it is asked again by itself; if it stays, raise INNOMAINT_RATE_MS",
    ErrorClass.NOT_FOUND: "correct the asset id in the workbook, or create the asset in Innomaint",
    ErrorClass.CONTRACT: "look at the asset in Innomaint: it answers with another asset or without data",
    ErrorClass.DATA: "look at the message: Innomaint refuses the asset id, or the database refuses a value",
    ErrorClass.INTERNAL: "report it: this is a fault of the program; the asset is asked again by itself",
}

CLASS_WORDS = {
    ErrorClass.TRANSIENT: "without a usable answer",
    ErrorClass.RATE_LIMITED: "refused by the rate limit (429)",
    ErrorClass.NOT_FOUND: "not found in Innomaint",
    ErrorClass.CONTRACT: "with a wrong or empty answer",
    ErrorClass.DATA: "refused for a value",
    ErrorClass.INTERNAL: "stopped by a fault of this program",
}
"""The one title of each class: alone, and behind a number."""

_FIRST_RETRY = timedelta(minutes=2)
_LONGEST_RETRY = timedelta(hours=4)
_FIXED_DELAYS = {
    ErrorClass.NOT_FOUND: timedelta(days=7),
    ErrorClass.CONTRACT: timedelta(days=1),
    ErrorClass.DATA: timedelta(days=1),
}


def title_of_failures(error_class: ErrorClass, count: int) -> str:
    """Return a group of failures as people say it: 38 not found in Innomaint."""
    return f"{count} {CLASS_WORDS[error_class]}"


def retry_delay(error_class: ErrorClass, consecutive_failures: int) -> timedelta:
    """Return how long after its n-th consecutive failure (n from 1) a CMMS asset is due again.

    Retryable classes start at two minutes and double up to four hours; the others wait a day or a week.
    """
    if error_class in _FIXED_DELAYS:
        return _FIXED_DELAYS[error_class]
    doublings = min(max(consecutive_failures, 1) - 1, 16)
    return min(_FIRST_RETRY * 2**doublings, _LONGEST_RETRY)
