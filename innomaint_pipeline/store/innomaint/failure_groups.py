"""Failures in groups that a person understands: one for each error class."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Column, Connection, func, select

from innomaint_pipeline.domain.states import (
    RETRYABLE_CLASSES,
    WHAT_TO_DO,
    ErrorClass,
    SyncState,
    title_of_failures,
)
from innomaint_pipeline.store.innomaint.tables import asset_master, sync_state

_TOP = 5
_EXAMPLES = 10
_IS_FAILED = sync_state.c.state == SyncState.FAILED


@dataclass(frozen=True)
class PlaceCount:
    """How many of a group are in a place, None for those without one."""

    location_name: str | None
    count: int


@dataclass(frozen=True)
class MessageCount:
    """How many of a group have a message."""

    message: str | None
    count: int


@dataclass(frozen=True)
class FailureGroup:
    """The failed CMMS assets of one class; the most frequent places and messages, and some ids.

    `failed_since` is when the first of them began to fail, whatever its class was then.
    """

    error_class: ErrorClass
    title: str
    count: int
    is_retryable: bool
    places: tuple[PlaceCount, ...]
    places_total: int
    failed_since: datetime | None
    last_attempt_at: datetime | None
    next_due_at: datetime | None
    what_to_do: str
    messages: tuple[MessageCount, ...]
    examples: tuple[str, ...]


def load_failure_groups(connection: Connection) -> list[FailureGroup]:
    """Return the groups, the largest first."""
    rows = connection.execute(
        select(
            sync_state.c.error_class,
            func.count().label("assets"),
            func.count(func.distinct(func.coalesce(asset_master.c.location_name, ""))).label("places_total"),
            func.min(sync_state.c.failed_since).label("failed_since"),
            func.max(sync_state.c.last_attempt_at).label("last_attempt_at"),
            func.min(sync_state.c.next_due_at).label("next_due_at"),
        )
        .join(asset_master, asset_master.c.asset_id == sync_state.c.asset_id)
        .where(_IS_FAILED)
        .group_by(sync_state.c.error_class)
        .order_by(func.count().desc(), sync_state.c.error_class)
    ).all()
    if not rows:
        return []
    places = _top(connection, asset_master.c.location_name)
    messages = _top(connection, sync_state.c.error_message)
    examples = _examples(connection)
    return [
        FailureGroup(
            error_class=error_class,
            title=title_of_failures(error_class, row.assets),
            count=row.assets,
            is_retryable=error_class in RETRYABLE_CLASSES,
            places=tuple(PlaceCount(*found) for found in places[error_class]),
            places_total=row.places_total,
            failed_since=row.failed_since,
            last_attempt_at=row.last_attempt_at,
            next_due_at=row.next_due_at,
            what_to_do=WHAT_TO_DO[error_class],
            messages=tuple(MessageCount(*found) for found in messages[error_class]),
            examples=tuple(examples[error_class]),
        )
        for row in rows
        for error_class in (ErrorClass(row.error_class),)
    ]


def _top(connection: Connection, column: Column) -> dict[str, list[tuple[str | None, int]]]:
    """Return the most frequent values of a column among the failed, by class, each with how many have it."""
    counted = func.count()
    rank = func.row_number().over(partition_by=sync_state.c.error_class, order_by=(counted.desc(), column))
    ranked = (
        select(sync_state.c.error_class, column.label("value"), counted.label("assets"), rank.label("rank"))
        .join(asset_master, asset_master.c.asset_id == sync_state.c.asset_id)
        .where(_IS_FAILED)
        .group_by(sync_state.c.error_class, column)
        .subquery()
    )
    found = defaultdict(list)
    query = select(ranked).where(ranked.c.rank <= _TOP).order_by(ranked.c.error_class, ranked.c.rank)
    for row in connection.execute(query):
        found[row.error_class].append((row.value, row.assets))
    return found


def _examples(connection: Connection) -> dict[str, list[str]]:
    order = (asset_master.c.report_seq_no.asc().nulls_last(), asset_master.c.asset_id)
    rank = func.row_number().over(partition_by=sync_state.c.error_class, order_by=order)
    ranked = (
        select(sync_state.c.error_class, asset_master.c.cmms_asset_id, rank.label("rank"))
        .join(asset_master, asset_master.c.asset_id == sync_state.c.asset_id)
        .where(_IS_FAILED)
        .subquery()
    )
    found = defaultdict(list)
    query = select(ranked).where(ranked.c.rank <= _EXAMPLES).order_by(ranked.c.error_class, ranked.c.rank)
    for row in connection.execute(query):
        found[row.error_class].append(row.cmms_asset_id)
    return found
