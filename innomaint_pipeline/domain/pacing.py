"""The shared request clock as arithmetic: pacing, stops after 429, rate, breaker (docs/how-it-works.md).

Belongs here: pure transitions of `RateState`, the one row per API account that every process shares.
`store.pacing` runs each of them in one short transaction under the row's lock, with the database's clock;
`sources.http` sees them as a `Pacing`. Times are seconds of the database's clock, as floats.

Starts form a grid: each reservation takes the next free slot (a generic cell rate algorithm without burst).
Batches take turns: while one batch still has first requests to send, others get only the slots that it leaves
unused, so that batches end one after the other and the tail of one overlaps the start of the next. Retries
and single requests are not subject to turns.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, replace
from typing import Protocol

LONGEST_STOP_SECONDS = 900.0
LOWEST_RATE_PER_SECOND = 0.1
RATE_CUT = 0.7
RATE_STEP_PER_SECOND = 0.1
SUCCESSES_PER_STEP = 10
BREAKER_THRESHOLD = 10
LONGEST_ERROR_CHARACTERS = 200
FIRST_PROBE_SECONDS = 30.0
LONGEST_PROBE_SECONDS = 600.0
TURN_SECONDS = 5.0
# A slot counts as unused once this share of an interval has passed without its owner taking it.
UNUSED_SLOT_SHARE = 0.2
# A wake-up this early is a timer's rounding, not a violation.
START_TOLERANCE_SECONDS = 0.002
WINDOW_SECONDS = 10.0
LONGEST_INTERVAL_SECONDS = 3600.0
# So many may stand in line for a slot: a run waits for one at most.
_LONGEST_QUEUE = 32
# Without a configured interval there is nothing to space out: starts are granted in blocks to save round
# trips.
UNPACED_BLOCK = 16


@dataclass(frozen=True)
class Permit:
    """The right to start requests now: `starts` of them at once (more than one only when unpaced)."""

    starts: int = 1
    is_probe: bool = False


class Pacing(Protocol):
    """What a source must ask before, and tell after, each request."""

    def start(self, *, is_bulk: bool) -> Awaitable[Permit]:
        """Wait until a request may start; raise `BreakerOpenError` instead of waiting for a closed source."""
        ...

    def end_bulk(self) -> Awaitable[None]:
        """Tell that this batch has no first requests left: the next batch's turn."""
        ...

    def succeeded(self) -> Awaitable[None]:
        """Tell that the source answered, whatever it said of the item."""
        ...

    def failed(self, item: str) -> Awaitable[None]:
        """Tell of one transient failure."""
        ...

    def broke_contract(self, item: str, error: str) -> Awaitable[tuple[str, ...] | None]:
        """Tell of an answer that broke the contract in a way that `error` names for all items alike.

        Returns None while that is this item's trouble. Once it is the source's: the other items that had the
        same error in the same row, whose trouble it never was.
        """
        ...

    def rate_limited(self, retry_after_seconds: float | None, *, started_at: float) -> Awaitable[None]:
        """Tell of a refusal to a request started at this monotonic time; None: the answer named no time.

        A 429, or another failure whose answer named one.
        """
        ...


@dataclass(frozen=True)
class SourceAccount:
    """An account at a source, as the settings tell it; `name` is that of its row of the shared clock.

    `refresh_start_minutes` and `sync_interval_start_seconds` count until others are stored; a rate of 0
    means: no limit, or not known. `is_set` is false where other sources are configured and this one is not.
    """

    name: str
    refresh_start_minutes: int
    configured_rate_per_second: float = 0.0
    sync_interval_start_seconds: int = 30
    is_set: bool = True


@dataclass(frozen=True)
class RateState:
    """The shared row; times in seconds of the database's clock, 0 where nothing is known yet."""

    next_start_at: float = 0.0
    last_start_at: float = 0.0
    blocked_until: float = 0.0
    reduced_rate: float | None = None
    reduced_at: float = 0.0
    successes: int = 0
    consecutive_429: int = 0
    failing: tuple[str, ...] = ()
    contract_error: str | None = None
    contract_items: tuple[str, ...] = ()
    breaker_opened_at: float | None = None
    breaker_wait_seconds: float = FIRST_PROBE_SECONDS
    breaker_probe_at: float = 0.0
    turn_owner: str | None = None
    turn_until: float = 0.0
    window_started_at: float = 0.0
    window_starts: int = 0
    previous_starts: int = 0

    @property
    def is_disturbed(self) -> bool:
        """Whether successes must be reported, because something is counted that a success changes."""
        return bool(
            self.reduced_rate is not None
            or self.failing
            or self.contract_items
            or self.breaker_opened_at is not None
            or self.consecutive_429
        )

    def interval_seconds(self, configured_seconds: float) -> float:
        """Return the least time between two starts: the configured one, or the reduced rate's if longer."""
        return max(configured_seconds, 1.0 / self.reduced_rate if self.reduced_rate else 0.0)

    def measured_rate(self, now: float) -> float:
        """Return request starts a second over about the last ten seconds."""
        age = now - self.window_started_at
        if age >= 2 * WINDOW_SECONDS:
            return 0.0
        if age >= WINDOW_SECONDS:
            return self.window_starts * (2 * WINDOW_SECONDS - age) / WINDOW_SECONDS / WINDOW_SECONDS
        earlier = self.previous_starts * (WINDOW_SECONDS - age) / WINDOW_SECONDS
        return (earlier + self.window_starts) / WINDOW_SECONDS


@dataclass(frozen=True)
class Grant:
    """A slot: start after `wait_seconds`, having looked again with `confirm` unless the wait is 0."""

    wait_seconds: float
    permit: Permit


@dataclass(frozen=True)
class Refusal:
    """No slot now: ask again after `wait_seconds`; `is_breaker_open` means: do not wait, give up."""

    wait_seconds: float
    is_breaker_open: bool = False


def _count_starts(state: RateState, now: float, starts: int) -> RateState:
    age = now - state.window_started_at
    if age < WINDOW_SECONDS:
        return replace(state, window_starts=state.window_starts + starts)
    is_next = age < 2 * WINDOW_SECONDS
    return replace(
        state,
        # Windows touch, or the measured rate would jump when one ends in a pause.
        window_started_at=state.window_started_at + WINDOW_SECONDS if is_next else now,
        window_starts=starts,
        previous_starts=state.window_starts if is_next else 0,
    )


def set_right(
    state: RateState, *, now: float, configured_seconds: float = LONGEST_INTERVAL_SECONDS
) -> RateState:
    """Bring a state to the clock that is read now, which may have been set since it was stored.

    What has happened lies in the past. Where it does not, the clock was set back, and what is to come moves
    along with it: nobody waits for the hour to pass again. No wait is longer than the longest honest one.
    """
    opened_at = state.breaker_opened_at
    happened = (state.last_start_at, state.reduced_at, state.window_started_at, opened_at or 0.0)
    back = max(0.0, max(happened) - now)
    interval = state.interval_seconds(configured_seconds)
    blocked_until = min(state.blocked_until - back, now + LONGEST_STOP_SECONDS)
    last_slot = max(blocked_until, now) + _LONGEST_QUEUE * interval
    return replace(
        state,
        next_start_at=min(state.next_start_at - back, last_slot),
        last_start_at=min(state.last_start_at, now),
        blocked_until=blocked_until,
        reduced_at=min(state.reduced_at, now),
        breaker_opened_at=None if opened_at is None else min(opened_at, now),
        breaker_wait_seconds=min(state.breaker_wait_seconds, LONGEST_PROBE_SECONDS),
        breaker_probe_at=min(state.breaker_probe_at - back, now + LONGEST_PROBE_SECONDS),
        turn_until=min(state.turn_until - back, last_slot + interval + TURN_SECONDS),
        window_started_at=min(state.window_started_at, now),
    )


def reserve(
    state: RateState, *, now: float, configured_seconds: float, owner: str, is_bulk: bool
) -> tuple[RateState, Grant | Refusal]:
    """Take the next free slot for `owner`, or say when to ask again."""
    state = set_right(state, now=now, configured_seconds=configured_seconds)
    interval = state.interval_seconds(configured_seconds)
    is_probe = False
    if state.breaker_opened_at is not None:
        if now < state.breaker_probe_at:
            return state, Refusal(state.breaker_probe_at - now, is_breaker_open=True)
        longer = min(state.breaker_wait_seconds * 2, LONGEST_PROBE_SECONDS)
        state = replace(state, breaker_probe_at=now + state.breaker_wait_seconds, breaker_wait_seconds=longer)
        is_probe = True
    if is_bulk and interval > 0 and not is_probe:
        is_others_turn = state.turn_owner not in {None, owner} and now < state.turn_until
        if is_others_turn:
            unused_from = state.next_start_at + UNUSED_SLOT_SHARE * interval
            if now < unused_from:
                return state, Refusal(min(max(unused_from - now, 0.01), interval))
        else:
            state = replace(state, turn_owner=owner, turn_until=now + interval + TURN_SECONDS)
    # The last start may have been later than its slot.
    earliest = state.last_start_at + interval - START_TOLERANCE_SECONDS if interval > 0 else 0.0
    slot = max(state.next_start_at, state.blocked_until, earliest, now)
    starts = UNPACED_BLOCK if interval == 0 and not is_probe else 1
    state = replace(state, next_start_at=slot + interval)
    if slot <= now:
        state = _count_starts(replace(state, last_start_at=now), now, starts)
    elif is_bulk and state.turn_owner == owner:
        state = replace(state, turn_until=slot + interval + TURN_SECONDS)
    return state, Grant(max(slot - now, 0.0), Permit(starts, is_probe))


def confirm(
    state: RateState, *, now: float, configured_seconds: float, is_probe: bool
) -> tuple[RateState, float | None]:
    """Look again before sending: None means start now, a number means wait so many seconds and look again.

    A stop that came while waiting is waited for, and a start that was late pushes the next one back, so that
    actual starts, not only slots, are an interval apart. An open breaker lets only the probe through: the
    others get -1.
    """
    state = set_right(state, now=now, configured_seconds=configured_seconds)
    if state.breaker_opened_at is not None and not is_probe:
        return state, -1.0
    earliest = max(
        state.blocked_until,
        state.last_start_at + state.interval_seconds(configured_seconds) - START_TOLERANCE_SECONDS,
    )
    if now < earliest:
        return state, earliest - now
    return _count_starts(replace(state, last_start_at=now), now, 1), None


def end_turn(state: RateState, owner: str) -> RateState:
    """Let the next batch send its first requests."""
    return replace(state, turn_owner=None, turn_until=0.0) if state.turn_owner == owner else state


def record_success(state: RateState, *, configured_seconds: float) -> RateState:
    """Close the breaker, forget failures in a row, and climb towards the configured rate, never above it."""
    state = replace(
        state,
        failing=(),
        contract_error=None,
        contract_items=(),
        consecutive_429=0,
        breaker_opened_at=None,
        breaker_wait_seconds=FIRST_PROBE_SECONDS,
        breaker_probe_at=0.0,
    )
    if state.reduced_rate is None:
        return state
    successes = state.successes + 1
    if successes < SUCCESSES_PER_STEP:
        return replace(state, successes=successes)
    rate = state.reduced_rate + RATE_STEP_PER_SECOND
    is_restored = configured_seconds > 0 and rate >= 1 / configured_seconds
    return replace(state, successes=0, reduced_rate=None if is_restored else rate)


def record_failure(state: RateState, item: str, *, now: float) -> RateState:
    """Count a transient failure; the tenth in a row, of different items, opens the breaker."""
    if state.breaker_opened_at is not None or item in state.failing:
        return state
    state = replace(state, failing=(*state.failing, item))
    return state if len(state.failing) < BREAKER_THRESHOLD else _open_breaker(state, now)


def record_contract_error(
    state: RateState, item: str, error: str, *, now: float, configured_seconds: float
) -> tuple[RateState, tuple[str, ...] | None]:
    """Count an answer that broke the contract; the tenth of the same kind in a row opens the breaker.

    One changed field at the source's would else put off every item for a day. Of different items, without a
    good answer or another contract error between them. Returns what `Pacing.broke_contract` does.
    """
    error = error[:LONGEST_ERROR_CHARACTERS]
    is_same = state.contract_error == error
    is_open = state.breaker_opened_at is not None
    if is_open and is_same and len(state.contract_items) >= BREAKER_THRESHOLD:
        return state, ()
    items = state.contract_items if is_same else ()
    if item not in items:
        items = (*items, item)
    # The source answered: no failure in a row that it does not.
    state = record_success(state, configured_seconds=configured_seconds)
    state = replace(state, contract_error=error, contract_items=items)
    if len(items) < BREAKER_THRESHOLD:
        return state, None
    return _open_breaker(state, now), tuple(other for other in items if other != item)


def _open_breaker(state: RateState, now: float) -> RateState:
    return replace(
        state,
        breaker_opened_at=now,
        breaker_wait_seconds=FIRST_PROBE_SECONDS * 2,
        breaker_probe_at=now + FIRST_PROBE_SECONDS,
    )


def record_rate_limit(
    state: RateState,
    *,
    now: float,
    started_seconds_ago: float,
    retry_after_seconds: float | None,
    configured_seconds: float,
) -> RateState:
    """Stop everybody and cut the rate to 0.7 of itself.

    Answers to requests that were already under way at the last cut only lengthen the stop: one refusal by the
    source meets up to `max_in_flight` requests, but is one event.
    """
    is_new = now - started_seconds_ago > state.reduced_at
    consecutive = state.consecutive_429 + 1 if is_new else state.consecutive_429
    wait = retry_after_seconds if retry_after_seconds is not None else 2.0 ** min(max(consecutive, 1) - 1, 6)
    wait = min(max(wait, 0.0), LONGEST_STOP_SECONDS)
    state = replace(state, blocked_until=max(state.blocked_until, now + wait), successes=0)
    if not is_new:
        return state
    interval = state.interval_seconds(configured_seconds)
    # Without an interval the measured rate is the only honest starting point.
    current = 1 / interval if interval > 0 else state.measured_rate(now)
    return replace(
        state,
        consecutive_429=consecutive,
        reduced_rate=max(current * RATE_CUT, LOWEST_RATE_PER_SECOND),
        reduced_at=now,
    )
