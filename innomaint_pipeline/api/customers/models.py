"""The answers about the customer list, as models: names, types and an example of every field."""

from __future__ import annotations

from typing import Annotated, Any

from innomaint_pipeline.api.models import Answer, Flag, MaybeMoment, MaybeRunId, Moment, RunId, example_field
from innomaint_pipeline.domain.customers.runs import Outcome, Stage, Trigger
from innomaint_pipeline.domain.health import Health

# The names in the JSON are those of the programs that read it.
# ruff: noqa: N815
_SHA = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_WORDS = "1452 customers: 3 updated, 1449 unchanged"
Number = Annotated[int, example_field(0)]
MaybeNumber = Annotated[int | None, example_field(0)]
Share = Annotated[float | None, example_field(0.02, description="0 to 1, over 7 days")]
Rows = Annotated[int | None, example_field(1452)]
Words = Annotated[str, example_field(_WORDS)]
Sha = Annotated[str, example_field(_SHA, description="SHA-256 of the file")]


class ListRunAnswer(Answer):
    """A run, and how it ended."""

    runId: RunId
    trigger: Annotated[Trigger, example_field(Trigger.SCHEDULE)]
    startedAt: Moment
    finishedAt: MaybeMoment
    outcome: Annotated[Outcome | None, example_field(Outcome.CHANGED)]
    errorClass: Annotated[str | None, example_field("list_has_not_shrunk")]
    errorMessage: Annotated[str | None, example_field("146 rows after 1452 in the last accepted list")]
    attempts: Annotated[int, example_field(1)]
    sha256: Annotated[str | None, example_field(_SHA)]
    rows: Rows
    new: MaybeNumber
    updated: MaybeNumber
    unchanged: MaybeNumber
    missing: MaybeNumber
    deleted: MaybeNumber
    restored: MaybeNumber
    rehashed: MaybeNumber
    stageMs: Annotated[dict[str, int], example_field({"parse": 4100})]


class ListStatusAnswer(Answer):
    """How the customer list stands."""

    inProgress: Flag
    runId: MaybeRunId
    status: Annotated[str, example_field("completed", description="idle, syncing, completed or error")]
    stage: Annotated[Stage | None, example_field(Stage.DONE)]
    current: Annotated[int, example_field(1452, description="customers dealt with")]
    total: Annotated[int | None, example_field(1452, description="the list's Count; null until it is read")]
    message: Words
    startedAt: MaybeMoment
    lastRun: ListRunAnswer | None
    lastSyncTime: MaybeMoment
    dataAgeSeconds: Annotated[int | None, example_field(1260)]
    totalCustomersInDb: Annotated[int, example_field(1452)]
    intervalMinutes: Annotated[int, example_field(30)]
    nextDueAt: MaybeMoment
    health: Annotated[Health, example_field(Health.HEALTHY)]


class ListResultAnswer(Answer):
    """How a run ended."""

    success: Annotated[bool, example_field(True)]  # noqa: FBT003
    outcome: Annotated[Outcome, example_field(Outcome.CHANGED)]
    customersProcessed: Annotated[int, example_field(1452)]
    newCustomers: Number
    updatedCustomers: Annotated[int, example_field(3)]
    unchangedCustomers: Annotated[int, example_field(1449)]
    deletedCustomers: Number
    restoredCustomers: Number
    duration: Annotated[int, example_field(6420, description="milliseconds")]
    error: Annotated[str | None, example_field("list_has_not_shrunk: 146 rows after 1452")]


class ListAnswer(ListResultAnswer):
    """What was done for who asked for it."""

    runId: RunId
    message: Words


class ListMetricsAnswer(Answer):
    """Runs in numbers; those that found nothing to read are none."""

    lastSyncTime: MaybeMoment
    lastResult: ListResultAnswer | None
    totalSyncs: Annotated[int, example_field(48)]
    consecutiveFailures: Number
    averageDuration: Annotated[int | None, example_field(6420, description="milliseconds")]
    errorRate: Share
    unchangedShare: Annotated[float | None, example_field(0.98, description="0 to 1, over 7 days")]
    health: Annotated[Health, example_field(Health.HEALTHY)]


class ListAskedAnswer(Answer):
    """A run that was asked for and has not ended yet."""

    success: Flag
    address: Annotated[str, example_field("/api/customers/sync/status")]
    message: Annotated[str, example_field("asked for; the address tells how far it is")]


class FailedCheckAnswer(Answer):
    """A check that a list did not pass."""

    check: Annotated[str, example_field("list_has_not_shrunk")]
    message: Annotated[str, example_field("146 rows after 1452 in the last accepted list")]
    figures: Annotated[dict[str, Any], example_field({"rows": 146, "rows_before": 1452})]
    whatToDo: Annotated[str, example_field("look for a filter that was left on in the ERP")]


class QuarantinedAnswer(Answer):
    """A refused list, or one whose removals wait."""

    sha256: Sha
    exportedAt: Moment
    receivedAt: Moment
    rows: Annotated[int, example_field(146)]
    failedChecks: list[FailedCheckAnswer]
    releasable: Annotated[bool, example_field(True)]  # noqa: FBT003
    held: Annotated[int, example_field(0, description="removals that wait")]


class QuarantineAnswer(Answer):
    """What waits for a person, newest first."""

    quarantined: list[QuarantinedAnswer]


class ListRunsAnswer(Answer):
    """The newest runs, newest first."""

    runs: list[ListRunAnswer]


class ListPausedAnswer(Answer):
    """Whether runs begin by themselves."""

    paused: Flag
