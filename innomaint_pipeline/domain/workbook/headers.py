"""Which row of a sheet is the header, and which of its columns is which column of the asset master.

Belongs here: the columns, the table of their synonyms, a person's own mapping, finding and reading the header
row. What a cell below the header means is `workbook_cells`, what a row means is `workbook`.
"""

import json
import re
import tomllib
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from innomaint_pipeline.domain.workbook.cells import Cell, is_blank, parse_text
from innomaint_pipeline.errors import ConfigurationError

ID_COLUMN = "cmms_asset_id"
ATTRIBUTES_COLUMN = "excel_attributes"
HEADER_SEARCH_ROWS = 50

# Each column of `ic3_asset_master` that comes from the workbook, with what people write above it.
# Left out on purpose is what means two things: "S/N" and "Serial No" number rows as often as they name
# machines, and so with "Name", "Type", "Area", "Level". A mapping file says what they are.
COLUMN_SYNONYMS: Mapping[str, str] = {
    ID_COLUMN: "asset id, cmms id, cmms asset code, cmms asset no, cmms asset number, innomaint id, "
    "innomaint asset id, innomaint serial number, cmms serial number, serial number, asset serial number, "
    "equipment serial number, asset code, asset no, asset number, asset id no, asset id number, asset tag, "
    "asset tag no, asset tag number, asset tag id, tag no, tag number, tag id, equipment id, equipment code, "
    "equipment no, equipment number, equipment tag, equipment tag no, machine id, machine code, unique asset "
    "id, asset unique id, asset identifier, asset identification no, asset identification number",
    "report_seq_no": "sr no, sr, sr number, s no, s number, sl no, sl, sl number, srl no, seq no, seq, "
    "sequence, sequence no, sequence number, report seq, report sequence, report sequence no, report "
    "sequence number, report no, report order, #, no, row no, row number, line no",
    "asset_name": "asset, asset description, name of asset, name of the asset, asset title, equipment, "
    "equipment name, name of equipment, name of the equipment, equipment description, machine name",
    "equipment_category": "category, category name, asset category, asset type, asset class, asset group, "
    "equipment category name, equipment type, equipment class, equipment group, type of equipment",
    "make": "manufacturer, manufacturer name, manufactured by, brand, brand name, oem, make name",
    "model": "model no, model number, model name, model code, model type, asset model, equipment model, "
    "equipment model name, equipment model no",
    "criticality": "critical, critical level, criticality level, criticality rating, criticality type, "
    "criticality class, asset criticality, equipment criticality",
    "capacity_rating": "capacity, rating, rated capacity, capacity and rating, capacity or rating, asset "
    "capacity, equipment capacity",
    "customer_name": "customer, name of customer, client, client name",
    "location_name": "location, name of location, site, site name, plant, plant name, facility, facility "
    "name, asset location, equipment location",
    "building_name": "building, bldg, bldg name, block, block name, tower, tower name, asset building",
    "floor_name": "floor, floor no, floor number, floor level, storey, asset floor",
    "department_name": "department, dept, dept name, asset department",
    "in_charge_person": "in charge, in charge name, incharge person name, person in charge, asset in charge, "
    "responsible person, person responsible",
    "installation_date": "installed on, installed date, date installed, date of installation, install date, "
    "doi, commissioning date, date of commissioning, commissioned on",
    "year_of_manufacturing": "year of manufacture, manufacturing year, manufacture year, manufactured year, "
    "year manufactured, mfg year, year of mfg, mfg yr, yom, year of make, year built",
}
COLUMNS = tuple(COLUMN_SYNONYMS)

_BRACKETED = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")
_EXPLICIT, _CANONICAL, _SYNONYM = range(3)


@dataclass(frozen=True, slots=True)
class Header:
    """The header row of a sheet.

    `labels` has one unique, non-empty text per column of the sheet, from column A on, the columns beyond the
    header's last cell included. `columns` maps positions (from 0) to columns of the master; `blank` holds the
    positions without a header text.
    """

    row_number: int
    labels: Sequence[str]
    columns: Mapping[int, str]
    blank: frozenset[int]
    notices: Sequence[str]


def normalize_header(text: str) -> str:
    """Reduce a header to its letters and digits, without case: `"CMMS Asset-ID"` -> `"cmmsassetid"`."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(filter(str.isalnum, folded)) or "".join(folded.split())


_BUILT_IN = {
    normalize_header(phrase): (_SYNONYM, column)
    for column, phrases in COLUMN_SYNONYMS.items()
    for phrase in phrases.split(",")
} | {normalize_header(column): (_CANONICAL, column) for column in COLUMNS}


def load_mapping(text: str) -> dict[str, str]:
    """Read a person's mapping, header to column, from the text of a JSON or TOML file.

    JSON is an object `{"Tag": "cmms_asset_id"}`, TOML lines of `"Tag" = "cmms_asset_id"`. A column may also
    be `excel_attributes`: such a header is kept as an attribute though a built-in synonym knows it. Raises
    `ConfigurationError` for anything else, with the entry and the columns that there are.
    """
    try:
        loaded: dict[str, object] = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except ValueError as error:
        expected = 'expected JSON such as {"Tag": "cmms_asset_id"} or TOML such as "Tag" = "cmms_asset_id"'
        raise ConfigurationError(
            f"the mapping can be read neither as JSON nor as TOML ({error}); {expected}"
        ) from error
    mapping: dict[str, str] = {}
    seen: dict[str, str] = {}
    for header, column in loaded.items():
        if not isinstance(column, str) or column not in (*COLUMNS, ATTRIBUTES_COLUMN):
            allowed = ", ".join((*COLUMNS, ATTRIBUTES_COLUMN))
            raise ConfigurationError(
                f"the mapping sends '{header}' to {column!r}, which is no column; there are: {allowed}"
            )
        key = normalize_header(header)
        if not key:
            raise ConfigurationError(
                f"the mapping names a blank header, for the column {column}: remove the entry"
            )
        if key in seen and mapping[seen[key]] != column:
            raise ConfigurationError(
                f"the mapping sends '{seen[key]}' to {mapping[seen[key]]} and '{header}' to {column}, "
                "but case, spaces and punctuation do not count: keep one of them"
            )
        seen[key] = header
        mapping[header] = column
    return mapping


def find_header(rows: Sequence[Sequence[Cell]], synonyms: Mapping[str, str]) -> int | None:
    """Find the position (from 0) of the header row among the first rows, `None` if no row has an id header.

    The first row with headers for the id and one more column is the header. Without such a row it is the one
    with most texts among those with an id header, so that neither a title nor a legend is taken for it.
    """
    match = _matcher(synonyms)
    best: int | None = None
    most_texts = 0
    for position, row in enumerate(rows[:HEADER_SEARCH_ROWS]):
        texts = [cell for cell in row if isinstance(cell, str) and not is_blank(cell)]
        columns = {found[1] for text in texts if (found := match(text))} - {ATTRIBUTES_COLUMN}
        if ID_COLUMN not in columns:
            continue
        if len(columns) > 1:
            return position
        if len(texts) > most_texts:
            best, most_texts = position, len(texts)
    return best


def explain_missing_id(rows: Sequence[Sequence[Cell]]) -> str:
    """Say that no id column was found, what the likeliest header row holds instead, and what to do."""
    likeliest: list[str] = []
    for row in rows[:HEADER_SEARCH_ROWS]:
        texts = [cell for cell in row if isinstance(cell, str) and not is_blank(cell)]
        likeliest = max(likeliest, texts, key=len)
    there = ", ".join(f"'{_header_text(text)[:40]}'" for text in likeliest[:20])
    return (
        f"no id column in the first {HEADER_SEARCH_ROWS} rows, expected a header such as 'CMMS Asset ID', "
        f"'Asset ID' or 'Serial Number' (the likeliest header row has {there or 'no text'}). Rename the "
        f"header in the workbook, or send it to {ID_COLUMN} in a mapping file"
    )


def read_header(row: Sequence[Cell], *, row_number: int, width: int, synonyms: Mapping[str, str]) -> Header:
    """Read the header row of a sheet whose longest row has `width` cells.

    Two headers for one column: the explicitly mapped one wins, then the column's own name, then the first; a
    notice names the other.
    """
    match = _matcher(synonyms)
    texts = [_header_text(row[position]) if position < len(row) else "" for position in range(width)]
    labels = _unique(text or f"column_{column_letters(position)}" for position, text in enumerate(texts))
    winners: dict[str, tuple[int, int]] = {}
    candidates: list[tuple[int, str]] = []
    for position, text in enumerate(texts):
        found = match(text) if text else None
        if found is None or found[1] == ATTRIBUTES_COLUMN:
            continue
        rank, column = found
        candidates.append((position, column))
        if column not in winners or rank < winners[column][0]:
            winners[column] = (rank, position)
    columns = {position: column for column, (_, position) in winners.items()}
    notices = [
        f"'{labels[winners[column][1]]}' and '{labels[position]}' (column {column_letters(position)}) both "
        f"mean {column}: the first named is used, the other is kept in {ATTRIBUTES_COLUMN}"
        for position, column in candidates
        if position not in columns
    ]
    blank = frozenset(position for position, text in enumerate(texts) if not text)
    return Header(row_number, labels, dict(sorted(columns.items())), blank, notices)


def is_repeated_header(row: Sequence[Cell], header: Header) -> bool:
    """Tell whether a row says nothing but the header again, as at each page of a printed report."""
    cells = [(position, cell) for position, cell in enumerate(row) if not is_blank(cell)]
    return all(
        isinstance(cell, str) and normalize_header(cell) == normalize_header(header.labels[position])
        for position, cell in cells
    )


def column_letters(position: int) -> str:
    """Name a column as a spreadsheet does: 0 is A, 26 is AA."""
    letters = ""
    position += 1
    while position:
        position, rest = divmod(position - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def _matcher(synonyms: Mapping[str, str]) -> Callable[[str], tuple[int, str] | None]:
    explicit = {normalize_header(header): (_EXPLICIT, column) for header, column in synonyms.items()}

    def match(text: str) -> tuple[int, str] | None:
        # "Capacity (kW)" and "Asset ID [CMMS]" are what stands before the bracket, unless the whole is known.
        keys = (normalize_header(text), normalize_header(_BRACKETED.sub(" ", text)))
        return next((table[key] for table in (explicit, _BUILT_IN) for key in keys if key in table), None)

    return match


def _header_text(cell: Cell) -> str:
    return " ".join((parse_text(cell) or "").split())


def _unique(texts: Iterable[str]) -> list[str]:
    taken: set[str] = set()
    unique: list[str] = []
    for text in texts:
        label, count = text, 1
        while label in taken:
            count += 1
            label = f"{text} ({count})"
        taken.add(label)
        unique.append(label)
    return unique
