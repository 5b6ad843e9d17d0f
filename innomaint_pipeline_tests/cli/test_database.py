"""`innomaint db upgrade`, and the embedded server that is left as it was found."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from innomaint_pipeline.embedded.server import embedded_postgres, find_running
from innomaint_pipeline.embedded.watch import find_server_processes
from innomaint_pipeline.store.database import Database
from innomaint_pipeline_tests.cli.conftest import Cli
from innomaint_pipeline_tests.homes import make_home


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A home whose path is short enough for a socket; at the end none of its servers may run."""
    made = make_home("cli")
    try:
        yield made
        assert find_running(made) is None
        assert not find_server_processes(made / "postgres")
    finally:
        shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def embedded(cli: Cli, home: Path) -> Cli:
    os.environ["INNOMAINT_HOME"] = str(home)
    return cli


def address(database: Database) -> str:
    return database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)


def test_an_upgrade_makes_the_tables_and_a_second_one_finds_nothing_to_do(
    cli: Cli, empty_database: Database
) -> None:
    os.environ["IC3_DATABASE_URL"] = address(empty_database)

    first, second = cli("db", "upgrade", "--json"), cli("db", "upgrade", "--json")

    assert (first.code, second.code) == (0, 0)
    assert list(first.json) == ["done"]
    assert len(first.json["done"]) > 0
    assert second.json == {"done": []}
    assert "up to date" in second.err


def test_an_upgrade_adopts_the_rows_of_an_existing_database(cli: Cli, empty_database: Database) -> None:
    os.environ["IC3_DATABASE_URL"] = address(empty_database)
    with psycopg.connect(address(empty_database)) as connection:
        connection.execute("create table ic3_asset_master (asset_id serial primary key, cmms_asset_id text)")
        connection.execute("insert into ic3_asset_master (cmms_asset_id) values ('P-1'), ('P-2')")

    assert cli("db", "upgrade").code == 0

    status = cli("status", "--json").json
    assert (status["total_assets"], status["never_synced"]) == (2, 2)


def test_duplicates_in_the_way_of_a_key_exit_with_4_and_are_named(cli: Cli, empty_database: Database) -> None:
    os.environ["IC3_DATABASE_URL"] = address(empty_database)
    with psycopg.connect(address(empty_database)) as connection:
        connection.execute("create table ic3_asset_master (asset_id serial primary key, cmms_asset_id text)")
        connection.execute("insert into ic3_asset_master (cmms_asset_id) values ('Twin'), ('Twin')")

    ended = cli("db", "upgrade")

    assert ended.code == 4
    assert "Twin" in ended.err
    with psycopg.connect(address(empty_database)) as connection:
        connection.execute("drop table ic3_asset_master")


def test_a_command_stops_the_embedded_server_that_it_has_started(embedded: Cli, home: Path) -> None:
    ended = embedded("status", "--json")

    assert ended.code == 0
    assert ended.json["total_assets"] == 0
    assert (home / "postgres").is_dir()
    assert find_running(home) is None


def test_a_command_leaves_an_embedded_server_running_that_ran_before(embedded: Cli, home: Path) -> None:
    with embedded_postgres(home):
        assert embedded("db", "upgrade").code == 0
        assert embedded.in_a_process("status").code == 0

        assert find_running(home) is not None
    assert find_running(home) is None


def test_a_command_that_fails_stops_the_embedded_server_too(embedded: Cli, home: Path) -> None:
    Path("text.xlsx").write_text("no workbook at all")

    assert embedded("import", "text.xlsx").code == 2

    assert find_running(home) is None


def test_the_demonstration_never_uses_the_databases_of_a_dotenv_file(embedded: Cli, home: Path) -> None:
    Path(".env").write_text(
        "IC3_DATABASE_URL=postgresql://somebody@127.0.0.1:1/ic3\n"
        "DAGSTER_PG_URL=postgresql://somebody@127.0.0.1:1/dagster\n"
        "INNOMAINT_API_TOKEN=a-real-one\n"
    )

    ended = embedded("--demo", "status", "--json")

    assert ended.code == 0
    assert ended.json["total_assets"] == 0
    assert (home / "demo" / "postgres").is_dir()
    assert find_running(home / "demo") is None
