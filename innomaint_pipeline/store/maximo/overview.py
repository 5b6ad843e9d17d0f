"""What is read of Maximo's tables for people: sync_status, counts, drift, dangling references."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from innomaint_pipeline.domain.health import Health
from innomaint_pipeline.domain.maximo import SOURCE
from innomaint_pipeline.store.leases import find_leases
from innomaint_pipeline.store.maximo.states import find_places
from innomaint_pipeline.store.maximo.tables import EXPORTED, response

ALL = "ALL"
"""The row of sync_status for all structures together."""
STATUSES = ("pending", "in_progress", "success", "partial", "error")

_WORDS = {
    "success": Health.HEALTHY,
    "in_progress": Health.HEALTHY,
    "pending": Health.UNKNOWN,
    "partial": Health.DEGRADED,
    "error": Health.DEGRADED,
}


def load_overview(connection: Connection, *, is_set: bool) -> dict[str, Any]:
    """Return the JSON of `innomaint maximo status`; `is_set` tells whether there is a Maximo to read."""
    rows = connection.execute(text("SELECT * FROM maximo.sync_status")).mappings()
    status = {row["endpoint"]: dict(row) for row in rows}
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
        "health": _judge_health(status[ALL]["status"], is_set=is_set, is_refused=_is_refused(connection)),
        "next_due_at": due if is_set else None,
    }


def _judge_health(status: str, *, is_set: bool, is_refused: bool) -> Health:
    if not is_set:
        return Health.NOT_SET
    return Health.DOWN if is_refused else _WORDS[status]


@dataclass(frozen=True)
class Gauges:
    """Maximo in numbers: its health, and what each structure counts, by its short name.

    Ages are since the site that is furthest behind was brought up to date; a structure that was never read
    has none.
    """

    health: Health
    records: Mapping[str, int]
    statuses: Mapping[str, str]
    age_seconds: Mapping[str, float]
    rejects: Mapping[str, int]
    drift: Mapping[str, int]
    in_flight: int


def load_gauges(connection: Connection) -> Gauges:
    """Return Maximo in numbers."""
    rows = connection.execute(
        text(
            "SELECT *, extract(epoch FROM clock_timestamp() - last_sync)::float AS age "  # noqa: S608
            f"FROM {SOURCE}.sync_status"
        )
    ).all()
    every = next(row for row in rows if row.endpoint == ALL)
    structures = [row for row in rows if row.endpoint != ALL]

    def count_open(table: str) -> dict[str, int]:
        statement = text(
            f"SELECT endpoint, count(*) FROM {SOURCE}.{table} WHERE resolved_at IS NULL GROUP BY 1"  # noqa: S608
        )
        found = dict(connection.execute(statement).tuples().all())
        return {row.endpoint: found.get(row.endpoint, 0) for row in structures}

    return Gauges(
        health=_judge_health(every.status, is_set=True, is_refused=_is_refused(connection)),
        records={row.endpoint: row.record_count for row in structures},
        statuses={row.endpoint: row.status for row in structures},
        age_seconds={row.endpoint: max(row.age, 0.0) for row in structures if row.age is not None},
        rejects=count_open("reject"),
        drift=count_open("schema_drift"),
        in_flight=len(find_leases(connection, f"{SOURCE}/")),
    )


def _is_refused(connection: Connection) -> bool:
    statement = text(
        "SELECT coalesce(bool_or(error_class = 'auth'), false) "  # noqa: S608
        f"FROM {SOURCE}.sync_state WHERE state = 'error'"
    )
    return connection.execute(statement).scalar_one()


def count_tables(connection: Connection) -> dict[str, int]:
    """Return how many rows each table has, whatever their status."""
    tables = (*EXPORTED, response)
    counts = " UNION ALL ".join(
        f"SELECT '{table.name}' AS name, count(*) AS rows FROM {SOURCE}.\"{table.name}\""  # noqa: S608
        for table in tables
    )
    # PostgreSQL counts several at once, and returns them in any order.
    found = dict(connection.execute(text(counts)).tuples().all())
    return {table.name: found[table.name] for table in tables}


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
