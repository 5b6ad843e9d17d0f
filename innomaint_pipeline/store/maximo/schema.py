"""The schema `maximo` in a database: its tables, and the views over them, in the upgrade's transaction."""

from __future__ import annotations

import hashlib

from sqlalchemy import Connection, text

from innomaint_pipeline.domain.maximo import SOURCE
from innomaint_pipeline.domain.maximo.declarations import REFERENCES, STRUCTURES, Reference
from innomaint_pipeline.domain.maximo.structures import Structure
from innomaint_pipeline.store.maximo.tables import DELETED, SYNCED, maximo_metadata, maximo_views
from innomaint_pipeline.store.schemas import create_tables, describe_schema, require_tables
from innomaint_pipeline.store.settings import load_setting, save_setting

VIEWS = tuple(maximo_views.sorted_tables)
_VIEWS_VERSION = "views_version"


def require_schema(connection: Connection) -> None:
    """Raise `DatabaseError` where the tables of Maximo are missing."""
    require_tables(connection, maximo_metadata)


def upgrade_schema(connection: Connection) -> list[str]:
    """Create what is missing of the schema; return what was done, a sentence each. Repeatable."""
    done = create_tables(connection, maximo_metadata)
    if done is None:
        return []
    statements = (_held_resources_sql(connection), _sync_status_sql(), _dangling_sql())
    # PostgreSQL keeps a view in words of its own, which tell nothing of those that it was made by.
    version = hashlib.sha256("".join(statements).encode()).hexdigest()
    if done or not _has_views(connection) or load_setting(connection, SOURCE, _VIEWS_VERSION) != version:
        for view in VIEWS:
            connection.execute(text(f"DROP VIEW IF EXISTS {view.fullname}"))
        for statement in statements:
            connection.execute(text(statement))
        save_setting(connection, SOURCE, _VIEWS_VERSION, version)
        done = done or [f"made the views of schema {SOURCE} anew"]
    return done + describe_schema(connection, maximo_metadata, VIEWS)


def _has_views(connection: Connection) -> bool:
    statement = text("SELECT count(*) FROM pg_views WHERE schemaname = :name AND viewname = ANY(:views)")
    found = connection.execute(
        statement, {"name": SOURCE, "views": [view.name for view in VIEWS]}
    ).scalar_one()
    return found == len(VIEWS)


def _held_resources_sql(connection: Connection) -> str:
    schema = connection.execute(text("SELECT quote_ident(current_schema())")).scalar_one()
    # A function, so that no table of IC3 has anything of this schema depend on it.
    return f"""
CREATE OR REPLACE FUNCTION {SOURCE}.held_resources() RETURNS SETOF text LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY SELECT resource FROM {schema}.innomaint_lease
        WHERE expires_at >= clock_timestamp() AND starts_with(resource, '{SOURCE}/');
END $$
"""  # noqa: S608 # declared names


def _counted(number: int, structure: Structure) -> str:
    count = f"count(*) FILTER (WHERE \"_sync_status\" = '{SYNCED}') AS record_count"
    endpoint = f"'{structure.short}'::text AS endpoint"
    table = f'{SOURCE}."{structure.root.table.name}"'
    return f"SELECT {number} AS number, {endpoint}, {count} FROM {table}"  # noqa: S608 # declared names


def _sync_status_sql() -> str:
    counts = "\nUNION ALL ".join(_counted(number, item) for number, item in enumerate(STRUCTURES, start=1))
    # The worst word of several wins.
    ranks = "ARRAY['success', 'in_progress', 'pending', 'partial', 'error']"
    return f"""
CREATE VIEW {SOURCE}.sync_status AS
WITH counted AS ({counts}),
states AS (
    SELECT s.endpoint, s.last_sync_at, s.message,
        CASE WHEN l.resource IS NOT NULL THEN 'in_progress' ELSE s.state END AS status
    FROM {SOURCE}.sync_state s
    LEFT JOIN {SOURCE}.held_resources() AS l (resource) ON l.resource =
        '{SOURCE}/' || s.endpoint || CASE WHEN s.site = '' THEN '' ELSE '/' || s.site END
),
by_endpoint AS (
    SELECT c.number, c.endpoint, min(s.last_sync_at) AS last_sync, c.record_count,
        coalesce(max(array_position({ranks}, s.status)), 3) AS rank,
        nullif(string_agg(DISTINCT s.message, '; ' ORDER BY s.message), '') AS message
    FROM counted c LEFT JOIN states s USING (endpoint)
    GROUP BY c.number, c.endpoint, c.record_count
),
every AS (
    SELECT number, endpoint, last_sync, record_count, rank, message FROM by_endpoint
    UNION ALL
    SELECT 99, 'ALL', min(last_sync), sum(record_count)::bigint, max(rank), NULL FROM by_endpoint
)
SELECT endpoint, last_sync, record_count, ({ranks})[rank] AS status, message FROM every ORDER BY number
"""  # noqa: S608 # names from the declarations


def _dangling_sql() -> str:
    parts = [_dangling(item) for item in REFERENCES]
    return f"CREATE VIEW {SOURCE}.dangling_reference AS " + " UNION ALL ".join(parts)


def _dangling(item: Reference) -> str:
    value = item.columns[-1]
    matches = " AND ".join(
        f'target."{there}" = source."{here}"'
        for here, there in zip(item.columns, item.target_columns, strict=True)
    )
    identity = next(structure.id for structure in STRUCTURES if structure.root.table.name == item.table)
    columns = (
        f"'{item.table}'::text AS table_name, source.\"{identity}\" AS id, source.siteid, "
        f"'{value}'::text AS column_name, source.\"{value}\" AS value, '{item.target}'::text AS target"
    )
    where = (
        f'source."{value}" IS NOT NULL AND source."_sync_status" <> \'{DELETED}\' '
        f'AND NOT EXISTS (SELECT FROM {SOURCE}."{item.target}" target WHERE {matches})'
    )
    return f'SELECT {columns} FROM {SOURCE}."{item.table}" source WHERE {where}'  # noqa: S608 # declared names
