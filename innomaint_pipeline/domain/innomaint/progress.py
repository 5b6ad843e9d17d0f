"""How far a sync is and how long it will take, as arithmetic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise

ROUND = "round"
"""The stored setting that tells since when continuous sync has something to do; absent while it has not."""

OUTCOMES_AT_MOST = 300
"""So many of the newest outcomes tell the pace: at five a second those of the last minute."""

_PAUSE_BETWEEN_BATCHES = timedelta(seconds=90)
# What no rate tells, measured: from a launch to its first request, and the end of a run, 1 to 3 s.
_LAUNCH_SECONDS = 4.0
_END_SECONDS = 2.0
# Fewer outcomes tell no pace, and where none came for so long nothing was worked on.
_ENOUGH_OUTCOMES = 10
_LONGEST_GAP_SECONDS = 5.0
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


@dataclass(frozen=True)
class Rates:
    """How fast requests may start and do, a second; 0 where there is no limit, or none is known.

    `running_seconds` is how long requests have been sent, `stopped_seconds` how long the source has told
    everybody to wait still.
    """

    allowed: float = 0.0
    measured: float = 0.0
    running_seconds: float = 0.0
    stopped_seconds: float = 0.0


@dataclass(frozen=True)
class SecondPass:
    """What a batch under way asks for once more: the CMMS assets that failed, which may fail alike again.

    `requests` are those still to come, `longest_seconds` is how long one of them was asked, waits included.
    """

    requests: float
    longest_seconds: float


@dataclass(frozen=True)
class LastLaunch:
    """The last launch that is still to come: after how long, and of how many CMMS assets."""

    in_seconds: float
    assets: int


def measure_pace(outcomes: Sequence[datetime], *, now: datetime) -> float | None:
    """Return how many CMMS assets a second had an outcome while any had, None where too few are given.

    It has in it what repeated requests, second passes, and the beginnings and ends of runs cost.
    """
    # Outcomes are stored many at a time, so that the first ones tell nothing of how long they took.
    counts = Counter(moment for moment in outcomes if moment <= now)
    worked, counted = 0.0, 0
    for earlier, later in pairwise(sorted(counts)):
        gap = (later - earlier).total_seconds()
        if gap <= _LONGEST_GAP_SECONDS:
            worked, counted = worked + gap, counted + counts[later]
    return counted / worked if counted >= _ENOUGH_OUTCOMES else None


def estimate_time_left(
    sync: SyncUnderWay,
    rates: Rates,
    *,
    pace: float | None = None,
    last_launch: LastLaunch | None = None,
    second_passes: Sequence[SecondPass] = (),
) -> TimeLeft | None:
    """Return how long the rest of a sync takes; None when no rate is known.

    What is left at the pace of the newest outcomes, but not before the last launch and what it launches; then
    the stop that the source asks for, the longest second pass of the batches under way, and the end of a run.
    """
    rate = _outcomes_per_second(sync, rates, pace)
    if rate is None:
        return None
    seconds = max(sync.total - sync.done, 0) / rate
    if last_launch is not None:
        seconds = max(seconds, last_launch.in_seconds + _LAUNCH_SECONDS + last_launch.assets / rate)
    seconds += rates.stopped_seconds + _END_SECONDS
    again = (max(one.requests / (rates.allowed or rate), one.longest_seconds) for one in second_passes)
    seconds += max(again, default=0.0)
    return TimeLeft(round(seconds), round(seconds * _LOW), round(seconds * _HIGH))


def _outcomes_per_second(sync: SyncUnderWay, rates: Rates, pace: float | None) -> float | None:
    """Return the pace, never above what is allowed; while it is not known yet, the rate of the requests."""
    known = pace
    if known is None and sync.done:
        # Before the first outcome what was measured is the fading end of an earlier sync.
        filled = min(max(rates.running_seconds, 1.0), _MEASURED_OVER_SECONDS) / _MEASURED_OVER_SECONDS
        known = rates.measured / filled
    return min((rate for rate in (rates.allowed, known or 0.0) if rate > _SLOWEST_PER_SECOND), default=None)


@dataclass(frozen=True)
class EndedRun:
    """When the newest batch run has ended, and whether it failed as a whole or was cancelled."""

    ended_at: datetime
    is_stopped: bool = False


def is_between_batches(newest: EndedRun | None, *, now: datetime) -> bool:
    """Tell whether work that is due goes on soon, though no run is under way: one has just ended well."""
    return newest is not None and not newest.is_stopped and now - newest.ended_at <= _PAUSE_BETWEEN_BATCHES
