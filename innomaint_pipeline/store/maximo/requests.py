"""Requests for reads of Maximo: stored for Dagster to carry out, one in flight for each structure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, func, select

from innomaint_pipeline.domain.maximo import SOURCE
from innomaint_pipeline.domain.maximo.declarations import EVERY
from innomaint_pipeline.domain.maximo.requests import (
    READ_REQUESTS,
    TASK_WORDS,
    compute_progress,
    describe_run,
    list_parts,
)
from innomaint_pipeline.store.database import AdvisoryLock, take_lock
from innomaint_pipeline.store.leases import find_leases
from innomaint_pipeline.store.maximo.tables import RUN_COLUMNS, sync_run
from innomaint_pipeline.store.requests import Wish, find_open, load_request, submit
from innomaint_pipeline.store.tables import request_part


def submit_read(
    connection: Connection, endpoint: str, sites: Sequence[str], *, is_forced: bool, asked_by: str
) -> tuple[int, bool]:
    """Store a request; return its id, and whether it is new: one in flight covers what it reads."""
    take_lock(connection, AdvisoryLock.SUBMIT)
    for request in find_open(connection, READ_REQUESTS):
        if request.options.get("endpoint") in {endpoint, EVERY}:
            return request.id, False
    parts = list_parts(endpoint, sites)
    wish = Wish(
        READ_REQUESTS,
        {"endpoint": endpoint, "sites": list(sites), "force_full": is_forced},
        f"{endpoint} of Maximo",
        len(parts),
        dict.fromkeys(parts, ()),
        {"runs": []},
    )
    return submit(connection, wish, asked_by=asked_by).id, True


def find_run_rows(connection: Connection, run_ids: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows of sync_run that these runs wrote, oldest first."""
    statement = select(*(sync_run.c[name] for name in RUN_COLUMNS)).where(
        sync_run.c.run_id == func.any(list(run_ids))
    )
    return [dict(row) for row in connection.execute(statement.order_by(sync_run.c.id)).mappings()]


def load_task(connection: Connection, task_id: int) -> Mapping[str, Any] | None:
    """Return how far a request is, None when there is none."""
    found = load_request(connection, READ_REQUESTS, task_id)
    if found is None:
        return None
    rows = connection.execute(
        select(
            request_part.c.part, request_part.c.state, request_part.c.run_ids, request_part.c.message
        ).where(request_part.c.request_id == task_id)
    ).all()
    shares = {
        lease.key: lease.done / lease.total for lease in find_leases(connection, f"{SOURCE}/") if lease.total
    }
    run_ids = [run_id for row in rows for run_id in row.run_ids]
    written = find_run_rows(connection, run_ids)
    messages = [describe_run(row) for row in written]
    reported = {row["run_id"] for row in written}
    messages += [
        {"level": "error" if row.state == "failed" else "info", "text": f"{row.part}: {row.message}"}
        for row in rows
        if row.message and not reported & set(row.run_ids)
    ]
    options = connection.execute(
        select(request_part.c.part).where(request_part.c.request_id == task_id).limit(1)
    ).scalar_one_or_none()
    endpoint = found.what.partition(" ")[0] if found.what else options
    is_failed = found.state == "failed" or any(row["status"] == "error" for row in written)
    is_over = found.finished_at is not None
    status = ("failed" if is_failed else "completed") if is_over else TASK_WORDS[found.state]
    return {
        "success": True,
        "status": status,
        "progress": 100 if is_over else compute_progress({row.part: row.state for row in rows}, shares),
        "messages": messages,
        "error": (found.message or "see the messages") if is_over and is_failed else None,
        "endpoint": endpoint,
    }
