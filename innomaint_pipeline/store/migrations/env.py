"""Run Alembic's revisions on the connection that `store.upgrade` hands over, in its transaction."""

from __future__ import annotations

from alembic import context

from innomaint_pipeline import crash_points
from innomaint_pipeline.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=context.config.attributes["version_table"],
    transactional_ddl=True,
)
context.run_migrations()
crash_points.reach("upgrade: revisions run")
