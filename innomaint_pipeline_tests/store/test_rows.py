"""Upserts: what is written, what is kept, and that nothing is written twice."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection, text

from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.innomaint.tables import asset_master, building, workorder_summary
from innomaint_pipeline.store.rows import upsert_rows


@pytest.fixture
def connection(database: Database):
    with database.begin() as opened:
        yield opened


def rows(connection: Connection, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.execute(text(query))]


def put(connection: Connection, *given: dict[str, Any]) -> int:
    return upsert_rows(connection, building, ["building_id"], given)


def test_new_rows_are_inserted_and_counted(connection: Connection) -> None:
    assert (
        put(connection, {"building_id": 1, "building_name": "a"}, {"building_id": 2, "customer_id": 5}) == 2
    )
    query = "select building_id, building_name, customer_id from ic3_building order by 1"
    assert rows(connection, query) == [(1, "a", None), (2, None, 5)]


def test_an_equal_row_is_not_written(database: Database) -> None:
    given = {"building_id": 1, "building_name": "a", "customer_id": None}
    with database.begin() as connection:
        assert put(connection, given) == 1
    with database.begin() as connection:
        before = rows(connection, "select xmin::text, ctid::text, updated_at from ic3_building")
        assert put(connection, given) == 0
    with database.begin() as connection:
        assert rows(connection, "select xmin::text, ctid::text, updated_at from ic3_building") == before


def test_an_absent_column_is_kept_and_null_clears(connection: Connection) -> None:
    put(connection, {"building_id": 1, "building_name": "a", "customer_id": 5})
    assert put(connection, {"building_id": 1, "customer_id": None}) == 1
    assert rows(connection, "select building_name, customer_id from ic3_building") == [("a", None)]


def test_a_changed_row_is_stamped_and_the_others_are_not(database: Database) -> None:
    with database.begin() as connection:
        put(connection, *({"building_id": number, "building_name": "a"} for number in (1, 2)))
    with database.begin() as connection:
        put(connection, {"building_id": 1, "building_name": "b"}, {"building_id": 2, "building_name": "a"})
        is_newer = "select building_id, updated_at > created_at from ic3_building order by 1"
        assert rows(connection, is_newer) == [(1, True), (2, False)]


def test_a_row_of_a_key_alone_is_inserted_once(connection: Connection) -> None:
    assert put(connection, {"building_id": 1}) == 1
    assert put(connection, {"building_id": 1}) == 0


def test_no_rows_are_no_statement(connection: Connection) -> None:
    assert put(connection) == 0


def test_values_keep_every_digit_and_character(connection: Connection) -> None:
    connection.execute(text("insert into ic3_asset_master (cmms_asset_id) values ('Pump')"))
    odd = "'\"\\ \u00e9\u0928\U0001f6b0 ,{}[]\n\t\x01"
    moment = datetime(2026, 3, 19, 4, 21, 46, 123456, tzinfo=UTC)
    upsert_rows(
        connection,
        asset_master,
        ["asset_id"],
        [
            {
                "asset_id": 1,
                "asset_name": odd,
                "installation_date": date(2024, 7, 9),
                "customer_id": 2**63 - 1,
                "traceability_updated_on": moment,
                "api_attributes": {odd: [1, None, True, {"x": "1.10"}]},
            }
        ],
    )
    assert rows(
        connection,
        "select asset_name, installation_date, customer_id, traceability_updated_on, api_attributes"
        " from ic3_asset_master",
    ) == [(odd, date(2024, 7, 9), 2**63 - 1, moment, {odd: [1, None, True, {"x": "1.10"}]})]
    amount = {"asset_id": 1, "period_type": "upto", "ticket_cost": Decimal("999999999999.99")}
    upsert_rows(connection, workorder_summary, ["asset_id", "period_type"], [amount])
    assert rows(connection, "select ticket_cost from ic3_workorder_summary") == [
        (Decimal("999999999999.99"),)
    ]


def test_rows_with_different_columns_are_all_written(connection: Connection) -> None:
    given = [
        {"building_id": 1, "building_name": "a"},
        {"building_id": 2},
        {"building_id": 3, "customer_id": 1},
        {"building_id": 4, "building_name": "b", "customer_id": 2},
    ]
    assert put(connection, *given) == 4
    assert put(connection, *given) == 0
