"""The numbers of `innomaint status`, each recomputed from the tables, all in one snapshot (spec 04)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from innomaint_pipeline.domain.health import HealthFacts, assess_health
from innomaint_pipeline.domain.innomaint import SOURCE
from innomaint_pipeline.domain.innomaint.batches import LEASES
from innomaint_pipeline.domain.pacing import RateState
from innomaint_pipeline.domain.states import SyncState
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.innomaint.batches import count_by_kind, count_by_state, count_due, select_failed
from innomaint_pipeline.store.innomaint.tables import batch_log, sync_state
from innomaint_pipeline.store.leases import find_leases
from innomaint_pipeline.store.pacing import load_rate_state
from innomaint_pipeline.store.settings import (
    AUTH_REFUSED_AT,
    PAUSED,
    load_refresh_minutes,
    load_setting,
)

_API_SYNC = "api_sync"


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def load_status(
    database: Database, *, account: str, refresh_start_minutes: int, configured_rate_per_second: float
) -> dict[str, Any]:
    """Return the JSON of `status`; synced + failed + never = total, also while a sync runs.

    `configured_rate_per_second` is what the time to finish is estimated with until a rate was measured (0:
    unknown).
    """
    with database.snapshot() as connection:
        by_kind = count_by_kind(connection)
        counts = count_by_state(by_kind)
        leases = find_leases(connection, LEASES)
        due = count_due(connection)
        newest = [dict(row) for row in connection.execute(_newest_batches(5)).mappings()]
        totals = connection.execute(
            select(func.count(), func.avg(batch_log.c.duration_ms)).where(batch_log.c.sync_type == _API_SYNC)
        ).one()
        rate_state = load_rate_state(connection, account)
        facts = _health_facts(connection, by_kind, rate_state, refresh_start_minutes)
        measured = rate_state[0].measured_rate(rate_state[1]) if rate_state else 0.0
        rate = measured or configured_rate_per_second
        return {
            "total_assets": sum(by_kind.values()),
            "synced_assets": counts[SyncState.SYNCED],
            "failed_assets": counts[SyncState.FAILED],
            "never_synced": counts[SyncState.NEVER],
            "failed_by_class": select_failed(by_kind),
            "last_sync_at": _iso(newest[0]["synced_at"]) if newest else None,
            "last_batch": [{**row, "synced_at": _iso(row["synced_at"])} for row in newest],
            "in_progress": [
                {
                    "batch_key": lease.key,
                    "run_id": lease.owner,
                    "since": _iso(lease.acquired_at),
                    "total": lease.total,
                    "done": lease.done,
                }
                for lease in leases
            ],
            "rate_per_second": round(measured, 2),
            "eta_seconds": _estimate_seconds(due, rate, is_running=bool(leases)),
            "health": assess_health(facts),
            "total_syncs": totals[0],
            "consecutive_failures": facts.consecutive_failures,
            "average_duration_ms": None if totals[1] is None else round(totals[1]),
            "refresh_minutes": facts.refresh_minutes,
            "next_due_at": _iso(_next_due_at(connection)),
        }


def load_health_facts(connection: Connection, *, account: str, refresh_start_minutes: int) -> HealthFacts:
    """Return what health is judged by."""
    rate_state = load_rate_state(connection, account)
    return _health_facts(connection, count_by_kind(connection), rate_state, refresh_start_minutes)


def _health_facts(
    connection: Connection,
    by_kind: dict[str, int],
    rate_state: tuple[RateState, float] | None,
    refresh_start_minutes: int,
) -> HealthFacts:
    counts = count_by_state(by_kind)
    return HealthFacts(
        total=sum(by_kind.values()),
        synced=counts[SyncState.SYNCED],
        failed=counts[SyncState.FAILED],
        oldest_success_seconds=_oldest_success_seconds(connection),
        refresh_minutes=load_refresh_minutes(connection, SOURCE, refresh_start_minutes),
        consecutive_failures=count_consecutive_failures(connection),
        is_breaker_open=rate_state is not None and rate_state[0].breaker_opened_at is not None,
        is_paused=bool(load_setting(connection, SOURCE, PAUSED)),
        is_token_refused=load_setting(connection, SOURCE, AUTH_REFUSED_AT) is not None,
    )


def _estimate_seconds(due: int, rate: float, *, is_running: bool) -> int | None:
    if due == 0:
        return 0
    return round(due / rate) if is_running and rate > 0 else None


def _newest_batches(limit: int) -> Any:
    return select(batch_log).order_by(batch_log.c.synced_at.desc(), batch_log.c.id.desc()).limit(limit)


def _next_due_at(connection: Connection) -> datetime | None:
    return connection.execute(
        select(func.min(sync_state.c.next_due_at)).where(sync_state.c.batch_key.is_not(None))
    ).scalar_one()


def _oldest_success_seconds(connection: Connection) -> float | None:
    seconds = connection.execute(
        select(func.extract("epoch", func.now() - func.min(sync_state.c.last_success_at)))
    ).scalar_one()
    return None if seconds is None else float(seconds)


def count_consecutive_failures(connection: Connection) -> int:
    """Count the newest batch rows that say failed, up to a hundred."""
    statuses = connection.execute(
        select(batch_log.c.status)
        .where(batch_log.c.sync_type == _API_SYNC)
        .order_by(batch_log.c.synced_at.desc(), batch_log.c.id.desc())
        .limit(100)
    ).scalars()
    count = 0
    for status in statuses:
        if status != "failed":
            break
        count += 1
    return count
