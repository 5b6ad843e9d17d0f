"""The database roles of docs/database-roles.md: its own SQL is executed, then each role tries everything."""

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

import innomaint_pipeline
from innomaint_pipeline.domain.innomaint import SOURCE
from innomaint_pipeline.domain.pacing import SourceAccount
from innomaint_pipeline.embedded.server import EmbeddedPostgres
from innomaint_pipeline.errors import DatabaseError
from innomaint_pipeline.simulator.innomaint.faults import Status
from innomaint_pipeline.simulator.innomaint.server import InnomaintSimulator
from innomaint_pipeline.store.database import Connection, Database
from innomaint_pipeline.store.housekeeping import delete_old_rows
from innomaint_pipeline.store.innomaint.batch_rows import RETENTIONS
from innomaint_pipeline.store.innomaint.due_batches import change_refresh_minutes
from innomaint_pipeline.store.innomaint.status import load_status
from innomaint_pipeline.store.innomaint.tables import IC3_TABLES
from innomaint_pipeline.store.requests import finish_own_request, open_own_request
from innomaint_pipeline.store.settings import PAUSED, clear_setting, save_setting
from innomaint_pipeline.store.upgrade import upgrade_database
from innomaint_pipeline.sync.workbook.importing import import_master
from innomaint_pipeline_tests.conftest import WORLD_SIZE, Pipeline
from innomaint_pipeline_tests.invariants import check_invariants
from innomaint_pipeline_tests.store.test_adoption import OLD_TABLES

DOCUMENT = (Path(innomaint_pipeline.__file__).parents[1] / "docs" / "database-roles.md").read_text("utf-8")
BEFORE, OWNER, AFTER = re.findall(r"^```sql\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
ROLES = ("innomaint_migrate", "innomaint_write", "innomaint_read")
DATABASE = "ic3"
HEADER = "Sr No,CMMS Asset ID,Asset Name,Criticality"


class World:
    """A database that stands as the document says."""

    def __init__(self, postgres: EmbeddedPostgres) -> None:
        self._url = postgres.url(DATABASE)

    def connect(self, role: str) -> Database:
        return Database(self._url.replace("postgres@", f"{role}@", 1))

    @contextmanager
    def work_as(self, role: str) -> Iterator[Database]:
        with closing(self.connect(role)) as database:
            yield database

    def administer(self, script: str) -> None:
        """Execute each statement of a script outside a transaction, as the superuser."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            for statement in re.sub(r"^--.*$", "", script, flags=re.MULTILINE).split(";"):
                if statement.strip():
                    connection.execute(statement.encode())


@contextmanager
def documented_world(postgres: EmbeddedPostgres, *, is_adopted: bool) -> Iterator[World]:
    postgres.ensure_database(DATABASE)
    world = World(postgres)
    try:
        # Nothing is left to what everybody may do.
        world.administer(f"revoke all on database {DATABASE} from public")
        world.administer("revoke all on schema public from public")
        world.administer("create role ic3_owner login")
        world.administer(f"grant connect on database {DATABASE} to ic3_owner")
        world.administer("grant usage, create on schema public to ic3_owner")
        if is_adopted:
            with world.work_as("ic3_owner") as database, database.begin() as connection:
                connection.execute(text(OLD_TABLES))
        world.administer(BEFORE)
        if is_adopted:
            world.administer(OWNER)
        with world.work_as("innomaint_migrate") as database:
            upgrade_database(database, batch_size=100)
        if is_adopted:
            world.administer(AFTER)
        yield world
    finally:
        with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
            connection.execute(f"drop database {DATABASE} with (force)".encode())
            connection.execute("drop database if exists dagster with (force)")
            for role in (*ROLES, "ic3_owner"):
                connection.execute(f"drop role if exists {role}".encode())


@pytest.fixture(scope="module", params=[False, True], ids=["new tables", "adopted tables"])
def world(postgres: EmbeddedPostgres, request: pytest.FixtureRequest) -> Iterator[World]:
    with documented_world(postgres, is_adopted=request.param) as made:
        yield made


def table_names(connection: Connection) -> list[str]:
    return list(
        connection.execute(
            text("select tablename::text from pg_tables where schemaname = 'public' order by 1")
        ).scalars()
    )


def refused(database: Database, statement: str) -> bool:
    """Tell whether a statement is refused for lack of a right; it is undone in any case."""
    with closing(psycopg.connect(database.engine.url.set(drivername="postgresql").render_as_string())) as it:
        try:
            it.execute(statement.encode())
        except psycopg.errors.InsufficientPrivilege:
            return True
        finally:
            it.rollback()
    return False


def test_the_document_names_the_tables_that_may_be_there_already() -> None:
    for grant in re.findall(r"ON\n(.*?)\n\s+TO", AFTER, re.DOTALL):
        assert re.findall(r"\w+", grant) == [table.name for table in IC3_TABLES]


def test_the_write_role_suffices_for_all_work(
    world: World, simulator: InnomaintSimulator, tmp_path: Path
) -> None:
    rows = [f'{number},"{serial}",Pump,Low' for number, serial in enumerate(simulator.world.serials, start=1)]
    workbook = tmp_path / "assets.csv"
    workbook.write_text("\n".join([HEADER, *rows, "99,,nameless,Low"]) + "\n", encoding="utf-8")
    faults = simulator.faults
    faults.next(simulator.world.serials[0], *[Status(500)] * 3)
    faults.always(simulator.world.serials[1], Status(404))
    simulator.world.change(simulator.world.serials[2], {"performance": {"mttr": "soon"}, "data": {"new": 1}})
    with world.work_as("innomaint_write") as database:
        pipeline = Pipeline(database, simulator)
        report = import_master(database, workbook, batch_size=100, run_id="import")
        assert (report.inserted, report.rejected) == (WORLD_SIZE, 1)
        assert pipeline.sync(pipeline.run("first")).counts.success == WORLD_SIZE - 1
        assert pipeline.resync("second").counts.success == WORLD_SIZE - 1
        assert pipeline.enrich(pipeline.run("third"), is_rebuild=True, is_last_step=True).failed == 0
        workbook.write_text("\n".join([HEADER, *rows[1:]]) + "\n", encoding="utf-8")
        assert import_master(database, workbook, batch_size=100, run_id="import").missing == 1
        with database.begin() as connection:
            save_setting(connection, SOURCE, PAUSED, value=True)
            clear_setting(connection, SOURCE, PAUSED)
            change_refresh_minutes(connection, 60)
            request = open_own_request(connection, "source/work", {"all": True}, resume_minutes=60)
            finish_own_request(connection, request.id)
        pipeline.execute("update ic3_sync_log set synced_at = now() - interval '100 days'")
        assert delete_old_rows(database, RETENTIONS)["ic3_sync_log"] > WORLD_SIZE
        with database.snapshot() as connection:
            status = load_status(connection, SourceAccount("a", 5))
        assert status.synced_assets == WORLD_SIZE - 1
        check_invariants(database)


def test_the_write_role_finds_the_tables_up_to_date_and_cannot_upgrade_them(world: World) -> None:
    with world.work_as("innomaint_write") as database:
        assert upgrade_database(database, batch_size=100) == []
        world.administer("alter table ic3_asset_master drop column barcode")
        with pytest.raises(DatabaseError, match="use a role that may create tables"):
            upgrade_database(database, batch_size=100)
    with world.work_as("innomaint_migrate") as database:
        assert upgrade_database(database, batch_size=100) == ["added column ic3_asset_master.barcode"]


@pytest.mark.parametrize("role", ["innomaint_write", "innomaint_read"])
def test_only_the_migrating_role_may_change_the_tables(world: World, role: str) -> None:
    statements = (
        "create table another (id integer)",
        "create function another() returns integer language sql as 'select 1'",
        "create schema another",
        "create role another",
        "create index on ic3_asset_master (make)",
        "drop table innomaint_response",
        "drop function innomaint_follow_asset_master() cascade",
        "alter table ic3_asset_master add another integer",
        "alter table ic3_asset_master disable trigger innomaint_follow_asset_master",
        "truncate ic3_asset_master cascade",
    )
    with world.work_as(role) as database:
        assert [statement for statement in statements if not refused(database, statement)] == []


def test_the_read_role_reads_every_table_and_writes_none(world: World) -> None:
    with world.work_as("innomaint_read") as database:
        with database.begin() as connection:
            names = table_names(connection)
            assert len(names) > 15
            for name in names:
                connection.exec_driver_sql(f'select * from "{name}" limit 1').all()
        for name in names:
            with database.begin() as connection:
                (column,) = connection.execute(
                    text(
                        "select attname from pg_attribute where attrelid = to_regclass(:name) and attnum = 1"
                    ),
                    {"name": name},
                ).one()
            assert refused(database, f'insert into "{name}" default values'), name
            assert refused(database, f'update "{name}" set "{column}" = null'), name
            assert refused(database, f'delete from "{name}"'), name
        assert refused(database, "create temporary table another (id integer)")


def test_a_table_of_a_later_upgrade_is_open_to_both_roles(world: World) -> None:
    world.administer("drop table innomaint_alert, innomaint_setting, ic3_building")
    with world.work_as("innomaint_migrate") as database:
        done = upgrade_database(database, batch_size=100)
    assert {"created table innomaint_alert", "created table ic3_building"} <= set(done)
    for name in ("innomaint_alert", "innomaint_setting", "ic3_building"):
        with world.work_as("innomaint_write") as database:
            assert not refused(database, f"delete from {name}")
        with world.work_as("innomaint_read") as database:
            assert not refused(database, f"select * from {name}")
            assert refused(database, f"delete from {name}")


def test_another_program_adds_rows_without_a_right_on_our_tables(world: World) -> None:
    world.administer("grant insert, select on ic3_asset_master to ic3_owner")
    world.administer("grant usage on all sequences in schema public to ic3_owner")
    with world.work_as("ic3_owner") as database, database.begin() as connection:
        assert refused(database, "select * from innomaint_sync_state")
        columns = "cmms_asset_id, created_at"
        connection.execute(text(f"insert into ic3_asset_master ({columns}) values ('Theirs', now())"))
    with world.work_as("innomaint_read") as database, database.begin() as connection:
        query = "select state from innomaint_sync_state join ic3_asset_master using (asset_id)"
        state = connection.execute(text(f"{query} where cmms_asset_id = 'Theirs'")).scalar_one()
    assert state == "never"
