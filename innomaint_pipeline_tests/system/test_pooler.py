"""Import, sync and enrich through PgBouncer, and on a server with settings of its own: the same tables."""

import socket
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
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
from innomaint_pipeline_tests.conftest import CANARY_TOKEN, Pipeline, fix_world
from innomaint_pipeline_tests.homes import temporary_server
from innomaint_pipeline_tests.invariants import check_invariants
from innomaint_pipeline_tests.system.conftest import find_free_port, new_home, start, wait_until

pytestmark = pytest.mark.system

SIZE = 12
BATCH_SIZE = 5
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


def sync_in_process(url: str, world: InnomaintSimulator, workbook: Path) -> None:
    """Upgrade, import, sync, and rebuild the tables from the stored answers, without a command between."""
    with closing(Database(url)) as database:
        upgrade_database(database, batch_size=BATCH_SIZE)
        import_master(database, workbook, batch_size=BATCH_SIZE)
        pipeline = Pipeline(database, world)
        for row in pipeline.rows("select distinct batch_key from innomaint_sync_state order by 1"):
            run = pipeline.run(f"run-{row['batch_key']}", batch_key=row["batch_key"])
            assert pipeline.sync(run).status == "complete"
            pipeline.enrich(run, is_rebuild=True, is_last_step=True)
        check_invariants(database)


def sync_by_commands(url: str, dagster_url: str, world: InnomaintSimulator, workbook: Path) -> None:
    """Do the same by the commands, whose runs are told to Dagster."""
    variables = {
        "IC3_DATABASE_URL": url,
        "DAGSTER_PG_URL": dagster_url,
        "INNOMAINT_API_URL": world.url,
        "INNOMAINT_API_TOKEN": CANARY_TOKEN,
        "INNOMAINT_BATCH_SIZE": str(BATCH_SIZE),
        "INNOMAINT_RATE_MS": "0",
    }
    with new_home("pool") as home:
        for command in (["db", "upgrade"], ["import", str(workbook)], ["sync"], ["enrich"]):
            ended = start(home, variables, *command).end()
            assert ended.code == 0, ended.err
    with closing(Database(url)) as database:
        check_invariants(database)


@dataclass(frozen=True)
class Pooled:
    """What a sync without anything in between makes, and one through a pooler of each mode."""

    truth: dict[str, list[Any]]
    tables: dict[str, dict[str, list[Any]]]
    asked: dict[str, Counter[str | None]]
    tables_elsewhere: dict[str, int]


def sync_through_poolers() -> Pooled:
    with (
        temporary_server() as server,
        InnomaintSimulator(World(SIZE), token=CANARY_TOKEN) as world,
        new_home("pow") as folder,
    ):
        fix_world(world, World(SIZE))
        workbook = folder / "assets.xlsx"
        write_sample_workbook(world.world, workbook)
        server.ensure_database("truth")
        sync_in_process(server.url("truth"), world, workbook)
        pooled = Pooled(contents(server.url("truth")), {}, {}, {})
        for mode in _POOL_SIZES:
            name = f"ic3_{mode}"
            server.ensure_database(name)
            with psycopg.connect(server.url(name), autocommit=True) as connection:
                connection.execute("create schema cmms")
                for setting, value in OTHER_SETTINGS.items():
                    connection.execute(f"alter database {name} set {setting} = '{value}'".encode())
            world.record.clear()
            with pooler(server, mode) as port:
                place = f"postgresql://postgres@127.0.0.1:{port}"
                url = f"{place}/{name}?options={quote('-csearch_path=cmms')}"
                # The harder mode of the two for the commands, and for Dagster's own database.
                if mode == "transaction":
                    sync_by_commands(url, f"{place}/dagster_{mode}", world, workbook)
                else:
                    sync_in_process(url, world, workbook)
            pooled.tables[mode] = contents(server.url(name), "cmms")
            pooled.asked[mode] = world.record.count_by_serial()
            with psycopg.connect(server.url(name)) as connection:
                query = "select from pg_tables where schemaname = 'public'"
                pooled.tables_elsewhere[mode] = connection.execute(query).rowcount
        return pooled


SCENARIOS: dict[str, Callable[[], Any]] = {"poolers": sync_through_poolers}


def test_through_a_pooler_the_tables_are_the_same(outcomes: dict[str, Future[Pooled]]) -> None:
    pooled = outcomes["poolers"].result()

    for mode in _POOL_SIZES:
        assert pooled.tables[mode] == pooled.truth, mode
        assert set(pooled.asked[mode].values()) == {1}, mode
        assert pooled.tables_elsewhere[mode] == 0, "the address has chosen the schema"
