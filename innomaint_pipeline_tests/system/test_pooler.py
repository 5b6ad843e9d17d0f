"""Import, sync and enrich through PgBouncer, and on a server with settings of its own: the same tables."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from innomaint_pipeline.embedded.server import EmbeddedPostgres
from innomaint_pipeline.embedded.watch import ServerFiles, account_of
from innomaint_pipeline.simulator.innomaint.server import InnomaintSimulator
from innomaint_pipeline.simulator.innomaint.workbook import write_sample_workbook
from innomaint_pipeline.simulator.innomaint.world import World
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.upgrade import upgrade_database
from innomaint_pipeline.sync.workbook.importing import import_master
from innomaint_pipeline_tests.conftest import CANARY_TOKEN, FIRST_BATCH, Pipeline, fix_world
from innomaint_pipeline_tests.homes import temporary_server
from innomaint_pipeline_tests.invariants import check_invariants
from innomaint_pipeline_tests.system.conftest import find_free_port, new_home, start, wait_until

SIZE = 12
# With a session for each client, the pool must hold all that are open at the same time: PgBouncer's default.
_POOL_SIZES = {"transaction": 4, "session": 20}
OTHER_SETTINGS = {
    "datestyle": "SQL, DMY",
    "intervalstyle": "iso_8601",
    "timezone": "Asia/Kolkata",
    "default_transaction_isolation": "serializable",
    "client_encoding": "LATIN1",
    "statement_timeout": "1s",
    "idle_in_transaction_session_timeout": "1s",
}
# What differs from one sync to another: numbers of rows, moments, runs.
COMPARED = {
    "ic3_asset_master": "to_jsonb(t) - '{asset_id,last_synced_at,created_at,updated_at}'::text[]",
    "ic3_building": "to_jsonb(t) - '{created_at,updated_at}'::text[]",
    "ic3_floor_master": "to_jsonb(t) - '{created_at,updated_at}'::text[]",
    "ic3_department_master": "to_jsonb(t) - '{created_at,updated_at}'::text[]",
    "ic3_asset_performance": "to_jsonb(t) - '{asset_id,recorded_at}'::text[]",
    "ic3_workorder_summary": "to_jsonb(t) - '{asset_id,updated_at}'::text[]",
}


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    with temporary_server() as running:
        yield running


@pytest.fixture(scope="module")
def world() -> Iterator[InnomaintSimulator]:
    with InnomaintSimulator(World(SIZE), token=CANARY_TOKEN) as running:
        fix_world(running, World(SIZE))
        yield running


@contextmanager
def pooler(server: EmbeddedPostgres, mode: str) -> Iterator[int]:
    """Run PgBouncer before a server; yield its port. As Debian configures it, it refuses startup options."""
    port = find_free_port()
    configuration = server.home / f"pgbouncer-{mode}.ini"
    configuration.write_text(
        f"[databases]\n* = host={server.host} port={server.port} user=postgres\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = any\npool_mode = {mode}\ndefault_pool_size = {_POOL_SIZES[mode]}\n"
        "max_client_conn = 200\n"
        "ignore_startup_parameters = extra_float_digits\n",
        encoding="utf-8",
    )
    account = account_of(ServerFiles(server.home).data)
    command = ["pgbouncer", "-q", str(configuration)]
    # Root it refuses; the server's own user may reach the socket.
    process = subprocess.Popen(command, **account)
    try:
        wait_until(lambda: is_open(port) or process.poll() is not None, "PgBouncer listens")
        assert process.poll() is None
        yield port
    finally:
        process.terminate()
        process.wait()


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def contents(url: str, schema: str = "public") -> dict[str, list[Any]]:
    with psycopg.connect(url, options=f"-c search_path={schema} -c timezone=UTC") as connection:
        return {
            table: connection.execute(
                f"select {expression} from {table} t order by ({expression})::text".encode()
            ).fetchall()
            for table, expression in COMPARED.items()
        }


@pytest.fixture(scope="module")
def truth(
    server: EmbeddedPostgres, world: InnomaintSimulator, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[Any]]:
    """What a sync without anything in between makes."""
    server.ensure_database("truth")
    path = tmp_path_factory.mktemp("truth") / "assets.xlsx"
    write_sample_workbook(world.world, path)
    with closing(Database(server.url("truth"))) as database:
        upgrade_database(database, batch_size=100)
        import_master(database, path, batch_size=100)
        pipeline = Pipeline(database, world)
        assert pipeline.sync(pipeline.run("truth", batch_key=FIRST_BATCH)).status == "complete"
    return contents(server.url("truth"))


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_through_a_pooler_the_tables_are_the_same(
    server: EmbeddedPostgres, world: InnomaintSimulator, truth: dict[str, list[Any]], mode: str
) -> None:
    name = f"ic3_{mode}"
    server.ensure_database(name)
    with psycopg.connect(server.url(name), autocommit=True) as connection:
        connection.execute("create schema cmms")
        for setting, value in OTHER_SETTINGS.items():
            connection.execute(f"alter database {name} set {setting} = '{value}'".encode())
    world.record.clear()
    with new_home("pool") as home, pooler(server, mode) as port:
        variables = {
            "IC3_DATABASE_URL": f"postgresql://postgres@127.0.0.1:{port}/{name}"
            f"?options={quote('-csearch_path=cmms')}",
            "DAGSTER_PG_URL": f"postgresql://postgres@127.0.0.1:{port}/dagster_{mode}",
            "INNOMAINT_API_URL": world.url,
            "INNOMAINT_API_TOKEN": CANARY_TOKEN,
            "INNOMAINT_BATCH_SIZE": "5",
            "INNOMAINT_RATE_MS": "0",
        }
        path = home / "assets.xlsx"
        write_sample_workbook(world.world, path)
        for command in (["db", "upgrade"], ["import", str(path)], ["sync"], ["enrich"]):
            ended = start(home, variables, *command).end()
            assert ended.code == 0, ended.err
        with closing(Database(variables["IC3_DATABASE_URL"])) as database:
            check_invariants(database)
    assert contents(server.url(name), "cmms") == truth
    assert set(world.record.count_by_serial().values()) == {1}
    with psycopg.connect(server.url(name)) as connection:
        found = connection.execute("select count(*) from pg_tables where schemaname = 'public'").fetchone()
    assert found == (0,), "the address has chosen the schema"
