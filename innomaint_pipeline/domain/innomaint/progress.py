"""How far a sync is and how long it will take, as arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

ROUND = "round"
"""The stored setting that tells since when continuous sync has something to do; absent while it has not."""

_PAUSE_BETWEEN_BATCHES = timedelta(seconds=90)
# The second pass over what failed, and the end of the last batch's run, which no rate tells; 1 to 3 s were
# measured where nothing failed.
_TAIL_SECONDS = 2
# The shared clock measures over so long; a younger sync has not filled it yet.
_MEASURED_OVER_SECONDS = 10.0
_SLOWEST_PER_SECOND = 0.001
_LOW, _HIGH = 0.85, 1.25


class BatchProgress(StrEnum):
    """Whether a batch that a run holds is asked for already."""

    WAITING = "waiting"
    RUNNING = "running"


@dataclass(frozen=True)
class SyncUnderWay:
    """A sync of a selection: since when, how many CMMS assets, and of how many the outcome is known."""

    since: datetime
    total: int
    done: int


@dataclass(frozen=True)
class TimeLeft:
    """The time to finish, as a range in seconds around the estimate."""

    seconds: int
    low_seconds: int
    high_seconds: int


def combine_syncs(syncs: Sequence[SyncUnderWay], *, assets: int) -> SyncUnderWay | None:
    """Return syncs of one moment as one, which has never more CMMS assets than there are."""
    if not syncs:
        return None
    total = min(sum(sync.total for sync in syncs), assets)
    done = min(sum(min(sync.done, sync.total) for sync in syncs), total)
    return SyncUnderWay(min(sync.since for sync in syncs), total, done)


def estimate_time_left(
    sync: SyncUnderWay, *, allowed_per_second: float, measured_per_second: float, running_seconds: float
) -> TimeLeft | None:
    """Return how long the rest of a sync takes; None when no rate is known.

    `allowed_per_second` is 0 without a limit; `running_seconds` is how long requests have been sent. Before
    the first outcome is known, what was measured is the fading end of an earlier sync, and does not count.
    """
    filled = min(max(running_seconds, 1.0), _MEASURED_OVER_SECONDS) / _MEASURED_OVER_SECONDS
    measured = measured_per_second / filled if sync.done else 0.0
    rates = [rate for rate in (allowed_per_second, measured) if rate > _SLOWEST_PER_SECOND]
    if not rates:
        return None
    seconds = max(sync.total - sync.done, 0) / min(rates) + _TAIL_SECONDS
    return TimeLeft(round(seconds), round(seconds * _LOW), round(seconds * _HIGH))


@dataclass(frozen=True)
class EndedRun:
    """When the newest batch run has ended, and whether it failed as a whole or was cancelled."""

    ended_at: datetime
    is_stopped: bool = False


def is_between_batches(newest: EndedRun | None, *, now: datetime) -> bool:
    """Tell whether work that is due goes on soon, though no run is under way: one has just ended well."""
    return newest is not None and not newest.is_stopped and now - newest.ended_at <= _PAUSE_BETWEEN_BATCHES
