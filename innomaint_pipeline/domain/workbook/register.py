"""What the rows of an asset master mean: CMMS asset records, and rows that are none (docs/how-it-works.md).

Belongs here: a sheet in, records, rejected rows and notices out. Single cells are `workbook_cells`, headers
and their synonyms `headers`; opening a file is `sources/workbook/reading.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from types import MappingProxyType

from innomaint_pipeline.domain.workbook.cells import (
    Cell,
    CellError,
    JsonValue,
    has_unstorable,
    is_blank,
    parse_date,
    parse_id,
    parse_integer,
    parse_json,
    parse_text,
)
from innomaint_pipeline.domain.workbook.headers import (
    ID_COLUMN,
    Header,
    column_letters,
    explain_missing_id,
    find_header,
    is_repeated_header,
    read_header,
)
from innomaint_pipeline.errors import WorkbookError

BUILT_IN_ONLY: Mapping[str, str] = MappingProxyType({})

_INT32 = range(-(2**31), 2**31)
_YEARS = range(1800, 2201)
# A workbook in which everything is similar to something would otherwise bury its other notices.
_SIMILAR_ID_NOTICES = 50
_ROWS_NAMED_IN_A_NOTICE = 10

ColumnValue = str | int | date | None


@dataclass(frozen=True, slots=True)
class SheetRows:
    """One sheet as read: `rows[0]` is its row 1, `rows[0][0]` its cell A1; rows may differ in length."""

    workbook: str
    sheet: str
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True, slots=True)
class WorkbookRecord:
    """One CMMS asset as the workbook describes it.

    `values` has the columns that the sheet has (the id apart), blank cells as `None`; texts are trimmed,
    `report_seq_no` and `year_of_manufacturing` integers, `installation_date` a date; `criticality` is what
    Excel says. `excel_attributes` holds every other cell that is not blank, as JSON values by header.
    """

    row_number: int
    cmms_asset_id: str
    values: Mapping[str, ColumnValue]
    excel_attributes: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that is not imported: the reason, and its cells that are not blank as JSON values by header."""

    row_number: int
    reason: str
    row: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class ParsedSheet:
    """What a sheet holds; records and rejects together are its rows below the header that are not blank.

    `columns` maps header texts to columns of the master; `unmatched_headers` are the keys that
    `excel_attributes` may have. Records and rejects are in the order of the sheet, ids are unique among the
    records.
    """

    workbook: str
    sheet: str
    header_row_number: int
    columns: Mapping[str, str]
    unmatched_headers: list[str]
    records: list[WorkbookRecord]
    rejects: list[RejectedRow]
    notices: list[str]


@dataclass(slots=True)
class _Reading:
    """What is collected while the rows go by."""

    header: Header
    first_rows: dict[str, int] = field(default_factory=dict)
    attribute_labels: set[str] = field(default_factory=set)
    cleaned_rows: dict[str, list[int]] = field(default_factory=dict)


def has_id_column(sheet: SheetRows, synonyms: Mapping[str, str] = BUILT_IN_ONLY) -> bool:
    """Tell whether the sheet has a header row with an id column; `synonyms` as in `parse_sheet`."""
    return find_header(sheet.rows, synonyms) is not None


def parse_sheet(sheet: SheetRows, synonyms: Mapping[str, str] = BUILT_IN_ONLY) -> ParsedSheet:
    """Read the CMMS assets of a sheet.

    `synonyms` is a person's own mapping of headers to columns (`headers.load_mapping`); it extends the
    built-in table and wins over it. Dates in texts are read day first, always. Raises `WorkbookError` if no
    row among the first 50 has an id header; a single row never raises, it is rejected.
    """
    header_index = find_header(sheet.rows, synonyms)
    if header_index is None:
        raise WorkbookError(f"{sheet.workbook}, sheet '{sheet.sheet}': {explain_missing_id(sheet.rows)}")
    header = read_header(
        sheet.rows[header_index],
        row_number=header_index + 1,
        width=max(map(len, sheet.rows[header_index:])),
        synonyms=synonyms,
    )
    reading = _Reading(header)
    records: list[WorkbookRecord] = []
    rejects: list[RejectedRow] = []
    for row_number, row in enumerate(sheet.rows[header_index + 1 :], header_index + 2):
        if all(map(is_blank, row)):
            continue
        try:
            records.append(_parse_row(row, row_number, reading))
        except CellError as error:
            cells = {header.labels[at]: parse_json(cell) for at, cell in enumerate(row) if not is_blank(cell)}
            rejects.append(RejectedRow(row_number, str(error), cells))
    return ParsedSheet(
        workbook=sheet.workbook,
        sheet=sheet.sheet,
        header_row_number=header.row_number,
        columns={header.labels[position]: column for position, column in header.columns.items()},
        unmatched_headers=[
            label
            for position, label in enumerate(header.labels)
            if position not in header.columns
            and (position not in header.blank or label in reading.attribute_labels)
        ],
        records=records,
        rejects=rejects,
        notices=[*header.notices, *_cleaning_notices(reading), *_similar_id_notices(reading.first_rows)],
    )


def _parse_row(row: Sequence[Cell], row_number: int, reading: _Reading) -> WorkbookRecord:
    header = reading.header
    cmms_asset_id = _parse_row_id(row, reading)
    values: dict[str, ColumnValue] = dict.fromkeys(header.columns.values())
    del values[ID_COLUMN]
    attributes: dict[str, JsonValue] = {}
    cleaned: list[str] = []
    misfits: list[str] = []
    for position, cell in enumerate(row):
        if is_blank(cell):
            continue
        label = header.labels[position]
        column = header.columns.get(position)
        if has_unstorable(cell):
            cleaned.append(label)
        if column is None:
            attributes[label] = parse_json(cell)
        elif column != ID_COLUMN:
            try:
                values[column] = _parse_value(column, cell)
            except CellError as error:
                misfits.append(f"'{label}' (column {column_letters(position)}): {error}")
    if misfits:
        raise CellError("; ".join(misfits))
    for label in cleaned:
        reading.cleaned_rows.setdefault(label, []).append(row_number)
    reading.attribute_labels.update(attributes)
    reading.first_rows[cmms_asset_id] = row_number
    return WorkbookRecord(row_number, cmms_asset_id, values, attributes)


def _parse_row_id(row: Sequence[Cell], reading: _Reading) -> str:
    header = reading.header
    if is_repeated_header(row, header):
        raise CellError(f"the row repeats the header of row {header.row_number}")
    position = next(at for at, column in header.columns.items() if column == ID_COLUMN)
    cell = row[position] if position < len(row) else None
    if is_blank(cell):
        raise CellError(
            f"the row has no id: '{header.labels[position]}' (column {column_letters(position)}) is blank"
        )
    cmms_asset_id = parse_id(cell)
    if cmms_asset_id in reading.first_rows:
        first = reading.first_rows[cmms_asset_id]
        raise CellError(
            f"the id '{cmms_asset_id}' is already in row {first}: the first row is imported, this one is not"
        )
    return cmms_asset_id


def _parse_value(column: str, cell: Cell) -> ColumnValue:
    match column:
        case "report_seq_no":
            return parse_integer(cell, allowed=_INT32)
        case "year_of_manufacturing":
            return parse_integer(cell, allowed=_YEARS)
        case "installation_date":
            return parse_date(cell)
        case _:
            return parse_text(cell)


def _cleaning_notices(reading: _Reading) -> list[str]:
    return [
        f"'{label}': characters that the database cannot store (NUL, half surrogate pairs) were removed in "
        f"{_counted_rows(rows)}"
        for label, rows in reading.cleaned_rows.items()
    ]


def _similar_id_notices(first_rows: Mapping[str, int]) -> list[str]:
    groups: dict[str, list[str]] = {}
    for cmms_asset_id in first_rows:
        groups.setdefault("".join(cmms_asset_id.casefold().split()), []).append(cmms_asset_id)
    similar = [ids for ids in groups.values() if len(ids) > 1]
    notices = [
        "these ids differ only by case or spaces, each is imported as an asset of its own: "
        + ", ".join(f"'{cmms_asset_id}' (row {first_rows[cmms_asset_id]})" for cmms_asset_id in ids)
        for ids in similar[:_SIMILAR_ID_NOTICES]
    ]
    if len(similar) > _SIMILAR_ID_NOTICES:
        notices.append(
            f"{len(similar) - _SIMILAR_ID_NOTICES} more groups of ids differ only by case or spaces"
        )
    return notices


def _counted_rows(rows: Sequence[int]) -> str:
    named = ", ".join(map(str, rows[:_ROWS_NAMED_IN_A_NOTICE]))
    more = len(rows) - _ROWS_NAMED_IN_A_NOTICE
    return f"{'row' if len(rows) == 1 else 'rows'} {named}" + (f" and {more} more" if more > 0 else "")
