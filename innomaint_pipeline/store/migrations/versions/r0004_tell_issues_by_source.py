"""Let a field of a CMMS asset have one open issue for each source that could not be read.

The key without the source would refuse the second one.
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Drop the key without the source; the one with it is declared in `store.tables`."""
    op.execute("DROP INDEX IF EXISTS uq_innomaint_data_issue_open")
