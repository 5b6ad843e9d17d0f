"""Give each row of ic3_asset_master its state at the moment it appears, whoever inserts it.

Synced + failed + never = count(ic3_asset_master) must hold at every moment, and other programs
insert into the IC3 tables too: only a trigger can promise it.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the trigger and give the rows that are already there their state."""
    schema = op.get_bind().execute(text("SELECT quote_ident(current_schema())")).scalar_one()
    # Another program's role need not know this project's tables, nor search this schema.
    op.execute(f"""
        CREATE OR REPLACE FUNCTION innomaint_follow_asset_master() RETURNS trigger LANGUAGE plpgsql
        SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
        BEGIN
            INSERT INTO innomaint_sync_state (asset_id, state)
                SELECT asset_id, 'never' FROM inserted
                ON CONFLICT (asset_id) DO NOTHING;
            INSERT INTO innomaint_overridden_value
                    (asset_id, excel_criticality, excel_capacity_rating, excel_in_charge_person)
                SELECT asset_id, criticality, capacity_rating, in_charge_person FROM inserted
                ON CONFLICT (asset_id) DO NOTHING;
            RETURN NULL;
        END $$
    """)  # noqa: S608 # the name is quoted by the server
    op.execute("""
        CREATE OR REPLACE TRIGGER innomaint_follow_asset_master AFTER INSERT ON ic3_asset_master
        REFERENCING NEW TABLE AS inserted
        FOR EACH STATEMENT EXECUTE FUNCTION innomaint_follow_asset_master()
    """)
    op.execute("""
        INSERT INTO innomaint_sync_state (asset_id, state)
        SELECT asset_id, 'never' FROM ic3_asset_master ON CONFLICT (asset_id) DO NOTHING
    """)
    op.execute("""
        INSERT INTO innomaint_overridden_value
            (asset_id, excel_criticality, excel_capacity_rating, excel_in_charge_person)
        SELECT asset_id, criticality, capacity_rating, in_charge_person FROM ic3_asset_master
        ON CONFLICT (asset_id) DO NOTHING
    """)


def downgrade() -> None:
    """Remove the trigger; the states stay."""
    op.execute("DROP TRIGGER IF EXISTS innomaint_follow_asset_master ON ic3_asset_master")
    op.execute("DROP FUNCTION IF EXISTS innomaint_follow_asset_master()")
