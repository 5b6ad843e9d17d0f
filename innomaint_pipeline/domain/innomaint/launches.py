"""Which batches continuous sync launches now, as a pure decision over facts.

Belongs here: the decision and its reason in words. Facts come from `store`; `defs` launches.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from innomaint_pipeline.domain.innomaint.batches import BatchDemand

BATCHES_IN_FLIGHT = 3
TRIAL_AFTER_FAILURES = 3
NO_WORKER = "no worker takes runs"
_FIRST_HOLD_SECONDS = 30.0
_LONGEST_HOLD_SECONDS = 600.0


@dataclass(frozen=True)
class SyncFacts:
    """What the decision needs to know.

    `demands` are batches with due CMMS assets, most urgent first: all of them, or as many as there could be
    room for beside those in flight, and `due_elsewhere` the due CMMS assets of the others. `in_flight` are
    batches with a run queued or under way, or leased. `consecutive_failures` counts the newest batch runs
    that failed as a whole, the last of them `seconds_since_failure` ago, None where the program was started
    since. `probe_in_seconds` is None while the circuit breaker is closed. `has_no_worker` tells that runs
    were launched which nobody began.
    """

    total: int
    demands: Sequence[BatchDemand]
    in_flight: frozenset[str]
    due_elsewhere: int = 0
    is_paused: bool = False
    has_no_worker: bool = False
    probe_in_seconds: float | None = None
    consecutive_failures: int = 0
    seconds_since_failure: float | None = None
    next_due_in_seconds: float | None = None

    @property
    def due(self) -> int:
        """All CMMS assets that are due."""
        return sum(demand.due for demand in self.demands) + self.due_elsewhere

    @property
    def has_work(self) -> bool:
        """Whether something is due or under way."""
        return bool(self.due or self.in_flight)


@dataclass(frozen=True)
class SyncDecision:
    """Batches to launch, most urgent first; `reason` says in words why these, or why none."""

    launch: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class LaunchesToCome:
    """What is left to launch after a look: in how many looks, and how many CMMS assets in the last."""

    looks: int = 0
    last_assets: int = 0


def plan_launches(facts: SyncFacts, launched: Collection[str]) -> LaunchesToCome:
    """Return what waits for later looks where this one has launched these batches, three batches a look."""
    waiting = [one.due for one in facts.demands if one.batch_key not in facts.in_flight | set(launched)]
    if not waiting:
        return LaunchesToCome()
    a_batch = sum(waiting) / len(waiting)
    batches = len(waiting) + facts.due_elsewhere / a_batch
    looks = math.ceil(batches / BATCHES_IN_FLIGHT)
    return LaunchesToCome(looks, round((batches - (looks - 1) * BATCHES_IN_FLIGHT) * a_batch))


def hold_seconds(consecutive_failures: int) -> float:
    """Return the wait after so many failed batch runs in a row: none before the third, then growing."""
    if consecutive_failures < TRIAL_AFTER_FAILURES:
        return 0.0
    doublings = min(consecutive_failures - TRIAL_AFTER_FAILURES, 10)
    return min(_FIRST_HOLD_SECONDS * 2**doublings, _LONGEST_HOLD_SECONDS)


def decide_launches(facts: SyncFacts) -> SyncDecision:
    """Keep up to three batches in flight while anything is due.

    After three failed batch runs in a row, or while the breaker is open, one batch at a time is tried, at
    growing intervals: what stops everybody (a refused token, an outage) must not be repeated by every batch.
    While no worker takes runs one at a time waits for it.
    """
    if facts.is_paused:
        return SyncDecision((), "paused by a person: innomaint resume continues")
    if facts.total == 0:
        return SyncDecision((), "no asset is imported yet")
    due = facts.due
    if due == 0:
        return SyncDecision((), _nothing_due(facts))
    candidates = [demand for demand in facts.demands if demand.batch_key not in facts.in_flight]
    room = BATCHES_IN_FLIGHT - len(facts.in_flight)
    trouble = _trouble(facts)
    if trouble is not None:
        wait, words = trouble
        if wait > 0:
            return SyncDecision((), f"{words}; {due} assets are due, the next try is in {wait:.0f} s")
        room = 1 - len(facts.in_flight)
    if room <= 0 or not candidates:
        why = f"{NO_WORKER}; " if facts.has_no_worker else ""
        return SyncDecision((), f"{why}{len(facts.in_flight)} batches in flight, {due} assets due")
    chosen = candidates[:room]
    never = sum(demand.never for demand in chosen)
    retryable = sum(demand.retryable for demand in chosen)
    stale = sum(demand.stale for demand in chosen)
    words = f"{never} never synced, {retryable} failed and due again, {stale} stale"
    return SyncDecision(tuple(demand.batch_key for demand in chosen), words)


def _trouble(facts: SyncFacts) -> tuple[float, str] | None:
    if facts.probe_in_seconds is not None:
        return facts.probe_in_seconds, "Innomaint is down (the circuit breaker is open)"
    hold = hold_seconds(facts.consecutive_failures)
    if not hold:
        return (0.0, NO_WORKER) if facts.has_no_worker else None
    since = facts.seconds_since_failure
    # A failure that is still to come was told by a clock that has been set back: no hold for that long.
    if since is None or since < 0:
        since = hold
    return max(hold - since, 0.0), f"the last {facts.consecutive_failures} batch runs failed"


def _nothing_due(facts: SyncFacts) -> str:
    if facts.next_due_in_seconds is None:
        return f"nothing is due: none of {facts.total} assets has a batch"
    return (
        f"nothing is due: {facts.total} assets, the next in {max(facts.next_due_in_seconds, 0) / 60:.1f} min"
    )
