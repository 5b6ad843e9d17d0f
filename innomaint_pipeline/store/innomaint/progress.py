"""The sync under way, as every surface tells it: how far it is, which batches, how long it will take.

A request of a person and a command have a selection and a start of their own. Without one it is what
continuous sync, or a person in Dagster's UI, does: since the round began, or what the leases tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select, union_all

from innomaint_pipeline.domain.innomaint import SOURCE
from innomaint_pipeline.domain.innomaint.batches import LEASES
from innomaint_pipeline.domain.innomaint.launches import LaunchesToCome
from innomaint_pipeline.domain.innomaint.progress import (
    OUTCOMES_AT_MOST,
    ROUND,
    BatchProgress,
    EndedRun,
    LastLaunch,
    Rates,
    SecondPass,
    SyncUnderWay,
    TimeLeft,
    combine_syncs,
    estimate_time_left,
    is_between_batches,
    measure_pace,
)
from innomaint_pipeline.domain.innomaint.selection import SYNC_REQUESTS, is_of_everything
from innomaint_pipeline.domain.pacing import SourceAccount
from innomaint_pipeline.domain.requests import LOOK_IS_LATE_SECONDS, RequestState
from innomaint_pipeline.domain.states import RETRYABLE_CLASSES, SyncState
from innomaint_pipeline.store.database import find_now
from innomaint_pipeline.store.innomaint.batch_runs import batch_runs, newest_runs
from innomaint_pipeline.store.innomaint.batches import count_by_kind, count_due
from innomaint_pipeline.store.innomaint.tables import asset_master, response, sync_state
from innomaint_pipeline.store.leases import Lease, find_leases
from innomaint_pipeline.store.pacing import load_rate_state
from innomaint_pipeline.store.requests import find_askers, find_open, seconds_since_look
from innomaint_pipeline.store.settings import PAUSED, clear_setting, load_setting, save_setting, stored_name
from innomaint_pipeline.store.tables import request_part, setting

COMMANDS = f"{SOURCE}-command/"
"""What the names of the leases begin with that a command holds while it syncs its selection."""

_MISSED_LOOKS = 3
_SLACK_SECONDS = 60.0


@dataclass(frozen=True)
class RunningBatch:
    """A batch that a run holds; `total` and `done` count the CMMS assets that the run asks for.

    `started_by` is who asked for that run, None where nobody did.
    """

    batch_key: str
    run_id: str
    since: datetime
    total: int
    done: int
    state: BatchProgress
    started_by: str | None


@dataclass(frozen=True)
class Progress:
    """The sync under way; between two batches it has none. `left` is None where no rate is known."""

    since: datetime
    total: int
    done: int
    batches: tuple[RunningBatch, ...]
    left: TimeLeft | None


def load_progress(connection: Connection, account: SourceAccount) -> Progress | None:
    """Return the sync under way, None while there is none; the connection must read a snapshot."""
    leases = find_leases(connection, LEASES)
    assets = sum(count_by_kind(connection).values())
    syncs = [*_of_commands(connection), *_of_requests(connection, has_leases=bool(leases))]
    own_round = None if syncs else find_round(connection)
    whole = combine_syncs(syncs or _of_its_own(connection, own_round, leases), assets=assets)
    if whole is None:
        return None
    last_launch = own_round.last_launch if own_round else None
    return Progress(
        whole.since,
        whole.total,
        whole.done,
        _load_batches(connection, leases),
        _estimate(connection, account, whole, leases, last_launch),
    )


def _of_commands(connection: Connection) -> list[SyncUnderWay]:
    return [
        SyncUnderWay(lease.acquired_at, lease.total, lease.done)
        for lease in find_leases(connection, COMMANDS)
    ]


def _of_requests(connection: Connection, *, has_leases: bool) -> list[SyncUnderWay]:
    """Return the requests that have a run; without a lease only while somebody looks after them."""
    look = seconds_since_look(connection, SYNC_REQUESTS)
    if not has_leases and (look is None or look > LOOK_IS_LATE_SECONDS):
        return []
    return [
        SyncUnderWay(
            request.requested_at,
            request.total,
            count_asked(
                connection,
                request.requested_at,
                None if is_of_everything(request.options) else _of_request(request.id),
            ),
        )
        for request in find_open(connection, SYNC_REQUESTS)
        if any(part.state != RequestState.WAITING or part.run_ids for part in request.parts)
    ]


def _of_request(request_id: int) -> ColumnElement[bool]:
    part = select(request_part.c.part).where(
        request_part.c.request_id == request_id,
        request_part.c.part == sync_state.c.batch_key,
        or_(
            func.jsonb_array_length(request_part.c["items"]) == 0,
            request_part.c["items"].has_key(asset_master.c.cmms_asset_id),
        ),
    )
    return part.exists()


def selected_by(names: Mapping[str, Sequence[str]]) -> ColumnElement[bool]:
    """Return the condition for the CMMS assets of a plan: whole batches, and those named of others."""
    whole = [key for key, group in names.items() if not group]
    named = [name for group in names.values() for name in group]
    return or_(sync_state.c.batch_key.in_(whole), asset_master.c.cmms_asset_id.in_(named))


def count_asked(connection: Connection, since: datetime, where: ColumnElement[bool] | None = None) -> int:
    """Count the CMMS assets of a selection, or all, that were asked for since a time, enriched or not."""
    is_fresh = sync_state.c.last_attempt_at >= since
    is_stored = and_(
        response.c.is_pending,
        response.c.fetched_at >= since,
        func.coalesce(sync_state.c.last_attempt_at < since, True),
    )
    known, stored = sync_state, response.join(sync_state, sync_state.c.asset_id == response.c.asset_id)
    if where is None:
        # In a form that the indexes answer: a million states are too many to look at every few seconds.
        is_synced = sync_state.c.last_success_at >= since
        is_failed = and_(
            sync_state.c.state == SyncState.FAILED,
            is_fresh,
            func.coalesce(sync_state.c.last_success_at < since, True),
        )
        counted = (
            select(func.count()).select_from(known).where(is_synced).scalar_subquery()
            + select(func.count()).select_from(known).where(is_failed).scalar_subquery()
            + select(func.count()).select_from(stored).where(is_stored).scalar_subquery()
        )
    else:
        known, stored = (
            found.join(asset_master, asset_master.c.asset_id == sync_state.c.asset_id)
            for found in (known, stored)
        )
        counted = (
            select(func.count()).select_from(known).where(is_fresh, where).scalar_subquery()
            + select(func.count()).select_from(stored).where(is_stored, where).scalar_subquery()
        )
    return connection.execute(select(counted)).scalar_one()


def _of_its_own(
    connection: Connection, own_round: Round | None, leases: Sequence[Lease]
) -> list[SyncUnderWay]:
    """Return what nobody's selection bounds: since the round began, everything that was or is due."""
    if own_round is None:
        if not leases:
            return []
        batches = _load_batches(connection, leases)
        return [SyncUnderWay(batch.since, batch.total, batch.done) for batch in batches]
    if not leases:
        newest, now = _find_newest_end(connection), find_now(connection)
        if load_setting(connection, SOURCE, PAUSED) or not is_between_batches(newest, now=now):
            return []
    since = own_round.began_at
    done = count_asked(connection, since)
    rest = count_due(connection) - _count_due_and_asked(connection, since)
    return [SyncUnderWay(since, done + rest, done)] if leases or rest else []


def _count_due_and_asked(connection: Connection, since: datetime) -> int:
    """Count those that are due by the tables, but asked for since a time: stored answers, new failures."""
    is_due = sync_state.c.next_due_at <= func.now()
    is_fresh = sync_state.c.last_attempt_at >= since
    failed = select(func.count()).where(sync_state.c.state == SyncState.FAILED, is_due, is_fresh)
    stored = (
        select(func.count())
        .select_from(response.join(sync_state, sync_state.c.asset_id == response.c.asset_id))
        .where(
            response.c.is_pending,
            response.c.fetched_at >= since,
            is_due,
            or_(sync_state.c.state != SyncState.FAILED, func.coalesce(~is_fresh, True)),
        )
    )
    return connection.execute(select(failed.scalar_subquery() + stored.scalar_subquery())).scalar_one()


def _find_newest_end(connection: Connection) -> EndedRun | None:
    row = connection.execute(newest_runs(batch_runs(), "synced_at", "status").limit(1)).first()
    return None if row is None else EndedRun(row.synced_at, row.status in {"failed", "cancelled"})


def _load_batches(connection: Connection, leases: Sequence[Lease]) -> tuple[RunningBatch, ...]:
    attempted = _count_attempted(connection, leases)
    askers = find_askers(connection, [lease.owner for lease in leases])
    batches = []
    for lease in leases:
        # The second pass counts from nothing again; what the run has asked for already stands in the states.
        done = max(lease.done, attempted.get(lease.key, 0))
        batches.append(
            RunningBatch(
                batch_key=lease.key,
                run_id=lease.owner,
                since=lease.acquired_at,
                total=max(lease.total, done),
                done=done,
                state=BatchProgress.RUNNING if done else BatchProgress.WAITING,
                started_by=askers.get(lease.owner),
            )
        )
    return tuple(batches)


def _count_attempted(connection: Connection, leases: Sequence[Lease]) -> dict[str, int]:
    rows = connection.execute(
        select(sync_state.c.batch_key, func.count())
        .where(
            sync_state.c.batch_key.in_([lease.key for lease in leases]),
            sync_state.c.run_id.in_([lease.owner for lease in leases]),
        )
        .group_by(sync_state.c.batch_key)
    )
    return {key: count for key, count in rows}  # noqa: C416 # rows are no tuples to a type checker


def _estimate(
    connection: Connection,
    account: SourceAccount,
    whole: SyncUnderWay,
    leases: Sequence[Lease],
    last_launch: LastLaunch | None,
) -> TimeLeft | None:
    rates = Rates(account.configured_rate_per_second)
    state = load_rate_state(connection, account.name)
    if state is not None:
        rate, seconds = state
        if rate.breaker_opened_at is not None:
            return None
        interval = rate.interval_seconds(1 / rates.allowed if rates.allowed else 0.0)
        began = min((lease.acquired_at.timestamp() for lease in leases), default=seconds)
        rates = Rates(
            allowed=1 / interval if interval else 0.0,
            measured=rate.measured_rate(seconds),
            running_seconds=seconds - began,
            stopped_seconds=max(rate.blocked_until - seconds, 0.0),
        )
    return estimate_time_left(
        whole,
        rates,
        pace=measure_pace(_newest_outcomes(connection, whole.since), now=find_now(connection)),
        last_launch=last_launch,
        second_passes=_find_second_passes(connection, leases),
    )


def _newest_outcomes(connection: Connection, since: datetime) -> list[datetime]:
    """Return when the newest outcomes since a time came, of whatever CMMS assets: they share one rate."""
    succeeded, attempted = sync_state.c.last_success_at, sync_state.c.last_attempt_at
    fetched = response.c.fetched_at
    is_failed = sync_state.c.state == SyncState.FAILED
    kinds = [
        (succeeded, succeeded >= since),
        (fetched, response.c.is_pending & (fetched >= since)),
        (attempted, is_failed & (attempted >= since)),
    ]
    newest = [
        select(
            select(moment.label("at")).where(where).order_by(moment.desc()).limit(OUTCOMES_AT_MOST).subquery()
        )
        for moment, where in kinds
    ]
    every = union_all(*newest).subquery()
    return list(
        connection.execute(select(every.c.at).order_by(every.c.at.desc()).limit(OUTCOMES_AT_MOST)).scalars()
    )


def _find_second_passes(connection: Connection, leases: Sequence[Lease]) -> list[SecondPass]:
    """Return what the batches under way ask for once more, as far as it is known and still to come."""
    held = {lease.key: lease for lease in leases}
    is_to_repeat = and_(
        sync_state.c.state == SyncState.FAILED, sync_state.c.error_class.in_(sorted(RETRYABLE_CLASSES))
    )
    rows = connection.execute(
        select(
            sync_state.c.batch_key,
            func.count().label("attempted"),
            func.sum(sync_state.c.attempts).filter(is_to_repeat).label("requests"),
            func.max(sync_state.c.duration_ms).filter(is_to_repeat).label("longest_ms"),
        )
        .where(sync_state.c.batch_key.in_(held), sync_state.c.run_id.in_([lease.owner for lease in leases]))
        .group_by(sync_state.c.batch_key)
    )
    found = []
    for row in rows:
        lease = held[row.batch_key]
        # The second pass counts from nothing again.
        asked_again = lease.done / lease.total if lease.total and lease.done < row.attempted else 0.0
        if row.requests:
            left = 1 - asked_again
            found.append(SecondPass(left * row.requests, left * (row.longest_ms or 0) / 1000))
    return found


@dataclass(frozen=True)
class Round:
    """A time in which continuous sync has something to do; `last_launch` is None where all is launched."""

    began_at: datetime
    last_launch: LastLaunch | None


def note_round(connection: Connection, to_come: LaunchesToCome | None, *, looks_every_seconds: float) -> None:
    """Note at a look of continuous sync what is left to launch; None: there is nothing to do.

    So a round begins, goes on, or ends. One that nobody has looked after for some looks is over, and the next
    look begins another one.
    """
    if to_come is None:
        clear_setting(connection, SOURCE, ROUND)
        return
    under_way = find_round(connection)
    began_at = under_way.began_at if under_way else find_now(connection)
    value: dict[str, Any] = {
        "began_at": began_at.isoformat(),
        "looks_every_seconds": looks_every_seconds,
        "looks_to_come": to_come.looks,
        "last_assets": to_come.last_assets,
    }
    save_setting(connection, SOURCE, ROUND, value)


def find_round(connection: Connection) -> Round | None:
    """Return the round of continuous sync, None where none is looked after."""
    age = func.extract("epoch", func.clock_timestamp() - setting.c.updated_at)
    row = connection.execute(
        select(setting.c.value, age).where(setting.c.name == stored_name(SOURCE, ROUND))
    ).first()
    if row is None:
        return None
    value, seconds = row[0], float(row[1])
    every = float(value["looks_every_seconds"])
    if seconds > _MISSED_LOOKS * every + _SLACK_SECONDS:
        return None
    # Absent from what a program of before had noted, until the next look.
    looks = value.get("looks_to_come", 0)
    launch = (
        LastLaunch(max(every - seconds, 0.0) + (looks - 1) * every, value["last_assets"]) if looks else None
    )
    return Round(datetime.fromisoformat(value["began_at"]), launch)
