"""What the admin page shows at a glance, each number recomputed from the tables (spec 04, "HTTP").

The JSON of `status` is `store.innomaint.status`'s; here stands what people want beside it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, literal, select, text, union_all

from innomaint_pipeline.domain.health import HealthMoments, explain_health
from innomaint_pipeline.domain.innomaint import SOURCE
from innomaint_pipeline.domain.innomaint.batches import LEASES
from innomaint_pipeline.domain.innomaint.progress import (
    EndedRun,
    estimate_time_left,
    find_wave,
    is_between_batches,
)
from innomaint_pipeline.domain.innomaint.selection import SYNC_REQUESTS
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.innomaint.batches import count_by_kind, count_due, select_failed
from innomaint_pipeline.store.innomaint.status import load_health_facts, load_status
from innomaint_pipeline.store.innomaint.tables import (
    IC3_TABLES,
    batch_log,
    data_issue,
    import_reject,
    response,
    sync_log,
    sync_state,
    unknown_field,
)
from innomaint_pipeline.store.leases import Lease, find_leases
from innomaint_pipeline.store.pacing import load_rate_state
from innomaint_pipeline.store.requests import LOOKED_AT, count_open, find_askers, find_recent
from innomaint_pipeline.store.settings import AUTH_REFUSED_AT, ORIGIN, PAUSED, load_setting, stored_name
from innomaint_pipeline.store.tables import request, setting

_READ_TABLES = (*IC3_TABLES, sync_state, response, data_issue, import_reject, unknown_field)
# Counting more rows than this takes longer than people wait: the server's own estimate will do.
_COUNTED_EXACTLY = 2_000_000
_WAVE_RUNS = 500


def load_overview(
    database: Database,
    *,
    account: str,
    refresh_start_minutes: int,
    configured_rate_per_second: float,
    dagster_url: str | None,
) -> dict[str, Any]:
    """Return the JSON of the overview."""
    status = load_status(
        database,
        account=account,
        refresh_start_minutes=refresh_start_minutes,
        configured_rate_per_second=configured_rate_per_second,
    )
    with database.snapshot() as connection:
        facts = load_health_facts(connection, account=account, refresh_start_minutes=refresh_start_minutes)
        health = explain_health(facts, _load_moments(connection, account, facts.refresh_minutes))
        leases = find_leases(connection, LEASES)
        ended = _load_ended(connection)
        now: datetime = connection.execute(select(func.now())).scalar_one()
        # Between two batches of one sync there is a pause in which nobody holds a lease.
        is_going_on = bool(leases) or (
            not facts.is_paused and is_between_batches(next(iter(ended), None), now=now)
        )
        due = count_due(connection) if is_going_on else 0
        allowed = _allowed_rate(connection, account, configured_rate_per_second)
        left = estimate_time_left(
            due, allowed_per_second=allowed or 0.0, measured_per_second=status["rate_per_second"]
        )
        return {
            "generated_at": datetime.now(UTC),
            "source": load_setting(connection, SOURCE, ORIGIN),
            "status": status,
            "rate_limit_per_second": round(configured_rate_per_second, 2) or None,
            "rate_now_limit_per_second": allowed,
            "health": vars(health),
            "eta": None if left is None else vars(left),
            "is_paused": facts.is_paused,
            "running": _load_running(connection, leases, ended, due, dagster_url),
            "requests": find_recent(connection, SYNC_REQUESTS),
            "dagster_url": dagster_url,
            "tables": count_tables(connection),
            "changed_at": _last_change(connection),
        }


def load_gauges(database: Database, *, account: str, refresh_start_minutes: int) -> dict[str, Any]:
    """Return the numbers that monitoring records."""
    with database.snapshot() as connection:
        facts = load_health_facts(connection, account=account, refresh_start_minutes=refresh_start_minutes)
        rate = load_rate_state(connection, account)
        newest = select(func.max(sync_state.c.last_success_at))
        return {
            "total": facts.total,
            "synced": facts.synced,
            "failed": facts.failed,
            "never": facts.total - facts.synced - facts.failed,
            "failed_by_class": select_failed(count_by_kind(connection)),
            "rate_per_second": rate[0].measured_rate(rate[1]) if rate else 0.0,
            "is_breaker_open": facts.is_breaker_open,
            "is_paused": facts.is_paused,
            "due": count_due(connection),
            "in_flight": len(find_leases(connection, LEASES)),
            "open_requests": count_open(connection, SYNC_REQUESTS),
            "last_success_at": connection.execute(newest).scalar_one(),
        }


def run_url(dagster_url: str | None, run_id: str | None) -> str | None:
    """Return the address of a run in Dagster's UI, None where it is not known."""
    return f"{dagster_url.rstrip('/')}/runs/{run_id}" if dagster_url and run_id else None


def _allowed_rate(connection: Connection, account: str, configured: float) -> float | None:
    state = load_rate_state(connection, account)
    if state is None:
        return round(configured, 2) or None
    interval = state[0].interval_seconds(1 / configured if configured else 0.0)
    return round(1 / interval, 2) if interval else None


def _load_moments(connection: Connection, account: str, refresh_minutes: int) -> HealthMoments:
    stamps = {
        row.name: row.updated_at for row in connection.execute(select(setting.c.name, setting.c.updated_at))
    }
    rate = load_rate_state(connection, account)
    opened = rate[0].breaker_opened_at if rate is not None else None
    oldest = connection.execute(select(func.min(sync_state.c.last_success_at))).scalar_one()
    return HealthMoments(
        paused_at=stamps.get(stored_name(SOURCE, PAUSED)),
        breaker_opened_at=None if opened is None else datetime.fromtimestamp(opened, UTC),
        token_refused_at=stamps.get(stored_name(SOURCE, AUTH_REFUSED_AT)),
        failing_since=_failing_since(connection),
        stale_since=None if oldest is None else oldest + timedelta(minutes=2 * refresh_minutes),
    )


def _failing_since(connection: Connection) -> datetime | None:
    """Return when the first of the newest batch runs that failed in a row has ended."""
    good = select(func.max(batch_log.c.synced_at)).where(batch_log.c.status != "failed")
    return connection.execute(
        select(func.min(batch_log.c.synced_at)).where(
            batch_log.c.status == "failed",
            batch_log.c.synced_at > func.coalesce(good.scalar_subquery(), text("'-infinity'::timestamptz")),
        )
    ).scalar_one()


def _load_running(
    connection: Connection, leases: list[Lease], ended: list[EndedRun], due: int, dagster_url: str | None
) -> dict[str, Any] | None:
    if not leases:
        if not due:
            return None
        wave = find_wave(ended[0].ended_at, ended)
        return {"done": wave.asked, "total": wave.asked + due, "since": wave.since, "batches": []}
    attempted = _count_attempted(connection, leases)
    askers = find_askers(connection, [lease.owner for lease in leases])
    batches = []
    for lease in leases:
        # The second pass counts from nothing again; what the run has asked for already stands in the states.
        done = max(lease.done, attempted.get(lease.key, 0))
        batches.append(
            {
                "batch_key": lease.key,
                "done": done,
                "total": max(lease.total, done),
                "run_id": lease.owner,
                "since": lease.acquired_at,
                "run_url": run_url(dagster_url, lease.owner),
                "started_by": askers.get(lease.owner),
            }
        )
    wave = find_wave(min(lease.acquired_at for lease in leases), ended)
    done = wave.asked + sum(batch["done"] for batch in batches)
    rest = sum(batch["total"] - batch["done"] for batch in batches)
    # Stored answers that are not enriched yet are asked for, and still due.
    still_due = due - sum(max(lease.done - attempted.get(lease.key, 0), 0) for lease in leases)
    return {"done": done, "total": done + max(rest, still_due), "since": wave.since, "batches": batches}


def _count_attempted(connection: Connection, leases: list[Lease]) -> dict[str, int]:
    rows = connection.execute(
        select(sync_state.c.batch_key, func.count())
        .where(
            sync_state.c.batch_key.in_([lease.key for lease in leases]),
            sync_state.c.run_id.in_([lease.owner for lease in leases]),
        )
        .group_by(sync_state.c.batch_key)
    )
    return {key: count for key, count in rows}  # noqa: C416 # rows are no tuples to a type checker


def _load_ended(connection: Connection) -> list[EndedRun]:
    columns = (
        batch_log.c.synced_at,
        batch_log.c.duration_ms,
        batch_log.c.assets_synced,
        batch_log.c.failed,
        batch_log.c.status,
    )
    rows = connection.execute(
        select(*columns).order_by(batch_log.c.synced_at.desc(), batch_log.c.id.desc()).limit(_WAVE_RUNS)
    )
    return [
        EndedRun(
            row.synced_at,
            row.duration_ms or 0,
            (row.assets_synced or 0) + (row.failed or 0),
            is_stopped=row.status in {"failed", "cancelled"},
        )
        for row in rows
        if row.synced_at is not None
    ]


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
        select(func.max(batch_log.c.synced_at)).scalar_subquery(),
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
