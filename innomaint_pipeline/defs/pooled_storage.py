"""Dagster's own storage with a few kept connections, in place of a new one for each statement.

Dagster connects anew for everything that it reads or writes: one run of a batch opened 170 connections, each
of which costs PostgreSQL a process.
"""

from collections.abc import Mapping
from typing import Any, Self

from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.utils import create_pg_engine, pg_url_from_config

# The webserver's pages and the daemon's threads ask at the same time. Nobody waits for a connection: what
# a moment needs beyond these is opened and closed again.
_KEPT_CONNECTIONS = 2


class PooledPostgresStorage(DagsterPostgresStorage):
    """Dagster's PostgreSQL storage; runs, events and ticks share the connections of a process."""

    def __init__(
        self,
        postgres_url: str,
        *,
        should_autocreate_tables: bool = True,
        inst_data: ConfigurableClassData | None = None,
    ) -> None:
        super().__init__(postgres_url, should_autocreate_tables, inst_data)
        pool = create_pg_engine(
            postgres_url,
            isolation_level="AUTOCOMMIT",
            pool_size=_KEPT_CONNECTIONS,
            max_overflow=-1,
            # A server that was started again, or a pooler that was, has closed what was kept.
            pool_pre_ping=True,
        )
        for storage in (self._run_storage, self._event_log_storage, self._schedule_storage):
            storage._engine.dispose()  # noqa: SLF001 # Dagster gives no other way to its engines
            storage._engine = pool  # noqa: SLF001
        self._run_storage.dispose = pool.dispose

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> Self:
        """Build the storage from dagster.yaml, which takes what Dagster's own takes."""
        return cls(
            pg_url_from_config(config_value),
            should_autocreate_tables=config_value.get("should_autocreate_tables", True),
            inst_data=inst_data,
        )
