"""Move leases, requests and settings to tables and names that every source shares.

A lease lasts half a minute, so that those of the old table need not be kept.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

revision = "0003"
down_revision = "0002"

_SETTINGS = {
    "innomaint": ("paused", "refresh_minutes", "sync_interval_seconds", "auth_refused_at", "data_origin"),
    "workbook": ("import_error",),
    "innomaint/sync": ("requests_looked_at",),
}


def upgrade() -> None:
    """Give each stored setting its source's name, and take over requests of people."""
    for source, names in _SETTINGS.items():
        for name in names:
            op.execute(
                text("UPDATE innomaint_setting SET name = :new WHERE name = :old").bindparams(
                    new=f"{source}/{name}", old=name
                )
            )
    op.execute("DROP TABLE IF EXISTS innomaint_batch_lease")
    if op.get_bind().execute(text("SELECT to_regclass('innomaint_sync_request')")).scalar_one() is None:
        return
    op.execute("""
        INSERT INTO innomaint_request (id, kind, options, requested_at, finished_at, asked_by, what, state,
                message, stop_code, total, result)
            SELECT id, 'innomaint/sync', selection, requested_at, finished_at, asked_by, what, state,
                message, stop_code, total, result
            FROM innomaint_sync_request
    """)
    op.execute("""
        INSERT INTO innomaint_request_part (request_id, part, items, state, run_ids, message)
            SELECT request_id, batch_key, cmms_asset_ids, state, run_ids, message
            FROM innomaint_sync_request_batch
    """)
    op.execute("""
        SELECT setval(pg_get_serial_sequence('innomaint_request', 'id'), max(id)) FROM innomaint_request
        HAVING max(id) IS NOT NULL
    """)
    op.execute("DROP TABLE innomaint_sync_request_batch, innomaint_sync_request")


def downgrade() -> None:
    """Give the settings their old names; requests stay where they are."""
    for source, names in _SETTINGS.items():
        for name in names:
            op.execute(
                text("UPDATE innomaint_setting SET name = :old WHERE name = :new").bindparams(
                    new=f"{source}/{name}", old=name
                )
            )
