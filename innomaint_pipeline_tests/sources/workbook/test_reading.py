import zipfile
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from pathlib import Path

import openpyxl
import openpyxl.utils.datetime
import pandas as pd
import psutil
import pytest
from openpyxl.chart import BarChart

from innomaint_pipeline.domain.workbook.cells import UnknownCell, ZeroPaddedNumber
from innomaint_pipeline.domain.workbook.register import parse_sheets
from innomaint_pipeline.domain.workbook.synonyms import load_mapping
from innomaint_pipeline.errors import ConfigurationError, WorkbookError
from innomaint_pipeline.sources.workbook.reading import read_mapping, read_register
from innomaint_pipeline.sources.workbook.zip_parts import WorkbookBounds
from innomaint_pipeline_tests.sheets import parse_sheet
from innomaint_pipeline_tests.sources.workbook.workbook_files import (
    ods_of,
    read_sheet,
    repack,
    write_xlsx,
    xls_workbook,
)

MIDNIGHT = datetime.combine(date(2020, 6, 12), time())


def ids(path: Path, mapping: Mapping[str, str] | None = None) -> list[str]:
    sheet = read_sheet(path, synonyms=mapping)
    return [record.cmms_asset_id for record in parse_sheet(sheet, mapping or {}).records]


# .xlsx


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("00123", "00123"),
        ("NA", "NA"),
        ("NULL", "NULL"),
        ("None", "None"),
        ("nan", "nan"),
        ("TRUE", "TRUE"),
        ("101.0", "101.0"),
        (" Ünïcode ✓ ", " Ünïcode ✓ "),
        (101.0, 101),
        (1.5, 1.5),
        (True, True),
        (date(2020, 6, 12), MIDNIGHT),
        (MIDNIGHT + timedelta(hours=4), MIDNIGHT + timedelta(hours=4)),
        (time(4, 5), time(4, 5)),
        (timedelta(hours=30), timedelta(hours=30)),
    ],
)
def test_a_cell_keeps_its_type(tmp_path, written, read):
    path = write_xlsx(tmp_path / "a.xlsx", {"S": [["Asset ID", "Value"], ["A-1", written]]})
    cell = read_sheet(path).rows[1][1]
    assert (cell, type(cell)) == (read, type(read))


def test_rows_and_columns_are_numbered_from_a1_however_late_the_table_begins(tmp_path):
    book = openpyxl.Workbook()
    cells = book.worksheets[0]
    cells["C4"], cells["D4"], cells["C6"], cells["D6"] = "Asset ID", "Make", "A-1", "KSB"
    book.save(tmp_path / "a.xlsx")
    sheet = read_sheet(tmp_path / "a.xlsx")
    assert len(sheet.rows) == 6
    assert list(sheet.rows[3]) == [None, None, "Asset ID", "Make"]
    parsed = parse_sheet(sheet)
    assert (parsed.header_row_number, parsed.records[0].row_number) == (4, 6)


def test_a_real_looking_register_is_read_and_parsed(tmp_path):
    rows = [
        ["Asset register of the northern region"],
        [],
        ["Sr. No.", "CMMS Asset ID", "Asset Name", "Installation Date", "YOM", "Warranty till"],
        [1, "Delhi Cantt Naraina_BP_01", "Booster pump", date(2020, 6, 12), 2019, date(2025, 6, 11)],
        [],
        [2, 101.0, "Chiller", "13/06/2020", "2019", None],
        [3, None, "Lost", None, None, None],
        [4, "00123", "Fan", "13/13/2020", None, None],
    ]
    parsed = parse_sheet(read_sheet(write_xlsx(tmp_path / "Assets.xlsx", {"Register": rows})))
    assert (parsed.workbook, parsed.sheet, parsed.header_row_number) == ("Assets.xlsx", "Register", 3)
    assert [it.cmms_asset_id for it in parsed.records] == ["Delhi Cantt Naraina_BP_01", "101", "00123"]
    assert parsed.records[0].values == {
        "report_seq_no": 1,
        "asset_name": "Booster pump",
        "installation_date": date(2020, 6, 12),
        "year_of_manufacturing": 2019,
    }
    assert parsed.records[0].excel_attributes == {"Warranty till": "2025-06-11"}
    assert parsed.records[1].values["installation_date"] == date(2020, 6, 13)
    assert [it.row_number for it in parsed.rejects] == [7]
    assert [issue.reason[:24] for it in parsed.records for issue in it.issues] == ["'Installation Date' (D8)"]


def with_sheet_xml(tmp_path: Path, rows_xml: str, name: str = "formula.xlsx") -> Path:
    source = write_xlsx(tmp_path / "source.xlsx", {"S": [["Asset ID"]]})
    namespace = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    xml = f'<worksheet xmlns="{namespace}"><sheetData>{rows_xml}</sheetData></worksheet>'
    return repack(source, tmp_path / name, {"xl/worksheets/sheet1.xml": xml.encode()})


HEADER_XML = '<row r="1"><c r="A1" t="inlineStr"><is><t>Asset ID</t></is></c></row>'


def test_formulas_and_external_links_give_the_value_the_file_holds(tmp_path):
    rows = (
        '<row r="2"><c r="A2"><f>1+1</f><v>101</v></c></row>'
        '<row r="3"><c r="A3" t="str"><f>[1]Other!A1</f><v>from the link</v></c></row>'
        '<row r="4"><c r="A4" t="str"><f>WEBSERVICE("http://127.0.0.1:9/")</f><v>cached</v></c></row>'
    )
    assert ids(with_sheet_xml(tmp_path, HEADER_XML + rows)) == ["101", "from the link", "cached"]


def test_a_formula_that_was_never_calculated_is_unknown(tmp_path):
    path = write_xlsx(tmp_path / "a.xlsx", {"S": [["Asset ID", "Make"], ["=1+1", "KSB"]]})
    assert "never calculated" in parse_sheet(read_sheet(path)).rejects[0].reason


ODD_CELLS = {
    '<c r="B2" t="e"><v>#REF!</v></c>': UnknownCell("the error #REF!"),
    '<c r="B2" t="e"><v>#BLOCKED!</v></c>': UnknownCell("the error #BLOCKED!"),
    '<c r="B2" t="zz"><v>1</v></c>': UnknownCell("a value of the unknown type 'zz'"),
    '<c r="B2" t="s"><v>99</v></c>': UnknownCell("the text number '99', which the file lacks"),
    '<c r="B2"><v>1_0</v></c>': UnknownCell("the number '1_0'"),
    '<c r="B2"><v>NaN</v></c>': UnknownCell("the number 'NaN'"),
    '<c r="B2"><f>1+1</f></c>': UnknownCell("a formula that was never calculated"),
    '<c r="B2"><f>1+1</f><v/></c>': UnknownCell("a formula that was never calculated"),
    '<c r="B2" t="str"><f>""</f><v></v></c>': None,
    '<c r="B2" t="b"><v>1</v></c>': True,
    '<c r="B2" t="d"><v>2020-06-12T00:00:00</v></c>': MIDNIGHT,
    '<c r = "b2"><v>1.5</v></c>': 1.5,
    '<c x=">" r="$B$2"><v>7</v></c>': 7,
    '<c r="B2" t="inlineStr"><is><r><t>a</t></r><rPh><t>no</t></rPh><r><t>_x0041_b</t></r></is></c>': "aAb",
}


def test_a_cell_written_in_an_unusual_way_costs_itself_at_most(tmp_path):
    for xml, expected in ODD_CELLS.items():
        rows = f'<row r="2"><c r="A2"><v>5</v></c>{xml}<c r="C2"><v>6</v></c></row>'
        row = [*read_sheet(with_sheet_xml(tmp_path, HEADER_XML + rows)).rows[1], None]
        assert row[:3] == [5, expected, 6], xml


def test_cells_without_references_stand_one_beside_the_other(tmp_path):
    rows = "<row><c><v>5</v></c><c/><c><v>6</v></c></row><row><c><v>7</v></c></row>"
    assert read_sheet(with_sheet_xml(tmp_path, HEADER_XML + rows)).rows[1:] == [[5, None, 6], [7]]


def test_merged_cells_of_each_format_count_for_every_row(tmp_path):
    book = openpyxl.Workbook()
    for row in (["Asset ID", "Location", "Make"], ["A1", "Pune", None], ["A2", None, "KSB"]):
        book.worksheets[0].append(row)
    book.worksheets[0].merge_cells("B2:B3")
    book.save(tmp_path / "a.xlsx")
    assert read_sheet(tmp_path / "a.xlsx").rows[2] == ["A2", "Pune", "KSB"]
    cells = (
        '<table:table-row><table:table-cell office:value-type="string"><text:p>Asset ID</text:p>'
        '</table:table-cell><table:table-cell office:value-type="string"><text:p>Location</text:p>'
        "</table:table-cell></table:table-row><table:table-row><table:table-cell "
        'office:value-type="string"><text:p>A1</text:p></table:table-cell><table:table-cell '
        'table:number-rows-spanned="2" office:value-type="string"><text:p>Pu<text:s text:c="2"/>ne'
        "<text:line-break/>x<text:tab/>y</text:p></table:table-cell></table:table-row><table:table-row>"
        '<table:table-cell office:value-type="float" office:value="7"><text:p>7</text:p>'
        "<office:annotation><text:p>note</text:p></office:annotation></table:table-cell>"
        '<table:covered-table-cell/><table:table-cell table:formula="of:=1/0" '
        'calcext:value-type="error" office:value-type="string"><text:p>#DIV/0!</text:p></table:table-cell>'
        "</table:table-row>"
    )
    path = ods_of(tmp_path / "a.ods", cells)
    sheet = read_sheet(path)
    assert sheet.rows[1][1] == "Pu  ne x y"
    assert sheet.rows[2] == [7, "Pu  ne x y", UnknownCell("the error #DIV/0!")]


def test_the_format_of_a_number_tells_dates_durations_and_leading_zeros(tmp_path):
    book = openpyxl.Workbook()
    formats = {
        "000000": ZeroPaddedNumber,
        "dd/mm/yyyy": datetime,
        "[h]:mm": timedelta,
        "0.00": int,
        '0" days"': int,
    }
    book.worksheets[0].append(["Asset ID", *formats])
    book.worksheets[0].append(["A", *[123] * len(formats)])
    for at, code in enumerate(formats, 2):
        book.worksheets[0].cell(2, at).number_format = code
    book.save(tmp_path / "a.xlsx")
    assert [type(cell) for cell in read_sheet(tmp_path / "a.xlsx").rows[1][1:]] == list(formats.values())


def test_a_number_of_an_ods_may_be_padded_by_the_style_of_its_column_or_row(tmp_path):
    rows = (
        '<table:table-column table:number-columns-repeated="2"/>'
        '<table:table-column table:default-cell-style-name="padded"/><table:table-column/>'
        "<table:table-row>{0}{0}{0}{0}</table:table-row>"
        '<table:table-row table:default-cell-style-name="padded">{0}</table:table-row>'
    ).format('<table:table-cell office:value-type="float" office:value="42"/>')
    styles = (
        '<number:number-style style:name="four"><number:number number:min-integer-digits="4"/>'
        '</number:number-style><style:style style:name="padded" style:data-style-name="four"/>'
    )
    sheet = read_sheet(ods_of(tmp_path / "a.ods", rows, styles), "Data")
    first, second = sheet.rows
    assert [type(cell) for cell in first] == [int, int, ZeroPaddedNumber, int]
    assert [type(cell) for cell in second] == [ZeroPaddedNumber]


def test_the_day_that_never_was_is_unknown(tmp_path):
    book = openpyxl.Workbook()
    book.worksheets[0].append(["Asset ID", "Seen", "Seen again"])
    book.worksheets[0].append(["A", 60, 61])
    book.worksheets[0]["B2"].number_format = book.worksheets[0]["C2"].number_format = "dd/mm/yyyy"
    book.save(tmp_path / "a.xlsx")
    assert read_sheet(tmp_path / "a.xlsx").rows[1] == [
        "A",
        UnknownCell("29 February 1900, a day that never was"),
        datetime.combine(date(1900, 3, 1), time()),
    ]


def test_the_1904_date_system_is_that_of_the_workbook(tmp_path):
    book = openpyxl.Workbook()
    book.epoch = openpyxl.utils.datetime.CALENDAR_MAC_1904
    book.worksheets[0].append(["Asset ID", "Installation Date"])
    book.worksheets[0].append(["A", MIDNIGHT])
    book.worksheets[0].append(["B", 42532])
    book.save(tmp_path / "a.xlsx")
    records = parse_sheet(read_sheet(tmp_path / "a.xlsx")).records
    assert [it.values["installation_date"] for it in records] == [MIDNIGHT.date()] * 2


def test_an_error_cell_in_the_id_column_rejects_its_row(tmp_path):
    rows = '<row r="2"><c r="A2" t="e"><v>#N/A</v></c><c r="B2"><v>5</v></c></row>'
    parsed = parse_sheet(read_sheet(with_sheet_xml(tmp_path, HEADER_XML + rows)))
    assert parsed.records == []
    assert parsed.rejects[0].row_number == 2


def test_a_workbook_with_macros_is_read_without_them(tmp_path):
    source = write_xlsx(tmp_path / "a.xlsx", {"S": [["Asset ID"], ["A-1"]]})
    path = repack(source, tmp_path / "a.xlsm", {"xl/vbaProject.bin": b"not even a macro"})
    assert ids(path) == ["A-1"]


def test_a_suffix_in_capitals_is_known(tmp_path):
    assert ids(write_xlsx(tmp_path / "A.XLSX", {"S": [["Asset ID"], ["A-1"]]})) == ["A-1"]


# sheets


def read_names(path: Path, *sheets: str) -> tuple[list[str], list[str]]:
    register = read_register(path, sheets=sheets)
    return [it.sheet for it in register.sheets], list(register.notices)


HEAD = ["Asset ID", "Asset Name", "Make"]


def rows_of(*numbers: int) -> list[list[str]]:
    return [HEAD, *([f"A{number}", "Pump", "KSB"] for number in numbers)]


def test_the_sheet_whose_header_knows_most_columns_is_read_and_others_are_named(tmp_path):
    path = write_xlsx(
        tmp_path / "a.xlsx",
        {
            "Instructions": [["Field", "Meaning"], ["Asset ID", "its id"], ["Make", "who built it"]],
            "Log": [["Asset ID", "Done on"], *([f"A{number}", "2024"] for number in range(9))],
            "Register": rows_of(1, 2),
        },
    )
    sheets, notices = read_names(path)
    assert sheets == ["Register"]
    assert all(any(f"'{name}'" in notice for notice in notices) for name in ("Instructions", "Log"))
    assert read_names(path, "Log")[0] == ["Log"]


def test_a_register_split_over_sheets_is_one_list_without_older_copies(tmp_path):
    path = write_xlsx(
        tmp_path / "a.xlsx",
        {"One": rows_of(*range(20)), "Old": rows_of(*range(18, 28)), "Two": rows_of(19, *range(30, 45))},
    )
    sheets, notices = read_names(path)
    assert sheets == ["One", "Two"]
    assert ["'Old'" in notice and "2 of its 10 ids" in notice for notice in notices] == [True]
    records = [it for parsed in parse_sheets(read_register(path).sheets) for it in parsed.records]
    assert len(records) == 35
    assert read_names(path, "Two", "Old")[0] == ["Two", "Old"]


def test_a_sheet_of_a_register_is_not_skipped_for_a_blank_column_of_better_ids(tmp_path):
    head = ["CMMS ID", "Asset ID", "Asset Name"]
    path = write_xlsx(
        tmp_path / "a.xlsx",
        {
            "One": [head, [None, "A1", "Pump"]],
            "Two": [head, [None, "A2", "Fan"]],
            "Copy": [head, [None, "A2", "Fan"]],
            "No ids": [head, [None, None, "Valve"]],
            "Template": [head, [None, None, None]],
        },
    )
    sheets, notices = read_names(path)
    assert sheets == ["One", "Two", "No ids"]
    assert ["'Copy'" in notice for notice in notices] == [True]
    parsed = parse_sheets(read_register(path).sheets)
    assert [it.cmms_asset_id for sheet in parsed for it in sheet.records] == ["A1", "A2"]
    assert [it.sheet for sheet in parsed for it in sheet.rejects] == ["No ids"]


def test_a_stray_cell_on_another_sheet_costs_that_sheet(tmp_path):
    book = openpyxl.load_workbook(write_xlsx(tmp_path / "a.xlsx", {"Notes": [["x"]], "Register": rows_of(1)}))
    book["Notes"]["XFD1048576"] = "oops"
    book.save(tmp_path / "a.xlsx")
    sheets, notices = read_names(tmp_path / "a.xlsx")
    assert sheets == ["Register"]
    assert "sheet 'Notes' is not read: its filled cells reach to row 1,048,576" in notices[0]
    book["Register"]["XFD1048576"] = "oops"
    book.save(tmp_path / "a.xlsx")
    with pytest.raises(WorkbookError, match="sheet 'Register': its filled cells reach"):
        read_names(tmp_path / "a.xlsx")


def test_a_damaged_or_lost_other_sheet_costs_that_sheet_and_the_register_is_never_another_one(tmp_path):
    whole = write_xlsx(
        tmp_path / "whole.xlsx", {"Other": [["Asset ID"], ["Z1"]], "Register": rows_of(*range(5))}
    )
    broken = b"<worksheet><sheetData><row"
    for content, reason in ((broken, "it is damaged"), (None, "the file lacks it")):
        path = repack(whole, tmp_path / "other.xlsx", {"xl/worksheets/sheet1.xml": content})
        sheets, notices = read_names(path)
        assert sheets == ["Register"]
        assert f"sheet 'Other' is not read: {reason}" in notices[0]
    with zipfile.ZipFile(whole) as archive:
        content = archive.read("xl/worksheets/sheet2.xml")
    path = repack(whole, tmp_path / "cut.xlsx", {"xl/worksheets/sheet2.xml": content[:-40]})
    with pytest.raises(WorkbookError, match="sheet 'Register': it is damaged"):
        read_names(path)


def test_without_a_name_the_first_sheet_with_an_id_column_is_read(tmp_path):
    sheets = {
        "Cover": [["Register"]],
        "Empty": [],
        "One": [["Asset ID"], ["1"]],
        "Two": [["Asset ID"], ["1"]],
    }
    path = write_xlsx(tmp_path / "a.xlsx", sheets)
    assert read_sheet(path).sheet == "One"
    assert read_sheet(path, sheet="Two").sheet == "Two"


def test_a_hidden_sheet_is_read_only_where_no_visible_one_fits(tmp_path):
    path = write_xlsx(tmp_path / "a.xlsx", {"Old": [["Asset ID"], ["old"]], "Now": [["Asset ID"], ["now"]]})
    book = openpyxl.load_workbook(path)
    book["Old"].sheet_state = "hidden"
    book.active = 1
    book.save(path)
    assert read_sheet(path).sheet == "Now"
    del book["Now"]["A1"]._value
    book["Now"]["A1"] = "Nothing"
    book.save(path)
    assert read_sheet(path).sheet == "Old"


def test_a_sheet_that_is_not_there_is_named_with_those_that_are(tmp_path):
    path = write_xlsx(tmp_path / "a.xlsx", {"Cover": [["x"]], "Assets": [["Asset ID"]]})
    with pytest.raises(
        WorkbookError, match=r"^a\.xlsx: there is no sheet 'assets', expected one of 'Cover', 'Assets'$"
    ):
        read_sheet(path, sheet="assets")


def test_a_named_sheet_is_read_whatever_it_holds_and_refused_by_the_parser(tmp_path):
    sheet = read_sheet(write_xlsx(tmp_path / "a.xlsx", {"Cover": [["Register"]]}), sheet="Cover")
    with pytest.raises(WorkbookError, match=r"a\.xlsx, sheet 'Cover': no id column .*'Register'"):
        parse_sheet(sheet)


def test_sheets_without_an_id_column_are_all_named(tmp_path):
    path = write_xlsx(
        tmp_path / "a.xlsx", {"Cover": [["Register"]], "Blank": [], "List": [["Serial No", "Name"]]}
    )
    with pytest.raises(WorkbookError) as caught:
        read_sheet(path)
    message = str(caught.value)
    assert "sheet 'Cover': no id column" in message
    assert "sheet 'Blank': it holds no data" in message
    assert "'Serial No', 'Name'" in message


def test_an_empty_named_sheet_is_refused(tmp_path):
    path = write_xlsx(tmp_path / "a.xlsx", {"Blank": [], "Assets": [["Asset ID"]]})
    with pytest.raises(WorkbookError, match="sheet 'Blank': it holds no data"):
        read_sheet(path, sheet="Blank")


def test_a_chart_sheet_is_no_sheet(tmp_path):
    book = openpyxl.Workbook()
    book.worksheets[0].append(["Asset ID"])
    book.create_chartsheet("Chart", 0).add_chart(BarChart())
    book.save(tmp_path / "a.xlsx")
    assert read_sheet(tmp_path / "a.xlsx").sheet == "Sheet"
    with pytest.raises(WorkbookError, match="no sheet 'Chart'"):
        read_sheet(tmp_path / "a.xlsx", sheet="Chart")


def test_a_mapping_decides_which_sheet_is_wanted(tmp_path):
    path = write_xlsx(tmp_path / "a.xlsx", {"Cover": [["x"]], "Liste": [["Kennung"], ["A-1"]]})
    assert ids(path, load_mapping('Kennung = "cmms_asset_id"')) == ["A-1"]


# .ods and .xls


def test_an_ods_is_read_with_its_leading_blank_rows(tmp_path):
    frame = pd.DataFrame(
        {"Asset ID": ["00123", "B"], "Cost": [101.0, 1.5], "Bought": [pd.Timestamp(MIDNIGHT)] * 2}
    )
    frame.to_excel(tmp_path / "a.ods", engine="odf", index=False, startrow=2, startcol=1, sheet_name="Assets")
    sheet = read_sheet(tmp_path / "a.ods")
    assert sheet.sheet == "Assets"
    assert [list(row) for row in sheet.rows[2:]] == [
        [None, "Asset ID", "Cost", "Bought"],
        [None, "00123", 101, MIDNIGHT],
        [None, "B", 1.5, MIDNIGHT],
    ]
    assert parse_sheet(sheet).header_row_number == 3


def test_an_xls_is_read_with_its_leading_blank_rows(tmp_path):
    path = tmp_path / "a.xls"
    path.write_bytes(
        xls_workbook("Old", [[], [None, "Asset ID", "Cost"], [None, "00123", 1.5], [None, 101.0, 2.0]])
    )
    sheet = read_sheet(path)
    assert sheet.sheet == "Old"
    assert [list(row) for row in sheet.rows] == [
        [],
        [None, "Asset ID", "Cost"],
        [None, "00123", 1.5],
        [None, 101, 2],
    ]
    assert ids(path) == ["00123", "101"]


# .csv


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_csv_is_read_in_every_usual_form(tmp_path, delimiter, encoding, line_end):
    path = tmp_path / "assets.csv"
    rows = [["Asset ID", "Make", "Size"], ["00123", "Grundfös", '"1,5;2\t3"'], ["NA", "", "101.0"]]
    path.write_bytes(line_end.join(delimiter.join(row) for row in rows).encode(encoding))
    sheet = read_sheet(path)
    assert (sheet.workbook, sheet.sheet) == ("assets.csv", "assets")
    assert sheet.rows == [
        ["Asset ID", "Make", "Size"],
        ["00123", "Grundfös", "1,5;2\t3"],
        ["NA", "", "101.0"],
    ]


def test_lines_of_a_csv_may_be_blank_shorter_or_longer_than_the_header(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("Register, of assets\n\nAsset ID,Make\nA-1\n\nB-2,KSB,more\n", encoding="utf-8")
    parsed = parse_sheet(read_sheet(path, sheet="a"))
    assert parsed.header_row_number == 3
    assert [(it.row_number, it.cmms_asset_id) for it in parsed.records] == [(4, "A-1")]
    assert "more cells than the header" in parsed.rejects[0].reason


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_every_field_may_be_quoted_under_every_delimiter(tmp_path, delimiter):
    for suffix in ("csv", "tsv", "txt"):
        path = tmp_path / f"a.{suffix}"
        rows = [["Asset ID", "Make"], ["A-1", 'K, S; B | "x"\ty'], ["B-2", ""]]
        lines = [f"{delimiter} ".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows]
        path.write_text("\n".join(lines) + "\n\x1a", encoding="utf-8")
        assert read_sheet(path).rows == rows


def test_an_unquoted_comma_shifts_nothing(tmp_path):
    (tmp_path / "a.csv").write_text("Asset ID,Make,Zone\nA-1,K, S,B\nA-2,KSB,B,\n", encoding="utf-8")
    parsed = parse_sheet(read_sheet(tmp_path / "a.csv"))
    assert [it.cmms_asset_id for it in parsed.records] == ["A-2"]
    assert "an unquoted comma?" in parsed.rejects[0].reason


def test_what_is_odd_of_a_csv_is_noticed(tmp_path):
    contents = {
        b"Asset ID,Make\nA-1,M\xfcller\n": "read as Windows-1252",
        b"Asset ID,Make\nA-1,\x83|\x81\n": "read as Windows-1252",
        b"Asset ID,Make\nA-1,x\n\x1aB-2,y\n": "Ctrl-Z ends the file before its end: the 2 lines",
        b"Asset ID,Make\nA-1,x\nA-": "the last line has 1 cells instead of 2",
    }
    for content, notice in contents.items():
        (tmp_path / "a.csv").write_bytes(content)
        assert [notice in it for it in read_sheet(tmp_path / "a.csv").notices] == [True], content


def test_a_csv_with_commas_in_its_titles_is_still_read_by_semicolon(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("Assets, pumps, fans, chillers\nAsset ID;Size\nA;1,5,3\nB;2,5,4\n", encoding="utf-8")
    assert ids(path) == ["A", "B"]


def test_a_csv_of_one_column_needs_no_delimiter(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('Asset ID\nA-1\n"B\n2"\n', encoding="utf-8")
    assert ids(path) == ["A-1", "B\n2"]


def test_a_quotation_mark_that_never_closes_is_refused_and_swallows_nothing(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("Asset ID,Make\n" + "A,x\n" * 60 + 'B,"x\nC,y\n', encoding="utf-8")
    with pytest.raises(WorkbookError, match=r"^a\.csv, line 63: .*quotation mark"):
        read_sheet(path)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"Serial No,Name\n1,Pump\n", "semicolon, tab, vertical bar: no id column .*'Serial No', 'Name'"),
        (b"\n\n\n", "no id column"),
        (b"Asset ID\nA\0B\n", "binary data"),
        (b"\xff\xfeA\0s\0", "no id column"),
        (b"\xff\xfeA", "begins as UTF-16 and is none"),
        (b"Asset ID,Make\nA," + b"x" * 200_000, "line 2: a field holds 200,000 characters"),
    ],
)
def test_a_csv_that_cannot_be_used_is_refused(tmp_path, content, cause):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(WorkbookError, match=rf"^a\.csv.*{cause}"):
        read_sheet(tmp_path / "a.csv")


def test_a_csv_has_no_other_sheets(tmp_path):
    (tmp_path / "a.csv").write_text("Asset ID\nA\n", encoding="utf-8")
    with pytest.raises(WorkbookError, match=r"a \.csv file has no sheets, so 'Assets' is none"):
        read_sheet(tmp_path / "a.csv", sheet="Assets")


def test_a_csv_of_too_many_cells_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("Asset ID,B,C,D\n" + ",,,\n" * 10, encoding="utf-8")
    with pytest.raises(WorkbookError, match="more than 20 cells"):
        read_sheet(tmp_path / "a.csv", bounds=WorkbookBounds(cells=20))


# mapping files


def test_a_mapping_file_is_read_with_or_without_a_byte_order_mark(tmp_path):
    path = tmp_path / "mapping.json"
    for encoding in ("utf-8", "utf-8-sig"):
        path.write_text('{"Größe": "capacity_rating"}', encoding=encoding)
        assert read_mapping(path) == {"Größe": "capacity_rating"}


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (None, "no such mapping file"),
        (b"\xff", "cannot be read as UTF-8"),
        (b'{"a": "b"}', "sends 'a' to 'b'"),
    ],
)
def test_an_unusable_mapping_file_is_named(tmp_path, content, cause):
    path = tmp_path / "mapping.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=rf"mapping\.json: .*{cause}"):
        read_mapping(path)


def test_a_directory_is_no_mapping_file(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_mapping(tmp_path)


def test_the_file_can_be_replaced_right_after_reading(tmp_path):
    path = write_xlsx(tmp_path / "a.xlsx", {"S": [["Asset ID"], ["A-1"]]})
    read_sheet(path)
    assert str(path) not in {file.path for file in psutil.Process().open_files()}
    path.rename(tmp_path / "moved.xlsx")
