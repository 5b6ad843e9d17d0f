"""What is to be synced: due batches, a person's selection, requests that survive their process.

Belongs here: choosing CMMS assets across batches. Which of a batch a run then asks for is `store.states`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, case, func, insert, or_, select, update

from innomaint_pipeline.domain.batches import BatchDemand
from innomaint_pipeline.domain.states import RETRYABLE_CLASSES, SyncState
from innomaint_pipeline.store.tables import asset_master, sync_request, sync_state


@dataclass(frozen=True)
class Request:
    """A person's request; it stays open until it is finished, so that the same one can be taken up again."""

    id: int
    requested_at: datetime
    is_resumed: bool


def find_due_batches(connection: Connection) -> list[BatchDemand]:
    """Return batches with due CMMS assets: never synced first, then retryable failures, then the stalest."""
    is_never = sync_state.c.state == SyncState.NEVER
    is_retryable = sync_state.c.error_class.in_(sorted(RETRYABLE_CLASSES))
    never, retryable = func.count().filter(is_never), func.count().filter(is_retryable)
    oldest = func.min(sync_state.c.next_due_at)
    rows = connection.execute(
        select(sync_state.c.batch_key, never, retryable, func.count() - never - retryable, oldest)
        .where(sync_state.c.next_due_at <= func.now(), sync_state.c.batch_key.is_not(None))
        .group_by(sync_state.c.batch_key)
        .order_by(
            case((never > 0, 0), (retryable > 0, 1), else_=2),
            case((never > 0, None), else_=oldest),
            "batch_key",
        )
    )
    return [BatchDemand(*row) for row in rows]


def _members() -> Select:
    return (
        select(sync_state.c.batch_key, asset_master.c.cmms_asset_id)
        .join(asset_master, asset_master.c.asset_id == sync_state.c.asset_id)
        .where(sync_state.c.batch_key.is_not(None))
        .order_by(asset_master.c.report_seq_no.asc().nulls_last(), asset_master.c.asset_id)
    )


def _by_batch(rows: Any) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for batch_key, cmms_asset_id in rows:
        grouped.setdefault(batch_key, []).append(cmms_asset_id)
    return grouped


def find_slice(connection: Connection, *, limit: int, offset: int) -> dict[str, list[str]]:
    """Return `limit` CMMS assets from position `offset` (from 0) in report order, by batch."""
    return _by_batch(connection.execute(_members().limit(limit).offset(offset)))


def find_by_name(connection: Connection, cmms_asset_ids: Sequence[str]) -> dict[str, list[str]]:
    """Return those of the named CMMS assets that are known, by batch."""
    return _by_batch(
        connection.execute(_members().where(asset_master.c.cmms_asset_id.in_(list(cmms_asset_ids))))
    )


def find_retryable(
    connection: Connection, *, limit: int | None = None, offset: int = 0
) -> dict[str, list[str]]:
    """Return the failed CMMS assets whose class is worth retrying, due or not, by batch.

    With `limit` so many of them from position `offset` (from 0) in report order.
    """
    query = _members().where(
        sync_state.c.state == SyncState.FAILED, sync_state.c.error_class.in_(sorted(RETRYABLE_CLASSES))
    )
    return _by_batch(connection.execute(query.limit(limit).offset(offset)))


def count_needed(connection: Connection, batch_key: str) -> int:
    """Return how many CMMS assets of a batch are due, or failed with a class worth retrying."""
    is_retryable = sync_state.c.error_class.in_(sorted(RETRYABLE_CLASSES))
    return connection.execute(
        select(func.count()).where(
            sync_state.c.batch_key == batch_key, or_(sync_state.c.next_due_at <= func.now(), is_retryable)
        )
    ).scalar_one()


def count_members(connection: Connection) -> dict[str, int]:
    """Return the size of every batch, in the order of their keys."""
    rows = connection.execute(
        select(sync_state.c.batch_key, func.count().label("size"))
        .where(sync_state.c.batch_key.is_not(None))
        .group_by(sync_state.c.batch_key)
        .order_by(sync_state.c.batch_key)
    )
    return {row.batch_key: row.size for row in rows}


def open_request(connection: Connection, selection: dict[str, Any], *, resume_minutes: int) -> Request:
    """Open a request, or take up the same one that a killed or interrupted process left unfinished.

    What was asked for since `requested_at` belongs to the request already and is not asked for again.
    """
    row = connection.execute(
        select(sync_request.c.id, sync_request.c.requested_at)
        .where(
            sync_request.c.finished_at.is_(None),
            # Those with an asker are Dagster's to carry out.
            sync_request.c.asked_by.is_(None),
            sync_request.c.selection == selection,
            sync_request.c.requested_at > func.now() - func.make_interval(0, 0, 0, 0, 0, resume_minutes),
        )
        .order_by(sync_request.c.id.desc())
        .limit(1)
    ).first()
    if row is not None:
        return Request(row.id, row.requested_at, is_resumed=True)
    new = connection.execute(
        insert(sync_request)
        .values(selection=selection)
        .returning(sync_request.c.id, sync_request.c.requested_at)
    ).one()
    return Request(new.id, new.requested_at, is_resumed=False)


def finish_request(connection: Connection, request_id: int) -> None:
    """Close a request."""
    connection.execute(
        update(sync_request).where(sync_request.c.id == request_id).values(finished_at=func.clock_timestamp())
    )
