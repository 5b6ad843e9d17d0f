"""`innomaint sync` where an engine executes the runs: stores its request, as the page does, and waits.

Belongs here: the waiting. Dagster's daemon carries the request out; its result is that of `innomaint sync`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from innomaint_pipeline.cli.environment import Addresses, export_for_dagster
from innomaint_pipeline.cli.innomaint.status import innomaint_account
from innomaint_pipeline.cli.output import say
from innomaint_pipeline.domain.innomaint.selection import SYNC_REQUESTS, SyncOptions, SyncResult
from innomaint_pipeline.domain.requests import LOOK_IS_LATE_SECONDS, RequestState
from innomaint_pipeline.errors import DatabaseError, NobodyLooksError
from innomaint_pipeline.settings import Settings
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.innomaint.progress import load_progress
from innomaint_pipeline.store.innomaint.selection import plan_sync, wish_for
from innomaint_pipeline.store.requests import RequestDetail, load_request, submit

_ASKED_BY = "command line"
_POLL_SECONDS = 1.0
_TERMINATED = 130

ShowProgress = Callable[[int, int, int | None], None]
"""Shows how many CMMS assets are done, of how many, and the seconds left, None where nobody knows."""


def ask_for_sync(
    settings: Settings,
    database: Database,
    addresses: Addresses,
    options: SyncOptions,
    show: ShowProgress | None,
) -> SyncResult:
    """Store a request, wait until Dagster has carried it out, and return its result.

    Raise `NobodyLooksError` where no daemon has looked for requests for a minute. When interrupted, the
    request stays stored, and Dagster goes on with it.
    """
    with database.begin() as connection:
        plan = plan_sync(connection, options)
        stored = submit(connection, wish_for(options, plan), asked_by=_ASKED_BY)
    if not stored.is_new:
        say(f"The same was asked for at {stored.requested_at:%Y-%m-%d %H:%M} UTC: waiting for that request.")
    try:
        found = _wait(settings, database, stored.id, show)
    except KeyboardInterrupt:
        say(f"Request {stored.id} is stored, and Dagster goes on with it; innomaint status tells how far.")
        raise
    result = _read_result(found)
    if found.state is RequestState.FAILED and _is_terminated(settings, addresses, found):
        result.stop_code = _TERMINATED
    return result


def _wait(
    settings: Settings, database: Database, request_id: int, show: ShowProgress | None
) -> RequestDetail:
    began = time.monotonic()
    while True:
        with database.snapshot() as connection:
            found = load_request(connection, SYNC_REQUESTS, request_id)
            progress = load_progress(connection, innomaint_account(settings)) if show else None
        if found is None:
            raise DatabaseError(f"request {request_id} was deleted before it was carried out")
        if found.finished_at is not None:
            return found
        look = found.seconds_since_look
        is_late = look is None or look > LOOK_IS_LATE_SECONDS
        if is_late and time.monotonic() - began > LOOK_IS_LATE_SECONDS:
            raise NobodyLooksError(f"request {request_id} is {found.message}")
        if show is not None and progress is not None:
            show(progress.done, progress.total, progress.left.seconds if progress.left else None)
        time.sleep(_POLL_SECONDS)


def _read_result(found: RequestDetail) -> SyncResult:
    counts = dict(found.result or {})
    # It follows from the others.
    counts.pop("skipped", None)
    result = SyncResult(**counts)
    if found.state is RequestState.FAILED:
        result.stop_code, result.has_fault = found.stop_code, True
    if found.message:
        result.stop_message = found.message
    return result


def _is_terminated(settings: Settings, addresses: Addresses, found: RequestDetail) -> bool:
    """Tell whether a person has ended a run of a request."""
    export_for_dagster(settings, addresses)
    import dagster as dg

    with dg.DagsterInstance.get() as instance:
        ended = (instance.get_run_by_id(run.run_id) for run in found.runs)
        return any(run is not None and run.status is dg.DagsterRunStatus.CANCELED for run in ended)
