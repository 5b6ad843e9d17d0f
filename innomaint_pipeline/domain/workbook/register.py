"""What the rows of an asset master mean: CMMS asset records, and rows that are none.

Belongs here: the rows of the chosen sheets in, records, rejected rows and notices out. Single cells are
`cells`, the header is `headers`, which sheets are read is `choice`, rows that are no assets are `no_assets`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import pairwise
from types import MappingProxyType

from innomaint_pipeline.domain.workbook.cells import (
    Cell,
    CellError,
    JsonValue,
    UnknownCell,
    has_unstorable,
    is_blank,
    is_plain_text,
    parse_id,
    parse_integer,
    parse_json,
    parse_sequence,
    parse_text,
    unknown_from_text,
)
from innomaint_pipeline.domain.workbook.dates import PLAUSIBLE_YEARS, DateOrder, parse_date
from innomaint_pipeline.domain.workbook.headers import (
    Header,
    column_letters,
    explain_missing_id,
    find_header,
    find_headers_above,
    read_header,
)
from innomaint_pipeline.domain.workbook.no_assets import LoneId, find_headings, read_lone_id, refuse_no_asset
from innomaint_pipeline.domain.workbook.oddities import (
    CLEANED,
    DATE_COLUMN,
    UNKNOWN,
    Oddities,
    count_of,
    find_date_orders,
    name_places,
    similar_id_notices,
)
from innomaint_pipeline.domain.workbook.sheets import SheetRows
from innomaint_pipeline.domain.workbook.synonyms import ID_COLUMN, build_matcher
from innomaint_pipeline.errors import WorkbookError

BUILT_IN_ONLY: Mapping[str, str] = MappingProxyType({})

_INT32 = range(-(2**31), 2**31)
_SEQUENCE, _YEAR = "report_seq_no", "year_of_manufacturing"
_TYPED_COLUMNS = (_SEQUENCE, _YEAR, DATE_COLUMN)
_RAW_CHARACTERS = 500

ColumnValue = str | int | date | None


@dataclass(frozen=True, slots=True)
class ValueIssue:
    """An optional value that could not be read; the stored one stays."""

    column: str
    raw_value: str
    reason: str


@dataclass(frozen=True, slots=True)
class WorkbookRecord:
    """One CMMS asset as the workbook describes it.

    `values` has the columns that its sheet has (the id apart), blank cells as `None`; texts are trimmed,
    `report_seq_no` and `year_of_manufacturing` integers, `installation_date` a date; `criticality` is what
    Excel says. `excel_attributes` holds every other cell that is not blank, as JSON values by header.
    `kept_columns` and `kept_attributes` are those whose stored value stays: their cells could not be read.
    """

    sheet: str
    row_number: int
    cmms_asset_id: str
    values: Mapping[str, ColumnValue]
    excel_attributes: dict[str, JsonValue]
    kept_columns: list[str]
    kept_attributes: list[str]
    issues: list[ValueIssue]


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that is not imported: the reason, and its cells that are not blank as JSON values by header.

    `cmms_asset_id` is the id that it has nevertheless, `None` where it has none.
    """

    sheet: str
    row_number: int
    reason: str
    row: Mapping[str, JsonValue]
    cmms_asset_id: str | None = None


@dataclass(frozen=True, slots=True)
class ParsedSheet:
    """What a sheet holds; records and rejects together are its rows below the header that are not blank.

    `columns` maps header texts to columns of the master; `unmatched_headers` are the keys that
    `excel_attributes` may have. `labels` are all its headers, blank ones by their column's letters. Records
    and rejects are in the order of the sheet, ids are unique among all records.
    """

    workbook: str
    sheet: str
    header_row_number: int
    columns: Mapping[str, str]
    unmatched_headers: list[str]
    labels: Sequence[str]
    records: list[WorkbookRecord]
    rejects: list[RejectedRow]
    notices: list[str]


@dataclass(slots=True)
class _Reading:
    """What is collected while the rows of a sheet go by."""

    sheet: SheetRows
    header: Header
    header_width: int
    order: DateOrder
    # Of all sheets: id -> where it stands first.
    first_places: dict[str, tuple[str, int]]
    attribute_labels: set[str] = field(default_factory=set)
    oddities: Oddities = field(default_factory=Oddities)
    lone_ids: list[LoneId] = field(default_factory=list)
    sequences: list[tuple[int, int | None, bool]] = field(default_factory=list)
    # Position -> column of the master that holds text; None: an attribute.
    text_columns: dict[int, str | None] = field(init=False)

    def __post_init__(self) -> None:
        columns = self.header.columns
        self.text_columns = {
            position: columns.get(position)
            for position in range(len(self.header.labels))
            if columns.get(position) not in _TYPED_COLUMNS
        }


def parse_sheets(
    sheets: Sequence[SheetRows], synonyms: Mapping[str, str] = BUILT_IN_ONLY
) -> list[ParsedSheet]:
    """Read the CMMS assets of sheets that are one list; of two rows with one id the first counts.

    `synonyms` is a person's own mapping of headers to columns (`columns.load_mapping`); it extends the
    built-in table and wins over it. Raises `WorkbookError` if no row among the first 50 of a sheet has an id
    header; a single row never raises, it is rejected.
    """
    match = build_matcher(synonyms)
    headed: list[tuple[SheetRows, Header, int, list[str]]] = []
    for sheet in sheets:
        found = find_header(sheet.rows, match, sheet.merged)
        if found is None:
            raise WorkbookError(f"{sheet.workbook}, sheet '{sheet.sheet}': {explain_missing_id(sheet.rows)}")
        width = max(map(len, sheet.rows[found.first :]))
        above = [
            f"row {it.last + 1} is a header, too, with {count} rows of its own: they are not read"
            for it, count in find_headers_above(sheet.rows, found, match)
        ]
        header = read_header(sheet.rows, found, width=width)
        headed.append((sheet, header, len(sheet.rows[found.last]), above))
    orders = find_date_orders([(sheet, header) for sheet, header, _, _ in headed])
    first_places: dict[str, tuple[str, int]] = {}
    parsed = []
    for (sheet, header, header_width, above), (order, order_notices) in zip(headed, orders, strict=True):
        reading = _Reading(sheet, header, header_width, order, first_places)
        parsed.append(_parse_rows(reading, [*sheet.notices, *above, *order_notices]))
    parsed[-1].notices.extend(similar_id_notices(first_places, is_named=len(sheets) > 1))
    return parsed


def _parse_rows(reading: _Reading, notices: list[str]) -> ParsedSheet:
    sheet, header = reading.sheet, reading.header
    ids, rejects = _parse_ids(reading)
    records = [
        _parse_row(sheet.rows[row_number - 1], row_number, cmms_asset_id, reading)
        for row_number, cmms_asset_id in ids.items()
    ]
    records = _with_places(reading, records, notices)
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
        labels=header.labels,
        records=records,
        rejects=rejects,
        notices=[
            *header.notices,
            *notices,
            *reading.oddities.notices(sheet.sheet),
            *_lone_id_notices(reading, records),
        ],
    )


def _parse_ids(reading: _Reading) -> tuple[dict[int, str], list[RejectedRow]]:
    """Return the id of each row that is a CMMS asset, by row number, and the rows that are none.

    Headings of sections are told before repeated ids: a heading may say what an asset below it is called.
    """
    sheet, header = reading.sheet, reading.header
    found: dict[int, str] = {}
    reasons: dict[int, str] = {}
    for row_number, row in enumerate(sheet.rows[header.row_number :], header.row_number + 1):
        if not row or all(map(is_blank, row)):
            continue
        try:
            found[row_number] = cmms_asset_id = _parse_row_id(row, row_number, reading)
        except CellError as error:
            reasons[row_number] = str(error)
            continue
        if lone := read_lone_id(row, row_number, cmms_asset_id, header, sheet.merged):
            reading.lone_ids.append(lone)
    reasons.update(find_headings(reading.lone_ids, found, header))
    ids: dict[int, str] = {}
    for row_number, cmms_asset_id in found.items():
        if row_number in reasons:
            continue
        first = reading.first_places.setdefault(cmms_asset_id, (sheet.sheet, row_number))
        if first == (sheet.sheet, row_number):
            ids[row_number] = cmms_asset_id
        else:
            where = f"row {first[1]}" if first[0] == sheet.sheet else f"row {first[1]} of sheet '{first[0]}'"
            reasons[row_number] = (
                f"the id '{cmms_asset_id}' is already in {where}: the first row is imported, this one is not"
            )
    rejects = [
        _reject(reading, sheet.rows[row_number - 1], row_number, reasons[row_number])
        for row_number in sorted(reasons)
    ]
    return ids, rejects


def _reject(reading: _Reading, row: Sequence[Cell], row_number: int, reason: str) -> RejectedRow:
    labels, position = reading.header.labels, reading.header.id_position
    cells = {labels[at]: _shown_json(cell) for at, cell in enumerate(row) if not is_blank(cell)}
    try:
        cell = row[position] if position < len(row) else None
        cmms_asset_id = None if is_blank(cell) else parse_id(cell)
    except CellError:
        cmms_asset_id = None
    return RejectedRow(reading.sheet.sheet, row_number, reason, cells, cmms_asset_id)


def _shown_json(cell: Cell) -> JsonValue:
    return cell.found if isinstance(cell, UnknownCell) else parse_json(cell)


def _parse_row(row: Sequence[Cell], row_number: int, cmms_asset_id: str, reading: _Reading) -> WorkbookRecord:
    header = reading.header
    values: dict[str, ColumnValue] = dict.fromkeys(header.columns.values())
    del values[ID_COLUMN]
    record = WorkbookRecord(reading.sheet.sheet, row_number, cmms_asset_id, values, {}, [], [], [])
    id_position = header.id_position
    attributes, text_columns = record.excel_attributes, reading.text_columns
    for position, cell in enumerate(row):
        if cell is None or position == id_position:
            continue
        # Most cells are such texts, of which nothing is to be judged.
        if position in text_columns and isinstance(cell, str) and is_plain_text(cell):
            column = text_columns[position]
            if column is None:
                attributes[header.labels[position]] = cell
            else:
                values[column] = cell
        elif not is_blank(cell):
            _parse_cell(cell, position, values, record, reading)
    reading.attribute_labels.update(record.excel_attributes)
    return record


def _parse_cell(
    cell: Cell, position: int, values: dict[str, ColumnValue], record: WorkbookRecord, reading: _Reading
) -> None:
    """Put what a cell that is not blank means into the values and lists of its row's record."""
    column, label = reading.header.columns.get(position), reading.header.labels[position]
    is_text = isinstance(cell, str)
    if unknown_from_text(cell) if is_text else isinstance(cell, UnknownCell):
        reading.oddities.note(UNKNOWN, record.row_number, position)
        if column is None:
            record.kept_attributes.append(label)
        else:
            record.kept_columns.append(column)
        return
    if is_text:
        if has_unstorable(cell):
            reading.oddities.note(CLEANED, record.row_number, position)
    else:
        reading.oddities.look_at_value(cell, column, record.row_number, position)
    if column is None:
        record.excel_attributes[label] = parse_json(cell)
    elif column not in _TYPED_COLUMNS:
        values[column] = parse_text(cell)
    else:
        try:
            values[column] = _parse_value(column, cell, record.row_number, reading)
        except CellError as error:
            record.kept_columns.append(column)
            reason = f"'{label}' ({column_letters(position)}{record.row_number}): {error}"
            record.issues.append(ValueIssue(column, str(parse_json(cell))[:_RAW_CHARACTERS], reason))


def _parse_row_id(row: Sequence[Cell], row_number: int, reading: _Reading) -> str:
    header = reading.header
    position = header.id_position
    if reading.sheet.is_delimited and any(not is_blank(cell) for cell in row[reading.header_width :]):
        raise CellError(
            f"the row has more cells than the header ({len(row)} instead of {reading.header_width}): an "
            "unquoted comma?"
        )
    refuse_no_asset(row, row_number, header)
    cell = row[position] if position < len(row) else None
    if is_blank(cell):
        raise CellError(
            f"the row has no id: '{header.labels[position]}' (column {column_letters(position)}) is blank"
        )
    reading.oddities.look_at_id(cell, row_number, position)
    return parse_id(cell)


def _parse_value(column: str, cell: Cell, row_number: int, reading: _Reading) -> ColumnValue:
    if column == _SEQUENCE:
        number, is_exact = parse_sequence(cell, allowed=_INT32)
        reading.sequences.append((row_number, number, is_exact))
        return number
    if column == _YEAR:
        return parse_integer(cell, allowed=PLAUSIBLE_YEARS)
    return parse_date(cell, order=reading.order, is_1904=reading.sheet.is_1904)


def _lone_id_notices(reading: _Reading, records: Sequence[WorkbookRecord]) -> list[str]:
    imported = {record.row_number for record in records}
    lone = [it.row_number for it in reading.lone_ids if it.row_number in imported]
    if not lone or len(lone) == len(records):
        return []
    return [
        f"{count_of(len(lone), 'row')} imported with an id and nothing else: {name_places(map(str, lone))}"
    ]


def _with_places(
    reading: _Reading, records: list[WorkbookRecord], notices: list[str]
) -> list[WorkbookRecord]:
    """Replace sequence numbers that do not order the rows by the rows' places."""
    read = [(row_number, number) for row_number, number, _ in reading.sequences if number is not None]
    rough = [row_number for row_number, _, is_exact in reading.sequences if not is_exact]
    if not rough:
        return records
    header = reading.header
    label = next(header.labels[at] for at, column in header.columns.items() if column == _SEQUENCE)
    if all(first <= second for (_, first), (_, second) in pairwise(read)):
        notices.append(
            f"'{label}' holds numbers such as 1.1 or letters in {count_of(len(rough), 'row')}: they are read "
            "as far as they order the rows"
        )
        return records
    notices.append(f"'{label}' holds numbers that do not order the rows: the place of each row counts")
    return [
        replace(
            record,
            values={**record.values, _SEQUENCE: place},
            kept_columns=[name for name in record.kept_columns if name != _SEQUENCE],
            issues=[issue for issue in record.issues if issue.column != _SEQUENCE],
        )
        for place, record in enumerate(records, 1)
    ]
