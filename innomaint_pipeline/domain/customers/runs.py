"""The runs that read customer lists: their words, when the next one is due, and how the source is doing.

Belongs here: decisions over what the tables tell of runs and lists. Counting and asking is the store's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from innomaint_pipeline.domain.alerts import Condition
from innomaint_pipeline.domain.customers import SOURCE
from innomaint_pipeline.domain.health import Health

SYNC_REQUESTS = f"{SOURCE}/sync"
"""The kind of the requests that ask for a run."""
SYNC_LEASE = f"{SOURCE}/list"
"""What a run holds while it works: one at a time."""
PART = "list"
"""The one part of such a request, and the key of the lease."""
RETRY_WAITS_SECONDS = (5, 10, 20)
"""How long a run waits before it tries again what may pass by itself: four attempts in all."""
FAILURES_IN_A_ROW = 3
STALE_AFTER_INTERVALS = 3
LOOK_GAP = timedelta(minutes=5)
"""Two looks further apart than this: the machine slept, or nothing was running in between."""
WORKER_LOST = "worker_lost"
_LOST_IN_A_ROW = 3


class Trigger(StrEnum):
    """What began a run."""

    SCHEDULE = "schedule"
    MANUAL = "manual"
    STARTUP = "startup"
    RELEASE = "release"


class Outcome(StrEnum):
    """How a run ended."""

    CHANGED = "succeeded_changed"
    UNCHANGED = "succeeded_unchanged"
    REJECTED = "rejected_by_guard"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


SUCCEEDED = (Outcome.CHANGED, Outcome.UNCHANGED)


class Stage(StrEnum):
    """How far a run is."""

    RECEIVE = "receive"
    PARSE = "parse"
    CHECK = "check"
    APPLY = "apply"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class RunSeen:
    """What the table tells of a run, newest first where there are several; without an outcome it is open."""

    run_id: str
    started_at: datetime
    finished_at: datetime | None
    outcome: Outcome | None
    error_class: str | None = None
    error_message: str | None = None
    trigger: Trigger = Trigger.SCHEDULE
    sha256: str | None = None


def next_due(runs: Sequence[RunSeen], interval: timedelta, now: datetime) -> datetime:
    """Return when the next run is due, from the runs that are not under way, newest first.

    A start ahead of the clock counts as long ago. A run that was lost with its process postpones nothing,
    unless several were lost in a row: what they read may be what kills them.
    """
    lost = [run.outcome is None or run.error_class == WORKER_LOST for run in runs]
    is_deadly = len(runs) >= _LOST_IN_A_ROW and all(lost[:_LOST_IN_A_ROW])
    starts = [run.started_at for run, is_lost in zip(runs, lost, strict=True) if is_deadly or not is_lost]
    if not starts or max(starts) > now:
        return now
    return max(starts) + interval


def count_failures(runs: Sequence[RunSeen]) -> int:
    """Return how many of the newest runs failed in a row.

    Cancelled ones, those under way, and releases, which look at no folder, neither count nor end the row.
    """
    count = 0
    for run in runs:
        if run.outcome in {None, Outcome.CANCELLED} or run.trigger is Trigger.RELEASE:
            continue
        if run.outcome is not Outcome.FAILED:
            break
        count += 1
    return count


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What the health of the source is judged by; `accepted_at` is when the last accepted list was exported.

    `awake_since` is when somebody began to look regularly, `held` how many removals of the newest accepted
    list wait for a person; `is_set` tells whether there is a folder to look into.
    """

    is_paused: bool
    runs: Sequence[RunSeen]
    accepted_at: datetime | None
    interval: timedelta
    judged_at: datetime
    awake_since: datetime | None = None
    held: int = 0
    held_sha256: str | None = None
    is_set: bool = True

    @property
    def failures(self) -> int:
        """How many runs failed in a row."""
        return count_failures(self.runs)

    @property
    def is_stale(self) -> bool:
        """Whether the data are older than export and reading can explain."""
        return self.accepted_at is not None and (
            self.judged_at - self.accepted_at > STALE_AFTER_INTERVALS * self.interval
        )

    @property
    def rejection(self) -> RunSeen | None:
        """The run that last read a list, where it was rejected and nobody has released the list since."""
        released: set[str | None] = set()
        for run in self.runs:
            if run.trigger is Trigger.RELEASE:
                released.add(run.sha256)
            elif run.outcome in SUCCEEDED:
                return None
            elif run.outcome is Outcome.REJECTED:
                return None if run.sha256 in released else run
        return None


def judge_health(facts: SourceFacts) -> Health:  # a word a line
    """Return the first word that applies."""
    if not facts.is_set:
        return Health.NOT_SET
    is_failing = facts.failures >= FAILURES_IN_A_ROW
    if facts.is_paused:
        return Health.PAUSED
    if is_failing and (facts.is_stale or facts.accepted_at is None):
        return Health.DOWN
    if facts.accepted_at is None:
        return Health.UNKNOWN
    if is_failing or facts.rejection is not None:
        return Health.DEGRADED
    return Health.STALE if facts.is_stale else Health.HEALTHY


def list_conditions(facts: SourceFacts) -> list[Condition]:
    """Return what people are told of the source: that nothing comes, a rejected list, held removals."""
    return [_tell_of_trouble(facts), _tell_of_rejection(facts), _tell_of_held(facts)]


def _tell_of_trouble(facts: SourceFacts) -> Condition:
    name = "customers_sync"
    if facts.is_paused:
        return Condition(name, None, "The customer list: reading is paused")
    if facts.failures >= FAILURES_IN_A_ROW:
        reason = next((run.error_message for run in facts.runs if run.outcome is Outcome.FAILED), None)
        words = f"The customer list: {facts.failures} runs failed in a row: {reason}"
        return Condition(name, "not_kept_up", words)
    if facts.is_stale and _has_run_since_awake(facts):
        return Condition(
            name,
            "not_kept_up",
            f"The customer list: no newer one was accepted since that of {facts.accepted_at}; look whether "
            "the ERP still exports, and at innomaint customers status",
        )
    return Condition(name, None, "The customer list: it is kept up to date again")


def _has_run_since_awake(facts: SourceFacts) -> bool:
    """Tell whether a run has ended since the machine is awake: before, everything looks stale."""
    if facts.awake_since is None:
        return False
    return any(run.finished_at is not None and run.finished_at > facts.awake_since for run in facts.runs)


def _tell_of_rejection(facts: SourceFacts) -> Condition:
    run = facts.rejection
    if run is None:
        return Condition("customers_rejected", None, "The customer list: the newest one read was accepted")
    words = f"The customer list: one was rejected: {run.error_message}; see innomaint customers quarantine"
    return Condition("customers_rejected", run.run_id, words)


def _tell_of_held(facts: SourceFacts) -> Condition:
    if not facts.held or facts.held_sha256 is None:
        return Condition("customers_held", None, "The customer list: no removal waits for a person")
    words = (
        f"The customer list: {facts.held} customers are gone from two lists, too many to delete unasked; "
        f"look at the ERP, then: innomaint customers release {facts.held_sha256} --reason TEXT"
    )
    return Condition("customers_held", facts.held_sha256, words)


def describe_outcome(row: Mapping[str, Any]) -> str:
    """Return the row of a run as a sentence without personal values."""
    outcome = row["outcome"]
    if outcome in SUCCEEDED:
        names = ("new", "updated", "unchanged", "missing", "deleted", "restored")
        counts = ", ".join(f"{row[name]} {name}" for name in names if row[name])
        held = f"; {row['held']} removals wait for a release" if row.get("held") else ""
        return f"{row['rows']} customers: {counts or 'no row'}{held}"
    words = {
        Outcome.REJECTED: "rejected, no customer was changed",
        Outcome.FAILED: "failed",
        Outcome.SKIPPED: "nothing to read",
        Outcome.CANCELLED: "cancelled; nothing was changed",
    }[Outcome(outcome)]
    return f"{words}: {row['error_message']}" if row["error_message"] else words
