"""What is read of Maximo's tables for people: sync_status, counts, drift, dangling references."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, text

from innomaint_pipeline.domain.health import Health
from innomaint_pipeline.domain.maximo import SOURCE
from innomaint_pipeline.store.leases import find_leases
from innomaint_pipeline.store.maximo.states import find_places
from innomaint_pipeline.store.maximo.tables import EXPORTED, response

_WORDS = {
    "success": Health.HEALTHY,
    "in_progress": Health.HEALTHY,
    "pending": Health.UNKNOWN,
    "partial": Health.DEGRADED,
    "error": Health.DEGRADED,
}


def load_overview(connection: Connection) -> dict[str, Any]:
    """Return the JSON of `innomaint maximo status`."""
    rows = connection.execute(text("SELECT * FROM maximo.sync_status")).mappings()
    status = {row["endpoint"]: dict(row) for row in rows}
    refused = connection.execute(
        text(f"SELECT bool_or(error_class = 'auth') FROM {SOURCE}.sync_state WHERE state = 'error'")  # noqa: S608
    ).scalar_one()
    due = connection.execute(text(f"SELECT min(due_at) FROM {SOURCE}.sync_state")).scalar_one()  # noqa: S608
    return {
        "status": status,
        "sites": sorted({place.site for place in find_places(connection) if place.site}),
        "tables": count_tables(connection),
        "in_progress": [
            {
                "resource": lease.key,
                "run_id": lease.owner,
                "started_at": lease.acquired_at,
                "done": lease.done,
                "total": lease.total,
            }
            for lease in find_leases(connection, f"{SOURCE}/")
        ],
        "health": Health.DOWN if refused else _WORDS[status["ALL"]["status"]],
        "next_due_at": due,
    }


def count_tables(connection: Connection) -> dict[str, int]:
    """Return how many rows each table has, whatever their status."""
    counts = " UNION ALL ".join(
        f"SELECT '{table.name}' AS name, count(*) AS rows FROM {SOURCE}.\"{table.name}\""  # noqa: S608
        for table in (*EXPORTED, response)
    )
    return dict(connection.execute(text(counts)).tuples().all())


def load_drift(connection: Connection) -> list[dict[str, Any]]:
    """Return the drift that is open."""
    rows = connection.execute(
        text(
            f"SELECT endpoint, site, path, attribute, kind, detail, found_at FROM {SOURCE}.schema_drift "  # noqa: S608
            "WHERE resolved_at IS NULL ORDER BY endpoint, site, path, attribute, kind"
        )
    )
    return [dict(row) for row in rows.mappings()]


def count_dangling(connection: Connection) -> dict[str, int]:
    """Return how many references lead nowhere, by table and column."""
    rows = connection.execute(
        text(
            f"SELECT table_name || '.' || column_name AS name, count(*) FROM {SOURCE}.dangling_reference "  # noqa: S608
            "GROUP BY 1 ORDER BY 1"
        )
    )
    return dict(rows.tuples().all())
