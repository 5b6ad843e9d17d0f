"""Creating the tables, creating them again, and what other programs may do beside us."""

import threading

import psycopg
import pytest
from sqlalchemy import text

from innomaint_pipeline.domain.innomaint.selection import SYNC_REQUESTS
from innomaint_pipeline.embedded.server import EmbeddedPostgres
from innomaint_pipeline.errors import AdoptionError, DatabaseError
from innomaint_pipeline.store.comments import find_comments, write_comments
from innomaint_pipeline.store.database import Database, limit_statements
from innomaint_pipeline.store.innomaint.batches import assign_new_batches, lock_imports
from innomaint_pipeline.store.requests import Wish, find_open, submit
from innomaint_pipeline.store.settings import IMPORT_ERROR, PAUSED, load_setting, save_setting
from innomaint_pipeline.store.tables import metadata
from innomaint_pipeline.store.upgrade import upgrade_database
from innomaint_pipeline_tests.conftest import FIRST_BATCH, Pipeline


def table_names(database: Database) -> set[str]:
    with database.begin() as connection:
        names = connection.execute(text("select tablename from pg_tables where schemaname = 'public'"))
        return set(names.scalars())


def test_an_empty_database_gets_every_table(empty_database: Database) -> None:
    done = upgrade_database(empty_database, batch_size=100)
    assert table_names(empty_database) == {*metadata.tables, "innomaint_schema_version"}
    assert set(done) >= {f"created table {name}" for name in metadata.tables}


def test_a_repeated_upgrade_does_nothing(database: Database) -> None:
    assert upgrade_database(database, batch_size=100) == []


_UNDESCRIBED = text(
    """
    select c.relname::text, a.attname::text
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace and n.nspname in ('public', 'maximo')
    join lateral (
        select null::name as attname, 0 as attnum
        union all select attname, attnum from pg_attribute
        where attrelid = c.oid and attnum > 0 and not attisdropped
    ) a on true
    left join pg_description d on d.classoid = 'pg_class'::regclass and d.objoid = c.oid
        and d.objsubid = a.attnum
    where c.relkind in ('r', 'v') and coalesce(d.description, '') = ''
    """
)


def test_every_table_view_and_column_is_described_and_maximos_words_follow_the_declaration(
    database: Database,
) -> None:
    changed = {("assets", None): "100 % 'theirs'", ("sync_status", "status"): "%s"}
    with database.begin() as connection:
        assert connection.execute(_UNDESCRIBED).tuples().all() == []
        declared = find_comments(connection, "maximo")
        write_comments(connection, changed, schema="maximo", views=["sync_status"])
        assert find_comments(connection, "maximo") == declared | changed
    assert upgrade_database(database, batch_size=100) == ["described 2 tables and columns of schema maximo"]
    with database.begin() as connection:
        assert find_comments(connection, "maximo") == declared
    assert upgrade_database(database, batch_size=100) == []


def test_views_that_an_earlier_release_made_are_made_anew(database: Database) -> None:
    definition = text("select pg_get_viewdef('maximo.sync_status'::regclass)")
    with database.begin() as connection:
        declared = connection.execute(definition).scalar_one()
        earlier = f"{declared.rstrip(';')} limit 1"
        connection.execute(text(f"create or replace view maximo.sync_status as {earlier}"))
        save_setting(connection, "maximo", "views_version", "of an earlier release")
    assert upgrade_database(database, batch_size=100)[0] == "made the views of schema maximo anew"
    with database.begin() as connection:
        assert connection.execute(definition).scalar_one() == declared
    assert upgrade_database(database, batch_size=100) == []


def test_two_upgrades_at_once_wait_for_each_other(empty_database: Database) -> None:
    done: list[list[str]] = []
    threads = [
        threading.Thread(target=lambda: done.append(upgrade_database(empty_database, batch_size=100)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(bool, done)) == [False, False, True]


def test_a_column_that_was_dropped_comes_back(pipeline: Pipeline) -> None:
    pipeline.execute("alter table ic3_asset_master drop column api_attributes, drop column barcode")
    assert upgrade_database(pipeline.database, batch_size=100) == [
        "added column ic3_asset_master.barcode",
        "added column ic3_asset_master.api_attributes",
    ]
    assert pipeline.sync(pipeline.run("first")).status == "complete"


def test_a_row_that_another_program_inserts_has_a_state_at_once_and_a_batch_later(pipeline: Pipeline) -> None:
    pipeline.execute("insert into ic3_asset_master (cmms_asset_id, criticality) values ('Pump X', 'Low')")
    state = pipeline.state("Pump X")
    assert (state["state"], state["batch_key"]) == ("never", None)
    assert upgrade_database(pipeline.database, batch_size=100) == ["gave 1 assets their batch"]
    assert pipeline.state("Pump X")["batch_key"] == FIRST_BATCH

    pipeline.execute("insert into ic3_asset_master (cmms_asset_id) values ('Pump Y')")
    pipeline.import_serials(["Pump Z"])
    assert pipeline.state("Pump Y")["batch_key"] == FIRST_BATCH


def test_a_row_without_an_id_waits_for_one_outside_every_batch(pipeline: Pipeline) -> None:
    pipeline.execute("insert into ic3_asset_master (asset_name) values ('nameless'), ('nameless too')")
    pipeline.execute("insert into ic3_asset_master (cmms_asset_id) values ('  ')")
    assert upgrade_database(pipeline.database, batch_size=100) == []
    without = pipeline.one("select count(*) from innomaint_sync_state where batch_key is null")
    assert without == {"count": 3}


def test_another_programs_role_needs_no_right_on_our_tables(
    pipeline: Pipeline, postgres: EmbeddedPostgres
) -> None:
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        connection.execute("drop role if exists other_program")
        connection.execute("create role other_program")
    pipeline.execute("grant insert, select on ic3_asset_master to other_program")
    with pipeline.database.begin() as connection:
        connection.execute(text("set local role other_program"))
        connection.execute(text("set local search_path = pg_catalog"))
        connection.execute(
            text("insert into public.ic3_asset_master (cmms_asset_id, criticality) values ('Pump X', 'Low')")
        )
    assert pipeline.state("Pump X")["state"] == "never"
    kept = pipeline.one(
        "select excel_criticality from innomaint_overridden_value order by asset_id desc limit 1"
    )
    assert kept == {"excel_criticality": "Low"}
    pipeline.execute("drop owned by other_program")


def test_a_deleted_row_takes_its_state_along(pipeline: Pipeline) -> None:
    pipeline.sync(pipeline.run("first"))
    pipeline.execute("delete from ic3_asset_performance where asset_id = 1")
    pipeline.execute("delete from ic3_workorder_summary where asset_id = 1")
    pipeline.execute("delete from ic3_asset_master where asset_id = 1")
    assert pipeline.rows("select 1 from innomaint_sync_state where asset_id = 1") == []


def test_a_role_that_may_not_create_tables_is_told_so(
    empty_database: Database, postgres: EmbeddedPostgres
) -> None:
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        connection.execute("drop role if exists reader")
        connection.execute("create role reader login")
    with empty_database.begin() as connection:
        connection.execute(text("revoke create on schema public from public"))
    poor = Database(empty_database.engine.url.set(username="reader").render_as_string(hide_password=False))
    with pytest.raises(DatabaseError, match="use a role that may create tables"):
        upgrade_database(poor, batch_size=100)
    poor.close()
    assert table_names(empty_database) == set()


def test_something_else_under_a_tables_name_stops_the_upgrade_whole(empty_database: Database) -> None:
    with empty_database.begin() as connection:
        connection.execute(text("create view ic3_floor_master as select 1 as floor_id"))
    with pytest.raises(AdoptionError, match=r"ic3_floor_master.*nothing was changed"):
        upgrade_database(empty_database, batch_size=100)
    assert table_names(empty_database) == set()


def test_new_batches_wait_for_no_import_where_each_asset_has_one(pipeline: Pipeline) -> None:
    with pipeline.database.begin() as importing:
        lock_imports(importing)
        with pipeline.database.begin() as connection:
            limit_statements(connection, 5)
            assert assign_new_batches(connection, 100) == 0


def test_settings_and_requests_of_the_first_version_are_taken_over(pipeline: Pipeline) -> None:
    pipeline.execute("drop table innomaint_request_part, innomaint_request, innomaint_lease")
    pipeline.execute(
        "create table innomaint_batch_lease (batch_key text primary key);"
        "create table innomaint_sync_request (id bigint primary key, selection jsonb,"
        " requested_at timestamptz, finished_at timestamptz,"
        " asked_by text, what text, state text, message text, stop_code integer,"
        " total integer, result jsonb);"
        "create table innomaint_sync_request_batch (request_id bigint, batch_key text, cmms_asset_ids jsonb,"
        " state text, run_ids text[], message text);"
        "insert into innomaint_sync_request (id, selection, requested_at, asked_by, state, total)"
        " values (41, '{\"is_due_only\": true}', now(), 'page', 'waiting', 12);"
        "insert into innomaint_sync_request_batch"
        " values (41, 'batch_000001', '[\"Pump 1\"]', 'waiting', '{}', null);"
        "insert into innomaint_setting (name, value) values"
        " ('paused', 'true'), ('import_error', '\"no file\"');"
        "update innomaint_schema_version set version_num = '0002'"
    )

    upgrade_database(pipeline.database, batch_size=100)

    assert table_names(pipeline.database) == {*metadata.tables, "innomaint_schema_version"}
    with pipeline.database.begin() as connection:
        assert load_setting(connection, "innomaint", PAUSED) is True
        assert load_setting(connection, "workbook", IMPORT_ERROR) == "no file"
        (request,) = find_open(connection, SYNC_REQUESTS)
        stored = submit(connection, Wish(SYNC_REQUESTS, {}, "", 0, {}, {}), asked_by="page")
    assert (request.id, request.total, [part.items for part in request.parts]) == (41, 12, [("Pump 1",)])
    assert stored.id > 41, "numbers go on after those taken over"


def test_an_older_database_learns_from_its_log_since_when_assets_fail_and_when_they_changed(
    pipeline: Pipeline,
) -> None:
    pipeline.sync(pipeline.run("first"))
    gone, steady = pipeline.serials[1], pipeline.serials[2]
    pipeline.simulator.world.remove(gone)
    for run_id in ("second", "third"):
        pipeline.resync(run_id)
    before = {serial: pipeline.state(serial) for serial in (gone, steady)}
    pipeline.execute(
        "alter table innomaint_sync_state drop column failed_since, drop column last_changed_at;"
        "update innomaint_schema_version set version_num = '0004'"
    )

    upgrade_database(pipeline.database, batch_size=100)

    second = pipeline.one(
        "select synced_at from ic3_sync_log where serialnumber = :serial and run_id = 'second'", serial=gone
    )
    assert pipeline.state(gone)["failed_since"] == second["synced_at"] < before[gone]["last_attempt_at"]
    assert pipeline.state(steady)["failed_since"] is None
    recorded = pipeline.rows("select asset_id, recorded_at from ic3_asset_performance")
    by_asset = {row["asset_id"]: row["recorded_at"] for row in recorded}
    for state in (pipeline.state(gone), pipeline.state(steady)):
        assert state["last_changed_at"] == by_asset[state["asset_id"]]
        assert state["last_changed_at"] < before[steady]["last_success_at"]


def test_an_upgrade_waits_for_somebodys_lock_a_moment_only_and_says_whose_it_is(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(text("drop index ix_innomaint_request_open"))
    other = psycopg.connect(database.url, application_name="reporting")
    try:
        other.execute("select * from innomaint_request")
        other.execute("lock table innomaint_request")
        pid = other.info.backend_pid
        said = rf"process {pid} \(role postgres, reporting\) holds .*request.*terminate_backend\({pid}\)"
        with pytest.raises(DatabaseError, match=said):
            upgrade_database(database, batch_size=100)
    finally:
        other.close()
    assert upgrade_database(database, batch_size=100) == ["created index ix_innomaint_request_open"]
