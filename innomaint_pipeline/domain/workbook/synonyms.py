"""The columns of the asset master that a workbook fills, and what people write above them.

Belongs here: the columns, the table of their synonyms, a person's own mapping. Where a header stands in a
sheet is `headers`.
"""

import json
import re
import tomllib
import unicodedata
from collections.abc import Callable, Mapping

from innomaint_pipeline.errors import ConfigurationError

ID_COLUMN = "cmms_asset_id"
ATTRIBUTES_COLUMN = "excel_attributes"

# Each column of `ic3_asset_master` that comes from the workbook, with what people write above it.
# Left out on purpose is what means two things: "S/N" and "Serial No" number rows as often as they name
# machines, and so with "Name", "Type", "Area", "Level". A mapping file says what they are.
COLUMN_SYNONYMS: Mapping[str, str] = {
    ID_COLUMN: "asset id, asset code, asset no, asset number, asset id no, asset id number, asset tag, "
    "asset tag no, asset tag number, asset tag id, unique asset id, asset unique id, asset identifier, "
    "asset identification no, asset identification number",
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

# What else may be above the id, better and worse than the asset's own number: of two id columns the one
# whose header has the best rank is the id, wherever it stands.
_CMMS_ID_HEADERS = (
    "cmms id, cmms asset code, cmms asset no, cmms asset number, cmms serial number, innomaint id, "
    "innomaint asset id, innomaint serial number, innomaint asset code, innomaint asset no"
)
_EQUIPMENT_ID_HEADERS = (
    "tag no, tag number, tag id, equipment id, equipment code, equipment no, equipment number, "
    "equipment tag, equipment tag no, machine id, machine code"
)
_SERIAL_HEADERS = "serial number, asset serial number, equipment serial number"

_BRACKETED = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")
_EXPLICIT, _CANONICAL, _CMMS_ID, _SYNONYM, _EQUIPMENT_ID, _SERIAL = range(6)

Match = Callable[[str], tuple[int, str] | None]


def normalize_header(text: str) -> str:
    """Reduce a header to its letters and digits, without case: `"CMMS Asset-ID"` -> `"cmmsassetid"`."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(filter(str.isalnum, folded)) or "".join(folded.split())


_BUILT_IN = (
    {
        normalize_header(phrase): (rank, column)
        for rank, column, phrases in (
            *((_SYNONYM, column, phrases) for column, phrases in COLUMN_SYNONYMS.items()),
            (_CMMS_ID, ID_COLUMN, _CMMS_ID_HEADERS),
            (_EQUIPMENT_ID, ID_COLUMN, _EQUIPMENT_ID_HEADERS),
            (_SERIAL, ID_COLUMN, _SERIAL_HEADERS),
        )
        for phrase in phrases.split(",")
    }
) | {normalize_header(column): (_CANONICAL, column) for column in COLUMNS}


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


def build_matcher(synonyms: Mapping[str, str]) -> Match:
    """Return what tells the rank and the column of a header text; `synonyms` are a person's own, and win."""
    explicit = {normalize_header(header): (_EXPLICIT, column) for header, column in synonyms.items()}
    known: dict[str, tuple[int, str] | None] = {}

    def match(text: str) -> tuple[int, str] | None:
        if text not in known:
            # "Capacity (kW)" and "Asset ID [CMMS]" are what stands before the bracket, unless the whole is
            # known.
            keys = (normalize_header(text), normalize_header(_BRACKETED.sub(" ", text)))
            known[text] = next(
                (table[key] for table in (explicit, _BUILT_IN) for key in keys if key in table), None
            )
        return known[text]

    return match
