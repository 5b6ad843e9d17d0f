"""Reaching PostgreSQL: addresses, and which error is whose."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from innomaint_pipeline.errors import ConfigurationError, DatabaseError
from innomaint_pipeline.store.database import Database, short_message, with_driver


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


def test_a_refused_value_stays_what_it_is_and_shows_no_statement(empty_database: Database) -> None:
    with pytest.raises(DBAPIError) as caught, empty_database.begin() as connection:
        connection.execute(text("select cast(:value as integer)"), {"value": "hunter2"})
    assert not isinstance(caught.value, DatabaseError)
    assert "SELECT" not in short_message(caught.value).upper()


def test_a_failed_transaction_leaves_nothing(empty_database: Database) -> None:
    with pytest.raises(DBAPIError), empty_database.begin() as connection:
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
