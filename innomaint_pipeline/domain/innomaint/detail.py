"""The detail of one CMMS asset: the vendor's fields -> the columns of the IC3 tables (docs/tables.md).

Belongs here: which field means which column, and what absent, null and zero mean. A field that is absent from
an answer is absent from the result, so that the stored value stays; null and blank are None. A field that
cannot be read is absent as well, and named in `issues`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from innomaint_pipeline.domain.documents import LONGEST_ISSUE_CHARACTERS, DataIssue, dump_json
from innomaint_pipeline.domain.innomaint import values

PERIODS = ("upto", "last_year")

OVERRIDING_FIELDS = ("criticality", "capacity_rating", "in_charge_person")
"""Where the API gives a value it wins over Excel's; null or blank leaves Excel's."""

_integer = values.parse_integer(values.INT32)

# vendor field -> (column of ic3_asset_master, parser); what needs the time zone stands in `_zoned_fields`
MASTER_FIELDS: Mapping[str, tuple[str, values.Parser]] = {
    "traceid": ("traceability_id", values.parse_id),
    "barcode": ("barcode", values.parse_text),
    "criticality": ("criticality", values.parse_text),
    "capacity_rating": ("capacity_rating", values.parse_text),
    "in_charge_person": ("in_charge_person", values.parse_text),
    **{
        name: (name, values.parse_id)
        for name in (
            "customer_id",
            "location_id",
            "building_id",
            "floor_id",
            "department_id",
            "asset_building_id",
            "asset_floor_id",
            "asset_department_id",
            "fk_customers_equipment_mapping_id",
            "customers_locations_serialnumber_mapping_id",
            "customer_traceability_id",
            "customer_model_id",
            "location_traceability_id",
            "location_model_id",
        )
    },
    **{
        name: (name, _integer)
        for name in (
            "ticketcount",
            "schedulecount",
            "schedule_configured",
            "schedule_initiate",
            "iot_device_mapped",
            "status",
            "asset_live_status",
            "mapping_status",
            "traceability_status",
            "is_loaner",
            "is_ble_tracking",
            "is_rfid_tracking",
            "is_qr_tracking",
            "is_tracking_enabled",
        )
    },
}

# fields of `data` that the vendor is known to send and that have no column of their own
ATTRIBUTE_FIELDS = frozenset(
    {"id", "customer_name", "location_name", "installation_date", "year_of_manufacturing"}
)

# the tables of places: table -> (its key, column -> vendor field)
PLACE_TABLES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "ic3_building": ("building_id", {"customer_id": "customer_id", "building_name": "building_name"}),
    "ic3_floor_master": (
        "floor_id",
        {"floor_name": "floor_name", "location_id": "location_id", "asset_floor_id": "asset_floor_id"},
    ),
    "ic3_department_master": (
        "department_id",
        {
            "department_name": "department_name",
            "floor_id": "floor_id",
            "location_id": "location_id",
            "asset_department_id": "asset_department_id",
        },
    ),
}
PLACE_NAMES: Mapping[str, str] = {
    "ic3_building": "building_name",
    "ic3_floor_master": "floor_name",
    "ic3_department_master": "department_name",
}
"""Table of places -> the column of the name."""

MOST_UNKNOWN_FIELDS = 200
"""Fields of one section that are kept by name, of one answer and of all."""

MOST_UNKNOWN_FIELDS_IN_ALL = 2000

_TOP_LEVEL = "(top level) "
_PLACE_NAMES = {"building_name": "building_id", "floor_name": "floor_id", "department_name": "department_id"}

# performance: columns of the same name as the vendor's field, and the number beside some of them
PERFORMANCE_TEXTS = (
    "equipments_name",
    "equipment_model_name",
    "criticality_type_label",
    "mttr",
    "mtbf",
    "availability",
    "total_ticket_breakdown_hrs",
    "total_schedule_breakdown_hrs",
    "asset_created_date",
    "total_actual_hrs",
)
_seconds = values.remembering(values.parse_duration_seconds)

PERFORMANCE_NUMBERS: Mapping[str, tuple[str, values.Parser]] = {
    "mttr": ("mttr_seconds", _seconds),
    "mtbf": ("mtbf_seconds", values.parse_duration_seconds),
    "availability": ("availability_pct", values.remembering(values.parse_percentage)),
    "total_ticket_breakdown_hrs": ("ticket_breakdown_seconds", _seconds),
    "total_schedule_breakdown_hrs": ("schedule_breakdown_seconds", _seconds),
    "total_actual_hrs": ("actual_seconds", values.parse_duration_seconds),
}

_money = values.remembering(values.parse_money)

WORKORDER_FIELDS: Mapping[str, tuple[str, values.Parser]] = {
    **{name: (name, _integer) for name in ("work_estimate_count", "schedule_count", "ticket_count")},
    **{name: (name, _money) for name in ("work_estimate_cost", "schedule_cost", "ticket_cost")},
}
_KNOWN_MASTER_FIELDS = frozenset({*MASTER_FIELDS, "serialnumber", "traceability_updated_on"})
_KNOWN_ATTRIBUTES = frozenset({*ATTRIBUTE_FIELDS, *_PLACE_NAMES})
_KNOWN_PERFORMANCE = frozenset({*PERFORMANCE_TEXTS, "total_ticket"})
_KNOWN_WORKORDERS = frozenset(WORKORDER_FIELDS)
_PLACE_PARSERS = {name: (name, values.parse_text) for name in _PLACE_NAMES}


@dataclass(frozen=True)
class UnknownField:
    """A field that no document names, with the section that it stands in."""

    section: str
    path: str


@dataclass(frozen=True)
class CmmsAssetDetail:
    """What one answer says, column by column; a column that is missing from a mapping keeps its stored value.

    `places` maps the table of a place to its row, only where the answer gives an id. `performance` is None
    when the answer lacks the section. `workorders` maps a period of `PERIODS` to its row. Of the fields that
    no document names, `unknown_fields` are the first of each section, and `further_unknown_fields` counts the
    others.
    """

    master: Mapping[str, Any]
    places: Mapping[str, Mapping[str, Any]]
    performance: Mapping[str, Any] | None
    workorders: Mapping[str, Mapping[str, Any]]
    api_attributes: Mapping[str, Any]
    issues: tuple[DataIssue, ...] = ()
    unknown_fields: tuple[UnknownField, ...] = ()
    further_unknown_fields: Mapping[str, int] = field(default_factory=dict)


@dataclass
class _Reader:
    """Reads the fields of one answer and collects what could not be read."""

    issues: list[DataIssue] = field(default_factory=list)
    unknown: list[UnknownField] = field(default_factory=list)
    further: dict[str, int] = field(default_factory=dict)

    def read_each(
        self,
        section: Mapping[str, Any],
        path: str,
        fields: Mapping[str, tuple[str, values.Parser]],
        into: dict[str, Any],
    ) -> None:
        """Read those of the fields that the section has, each into its column."""
        for name, (column, parse) in fields.items():
            if name not in section:
                continue
            raw = section[name]
            try:
                into[column] = None if raw is None else parse(raw)
            except ValueError as error:
                self.note(f"{path}.{name}", raw, f"the value {error}")

    def read_as(
        self,
        section: Mapping[str, Any],
        name: str,
        path: str,
        parsers: tuple[tuple[str, values.Parser], ...],
        into: dict[str, Any],
    ) -> None:
        """Read one field into one or more columns: all of them or, with an issue, none."""
        if name not in section:
            return
        raw = section[name]
        try:
            row = [None if raw is None else parse(raw) for _, parse in parsers]
        except ValueError as error:
            self.note(f"{path}.{name}", raw, f"the value {error}")
            return
        for (column, _), value in zip(parsers, row, strict=True):
            into[column] = value

    def section(self, parent: Mapping[str, Any], name: str, path: str) -> Mapping[str, Any] | None:
        """Return a section; PHP writes an empty one as [], which counts as absent like null."""
        value = parent.get(name)
        if isinstance(value, dict):
            return value or None
        if value is not None and value != []:
            self.note(path, value, "the section is no object")
        return None

    def note(self, path: str, raw: object, reason: str) -> None:
        """Note a value that could not be read."""
        text = raw if isinstance(raw, str) else dump_json(raw)
        self.issues.append(DataIssue(path, text[:LONGEST_ISSUE_CHARACTERS], reason))

    def note_unknown(self, section: str, names: Collection[str], prefix: str) -> None:
        """Note fields of a section that no document names, from a certain number on without their names."""
        kept = sorted(names)[:MOST_UNKNOWN_FIELDS]
        self.unknown += (UnknownField(section, f"{prefix}{name}"[:LONGEST_ISSUE_CHARACTERS]) for name in kept)
        if len(names) > len(kept):
            self.further[section] = len(names) - len(kept)


def _rest(section: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in section.items() if name not in known}


@dataclass(frozen=True)
class _ZonedFields:
    """The fields whose parser needs the vendor's time zone."""

    master: Mapping[str, tuple[str, values.Parser]]
    performance: Mapping[str, tuple[tuple[str, values.Parser], ...]]


@cache
def _zoned_fields(timezone: ZoneInfo) -> _ZonedFields:
    numbers = {
        **PERFORMANCE_NUMBERS,
        "asset_created_date": ("asset_created_at", values.parse_local_time(timezone)),
    }
    return _ZonedFields(
        {
            **MASTER_FIELDS,
            "traceability_updated_on": ("traceability_updated_on", values.parse_utc_time(timezone)),
        },
        {
            name: ((name, values.parse_text), *([numbers[name]] if name in numbers else []))
            for name in PERFORMANCE_TEXTS
        },
    )


def _read_places(
    reader: _Reader, data: Mapping[str, Any], master: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    known = dict(master)
    reader.read_each(data, "data", _PLACE_PARSERS, known)
    return {
        table: {key: known[key], **{column: known[name] for column, name in columns.items() if name in known}}
        for table, (key, columns) in PLACE_TABLES.items()
        if known.get(key) is not None
    }


def _read_performance(
    reader: _Reader, section: Mapping[str, Any], fields: Mapping[str, tuple[tuple[str, values.Parser], ...]]
) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, parsers in fields.items():
        reader.read_as(section, name, "performance", parsers, row)
    reader.read_each(section, "performance", {"total_ticket": ("total_ticket", _integer)}, row)
    return row


def parse_detail(answer: Mapping[str, Any], timezone: ZoneInfo) -> CmmsAssetDetail:
    """Read a stored answer (one that `check_answer` let pass) into columns.

    Never raises for a value: what cannot be read is left out and named in `issues`. Pure: the same answer
    gives the same detail, so that the tables can be rebuilt at any time.
    """
    reader = _Reader()
    response: Mapping[str, Any] = answer["response"]
    data: Mapping[str, Any] = response["data"]
    fields = _zoned_fields(timezone)
    master: dict[str, Any] = {}
    reader.read_each(data, "data", fields.master, master)
    places = _read_places(reader, data, master)

    attributes = _rest(data, _KNOWN_MASTER_FIELDS)
    reader.note_unknown("data", _rest(attributes, _KNOWN_ATTRIBUTES), "data.")
    for name, key in _PLACE_NAMES.items():
        # A place's name without the place's id has no row to stand in.
        if master.get(key) is not None:
            attributes.pop(name, None)
    elsewhere: dict[str, Any] = {}

    performance: dict[str, Any] | None = None
    section = reader.section(response, "performance", "performance")
    if section is not None:
        performance = _read_performance(reader, section, fields.performance)
        _keep_rest(reader, section, _KNOWN_PERFORMANCE, ("performance",), elsewhere)

    workorders: dict[str, Mapping[str, Any]] = {}
    transactional = reader.section(response, "workorder_transactional", "workorder_transactional")
    for period in PERIODS if transactional is not None else ():
        path = f"workorder_transactional.{period}"
        section = reader.section(transactional or {}, period, path)
        if section is not None:
            row: dict[str, Any] = {}
            reader.read_each(section, path, WORKORDER_FIELDS, row)
            workorders[period] = row
            _keep_rest(reader, section, _KNOWN_WORKORDERS, ("workorder_transactional", period), elsewhere)
    if transactional is not None:
        _keep_rest(reader, transactional, PERIODS, ("workorder_transactional",), elsewhere)

    _keep_rest(reader, response, {"data", "performance", "workorder_transactional"}, (), elsewhere)
    # Where a section has the name of a field of `data`, neither may hide the other.
    attributes |= {_free_name(name, "response.", attributes): item for name, item in elsewhere.items()}
    top_level = _rest(answer, {"status", "response_code", "response"})
    attributes |= {_free_name(name, _TOP_LEVEL, attributes): item for name, item in top_level.items()}
    reader.note_unknown(_TOP_LEVEL.strip(), top_level, _TOP_LEVEL)
    return CmmsAssetDetail(
        master,
        places,
        performance,
        workorders,
        attributes,
        tuple(reader.issues),
        tuple(sorted(reader.unknown, key=lambda item: item.path)),
        reader.further,
    )


def choose_unknown_fields(
    found: Collection[UnknownField], kept: Mapping[str | None, int]
) -> tuple[list[UnknownField], dict[str, int]]:
    """Return those of the found fields that are kept by name as well, and how many others each section has.

    `kept` counts by section those that are.
    """
    counts = dict(kept)
    in_all = sum(counts.values())
    chosen: list[UnknownField] = []
    left_over: dict[str, int] = {}
    for item in sorted(found, key=lambda item: item.path):
        count = counts.get(item.section, 0)
        if count >= MOST_UNKNOWN_FIELDS or in_all >= MOST_UNKNOWN_FIELDS_IN_ALL:
            left_over[item.section] = left_over.get(item.section, 0) + 1
            continue
        chosen.append(item)
        counts[item.section] = count + 1
        in_all += 1
    return chosen, left_over


def _free_name(name: str, prefix: str, taken: Mapping[str, Any]) -> str:
    return f"{prefix}{name}" if name in taken else name


def _keep_rest(
    reader: _Reader,
    section: Mapping[str, Any],
    known: Collection[str],
    path: tuple[str, ...],
    attributes: dict[str, Any],
) -> None:
    rest = _rest(section, known)
    if not rest:
        return
    place = attributes
    for name in path:
        place = place.setdefault(name, {})
    place.update(rest)
    section_name = ".".join(path)
    reader.note_unknown(section_name or "response", rest, f"{section_name}." if path else "")
