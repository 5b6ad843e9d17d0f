"""What is asked for: a sync of a slice, of failures, of a batch, of one CMMS asset; settings.

One CMMS asset is synced in this process, while its caller waits. Other work is stored as a request and
carried out by Dagster, so that it survives whatever is restarted meanwhile; an address waits for the result
for as long as the caller can expect it, without holding a thread.
"""

from __future__ import annotations

import asyncio
import functools
import math
from datetime import datetime
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Depends, Path, Query, Request

from innomaint_pipeline.api.answers import AdminError, AdminJson, describe
from innomaint_pipeline.api.innomaint.models import (
    REQUESTS,
    PausedAnswer,
    StoredAnswer,
    SyncedAnswer,
    SyncResultAnswer,
)
from innomaint_pipeline.api.parts import (
    LONGEST_ID_CHARACTERS,
    Parts,
    PartsOf,
    check_text,
    refuse_unknown_parameters,
)
from innomaint_pipeline.domain.innomaint import SOURCE
from innomaint_pipeline.domain.innomaint.answers import normalise_id
from innomaint_pipeline.domain.innomaint.selection import SYNC_REQUESTS, SyncOptions, waiting_seconds
from innomaint_pipeline.domain.innomaint.stops import Stop, describe_outage
from innomaint_pipeline.domain.requests import (
    LOOK_IS_LATE_SECONDS,
    RequestState,
)
from innomaint_pipeline.domain.states import WHAT_TO_DO, ErrorClass
from innomaint_pipeline.errors import BreakerOpenError, ConfigurationError, DatabaseError, SourceRefusedError
from innomaint_pipeline.store.database import Connection, find_now
from innomaint_pipeline.store.innomaint.asset_details import Outcome
from innomaint_pipeline.store.innomaint.due_batches import change_refresh_minutes
from innomaint_pipeline.store.innomaint.selection import plan_sync, wish_for
from innomaint_pipeline.store.innomaint.status import find_next_due
from innomaint_pipeline.store.requests import RequestDetail, Stored, load_request, submit
from innomaint_pipeline.store.settings import set_paused

router = APIRouter(dependencies=[Depends(refuse_unknown_parameters)], default_response_class=AdminJson)

_LARGEST_BATCH = 10_000
_LARGEST_OFFSET = 10_000_000
_ACCEPTED = describe(
    StoredAnswer, status=202, words="stored; it is carried out, and reports under its address"
)
_WORK = {**describe(SyncResultAnswer, 404, 502), 202: _ACCEPTED[202]}


@router.post("/api/admin/cmms/sync", responses=_WORK)
async def sync_slice(  # noqa: PLR0917 # FastAPI passes them by name
    request: Request,
    parts: PartsOf,
    batch: Annotated[int, Query(ge=1, le=_LARGEST_BATCH, description="so many")] = 100,
    offset: Annotated[int, Query(ge=0, le=_LARGEST_OFFSET, description="from this position, from 0")] = 0,
    retry_failed: Annotated[bool, Query(description="count and ask only failures worth retrying")] = False,  # noqa: FBT002 # a query parameter
    due: Annotated[bool, Query(description="ask for everything that is due instead of a slice")] = False,  # noqa: FBT002 # a query parameter
) -> AdminJson:
    """Sync CMMS assets in report order, due or not; or everything that is due."""
    options = (
        SyncOptions(is_due_only=True)
        if due
        else SyncOptions(limit=batch, offset=offset, is_retry_failed=retry_failed)
    )
    return await _work(request, parts, options)


@router.post("/api/admin/cmms/sync/retry-failed", responses=_WORK)
async def retry_failed(request: Request, parts: PartsOf) -> AdminJson:
    """Sync every failed CMMS asset whose class is worth retrying, due or not."""
    return await _work(request, parts, SyncOptions(is_retry_failed=True))


@router.post("/api/admin/cmms/sync/batches/{batch_key}", responses=_WORK)
async def sync_batch(
    request: Request,
    parts: PartsOf,
    batch_key: Annotated[str, Path(examples=["batch_000001"], max_length=40)],
) -> AdminJson:
    """Sync what is due, or failed and worth retrying, of one batch."""
    check_text(batch_key, "the batch", status=404)
    return await _work(request, parts, SyncOptions(partition_key=batch_key, is_due_only=True))


@router.post(
    "/api/admin/cmms/sync/{cmms_asset_id:path}",
    responses=describe(SyncedAnswer, 404, 502),
)
async def sync_asset(
    request: Request,
    parts: PartsOf,
    cmms_asset_id: Annotated[
        str, Path(examples=["Delhi Cantt Naraina_BP_01"], max_length=LONGEST_ID_CHARACTERS)
    ],
) -> AdminJson:
    """Sync one CMMS asset now, due or not, in this process; its id may hold spaces, `/` and `,`."""
    name = normalise_id(check_text(cmms_asset_id, "the id", status=404))
    await _in_thread(functools.partial(_check_known, parts, name))
    try:
        # In threads of their own: whoever waits for Innomaint keeps nobody from reading.
        limit = request.app.state.sync_limit
        outcome = await anyio.to_thread.run_sync(parts.sync_now, name, parts.is_stopping, limiter=limit)
    except BreakerOpenError as error:
        stop = await _in_thread(functools.partial(_describe_outage, parts, error))
        again = {"Retry-After": str(max(math.ceil(error.retry_in_seconds), 1))}
        raise AdminError(503, f"{name!r} was not asked for: {stop.reason}", headers=again) from None
    except (SourceRefusedError, ConfigurationError) as error:
        raise AdminError(502, str(error)) from None
    return _answer_for_asset(name, outcome)


def _describe_outage(parts: Parts, error: BreakerOpenError) -> Stop:
    with parts.connect() as connection:
        return describe_outage(error.retry_in_seconds, now=find_now(connection))


def _check_known(parts: Parts, name: str) -> None:
    with parts.connect() as connection:
        try:
            plan_sync(connection, SyncOptions(cmms_asset_ids=(name,)))
        except ConfigurationError as error:
            raise AdminError(404, str(error)) from None


def change_refresh_interval(connection: Connection, _: Parts, minutes: int) -> datetime | None:
    """Store the refresh interval, for CMMS assets synced before, too; return when the next one is due."""
    change_refresh_minutes(connection, minutes)
    return find_next_due(connection)


@router.post("/api/admin/cmms/pause", responses=describe(PausedAnswer))
def pause(parts: PartsOf) -> AdminJson:
    """Let continuous sync launch nothing; what a person asks for is done all the same."""
    return _set_paused(parts, is_paused=True)


@router.post("/api/admin/cmms/resume", responses=describe(PausedAnswer))
def resume(parts: PartsOf) -> AdminJson:
    """Let continuous sync go on."""
    return _set_paused(parts, is_paused=False)


def _set_paused(parts: Parts, *, is_paused: bool) -> AdminJson:
    with parts.connect() as connection:
        set_paused(connection, SOURCE, is_paused=is_paused)
    return AdminJson(PausedAnswer(is_paused=is_paused))


async def _work(request: Request, parts: Parts, options: SyncOptions) -> AdminJson:
    """Store a request and wait for its result."""
    found = await _start(request, parts, options)
    if found.finished_at is None:
        return _accepted(found)
    if found.state is RequestState.FAILED:
        raise _failed(found)
    return AdminJson(SyncResultAnswer.model_validate(found.result))


async def _in_thread(call: Any) -> Any:
    return await anyio.to_thread.run_sync(call)


def _submit(parts: Parts, options: SyncOptions, asked_by: str) -> Stored:
    with parts.connect() as connection:
        try:
            plan = plan_sync(connection, options)
        except ConfigurationError as error:
            raise AdminError(404, str(error)) from None
        return submit(connection, wish_for(options, plan), asked_by=asked_by)


def _find(parts: Parts, request_id: int) -> RequestDetail:
    with parts.connect() as connection:
        found = load_request(connection, SYNC_REQUESTS, request_id)
    if found is None:
        raise AdminError(404, f"request {request_id} was deleted")
    return found


async def _start(request: Request, parts: Parts, options: SyncOptions) -> RequestDetail:
    """Store a request and wait until it is closed, the time is over, or nobody waits any more.

    Without a daemon that looks for requests the wait is short: the answer says so.
    """
    asked_by = request.state.asked_by
    stored: Stored = await _in_thread(functools.partial(_submit, parts, options, asked_by))
    prefers = request.headers.get("prefer", "").lower()
    clock = asyncio.get_running_loop().time
    began = clock()
    is_waiting = "respond-async" not in prefers
    limit = waiting_seconds(options.limit or stored.total) if is_waiting else 0.0
    while True:
        found = await _in_thread(functools.partial(_find, parts, stored.id))
        waited, look = clock() - began, found.seconds_since_look
        is_alone = (look is None or look > LOOK_IS_LATE_SECONDS) and waited >= parts.patience_seconds
        is_over = waited >= limit or is_alone or parts.is_stopping()
        if found.finished_at is not None or is_over or await request.is_disconnected():
            return found
        await asyncio.sleep(parts.poll_seconds)


def _accepted(found: RequestDetail) -> AdminJson:
    stored = StoredAnswer.model_validate(found)
    return AdminJson(stored, 202, headers={"Location": stored.address})


def _failed(found: RequestDetail) -> AdminError:
    status = 503 if found.stop_code == DatabaseError.exit_code else 502
    return AdminError(status, f"{found.message} (the whole result: {REQUESTS}/{found.id})")


def _answer_for_asset(name: str, outcome: Outcome) -> AdminJson:
    if outcome.error_class is None:
        return AdminJson(
            SyncedAnswer(status="synced", cmms_asset_id=name, traceability_id=outcome.traceability_id)
        )
    error_class = outcome.error_class
    words = f"{name!r}: {error_class}: {outcome.error_message}; {WHAT_TO_DO[error_class]}"
    raise AdminError(404 if error_class is ErrorClass.NOT_FOUND else 502, words)
