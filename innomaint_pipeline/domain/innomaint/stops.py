"""Why a batch run did not end well, in words that people find wherever they look, and what helps.

Belongs here: the causes, their advice, and the reason that a batch's row keeps. The row is `store`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from innomaint_pipeline.domain.states import ErrorClass, title_of_failures
from innomaint_pipeline.errors import (
    AuthError,
    BreakerOpenError,
    ConfigurationError,
    DatabaseError,
    RouteError,
    RunCancelledError,
)

_LONGEST_REASON_CHARACTERS = 1000


class StopCause(StrEnum):
    """What kept a batch run from ending well."""

    SETTINGS = "settings"
    TOKEN = "token"  # noqa: S105 # a word
    ROUTE = "route"
    BREAKER = "breaker"
    DATABASE = "database"
    CANCELLED = "cancelled"
    FAULT = "fault"
    ASSETS = "assets"


WHAT_HELPS = {
    StopCause.SETTINGS: "correct the setting that the reason names, in .env or the environment; start again",
    StopCause.TOKEN: "renew INNOMAINT_API_TOKEN and start again",
    StopCause.ROUTE: "correct the setting that the reason names: INNOMAINT_PROXY_URL or INNOMAINT_CA_FILE",
    StopCause.BREAKER: (
        "nothing: it goes on by itself when Innomaint answers again; if it stays, tell Innomaint"
    ),
    StopCause.DATABASE: "see that the database runs and can be reached; what was stored is kept",
    StopCause.CANCELLED: "nothing: what was stored is kept, and the next sync asks for the rest",
    StopCause.FAULT: "report it: this is a fault of the program; the run's log in Dagster tells where",
    StopCause.ASSETS: "look at the groups of failures, the largest first",
}


_CAUSES = {
    ConfigurationError: StopCause.SETTINGS,
    AuthError: StopCause.TOKEN,
    RouteError: StopCause.ROUTE,
    DatabaseError: StopCause.DATABASE,
}


@dataclass(frozen=True)
class Stop:
    """The cause, and the reason in words: what happened, and when it is tried again where that is known."""

    cause: StopCause
    reason: str

    @property
    def what_to_do(self) -> str:
        """What helps."""
        return WHAT_HELPS[self.cause]


def describe_stop(error: BaseException, *, now: datetime) -> Stop:
    """Return why a run ended early, from the error that ended it, at the moment `now`."""
    if isinstance(error, BreakerOpenError):
        return describe_outage(error.retry_in_seconds, now=now)
    cause = next((cause for kind, cause in _CAUSES.items() if isinstance(error, kind)), None)
    if cause is not None:
        return _stop(cause, str(error))
    if isinstance(error, Exception) and not isinstance(error, RunCancelledError):
        return _stop(StopCause.FAULT, f"a fault of this program stopped the run: {type(error).__name__}")
    # Other interrupts are no exceptions of a program's: Terminate, SIGTERM, Ctrl-C.
    return _stop(
        StopCause.CANCELLED, "the run was ended by a person or with the program; what was stored is kept"
    )


def describe_outage(retry_in_seconds: float, *, now: datetime) -> Stop:
    """Return why nothing is asked for while the breaker is open, and when it is tried again."""
    again = (now + timedelta(seconds=max(retry_in_seconds, 0))).astimezone(UTC)
    return _stop(
        StopCause.BREAKER,
        "Innomaint does not answer: the circuit breaker is open, nothing is sent but a probe now and then; "
        f"the next one may be sent at {again:%H:%M:%S} UTC",
    )


def describe_failures(by_class: Mapping[ErrorClass, int]) -> Stop | None:
    """Return what is left failed of a batch, by its classes; None where nothing is."""
    return _stop(StopCause.ASSETS, describe_classes(by_class)) if by_class else None


def describe_classes(by_class: Mapping[ErrorClass, int]) -> str:
    """Return failures by their classes in words, the most frequent first."""
    ranked = sorted(by_class.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(title_of_failures(name, count) for name, count in ranked)


def _stop(cause: StopCause, reason: str) -> Stop:
    return Stop(cause, reason[:_LONGEST_REASON_CHARACTERS])
