"""Every field of an answer, absent, null and of every wrong type, each on a CMMS asset of its own.

The fields come from the declaration in `domain.innomaint`; what a kind of value must make of each input is
stated here. All cases are answered in one batch run after one in which every asset got good values.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from inspect import unwrap
from itertools import count
from typing import Any, Final

import pytest

from innomaint_pipeline.domain.innomaint import detail as declared
from innomaint_pipeline.simulator.innomaint.server import InnomaintSimulator
from innomaint_pipeline.simulator.innomaint.world import ABSENT, World
from innomaint_pipeline.store.database import Database
from innomaint_pipeline_tests.conftest import CANARY_TOKEN
from innomaint_pipeline_tests.faults.conftest import SETTLED_COLUMNS, FaultPipeline
from innomaint_pipeline_tests.invariants import check_invariants

KEPT: Final = object()
"""The stored value stays, and the raw one is a data issue."""

HUGE = 10**30
OVERLONG_DIGITS = "9" * 5000
LONG_TEXT = "long " * 20_000 + "end"
WRONG_FOR_ALL: dict[str, Any] = {
    "list": ["a", 1],
    "empty list": [],
    "object": {"a": {"b": 1}},
    "empty object": {},
}

# kind -> input by name -> what is stored; for a text with a number beside it, both
KINDS: Mapping[str, Mapping[str, tuple[Any, Any]]] = {
    "id": {
        "text": ("twelve", KEPT),
        "true": (True, KEPT),
        "false": (False, None),
        "zero": (0, None),
        "number as text": (" 9000000123 ", 9_000_000_123),
        "fraction": (1.5, KEPT),
        "huge": (HUGE, KEPT),
        "just too large": (2**63, KEPT),
        "overlong": (OVERLONG_DIGITS, KEPT),
        "blank": ("  ", None),
    },
    "integer": {
        "text": ("twelve", KEPT),
        "true": (True, 1),
        "false": (False, 0),
        "zero": (0, 0),
        "number as text": ("1,234", 1234),
        "fraction": (1.5, KEPT),
        "huge": (HUGE, KEPT),
        "just too large": (2**31, KEPT),
        "overlong": (OVERLONG_DIGITS, KEPT),
        "blank": ("  ", None),
    },
    "text": {
        "number": (77, "77"),
        "true": (True, KEPT),
        "false": (False, KEPT),
        "huge": (HUGE, str(HUGE)),
        "overlong": (LONG_TEXT, LONG_TEXT),
        "blank": ("  ", None),
    },
    "money": {
        "text": ("dear", KEPT),
        "true": (True, KEPT),
        "number": (12, Decimal("12.00")),
        "grouped": ("1,234.50", Decimal("1234.50")),
        "three decimals": ("1.005", KEPT),
        "huge": (HUGE, KEPT),
        "just too large": ("1000000000000.00", KEPT),
        "overlong": (OVERLONG_DIGITS, KEPT),
        "NaN as text": ("NaN", KEPT),
        "blank": ("", None),
    },
    "duration": {
        "text": ("soon", KEPT),
        "number": (77, KEPT),
        "zero": (0, ("0", 0)),
        "true": (True, KEPT),
        "minutes above 59": ("10:75:00", KEPT),
        "hours far above 24": ("100000:00:01", ("100000:00:01", 360_000_001)),
        "huge": (HUGE, KEPT),
        "overlong": (f"{OVERLONG_DIGITS}:00:00", KEPT),
        "blank": (" ", (None, None)),
    },
    "percentage": {
        "text": ("most", KEPT),
        "number": (77, ("77", Decimal(77))),
        "true": (True, KEPT),
        "above 100": ("100.01", KEPT),
        "huge": (HUGE, KEPT),
        "overlong": (OVERLONG_DIGITS, KEPT),
        "blank": (" ", (None, None)),
    },
    "local time": {
        "text": ("yesterday", KEPT),
        "number": (77, KEPT),
        "true": (True, KEPT),
        "month first": ("12/31/2024 10:00", KEPT),
        "day first": ("31/12/2024 10:00", ("31/12/2024 10:00", datetime(2024, 12, 31, 4, 30, tzinfo=UTC))),
        "overlong": (LONG_TEXT, KEPT),
        "huge": (HUGE, KEPT),
        "blank": (" ", (None, None)),
    },
    "time": {
        "text": ("yesterday", KEPT),
        "number": (77, KEPT),
        "true": (True, KEPT),
        "year 10000": ("10000-01-01 00:00:00+00", KEPT),
        "year 1 in the east": ("0001-01-01 00:00:00+05:30", KEPT),
        "overlong": (LONG_TEXT, KEPT),
        "huge": (HUGE, KEPT),
        "blank": (" ", None),
    },
}

_values = declared.values
_KIND_OF_PARSER = {
    unwrap(_values.parse_id): "id",
    _values.parse_text: "text",
    _values.parse_money: "money",
    _values.parse_duration_seconds: "duration",
    _values.parse_percentage: "percentage",
    unwrap(declared.MASTER_FIELDS["ticketcount"][1]): "integer",
}
PLACES = {name: key for key, name in declared._PLACE_NAMES.items()}


@dataclass(frozen=True)
class Field:
    """A vendor's field: where it stands in an answer, its kind, and the columns that hold it."""

    section: tuple[str, ...]
    name: str
    kind: str
    columns: tuple[str, ...]

    @property
    def path(self) -> str:
        return ".".join((*self.section, self.name))

    def within_answer(self, value: Any) -> dict[str, Any]:
        inner: dict[str, Any] = {self.name: value}
        for section in reversed(self.section):
            inner = {section: inner}
        return inner


def columns_of_places(field: str) -> Iterator[str]:
    for table, (_, columns) in declared.PLACE_TABLES.items():
        yield from (f"{table}.{column}" for column, name in columns.items() if name == field)


def declared_fields() -> Iterator[Field]:
    for name, (column, parser) in declared.MASTER_FIELDS.items():
        columns = (f"ic3_asset_master.{column}", *columns_of_places(name))
        yield Field(("data",), name, _KIND_OF_PARSER[unwrap(parser)], columns)
    yield Field(("data",), "traceability_updated_on", "time", ("ic3_asset_master.traceability_updated_on",))
    for name in declared._PLACE_NAMES:
        yield Field(("data",), name, "text", tuple(columns_of_places(name)))
    numbers = {
        name: (column, _KIND_OF_PARSER[unwrap(parser)])
        for name, (column, parser) in declared.PERFORMANCE_NUMBERS.items()
    }
    numbers["asset_created_date"] = ("asset_created_at", "local time")
    for name in declared.PERFORMANCE_TEXTS:
        number, kind = numbers.get(name, (None, "text"))
        columns = tuple(f"ic3_asset_performance.{column}" for column in (name, number) if column)
        yield Field(("performance",), name, kind, columns)
    yield Field(("performance",), "total_ticket", "integer", ("ic3_asset_performance.total_ticket",))
    for period in declared.PERIODS:
        for name, (_, parser) in declared.WORKORDER_FIELDS.items():
            section = ("workorder_transactional", period)
            yield Field(section, name, _KIND_OF_PARSER[unwrap(parser)], (f"{period}.{name}",))


@dataclass(frozen=True)
class Case:
    """A field with an input, and what its columns hold afterwards; KEPT with `is_issue` false: absent."""

    field: Field
    input_name: str
    raw: Any
    stored: Any
    is_issue: bool

    def __str__(self) -> str:
        return f"{self.field.path} {self.input_name}"


EXCELS = {"criticality": "Excel's A", "capacity_rating": "Excel's 1KW", "in_charge_person": "Excel's"}


def build_cases() -> Iterator[Case]:
    for field in declared_fields():
        yield Case(field, "absent", ABSENT, KEPT, is_issue=False)
        inputs = {**KINDS[field.kind], "null": (None, None)}
        inputs |= {name: (raw, KEPT) for name, raw in WRONG_FOR_ALL.items()}
        for name, (raw, stored) in inputs.items():
            values = stored if isinstance(stored, tuple) else (stored,) * len(field.columns)
            if values[0] is None and field.name in EXCELS:
                values = (EXCELS[field.name],)
            yield Case(field, name, raw, KEPT if stored is KEPT else values, is_issue=stored is KEPT)


CASES = list(build_cases())


def marker_of(case: Case) -> str:
    """Return the field that shows that everything else of the asset was stored."""
    return "schedulecount" if case.field.name == "ticketcount" else "ticketcount"


@dataclass(frozen=True)
class Outcome:
    """What the tables hold of each case's asset, column by column, before and after."""

    before: Mapping[int, Mapping[str, Any]]
    after: Mapping[int, Mapping[str, Any]]
    issues: Mapping[int, Mapping[str, str]]
    states: Mapping[int, tuple[str, str | None]]


GOOD: dict[str, Any] = {
    "data": {
        **{
            name: 1
            for name, (_, parser) in declared.MASTER_FIELDS.items()
            if _KIND_OF_PARSER[unwrap(parser)] == "integer"
        },
        **{
            name: 7000 + number
            for number, name in enumerate(
                name
                for name, (_, parser) in declared.MASTER_FIELDS.items()
                if _KIND_OF_PARSER[unwrap(parser)] == "id"
            )
        },
        **dict.fromkeys(("barcode", "building_name", "floor_name", "department_name"), "good"),
        **dict.fromkeys(EXCELS, "the API's"),
        "traceability_updated_on": "2026-03-19 04:21:46+00",
    },
    "performance": {
        **dict.fromkeys(declared.PERFORMANCE_TEXTS, "good"),
        **dict.fromkeys(declared.PERFORMANCE_NUMBERS, "01:00:00"),
        "availability": "99",
        "asset_created_date": "09/07/2024 16:59",
        "total_ticket": 3,
    },
    "workorder_transactional": {
        period: dict.fromkeys(declared.WORKORDER_FIELDS, "3") for period in declared.PERIODS
    },
}


def read_columns(pipeline: FaultPipeline) -> dict[int, dict[str, Any]]:
    """Return the values of every asset by `table.column`, those of its first places included."""
    found: dict[int, dict[str, Any]] = {}
    queries = {
        "ic3_asset_master": "select report_seq_no - 1 as number, m.* from ic3_asset_master m",
        "ic3_asset_performance": "select report_seq_no - 1 as number, p.* from ic3_asset_performance p"
        " join ic3_asset_master using (asset_id)",
        **{
            period: "select report_seq_no - 1 as number, w.* from ic3_workorder_summary w"
            f" join ic3_asset_master using (asset_id) where period_type = '{period}'"
            for period in declared.PERIODS
        },
        **{
            table: f"select {key} - 1000000 as number, t.* from {table} t where {key} >= 1000000"
            for table, (key, _) in declared.PLACE_TABLES.items()
        },
    }
    for table, query in queries.items():
        for row in pipeline.rows(query):
            place = found.setdefault(row.pop("number"), {})
            place.update({f"{table}.{name}": value for name, value in row.items()})
    return {
        number: {name: value for name, value in row.items() if name.split(".")[1] not in SETTLED_COLUMNS}
        for number, row in found.items()
        if number < len(CASES)
    }


@pytest.fixture(scope="module")
def outcome(_upgraded_databases: Any) -> Iterator[Outcome]:
    world = World(len(CASES))
    now = datetime(2026, 6, 20, 10, tzinfo=UTC)
    world.now = lambda: now
    with (
        _upgraded_databases.take() as url,
        InnomaintSimulator(world, token=CANARY_TOKEN) as simulator,
    ):
        database = Database(url)
        pipeline = FaultPipeline(database, simulator)
        pipeline.import_serials(batch_size=10_000, **EXCELS)
        for number, serial in enumerate(world.serials):
            world.change(serial, GOOD)
            keys = {key: 1_000_000 + number for key, _ in declared.PLACE_TABLES.values()}
            world.change(serial, {"data": keys})
        assert pipeline.resync("first").status == "complete"
        before = read_columns(pipeline)
        for case, serial in zip(CASES, world.serials, strict=True):
            world.change(serial, {"data": {marker_of(case): 4711}})
            world.change(serial, case.field.within_answer(case.raw))
        assert pipeline.resync("second").status == "complete"
        assert len(simulator.record) == 2 * len(CASES)
        issues: dict[int, dict[str, str]] = {}
        for row in pipeline.rows(
            "select report_seq_no - 1 as number, field, raw_value from innomaint_data_issue"
            " join ic3_asset_master using (asset_id) where resolved_at is null"
        ):
            issues.setdefault(row["number"], {})[row["field"]] = row["raw_value"]
        states = dict(zip(count(), pipeline.states().values()))
        yield Outcome(before, read_columns(pipeline), issues, states)
        check_invariants(database)
        database.close()


def expected_columns(case: Case, before: Mapping[str, Any]) -> dict[str, Any]:
    expected = {**before, f"ic3_asset_master.{marker_of(case)}": 4711}
    if case.stored is not KEPT:
        expected |= dict(zip(case.field.columns, case.stored, strict=True))
    if case.field.name in PLACES and (case.stored is KEPT or case.stored[0] is None):
        # The answer's name of a place without an id has no row: it is kept with the unnamed fields.
        attributes = before["ic3_asset_master.api_attributes"]
        expected["ic3_asset_master.api_attributes"] = {**attributes, PLACES[case.field.name]: "good"}
    return expected


def test_the_declaration_holds_every_field_of_the_api() -> None:
    fields = {case.field.path for case in CASES}
    assert len(fields) == 33 + 1 + 3 + 11 + 12
    assert len(CASES) > 700
    assert {case.field.kind for case in CASES} == set(KINDS)


def find_wrong(number: int, case: Case, outcome: Outcome) -> Iterator[str]:
    """Yield what is not as it must be after a case, each with what was expected."""
    if outcome.states[number] != ("synced", None):
        yield f"its state is {outcome.states[number]}"
    expected, found = expected_columns(case, outcome.before[number]), outcome.after[number]
    for name in sorted(expected.keys() | found.keys()):
        held, wanted = found.get(name, ABSENT), expected.get(name, ABSENT)
        if held != wanted:
            yield f"{name} is {held!r:.200}, expected {wanted!r:.200}"
    issues = outcome.issues.get(number, {})
    if set(issues) != ({case.field.path} if case.is_issue else set()):
        yield f"its issues are of {sorted(issues)}"
    yield from (f"the issue of {name} is long" for name, raw in issues.items() if len(raw) > 500)


def test_a_field_that_is_absent_null_or_of_a_wrong_type_changes_nothing_else(outcome: Outcome) -> None:
    assert len(outcome.after) == len(outcome.before) == len(outcome.states) == len(CASES)
    wrong = [
        f"{case}: {words}" for number, case in enumerate(CASES) for words in find_wrong(number, case, outcome)
    ]
    assert not wrong, "\n".join([f"{len(wrong)} values are wrong", *wrong])
