"""What must always hold between the tables, as queries that count violations (spec 02, "at every moment")."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from innomaint_pipeline.domain.states import SyncState
from innomaint_pipeline.store.tables import asset_master, asset_performance, sync_state, workorder_summary


def count_states(connection: Connection) -> dict[str, int]:
    """Return CMMS assets by state, and `total`, the rows of ic3_asset_master, in one snapshot."""
    columns = [
        select(func.count()).select_from(sync_state).where(sync_state.c.state == state).scalar_subquery()
        for state in SyncState
    ]
    total = select(func.count()).select_from(asset_master).scalar_subquery()
    row = connection.execute(select(*columns, total)).one()
    return dict(zip([*SyncState, "total"], row, strict=True))


def count_assets_without_state(connection: Connection) -> int:
    """Return how many rows of ic3_asset_master have no state; must be 0."""
    state = select(sync_state.c.asset_id).where(sync_state.c.asset_id == asset_master.c.asset_id)
    return connection.execute(
        select(func.count()).select_from(asset_master).where(~state.exists())
    ).scalar_one()


def count_orphans(connection: Connection) -> dict[str, int]:
    """Return, by table, how many rows belong to no row of ic3_asset_master; must be 0."""
    orphans = {}
    for table in (asset_performance, workorder_summary):
        owner = select(asset_master.c.asset_id).where(asset_master.c.asset_id == table.c.asset_id)
        orphans[table.name] = connection.execute(
            select(func.count()).select_from(table).where(~owner.exists())
        ).scalar_one()
    return orphans
