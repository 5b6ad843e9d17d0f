"""The answers about Maximo, as models: names, types and an example of every field."""

from __future__ import annotations

from typing import Annotated

from innomaint_pipeline.api.models import Answer, MaybeMoment, Moment, RunId, example_field
from innomaint_pipeline.domain.health import Health

_STATUS = {
    "endpoint": "assets",
    "last_sync": "2026-06-20T10:00:00+00:00",
    "record_count": 1770,
    "status": "success",
    "message": "full read: asked for",
}


class EndpointAnswer(Answer):
    """How one structure stands, or all of them: its row of sync_status."""

    endpoint: Annotated[str, example_field("assets")]
    last_sync: MaybeMoment
    record_count: Annotated[int, example_field(1770)]
    status: Annotated[
        str, example_field("success", description="pending, in_progress, success, partial or error")
    ]
    message: Annotated[str | None, example_field("full read: asked for")]


class UnderWayAnswer(Answer):
    """A read that is under way."""

    resource: Annotated[str, example_field("assets/KDFAC")]
    run_id: RunId
    started_at: Moment
    done: Annotated[int, example_field(500)]
    total: Annotated[int, example_field(1770)]


class MaximoStatusAnswer(Answer):
    """How Maximo's sync stands: the JSON of `innomaint maximo status`, and `success`."""

    success: Annotated[bool, example_field(True)]  # noqa: FBT003
    status: Annotated[dict[str, EndpointAnswer], example_field({"assets": _STATUS})]
    sites: Annotated[list[str], example_field(["KDFAC"])]
    tables: Annotated[dict[str, int], example_field({"assets": 1770})]
    in_progress: list[UnderWayAnswer]
    health: Annotated[Health, example_field(Health.HEALTHY)]
    next_due_at: MaybeMoment


class TaskStartedAnswer(Answer):
    """A read that was asked for, or the one in flight that covers it."""

    success: Annotated[bool, example_field(True)]  # noqa: FBT003
    task_id: Annotated[str, example_field("7")]
    message: Annotated[str, example_field("stored; /api/sync-task-status/7 tells how far it is")]


class MessageAnswer(Answer):
    """A message about a task."""

    level: Annotated[str, example_field("info", description="info, warning or error")]
    text: Annotated[str, example_field("assets/KDFAC: success, 1770 of 1770 rows")]


class TaskAnswer(Answer):
    """How far a task is."""

    success: Annotated[bool, example_field(True)]  # noqa: FBT003
    status: Annotated[
        str, example_field("in_progress", description="pending, in_progress, completed or failed")
    ]
    progress: Annotated[int, example_field(40, description="0 to 100")]
    messages: list[MessageAnswer]
    error: Annotated[str | None, example_field("the key's user may not read it")]
    endpoint: Annotated[str | None, example_field("assets")]
