"""Batch rows and settings: cmms_sync_log, innomaint_setting (spec 02)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Integer, cast, delete, func, insert, literal, select
from sqlalchemy.dialects.postgresql import insert as upsert

from innomaint_pipeline import crash_points
from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline.store.innomaint.states import RunCounts
from innomaint_pipeline.store.tables import batch_lease, batch_log, setting

REFRESH = "refresh_minutes"
ORIGIN = "data_origin"
PAUSED = "paused"
AUTH_REFUSED = "auth_refused_at"
IMPORT_FAILED = "import_error"
SYNC_INTERVAL = "sync_interval_seconds"


def save_batch_row(
    connection: Connection, *, batch_key: str, run_id: str, status: str, total: int, counts: RunCounts
) -> None:
    """Append the row of a batch run; its duration runs from the moment the run took the batch's lease.

    A row that says the same of the same run is not written twice: when the connection is lost at the commit,
    the step is repeated without knowing whether its row is there.
    """
    began = select(batch_lease.c.acquired_at).where(
        batch_lease.c.owner == run_id, batch_lease.c.batch_key == batch_key
    )
    elapsed = (
        func.extract("epoch", func.clock_timestamp() - func.coalesce(began.scalar_subquery(), func.now()))
        * 1000
    )
    outcome = {
        "sync_type": "api_sync",
        "status": status,
        "assets_synced": counts.success,
        "batch_key": batch_key,
        "run_id": run_id,
        "total": total,
        "failed": counts.failed,
        "unchanged": counts.unchanged,
        "skipped": max(total - counts.success - counts.failed, 0),
    }
    is_written = select(batch_log.c.id).where(
        *(batch_log.c[name] == value for name, value in outcome.items())
    )
    values = [literal(value, batch_log.c[name].type) for name, value in outcome.items()]
    connection.execute(
        insert(batch_log).from_select(
            [*outcome, "duration_ms", "synced_at"],
            select(*values, cast(elapsed, Integer), func.clock_timestamp()).where(~is_written.exists()),
        )
    )
    crash_points.reach("settle: batch row written")


@dataclass(frozen=True)
class BatchSums:
    """The batch rows of some runs, added up."""

    rows: int
    success: int
    failed: int
    unchanged: int


def sum_batch_rows(connection: Connection, run_ids: Sequence[str]) -> BatchSums:
    """Add up the batch rows of runs, of each run and batch the newest."""
    names = ("assets_synced", "failed", "unchanged")
    newest = (
        select(*(batch_log.c[name] for name in names))
        .where(batch_log.c.run_id.in_(list(run_ids)))
        .distinct(batch_log.c.run_id, batch_log.c.batch_key)
        .order_by(batch_log.c.run_id, batch_log.c.batch_key, batch_log.c.id.desc())
        .subquery()
    )
    sums = (func.coalesce(func.sum(newest.c[name]), 0) for name in names)
    row = connection.execute(select(func.count(), *sums).select_from(newest)).one()
    return BatchSums(*row)


def find_row_statuses(connection: Connection, run_ids: Sequence[str]) -> dict[str, str]:
    """Return the status of the batch row of each run that wrote one."""
    rows = connection.execute(
        select(batch_log.c.run_id, batch_log.c.status).where(batch_log.c.run_id.in_(list(run_ids)))
    )
    return dict(rows.tuples().all())


def load_setting(connection: Connection, name: str) -> Any:
    """Return a stored setting's JSON value, None when it was never set."""
    return connection.execute(select(setting.c.value).where(setting.c.name == name)).scalar_one_or_none()


def save_setting(connection: Connection, name: str, value: Any) -> None:
    """Store a setting's JSON value."""
    statement = upsert(setting).values(name=name, value=value)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["name"], set_={"value": statement.excluded.value, "updated_at": func.now()}
        )
    )


def clear_setting(connection: Connection, name: str) -> None:
    """Forget a stored setting."""
    connection.execute(delete(setting).where(setting.c.name == name))


def set_paused(connection: Connection, *, is_paused: bool) -> None:
    """Pause continuous sync, or let it go on; a pause keeps the time at which it began."""
    if not is_paused:
        clear_setting(connection, PAUSED)
    elif not load_setting(connection, PAUSED):
        save_setting(connection, PAUSED, value=True)


def load_refresh_minutes(connection: Connection, start_value: int) -> int:
    """Return the refresh interval: the stored setting, else the environment's start value."""
    stored = load_setting(connection, REFRESH)
    return start_value if stored is None else int(stored)


def claim_origin(connection: Connection, origin: str) -> None:
    """Make sure that a database holds either live or simulated data, never both (spec 04).

    `origin` is `live` or `simulated`; the first sync decides. Raises `ConfigurationError` for the other one.
    """
    connection.execute(upsert(setting).values(name=ORIGIN, value=origin).on_conflict_do_nothing())
    stored = load_setting(connection, ORIGIN)
    if stored != origin:
        raise ConfigurationError(
            f"this database holds {stored} data, and INNOMAINT_API_URL leads to a {origin} source: "
            "they are never mixed. "
            "Use another database (IC3_DATABASE_URL or INNOMAINT_HOME), or correct INNOMAINT_API_URL"
        )
