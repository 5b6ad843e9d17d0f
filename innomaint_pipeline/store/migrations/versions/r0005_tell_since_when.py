"""Fill in since when failed CMMS assets have failed, and when an answer last differed, as far as is known.

Both became columns after there were rows: the log, and the time at which a changed answer last wrote the
performance, tell it of those.
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Fill the columns where they are empty; of a log that was cleaned up, from its beginning on."""
    op.execute("""
        UPDATE innomaint_sync_state AS s
        SET failed_since = coalesce(
            (SELECT min(l.synced_at) FROM ic3_sync_log AS l
             WHERE l.serialnumber = m.cmms_asset_id AND l.sync_type = 'api_sync' AND l.status = 'error'
                AND (s.last_success_at IS NULL OR l.synced_at > s.last_success_at)),
            s.last_attempt_at)
        FROM ic3_asset_master AS m
        WHERE m.asset_id = s.asset_id AND s.state = 'failed' AND s.failed_since IS NULL
    """)
    op.execute("""
        UPDATE innomaint_sync_state AS s
        SET last_changed_at = p.recorded_at
        FROM ic3_asset_performance AS p
        WHERE p.asset_id = s.asset_id AND s.last_success_at IS NOT NULL AND s.last_changed_at IS NULL
            AND p.recorded_at IS NOT NULL
    """)


def downgrade() -> None:
    """Leave the values: the columns stay, too."""
