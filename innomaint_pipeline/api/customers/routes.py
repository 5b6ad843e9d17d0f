"""The addresses of the customer list: how it stands, asking for a run, quarantine and release, pause."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Body, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field, StrictStr

from innomaint_pipeline.api.answers import AdminError, AdminJson, describe
from innomaint_pipeline.api.customers.models import (
    ListAnswer,
    ListAskedAnswer,
    ListMetricsAnswer,
    ListPausedAnswer,
    ListRunsAnswer,
    ListStatusAnswer,
    QuarantineAnswer,
)
from innomaint_pipeline.api.parts import Parts, PartsOf, check_text, refuse_unknown_parameters
from innomaint_pipeline.domain.customers import SOURCE
from innomaint_pipeline.domain.customers.checks import WHAT_TO_DO, Guards
from innomaint_pipeline.domain.customers.runs import SYNC_REQUESTS, Trigger
from innomaint_pipeline.domain.requests import LOOK_IS_LATE_SECONDS
from innomaint_pipeline.store.customers.applying import ReleaseError, release_list
from innomaint_pipeline.store.customers.overview import (
    describe_answer,
    describe_run,
    load_metrics,
    load_quarantine,
    load_status,
)
from innomaint_pipeline.store.customers.requests import submit_run
from innomaint_pipeline.store.customers.runs import (
    change_interval,
    find_lease,
    find_run_since,
    find_runs,
    require_schema,
)
from innomaint_pipeline.store.database import Connection, find_now
from innomaint_pipeline.store.requests import seconds_since_look
from innomaint_pipeline.store.settings import set_paused

router = APIRouter(dependencies=[Depends(refuse_unknown_parameters)], default_response_class=AdminJson)

_STATUS = "/api/customers/sync/status"
_LONGEST_WAIT_SECONDS = 30.0


def change_list_interval(connection: Connection, parts: Parts, minutes: int) -> datetime | None:
    """Store the interval; return when the next run is due."""
    require_schema(connection)
    return change_interval(connection, parts.settings.customers_interval_minutes, minutes)


def _is_set(parts: Parts) -> bool:
    return parts.settings.customers_inbox is not None


@router.get(_STATUS, responses=describe(ListStatusAnswer))
def get_status(parts: PartsOf) -> AdminJson:
    """Return the run under way, or the last one, and how old the data are."""
    with parts.read() as connection:
        require_schema(connection)
        status = load_status(connection, parts.settings.customers_interval_minutes, is_set=_is_set(parts))
    return AdminJson(ListStatusAnswer.model_validate(status))


@router.get("/api/customers/sync/metrics", responses=describe(ListMetricsAnswer))
def get_metrics(parts: PartsOf) -> AdminJson:
    """Return the runs in numbers."""
    with parts.read() as connection:
        require_schema(connection)
        metrics = load_metrics(connection, parts.settings.customers_interval_minutes, is_set=_is_set(parts))
    return AdminJson(ListMetricsAnswer.model_validate(metrics))


@router.get("/api/customers/sync/runs", responses=describe(ListRunsAnswer))
def get_runs(parts: PartsOf, limit: Annotated[int, Query(ge=1, le=200)] = 20) -> AdminJson:
    """Return the newest runs."""
    with parts.read() as connection:
        require_schema(connection)
        rows = find_runs(connection, limit=limit)
    return AdminJson(ListRunsAnswer.model_validate({"runs": [describe_run(row) for row in rows]}))


@dataclass(frozen=True)
class _Asked:
    at: datetime
    is_new: bool


_ASKED = describe(ListAskedAnswer, status=202, words="asked for; the address tells how far it is")


@router.post("/api/customers/sync", responses={**describe(ListAnswer), 202: _ASKED[202]})
async def start_sync(request: Request, parts: PartsOf) -> AdminJson:
    """Read the newest list now; one in flight is waited for instead, for 30 s."""
    asked = await anyio.to_thread.run_sync(partial(_ask, parts, request.state.asked_by))
    clock = asyncio.get_running_loop().time
    began = clock()
    is_waiting = "respond-async" not in request.headers.get("prefer", "").lower()
    limit = _LONGEST_WAIT_SECONDS if is_waiting else 0.0
    while True:
        row, look = await anyio.to_thread.run_sync(partial(_find, parts, asked.at))
        if row is not None:
            return AdminJson(ListAnswer.model_validate(describe_answer(row)))
        waited = clock() - began
        is_alone = asked.is_new and (look is None or look > LOOK_IS_LATE_SECONDS)
        is_over = waited >= limit or (is_alone and waited >= parts.patience_seconds) or parts.is_stopping()
        if is_over or await request.is_disconnected():
            words = "nobody works on it yet: Dagster's daemon does not run" if is_alone else "asked for"
            message = f"{words}; {_STATUS} tells how far it is"
            answer = ListAskedAnswer(success=False, address=_STATUS, message=message)
            return AdminJson(answer, 202, headers={"Location": _STATUS})
        await asyncio.sleep(parts.poll_seconds)


def _ask(parts: Parts, asked_by: str) -> _Asked:
    if parts.settings.customers_inbox is None:
        raise AdminError(400, "CUSTOMERS_INBOX is not set: no customer list is read")
    with parts.connect() as connection:
        require_schema(connection)
        now = find_now(connection)
        if find_lease(connection) is not None:
            return _Asked(now, is_new=False)
        asked_at = submit_run(connection, Trigger.MANUAL, asked_by=asked_by)
    return _Asked(asked_at, is_new=True)


def _find(parts: Parts, asked_at: datetime) -> tuple[dict[str, Any] | None, float | None]:
    with parts.connect() as connection:
        return find_run_since(connection, asked_at), seconds_since_look(connection, SYNC_REQUESTS)


@router.get("/api/customers/quarantine", responses=describe(QuarantineAnswer))
def get_quarantine(parts: PartsOf) -> AdminJson:
    """Return the refused lists and the held removals, with what each check found."""
    with parts.read() as connection:
        require_schema(connection)
        found = load_quarantine(connection, keep_days=parts.settings.customers_keep_days)
    for item in found:
        for failed in item["failedChecks"]:
            failed["whatToDo"] = WHAT_TO_DO[failed["check"]]
    return AdminJson(QuarantineAnswer.model_validate({"quarantined": found}))


class Release(BaseModel):
    """Which list is released, and why."""

    model_config = ConfigDict(extra="forbid")

    sha256: Annotated[StrictStr, Field(max_length=100)]
    reason: Annotated[StrictStr, Field(max_length=2000)]


@router.post("/api/customers/release", responses=describe(ListAnswer))
def release(request: Request, parts: PartsOf, wanted: Annotated[Release, Body()]) -> AdminJson:
    """Apply a refused list, or the removals that the newest accepted one holds; it is audited."""
    settings = parts.settings
    guards = Guards(
        max_drop_pct=settings.customers_max_drop_pct,
        max_change_pct=settings.customers_max_change_pct,
        max_remove_pct=settings.customers_max_remove_pct,
        interval_minutes=settings.customers_interval_minutes,
    )
    sha256 = check_text(wanted.sha256.strip().lower(), "sha256", status=400)
    reason = check_text(wanted.reason, "reason", status=400)
    try:
        with parts.connect() as connection:
            require_schema(connection)
        row = release_list(parts.database, sha256, reason, request.state.asked_by, guards)
    except ReleaseError as error:
        raise AdminError(400, str(error)) from None
    return AdminJson(ListAnswer.model_validate(describe_answer(row)))


@router.post("/api/customers/pause", responses=describe(ListPausedAnswer))
def pause(parts: PartsOf) -> AdminJson:
    """Let no run begin by itself; what a person asks for is done all the same."""
    return _set_paused(parts, is_paused=True)


@router.post("/api/customers/resume", responses=describe(ListPausedAnswer))
def resume(parts: PartsOf) -> AdminJson:
    """Let runs begin by themselves again."""
    return _set_paused(parts, is_paused=False)


def _set_paused(parts: Parts, *, is_paused: bool) -> AdminJson:
    with parts.connect() as connection:
        set_paused(connection, SOURCE, is_paused=is_paused)
    return AdminJson(ListPausedAnswer(paused=is_paused))
