"""What becomes of each part of a request that a person has made, whatever kind of work it asks for.

Belongs here: the states, and the decision what to do with a part, like a batch, from the runs made for it.
Facts come from `store` and Dagster; `defs.requests` launches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

LAUNCHES_OF_LOST = 4
"""Runs of one part of a request that may be lost, killed with their process, before it is given up."""

_RETRY_BY_DAGSTER_SECONDS = 60.0


class RequestState(StrEnum):
    """How far a stored request, or one of its parts, is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    PARTIAL = "partial"
    FAILED = "failed"


@dataclass(frozen=True)
class Outcome:
    """The result of a request as its JSON; `undone` says what was not done and why, None where all was."""

    result: Mapping[str, Any]
    undone: str | None = None


class Step(StrEnum):
    """What to do with a part of a request now."""

    LAUNCH = "launch"
    WAIT = "wait"
    CLOSE = "close"


@dataclass(frozen=True)
class RunSeen:
    """A Dagster run of a part, made for a request.

    `row_status` is what the run wrote of its end into its source's log, None where it wrote nothing;
    `is_ended_by_person` tells Terminate from a worker that died or was stopped with the program, whose run
    Dagster itself may repeat (`is_repeated_by_dagster`); `is_never_begun` one that no worker took.
    `stop_code` and `message` say what stopped it for everybody, `message` alone what else.
    """

    run_id: str
    is_finished: bool
    is_success: bool = False
    is_ended_by_person: bool = False
    row_status: str | None = None
    is_repeated_by_dagster: bool = False
    is_never_begun: bool = False
    ended_seconds_ago: float = 0.0
    stop_code: int | None = None
    message: str | None = None
    is_of_items: bool = False


@dataclass(frozen=True)
class Verdict:
    """What to do with a part; `message` says why it did not end well, or what is waited for.

    `stop_code`: the same would stop every other part.
    """

    step: Step
    message: str | None = None
    is_good: bool = True
    stop_code: int | None = None


def is_given_up(lost_runs: int) -> bool:
    """Tell whether a part of which so many runs were lost is not launched once more."""
    return lost_runs >= LAUNCHES_OF_LOST


def decide_part(runs: Sequence[RunSeen], *, held_by: str | None) -> Verdict:
    """Decide about one part from its runs, oldest first, so that exactly one of them does the work.

    `held_by` is another's run that works on the part or waits for it. A run that was lost, or found the
    part taken, is followed by another one.
    """
    last = runs[-1] if runs else None
    if last is not None and not last.is_finished:
        return Verdict(Step.WAIT, f"run {last.run_id} works on it, or waits in Dagster's queue")
    if last is not None and not _is_to_repeat(last):
        return _close(last)
    if last is not None and not last.is_success:
        if last.is_repeated_by_dagster and last.ended_seconds_ago < _RETRY_BY_DAGSTER_SECONDS:
            return Verdict(Step.WAIT, f"run {last.run_id} was lost; Dagster repeats it")
        # One that waited for a worker in vain says nothing about the part.
        if is_given_up(sum(not (run.is_success or run.is_never_begun) for run in runs)):
            words = f"{len(runs)} runs ended before they were done; look at run {last.run_id} in Dagster"
            return Verdict(Step.CLOSE, words, is_good=False)
    if held_by is not None:
        return Verdict(Step.WAIT, f"another run holds it ({held_by})")
    return Verdict(Step.LAUNCH)


def _is_to_repeat(run: RunSeen) -> bool:
    """Tell a run that was lost, stopped with its worker, or found its part taken."""
    if run.is_ended_by_person or run.stop_code is not None:
        return False
    return run.row_status is None or (run.row_status == "cancelled" and not run.is_success)


def _close(run: RunSeen) -> Verdict:
    if run.is_ended_by_person:
        return Verdict(Step.CLOSE, f"run {run.run_id} was ended by a person", is_good=False)
    if run.is_success or run.is_of_items:
        return Verdict(Step.CLOSE)
    return Verdict(
        Step.CLOSE,
        run.message or f"run {run.run_id} failed; its log in Dagster says why",
        is_good=False,
        stop_code=run.stop_code,
    )


def describe_request(
    states: Mapping[str, str], *, waits: Mapping[str, str], seconds_since_look: float | None
) -> str:
    """Return how far an open request is, from the states of its parts and what they wait for."""
    if seconds_since_look is None or seconds_since_look > LOOK_IS_LATE_SECONDS:
        ago = "never" if seconds_since_look is None else f"{seconds_since_look / 60:.0f} min ago"
        return (
            f"stored, but nobody works on it: Dagster's daemon last looked {ago}; start it with innomaint "
            "up, and the request is carried out"
        )
    closed = sum(state in {RequestState.DONE, RequestState.FAILED} for state in states.values())
    words = f"{closed} of {len(states)} batches done"
    waiting = next((f"{key}: {reason}" for key, reason in sorted(waits.items())), None)
    return f"{words}; {waiting}" if waiting else words


LOOK_IS_LATE_SECONDS = 60.0
"""The daemon looks for requests every few seconds: after so many without a look it is not there."""
