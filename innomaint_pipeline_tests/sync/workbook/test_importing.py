"""Importing a workbook into the database: counts, repeats, rejects, all or nothing."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from innomaint_pipeline.domain.pacing import SourceAccount
from innomaint_pipeline.errors import DatabaseError, WorkbookError
from innomaint_pipeline.store.innomaint.overview import load_overview
from innomaint_pipeline.sync.workbook.importing import ImportReport, import_master
from innomaint_pipeline_tests.conftest import Pipeline
from innomaint_pipeline_tests.sources.workbook.workbook_files import write_xlsx

HEADER = "Sr No,CMMS Asset ID,Asset Name,Criticality,Year of Manufacturing,Colour"


@pytest.fixture
def workbook(tmp_path: Path) -> Path:
    return write(
        tmp_path / "assets.csv",
        "2,Pump 2,Booster,High,2019,blue",
        "1,Pump 1,Booster,Low,2020,",
        ",,nameless,Low,2020,red",
        "4,Pump 1,twice,Low,2020,red",
        "5,Pump 5,Booster,Low,yesterday,red",
        "",
        "6,Pump 6,,,,",
    )


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join([HEADER, *lines]) + "\n", encoding="utf-8")
    return path


def load(pipeline: Pipeline, path: Path, **options: Any) -> ImportReport:
    return import_master(pipeline.database, path, batch_size=2, run_id="import", **options)


def counts(report: ImportReport) -> tuple[int, ...]:
    return tuple(list(report.to_json().values())[:7])


def masters(pipeline: Pipeline) -> list[dict[str, Any]]:
    return pipeline.rows("select xmin::text, * from ic3_asset_master order by asset_id")


def test_a_workbook_is_imported_and_every_row_accounted_for(empty_pipeline: Pipeline, workbook: Path) -> None:
    report = load(empty_pipeline, workbook)
    assert list(report.to_json()) == [
        "rows",
        "inserted",
        "updated",
        "unchanged",
        "rejected",
        "missing",
        "batches",
        "sheets",
        "header_row",
        "columns",
        "attributes",
        "notices",
        "issues",
    ]
    assert counts(report) == (6, 4, 0, 0, 2, 0, 2)
    assert (report.sheets, report.header_row, report.attributes) == (("assets",), 1, ("Colour",))
    assert report.columns["Year of Manufacturing"] == "year_of_manufacturing"
    assert report.issues == 1
    rows = masters(empty_pipeline)
    assert [row["cmms_asset_id"] for row in rows] == ["Pump 1", "Pump 2", "Pump 5", "Pump 6"]
    assert (rows[1]["criticality"], rows[1]["excel_criticality"]) == ("High", "High")
    assert (rows[1]["year_of_manufacturing"], rows[1]["excel_attributes"]) == (2019, {"Colour": "blue"})
    rejected = empty_pipeline.rows(
        "select row_number, reason, row from innomaint_import_reject order by row_number"
    )
    assert [row["row_number"] for row in rejected] == [4, 5]
    assert rejected[1]["row"]["CMMS Asset ID"] == "Pump 1"
    assert empty_pipeline.rows(
        "select cmms_asset_id, source, field, raw_value from innomaint_data_issue"
        " join ic3_asset_master using (asset_id) where resolved_at is null"
    ) == [
        {
            "cmms_asset_id": "Pump 5",
            "source": "workbook",
            "field": "year_of_manufacturing",
            "raw_value": "yesterday",
        }
    ]


def test_importing_it_again_changes_nothing(empty_pipeline: Pipeline, workbook: Path) -> None:
    load(empty_pipeline, workbook)
    rejects = "select xmin::text, * from innomaint_import_reject order by row_number"
    issues = "select xmin::text, * from innomaint_data_issue"
    before = masters(empty_pipeline), empty_pipeline.rows(rejects), empty_pipeline.rows(issues)
    assert counts(load(empty_pipeline, workbook)) == (6, 0, 0, 4, 2, 0, 2)
    assert (masters(empty_pipeline), empty_pipeline.rows(rejects), empty_pipeline.rows(issues)) == before


def test_a_changed_workbook_updates_what_changed_and_names_what_is_missing(
    empty_pipeline: Pipeline, workbook: Path
) -> None:
    load(empty_pipeline, workbook)
    write(workbook, "1,Pump 1,New name,Low,2020,", "2,Pump 2,Booster,High,2019,blue", "9,Pump 9,,,,")
    report = load(empty_pipeline, workbook)
    assert counts(report) == (3, 1, 1, 1, 0, 2, 3)
    assert report.missing_examples == ("Pump 5", "Pump 6")
    assert len(masters(empty_pipeline)) == 5, "a missing one is kept"
    assert empty_pipeline.rows("select * from innomaint_import_reject") == []


def test_a_dry_run_counts_and_changes_nothing(empty_pipeline: Pipeline, workbook: Path) -> None:
    tables = ("ic3_asset_master", "innomaint_import_reject", "innomaint_data_issue", "innomaint_setting")
    before = [empty_pipeline.rows(f"select * from {table}") for table in tables]
    told = load(empty_pipeline, workbook, is_dry_run=True)
    assert [empty_pipeline.rows(f"select * from {table}") for table in tables] == before
    assert load(empty_pipeline, workbook) == told, "a dry run tells what the import then does"
    with empty_pipeline.database.snapshot() as connection:
        shown = load_overview(connection, SourceAccount("http://127.0.0.1", 1440)).last_import
    assert shown is not None
    assert (shown.workbook, shown.rows, shown.rejected) == ("assets.csv", told.rows, told.rejected)


def test_a_row_that_an_adopted_table_cannot_hold_is_rejected_and_the_others_imported(
    empty_pipeline: Pipeline, workbook: Path
) -> None:
    empty_pipeline.execute("alter table ic3_asset_master alter column asset_name type varchar(7)")
    write(workbook, "1,Pump 1,fits,Low,2020,", "2,Pump 2,does not fit,,in May,blue")
    assert counts(load(empty_pipeline, workbook)) == (2, 1, 0, 0, 1, 0, 1)
    assert empty_pipeline.one("select row_number, reason, row from innomaint_import_reject") == {
        "row_number": 3,
        "reason": "asset_name holds 12 characters, the column of the database takes 7",
        "row": {
            "Sr No": 2,
            "CMMS Asset ID": "Pump 2",
            "Asset Name": "does not fit",
            "Year of Manufacturing": "in May",
            "Colour": "blue",
        },
    }


def test_a_required_column_that_the_sheet_lacks_refuses_new_rows_by_name(
    empty_pipeline: Pipeline, workbook: Path
) -> None:
    load(empty_pipeline, workbook)
    empty_pipeline.execute("alter table ic3_asset_master add column owner text")
    empty_pipeline.execute("update ic3_asset_master set make = 'x'")
    empty_pipeline.execute("alter table ic3_asset_master alter column make set not null")
    write(workbook, "1,Pump 1,changed,Low,2020,", "7,Pump 7,new,High,2019,blue")
    report = load(empty_pipeline, workbook)
    assert counts(report) == (2, 0, 1, 0, 1, 3, 2)
    assert report.reject_reasons == {"the sheet has no make, the column of the database requires a value": 1}


def test_a_row_that_a_check_of_others_refuses_is_rejected_by_itself(
    empty_pipeline: Pipeline, workbook: Path
) -> None:
    load(empty_pipeline, workbook)
    empty_pipeline.execute(
        "alter table ic3_asset_master add constraint no_nines check (cmms_asset_id not like '%9%')"
    )
    numbers = range(7, 31)
    write(workbook, "1,Pump 1,changed,Low,2020,", *(f"{it},Pump {it},new,,," for it in numbers))
    report = load(empty_pipeline, workbook)
    assert (report.inserted, report.updated, report.rejected) == (21, 1, 3)
    rejected = empty_pipeline.rows("select row_number, reason from innomaint_import_reject order by 1")
    assert [row["row_number"] for row in rejected] == [5, 15, 25]
    assert all("no_nines" in row["reason"] for row in rejected)


def test_what_no_row_can_help_leaves_the_old_state(empty_pipeline: Pipeline, workbook: Path) -> None:
    load(empty_pipeline, workbook)
    before = masters(empty_pipeline)
    empty_pipeline.execute(
        "create function refuse() returns trigger language plpgsql as $$ begin raise 'closed'; end $$"
    )
    empty_pipeline.execute(
        "create trigger closed before insert or update on ic3_asset_master"
        " for each row execute function refuse()"
    )
    write(workbook, *(f"{it},Pump {it},new,,," for it in range(100, 300)))
    with pytest.raises(DatabaseError, match=r"closed.*nothing was imported"):
        load(empty_pipeline, workbook)
    assert masters(empty_pipeline) == before


def test_a_narrower_workbook_keeps_columns_and_attributes(empty_pipeline: Pipeline, tmp_path: Path) -> None:
    full, narrow = tmp_path / "full.csv", tmp_path / "narrow.csv"
    full.write_text("Asset ID,Asset Name,Criticality,Voltage,Vendor\nA1,Pump,High,415,X\n")
    load(empty_pipeline, full)
    for content, expected in (
        ("Asset ID,Make,Voltage\nA1,KSB,\n", {"Vendor": "X"}),
        ("Asset ID,Vendor\nA1,Y\n", {"Vendor": "Y"}),
        ("Asset ID,Asset Name\nA1,#REF!\n", {"Vendor": "Y"}),
        ("Asset ID,Criticality,Vendor,Asset Name\nA1,#N/A,#N/A,Pump\n", {"Vendor": "Y"}),
    ):
        narrow.write_text(content)
        load(empty_pipeline, narrow)
        (row,) = masters(empty_pipeline)
        assert (row["asset_name"], row["make"], row["criticality"]) == ("Pump", "KSB", "High")
        assert row["excel_criticality"] == "High"
        assert row["excel_attributes"] == expected
        assert load(empty_pipeline, narrow).unchanged == 1


@pytest.mark.parametrize("stored", ["null", "'null'", "'[1]'", "'{}'"])
def test_attributes_that_are_none_are_replaced(empty_pipeline: Pipeline, tmp_path: Path, stored: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text("Asset ID,Voltage\nA1,415\n")
    load(empty_pipeline, path)
    empty_pipeline.execute(f"update ic3_asset_master set excel_attributes = {stored}")
    assert load(empty_pipeline, path).updated == 1
    assert masters(empty_pipeline)[0]["excel_attributes"] == {"Voltage": "415"}


def test_an_asset_whose_row_is_rejected_is_not_missing(empty_pipeline: Pipeline, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("Asset ID,Make\nA1,KSB\nA2,KSB\n")
    load(empty_pipeline, path)
    path.write_text("Asset ID,Make\nA1,K, SB\n")
    report = load(empty_pipeline, path)
    assert (report.rejected, report.missing, report.missing_examples) == (1, 1, ("A2",))


def test_an_issue_is_resolved_once_the_value_can_be_read(empty_pipeline: Pipeline, workbook: Path) -> None:
    load(empty_pipeline, workbook)
    write(workbook, "5,Pump 5,Booster,Low,2020,red")
    assert load(empty_pipeline, workbook).issues == 0
    assert empty_pipeline.rows("select * from innomaint_data_issue where resolved_at is null") == []
    write(workbook, "5,Pump 5,Booster,Low,soon,red")
    load(empty_pipeline, workbook)
    assert masters(empty_pipeline)[2]["year_of_manufacturing"] == 2020, "the stored one stays"


def test_sheets_with_other_columns_keep_those_they_lack(empty_pipeline: Pipeline, tmp_path: Path) -> None:
    sheets = {
        "One": [["Asset ID", "Make"], ["A1", "KSB"]],
        "Two": [["Asset ID", "Model", "X"], ["A2", "m", 1]],
    }
    path = write_xlsx(tmp_path / "a.xlsx", sheets)
    load(empty_pipeline, path, sheets=["One", "Two"])
    other = {
        "One": [["Asset ID", "Model"], ["A1", "n"]],
        "Two": [["Asset ID", "Make"], ["A2", "x"], [None, "y"]],
    }
    report = load(empty_pipeline, write_xlsx(path, other), sheets=["One", "Two"])
    assert [(it["make"], it["model"]) for it in masters(empty_pipeline)] == [("KSB", "n"), ("x", "m")]
    assert masters(empty_pipeline)[1]["excel_attributes"] == {"X": 1}
    assert report.sheets == ("One", "Two")
    assert empty_pipeline.one("select sheet, row_number from innomaint_import_reject") == {
        "sheet": "Two",
        "row_number": 3,
    }


def test_a_file_that_ends_its_reader_is_refused(
    empty_pipeline: Pipeline, workbook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = "import os, signal; os.kill(os.getpid(), signal.SIGABRT); '{module}'"
    monkeypatch.setattr("innomaint_pipeline.sources.workbook.reading._START", ends)
    with pytest.raises(WorkbookError, match=r"^assets\.csv: reading the file ended the reader \(SIGABRT\)"):
        load(empty_pipeline, workbook)


def test_a_name_that_is_no_unicode_is_stored_with_replacement_characters(
    empty_pipeline: Pipeline, tmp_path: Path
) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xe9.csv"))
    path.write_text("Asset ID,Make\nA1,KSB\n,x\n")
    assert load(empty_pipeline, path).workbook == "b\ufffd.csv"
    assert empty_pipeline.one("select workbook, sheet from innomaint_import_reject") == {
        "workbook": "b\ufffd.csv",
        "sheet": "b\ufffd",
    }


def test_a_file_that_is_no_asset_master_changes_nothing(empty_pipeline: Pipeline, workbook: Path) -> None:
    load(empty_pipeline, workbook)
    before = masters(empty_pipeline)
    workbook.write_text("Name,Price\nPump 1,5\n", encoding="utf-8")
    with pytest.raises(WorkbookError):
        load(empty_pipeline, workbook)
    assert masters(empty_pipeline) == before


def test_a_mapping_file_extends_the_synonyms(empty_pipeline: Pipeline, tmp_path: Path) -> None:
    path = tmp_path / "assets.csv"
    path.write_text("Kennung,Farbe,Hersteller\nPump 1,blau,Nirjhar\n", encoding="utf-8")
    mapping = tmp_path / "mapping.json"
    mapping.write_text(json.dumps({"Kennung": "cmms_asset_id", "Hersteller": "make"}), encoding="utf-8")
    load(empty_pipeline, path, mapping_path=mapping)
    (row,) = masters(empty_pipeline)
    assert (row["cmms_asset_id"], row["make"], row["excel_attributes"]) == (
        "Pump 1",
        "Nirjhar",
        {"Farbe": "blau"},
    )


def test_what_a_table_beside_the_master_refuses_costs_no_row_of_the_workbook(
    empty_pipeline: Pipeline, workbook: Path
) -> None:
    refusing = {
        "ic3_sync_log": "new.serialnumber = 'Pump 2'",
        "innomaint_import_reject": "new.row_number = 5",
        "innomaint_data_issue": "true",
    }
    for how in ("raise exception 'made' using errcode = '42501'", "return null"):
        empty_pipeline.execute("truncate ic3_asset_master, ic3_sync_log, innomaint_import_reject cascade")
        for table, condition in refusing.items():
            empty_pipeline.execute(
                f"create or replace function refuse_{table}() returns trigger language plpgsql as"
                f" $$ begin if {condition} then {how}; end if; return new; end $$;"
                f" create or replace trigger refuse before insert on {table} for each row"
                f" execute function refuse_{table}()"
            )
        report = load(empty_pipeline, workbook)
        assert counts(report)[:5] == (6, 4, 0, 0, 2), how
        logged = empty_pipeline.rows("select serialnumber from ic3_sync_log order by id")
        assert [row["serialnumber"] for row in logged] == ["Pump 1", "Pump 5", "Pump 6"], how
        rejects = empty_pipeline.rows("select row_number from innomaint_import_reject")
        assert [row["row_number"] for row in rejects] == [4], how
        told = " ".join(report.notices)
        assert all(table in told for table in refusing), "each is told"
        assert "Pump 2" in told
        assert "row 5" in told
