"""What a person asked Dagster to sync: innomaint_sync_request with an asker, and its batches.

Belongs here: storing a request, what the sensor that carries it out notes, closing it. Requests without an
asker are those of `innomaint sync`, which carries them out itself (`store.innomaint.requests`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, insert, select, text, update

from innomaint_pipeline.domain.requests import RequestState, SyncOptions, SyncResult
from innomaint_pipeline.store.innomaint.batch_rows import save_setting
from innomaint_pipeline.store.innomaint.selection import EarlierRun, Plan, count_sync
from innomaint_pipeline.store.tables import setting, sync_request, sync_request_batch

LOOKED_AT = "requests_looked_at"
_SHOWN = ("id", "asked_by", "finished_at", "what", "state", "message", "total", "stop_code", "result")
_SHOWN = ("id", "asked_by", "finished_at", "what", "state", "message", "total", "stop_code")
_SUBMIT_LOCK = 7_241_300_602
_RECENT = timedelta(minutes=5)
_IS_OPEN = sync_request.c.finished_at.is_(None) & sync_request.c.asked_by.is_not(None)


@dataclass
class AskedBatch:
    """One batch of a request; an empty list of names means the whole batch. Runs stand oldest first."""

    batch_key: str
    cmms_asset_ids: tuple[str, ...]
    state: str
    run_ids: tuple[str, ...]
    message: str | None


@dataclass
class AskedRequest:
    """An open request."""

    id: int
    asked_by: str
    requested_at: datetime
    total: int
    is_due_only: bool
    stop_code: int | None
    message: str | None
    batches: list[AskedBatch] = field(default_factory=list)

    @property
    def asked_before(self) -> datetime | None:
        """What its runs must not ask for again: everything asked since; None where only the due is asked."""
        return None if self.is_due_only else self.requested_at


@dataclass(frozen=True)
class Stored:
    """A stored request; `is_new` is False for the same one that was in flight already."""

    id: int
    requested_at: datetime
    total: int
    is_new: bool


def submit(connection: Connection, options: SyncOptions, plan: Plan, *, asked_by: str) -> Stored:
    """Store a request, or return the same one that is in flight; one of nothing is done at once."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _SUBMIT_LOCK})
    selection = options.to_json()
    found = connection.execute(
        select(sync_request.c.id, sync_request.c.requested_at, sync_request.c.total)
        .where(_IS_OPEN, sync_request.c.selection == selection)
        .order_by(sync_request.c.id)
        .limit(1)
    ).first()
    if found is not None:
        return Stored(found.id, found.requested_at, found.total, is_new=False)
    is_empty = not plan.names
    row = connection.execute(
        insert(sync_request)
        .values(
            selection=selection,
            asked_by=asked_by,
            what=options.describe(),
            state=RequestState.DONE if is_empty else RequestState.WAITING,
            message="nothing of it is to be asked for" if is_empty else None,
            total=plan.total,
            finished_at=func.now() if is_empty else None,
            result=SyncResult().to_json() if is_empty else None,
        )
        .returning(sync_request.c.id, sync_request.c.requested_at)
    ).one()
    if not is_empty:
        connection.execute(
            insert(sync_request_batch),
            [
                {
                    "request_id": row.id,
                    "batch_key": key,
                    "cmms_asset_ids": names,
                    "state": RequestState.WAITING,
                }
                for key, names in plan.names.items()
            ],
        )
    return Stored(row.id, row.requested_at, plan.total, is_new=True)


def note_look(connection: Connection) -> None:
    """Note that Dagster's daemon has looked for requests now."""
    save_setting(connection, LOOKED_AT, value=True)


def seconds_since_look(connection: Connection) -> float | None:
    """Return how long ago the daemon last looked for requests, None when it never did."""
    age = func.extract("epoch", func.clock_timestamp() - setting.c.updated_at)
    seconds = connection.execute(select(age).where(setting.c.name == LOOKED_AT)).scalar_one_or_none()
    return None if seconds is None else float(seconds)


def find_open(connection: Connection) -> list[AskedRequest]:
    """Return the open requests with their batches, oldest first."""
    requests = {
        row.id: AskedRequest(
            row.id,
            row.asked_by,
            row.requested_at,
            row.total,
            bool(row.selection.get("is_due_only")),
            row.stop_code,
            row.message,
        )
        for row in connection.execute(select(sync_request).where(_IS_OPEN).order_by(sync_request.c.id))
    }
    for row in connection.execute(
        select(sync_request_batch)
        .where(sync_request_batch.c.request_id.in_(list(requests)))
        .order_by(sync_request_batch.c.request_id, sync_request_batch.c.batch_key)
    ):
        requests[row.request_id].batches.append(
            AskedBatch(row.batch_key, tuple(row.cmms_asset_ids), row.state, tuple(row.run_ids), row.message)
        )
    return list(requests.values())


def count_open(connection: Connection) -> int:
    """Return how many requests are open."""
    return connection.execute(select(func.count()).select_from(sync_request).where(_IS_OPEN)).scalar_one()


def save_progress(
    connection: Connection,
    request_id: int,
    batches: Sequence[AskedBatch],
    *,
    state: RequestState,
    message: str | None,
    stop_code: int | None,
) -> None:
    """Note how far a request is; writes only the batches given."""
    for batch in batches:
        connection.execute(
            update(sync_request_batch)
            .where(
                sync_request_batch.c.request_id == request_id,
                sync_request_batch.c.batch_key == batch.batch_key,
            )
            .values(state=batch.state, run_ids=list(batch.run_ids), message=batch.message)
        )
    values = {"state": state, "message": message, "stop_code": stop_code}
    connection.execute(
        update(sync_request)
        .where(
            sync_request.c.id == request_id,
            func.row(*(sync_request.c[name] for name in values)).is_distinct_from(func.row(*values.values())),
        )
        .values(values)
    )


def close_request(connection: Connection, request: AskedRequest, *, message: str | None) -> SyncResult:
    """Compute the result of a request from the tables and close it; failed where there is a message."""
    plan = Plan(request.total, {}, is_due_only=request.is_due_only)
    last = [batch.run_ids[-1] for batch in request.batches if batch.run_ids]
    earlier = [
        EarlierRun(batch.batch_key, run_id, batch.cmms_asset_ids)
        for batch in request.batches
        for run_id in batch.run_ids[:-1]
    ]
    result = SyncResult()
    count_sync(connection, plan, last, result, earlier=earlier)
    elapsed = func.extract("epoch", func.clock_timestamp() - sync_request.c.requested_at) * 1000
    duration = connection.execute(select(elapsed).where(sync_request.c.id == request.id)).scalar_one()
    result.duration_ms = round(duration)
    connection.execute(
        update(sync_request)
        .where(sync_request.c.id == request.id)
        .values(
            finished_at=func.clock_timestamp(),
            state=RequestState.DONE if message is None else RequestState.FAILED,
            message=message,
            result=result.to_json(),
            stop_code=request.stop_code,
        )
    )
    return result


def load_request(connection: Connection, request_id: int) -> dict[str, Any] | None:
    """Return a request and its runs, None when there is none."""
    row = connection.execute(
        select(sync_request).where(sync_request.c.id == request_id, sync_request.c.asked_by.is_not(None))
    ).first()
    if row is None:
        return None
    batches = connection.execute(
        select(sync_request_batch)
        .where(sync_request_batch.c.request_id == request_id)
        .order_by(sync_request_batch.c.batch_key)
    ).all()
    return {
        **{name: getattr(row, name) for name in _SHOWN},
        "asked_at": row.requested_at,
        # jsonb does not keep the order of the names.
        "result": row.result and {name: row.result[name] for name in SyncResult().to_json()},
        "batches": {batch.batch_key: batch.state for batch in batches},
        "waits": {batch.batch_key: batch.message for batch in batches if batch.message},
        "runs": [
            {"batch_key": batch.batch_key, "run_id": run_id} for batch in batches for run_id in batch.run_ids
        ],
    }


def find_recent(connection: Connection) -> list[dict[str, Any]]:
    """Return the requests that are open or were finished a moment ago, oldest first."""
    columns = ("id", "asked_by", "what", "state", "total", "message", "result")
    rows = connection.execute(
        select(sync_request.c.requested_at, *(sync_request.c[name] for name in columns))
        .where(
            sync_request.c.asked_by.is_not(None),
            sync_request.c.finished_at.is_(None) | (sync_request.c.finished_at > func.now() - _RECENT),
        )
        .order_by(sync_request.c.id)
    )
    return [_as_listed(row) for row in rows.mappings()]


def _as_listed(row: Any) -> dict[str, Any]:
    result = row["result"] or {}
    return {
        **{name: row[name] for name in ("id", "asked_by", "what", "state", "total", "message")},
        "asked_at": row["requested_at"],
        **{name: result.get(name) for name in ("success", "failed", "skipped")},
    }


def find_askers(connection: Connection, run_ids: Sequence[str]) -> dict[str, str]:
    """Return who asked for runs, as far as they were made for a request."""
    if not run_ids:
        return {}
    found = {}
    for run_id in run_ids:
        asked_by = connection.execute(
            select(sync_request.c.asked_by)
            .join(sync_request_batch, sync_request_batch.c.request_id == sync_request.c.id)
            .where(_IS_OPEN, sync_request_batch.c.run_ids.any(run_id))
            .limit(1)
        ).scalar_one_or_none()
        if asked_by is not None:
            found[run_id] = asked_by
    return found
