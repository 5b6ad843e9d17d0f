"""Adopting IC3 tables that are already there: every row is kept, keys and columns are added, or it stops."""

import re
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.schema import CreateTable

from innomaint_pipeline.errors import AdoptionError
from innomaint_pipeline.simulator.innomaint.server import InnomaintSimulator
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.tables import metadata
from innomaint_pipeline.store.upgrade import upgrade_database
from innomaint_pipeline_tests.conftest import WORLD_SIZE, Pipeline

# As a predecessor made them: fewer columns, narrow texts, surrogate keys, no unique keys, times without zone.
OLD_TABLES = """
create table ic3_asset_master (
    asset_id serial primary key, cmms_asset_id varchar(100) not null, report_seq_no bigint,
    asset_name varchar(255), criticality varchar(20), location_name varchar(255), remarks text,
    created_at timestamp not null, updated_at timestamp);
create table ic3_building (id serial primary key, building_id integer, building_name varchar(100));
create table ic3_floor_master (floor_id integer, floor_name varchar(100));
create table ic3_asset_performance (
    id serial primary key, asset_id integer, serialnumber varchar(100), mttr varchar(50),
    total_ticket integer, recorded_at timestamp default now());
create table ic3_workorder_summary (
    id serial primary key, asset_id integer, period_type varchar(20), ticket_count integer,
    ticket_cost numeric(12, 2));
create table ic3_sync_log (id integer, serialnumber varchar(100), status varchar(10), synced_at timestamp);
create table cmms_sync_log (id serial primary key, sync_type varchar(20), status varchar(20));
"""


def execute(database: Database, *statements: str) -> None:
    with database.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def read(database: Database, query: str) -> list[dict[str, Any]]:
    with database.begin() as connection:
        return [dict(row) for row in connection.execute(text(query)).mappings()]


def describe(database: Database) -> tuple[Any, ...]:
    """Return everything that an upgrade could change: columns, keys, and the rows of the master."""
    return (
        read(
            database,
            "select table_name, column_name, data_type, is_nullable, column_default, is_identity"
            " from information_schema.columns where table_schema = 'public' order by 1, 2",
        ),
        read(database, "select indexdef from pg_indexes where schemaname = 'public' order by 1"),
        read(database, "select * from ic3_asset_master order by 1"),
    )


@pytest.fixture
def old(empty_database: Database, simulator: InnomaintSimulator) -> Pipeline:
    """A predecessor's database with rows."""
    serials = simulator.world.serials
    execute(empty_database, OLD_TABLES)
    for number, serial in enumerate(serials[:4], start=1):
        execute(
            empty_database,
            "insert into ic3_asset_master"
            " (cmms_asset_id, report_seq_no, asset_name, criticality, remarks, created_at)"
            f" values ('{serial}', {10 - number}, 'old name {number}', 'Old', 'keep me', '2024-01-01 10:00')",
        )
    execute(
        empty_database,
        "insert into ic3_building (building_id, building_name) values (16420, 'old'), (7, 'other')",
        "insert into ic3_floor_master values (12030, 'old floor')",
        "insert into ic3_asset_performance (asset_id, serialnumber, mttr) values (1, 'x', '01:00:00')",
        "insert into ic3_asset_performance (asset_id, serialnumber, mttr) values (3, 'y', '0')",
        "insert into ic3_workorder_summary (asset_id, period_type, ticket_count) values (1, 'upto', 9)",
        "insert into ic3_sync_log values (3, 'x', 'success', now()), (8, 'x', 'error', now())",
        "insert into cmms_sync_log (sync_type, status) values ('api_sync', 'complete')",
    )
    return Pipeline(empty_database, simulator)


def test_rows_of_an_old_database_are_kept_and_get_state_and_batch(old: Pipeline) -> None:
    before = old.rows("select asset_id, cmms_asset_id, asset_name, remarks from ic3_asset_master order by 1")
    done = upgrade_database(old.database, batch_size=3)
    assert "added the key ic3_asset_master (cmms_asset_id)" in done
    assert "added the key ic3_asset_performance (asset_id)" in done
    assert "added the key ic3_workorder_summary (asset_id, period_type)" in done
    assert "added the key ic3_building (building_id)" in done
    assert done[-1] == "gave 4 assets their batch"
    after = old.rows("select asset_id, cmms_asset_id, asset_name, remarks from ic3_asset_master order by 1")
    assert after == before
    batches = old.rows("select asset_id, batch_key from innomaint_sync_state order by asset_id")
    assert [row["batch_key"][-1] for row in batches] == ["2", "1", "1", "1"], "in report order, three a batch"
    assert upgrade_database(old.database, batch_size=3) == []


def test_an_adopted_database_can_be_imported_into_and_synced(old: Pipeline) -> None:
    upgrade_database(old.database, batch_size=100)
    counts = old.import_serials(asset_name="new name", criticality="Low")
    assert (counts.inserted, counts.updated, counts.missing) == (WORLD_SIZE - 4, 4, 0)
    report = old.sync(old.run("first"))
    assert (report.status, report.counts.success) == ("complete", WORLD_SIZE)
    assert old.one("select building_name from ic3_building where building_id = 16420") == {
        "building_name": "Naraina D.Cantt UGR_Zone"
    }
    assert old.one("select mttr, mttr_seconds from ic3_asset_performance where asset_id = 1") == {
        "mttr": "00:08:30",
        "mttr_seconds": 510,
    }
    assert old.one("select count(*) from ic3_workorder_summary") == {"count": 2 * WORLD_SIZE}
    assert old.one("select min(id), count(*) from ic3_sync_log where run_id = 'first'") == {
        "min": 9 + WORLD_SIZE,
        "count": WORLD_SIZE,
    }, "numbering continues after the highest there was"
    assert old.resync("second").counts.unchanged == WORLD_SIZE


def test_what_excel_said_before_the_adoption_comes_back_when_the_api_falls_silent(old: Pipeline) -> None:
    upgrade_database(old.database, batch_size=100)
    serial = old.serials[0]
    old.sync(old.run("first"))
    assert old.one("select criticality from ic3_asset_master where asset_id = 1") == {"criticality": "High"}
    old.simulator.world.change(serial, {"data": {"criticality": None}})
    old.resync("second")
    assert old.one("select criticality from ic3_asset_master where asset_id = 1") == {"criticality": "Old"}


def test_a_required_time_without_a_default_gets_one(old: Pipeline) -> None:
    done = upgrade_database(old.database, batch_size=100)
    assert "gave ic3_asset_master.created_at its default" in done
    old.import_serials(["Pump X"])
    assert old.one("select count(created_at) from ic3_asset_master where cmms_asset_id = 'Pump X'") == {
        "count": 1
    }


def test_adopting_one_database_leaves_the_declaration_whole_for_the_next(old: Pipeline) -> None:
    upgrade_database(old.database, batch_size=100)
    for name in ("ic3_floor_master", "ic3_sync_log"):
        assert "PRIMARY KEY" in str(CreateTable(metadata.tables[name]))
        assert {index.name for index in metadata.tables[name].indexes} <= {
            "ix_ic3_sync_log_synced_at",
            "ix_ic3_sync_log_serialnumber",
            "ix_ic3_sync_log_run_id",
        }


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            (
                "insert into ic3_asset_master (cmms_asset_id, created_at) select cmms_asset_id, now()"
                " from ic3_asset_master where asset_id < 3"
            ),
            (
                r"ic3_asset_master cannot take the unique key \(cmms_asset_id\): "
                r"'Delhi Cantt Naraina_BP_01' \(2 rows\); "
            ),
        ),
        (
            "insert into ic3_building (building_id) values (7), (7)",
            r"ic3_building cannot take the unique key \(building_id\): 7 \(3 rows\)",
        ),
        (
            "insert into ic3_asset_performance (asset_id) values (3)",
            r"ic3_asset_performance cannot take the unique key \(asset_id\): 3 \(2 rows\)",
        ),
        (
            "insert into ic3_workorder_summary (asset_id, period_type) values (1, 'upto')",
            r"ic3_workorder_summary cannot take the unique key \(asset_id, period_type\): 1, 'upto' \(2 ",
        ),
        (
            "insert into ic3_floor_master values (null, 'nowhere')",
            r"ic3_floor_master cannot take the primary key \(floor_id\): 1 rows hold null",
        ),
        (
            "insert into ic3_sync_log (serialnumber) values ('without a number')",
            r"ic3_sync_log cannot take the primary key \(id\): 1 rows hold null",
        ),
        (
            "alter table ic3_asset_master alter column report_seq_no type text",
            r"ic3_asset_master.report_seq_no exists as text, expected integer: ALTER TABLE",
        ),
        (
            "alter table ic3_building add customer_id boolean",
            r"ic3_building.customer_id exists as boolean, expected bigint",
        ),
        (
            (
                "alter table ic3_asset_performance add tenant integer not null default 1;"
                "alter table ic3_asset_performance alter tenant drop default"
            ),
            r"ic3_asset_performance.tenant is NOT NULL without a default",
        ),
    ],
)
def test_what_stands_in_the_way_is_named_and_nothing_is_changed(
    old: Pipeline, damage: str, message: str
) -> None:
    old.execute(damage)
    before = describe(old.database)
    with pytest.raises(AdoptionError) as caught:
        upgrade_database(old.database, batch_size=100)
    assert re.search(message, str(caught.value)), str(caught.value)
    assert "innomaint db upgrade again" in str(caught.value)
    assert describe(old.database) == before


def test_only_the_first_duplicates_are_named_and_the_others_counted(old: Pipeline) -> None:
    old.execute("insert into ic3_building (building_id) select 100 + n % 25 from generate_series(0, 49) as n")
    with pytest.raises(AdoptionError, match=r"109 \(2 rows\) and 15 more"):
        upgrade_database(old.database, batch_size=100)


def test_after_the_duplicates_are_gone_the_upgrade_succeeds(old: Pipeline) -> None:
    old.execute("insert into ic3_building (building_id) values (7)")
    with pytest.raises(AdoptionError):
        upgrade_database(old.database, batch_size=100)
    old.execute("delete from ic3_building where building_id = 7 and building_name is null")
    assert upgrade_database(old.database, batch_size=100)
    assert old.one("select building_name from ic3_building where building_id = 7") == {
        "building_name": "other"
    }


def test_a_plain_number_as_key_continues_after_the_highest(
    empty_database: Database, simulator: InnomaintSimulator
) -> None:
    execute(
        empty_database,
        "create table ic3_asset_master (asset_id integer, cmms_asset_id text)",
        "insert into ic3_asset_master values (41, 'Pump 41'), (7, 'Pump 7')",
    )
    done = upgrade_database(empty_database, batch_size=100)
    assert "ic3_asset_master.asset_id is generated from 42 on" in done
    pipeline = Pipeline(empty_database, simulator)
    pipeline.import_serials(["Pump X", "Pump 7"])
    assert pipeline.rows("select asset_id, cmms_asset_id from ic3_asset_master order by 1") == [
        {"asset_id": 7, "cmms_asset_id": "Pump 7"},
        {"asset_id": 41, "cmms_asset_id": "Pump 41"},
        {"asset_id": 42, "cmms_asset_id": "Pump X"},
    ]


def test_another_primary_key_beside_asset_id_stays(
    empty_database: Database, simulator: InnomaintSimulator
) -> None:
    execute(
        empty_database,
        "create table ic3_asset_master (id serial primary key, asset_id integer, cmms_asset_id text)",
        f"insert into ic3_asset_master (asset_id, cmms_asset_id) values (5, '{simulator.world.serials[0]}')",
    )
    upgrade_database(empty_database, batch_size=100)
    pipeline = Pipeline(empty_database, simulator)
    pipeline.import_serials()
    assert pipeline.sync(pipeline.run("first")).status == "complete"
    assert pipeline.one("select min(asset_id), max(id) from ic3_asset_master") == {
        "min": 5,
        "max": WORLD_SIZE,
    }


def test_a_table_without_asset_id_gets_one_for_every_row(empty_database: Database) -> None:
    execute(
        empty_database,
        "create table ic3_asset_master (cmms_asset_id text)",
        "insert into ic3_asset_master values ('Pump 1'), ('Pump 2')",
    )
    upgrade_database(empty_database, batch_size=100)
    assert read(empty_database, "select asset_id, state from innomaint_sync_state order by 1") == [
        {"asset_id": 1, "state": "never"},
        {"asset_id": 2, "state": "never"},
    ]
