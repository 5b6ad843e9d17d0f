"""How far a sync is and how long it will take, as arithmetic."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

_PAUSE_BETWEEN_BATCHES = timedelta(seconds=90)
# The last batch's slow answers and second pass, which no rate tells.
_TAIL_SECONDS = 30
_SLOWER = 1.25
_SLOWEST_PER_SECOND = 0.001


@dataclass(frozen=True)
class TimeLeft:
    """The time to finish, as a range in seconds."""

    low_seconds: int
    high_seconds: int


def estimate_time_left(due: int, *, allowed_per_second: float, measured_per_second: float) -> TimeLeft | None:
    """Return how long so many CMMS assets take: at best at the allowed rate, at worst slower than measured.

    A rate near 0 is not known; None when neither is.
    """
    if due <= 0:
        return None
    known = [rate for rate in (allowed_per_second, measured_per_second) if rate > _SLOWEST_PER_SECOND]
    if not known:
        return None
    return TimeLeft(round(due / max(known)), round(due / min(known) * _SLOWER) + _TAIL_SECONDS)


@dataclass(frozen=True)
class EndedRun:
    """A batch run that has ended: when, after how long, and how many CMMS assets it asked for.

    `is_stopped` tells of one that failed as a whole or was cancelled.
    """

    ended_at: datetime
    duration_ms: int
    asked: int
    is_stopped: bool = False


@dataclass(frozen=True)
class Wave:
    """Batch runs that follow each other without a longer pause, from the first to those under way."""

    since: datetime
    asked: int


def is_between_batches(newest: EndedRun | None, *, now: datetime) -> bool:
    """Tell whether work that is due goes on soon, though no run is under way: one has just ended well."""
    return newest is not None and not newest.is_stopped and now - newest.ended_at <= _PAUSE_BETWEEN_BATCHES


def find_wave(began_at: datetime, newest_first: Iterable[EndedRun]) -> Wave:
    """Return the wave that the runs under way, begun at `began_at` at the earliest, belong to."""
    since, asked = began_at, 0
    for run in newest_first:
        if run.ended_at < since - _PAUSE_BETWEEN_BATCHES:
            break
        since = min(since, run.ended_at - timedelta(milliseconds=run.duration_ms))
        asked += run.asked
    return Wave(since, asked)
