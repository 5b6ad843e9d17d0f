"""Importing a workbook into the database: counts, repeats, rejects, all or nothing."""

import json
from pathlib import Path
from typing import Any

import pytest

from innomaint_pipeline.errors import DatabaseError, WorkbookError
from innomaint_pipeline.sync.workbook import ImportReport, import_master
from innomaint_pipeline_tests.conftest import Pipeline

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
    return tuple(report.to_json().values())


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
    ]
    assert counts(report) == (6, 3, 0, 0, 3, 0, 2)
    rows = masters(empty_pipeline)
    assert [row["cmms_asset_id"] for row in rows] == ["Pump 1", "Pump 2", "Pump 6"]
    assert (rows[1]["criticality"], rows[1]["excel_criticality"]) == ("High", "High")
    assert (rows[1]["year_of_manufacturing"], rows[1]["excel_attributes"]) == (2019, {"Colour": "blue"})
    rejected = empty_pipeline.rows(
        "select row_number, reason, row from innomaint_import_reject order by row_number"
    )
    assert [row["row_number"] for row in rejected] == [4, 5, 6]
    assert rejected[2]["row"]["CMMS Asset ID"] == "Pump 5"


def test_importing_it_again_changes_nothing(empty_pipeline: Pipeline, workbook: Path) -> None:
    load(empty_pipeline, workbook)
    rejects = "select xmin::text, * from innomaint_import_reject order by row_number"
    before = masters(empty_pipeline), empty_pipeline.rows(rejects)
    assert counts(load(empty_pipeline, workbook)) == (6, 0, 0, 3, 3, 0, 2)
    assert (masters(empty_pipeline), empty_pipeline.rows(rejects)) == before


def test_a_changed_workbook_updates_what_changed_and_names_what_is_missing(
    empty_pipeline: Pipeline, workbook: Path
) -> None:
    load(empty_pipeline, workbook)
    write(workbook, "1,Pump 1,New name,Low,2020,", "2,Pump 2,Booster,High,2019,blue", "9,Pump 9,,,,")
    report = load(empty_pipeline, workbook)
    assert counts(report) == (3, 1, 1, 1, 0, 1, 2)
    assert report.missing_examples == ("Pump 6",)
    assert len(masters(empty_pipeline)) == 4, "a missing one is kept"
    assert empty_pipeline.rows("select * from innomaint_import_reject") == []


def test_a_dry_run_counts_and_changes_nothing(empty_pipeline: Pipeline, workbook: Path) -> None:
    assert counts(load(empty_pipeline, workbook, is_dry_run=True)) == (6, 3, 0, 0, 3, 0, 2)
    assert masters(empty_pipeline) == []
    assert empty_pipeline.rows("select * from innomaint_import_reject") == []


def test_a_row_that_an_adopted_table_cannot_hold_is_rejected_and_the_others_imported(
    empty_pipeline: Pipeline, workbook: Path
) -> None:
    empty_pipeline.execute("alter table ic3_asset_master alter column asset_name type varchar(7)")
    write(workbook, "1,Pump 1,fits,Low,2020,", "2,Pump 2,does not fit,High,2019,blue")
    assert counts(load(empty_pipeline, workbook)) == (2, 1, 0, 0, 1, 0, 1)
    assert empty_pipeline.one("select row_number, reason, row from innomaint_import_reject") == {
        "row_number": 3,
        "reason": "asset_name holds 12 characters, the column of the database takes 7",
        "row": {
            "Sr No": 2,
            "CMMS Asset ID": "Pump 2",
            "Asset Name": "does not fit",
            "Criticality": "High",
            "Year of Manufacturing": 2019,
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
    assert counts(report) == (2, 0, 1, 0, 1, 2, 2)
    assert report.reject_reasons == {"the sheet has no make, the column of the database requires a value": 1}


def test_a_refusal_by_the_database_leaves_the_old_state(empty_pipeline: Pipeline, workbook: Path) -> None:
    load(empty_pipeline, workbook)
    before = masters(empty_pipeline)
    empty_pipeline.execute(
        "alter table ic3_asset_master add constraint no_nines check (cmms_asset_id not like '%9%')"
    )
    write(workbook, "1,Pump 1,changed,Low,2020,", "9,Pump 9,new,,,")
    with pytest.raises(DatabaseError, match=r"no_nines.*nothing was imported"):
        load(empty_pipeline, workbook)
    assert masters(empty_pipeline) == before


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
