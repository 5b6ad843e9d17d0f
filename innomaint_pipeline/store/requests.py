"""What people have asked for and somebody carries out: innomaint_request and its parts.

Belongs here: storing a request of any kind, what is noted of it while it is carried out, closing it. A
request with an asker is carried out by Dagster's sensor of its kind; one without by the command that asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from innomaint_pipeline.domain.requests import Outcome, RequestState, describe_request
from innomaint_pipeline.store.database import AdvisoryLock, take_lock
from innomaint_pipeline.store.settings import save_setting, stored_name
from innomaint_pipeline.store.tables import request as request_table
from innomaint_pipeline.store.tables import request_part, setting

LOOKED_AT = "requests_looked_at"
_RECENT = timedelta(minutes=5)
_IS_OPEN = request_table.c.finished_at.is_(None) & request_table.c.asked_by.is_not(None)


@dataclass(frozen=True)
class Wish:
    """What a person wants: a kind of work with its options, in words, and its parts.

    `parts` names for each part the items selected of it; an empty list means the whole part. `empty_result`
    is the result where nothing of it is to be done.
    """

    kind: str
    options: Mapping[str, Any]
    what: str
    total: int
    parts: Mapping[str, Sequence[str]]
    empty_result: Mapping[str, Any]


@dataclass
class RequestPart:
    """One part of a request; without items the whole part. Runs stand oldest first."""

    part: str
    items: tuple[str, ...]
    state: str
    run_ids: tuple[str, ...]
    message: str | None


@dataclass
class OpenRequest:
    """A request that Dagster carries out."""

    id: int
    kind: str
    options: Mapping[str, Any]
    asked_by: str
    requested_at: datetime
    total: int
    stop_code: int | None
    message: str | None
    parts: list[RequestPart] = field(default_factory=list)


@dataclass(frozen=True)
class Stored:
    """A stored request; `is_new` is False for the same one that was in flight already."""

    id: int
    requested_at: datetime
    total: int
    is_new: bool


@dataclass(frozen=True)
class OwnRequest:
    """A command's request; it stays open until it is finished, so that the same one can be taken up again."""

    id: int
    requested_at: datetime
    is_resumed: bool


def submit(connection: Connection, wish: Wish, *, asked_by: str) -> Stored:
    """Store a request, or return the same one that is in flight; one of nothing is done at once."""
    take_lock(connection, AdvisoryLock.SUBMIT)
    found = connection.execute(
        select(request_table.c.id, request_table.c.requested_at, request_table.c.total)
        .where(_IS_OPEN, request_table.c.kind == wish.kind, request_table.c.options == wish.options)
        .order_by(request_table.c.id)
        .limit(1)
    ).first()
    if found is not None:
        return Stored(found.id, found.requested_at, found.total, is_new=False)
    is_empty = not wish.parts
    row = connection.execute(
        insert(request_table)
        .values(
            kind=wish.kind,
            options=wish.options,
            asked_by=asked_by,
            what=wish.what,
            state=RequestState.DONE if is_empty else RequestState.WAITING,
            message="nothing of it is to be asked for" if is_empty else None,
            total=wish.total,
            finished_at=func.now() if is_empty else None,
            result=wish.empty_result if is_empty else None,
        )
        .returning(request_table.c.id, request_table.c.requested_at)
    ).one()
    if not is_empty:
        connection.execute(
            insert(request_part),
            [
                {
                    "request_id": row.id,
                    "part": part,
                    "items": list(items),
                    "state": RequestState.WAITING,
                }
                for part, items in wish.parts.items()
            ],
        )
    return Stored(row.id, row.requested_at, wish.total, is_new=True)


def open_own_request(
    connection: Connection, kind: str, options: Mapping[str, Any], *, resume_minutes: int
) -> OwnRequest:
    """Open a command's request, or take up the same one that a killed or interrupted process left unfinished.

    What was asked for since `requested_at` belongs to the request already and is not asked for again.
    """
    row = connection.execute(
        select(request_table.c.id, request_table.c.requested_at)
        .where(
            request_table.c.finished_at.is_(None),
            # Those with an asker are Dagster's to carry out.
            request_table.c.asked_by.is_(None),
            request_table.c.kind == kind,
            request_table.c.options == options,
            request_table.c.requested_at > func.now() - func.make_interval(0, 0, 0, 0, 0, resume_minutes),
        )
        .order_by(request_table.c.id.desc())
        .limit(1)
    ).first()
    if row is not None:
        return OwnRequest(row.id, row.requested_at, is_resumed=True)
    new = connection.execute(
        insert(request_table)
        .values(kind=kind, options=options)
        .returning(request_table.c.id, request_table.c.requested_at)
    ).one()
    return OwnRequest(new.id, new.requested_at, is_resumed=False)


def finish_own_request(connection: Connection, request_id: int) -> None:
    """Close a command's request."""
    connection.execute(
        update(request_table)
        .where(request_table.c.id == request_id)
        .values(finished_at=func.clock_timestamp())
    )


def note_look(connection: Connection, kind: str) -> None:
    """Note that Dagster's daemon has looked for requests of this kind now."""
    save_setting(connection, kind, LOOKED_AT, value=True)


def seconds_since_look(connection: Connection, kind: str) -> float | None:
    """Return how long ago the daemon last looked for requests of this kind, None when it never did."""
    age = func.extract("epoch", func.clock_timestamp() - setting.c.updated_at)
    seconds = connection.execute(
        select(age).where(setting.c.name == stored_name(kind, LOOKED_AT))
    ).scalar_one_or_none()
    return None if seconds is None else float(seconds)


def find_open(connection: Connection, kind: str) -> list[OpenRequest]:
    """Return the open requests of a kind with their parts, oldest first."""
    requests = {
        row.id: OpenRequest(
            row.id,
            row.kind,
            row.options,
            row.asked_by,
            row.requested_at,
            row.total,
            row.stop_code,
            row.message,
        )
        for row in connection.execute(
            select(request_table).where(_IS_OPEN, request_table.c.kind == kind).order_by(request_table.c.id)
        )
    }
    for row in connection.execute(
        select(request_part)
        .where(request_part.c.request_id.in_(list(requests)))
        .order_by(request_part.c.request_id, request_part.c.part)
    ):
        requests[row.request_id].parts.append(
            RequestPart(row.part, tuple(row.items), row.state, tuple(row.run_ids), row.message)
        )
    return list(requests.values())


def count_open(connection: Connection, kind: str) -> int:
    """Return how many requests of a kind are open."""
    return connection.execute(
        select(func.count()).select_from(request_table).where(_IS_OPEN, request_table.c.kind == kind)
    ).scalar_one()


def save_progress(
    connection: Connection,
    request_id: int,
    parts: Sequence[RequestPart],
    *,
    state: RequestState,
    message: str | None,
    stop_code: int | None,
) -> None:
    """Note how far a request is; writes only the parts given."""
    for part in parts:
        connection.execute(
            update(request_part)
            .where(request_part.c.request_id == request_id, request_part.c.part == part.part)
            .values(state=part.state, run_ids=list(part.run_ids), message=part.message)
        )
    values = {"state": state, "message": message, "stop_code": stop_code}
    connection.execute(
        update(request_table)
        .where(
            request_table.c.id == request_id,
            func.row(*(request_table.c[name] for name in values)).is_distinct_from(
                func.row(*values.values())
            ),
        )
        .values(values)
    )


def close_request(
    connection: Connection, request: OpenRequest, *, message: str | None, outcome: Outcome
) -> None:
    """Close a request with its result and, as `duration_ms` of it, how long it took.

    It has failed where there is a message, and is partial where something was left undone.
    """
    state = RequestState.DONE
    if message is not None or outcome.undone is not None:
        state = RequestState.PARTIAL if message is None else RequestState.FAILED
    elapsed = func.extract("epoch", func.clock_timestamp() - request_table.c.requested_at) * 1000
    duration = connection.execute(select(elapsed).where(request_table.c.id == request.id)).scalar_one()
    connection.execute(
        update(request_table)
        .where(request_table.c.id == request.id)
        .values(
            finished_at=func.clock_timestamp(),
            state=state,
            message=message or outcome.undone,
            result={**outcome.result, "duration_ms": round(duration)},
            stop_code=request.stop_code,
        )
    )


@dataclass(frozen=True)
class RequestRun:
    """A run that was made for a part of a request."""

    part: str
    run_id: str


@dataclass(frozen=True)
class RequestDetail:
    """A request: how far it is, in words while it is open; its result once it is closed; its runs.

    `seconds_since_look` is how long ago the daemon looked for requests, None when it never did.
    """

    id: int
    asked_by: str
    asked_at: datetime
    finished_at: datetime | None
    what: str | None
    state: RequestState
    message: str | None
    stop_code: int | None
    result: Mapping[str, Any] | None
    runs: tuple[RequestRun, ...]
    seconds_since_look: float | None


def load_request(connection: Connection, kind: str, request_id: int) -> RequestDetail | None:
    """Return a request and its runs, None when there is none."""
    row = connection.execute(
        select(request_table).where(
            request_table.c.id == request_id,
            request_table.c.kind == kind,
            request_table.c.asked_by.is_not(None),
        )
    ).first()
    if row is None:
        return None
    parts = connection.execute(
        select(request_part).where(request_part.c.request_id == request_id).order_by(request_part.c.part)
    ).all()
    look = seconds_since_look(connection, kind)
    message = row.message
    if row.finished_at is None:
        states = {part.part: part.state for part in parts}
        waits = {part.part: part.message for part in parts if part.message}
        message = describe_request(states, waits=waits, seconds_since_look=look)
    return RequestDetail(
        id=row.id,
        asked_by=row.asked_by,
        asked_at=row.requested_at,
        finished_at=row.finished_at,
        what=row.what,
        state=RequestState(row.state),
        message=message,
        stop_code=row.stop_code,
        result=row.result,
        runs=tuple(RequestRun(part.part, run_id) for part in parts for run_id in part.run_ids),
        seconds_since_look=look,
    )


@dataclass(frozen=True)
class RecentRequest:
    """A request that is open or was finished a moment ago; it has counts once it is closed."""

    id: int
    asked_by: str
    asked_at: datetime
    what: str | None
    state: RequestState
    message: str | None
    total: int | None
    success: int | None
    failed: int | None
    skipped: int | None


def find_recent(connection: Connection, kind: str) -> tuple[RecentRequest, ...]:
    """Return the requests of a kind that are open or were finished a moment ago, oldest first."""
    rows = connection.execute(
        select(request_table)
        .where(
            request_table.c.kind == kind,
            request_table.c.asked_by.is_not(None),
            request_table.c.finished_at.is_(None) | (request_table.c.finished_at > func.now() - _RECENT),
        )
        .order_by(request_table.c.id)
    )
    return tuple(_as_listed(row) for row in rows)


def _as_listed(row: Row) -> RecentRequest:
    result = row.result or {}
    return RecentRequest(
        id=row.id,
        asked_by=row.asked_by,
        asked_at=row.requested_at,
        what=row.what,
        state=RequestState(row.state),
        message=row.message,
        total=row.total,
        success=result.get("success"),
        failed=result.get("failed"),
        skipped=result.get("skipped"),
    )


def find_askers(connection: Connection, run_ids: Sequence[str]) -> dict[str, str]:
    """Return who asked for runs, as far as they were made for a request."""
    if not run_ids:
        return {}
    found = {}
    for run_id in run_ids:
        asked_by = connection.execute(
            select(request_table.c.asked_by)
            .join(request_part, request_part.c.request_id == request_table.c.id)
            .where(_IS_OPEN, request_part.c.run_ids.any(run_id))
            .limit(1)
        ).scalar_one_or_none()
        if asked_by is not None:
            found[run_id] = asked_by
    return found
