"""Each batch at a glance, and one in detail, for people (spec 04, "HTTP")."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, select, true

from innomaint_pipeline.domain.innomaint.batches import LEASES, batch_state
from innomaint_pipeline.domain.states import RETRYABLE_CLASSES, SyncState
from innomaint_pipeline.store.innomaint.overview import run_url
from innomaint_pipeline.store.innomaint.tables import asset_master, batch_log, sync_state
from innomaint_pipeline.store.leases import find_leases

_SHOWN_FAILURES = 200
_SHOWN_RUNS = 10
_RUN_COLUMNS = (
    *("run_id", "status", "synced_at", "duration_ms", "total"),
    *("assets_synced", "unchanged", "failed", "skipped"),
)


def load_batches(
    connection: Connection, *, dagster_url: str | None, batch_key: str | None = None
) -> list[dict[str, Any]]:
    """Return the batches in the order of their keys, or the one named."""
    state = sync_state.c.state
    is_retryable = sync_state.c.error_class.in_(sorted(RETRYABLE_CLASSES))
    counts = select(
        sync_state.c.batch_key,
        func.count().label("total"),
        func.count().filter(state == SyncState.SYNCED).label("synced"),
        func.count().filter(state == SyncState.FAILED).label("failed"),
        func.count().filter(state == SyncState.NEVER).label("never"),
        func.count().filter(is_retryable).label("retryable"),
        func.count().filter(sync_state.c.next_due_at <= func.now()).label("due"),
    ).where(sync_state.c.batch_key.is_not(None))
    if batch_key is not None:
        counts = counts.where(sync_state.c.batch_key == batch_key)
    counted = counts.group_by(sync_state.c.batch_key).subquery()
    names = ("run_id", "status", "synced_at", "duration_ms")
    last = (
        select(*(batch_log.c[name] for name in names))
        .where(batch_log.c.batch_key == counted.c.batch_key)
        .order_by(batch_log.c.synced_at.desc(), batch_log.c.id.desc())
        .limit(1)
        .lateral()
    )
    query = (
        select(counted, *(last.c[name] for name in names))
        .select_from(counted.outerjoin(last, true()))
        .order_by(counted.c.batch_key)
    )
    leased = {lease.key for lease in find_leases(connection, LEASES)}
    return [
        _as_batch(row, is_leased=row["batch_key"] in leased, dagster_url=dagster_url)
        for row in connection.execute(query).mappings()
    ]


def _as_batch(row: Any, *, is_leased: bool, dagster_url: str | None) -> dict[str, Any]:
    shown = ("batch_key", "total", "synced", "failed", "never", "retryable", "due")
    counts = {name: row[name] for name in shown}
    last = None
    if row["status"] is not None:
        last = {name: row[name] for name in ("run_id", "status", "synced_at", "duration_ms")}
        last["run_url"] = run_url(dagster_url, row["run_id"])
    state = batch_state(
        is_leased=is_leased,
        last_status=row["status"],
        **{name: row[name] for name in ("retryable", "failed", "synced", "never")},
    )
    return {**counts, "state": state, "last_run": last}


def load_batch(connection: Connection, batch_key: str, *, dagster_url: str | None) -> dict[str, Any] | None:
    """Return one batch with its failures and last runs, None when there is no such batch."""
    found = load_batches(connection, dagster_url=dagster_url, batch_key=batch_key)
    if not found:
        return None
    (batch,) = found
    failures = connection.execute(
        select(
            asset_master.c.cmms_asset_id,
            sync_state.c.error_class,
            sync_state.c.error_message.label("message"),
            sync_state.c.last_attempt_at,
            sync_state.c.next_due_at,
        )
        .join(asset_master, asset_master.c.asset_id == sync_state.c.asset_id)
        .where(sync_state.c.batch_key == batch_key, sync_state.c.state == SyncState.FAILED)
        .order_by(asset_master.c.report_seq_no.asc().nulls_last(), sync_state.c.asset_id)
        .limit(_SHOWN_FAILURES)
    )
    runs = connection.execute(
        select(*(batch_log.c[name] for name in _RUN_COLUMNS))
        .where(batch_log.c.batch_key == batch_key)
        .order_by(batch_log.c.synced_at.desc(), batch_log.c.id.desc())
        .limit(_SHOWN_RUNS)
    )
    return {
        **batch,
        "failures": [dict(row) for row in failures.mappings()],
        "failures_total": batch["failed"],
        "runs": [{**row, "run_url": run_url(dagster_url, row["run_id"])} for row in runs.mappings()],
    }
