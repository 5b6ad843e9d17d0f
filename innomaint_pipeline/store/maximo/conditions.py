"""What people are told of Maximo, what is due, and what its checks count."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select, text

from innomaint_pipeline.domain.alerts import Condition
from innomaint_pipeline.domain.health import Health
from innomaint_pipeline.domain.maximo import SOURCE
from innomaint_pipeline.domain.maximo.declarations import STRUCTURES
from innomaint_pipeline.domain.maximo.structures import Structure
from innomaint_pipeline.store.housekeeping import Retention
from innomaint_pipeline.store.maximo.responses import Place
from innomaint_pipeline.store.maximo.tables import reject, root_table, schema_drift, sync_run, sync_state
from innomaint_pipeline.store.settings import REFRESH_MINUTES, save_setting

RETENTIONS = tuple(
    Retention(table, moment, is_removable, may_be_missing=True)
    for table, moment, is_removable in (
        (sync_run, sync_run.c.finished_at, None),
        (reject, reject.c.found_at, reject.c.resolved_at.is_not(None)),
        (schema_drift, schema_drift.c.found_at, schema_drift.c.resolved_at.is_not(None)),
    )
)
"""What is open is kept, however old it is."""

# As `domain.maximo.privacy` names them, in the text of a document.
_NAMED_SO = '"(?!password(duration|warning)")[^"]*(password|pwhint|secret|token|apikey|databaseuserid)[^"]*":'


def has_schema(connection: Connection) -> bool:
    """Tell whether the database has the tables of Maximo."""
    found = select(func.to_regclass(sync_state.fullname))
    return connection.execute(found).scalar_one() is not None


def load_conditions(connection: Connection) -> tuple[Health, list[Condition]]:
    """Return how Maximo's sync is doing, and what people are told: the key, and what is not whole."""
    rows = connection.execute(
        select(
            sync_state.c.endpoint,
            sync_state.c.site,
            sync_state.c.state,
            sync_state.c.error_class,
            sync_state.c.message,
        ).order_by(sync_state.c.endpoint, sync_state.c.site)
    ).all()
    refused = [row for row in rows if row.state == "error" and row.error_class == "auth"]
    bad = [row for row in rows if row.state in {"partial", "error"}]
    lines = [f"{row.endpoint} {row.site}".strip() + f" is {row.state}: {row.message}" for row in bad]
    words = ", ".join(f"{row.endpoint} {row.site}".strip() + f" {row.state}" for row in bad)
    conditions = [
        Condition(
            "maximo_auth",
            refused[0].message if refused else None,
            f"Maximo: {refused[0].message}" if refused else "Maximo takes the key again",
        ),
        Condition(
            "maximo_reads",
            words or None,
            "Maximo: " + "; ".join(lines) if lines else "Maximo: every structure is whole again",
        ),
    ]
    if refused:
        return Health.DOWN, conditions
    if bad:
        return Health.DEGRADED, conditions
    return (Health.HEALTHY if rows else Health.UNKNOWN), conditions


def find_due(
    connection: Connection, places: Sequence[Place], now: datetime, *, interval_minutes: int
) -> list[Place]:
    """Return the places that were never read, or whose next read is due, by the interval in force."""
    columns = ("endpoint", "site", "state", "due_at", "full_due_at", "last_run_at")
    rows = connection.execute(select(*(sync_state.c[name] for name in columns)))
    due = {Place(row.endpoint, row.site): row for row in rows}
    return [place for place in places if _is_due(due.get(place), now, interval_minutes)]


def _is_due(row: Any, now: datetime, interval_minutes: int) -> bool:
    if row is None or row.last_run_at is None:
        return True
    if row.full_due_at is not None and row.full_due_at <= now and row.state != "error":
        return True
    if row.due_at is not None and row.due_at <= now:
        return True
    return row.state != "error" and row.last_run_at + timedelta(minutes=interval_minutes) <= now


def change_interval(connection: Connection, minutes: int) -> datetime | None:
    """Store the interval between two increments; return when the next read is due by it."""
    save_setting(connection, SOURCE, REFRESH_MINUTES, minutes)
    after_last = sync_state.c.last_run_at + timedelta(minutes=minutes)
    return connection.execute(select(func.min(func.least(sync_state.c.due_at, after_last)))).scalar_one()


def load_newest_runs(connection: Connection, structure: Structure) -> list[dict[str, Any]]:
    """Return the newest row of sync_run for each site of a structure."""
    newest = (
        select(sync_run)
        .where(sync_run.c.endpoint == structure.short)
        .distinct(sync_run.c.site)
        .order_by(sync_run.c.site, sync_run.c.id.desc())
    )
    return [dict(row) for row in connection.execute(newest).mappings()]


def count_open(connection: Connection, structure: Structure) -> dict[str, int]:
    """Return how many rejects and lines of drift of a structure are open."""
    counts = {}
    for name, table in (("rejects", reject), ("drift", schema_drift)):
        statement = select(func.count()).where(
            table.c.endpoint == structure.short, table.c.resolved_at.is_(None)
        )
        counts[name] = connection.execute(statement).scalar_one()
    return counts


def count_duplicate_ids(connection: Connection, structure: Structure) -> int:
    """Return how many ids stand in more than one row of the root's table."""
    column = root_table(structure).c[structure.id]
    duplicated = select(column).group_by(column).having(func.count() > 1).subquery()
    return connection.execute(select(func.count()).select_from(duplicated)).scalar_one()


def count_dangling_of(connection: Connection, table: str) -> dict[str, int]:
    """Return how many references of a table lead nowhere, by column."""
    rows = connection.execute(
        text(
            f"SELECT column_name, count(*) FROM {SOURCE}.dangling_reference WHERE table_name = :table "  # noqa: S608
            "GROUP BY 1"
        ),
        {"table": table},
    )
    return dict(rows.tuples().all())


def count_placeholders(connection: Connection, table: str) -> int:
    """Return how many rows of a table are placeholders."""
    return connection.execute(
        text(f'SELECT count(*) FROM {SOURCE}."{table}" WHERE "_sync_status" = \'placeholder\'')  # noqa: S608
    ).scalar_one()


def count_secrets(connection: Connection, structure: Structure) -> int:
    """Return how many answers of a structure, or attributes without a column, bear a secret's name."""
    extras = " UNION ALL ".join(
        f'SELECT "_extra" FROM {SOURCE}."{spec.name}" WHERE "_extra" IS NOT NULL'  # noqa: S608
        for spec in structure.tables()
    )
    statement = text(
        f"SELECT (SELECT count(*) FROM {SOURCE}.response WHERE endpoint = :endpoint "  # noqa: S608
        "AND body::text ~* :names) + (SELECT count(*) FROM "
        f"({extras}) AS extras (value) WHERE value::text ~* :names)"
    )
    return connection.execute(statement, {"endpoint": structure.short, "names": _NAMED_SO}).scalar_one()


def find_oldest_sync(connection: Connection, structure: Structure) -> tuple[datetime | None, float | None]:
    """Return when the site that is furthest behind was last brought up to date, and seconds since then.

    A site that a person had read once is behind nothing.
    """
    age = func.extract("epoch", func.now() - func.min(sync_state.c.last_sync_at))
    row = connection.execute(
        select(func.min(sync_state.c.last_sync_at), age).where(
            sync_state.c.endpoint == structure.short, sync_state.c.due_at.is_not(None)
        )
    ).one()
    return row[0], None if row[1] is None else float(row[1])


def all_places(sites: Collection[str]) -> list[Place]:
    """Return every structure at every site."""
    return [
        Place(structure.short, site)
        for structure in STRUCTURES
        for site in (sites if structure.has_site else ("",))
    ]
