import json
from datetime import date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innomaint_pipeline.domain.workbook.cells import (
    UnknownCell,
    ZeroPaddedNumber,
    has_unstorable,
    is_blank,
    is_plain_text,
    parse_integer,
    parse_json,
    parse_text,
    unknown_from_text,
)
from innomaint_pipeline.domain.workbook.dates import parse_date
from innomaint_pipeline.domain.workbook.headers import find_header
from innomaint_pipeline.domain.workbook.register import ParsedSheet
from innomaint_pipeline.domain.workbook.sheets import MergedCells, SheetRows, fill_merged
from innomaint_pipeline.domain.workbook.synonyms import COLUMNS, build_matcher, load_mapping
from innomaint_pipeline.errors import WorkbookError
from innomaint_pipeline_tests.sheets import parse_sheet

NAN = float("nan")
MIDNIGHT = datetime.combine(date(2020, 6, 12), time())


def parse(*rows, synonyms=None) -> ParsedSheet:
    return parse_sheet(SheetRows("assets.xlsx", "Assets", rows), synonyms or {})


def only_reason(parsed: ParsedSheet) -> str:
    assert parsed.records == []
    (reject,) = parsed.rejects
    return reject.reason


# ids


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("Delhi Cantt Naraina_BP_01", "Delhi Cantt Naraina_BP_01"),
        ("  A  1\t", "A  1"),
        ("\u00a0\u200bA-1\ufeff\u200d", "A-1"),
        ("Cafe\u0301_01", "Caf\u00e9_01"),
        ("00123", "00123"),
        ("101.0", "101.0"),
        (101.0, "101"),
        (101, "101"),
        (0, "0"),
        (-5, "-5"),
        (1.5, "1.5"),
        (1e-7, "0.0000001"),
        (2**53 - 1, "9007199254740991"),
        ("12345678901234567890", "12345678901234567890"),
        ("\u202aA-1\u202c\u00ad\u2066", "A-1"),
        ('="00123"', "00123"),
        ("'00123", "00123"),
        ("a/b, c", "a/b, c"),
        ("x" * 500, "x" * 500),
    ],
)
def test_an_id_is_trimmed_and_composed_and_otherwise_kept(cell, expected):
    (record,) = parse(["Asset ID"], [cell]).records
    assert record.cmms_asset_id == expected


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (True, "truth value TRUE"),
        (False, "truth value FALSE"),
        (MIDNIGHT, "a date or a time"),
        (date(2020, 6, 12), "a date or a time"),
        (time(4, 5), "a date or a time"),
        (timedelta(hours=30), "a date or a time"),
        (2**53, "more digits"),
        (-(2**53), "more digits"),
        (1e16, "more digits"),
        (12345678901234569216, "more digits"),
        (float("inf"), "more digits"),
        ("#N/A", "the error #N/A"),
        ("#ref!", "the error #ref!"),
        (UnknownCell("the error #BUSY!"), "the error #BUSY!"),
        *(
            (text, "the row has no id")
            for text in ("NA", "n/a", "-", "--", "nil", "None", "NULL", "TBD", "?")
        ),
        *((text, "a total") for text in ("Total", "GRAND TOTAL: 5", "Sub-total", "Total assets: 1,024")),
        *((text, "printed report") for text in ("Page 1 of 9", "Page -1 of 1", "*** End of Report ***")),
        ("\x01\x02", "control characters"),
        ("A\x00B", "cannot store"),
        ("A\ud800B", "cannot store"),
        ("x" * 501, "501 characters"),
    ],
)
def test_what_cannot_be_an_id_is_rejected_with_a_reason(cell, reason):
    assert reason in only_reason(parse(["Asset ID"], [cell]))


@pytest.mark.parametrize("cell", [None, "", "   ", "\u00a0\u200b", NAN])
def test_a_row_without_an_id_is_rejected_and_keeps_its_cells(cell):
    parsed = parse(["Asset ID", "Make", "Bought"], [cell, " Kirloskar ", date(2020, 1, 2)])
    assert only_reason(parsed) == "the row has no id: 'Asset ID' (column A) is blank"
    assert parsed.rejects[0].row_number == 2
    assert parsed.rejects[0].row == {"Make": "Kirloskar", "Bought": "2020-01-02"}


def test_a_row_that_ends_before_the_id_column_is_rejected():
    assert "'Asset ID' (column B) is blank" in only_reason(parse(["Make", "Asset ID"], ["Kirloskar"]))


def test_of_two_rows_with_one_id_the_first_is_imported_and_the_second_names_it():
    parsed = parse(["Asset ID", "Make"], ["A-1", "first"], ["B-2", None], [" A-1\u00a0", "second"])
    assert [(it.row_number, it.values["make"]) for it in parsed.records] == [(2, "first"), (3, None)]
    assert parsed.rejects[0].row_number == 4
    assert "'A-1' is already in row 2" in parsed.rejects[0].reason


def test_decomposed_and_composed_spellings_are_one_id():
    parsed = parse(["Asset ID"], ["Caf\u00e9"], ["Cafe\u0301"])
    assert len(parsed.records) == len(parsed.rejects) == 1


def test_a_rejected_row_does_not_occupy_its_id():
    rows = [["Asset ID", "YOM"], ["A-1", "2019", "torn"], ["A-1", "2020"]]
    parsed = parse_sheet(SheetRows("a.csv", "a", rows, is_delimited=True))
    assert [it.row_number for it in parsed.records] == [3]
    assert [(it.row_number, it.cmms_asset_id) for it in parsed.rejects] == [(2, "A-1")]
    assert "more cells than the header (3 instead of 2)" in parsed.rejects[0].reason


def test_ids_that_differ_only_by_case_or_spaces_are_reported_and_not_merged():
    parsed = parse(["Asset ID"], ["BP_01"], ["bp_01"], ["B P_01"], ["BP_02"])
    assert len(parsed.records) == 4
    (notice,) = parsed.notices
    assert "'BP_01' (row 2), 'bp_01' (row 3), 'B P_01' (row 4)" in notice
    assert "BP_02" not in notice


def test_notices_of_similar_ids_are_bounded():
    rows = [[f"{letter}{number}"] for number in range(60) for letter in "aA"]
    parsed = parse(["Asset ID"], *rows)
    assert len(parsed.records) == 120
    assert len(parsed.notices) == 51
    assert parsed.notices[-1].startswith("10 more groups")


# values


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (" 15 kW ", "15 kW"),
        (90.0, "90"),
        (90, "90"),
        (1.5, "1.5"),
        (1e-7, "0.0000001"),
        (True, "TRUE"),
        (False, "FALSE"),
        (MIDNIGHT, "2020-06-12"),
        (MIDNIGHT + timedelta(hours=4, minutes=5), "2020-06-12T04:05:00"),
        (time(4, 5), "04:05:00"),
        (timedelta(hours=30, seconds=5), "30:00:05"),
        (timedelta(seconds=-5), "-0:00:05"),
        (float("inf"), "inf"),
        ("NA", "NA"),
        ("NULL", "NULL"),
        ("0012", "0012"),
        ("", None),
        ("\u200b ", None),
        (None, None),
        (NAN, None),
    ],
)
def test_text_columns_hold_what_the_cell_shows(cell, expected):
    (record,) = parse(["Asset ID", "Capacity"], ["A", cell]).records
    assert record.values == {"capacity_rating": expected}


@pytest.mark.parametrize(
    "cell",
    [
        MIDNIGHT,
        MIDNIGHT + timedelta(hours=23, minutes=59),
        date(2020, 6, 12),
        43994,
        43994.75,
        "2020-06-12",
        "2020-06-12 00:00:00",
        "2020-06-12T10:20:30.5Z",
        "2020-06-12 10:20:30+05:30",
        "2020/06/12",
        "12/06/2020",
        "12/6/2020",
        "12-06-2020",
        "12.06.2020",
        "12/06/20",
        "12/06/2020 16:59",
        "12/06/2020 04:59 PM",
        "12 Jun 2020",
        "12-Jun-20",
        "12-JUN-2020",
        "12 June 2020",
        "12 june, 2020",
        "12Jun2020",
        " 12 Jun 2020\u00a0",
    ],
)
def test_a_date_is_read_day_first(cell):
    (record,) = parse(["Asset ID", "Installation Date"], ["A", cell]).records
    assert record.values == {"installation_date": date(2020, 6, 12)}


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (1, date(1900, 1, 1)),
        (59, date(1900, 2, 28)),
        (61, date(1900, 3, 1)),
        (2958465, date(9999, 12, 31)),
        ("01-Jan-68", date(2068, 1, 1)),
        ("01-Jan-69", date(1969, 1, 1)),
        ("3 Sept 2021", date(2021, 9, 3)),
        ("29/02/2024", date(2024, 2, 29)),
    ],
)
def test_dates_at_the_edges_of_calendars(cell, expected):
    (record,) = parse(["Asset ID", "Installation Date"], ["A", cell]).records
    assert record.values["installation_date"] == expected


@pytest.mark.parametrize(
    "cell",
    [
        *(
            "31/02/2020",
            "29/02/2023",
            "2020-13-01",
            "12/06-2020",
            "12 Foo 2020",
            "12 Junx 2020",
        ),
        *("soon", "2020", "43994", "12/06/020", "0000-01-01", "2020-W24-5", "\x00"),
        *(60, -3, 2020, 1800, 2958466, 1e300, float("inf"), True, time(4, 0), timedelta(days=3)),
    ],
)
def test_what_is_no_date_keeps_the_stored_one_and_is_an_issue(cell):
    (record,) = parse(["Asset ID", "Installation Date"], ["A", cell]).records
    (issue,) = record.issues
    assert (record.values, record.kept_columns) == ({"installation_date": None}, ["installation_date"])
    assert issue.column == "installation_date"
    assert issue.reason.startswith("'Installation Date' (B2): ")


PLACEHOLDERS = ["NA", "N/A", "-", "--", "nil", "TBD", "?", "00.00.0000", "0000-00-00", "0", 0, 0.0]


@pytest.mark.parametrize("header", ["Installation Date", "YOM"])
def test_a_placeholder_is_a_blank(header):
    for cell in PLACEHOLDERS:
        (record,) = parse(["Asset ID", header], ["A", cell]).records
        assert (list(record.values.values()), record.kept_columns, record.issues) == ([None], [], []), cell


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (2020, 2020),
        (2020.0, 2020),
        ("2020", 2020),
        (" 2020 ", 2020),
        ("2020.0", 2020),
        ("1800", 1800),
        (2200, 2200),
    ],
)
def test_a_year_is_a_whole_number(cell, expected):
    (record,) = parse(["Asset ID", "YOM"], ["A", cell]).records
    assert record.values == {"year_of_manufacturing": expected}


@pytest.mark.parametrize(
    "cell",
    [
        1799,
        2201,
        2020.5,
        "2020.5",
        "20l9",
        "",
        "9" * 5000,
        True,
        date(2020, 1, 1),
        float("inf"),
        "٢٠٢٠",
    ],
)
def test_what_is_no_year_is_an_issue_unless_it_is_blank(cell):
    (record,) = parse(["Asset ID", "YOM"], ["A", cell]).records
    assert record.values == {"year_of_manufacturing": None}
    assert record.kept_columns == ([] if cell == "" else ["year_of_manufacturing"])
    assert len(record.issues) == len(record.kept_columns)


@pytest.mark.parametrize(
    ("cell", "fits"), [(2**31 - 1, True), (2**31, False), (-(2**31), True), (-(2**31) - 1, False)]
)
def test_a_sequence_number_fits_the_column_of_the_database(cell, fits):
    (record,) = parse(["Asset ID", "Sr No"], ["A", cell]).records
    assert (record.values["report_seq_no"], len(record.issues)) == ((cell, 0) if fits else (None, 1))


def test_every_misfit_of_a_row_is_an_issue():
    (record,) = parse(["Asset ID", "Sr No", "YOM", "Installation Date"], ["A", "xx", "y", "z"]).records
    assert [it.column for it in record.issues] == record.kept_columns
    assert set(record.kept_columns) == {"report_seq_no", "year_of_manufacturing", "installation_date"}


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["1", "2)", "(3)", "1,000", "NA", 7.0], [1, 2, 3, 1000, None, 7]),
        (["1.1", "1.2", "2.1", 2.5], [1, 1, 2, 2]),
        (["A", "B", "c)"], [1, 2, 3]),
        (["A", "1", "2", "B", "1"], [1, 2, 3, 4, 5]),
        (["1.1", "A", "I", "1)", "1,000", "NA", 1.5], [1, 2, 3, 4, 5, 6, 7]),
        ([3, 1, 2], [3, 1, 2]),
    ],
)
def test_sequence_numbers_are_read_as_far_as_they_order_the_rows_else_the_place_counts(cells, numbers):
    parsed = parse(["Sr No", "Asset ID"], *([cell, f"A{at}"] for at, cell in enumerate(cells)))
    assert [it.values["report_seq_no"] for it in parsed.records] == numbers
    assert not any(it.issues for it in parsed.records)


def test_an_unknown_cell_keeps_what_is_stored_and_is_noticed_with_its_place():
    unknown = UnknownCell("a formula that was never calculated")
    parsed = parse(["Asset ID", "Make", "Voltage"], ["A", unknown, "#REF!"], ["B", None, None])
    first, second = parsed.records
    assert (first.values, first.kept_columns, first.kept_attributes) == (
        {"make": None},
        ["make"],
        ["Voltage"],
    )
    assert (second.values, second.kept_columns, second.kept_attributes) == ({"make": None}, [], [])
    assert any("2 cells: Assets!B2, Assets!C2" in notice for notice in parsed.notices)


@pytest.mark.parametrize(
    ("cells", "days", "notice"),
    [
        (["03/04/2020", "25/12/2020"], ["2020-04-03", "2020-12-25"], None),
        (["03/04/2020", "12/25/2020"], ["2020-03-04", "2020-12-25"], "is read month first"),
        (
            ["03/04/2020", "12/25/2020", "25/12/2020"],
            ["2020-04-03", None, "2020-12-25"],
            "all are read day first",
        ),
    ],
)
def test_a_column_of_dates_is_read_month_first_where_it_can_only_be_so(cells, days, notice):
    rows = [[f"A{at}", cell] for at, cell in enumerate(cells)]
    parsed = parse(["Asset ID", "Installation Date"], *rows)
    found = [it.values["installation_date"] for it in parsed.records]
    assert [day and day.isoformat() for day in found] == days
    assert [it for it in parsed.notices if "first" in it] == [
        it for it in parsed.notices if notice and notice in it
    ]
    assert bool(notice) == any("first" in it for it in parsed.notices)
    assert sum(len(it.issues) for it in parsed.records) == days.count(None)


def test_a_number_counts_days_in_the_workbooks_own_date_system_and_a_text_never_does():
    rows = [["Asset ID", "Installation Date"], ["A", 42532], ["B", "42532"]]
    first, second = parse_sheet(SheetRows("a.xlsx", "S", rows, is_1904=True)).records
    assert first.values["installation_date"] == date(2020, 6, 12)
    assert [it.column for it in second.issues] == ["installation_date"]


def test_ids_that_a_spreadsheet_may_have_ruined_are_noticed_with_their_rows():
    rows = [["1.23457E+11"], [ZeroPaddedNumber(123)], [10**15], [MIDNIGHT], [12345678901234567890]]
    parsed = parse(["Asset ID"], *rows)
    assert [it.cmms_asset_id for it in parsed.records] == ["1.23457E+11", "123", "1000000000000000"]
    for place, words in (
        ("A2", "scientific"),
        ("A3", "leading zeros"),
        ("A4, Assets!A6", "15"),
        ("A5", "dates"),
    ):
        assert any(place in notice and words in notice for notice in parsed.notices), words


def test_merged_cells_count_for_every_row_and_for_their_first_column():
    rows = [["Asset ID", "Location", "Make"], ["A1", "Pune", None], ["A2"], ["A3", None, "KSB"]]
    filled = fill_merged(rows, [MergedCells(1, 1, 2, 2), MergedCells(3, 2, 9, 2)])
    assert filled[2] == ["A2", "Pune"]
    assert filled[1] == ["A1", "Pune", None]


def test_headings_and_column_numbers_are_no_assets_and_lone_ids_are_noticed():
    rows = [
        ["Asset ID", "Name", "Make"],
        [1, 2, 3],
        ["HVAC SYSTEM"],
        ["A1", "Pump"],
        ["A2"],
        ["Asset ID", None, "x"],
    ]
    parsed = parse(*rows)
    assert [it.cmms_asset_id for it in parsed.records] == ["A1", "A2"]
    assert [it.row_number for it in parsed.rejects] == [2, 3, 6]
    assert any("1 row imported with an id and nothing else: 5" in it for it in parsed.notices)


def test_a_heading_that_is_merged_across_columns_is_no_asset_whatever_it_says():
    rows = [["Asset ID", "Make"], ["BLOCK 7"], ["A", "x"], ["B", "y"]]
    parsed = parse_sheet(SheetRows("a.xlsx", "S", rows, merged=[MergedCells(1, 0, 1, 1)]))
    assert [it.cmms_asset_id for it in parsed.records] == ["A", "B"]


def test_a_heading_takes_no_id_from_an_asset_below_it():
    rows = [["Asset ID", "Make"], ["AHU-01"], ["AHU-01", "x"], ["AHU-02", "y"]]
    parsed = parse_sheet(SheetRows("a.xlsx", "S", rows, merged=[MergedCells(1, 0, 1, 1)]))
    assert [(it.row_number, it.cmms_asset_id) for it in parsed.records] == [(3, "AHU-01"), (4, "AHU-02")]
    assert [it.row_number for it in parsed.rejects] == [2]
    parsed = parse(["Asset ID", "Make"], ["Spare"], ["Spare", "x"], *([f"A-{n}", "y"] for n in range(9)))
    assert [it.row_number for it in parsed.records] == list(range(3, 13))


@pytest.mark.parametrize("text", ["\t#REF!", "\u200b#N/A", " #DIV/0!\n"])
def test_an_error_word_is_unknown_whatever_blank_stands_around_it(text):
    assert parse(["Asset ID", "Make"], ["A", text]).records[0].kept_columns == ["make"]


def test_the_columns_of_the_sheet_are_in_the_values_and_no_others():
    (record,) = parse(["Asset ID", "Make", "Model"], ["A"]).records
    assert record.values == {"make": None, "model": None}


@pytest.mark.parametrize("cell", [None, "", " \u00a0", NAN])
def test_a_blank_cell_has_no_value_of_any_kind(cell):
    assert parse_text(cell) is parse_date(cell) is parse_integer(cell, allowed=range(5)) is None


# attributes


def test_unmatched_columns_become_attributes_as_json_values():
    parsed = parse(
        ["Asset ID", "Warranty", "Cost", "Checked", "Due", "At", "Blank", None, "Weird"],
        ["A", " yes ", 12.5, True, MIDNIGHT, time(9, 30), "  ", 101.0, float("inf")],
    )
    (record,) = parsed.records
    assert record.excel_attributes == {
        "Warranty": "yes",
        "Cost": 12.5,
        "Checked": True,
        "Due": "2020-06-12",
        "At": "09:30:00",
        "column_H": 101,
        "Weird": "inf",
    }
    assert parsed.unmatched_headers == [
        "Warranty",
        "Cost",
        "Checked",
        "Due",
        "At",
        "Blank",
        "column_H",
        "Weird",
    ]


def test_cells_beyond_the_header_are_kept_under_their_column():
    parsed = parse(["Asset ID"], ["A", None, "far"], ["B"])
    assert parsed.records[0].excel_attributes == {"column_C": "far"}
    assert parsed.records[1].excel_attributes == {}
    assert parsed.unmatched_headers == ["column_C"]


def test_headers_that_repeat_get_a_number():
    parsed = parse(["Asset ID", "Note", "note", "Note", "Note (2)", 2020], ["A", 1, 2, 3, 4, 5])
    assert parsed.records[0].excel_attributes == {
        "Note": 1,
        "note": 2,
        "Note (2)": 3,
        "Note (2) (2)": 4,
        "2020": 5,
    }


def test_characters_the_database_refuses_are_removed_and_reported():
    parsed = parse(
        ["Asset ID", "Make", "Re\x00mark"], ["A", "Kir\x00loskar", "x\udfffy"], ["B", "\x00", "fine"]
    )
    assert [it.values["make"] for it in parsed.records] == ["Kirloskar", None]
    assert parsed.records[0].excel_attributes == {"Remark": "xy"}
    assert parsed.notices[0].endswith("were removed in 3 cells: Assets!B2, Assets!C2, Assets!B3")


def test_a_notice_about_many_rows_names_ten_of_them():
    parsed = parse(["Asset ID", "Make"], *[[f"A{number}", "\x00"] for number in range(12)])
    assert parsed.notices[0].endswith("Assets!B10, Assets!B11 and 2 more")


def test_rejected_rows_are_storable_too():
    parsed = parse(["Asset ID", "Make"], ["A\x00", "M\ud800"])
    assert parsed.rejects[0].row == {"Asset ID": "A", "Make": "M"}


# rows


def test_blank_rows_are_neither_records_nor_rejects():
    parsed = parse([], ["Asset ID", "Make"], [None, None], ["A"], ["  ", "\u00a0"], [], ["B"], [""])
    assert [it.row_number for it in parsed.records] == [4, 7]
    assert parsed.rejects == []


def test_a_header_repeated_inside_the_data_is_rejected_as_such():
    parsed = parse(["Asset ID", "Make"], ["A", "x"], ["ASSET ID", "make"], ["B", "y"], ["Asset ID", "z"])
    assert [it.cmms_asset_id for it in parsed.records] == ["A", "B"]
    assert [it.reason for it in parsed.rejects] == ["the row repeats the header of row 1"] * 2


def test_a_sheet_with_nothing_below_its_header_has_no_records():
    parsed = parse(["Asset ID", "Make"])
    assert (parsed.records, parsed.rejects, parsed.header_row_number) == ([], [], 1)


def test_a_sheet_without_an_id_column_is_refused_with_what_it_holds():
    with pytest.raises(WorkbookError) as caught:
        parse(["Register"], ["Serial No", "Name"], [1, "Pump"])
    message = str(caught.value)
    assert "assets.xlsx, sheet 'Assets'" in message
    assert "'Serial No', 'Name'" in message
    assert "mapping" in message


CELLS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.text(alphabet=st.characters(categories=["Cs", "Cc", "Zs", "Cf"]), max_size=4),
    st.sampled_from(["A-1", "a-1", "A -1", "Asset ID", "Make", "12/06/2020", "2020", "", "  ", 101, 101.0]),
    st.datetimes(),
    st.dates(),
    st.times(),
    st.timedeltas(),
)
HEADERS = st.permutations(["Asset ID", "Make", "Sr No", "YOM", "Installation Date", "Other", None, "Make"])


@given(HEADERS, st.lists(st.lists(CELLS, max_size=10), max_size=12))
def test_whatever_the_rows_hold_each_is_a_record_or_a_reject_or_blank(header, rows):
    parsed = parse(header, *rows)
    not_blank = [number for number, row in enumerate(rows, 2) if not all(map(is_blank, row))]
    assert sorted(it.row_number for it in [*parsed.records, *parsed.rejects]) == not_blank
    ids = [it.cmms_asset_id for it in parsed.records]
    assert len(set(ids)) == len(ids)
    assert all(it == it.strip() and it for it in ids)


@given(HEADERS, st.lists(st.lists(CELLS, max_size=10), max_size=12))
def test_whatever_the_rows_hold_all_of_it_can_be_stored_as_json(header, rows):
    parsed = parse(header, *rows)
    for stored in [*(it.excel_attributes for it in parsed.records), *(it.row for it in parsed.rejects)]:
        text = json.dumps(stored, allow_nan=False, ensure_ascii=False)
        assert "\\u0000" not in text
        text.encode()


@given(st.lists(st.lists(CELLS, max_size=6), max_size=12))
def test_any_sheet_is_parsed_or_refused_as_having_no_id_column(rows):
    sheet = SheetRows("any.xlsx", "Any", rows)
    if find_header(rows, build_matcher({})) is not None:
        assert 1 <= parse_sheet(sheet).header_row_number <= len(rows)
    else:
        with pytest.raises(WorkbookError, match="no id column"):
            parse_sheet(sheet)


@given(
    st.text()
    | st.text(alphabet="E#NA/ ", max_size=4)
    | st.text(alphabet="r1 \x00\ud800\u00a0\u200b", max_size=4)
    | st.sampled_from(["#N/A", "#n/a ", " #REF!", "Err:502", "err:502"])
)
def test_a_plain_text_is_what_all_that_judges_a_text_leaves_of_it(text):
    if is_plain_text(text):
        assert parse_text(text) == parse_json(text) == text
        assert not is_blank(text)
        assert not has_unstorable(text)
        assert unknown_from_text(text) is None
    assert is_plain_text("Pump 1, \u00fc")


def test_a_mapping_reaches_the_header_search():
    sheet = SheetRows("assets.xlsx", "Assets", [["Title"], ["Kennung", "Hersteller"], ["A-1", "KSB"]])
    mapping = load_mapping('{"kennung": "cmms_asset_id", "HERSTELLER": "make"}')
    with pytest.raises(WorkbookError, match="no id column"):
        parse_sheet(sheet)
    (record,) = parse_sheet(sheet, mapping).records
    assert (record.cmms_asset_id, record.values) == ("A-1", {"make": "KSB"})


def test_every_column_of_the_master_can_be_filled():
    cells = {"report_seq_no": 1, "installation_date": "2020-06-12", "year_of_manufacturing": 2020}
    (record,) = parse(list(COLUMNS), [cells.get(column, f"a {column}") for column in COLUMNS]).records
    assert record.cmms_asset_id == "a cmms_asset_id"
    assert set(record.values) == set(COLUMNS) - {"cmms_asset_id"}
    assert None not in record.values.values()
