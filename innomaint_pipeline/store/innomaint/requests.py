"""What is to be synced: due batches, a person's selection, requests that survive their process.

Belongs here: choosing CMMS assets across batches. Which of a batch a run then asks for is `states`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    case,
    cast,
    func,
    insert,
    or_,
    select,
    update,
)

from innomaint_pipeline.domain.innomaint.batches import BatchDemand
from innomaint_pipeline.domain.states import RETRYABLE_CLASSES, SyncState
from innomaint_pipeline.store.innomaint.batches import count_members as count_members  # noqa: PLC0414 # a selection, too
from innomaint_pipeline.store.innomaint.batches import due_by_kind
from innomaint_pipeline.store.tables import asset_master, sync_request, sync_state


@dataclass(frozen=True)
class Request:
    """A person's request; it stays open until it is finished, so that the same one can be taken up again."""

    id: int
    requested_at: datetime
    is_resumed: bool


def find_due_batches(connection: Connection) -> list[BatchDemand]:
    """Return batches with due CMMS assets: never synced first, then retryable failures, then the stalest."""
    return [BatchDemand(*row[:-1]) for row in connection.execute(_demands())]


@dataclass(frozen=True)
class UrgentDemands:
    """The most urgent due batches, and how many CMMS assets are due in all the others."""

    demands: list[BatchDemand]
    due_elsewhere: int


def find_urgent_batches(connection: Connection, limit: int) -> UrgentDemands:
    """Return the first `limit` of `find_due_batches`, without carrying ten thousand of them over."""
    rows = connection.execute(_demands().limit(limit)).all()
    demands = [BatchDemand(*row[:-1]) for row in rows]
    due = rows[0][-1] if rows else 0
    return UrgentDemands(demands, due - sum(demand.due for demand in demands))


def _demands() -> Select:
    due = due_by_kind()

    def assets(condition: ColumnElement[bool]) -> ColumnElement[int]:
        return cast(func.coalesce(func.sum(due.c.assets).filter(condition), 0), BigInteger)

    is_retryable = due.c.kind.in_(sorted(RETRYABLE_CLASSES))
    never, retryable = assets(due.c.kind == SyncState.NEVER), assets(is_retryable)
    everything = cast(func.sum(due.c.assets), BigInteger)
    oldest = func.min(due.c.oldest_due_at)
    return (
        select(
            due.c.batch_key,
            never.label("never"),
            retryable.label("retryable"),
            (everything - never - retryable).label("stale"),
            oldest.label("oldest_due_at"),
            cast(func.sum(everything).over(), BigInteger).label("due_in_all"),
        )
        .group_by(due.c.batch_key)
        .order_by(
            case((never > 0, 0), (retryable > 0, 1), else_=2),
            case((never > 0, None), else_=oldest),
            due.c.batch_key,
        )
    )


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
