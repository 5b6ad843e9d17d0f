"""The refresh interval: after how long a synced CMMS asset is due again (docs/how-it-works.md)."""

from __future__ import annotations

from sqlalchemy import Connection, func, update

from innomaint_pipeline.domain.innomaint import SOURCE
from innomaint_pipeline.domain.states import SyncState
from innomaint_pipeline.store.innomaint.tables import sync_state
from innomaint_pipeline.store.settings import REFRESH_MINUTES, save_setting


def change_refresh_minutes(connection: Connection, minutes: int) -> int:
    """Store the interval and make it count at once, for CMMS assets synced before as well; return how many.

    `next_due_at` stays the one truth about when a CMMS asset is due.
    """
    save_setting(connection, SOURCE, REFRESH_MINUTES, minutes)
    due = sync_state.c.last_success_at + func.make_interval(0, 0, 0, 0, 0, minutes)
    changed = connection.execute(
        update(sync_state)
        .values(next_due_at=due)
        .where(sync_state.c.state == SyncState.SYNCED, sync_state.c.next_due_at != due)
        .returning(sync_state.c.asset_id)
    )
    return len(changed.all())
