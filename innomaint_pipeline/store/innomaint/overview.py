"""What the admin page shows at a glance, and what monitoring records, each recomputed from the tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, literal, select, text, union_all

from innomaint_pipeline.domain.health import HealthReport
from innomaint_pipeline.domain.innomaint import SOURCE
from innomaint_pipeline.domain.innomaint.batches import LEASES
from innomaint_pipeline.domain.innomaint.progress import (
    EndedRun,
    TimeLeft,
    estimate_time_left,
    find_wave,
    is_between_batches,
)
from innomaint_pipeline.domain.innomaint.selection import SYNC_REQUESTS
from innomaint_pipeline.domain.pacing import SourceAccount
from innomaint_pipeline.store.innomaint.batch_runs import batch_runs, find_ended_runs
from innomaint_pipeline.store.innomaint.batches import count_by_kind, count_due, select_failed
from innomaint_pipeline.store.innomaint.health import load_health_facts
from innomaint_pipeline.store.innomaint.status import Status, load_status
from innomaint_pipeline.store.innomaint.tables import (
    IC3_TABLES,
    data_issue,
    import_reject,
    response,
    sync_log,
    sync_state,
    unknown_field,
)
from innomaint_pipeline.store.leases import Lease, find_leases
from innomaint_pipeline.store.pacing import load_rate_state
from innomaint_pipeline.store.requests import LOOKED_AT, RecentRequest, count_open, find_askers, find_recent
from innomaint_pipeline.store.settings import ORIGIN, load_setting, stored_name
from innomaint_pipeline.store.tables import request, setting

_READ_TABLES = (*IC3_TABLES, sync_state, response, data_issue, import_reject, unknown_field)
# Counting more rows than this takes longer than people wait: the server's own estimate will do.
_COUNTED_EXACTLY = 2_000_000


@dataclass(frozen=True)
class RunningBatch:
    """A batch that a run works on, and who asked for that run, None where nobody did."""

    batch_key: str
    done: int
    total: int
    run_id: str
    since: datetime
    started_by: str | None


@dataclass(frozen=True)
class Running:
    """The sync under way: CMMS assets done since it began, and all of it; between two batches it has none."""

    done: int
    total: int
    since: datetime
    batches: tuple[RunningBatch, ...]


@dataclass(frozen=True)
class Overview:
    """What the page shows at a glance; rates are requests a second, None where there is no limit.

    `changed_at` is when anything was last written that the page shows.
    """

    generated_at: datetime
    source: str | None
    status: Status
    rate_limit_per_second: float | None
    rate_now_limit_per_second: float | None
    health: HealthReport
    eta: TimeLeft | None
    is_paused: bool
    running: Running | None
    requests: tuple[RecentRequest, ...]
    tables: dict[str, int]
    changed_at: datetime | None


def load_overview(connection: Connection, account: SourceAccount) -> Overview:
    """Return the overview; the connection must read a snapshot, or its parts tell of several moments."""
    status = load_status(connection, account)
    facts = load_health_facts(connection, account)
    leases = find_leases(connection, LEASES)
    ended = find_ended_runs(connection)
    now, clock = connection.execute(select(func.now(), func.clock_timestamp())).one()
    # Between two batches of one sync there is a pause in which nobody holds a lease.
    is_going_on = bool(leases) or (
        not facts.is_paused and is_between_batches(next(iter(ended), None), now=now)
    )
    due = count_due(connection) if is_going_on else 0
    allowed = _allowed_rate(connection, account)
    return Overview(
        generated_at=clock,
        source=load_setting(connection, SOURCE, ORIGIN),
        status=status,
        rate_limit_per_second=round(account.configured_rate_per_second, 2) or None,
        rate_now_limit_per_second=allowed,
        health=status.report,
        eta=estimate_time_left(
            due, allowed_per_second=allowed or 0.0, measured_per_second=status.rate_per_second
        ),
        is_paused=facts.is_paused,
        running=_load_running(connection, leases, ended, due),
        requests=find_recent(connection, SYNC_REQUESTS),
        tables=count_tables(connection),
        changed_at=_last_change(connection),
    )


@dataclass(frozen=True)
class Gauges:
    """The numbers that monitoring records; `due` are CMMS assets, `in_flight` batches."""

    total: int
    synced: int
    failed: int
    never: int
    failed_by_class: dict[str, int]
    rate_per_second: float
    is_breaker_open: bool
    is_paused: bool
    due: int
    in_flight: int
    open_requests: int
    last_success_at: datetime | None


def load_gauges(connection: Connection, account: SourceAccount) -> Gauges:
    """Return the gauges; the connection must read a snapshot."""
    facts = load_health_facts(connection, account)
    rate = load_rate_state(connection, account.name)
    newest = select(func.max(sync_state.c.last_success_at))
    return Gauges(
        total=facts.total,
        synced=facts.synced,
        failed=facts.failed,
        never=facts.total - facts.synced - facts.failed,
        failed_by_class=select_failed(count_by_kind(connection)),
        rate_per_second=rate[0].measured_rate(rate[1]) if rate else 0.0,
        is_breaker_open=facts.is_breaker_open,
        is_paused=facts.is_paused,
        due=count_due(connection),
        in_flight=len(find_leases(connection, LEASES)),
        open_requests=count_open(connection, SYNC_REQUESTS),
        last_success_at=connection.execute(newest).scalar_one(),
    )


def _allowed_rate(connection: Connection, account: SourceAccount) -> float | None:
    configured = account.configured_rate_per_second
    state = load_rate_state(connection, account.name)
    if state is None:
        return round(configured, 2) or None
    interval = state[0].interval_seconds(1 / configured if configured else 0.0)
    return round(1 / interval, 2) if interval else None


def _load_running(
    connection: Connection, leases: Sequence[Lease], ended: Sequence[EndedRun], due: int
) -> Running | None:
    if not leases:
        if not due:
            return None
        wave = find_wave(ended[0].ended_at, ended)
        return Running(wave.asked, wave.asked + due, wave.since, ())
    attempted = _count_attempted(connection, leases)
    askers = find_askers(connection, [lease.owner for lease in leases])
    batches = []
    for lease in leases:
        # The second pass counts from nothing again; what the run has asked for already stands in the states.
        done = max(lease.done, attempted.get(lease.key, 0))
        batches.append(
            RunningBatch(
                batch_key=lease.key,
                done=done,
                total=max(lease.total, done),
                run_id=lease.owner,
                since=lease.acquired_at,
                started_by=askers.get(lease.owner),
            )
        )
    wave = find_wave(min(lease.acquired_at for lease in leases), ended)
    done = wave.asked + sum(batch.done for batch in batches)
    rest = sum(batch.total - batch.done for batch in batches)
    # Stored answers that are not enriched yet are asked for, and still due.
    still_due = due - sum(max(lease.done - attempted.get(lease.key, 0), 0) for lease in leases)
    return Running(done, done + max(rest, still_due), wave.since, tuple(batches))


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


def count_tables(connection: Connection) -> dict[str, int]:
    """Return how many rows each table holds that people read; of a huge one the server's estimate."""
    names = [table.name for table in _READ_TABLES]
    found = connection.execute(
        text(
            "SELECT relname, reltuples::bigint FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace "
            "WHERE nspname = current_schema() AND relkind IN ('r', 'p') AND relname = ANY(:names)"
        ),
        {"names": names},
    )
    counts: dict[str, int] = dict(found.tuples().all())
    small = [table for table in _READ_TABLES if counts.get(table.name, 0) <= _COUNTED_EXACTLY]
    counted = union_all(
        *(select(literal(table.name), func.count().label("rows")).select_from(table) for table in small)
    )
    return counts | dict(connection.execute(counted).tuples().all())


def _last_change(connection: Connection) -> datetime | None:
    newest = (
        select(func.max(batch_runs().c.synced_at)).scalar_subquery(),
        select(func.max(sync_log.c.synced_at)).scalar_subquery(),
        select(func.max(sync_state.c.last_success_at)).scalar_subquery(),
        select(func.max(setting.c.updated_at))
        .where(setting.c.name != stored_name(SYNC_REQUESTS, LOOKED_AT))
        .scalar_subquery(),
        select(
            func.greatest(func.max(request.c.requested_at), func.max(request.c.finished_at))
        ).scalar_subquery(),
    )
    return connection.execute(select(func.greatest(*newest))).scalar_one()
