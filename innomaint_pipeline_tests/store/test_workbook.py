"""Importing rows into the asset master: counts, batches, overrides, and what does not fit."""

from typing import Any

import pytest

from innomaint_pipeline.domain.alerts import Condition
from innomaint_pipeline.domain.workbook import SOURCE
from innomaint_pipeline.store.innomaint.batches import count_batches, find_batch_keys
from innomaint_pipeline.store.settings import IMPORT_ERROR, save_setting
from innomaint_pipeline.store.workbook import ImportCounts, import_rows, load_conditions, save_rejects
from innomaint_pipeline_tests.conftest import Pipeline

FIELDS = ("criticality", "capacity_rating", "in_charge_person")


def put(pipeline: Pipeline, *rows: dict[str, Any], batch_size: int = 100) -> ImportCounts:
    """Import rows that all hold the columns of the first."""
    columns = [name for name in rows[0] if name != "cmms_asset_id"]
    with pipeline.database.begin() as connection:
        return import_rows(connection, rows, columns, batch_size=batch_size, run_id="import")


def batches(pipeline: Pipeline) -> dict[str, int]:
    rows = pipeline.rows(
        "select cmms_asset_id, right(batch_key, 6)::int as number from innomaint_sync_state"
        " join ic3_asset_master using (asset_id) order by asset_id"
    )
    return {row["cmms_asset_id"]: row["number"] for row in rows}


def test_new_changed_equal_and_missing_rows_are_counted(empty_pipeline: Pipeline) -> None:
    first = [{"cmms_asset_id": f"Pump {number}", "asset_name": "a"} for number in range(5)]
    assert put(empty_pipeline, *first) == ImportCounts(5, 0, 0, 0, (), 1)
    second = [
        {"cmms_asset_id": "Pump 1", "asset_name": "a"},
        {"cmms_asset_id": "Pump 2", "asset_name": "b"},
        {"cmms_asset_id": "Pump 9", "asset_name": "a"},
    ]
    assert put(empty_pipeline, *second) == ImportCounts(1, 1, 1, 3, ("Pump 0", "Pump 3", "Pump 4"), 1)
    assert empty_pipeline.one("select count(*) from ic3_asset_master") == {"count": 6}


def test_importing_the_same_rows_twice_writes_no_row(empty_pipeline: Pipeline) -> None:
    rows = [
        {
            "cmms_asset_id": f"Pump {number}",
            "report_seq_no": number,
            "criticality": "Low",
            "installation_date": None,
            "excel_attributes": {"Colour": "blue", "Depth": 1.5, "none": None},
        }
        for number in range(5)
    ]
    put(empty_pipeline, *rows)
    query = "select xmin::text, * from {} order by 2, 3"
    tables = ("ic3_asset_master", "innomaint_sync_state", "innomaint_overridden_value", "ic3_sync_log")
    before = [empty_pipeline.rows(query.format(table)) for table in tables]
    assert put(empty_pipeline, *rows).unchanged == 5
    assert [empty_pipeline.rows(query.format(table)) for table in tables] == before


def test_inserted_and_updated_rows_are_logged(empty_pipeline: Pipeline) -> None:
    put(empty_pipeline, *({"cmms_asset_id": name, "make": "x"} for name in ("Pump 1", "Pump 2")))
    put(empty_pipeline, {"cmms_asset_id": "Pump 1", "make": "y"}, {"cmms_asset_id": "Pump 2", "make": "x"})
    log = empty_pipeline.rows("select serialnumber, sync_type, status, run_id from ic3_sync_log order by id")
    assert [row["serialnumber"] for row in log] == ["Pump 1", "Pump 2", "Pump 1"]
    assert {(row["sync_type"], row["status"], row["run_id"]) for row in log} == {
        ("excel_import", "success", "import")
    }


def test_columns_that_the_sheet_lacks_are_kept_and_blank_ones_cleared(empty_pipeline: Pipeline) -> None:
    put(empty_pipeline, {"cmms_asset_id": "Pump 1", "make": "x", "model": "y"})
    put(empty_pipeline, {"cmms_asset_id": "Pump 1", "model": None})
    assert empty_pipeline.one("select make, model from ic3_asset_master") == {"make": "x", "model": None}


def test_batches_fill_in_report_order_with_missing_numbers_last(empty_pipeline: Pipeline) -> None:
    put(
        empty_pipeline,
        {"cmms_asset_id": "none A", "report_seq_no": None},
        {"cmms_asset_id": "five", "report_seq_no": 5},
        {"cmms_asset_id": "one", "report_seq_no": 1},
        {"cmms_asset_id": "none B", "report_seq_no": None},
        {"cmms_asset_id": "three", "report_seq_no": 3},
        batch_size=2,
    )
    assert batches(empty_pipeline) == {"one": 1, "three": 1, "five": 2, "none A": 2, "none B": 3}
    with empty_pipeline.database.begin() as connection:
        assert find_batch_keys(connection) == ["batch_000001", "batch_000002", "batch_000003"]
        assert count_batches(connection) == 3


def test_a_batch_is_given_once_and_new_assets_fill_the_last_open_one(empty_pipeline: Pipeline) -> None:
    put(
        empty_pipeline,
        *({"cmms_asset_id": f"Pump {n}", "report_seq_no": n} for n in range(1, 4)),
        batch_size=2,
    )
    before = batches(empty_pipeline)
    put(
        empty_pipeline,
        {"cmms_asset_id": "Pump 3", "report_seq_no": 1},
        {"cmms_asset_id": "new A", "report_seq_no": 2},
        {"cmms_asset_id": "new B", "report_seq_no": 3},
        {"cmms_asset_id": "Pump 1", "report_seq_no": 9},
        batch_size=2,
    )
    assert batches(empty_pipeline) == {**before, "new A": 2, "new B": 3}


def test_another_batch_size_moves_nobody(empty_pipeline: Pipeline) -> None:
    put(empty_pipeline, *({"cmms_asset_id": f"Pump {n}", "make": "x"} for n in range(4)), batch_size=2)
    put(empty_pipeline, {"cmms_asset_id": "new", "make": "x"}, batch_size=5)
    assert batches(empty_pipeline) == {"Pump 0": 1, "Pump 1": 1, "Pump 2": 2, "Pump 3": 2, "new": 2}


@pytest.fixture
def synced(empty_pipeline: Pipeline) -> Pipeline:
    """The vendor's example, whose API values override Excel's."""
    empty_pipeline.import_serials(
        empty_pipeline.serials[:1], **dict(zip(FIELDS, ("Low", "1KW", "Excel's"), strict=True))
    )
    empty_pipeline.sync(empty_pipeline.run("first"))
    return empty_pipeline


def overridden(pipeline: Pipeline) -> dict[str, Any]:
    return pipeline.one(f"select {', '.join(FIELDS)}, excel_criticality from ic3_asset_master")


def test_excels_value_is_kept_beside_the_apis(synced: Pipeline) -> None:
    assert overridden(synced) == {
        "criticality": "High",
        "capacity_rating": "90KW",
        "in_charge_person": "JWIL",
        "excel_criticality": "Low",
    }


def test_a_new_excel_value_waits_behind_the_apis_and_returns_when_it_is_blank(synced: Pipeline) -> None:
    counts = synced.import_serials(
        synced.serials[:1], **dict(zip(FIELDS, ("Medium", "2KW", "New person"), strict=True))
    )
    assert counts.updated == 1, "excel_criticality changed"
    assert overridden(synced) == {
        "criticality": "High",
        "capacity_rating": "90KW",
        "in_charge_person": "JWIL",
        "excel_criticality": "Medium",
    }
    synced.simulator.world.change(
        synced.serials[0], {"data": {**dict.fromkeys(FIELDS), "in_charge_person": " "}}
    )
    synced.resync("second")
    assert overridden(synced) == {
        "criticality": "Medium",
        "capacity_rating": "2KW",
        "in_charge_person": "New person",
        "excel_criticality": "Medium",
    }
    synced.import_serials(synced.serials[:1], **dict.fromkeys(FIELDS))
    assert set(overridden(synced).values()) == {None}


def test_an_import_touches_no_value_of_the_api_and_no_state(synced: Pipeline) -> None:
    columns = "barcode, customer_id, api_attributes, last_synced_at, sync_version"
    before = synced.one(f"select {columns} from ic3_asset_master")
    states = synced.rows("select * from innomaint_sync_state")
    synced.import_serials(synced.serials[:1], asset_name="new", excel_attributes={"x": 1})
    assert synced.one(f"select {columns} from ic3_asset_master") == before
    assert synced.rows("select * from innomaint_sync_state") == states


def test_a_value_that_an_adopted_column_cannot_hold_is_refused_with_its_reason(
    empty_pipeline: Pipeline,
) -> None:
    put(empty_pipeline, {"cmms_asset_id": "Pump 1", "asset_name": "old", "make": "x"})
    empty_pipeline.execute("alter table ic3_asset_master alter column asset_name type varchar(5)")
    empty_pipeline.execute("alter table ic3_asset_master alter column make set not null")
    counts = put(
        empty_pipeline,
        {"cmms_asset_id": "Pump 1", "asset_name": "too long", "make": "x"},
        {"cmms_asset_id": "Pump 2", "asset_name": "short", "make": "x"},
        {"cmms_asset_id": "Pump 3", "asset_name": None, "make": None},
    )
    assert counts.refused == {
        "Pump 1": "asset_name holds 8 characters, the column of the database takes 5",
        "Pump 3": "make is empty, the column of the database requires a value",
    }
    assert (counts.inserted, counts.updated, counts.unchanged, counts.missing) == (1, 0, 0, 0)
    names = empty_pipeline.rows("select cmms_asset_id, asset_name from ic3_asset_master order by asset_id")
    assert [tuple(row.values()) for row in names] == [("Pump 1", "old"), ("Pump 2", "short")]


def rejects(pipeline: Pipeline) -> list[tuple[Any, ...]]:
    rows = pipeline.rows(
        "select workbook, row_number, reason, row from innomaint_import_reject order by workbook, row_number"
    )
    return [tuple(row.values()) for row in rows]


def save(pipeline: Pipeline, workbook: str, *given: tuple[int, str]) -> None:
    with pipeline.database.begin() as connection:
        save_rejects(
            connection,
            workbook=workbook,
            rejects=[
                {"sheet": "Assets", "row_number": number, "reason": reason, "row": {"Id": number}}
                for number, reason in given
            ],
        )


def test_rejects_of_a_sheet_are_replaced_and_those_of_others_kept(empty_pipeline: Pipeline) -> None:
    save(empty_pipeline, "a.xlsx", (3, "no id"), (4, "no id"), (5, "twice"))
    save(empty_pipeline, "b.xlsx", (3, "no id"))
    before = empty_pipeline.rows(
        "select xmin::text from innomaint_import_reject where row_number = 3 order by id"
    )
    save(empty_pipeline, "a.xlsx", (3, "no id"), (4, "twice"), (8, "no id"))
    assert rejects(empty_pipeline) == [
        ("a.xlsx", 3, "no id", {"Id": 3}),
        ("a.xlsx", 4, "twice", {"Id": 4}),
        ("a.xlsx", 8, "no id", {"Id": 8}),
        ("b.xlsx", 3, "no id", {"Id": 3}),
    ]
    after = empty_pipeline.rows(
        "select xmin::text from innomaint_import_reject where row_number = 3 order by id"
    )
    assert after == before, "a reject that stays is not written again"
    save(empty_pipeline, "a.xlsx")
    assert len(rejects(empty_pipeline)) == 1


def test_people_are_told_of_a_failed_import_until_one_succeeds(empty_pipeline: Pipeline) -> None:
    def told() -> Condition:
        with empty_pipeline.database.begin() as connection:
            (condition,) = load_conditions(connection)
        return condition

    assert told().value is None
    with empty_pipeline.database.begin() as connection:
        save_setting(connection, SOURCE, IMPORT_ERROR, "master.xlsx is no workbook.")
    assert told().value == "failed"
    assert "master.xlsx is no workbook. The sync goes on with the old one." in told().message
