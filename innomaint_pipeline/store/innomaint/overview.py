"""What the admin page shows at a glance, and what monitoring records, each recomputed from the tables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Double, cast, func, literal, select, text, union_all

from innomaint_pipeline.domain.health import Health, HealthReport
from innomaint_pipeline.domain.innomaint import SOURCE
from innomaint_pipeline.domain.innomaint.batches import LEASES
from innomaint_pipeline.domain.innomaint.health import assess_health
from innomaint_pipeline.domain.innomaint.progress import ROUND, TimeLeft
from innomaint_pipeline.domain.innomaint.selection import SYNC_REQUESTS
from innomaint_pipeline.domain.pacing import SourceAccount
from innomaint_pipeline.domain.workbook import SOURCE as WORKBOOK
from innomaint_pipeline.store.innomaint.batch_runs import batch_runs
from innomaint_pipeline.store.innomaint.batches import count_by_kind, count_due, select_failed
from innomaint_pipeline.store.innomaint.health import load_health_facts
from innomaint_pipeline.store.innomaint.progress import Progress
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
from innomaint_pipeline.store.leases import find_leases
from innomaint_pipeline.store.pacing import load_rate_state
from innomaint_pipeline.store.requests import LOOKED_AT, RecentRequest, count_open, find_recent
from innomaint_pipeline.store.settings import LAST_IMPORT, ORIGIN, load_setting, stored_name
from innomaint_pipeline.store.tables import request, setting

_READ_TABLES = (*IC3_TABLES, sync_state, response, data_issue, import_reject, unknown_field)
_NOTED_AT_EACH_LOOK = [stored_name(SYNC_REQUESTS, LOOKED_AT), stored_name(SOURCE, ROUND)]
# Counting more rows than this takes longer than people wait: the server's own estimate will do.
_COUNTED_EXACTLY = 2_000_000


@dataclass(frozen=True)
class LastImport:
    """When a workbook was last imported, and what the import counted."""

    at: datetime
    workbook: str
    rows: int
    inserted: int
    updated: int
    unchanged: int
    rejected: int
    missing: int


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
    running: Progress | None
    requests: tuple[RecentRequest, ...]
    tables: dict[str, int]
    last_answer_at: datetime | None
    last_change_at: datetime | None
    last_import: LastImport | None
    changed_at: datetime | None


def load_overview(connection: Connection, account: SourceAccount) -> Overview:
    """Return the overview; the connection must read a snapshot, or its parts tell of several moments."""
    status = load_status(connection, account)
    facts = load_health_facts(connection, account)
    clock = connection.execute(select(func.clock_timestamp())).scalar_one()
    return Overview(
        generated_at=clock,
        source=load_setting(connection, SOURCE, ORIGIN),
        status=status,
        rate_limit_per_second=round(account.configured_rate_per_second, 2) or None,
        rate_now_limit_per_second=_allowed_rate(connection, account),
        health=status.report,
        eta=status.progress.left if status.progress else None,
        is_paused=facts.is_paused,
        running=status.progress,
        requests=find_recent(connection, SYNC_REQUESTS),
        tables=count_tables(connection),
        last_answer_at=status.last_answer_at,
        last_change_at=status.last_change_at,
        last_import=_load_last_import(connection),
        changed_at=_last_change(connection),
    )


@dataclass(frozen=True)
class Gauges:
    """The numbers that monitoring records; `due` are CMMS assets, `in_flight` batches.

    Ages are by the database's clock; `last_success_age_seconds` is None before the first good answer.
    """

    health: Health
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
    last_success_age_seconds: float | None


def load_gauges(connection: Connection, account: SourceAccount) -> Gauges:
    """Return the gauges; the connection must read a snapshot."""
    facts = load_health_facts(connection, account)
    rate = load_rate_state(connection, account.name)
    newest = func.max(sync_state.c.last_success_at)
    # Null where there is none yet.
    elapsed = func.greatest(func.clock_timestamp(), newest) - newest
    age = select(cast(func.extract("epoch", elapsed), Double))
    return Gauges(
        health=assess_health(facts),
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
        last_success_age_seconds=connection.execute(age).scalar_one(),
    )


def _allowed_rate(connection: Connection, account: SourceAccount) -> float | None:
    configured = account.configured_rate_per_second
    state = load_rate_state(connection, account.name)
    if state is None:
        return round(configured, 2) or None
    interval = state[0].interval_seconds(1 / configured if configured else 0.0)
    return round(1 / interval, 2) if interval else None


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


def _load_last_import(connection: Connection) -> LastImport | None:
    """Return the last import of a workbook, None before the first."""
    stored = select(setting.c.updated_at, setting.c.value).where(
        setting.c.name == stored_name(WORKBOOK, LAST_IMPORT)
    )
    row = connection.execute(stored).first()
    if row is None:
        return None
    at, report = row
    counts = ("rows", "inserted", "updated", "unchanged", "rejected", "missing")
    return LastImport(at, report["workbook"], **{name: report[name] for name in counts})


def _last_change(connection: Connection) -> datetime | None:
    newest = (
        select(func.max(batch_runs().c.synced_at)).scalar_subquery(),
        select(func.max(sync_log.c.synced_at)).scalar_subquery(),
        select(func.max(sync_state.c.last_success_at)).scalar_subquery(),
        select(func.max(setting.c.updated_at))
        .where(setting.c.name.not_in(_NOTED_AT_EACH_LOOK))
        .scalar_subquery(),
        select(
            func.greatest(func.max(request.c.requested_at), func.max(request.c.finished_at))
        ).scalar_subquery(),
    )
    return connection.execute(select(func.greatest(*newest))).scalar_one()
