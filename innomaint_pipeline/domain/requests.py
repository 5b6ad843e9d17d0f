"""What a person asks to be synced, the result, and what becomes of each batch of a stored request.

Belongs here: the selection and its words, the result's JSON (spec 04), the decision what to do with a batch.
Facts come from `store` and Dagster, launching is `defs.requests`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

LAUNCHES_OF_LOST = 4
"""Runs of one batch of a request that may be lost, killed with their process, before it is given up."""

_RETRY_BY_DAGSTER_SECONDS = 60.0


@dataclass(frozen=True)
class SyncOptions:
    """A selection of CMMS assets; as it is, everything that is due.

    `limit` and `offset` count in report order, among the retryable failures where `is_retry_failed`;
    `is_due_only` narrows a partition to what is due or worth retrying; alone it is everything that is due,
    and its runs ask for nothing else.
    """

    everything: bool = False
    limit: int | None = None
    offset: int = 0
    partition_key: str | None = None
    is_retry_failed: bool = False
    cmms_asset_ids: tuple[str, ...] = ()
    is_due_only: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the selection in a form by which the same request is recognized."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in vars(self).items()
            if value
        }

    def describe(self) -> str:
        """Return the selection in words."""
        if self.partition_key is not None:
            return f"batch {self.partition_key}" + (", what is due or failed" if self.is_due_only else "")
        if self.cmms_asset_ids:
            return ", ".join(self.cmms_asset_ids)
        if self.limit is not None:
            what = "retryable failures" if self.is_retry_failed else "assets"
            return f"{self.limit} {what} from position {self.offset}"
        if self.is_retry_failed:
            return "retry failed"
        return "everything" if self.everything else "what is due"


@dataclass
class SyncResult:
    """The result of a sync, and why it stopped early if it did.

    `has_fault` tells that a run ended for a reason that is neither of its CMMS assets nor of everybody.
    """

    total: int = 0
    success: int = 0
    failed: int = 0
    unchanged: int = 0
    errors: list[str] = field(default_factory=list)
    duration_ms: int = 0
    stop_code: int | None = None
    stop_message: str | None = None
    has_fault: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the JSON of `sync`."""
        return {
            "total": self.total,
            "success": self.success,
            "failed": self.failed,
            "skipped": self.total - self.success - self.failed,
            "unchanged": self.unchanged,
            "errors": self.errors,
            "duration_ms": self.duration_ms,
        }

    @property
    def exit_code(self) -> int:
        """0 nothing failed, 1 some failed, else why it stopped."""
        return self.stop_code or (1 if self.failed or self.has_fault else 0)


class RequestState(StrEnum):
    """How far a stored request, or one of its batches, is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Step(StrEnum):
    """What to do with a batch of a request now."""

    LAUNCH = "launch"
    WAIT = "wait"
    CLOSE = "close"


@dataclass(frozen=True)
class RunSeen:
    """A Dagster run of a batch, made for a request.

    `row_status` is that of its row in cmms_sync_log, None where it wrote none; `is_ended_by_person` tells
    Terminate from a worker that died or was stopped with the program, whose run Dagster itself may repeat
    (`is_repeated_by_dagster`). `stop_code` and `message` say what stopped it for everybody, `message` alone
    what else.
    """

    run_id: str
    is_finished: bool
    is_success: bool = False
    is_ended_by_person: bool = False
    row_status: str | None = None
    is_repeated_by_dagster: bool = False
    ended_seconds_ago: float = 0.0
    stop_code: int | None = None
    message: str | None = None
    is_of_assets: bool = False


@dataclass(frozen=True)
class Verdict:
    """What to do with a batch; `message` says why it did not end well, or what is waited for.

    `stop_code`: the same would stop every other batch.
    """

    step: Step
    message: str | None = None
    is_good: bool = True
    stop_code: int | None = None


def decide_batch(runs: Sequence[RunSeen], *, held_by: str | None) -> Verdict:
    """Decide about one batch from its runs, oldest first, so that exactly one of them does the work.

    `held_by` is another's run that works on the batch or waits for it. A run that was lost, or found the
    batch taken, is followed by another one.
    """
    last = runs[-1] if runs else None
    if last is not None and not last.is_finished:
        return Verdict(Step.WAIT, f"run {last.run_id} works on it, or waits in Dagster's queue")
    if last is not None and not _is_to_repeat(last):
        return _close(last)
    if last is not None and not last.is_success:
        if last.is_repeated_by_dagster and last.ended_seconds_ago < _RETRY_BY_DAGSTER_SECONDS:
            return Verdict(Step.WAIT, f"run {last.run_id} was lost; Dagster repeats it")
        if sum(not run.is_success for run in runs) >= LAUNCHES_OF_LOST:
            words = f"{len(runs)} runs ended before they were done; look at run {last.run_id} in Dagster"
            return Verdict(Step.CLOSE, words, is_good=False)
    if held_by is not None:
        return Verdict(Step.WAIT, f"another run holds it ({held_by})")
    return Verdict(Step.LAUNCH)


def _is_to_repeat(run: RunSeen) -> bool:
    """Tell a run that was lost, stopped with its worker, or found its batch taken."""
    if run.is_ended_by_person or run.stop_code is not None:
        return False
    return run.row_status is None or (run.row_status == "cancelled" and not run.is_success)


def _close(run: RunSeen) -> Verdict:
    if run.is_ended_by_person:
        return Verdict(Step.CLOSE, f"run {run.run_id} was ended by a person", is_good=False)
    if run.is_success or run.is_of_assets:
        return Verdict(Step.CLOSE)
    return Verdict(
        Step.CLOSE,
        run.message or f"run {run.run_id} failed; its log in Dagster says why",
        is_good=False,
        stop_code=run.stop_code,
    )


def waiting_seconds(total: int) -> float:
    """Return how long a caller may wait for so many CMMS assets (spec 04, "HTTP")."""
    return total * 0.3 + 30.0


def describe_request(
    states: Mapping[str, str], *, waits: Mapping[str, str], seconds_since_look: float | None
) -> str:
    """Return how far an open request is, from the states of its batches and what they wait for."""
    if seconds_since_look is None or seconds_since_look > LOOK_IS_LATE_SECONDS:
        ago = "never" if seconds_since_look is None else f"{seconds_since_look / 60:.0f} min ago"
        return (
            "stored, but nobody works on it: Dagster's daemon last looked "
            f"{ago}; start it with innomaint up, and the request is carried out"
        )
    closed = sum(state in {RequestState.DONE, RequestState.FAILED} for state in states.values())
    words = f"{closed} of {len(states)} batches done"
    waiting = next((f"{key}: {reason}" for key, reason in sorted(waits.items())), None)
    return f"{words}; {waiting}" if waiting else words


LOOK_IS_LATE_SECONDS = 60.0
"""The daemon looks for requests every few seconds: after so many without a look it is not there."""
