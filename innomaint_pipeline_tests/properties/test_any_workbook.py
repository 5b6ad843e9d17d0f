"""Any workbook in: imported + rejected = its data rows, as a dry run says; a second one changes nothing."""

import tempfile
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from openpyxl.utils.exceptions import IllegalCharacterError

from innomaint_pipeline.domain.workbook.cells import is_blank
from innomaint_pipeline.domain.workbook.sheets import SheetRows
from innomaint_pipeline.errors import WorkbookError
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.sync.workbook.importing import import_master, import_sheets
from innomaint_pipeline_tests.conftest import Pipeline
from innomaint_pipeline_tests.properties.conftest import GENERATED
from innomaint_pipeline_tests.sheets import parse_sheet
from innomaint_pipeline_tests.sources.workbook.workbook_files import write_xlsx

Rows = Sequence[Sequence[Any]]

FIRST_MOMENT = datetime.fromisoformat("1901-01-01")

texts = st.text(st.characters(codec=None, exclude_categories=()), max_size=8)
plain_texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=8)
words = st.sampled_from(
    [
        *(
            "",
            "   ",
            "\xa0",
            "\u200b",
            "NA",
            "null",
            "#N/A",
            "#REF!",
            "00123",
            "101.0",
            "1e3",
            "-",
            "x" * 600,
        ),
        *("2020", "31/12/2020", "31/02/2020", "12-Jan-21", "2020-01-01", "TRUE", "High", "Asset ID", "'=1+1"),
    ]
)
dates = st.one_of(
    st.datetimes(FIRST_MOMENT, FIRST_MOMENT.replace(year=2199)),
    st.dates(date(1901, 1, 1), date(2199, 1, 1)),
    st.times().map(lambda value: value.replace(microsecond=0, fold=0)),
    st.timedeltas(timedelta(0), timedelta(days=900)),
)
numbers = st.one_of(
    st.integers(-(2**70), 2**70),
    st.integers(1900, 2100),
    st.floats(),
    st.sampled_from([101.0, 2.0**53, 0, 1]),
)
cells = st.one_of(st.none(), st.booleans(), words, numbers, dates, texts)
written_cells = st.one_of(
    st.none(), st.booleans(), words, st.integers(-(2**53), 2**53), dates, plain_texts,
    st.floats(allow_nan=False, allow_infinity=False, width=32),
)  # fmt: skip
ids = (
    st.sampled_from(["Pump 1", "pump 1", " Pump 1 ", "Pumpe é", "Pumpe e\u0301", "007", 7, 7.0]) | plain_texts
)
headers = st.lists(
    st.sampled_from(
        [
            *("Asset Name", "asset name", "Criticality", "CAPACITY/RATING", "Installation Date", "Sr. No."),
            *("Year of Manufacturing", "Make", "Zone", "", None, 5, "Location", "In-charge Person"),
        ]
    ),
    min_size=1,
    max_size=5,
)
id_headers = st.sampled_from(["Asset ID", "asset_id", " ASSET-ID ", "Serial Number", "CMMS Asset ID"])


@st.composite
def sheets(draw: st.DrawFn, cell: st.SearchStrategy[Any] = cells) -> tuple[Rows, int]:
    """Build rows with a header somewhere, and its place."""
    titles = draw(st.lists(st.just(["Asset report"]) | st.just([None]), max_size=3))
    header = [draw(id_headers), *draw(headers)]
    row = st.tuples(ids | cell, *[cell] * (len(header) - 1)).map(list)
    blank = st.just([None] * len(header))
    rows = draw(st.lists(row | row | blank | st.lists(cell, max_size=7), max_size=12))
    return [*titles, header, *rows], len(titles)


wild = st.lists(st.lists(cells | st.sampled_from(["Asset ID", "Asset Name"]), max_size=5), max_size=8)


def count_data_rows(rows: Rows, header: int) -> int:
    return sum(not all(map(is_blank, row)) for row in rows[header + 1 :])


def snapshot(database: Database) -> list[Any]:
    tables = (
        "ic3_asset_master",
        "innomaint_sync_state",
        "innomaint_import_reject",
        "innomaint_overridden_value",
    )
    with database.begin() as connection:
        return [
            connection.exec_driver_sql(f"select {table}::text from {table} order by 1").all()
            for table in (*tables, "ic3_sync_log")
        ]


def import_in_memory(database: Database, rows: Rows) -> Any:
    parsed = parse_sheet(SheetRows("any.xlsx", "Assets", rows))
    return import_sheets(database, [parsed], batch_size=3, run_id=None)


def test_any_sheet_is_imported_or_rejected_row_by_row(pipeline: Pipeline) -> None:
    database = pipeline.database

    @settings(GENERATED, max_examples=60)
    @given(sheets())
    @example(
        ([["Asset ID", "Zone"], ["A", float("inf")], ["A", "\ud800"], ["\0", 1], [None, None], [1e300]], 0)
    )
    def check(sheet: tuple[Rows, int]) -> None:
        rows, header = sheet
        report = import_in_memory(database, rows)
        assert report.rows == count_data_rows(rows, header)
        assert report.inserted + report.updated + report.unchanged + report.rejected == report.rows
        before = snapshot(database)
        again = import_in_memory(database, rows)
        assert (again.rows, again.rejected) == (report.rows, report.rejected)
        assert (again.inserted, again.updated) == (0, 0)
        assert snapshot(database) == before

    check()


def test_rows_of_any_kind_are_imported_or_refused_with_words(pipeline: Pipeline) -> None:
    @settings(GENERATED, max_examples=60)
    @given(wild)
    @example([])
    @example([[]])
    def check(rows: Rows) -> None:
        try:
            report = import_in_memory(pipeline.database, rows)
        except WorkbookError:
            return
        assert report.inserted + report.updated + report.unchanged + report.rejected == report.rows

    check()


def as_read(cell: Any) -> Any:
    """Return what of a cell a reader of the file gets to see: errors have no value, nor has a formula."""
    is_error_or_formula = isinstance(cell, str) and cell.startswith(("#", "="))
    return None if is_error_or_formula else cell


def test_any_file_is_read_and_imported_row_by_row(pipeline: Pipeline) -> None:
    database = pipeline.database

    @settings(GENERATED, max_examples=40)
    @given(sheets(written_cells))
    def check(sheet: tuple[Rows, int]) -> None:
        rows, header = sheet
        with tempfile.TemporaryDirectory() as folder:
            try:
                path = write_xlsx(Path(folder, "any.xlsx"), {"Assets": rows})
            except IllegalCharacterError:
                return
            untouched = snapshot(database)
            told = import_master(database, path, batch_size=3, is_dry_run=True)
            assert snapshot(database) == untouched
            report = import_master(database, path, batch_size=3)
            assert told == report
            seen = [[as_read(cell) for cell in row] for row in rows]
            assert report.rows == count_data_rows(seen, header)
            assert report.inserted + report.updated + report.unchanged + report.rejected == report.rows
            before = snapshot(database)
            again = import_master(database, path, batch_size=3)
            assert (again.inserted, again.updated, again.rejected) == (0, 0, report.rejected)
            assert snapshot(database) == before

    check()
