"""CMMS assets whose outcome the database refuses to note: innomaint_held_back.

A trigger, a policy or a constraint of somebody else may refuse the row of innomaint_sync_state itself. Then
`next_due_at` cannot say when the CMMS asset is due again, and it would be asked for at every look, for ever.
It is held back here for growing times, and people are told; once its state is noted, it is free again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import ColumnElement, Connection, Select, Subquery, and_, delete, exists, func, select
from sqlalchemy.dialects.postgresql import insert

from innomaint_pipeline.domain.states import ErrorClass, retry_delay
from innomaint_pipeline.store.innomaint.tables import asset_master, held_back, sync_state


def hold_back(connection: Connection, refused: Mapping[int, str]) -> None:
    """Hold CMMS assets back whose states were refused, each time for longer; `refused` holds why."""
    for asset_id, reason in refused.items():
        known = connection.execute(
            select(held_back.c.times).where(held_back.c.asset_id == asset_id)
        ).scalar_one_or_none()
        times = (known or 0) + 1
        values = {
            "times": times,
            "reason": reason,
            "held_until": func.clock_timestamp() + retry_delay(ErrorClass.INTERNAL, times),
        }
        statement = insert(held_back).values(asset_id=asset_id, **values)
        connection.execute(statement.on_conflict_do_update(index_elements=["asset_id"], set_=values))


def let_go(connection: Connection, asset_ids: Collection[int]) -> None:
    """Forget that CMMS assets were held back: their states are noted."""
    connection.execute(delete(held_back).where(held_back.c.asset_id.in_(sorted(asset_ids))))


def is_held_back() -> ColumnElement[bool]:
    """Return the condition that a state is of a CMMS asset that is held back now.

    No moment is waited for that lies further ahead than the longest wait: a clock may have been set back.
    """
    return exists().where(held_back.c.asset_id == sync_state.c.asset_id, _is_held())


def held_by_batch() -> Subquery:
    """Return how many due CMMS assets are held back: `batch_key`, `kind`, `assets`."""
    kind = func.coalesce(sync_state.c.error_class, sync_state.c.state)
    query: Select = (
        select(sync_state.c.batch_key, kind.label("kind"), func.count().label("assets"))
        .join(held_back, held_back.c.asset_id == sync_state.c.asset_id)
        .where(_is_held(), sync_state.c.next_due_at <= func.now())
        .group_by(sync_state.c.batch_key, kind)
    )
    return query.subquery("held")


def _is_held() -> ColumnElement[bool]:
    longest = retry_delay(ErrorClass.INTERNAL, 1000)
    return and_(held_back.c.held_until > func.now(), held_back.c.held_until <= func.now() + longest)


def find_held_back(connection: Connection) -> list[tuple[str, str]]:
    """Return the CMMS asset ids whose states are refused, each with the database's reason."""
    rows = connection.execute(
        select(asset_master.c.cmms_asset_id, held_back.c.reason)
        .join(asset_master, asset_master.c.asset_id == held_back.c.asset_id)
        .order_by(held_back.c.asset_id)
    )
    return [(row[0], row[1]) for row in rows]
