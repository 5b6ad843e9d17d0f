"""One register laid out in any way in, the same assets out as from the plainest sheet, or a refusal."""

import csv
import io
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import openpyxl
from hypothesis import given, settings
from hypothesis import strategies as st

from innomaint_pipeline.domain.workbook.register import WorkbookRecord, parse_sheets
from innomaint_pipeline.domain.workbook.sheets import SheetRows
from innomaint_pipeline.errors import WorkbookError
from innomaint_pipeline.sources.workbook.reading import BOUNDS, read_register_here
from innomaint_pipeline_tests.properties.conftest import GENERATED
from innomaint_pipeline_tests.sheets import parse_sheet
from innomaint_pipeline_tests.sources.workbook.workbook_files import ods_of

Row = list[str | None]

# A header, whether it is a column of the master, and what its cells hold.
COLUMNS: Mapping[str, st.SearchStrategy[str | None]] = {
    "Asset Name": st.sampled_from(["Pump", "Fan, axial", 'Valve 2" left', "Pümpe", "Total station", "a;b|c"]),
    "Make": st.sampled_from(["KSB", "Kirloskar", None]),
    "Model": st.sampled_from(["M-1", "0012", "2-10", None]),
    "Location": st.sampled_from(["North", "South", "Pune, STP"]),
    "Installation Date": st.sampled_from(["12/06/2020", "2021-01-31", "-", None]),
    "Serial Number": st.sampled_from(["778", "X-12", "Page 3", None]),
    "Voltage": st.sampled_from(["415", "11 kV", None]),
    "AMC vendor": st.sampled_from(["Sharma & Co", "x", None]),
}
ATTRIBUTES = ("Voltage", "AMC vendor")

above = st.lists(
    st.sampled_from(
        [
            ["Asset register, 2024"],
            ["Asset list; all sites\nprinted by hand"],
            [],
            ["Site:", "PUNE", "Asset No:", "All"],
            ["Customer:", "ABC Ltd", "Asset No:", "250"],
            ["Asset ID", "= mandatory"],
            ["Facility", "Pune STP"],
        ]
    ),
    max_size=4,
)
no_assets = st.sampled_from(
    [
        ["Total", "12"],
        ["Grand Total: 12"],
        ["Subtotal", "3"],
        ["Page 1 of 9"],
        ["NA", "an old one"],
        ["HVAC SYSTEM"],
        ["#N/A", "broken"],
        [],
    ]
)
other_sheets = st.sampled_from(
    [
        ("Instructions", [["Field", "Meaning"], ["Asset ID", "unique"], ["Asset Name", "text"]]),
        ("Lists", [["Asset ID"], ["Asset Name"], ["Make"]]),
        ("Log", [["Asset ID", "Changed by"], *([f"L-{number}", "x"] for number in range(40))]),
    ]
)


@st.composite
def registers(draw: st.DrawFn) -> tuple[Row, list[Row]]:
    """Build a header that begins with the id, and rows of assets; one that has digits is no heading."""
    wanted = draw(st.lists(st.sampled_from(list(COLUMNS)), min_size=3, unique=True))
    names = ["Asset Name", *(name for name in wanted if name != "Asset Name")]
    numbers = draw(st.lists(st.integers(1, 9_999), min_size=3, max_size=9, unique=True))
    rows: list[Row] = [[f"AST-{number:04}", *(draw(COLUMNS[name]) for name in names)] for number in numbers]
    return ["Asset ID", *names], rows


def meaning(records: Sequence[WorkbookRecord]) -> dict[str, Any]:
    """Return what matters of records; of an attribute's header its last words, for groups are put before."""
    return {
        it.cmms_asset_id: (
            dict(it.values),
            {
                next(name for name in (*ATTRIBUTES, "Serial Number") if label.endswith(name)): value
                for label, value in it.excel_attributes.items()
            },
        )
        for it in records
    }


def plain(header: Row, rows: list[Row]) -> dict[str, Any]:
    found = meaning(parse_sheet(SheetRows("plain", "Plain", [header, *rows])).records)
    assert len(found) == len(rows)
    return found


def read_all(path: Path) -> dict[str, Any] | None:
    """Return what the records of a file mean, `None` where it is refused."""
    try:
        read = read_register_here(path, sheets=(), synonyms={}, bounds=BOUNDS)
        parsed = parse_sheets(read.sheets)
    except WorkbookError:
        return None
    records = [it for sheet in parsed for it in sheet.records]
    found = meaning(records)
    assert len(found) == len(records)
    return found


def spread(draw: st.DrawFn, header: Row, rows: list[Row]) -> list[Row]:
    """Put rows that are no assets among the others, and headers that repeat, as a printed report does."""
    laid: list[Row] = []
    for row in rows:
        if draw(st.integers(0, 4)) == 0:
            laid.append(draw(no_assets | st.just(header)))
        laid.append(row)
    return laid


@st.composite
def delimited(draw: st.DrawFn) -> tuple[dict[str, Any], bytes, str]:
    header, rows = draw(registers())
    order = draw(st.permutations(range(len(header))))
    delimiter, suffix = draw(st.sampled_from([(",", "csv"), (";", "csv"), ("\t", "tsv"), ("|", "txt")]))
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]))
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "cp1252", "utf-16"]))
    out = io.StringIO(newline="")
    writer = csv.writer(
        out, delimiter=delimiter, quoting=quoting, lineterminator=draw(st.sampled_from(["\n", "\r\n"]))
    )
    writer.writerows(draw(above))
    moved = [[row[at] for at in order] for row in [header, *rows]]
    # Rows that are no assets have what they say in the id's column.
    aside = [[] if not it else [None] * order.index(0) + it for it in draw(st.lists(no_assets, max_size=3))]
    writer.writerows([*moved, *aside])
    end = draw(st.sampled_from(["", "\x1a"]))
    return plain(header, rows), (out.getvalue() + end).encode(encoding), suffix


def test_a_register_in_any_delimited_text_is_the_plain_one_or_refused(tmp_path: Path) -> None:
    taken = 0

    @settings(GENERATED, max_examples=150)
    @given(delimited())
    def check(made: tuple[dict[str, Any], bytes, str]) -> None:
        nonlocal taken
        expected, content, suffix = made
        path = tmp_path / f"any.{suffix}"
        path.write_bytes(content)
        found = read_all(path)
        assert found is None or found == expected
        taken += found is not None

    check()
    assert taken >= 140, "what people write is read, not refused"


@st.composite
def sheets_of_cells(draw: st.DrawFn) -> tuple[dict[str, Any], list[tuple[str, list[Row], list[str]]]]:
    """Build the sheets of a workbook, each with the ranges that are merged in it."""
    header, rows = draw(registers())
    expected = plain(header, rows)
    parts = [rows]
    if draw(st.booleans()):
        middle = draw(st.integers(1, len(rows) - 1))
        parts = [rows[:middle], rows[middle:]]
    sheets = [
        lay_out(draw, f"Site {number}", header, part, is_grouped=draw(st.booleans()))
        for number, part in enumerate(parts, 1)
    ]
    if draw(st.booleans()):
        # Of sheets with equal headers the largest counts, so that an older copy is a smaller one.
        copied = max(parts, key=len)[1:]
        sheets.append(("Old", [header, *[[row[0], *["old"] * (len(header) - 1)] for row in copied]], []))
    for name, others in draw(st.lists(other_sheets, max_size=2, unique_by=lambda it: it[0])):
        sheets.insert(draw(st.integers(0, len(sheets))), (name, others, []))
    return expected, sheets


def lay_out(
    draw: st.DrawFn, name: str, header: Row, rows: list[Row], *, is_grouped: bool
) -> tuple[str, list[Row], list[str]]:
    """Lay one part of a register out: a block above it, groups over its header, equal cells merged."""
    laid, merged = draw(above), []
    last = max(at for at in range(1, len(header)))
    if is_grouped and last > 2:
        groups: Row = [None] * len(header)
        groups[1], groups[2] = "General", "Technical"
        laid = [*laid, groups]
        if draw(st.booleans()):
            merged.append(f"C{len(laid)}:{chr(ord('A') + last)}{len(laid)}")
    laid = [*laid, header]
    body = spread(draw, header, rows)
    if "Location" in header and draw(st.booleans()):
        at = header.index("Location")
        letter = chr(ord("A") + at)
        start = 0
        body = list(map(list, body))
        for end in range(1, len(body) + 1):
            first = body[start]
            same = end < len(body) and len(body[end]) > at and len(first) > at and body[end][at] == first[at]
            if same and first[at] != "Location":
                continue
            if end - start > 1:
                merged.append(f"{letter}{len(laid) + start + 1}:{letter}{len(laid) + end}")
                for row in body[start + 1 : end]:
                    row[at] = None
            start = end
    return name, [*laid, *body], merged


def write_merged(path: Path, sheets: Sequence[tuple[str, list[Row], list[str]]]) -> None:
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for name, rows, merged in sheets:
        sheet = book.create_sheet(name)
        for row in rows:
            # Blank rows stand where they are.
            sheet.append(row or [None])
        for it in merged:
            sheet.merge_cells(it)
    book.save(path)


def test_a_register_in_sheets_of_any_layout_is_the_plain_one_or_refused() -> None:
    taken = 0

    @settings(GENERATED, max_examples=100)
    @given(sheets_of_cells())
    def check(made: tuple[dict[str, Any], list[tuple[str, list[Row], list[str]]]]) -> None:
        nonlocal taken
        expected, sheets = made
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "any.xlsx")
            write_merged(path, sheets)
            found = read_all(path)
        assert found is None or found == expected
        taken += found is not None

    check()
    assert taken >= 90, "what people write is read, not refused"


def test_a_register_in_an_ods_is_the_plain_one(tmp_path: Path) -> None:
    @settings(GENERATED, max_examples=30)
    @given(registers(), above)
    def check(register: tuple[Row, list[Row]], titles: list[Row]) -> None:
        header, rows = register
        xml = "".join(
            "<table:table-row>"
            + "".join(
                "<table:table-cell/>"
                if cell is None
                else f'<table:table-cell office:value-type="string"><text:p>{escape(cell)}</text:p>'
                "</table:table-cell>"
                for cell in row
            )
            + "</table:table-row>"
            for row in [*titles, header, *rows]
        )
        assert read_all(ods_of(tmp_path / "any.ods", xml)) == plain(header, rows)

    check()
