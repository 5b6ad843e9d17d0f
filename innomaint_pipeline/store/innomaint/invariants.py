"""What must always hold between the tables, as queries that count violations (docs/tables.md)."""

from __future__ import annotations

from sqlalchemy import Connection, Select, func, literal, or_, select

from innomaint_pipeline.domain.innomaint.batches import LEASES
from innomaint_pipeline.domain.states import SyncState
from innomaint_pipeline.store.innomaint.tables import (
    asset_master,
    asset_performance,
    batch_log,
    response,
    sync_state,
    workorder_summary,
)
from innomaint_pipeline.store.tables import lease


def count_states(connection: Connection) -> dict[str, int]:
    """Return CMMS assets by state, and `total`, the rows of ic3_asset_master, in one snapshot."""
    columns = [
        select(func.count()).select_from(sync_state).where(sync_state.c.state == state).scalar_subquery()
        for state in SyncState
    ]
    total = select(func.count()).select_from(asset_master).scalar_subquery()
    row = connection.execute(select(*columns, total)).one()
    return dict(zip([*SyncState, "total"], row, strict=True))


def count_violations(connection: Connection) -> dict[str, int]:
    """Return, by the name of what must hold, how many rows break it, in one snapshot; each must be 0."""
    queries = {
        "assets_without_state": _assets_without_state(),
        "failed_without_class": _failed_without_class(),
        "synced_without_answer": _synced_without_answer(),
        "batch_sums": _batch_sums(),
        "leases_of_finished_runs": _leases_of_finished_runs(),
    }
    row = connection.execute(select(*(query.scalar_subquery() for query in queries.values()))).one()
    return dict(zip(queries, row, strict=True))


def _assets_without_state() -> Select:
    state = select(sync_state.c.asset_id).where(sync_state.c.asset_id == asset_master.c.asset_id)
    return select(func.count()).select_from(asset_master).where(~state.exists())


def _failed_without_class() -> Select:
    """Count failed ones without an error class, and others with one."""
    is_failed = sync_state.c.state == SyncState.FAILED
    return (
        select(func.count()).select_from(sync_state).where(is_failed != sync_state.c.error_class.is_not(None))
    )


def _synced_without_answer() -> Select:
    """Count synced ones without a stored answer, or without the time of their last success."""
    answer = select(response.c.asset_id).where(response.c.asset_id == sync_state.c.asset_id)
    return (
        select(func.count())
        .select_from(sync_state.join(asset_master, asset_master.c.asset_id == sync_state.c.asset_id))
        .where(
            sync_state.c.state == SyncState.SYNCED,
            or_(
                ~answer.exists(),
                asset_master.c.last_synced_at.is_(None),
                sync_state.c.last_success_at.is_(None),
            ),
        )
    )


def _batch_sums() -> Select:
    """Count batch rows of this project whose numbers do not add up; other programs' rows have no total."""
    added = batch_log.c.assets_synced + batch_log.c.failed + batch_log.c.skipped
    return (
        select(func.count())
        .select_from(batch_log)
        .where(or_(added != batch_log.c.total, batch_log.c.unchanged > batch_log.c.assets_synced))
    )


def _leases_of_finished_runs() -> Select:
    """Count leases whose run has written its batch row since it took them."""
    row = select(batch_log.c.id).where(
        batch_log.c.run_id == lease.c.owner,
        literal(LEASES) + batch_log.c.batch_key == lease.c.resource,
        batch_log.c.synced_at >= lease.c.acquired_at,
    )
    return select(func.count()).select_from(lease).where(row.exists())


def count_orphans(connection: Connection) -> dict[str, int]:
    """Return, by table, how many rows belong to no row of ic3_asset_master; must be 0."""
    orphans = {}
    for table in (asset_performance, workorder_summary):
        owner = select(asset_master.c.asset_id).where(asset_master.c.asset_id == table.c.asset_id)
        orphans[table.name] = connection.execute(
            select(func.count()).select_from(table).where(~owner.exists())
        ).scalar_one()
    return orphans
