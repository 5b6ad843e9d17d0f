"""What is due, by batch, and the other facts that continuous sync decides by."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import BigInteger, ColumnElement, Connection, Select, case, cast, func, select, update

from innomaint_pipeline.domain.innomaint import SOURCE
from innomaint_pipeline.domain.innomaint.batches import LEASES, BatchDemand
from innomaint_pipeline.domain.innomaint.launches import SyncFacts
from innomaint_pipeline.domain.states import RETRYABLE_CLASSES, SyncState
from innomaint_pipeline.store.database import find_now
from innomaint_pipeline.store.innomaint.batch_runs import count_consecutive_failures, seconds_since_newest_run
from innomaint_pipeline.store.innomaint.batches import count_by_kind, due_by_kind
from innomaint_pipeline.store.innomaint.tables import sync_state
from innomaint_pipeline.store.leases import UP_LEASE, find_leases
from innomaint_pipeline.store.pacing import load_rate_state
from innomaint_pipeline.store.settings import (
    PAUSED,
    REFRESH_MINUTES,
    find_not_begun,
    load_setting,
    save_setting,
)

_CANDIDATES = 50


def load_sync_facts(connection: Connection, *, account: str, batches_in_runs: Collection[str]) -> SyncFacts:
    """Return the facts; `batches_in_runs` are those with a Dagster run queued or under way."""
    rate = load_rate_state(connection, account)
    probe_in_seconds = None
    if rate is not None and rate[0].breaker_opened_at is not None:
        probe_in_seconds = max(rate[0].breaker_probe_at - rate[1], 0.0)
    until_next_due = func.extract("epoch", func.min(sync_state.c.next_due_at) - func.clock_timestamp())
    leased = {lease.key for lease in find_leases(connection, LEASES)}
    in_flight = frozenset(leased | set(batches_in_runs))
    # Those in flight may be the most urgent ones, and no more are launched than have room beside them: a few
    # do, where ten thousand rows would take longer to carry over than to find.
    urgent = find_urgent_batches(connection, len(in_flight) + _CANDIDATES)
    return SyncFacts(
        total=sum(count_by_kind(connection).values()),
        demands=urgent.demands,
        due_elsewhere=urgent.due_elsewhere,
        in_flight=in_flight,
        is_paused=bool(load_setting(connection, SOURCE, PAUSED)),
        has_no_worker=find_not_begun(connection) is not None,
        probe_in_seconds=probe_in_seconds,
        consecutive_failures=count_consecutive_failures(connection),
        seconds_since_failure=_seconds_since_failure(connection),
        next_due_in_seconds=_number(
            connection.execute(select(until_next_due).where(sync_state.c.batch_key.is_not(None))).scalar_one()
        ),
    )


def _seconds_since_failure(connection: Connection) -> float | None:
    """Return how long ago the newest batch run has ended; None where the program was started since.

    Whoever corrects a setting and starts the program again, as advised, is not to wait for what went before.
    """
    seconds = seconds_since_newest_run(connection)
    started = [lease.acquired_at for lease in find_leases(connection, UP_LEASE)]
    if seconds is None or not started:
        return seconds
    return seconds if seconds < (find_now(connection) - max(started)).total_seconds() else None


def _number(value: object) -> float | None:
    return None if value is None else float(str(value))


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


def change_refresh_minutes(connection: Connection, minutes: int) -> int:
    """Store the interval and make it count at once, for CMMS assets synced before as well; return how many.

    `next_due_at` stays the one truth about when a CMMS asset is due.
    """
    save_setting(connection, SOURCE, REFRESH_MINUTES, minutes)
    due = sync_state.c.last_success_at + func.make_interval(0, 0, 0, 0, 0, minutes)
    changed = connection.execute(
        update(sync_state)
        .values(next_due_at=due)
        .where(sync_state.c.state == SyncState.SYNCED, sync_state.c.next_due_at != due)
        .returning(sync_state.c.asset_id)
    )
    return len(changed.all())
