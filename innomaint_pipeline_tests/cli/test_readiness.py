"""What a database or a folder lacks is said by the first command, before anything is written."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from innomaint_pipeline.embedded.server import EmbeddedPostgres
from innomaint_pipeline.simulator.innomaint.workbook import write_sample_workbook
from innomaint_pipeline.store.database import Database
from innomaint_pipeline_tests.cli.conftest import Cli
from innomaint_pipeline_tests.conftest import Pipeline

ROLE = "clerk"


class Place:
    """The databases of a command that works as a role of its own."""

    def __init__(self, postgres: EmbeddedPostgres, ic3_url: str, dagster_url: str) -> None:
        self.postgres = postgres
        self.urls = {"ic3": ic3_url, "dagster": dagster_url}

    def administer(self, database: str, statement: str) -> None:
        writable = "-c default_transaction_read_only=off"
        with psycopg.connect(self.urls[database], autocommit=True, options=writable) as connection:
            name = sql.Identifier(connection.info.dbname).as_string()
            connection.execute(statement.replace("NAME", name).encode())

    def count(self) -> list[tuple[int, ...]]:
        """Return how many rows there are of what a sync or an import writes."""
        query = (
            "select (select count(*) from innomaint_request), (select count(*) from ic3_asset_master),"
            " (select count(*) from innomaint_response), (select count(*) from innomaint_lease)"
        )
        with psycopg.connect(self.urls["ic3"], options="-c search_path=public") as connection:
            return connection.execute(query).fetchall()


@pytest.fixture
def place(
    connected: Cli, postgres: EmbeddedPostgres, database_url: str, dagster_url: str, pipeline: Pipeline
) -> Iterator[Place]:
    del connected, pipeline
    made = Place(postgres, database_url, dagster_url)
    made.administer("ic3", f"create role {ROLE} login")
    for database in made.urls:
        made.administer(database, f"grant all on all tables in schema public to {ROLE}")
        made.administer(database, f"grant all on all sequences in schema public to {ROLE}")
    os.environ["IC3_DATABASE_URL"] = database_url.replace("postgres@", f"{ROLE}@")
    os.environ["DAGSTER_PG_URL"] = dagster_url.replace("postgres@", f"{ROLE}@")
    try:
        yield made
    finally:
        for database in made.urls:
            made.administer(database, "alter database NAME reset all")
        for database in made.urls:
            made.administer(database, f"drop owned by {ROLE}")
        made.administer("ic3", f"drop role {ROLE}")


NEW_DAGSTER = "drop schema public cascade; create schema public; grant usage on schema public to public"

LACKS = {
    "read-only": (
        "ic3",
        "alter database NAME set default_transaction_read_only = on",
        "default_transaction_read_only = off",
    ),
    "no schema": ("ic3", "alter database NAME set search_path = nowhere", "CREATE SCHEMA"),
    "a right on a table": (
        "ic3",
        f"revoke update on ic3_building from {ROLE}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ic3_building TO {ROLE};",
    ),
    "the right to stage": (
        "ic3",
        "revoke temporary on database NAME from public",
        "GRANT TEMPORARY ON DATABASE",
    ),
    "a table": ("ic3", "alter table innomaint_place_naming rename to aside", "innomaint db upgrade"),
    "Dagster read-only": (
        "dagster",
        "alter database NAME set default_transaction_read_only = on",
        "default_transaction_read_only = off",
    ),
    "Dagster's tables": ("dagster", NEW_DAGSTER, f"GRANT USAGE, CREATE ON SCHEMA public TO {ROLE};"),
    "a right on Dagster's tables": (
        "dagster",
        f"revoke insert on runs from {ROLE}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON runs TO {ROLE};",
    ),
    "Dagster's connections": ("dagster", "alter database NAME connection limit 0", "too many connections"),
}


@pytest.mark.parametrize("what", LACKS)
def test_what_lacks_is_named_before_anything_is_written(
    what: str, place: Place, connected: Cli, pipeline: Pipeline, tmp_path: Path
) -> None:
    database, harm, words = LACKS[what]
    path = tmp_path / "assets.xlsx"
    write_sample_workbook(pipeline.simulator.world, path)
    before = place.count()
    place.administer(database, harm)
    for command in (["sync"], ["import", str(path)]):
        ended = connected(*command)
        assert (ended.code, words in ended.err) == (4, True), ended.err
        assert "Traceback" not in ended.err
        assert "Dagster's database cannot be used" in ended.err or database == "ic3"
    if what == "a table":
        place.administer("ic3", "alter table aside rename to innomaint_place_naming")
    assert place.count() == before
    assert pipeline.simulator.record.starts == ()


def test_a_database_that_is_not_there_is_named_with_the_statement_that_makes_it(
    cli: Cli, postgres: EmbeddedPostgres
) -> None:
    os.environ["IC3_DATABASE_URL"] = postgres.url("nowhere")
    for command in (["db", "upgrade"], ["status"]):
        ended = cli(*command)
        assert ended.code == 4
        assert "database nowhere does not exist" in ended.err
        assert "CREATE DATABASE nowhere ENCODING 'UTF8'" in ended.err
    with psycopg.connect(postgres.url("postgres")) as connection:
        assert not connection.execute("select from pg_database where datname = 'nowhere'").rowcount


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_of_another_encoding_is_refused_with_the_statement_that_helps(
    cli: Cli, postgres: EmbeddedPostgres, encoding: str
) -> None:
    name = f"in_{encoding.lower()}"
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        connection.execute(
            f"create database {name} encoding '{encoding}' locale 'C' template template0".encode()
        )
        try:
            os.environ["IC3_DATABASE_URL"] = postgres.url(name)
            ended = cli("db", "upgrade")
            assert ended.code == 4
            assert f"encoded in {encoding}" in ended.err
            assert f"CREATE DATABASE {name}_utf8 ENCODING 'UTF8' TEMPLATE template0;" in ended.err
            with psycopg.connect(postgres.url(name)) as there:
                found = there.execute("select count(*) from pg_tables where schemaname = 'public'").fetchone()
            assert found == (0,)
        finally:
            connection.execute(f"drop database {name} with (force)".encode())


def test_a_role_that_only_reads_may_ask_for_the_status(place: Place, connected: Cli) -> None:
    place.administer("ic3", f"revoke insert, update, delete on all tables in schema public from {ROLE}")
    assert connected("status").code == 0


def make_file(home: Path) -> None:
    home.write_text("no folder")


def make_file_above(home: Path) -> None:
    home.parent.joinpath("file").write_text("no folder")
    os.environ["INNOMAINT_HOME"] = str(home.parent / "file" / "home")


def name_what_takes_no_files(_home: Path) -> None:
    os.environ["INNOMAINT_HOME"] = "/proc/home"


@pytest.mark.parametrize("harm", [make_file, make_file_above, name_what_takes_no_files])
@pytest.mark.parametrize("command", ["sync", "import", "up"])
def test_a_home_that_cannot_be_made_is_told_before_anything_is_stored(
    connected: Cli, pipeline: Pipeline, tmp_path: Path, harm: Callable[[Path], None], command: str
) -> None:
    path = tmp_path / "assets.xlsx"
    write_sample_workbook(pipeline.simulator.world, path)
    pipeline.execute("delete from ic3_asset_master")
    harm(connected.home)
    ended = connected(command, *([str(path)] if command == "import" else []))
    assert (ended.code, "INNOMAINT_HOME" in ended.err, "Traceback" in ended.err) == (2, True, False), (
        ended.err
    )
    assert pipeline.rows("select 1 from ic3_asset_master union all select 1 from innomaint_request") == []


def test_a_server_without_the_database_of_dagster_is_asked_for_it(
    connected: Cli, postgres: EmbeddedPostgres, database: Database
) -> None:
    del database
    os.environ["DAGSTER_PG_URL"] = postgres.url("made_for_dagster")
    try:
        assert connected("sync").code == 0
    finally:
        with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
            connection.execute("drop database made_for_dagster with (force)")
