"""What the sync did over time: batch runs, and how many CMMS assets were synced when (spec 04, "HTTP")."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select

from innomaint_pipeline.store.innomaint.tables import asset_master, batch_log, sync_state

_SHOWN_RUNS = 500
_BUCKETS = 60


def load_history(connection: Connection, *, hours: int) -> dict[str, Any]:
    """Return the newest batch runs of the last so many hours, oldest first, and the progress over them."""
    now: datetime = connection.execute(select(func.now())).scalar_one()
    since = now - timedelta(hours=hours)
    newest = (
        select(
            batch_log.c.id,
            *(batch_log.c[name] for name in ("synced_at", "batch_key", "status", "duration_ms", "total")),
            (batch_log.c.assets_synced - batch_log.c.unchanged).label("changed"),
            batch_log.c.unchanged,
            batch_log.c.failed,
        )
        .where(batch_log.c.synced_at > since)
        .order_by(batch_log.c.synced_at.desc(), batch_log.c.id.desc())
        .limit(_SHOWN_RUNS)
        .subquery()
    )
    runs = connection.execute(
        select(*(column for column in newest.c if column.name != "id")).order_by(
            newest.c.synced_at, newest.c.id
        )
    )
    return {
        "runs": [dict(row) for row in runs.mappings()],
        "progress": _load_progress(connection, since, now),
        "total_assets": connection.execute(select(func.count()).select_from(asset_master)).scalar_one(),
    }


def _load_progress(connection: Connection, since: datetime, now: datetime) -> list[dict[str, Any]]:
    """Return at the end of each of 60 equal spans how many CMMS assets had their last success by then."""
    # 0 holds what was synced before, above the last what the clock of another machine put into the future.
    bucket = func.width_bucket(
        func.extract("epoch", sync_state.c.last_success_at), since.timestamp(), now.timestamp(), _BUCKETS
    )
    counted = connection.execute(
        select(bucket, func.count()).where(sync_state.c.last_success_at.is_not(None)).group_by(bucket)
    )
    counts: dict[int, int] = dict(counted.tuples().all())
    width = (now - since) / _BUCKETS
    synced = counts.get(0, 0)
    progress = []
    for number in range(1, _BUCKETS + 1):
        synced += counts.get(number, 0)
        if number == _BUCKETS:
            synced += counts.get(_BUCKETS + 1, 0)
        progress.append({"at": since + width * number, "synced": synced})
    return progress
