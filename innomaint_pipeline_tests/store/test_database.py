"""Reaching PostgreSQL: addresses, and which error is whose."""

import threading
import time
from datetime import UTC, date, datetime, timedelta
from urllib.parse import quote

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from sqlalchemy import make_url, text

from innomaint_pipeline.errors import ConfigurationError, DatabaseError, RefusedRowError
from innomaint_pipeline.store.connections import in_same_server, read_address, with_driver
from innomaint_pipeline.store.database import Database


@pytest.mark.parametrize(
    "written",
    ["postgresql://u:p@h:5/d", "postgresql+psycopg2://u:p@h:5/d", "postgresql+psycopg://u:p@h:5/d"],
)
def test_an_address_names_its_driver_whatever_form_it_had(written: str) -> None:
    assert with_driver(written, "psycopg2") == "postgresql+psycopg2://u:p@h:5/d"


def test_a_malformed_address_is_refused_without_being_shown() -> None:
    with pytest.raises(ConfigurationError) as caught:
        with_driver("my secret password", "psycopg")
    assert "secret" not in str(caught.value)


def test_an_unreachable_server_is_the_databases_trouble_and_shows_no_password() -> None:
    database = Database("postgresql://somebody:hunter2@127.0.0.1:9/nowhere")
    with (
        pytest.raises(DatabaseError, match=r"127.0.0.1, database nowhere.*unreachable") as caught,
        database.begin(),
    ):
        pass
    assert "hunter2" not in str(caught.value) + repr(caught.value) + str(caught.value.__cause__)
    database.close()


def test_a_missing_table_says_what_to_run(empty_database: Database) -> None:
    with pytest.raises(DatabaseError, match="innomaint db upgrade"), empty_database.begin() as connection:
        connection.execute(text("select * from ic3_asset_master"))


def test_a_refused_value_is_a_rows_fault_and_shows_no_statement(empty_database: Database) -> None:
    with pytest.raises(RefusedRowError) as caught, empty_database.begin() as connection:
        connection.execute(text("select cast(:value as integer)"), {"value": "hunter2"})
    assert caught.value.is_certain
    assert "SELECT" not in str(caught.value).upper()


def test_a_failed_transaction_leaves_nothing(empty_database: Database) -> None:
    with pytest.raises(RefusedRowError), empty_database.begin() as connection:
        connection.execute(text("create table leftover (id integer); select 1 / 0"))
    with pytest.raises(DatabaseError), empty_database.begin() as connection:
        connection.execute(text("select * from leftover"))


def test_a_restarted_server_costs_one_reconnect_and_no_error(empty_database: Database) -> None:
    with empty_database.begin() as connection:
        connection.execute(text("select 1"))
    other = Database(empty_database.engine.url.render_as_string(hide_password=False))
    with other.begin() as connection:
        connection.execute(
            text(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )
        )
    other.close()
    with empty_database.begin() as connection:
        assert connection.execute(text("select 1")).scalar_one() == 1


def test_a_connection_lost_in_a_transaction_is_the_databases_trouble(empty_database: Database) -> None:
    with pytest.raises(DatabaseError, match="unreachable or refuses"), empty_database.begin() as connection:
        connection.execute(text("select pg_terminate_backend(pg_backend_pid())"))


def test_times_are_read_in_utc(empty_database: Database) -> None:
    with empty_database.begin() as connection:
        assert connection.execute(text("show timezone")).scalar_one() == "UTC"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (
            "postgresql://u:p%20w@h:5/d",
            {"user": "u", "password": "p w", "host": "h", "port": "5", "dbname": "d"},
        ),
        ("postgresql://u:p w@h/d", {"user": "u", "password": "p w", "host": "h", "dbname": "d"}),
        (
            "postgresql://u:%25%40%3A%2F%3F%23+@h/d",
            {"user": "u", "password": "%@:/?#+", "host": "h", "dbname": "d"},
        ),
        ("postgresql:///d?host=/run/a%20b&user=u", {"user": "u", "host": "/run/a b", "dbname": "d"}),
        ("postgresql://u@%2Frun%2Fpg/d", {"user": "u", "host": "/run/pg", "dbname": "d"}),
        ("postgresql://[::1]:5/d", {"host": "::1", "port": "5", "dbname": "d"}),
        (
            "postgres://h1:1,h2:2/d?target_session_attrs=read-write",
            {"host": "h1,h2", "port": "1,2", "dbname": "d", "target_session_attrs": "read-write"},
        ),
        ("postgresql:///?service=ic3", {"service": "ic3"}),
    ],
)
def test_every_form_of_an_address_is_kept_on_the_way_to_every_driver(
    written: str, expected: dict[str, str]
) -> None:
    given = read_address(written)
    assert given == expected
    for driver in ("psycopg", "psycopg2"):
        again = with_driver(written, driver)
        assert again.startswith(f"postgresql+{driver}://")
        assert read_address(again) == given
        url = make_url(again)
        _, arguments = url.get_dialect()().create_connect_args(url)
        assert {key: str(value) for key, value in arguments.items() if value != ""} == given
    dagster = read_address(in_same_server(written, "dagster"))
    assert dagster == {**given, "dbname": "dagster"}


@pytest.mark.parametrize(
    "written", ["postgresql://u:hun%ter2@h/d", "postgresql://u:hun@ter2@h/d", "mysql://ter2"]
)
def test_what_is_no_address_is_refused_without_being_shown(written: str) -> None:
    with pytest.raises(ConfigurationError, match=r"%40") as caught:
        read_address(written)
    assert "ter2" not in str(caught.value)


@pytest.mark.parametrize("place", ["address", "environment"])
def test_a_schema_is_chosen_by_the_address_or_by_pgoptions(
    empty_database: Database, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with empty_database.begin() as connection:
        connection.execute(text('create schema cmms; create schema "a b"'))
    options = r'-c search_path="a\ b",cmms --statement_timeout=4s'
    if place == "environment":
        monkeypatch.setenv("PGOPTIONS", options)
        chosen = Database(empty_database.url)
    else:
        chosen = Database(f"{empty_database.url}&options={quote(options)}")
    with chosen.begin() as connection:
        assert connection.execute(text("select current_schemas(false)")).scalar_one() == ["a b", "cmms"]
        assert connection.execute(text("show statement_timeout")).scalar_one() == "4s"
    chosen.close()


def test_options_that_are_no_settings_are_refused(empty_database: Database) -> None:
    with pytest.raises(ConfigurationError, match="-d"):
        Database(f"{empty_database.url}&options=-d%203")


SERVER_SETTINGS = {
    "datestyle": "SQL, DMY",
    "intervalstyle": "iso_8601",
    "timezone": "Asia/Kolkata",
    "bytea_output": "escape",
    "standard_conforming_strings": "off",
    "default_transaction_isolation": "serializable",
    "statement_timeout": "1ms",
    "transaction_timeout": "1ms",
    "lock_timeout": "1ms",
    "idle_in_transaction_session_timeout": "1ms",
    "client_encoding": "LATIN1",
    "extra_float_digits": "-15",
}


def test_a_servers_own_settings_change_nothing(empty_database: Database) -> None:
    with empty_database.begin() as connection:
        for name, value in SERVER_SETTINGS.items():
            connection.execute(
                text(f"alter database {empty_database.engine.url.database} set {name} = '{value}'")
            )
    empty_database.close()
    moment = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    with empty_database.begin() as connection:
        connection.execute(text("select pg_sleep(0.01)"))
        time.sleep(0.01)
        row = connection.execute(
            text(
                "select cast(:moment as timestamptz), cast(:moment as timestamptz)::text,"
                " interval '1 day 2:03', 0.1::float8 + 0.2, :odd, 'a\\b', date '2026-03-04'"
            ),
            {"moment": moment, "odd": "\u20b9 \u0928 \\ '"},
        ).one()
        isolation = connection.execute(text("show transaction_isolation")).scalar_one()
    assert tuple(row) == (
        *(moment, "2026-03-04 05:06:07+00", timedelta(days=1, hours=2, minutes=3), 0.1 + 0.2),
        *("\u20b9 \u0928 \\ '", "a\\b", date(2026, 3, 4)),
    )
    assert isolation == "read committed"


def test_nothing_is_prepared_or_kept_in_a_session(empty_database: Database) -> None:
    for _ in range(10):
        with empty_database.begin() as connection:
            connection.execute(text("select :number + 1"), {"number": 1})
    with empty_database.begin() as connection:
        assert connection.execute(text("select count(*) from pg_prepared_statements")).scalar_one() == 0
    session = empty_database.engine.raw_connection()
    try:
        assert session.cursor().execute("show datestyle").fetchone() == ("ISO, MDY",)
    finally:
        session.close()


def test_who_waits_for_a_lock_says_whose_it_is_while_it_waits(
    empty_database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    with empty_database.begin() as connection:
        connection.execute(text("create table pumps (id integer primary key); insert into pumps values (1)"))
    update = "update pumps set id = 2 where id = 1"
    address = {**read_address(empty_database.url), "application_name": "nightly report"}
    with psycopg.connect(make_conninfo("", **address)) as other:
        other.execute(update)
        ended = threading.Event()

        def wait() -> None:
            with empty_database.begin() as connection:
                connection.execute(text(update))
            ended.set()

        waiting = threading.Thread(target=wait)
        waiting.start()
        until = time.monotonic() + 60
        while not any("nightly report" in record.message for record in caplog.records):
            assert time.monotonic() < until, "nobody told of it"
            time.sleep(0.05)
        assert not ended.is_set()
        told = next(record.message for record in caplog.records if "nightly report" in record.message)
        assert f"process {other.info.backend_pid}" in told
        assert "pumps" in told
        other.rollback()
    waiting.join()
    assert ended.is_set()
