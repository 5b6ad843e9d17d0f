"""Count innomaint_sync_state by batch and kind at the moment it changes, whoever changes it.

Status and continuous sync add up a few rows for each batch instead of counting every CMMS asset. The numbers
must be right at every moment, so a trigger keeps them, in the transaction of the change.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

revision = "0002"
down_revision = "0001"

_CHANGES = {
    "insert": "REFERENCING NEW TABLE AS new_rows",
    "update": "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows",
    "delete": "REFERENCING OLD TABLE AS old_rows",
    "truncate": "",
}


def upgrade() -> None:
    """Create the functions and triggers; `correct_counts` counts the rows that are there."""
    schema = op.get_bind().execute(text("SELECT quote_ident(current_schema())")).scalar_one()
    # Two transactions that change one batch take turns: each counts after it was given the batch's row of
    # kind never, by a new snapshot, and so sees what the other committed. Rows are taken in the order of
    # their keys, and no row is shared by two batches.
    op.execute(f"""
        CREATE OR REPLACE FUNCTION innomaint_recount_batches(keys text[]) RETURNS void LANGUAGE plpgsql
        SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
        BEGIN
            INSERT INTO innomaint_batch_count (batch_key, kind)
                SELECT key, 'never' FROM unnest(keys) AS key ORDER BY key
                ON CONFLICT (batch_key, kind) DO NOTHING;
            PERFORM 1 FROM innomaint_batch_count
                WHERE batch_key = ANY(keys) AND kind = 'never' ORDER BY batch_key FOR UPDATE;
            DELETE FROM innomaint_batch_count AS counted
                WHERE batch_key = ANY(keys) AND kind <> 'never' AND NOT EXISTS (
                    SELECT FROM innomaint_sync_state AS s
                    WHERE s.batch_key = counted.batch_key
                        AND coalesce(s.error_class, s.state) = counted.kind);
            INSERT INTO innomaint_batch_count AS counted (batch_key, kind, assets, first_due_at, last_due_at)
                SELECT batch_key, kind, count(asset_id), min(next_due_at), max(next_due_at)
                FROM (SELECT batch_key, coalesce(error_class, state) AS kind, asset_id, next_due_at
                      FROM innomaint_sync_state WHERE batch_key = ANY(keys)
                      UNION ALL SELECT key, 'never', NULL, NULL FROM unnest(keys) AS key) AS members
                GROUP BY batch_key, kind
                ON CONFLICT (batch_key, kind) DO UPDATE
                SET assets = excluded.assets, first_due_at = excluded.first_due_at,
                    last_due_at = excluded.last_due_at
                WHERE (counted.assets, counted.first_due_at, counted.last_due_at)
                    IS DISTINCT FROM (excluded.assets, excluded.first_due_at, excluded.last_due_at);
        END $$
    """)  # noqa: S608 # the name is quoted by the server
    op.execute(f"""
        CREATE OR REPLACE FUNCTION innomaint_follow_sync_state() RETURNS trigger LANGUAGE plpgsql
        SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
        DECLARE keys text[];
        BEGIN
            IF TG_OP = 'TRUNCATE' THEN
                DELETE FROM innomaint_batch_count;
                RETURN NULL;
            ELSIF TG_OP = 'INSERT' THEN
                SELECT array_agg(DISTINCT batch_key) INTO keys FROM new_rows WHERE batch_key IS NOT NULL;
            ELSIF TG_OP = 'DELETE' THEN
                SELECT array_agg(DISTINCT batch_key) INTO keys FROM old_rows WHERE batch_key IS NOT NULL;
            ELSE
                SELECT array_agg(DISTINCT key) INTO keys
                FROM old_rows AS o FULL JOIN new_rows AS n USING (asset_id),
                     LATERAL (VALUES (o.batch_key), (n.batch_key)) AS either (key)
                WHERE key IS NOT NULL AND (o.batch_key, o.state, o.error_class, o.next_due_at)
                    IS DISTINCT FROM (n.batch_key, n.state, n.error_class, n.next_due_at);
            END IF;
            IF keys IS NOT NULL THEN
                PERFORM innomaint_recount_batches(keys);
            END IF;
            RETURN NULL;
        END $$
    """)  # noqa: S608 # the name is quoted by the server
    for change, tables in _CHANGES.items():
        op.execute(f"""
            CREATE OR REPLACE TRIGGER innomaint_count_after_{change} AFTER {change} ON innomaint_sync_state
            {tables} FOR EACH STATEMENT EXECUTE FUNCTION innomaint_follow_sync_state()
        """)


def downgrade() -> None:
    """Remove the triggers and functions; the table stays."""
    for change in _CHANGES:
        op.execute(f"DROP TRIGGER IF EXISTS innomaint_count_after_{change} ON innomaint_sync_state")
    op.execute("DROP FUNCTION IF EXISTS innomaint_follow_sync_state()")
    op.execute("DROP FUNCTION IF EXISTS innomaint_recount_batches(text[])")
