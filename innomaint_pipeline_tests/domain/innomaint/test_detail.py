import json
from collections import Counter
from collections.abc import Mapping
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib import resources
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import BigInteger, DateTime, Integer, Numeric, Text

from innomaint_pipeline.domain.documents import DataIssue, load_json
from innomaint_pipeline.domain.innomaint.answers import check_answer
from innomaint_pipeline.domain.innomaint.detail import (
    MOST_UNKNOWN_FIELDS,
    MOST_UNKNOWN_FIELDS_IN_ALL,
    OVERRIDING_FIELDS,
    PERIODS,
    CmmsAssetDetail,
    UnknownField,
    choose_unknown_fields,
    parse_detail,
)
from innomaint_pipeline.store.innomaint import tables

EXAMPLE = json.loads(
    resources.files("innomaint_pipeline.simulator.innomaint")
    .joinpath("asset_detail.example.json")
    .read_text("utf-8")
)
PUMP = "Delhi Cantt Naraina_BP_01"
KOLKATA = ZoneInfo("Asia/Kolkata")
ABSENT = object()
MASTER_COLUMNS_FROM_API = {
    *(
        "traceability_id",
        "barcode",
        "criticality",
        "capacity_rating",
        "customer_id",
        "location_id",
        "building_id",
    ),
    *("floor_id", "department_id", "asset_building_id", "asset_floor_id", "asset_department_id"),
    *("fk_customers_equipment_mapping_id", "customers_locations_serialnumber_mapping_id"),
    *("customer_traceability_id", "customer_model_id", "location_traceability_id", "location_model_id"),
    *("in_charge_person", "ticketcount", "schedulecount", "schedule_configured", "schedule_initiate"),
    *(
        "iot_device_mapped",
        "status",
        "asset_live_status",
        "mapping_status",
        "traceability_status",
        "is_loaner",
    ),
    *(
        "is_ble_tracking",
        "is_rfid_tracking",
        "is_qr_tracking",
        "is_tracking_enabled",
        "traceability_updated_on",
    ),
}
LISTED_BUT_NOT_IN_THE_SAMPLE = {
    *("mapping_status", "traceability_status", "is_loaner", "is_ble_tracking", "is_rfid_tracking"),
    *("is_qr_tracking", "is_tracking_enabled"),
}


def answer_with(section: str = "data", /, **changes: Any) -> dict[str, Any]:
    """The example with changed fields in one section, "" for the response itself, "top" for the answer."""
    answer = deepcopy(EXAMPLE)
    place = answer if section == "top" else answer["response"]
    for name in section.split(".") if section not in {"", "top"} else ():
        place = place[name]
    for name, value in changes.items():
        if value is ABSENT:
            place.pop(name, None)
        else:
            place[name] = value
    return answer


def parse(answer: Mapping[str, Any], timezone: ZoneInfo = KOLKATA) -> CmmsAssetDetail:
    """The way of every answer: as text, checked, stored, read back."""
    return parse_detail(load_json(check_answer(json.dumps(answer), PUMP).body_json), timezone)


def parse_with(section: str = "data", /, **changes: Any) -> CmmsAssetDetail:
    return parse(answer_with(section, **changes))


# the example


def test_the_example_gives_every_column_of_the_master():
    detail = parse(EXAMPLE)
    assert detail.master == {
        "traceability_id": 577833,
        "barcode": "MOD135692/SER577833",
        "criticality": "High",
        "capacity_rating": "90KW",
        "in_charge_person": "JWIL",
        "customer_id": 24463,
        "location_id": 34801,
        "building_id": 16420,
        "floor_id": 12030,
        "department_id": 12250,
        "asset_building_id": 21852,
        "asset_floor_id": 20025,
        "asset_department_id": 27422,
        "fk_customers_equipment_mapping_id": 550822,
        "customers_locations_serialnumber_mapping_id": 505836,
        "customer_traceability_id": 550822,
        "customer_model_id": 225345,
        "location_traceability_id": 505836,
        "location_model_id": 252933,
        "ticketcount": 5,
        "schedulecount": 44,
        "schedule_configured": 1,
        "schedule_initiate": 1,
        "iot_device_mapped": 0,
        "status": 1,
        "asset_live_status": 1,
        "traceability_updated_on": datetime(2026, 3, 19, 4, 21, 46, tzinfo=UTC),
    }
    assert set(detail.master) == MASTER_COLUMNS_FROM_API - LISTED_BUT_NOT_IN_THE_SAMPLE
    assert detail.issues == ()
    assert detail.unknown_fields == ()


def test_the_example_gives_its_places():
    assert parse(EXAMPLE).places == {
        "ic3_building": {
            "building_id": 16420,
            "customer_id": 24463,
            "building_name": "Naraina D.Cantt UGR_Zone",
        },
        "ic3_floor_master": {
            "floor_id": 12030,
            "floor_name": "UGR",
            "location_id": 34801,
            "asset_floor_id": 20025,
        },
        "ic3_department_master": {
            "department_id": 12250,
            "department_name": "Working",
            "floor_id": 12030,
            "location_id": 34801,
            "asset_department_id": 27422,
        },
    }


def test_the_example_gives_its_performance_as_delivered_and_as_numbers():
    assert parse(EXAMPLE).performance == {
        **{
            name: value
            for name, value in EXAMPLE["response"]["performance"].items()
            if name != "total_ticket"
        },
        "total_ticket": 2,
        "mttr_seconds": 510,
        "mtbf_seconds": 30_694_003,
        "availability_pct": Decimal(100),
        "ticket_breakdown_seconds": 1020,
        "schedule_breakdown_seconds": 0,
        "actual_seconds": 61_389_027,
        "asset_created_at": datetime(2024, 7, 9, 11, 29, tzinfo=UTC),
    }


def test_the_example_gives_its_work_orders_with_exact_costs():
    workorders = parse(EXAMPLE).workorders
    free = dict.fromkeys(("work_estimate_cost", "schedule_cost", "ticket_cost"), Decimal("0.00"))
    assert workorders == {
        "upto": {"work_estimate_count": 2, "schedule_count": 0, "ticket_count": 2, **free},
        "last_year": {"work_estimate_count": 0, "schedule_count": 0, "ticket_count": 0, **free},
    }
    assert {str(row[name]) for row in workorders.values() for name in free} == {"0.00"}


def test_the_example_keeps_every_other_field_as_an_attribute():
    assert parse(EXAMPLE).api_attributes == {
        "id": 577833,
        "customer_name": "DJB Khyala",
        "location_name": "Naraina D.Cantt UGR_Zone",
        "installation_date": None,
    }


def test_the_fields_that_the_sample_lacks_have_their_columns():
    flags = dict.fromkeys(LISTED_BUT_NOT_IN_THE_SAMPLE, "1")
    detail = parse_with(**flags, year_of_manufacturing=2019)
    assert {name: detail.master[name] for name in flags} == dict.fromkeys(flags, 1)
    assert set(detail.master) == MASTER_COLUMNS_FROM_API
    assert detail.api_attributes["year_of_manufacturing"] == 2019
    assert detail.unknown_fields == ()


def test_the_vendors_arithmetic_holds_on_the_numbers():
    performance = parse(EXAMPLE).performance
    assert performance is not None
    breakdown = performance["ticket_breakdown_seconds"]
    tickets = performance["total_ticket"]
    assert performance["mttr_seconds"] * tickets == breakdown
    assert performance["mtbf_seconds"] == (performance["actual_seconds"] - breakdown) // tickets
    taken = performance["asset_created_at"] + timedelta(seconds=performance["actual_seconds"])
    assert datetime(2026, 6, 14, tzinfo=UTC) < taken < datetime(2026, 6, 21, tzinfo=UTC)
    share = 100 * (1 - Decimal(breakdown) / performance["actual_seconds"])
    assert performance["availability_pct"] == round(share)


def test_every_column_that_is_given_exists_in_its_table():
    detail = parse_with(**dict.fromkeys(LISTED_BUT_NOT_IN_THE_SAMPLE, 1))
    assert detail.performance is not None
    assert set(detail.master) <= set(tables.asset_master.c.keys())
    assert set(detail.performance) <= set(tables.asset_performance.c.keys())
    for row in detail.workorders.values():
        assert set(row) <= set(tables.workorder_summary.c.keys())
    for name, row in detail.places.items():
        assert set(row) <= set(tables.metadata.tables[name].c.keys())


# absent, null and zero


@pytest.mark.parametrize(
    "name", ["customer_id", "ticketcount", "barcode", "status", "traceability_updated_on"]
)
def test_an_absent_field_is_absent_and_a_null_one_is_none(name):
    assert name not in parse_with(**{name: ABSENT}).master
    detail = parse_with(**{name: None})
    assert name in detail.master
    assert detail.master[name] is None
    assert detail.issues == ()


@pytest.mark.parametrize("zero", [0, "0"])
def test_zero_is_a_value_except_for_ids(zero):
    master = parse_with(ticketcount=zero, customer_id=zero, traceid=zero).master
    assert master["ticketcount"] == 0
    assert master["ticketcount"] is not None
    assert master["customer_id"] is None
    assert master["traceability_id"] is None


@pytest.mark.parametrize("name", OVERRIDING_FIELDS)
@pytest.mark.parametrize("blank", [None, "", "  "])
def test_a_blank_override_is_none(name, blank):
    assert parse_with(**{name: blank}).master[name] is None


def test_the_overriding_fields_are_the_three_of_the_contract():
    assert set(OVERRIDING_FIELDS) == {"criticality", "capacity_rating", "in_charge_person"}


@pytest.mark.parametrize(("given_value", "stored"), [(True, 1), (False, 0), ("1", 1), ("", None)])
def test_a_flag_may_come_as_boolean_or_text(given_value, stored):
    assert parse_with(is_loaner=given_value).master["is_loaner"] == stored


def test_ids_may_come_as_text():
    master = parse_with(traceid="577833", building_id=" 16420 ").master
    assert (master["traceability_id"], master["building_id"]) == (577833, 16420)


def test_absent_performance_fields_are_absent_and_null_ones_clear_text_and_number():
    performance = parse(answer_with("performance", mttr=None, mtbf=ABSENT, asset_created_date="")).performance
    assert performance is not None
    assert performance["mttr"] is performance["mttr_seconds"] is None
    assert performance["asset_created_date"] is performance["asset_created_at"] is None
    assert "mtbf" not in performance
    assert "mtbf_seconds" not in performance


def test_local_times_follow_the_configured_time_zone():
    performance = parse(EXAMPLE, ZoneInfo("Europe/Berlin")).performance
    assert performance is not None
    assert performance["asset_created_at"] == datetime(2024, 7, 9, 14, 59, tzinfo=UTC)


def test_costs_may_have_thousands_separators_and_be_numbers():
    detail = parse_with("workorder_transactional.upto", work_estimate_cost="1,234.50", schedule_cost=0.1)
    row = detail.workorders["upto"]
    assert (row["work_estimate_cost"], row["schedule_cost"]) == (Decimal("1234.50"), Decimal("0.10"))


# values that cannot be read


@pytest.mark.parametrize(
    ("section", "name", "value", "raw_value"),
    [
        ("data", "ticketcount", "many", "many"),
        ("data", "customer_id", {"id": 1.5}, '{"id":1.5}'),
        ("data", "barcode", ["A"], '["A"]'),
        ("data", "building_name", ["A"], '["A"]'),
        ("data", "criticality", True, "true"),
        ("data", "traceability_updated_on", "soon", "soon"),
        ("performance", "mttr", "8.5 hours", "8.5 hours"),
        ("performance", "asset_created_date", "07/31/2024 10:00", "07/31/2024 10:00"),
        ("performance", "availability", "101", "101"),
        ("performance", "total_ticket", 2**31, "2147483648"),
        ("workorder_transactional.upto", "ticket_cost", "1.234", "1.234"),
        ("workorder_transactional.last_year", "ticket_count", "x" * 600, "x" * 500),
    ],
)
def test_a_value_that_cannot_be_read_is_an_issue_and_the_rest_is_read(section, name, value, raw_value):
    detail = parse_with(section, **{name: value})
    (issue,) = detail.issues
    assert issue.field == f"{section}.{name}"
    assert issue.raw_value == raw_value
    assert issue.reason.startswith("the value ")

    whole = parse(EXAMPLE)
    assert set(whole.master) - set(detail.master) <= {name}
    assert detail.performance is not None
    assert whole.performance is not None
    missing = set(whole.performance) - set(detail.performance)
    assert missing == {column for column in missing if section == "performance"}
    assert (name in missing) is (section == "performance")


def test_text_and_number_of_an_unreadable_duration_are_both_left_out():
    performance = parse_with("performance", mttr="soon").performance
    assert performance is not None
    assert "mttr" not in performance
    assert "mttr_seconds" not in performance


# places


def test_a_place_without_an_id_has_no_row_and_its_name_is_an_attribute():
    detail = parse_with(building_id=0, floor_id=None, department_id=ABSENT)
    assert detail.places == {}
    assert detail.api_attributes["building_name"] == "Naraina D.Cantt UGR_Zone"
    assert detail.api_attributes["floor_name"] == "UGR"
    assert detail.api_attributes["department_name"] == "Working"
    assert detail.unknown_fields == ()


def test_a_place_with_an_id_and_without_a_name_keeps_the_stored_name():
    detail = parse_with(building_name=ABSENT, floor_name=None)
    assert "building_name" not in detail.places["ic3_building"]
    assert detail.places["ic3_floor_master"]["floor_name"] is None


def test_the_name_of_one_place_without_id_does_not_touch_the_others():
    detail = parse_with(floor_id=0)
    assert set(detail.places) == {"ic3_building", "ic3_department_master"}
    assert detail.places["ic3_department_master"]["floor_id"] is None
    assert "building_name" not in detail.api_attributes


# sections


@pytest.mark.parametrize("empty", [ABSENT, None, [], {}])
def test_an_empty_section_is_absent(empty):
    detail = parse_with("", performance=empty, workorder_transactional=empty)
    assert detail.performance is None
    assert detail.workorders == {}
    assert detail.issues == ()
    assert detail.unknown_fields == ()


@pytest.mark.parametrize("empty", [ABSENT, None, [], {}])
def test_an_empty_period_is_absent_and_the_other_is_read(empty):
    detail = parse_with("workorder_transactional", last_year=empty)
    assert list(detail.workorders) == ["upto"]
    assert detail.issues == ()


@pytest.mark.parametrize(("value", "raw_value"), [("none", "none"), (5, "5"), ([1], "[1]"), (False, "false")])
def test_a_section_that_is_no_object_is_an_issue(value, raw_value):
    detail = parse_with("", performance=value, workorder_transactional=value)
    assert detail.issues == (
        DataIssue("performance", raw_value, "the section is no object"),
        DataIssue("workorder_transactional", raw_value, "the section is no object"),
    )
    assert detail.master == parse(EXAMPLE).master


def test_a_period_that_is_no_object_is_an_issue():
    detail = parse_with("workorder_transactional", upto="none")
    assert detail.issues == (DataIssue("workorder_transactional.upto", "none", "the section is no object"),)
    assert list(detail.workorders) == ["last_year"]


# what has no column


def paths(detail: CmmsAssetDetail) -> list[str]:
    return [unknown.path for unknown in detail.unknown_fields]


def test_unknown_fields_of_data_are_attributes_and_reported():
    detail = parse_with(geolocation={"lat": 28.61}, contract_no=None)
    assert detail.api_attributes["geolocation"] == {"lat": Decimal("28.61")}
    assert detail.api_attributes["contract_no"] is None
    assert paths(detail) == ["data.contract_no", "data.geolocation"]


@pytest.mark.parametrize(
    "section", ["performance", "workorder_transactional", "workorder_transactional.upto"]
)
def test_unknown_fields_of_another_section_are_nested_under_it(section):
    detail = parse_with(section, oee=[1, 2])
    place: Any = detail.api_attributes
    for name in section.split("."):
        place = place[name]
    assert place == {"oee": [1, 2]}
    assert paths(detail) == [f"{section}.oee"]


def test_unknown_fields_of_several_levels_stand_side_by_side():
    answer = answer_with("workorder_transactional", currency="INR")
    answer["response"]["workorder_transactional"]["last_year"]["note"] = "n"
    assert parse(answer).api_attributes["workorder_transactional"] == {
        "currency": "INR",
        "last_year": {"note": "n"},
    }


@pytest.mark.parametrize("content", [{"vendor": "X", "until": "2027"}, [], "none", None])
def test_an_unknown_section_is_kept_as_it_is(content):
    detail = parse_with("", contract=content)
    assert detail.api_attributes["contract"] == content
    assert paths(detail) == ["contract"]


def test_unknown_fields_of_the_top_level_are_kept_and_told_apart():
    detail = parse_with("top", message="ok")
    assert detail.api_attributes["message"] == "ok"
    assert paths(detail) == ["(top level) message"]


def test_fields_of_the_same_name_in_different_places_do_not_hide_each_other():
    answer = answer_with("data", message="of data", performance={"of": "data"})
    answer["response"] |= {"message": "of the response"}
    answer["response"]["performance"]["oee"] = 1
    answer["message"] = "of the answer"
    detail = parse(answer)
    attributes = detail.api_attributes
    assert attributes["message"] == "of data"
    assert attributes["response.message"] == "of the response"
    assert attributes["(top level) message"] == "of the answer"
    assert attributes["performance"] == {"of": "data"}
    assert attributes["response.performance"] == {"oee": 1}
    assert set(paths(detail)) == {
        *("data.message", "data.performance", "message", "performance.oee", "(top level) message")
    }


def test_of_very_many_unknown_fields_some_are_named_and_the_others_counted():
    answer = answer_with("data", **{f"x{number:05}": number for number in range(30_000)})
    answer["response"]["performance"] |= {f"y{number}": number for number in range(201)}
    answer["response"] |= {f"z{number}": number for number in range(200)}
    detail = parse(answer)
    assert Counter(unknown.section for unknown in detail.unknown_fields) == {
        "data": MOST_UNKNOWN_FIELDS,
        "performance": MOST_UNKNOWN_FIELDS,
        "response": MOST_UNKNOWN_FIELDS,
    }
    assert detail.further_unknown_fields == {"data": 29_800, "performance": 1}
    assert detail.api_attributes["x29999"] == 29_999


@given(
    st.lists(st.builds(UnknownField, st.sampled_from("abcdefghijklmn"), st.text(max_size=3)), max_size=30),
    st.dictionaries(st.sampled_from("abcdefghijklmn"), st.integers(0, 200), max_size=14),
)
def test_never_more_unknown_fields_are_kept_than_fit(
    found: list[UnknownField], kept: dict[str | None, int]
) -> None:
    chosen, left_over = choose_unknown_fields(found, kept)
    counts = Counter(kept) + Counter(item.section for item in chosen)
    assert all(count <= MOST_UNKNOWN_FIELDS for count in counts.values())
    assert sum(counts.values()) <= max(MOST_UNKNOWN_FIELDS_IN_ALL, sum(kept.values()))
    assert len(chosen) + sum(left_over.values()) == len(found)


def test_the_path_of_an_unknown_field_is_bounded():
    detail = parse_with(**{"x" * 5000: 1})
    assert [len(path) for path in paths(detail)] == [500]


# any answer in

AWKWARD_TEXTS = [
    *("", " ", "0", "-0", "NaN", "1e999999999", "1e-99999", "0e-99999", "99,999.995", "1,00,000.00", "100%"),
    *("\0", "\ud800", "0001-01-01", "9999-12-31 23:59:59-23:59", "2026-03-19 04:21:46+00"),
    *("01/01/0001 00:00", "31/12/9999 23:59", "999999999:59:59", "-1:00:00"),
]
AWKWARD_VALUES = [
    *AWKWARD_TEXTS,
    *(None, True, False, 0, -1, 2**31, 2**63, 10**400, 0.1, 1e300, 5e-324, float("nan"), float("-inf")),
    *([], {}, [[]], {"": None}, [float("nan")]),
]

changed_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, 2**31 - 1, 2**31, 2**63 - 1, 2**63, 10**400])
    | st.floats()
    | st.text(max_size=10)
    | st.from_regex(r"\A-?[0-9]{1,4}(:[0-9]{2}){1,2}\Z")
    | st.from_regex(r"\A[0-9]{2}/[0-9]{2}/[0-9]{4} [0-9]{2}:[0-9]{2}\Z")
    | st.sampled_from(AWKWARD_TEXTS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def all_paths(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    inner = value.items() if isinstance(value, dict) else ()
    return [found for name, item in inner for found in ((*path, name), *all_paths(item, (*path, name)))]


MUTABLE_PATHS = [
    path
    for path in [
        *all_paths(EXAMPLE),
        *(("response", "data", name) for name in sorted(LISTED_BUT_NOT_IN_THE_SAMPLE)),
        *(("response", "data", "new"), ("response", "new"), ("new",), ("response", "performance", "new")),
    ]
    if path not in {("response",), ("response", "data"), ("response", "data", "serialnumber")}
    and path[0] not in {"status", "response_code"}
]
mutations = st.lists(st.tuples(st.sampled_from(MUTABLE_PATHS), changed_values | st.just(ABSENT)), max_size=12)


def mutate(changes: list[tuple[tuple[str, ...], Any]]) -> dict[str, Any]:
    answer = deepcopy(EXAMPLE)
    for path, value in changes:
        place = answer
        for name in path[:-1]:
            place = place.get(name) if isinstance(place, dict) else None
        if isinstance(place, dict):
            if value is ABSENT:
                place.pop(path[-1], None)
            else:
                place[path[-1]] = deepcopy(value)
    return answer


def assert_fits(value: Any, column: Any) -> None:
    """Whether PostgreSQL takes a value for a column, by the column's declared type."""
    if value is None:
        return
    if isinstance(column.type, (BigInteger, Integer)):
        bits = 63 if isinstance(column.type, BigInteger) else 31
        assert type(value) is int
        assert -(2**bits) <= value < 2**bits
    elif isinstance(column.type, Text):
        assert isinstance(value, str)
        assert "\0" not in value
        assert value.encode("utf-8")
    elif isinstance(column.type, DateTime):
        assert isinstance(value, datetime)
        assert value.tzinfo is UTC
    else:
        assert isinstance(column.type, Numeric)
        assert isinstance(value, Decimal)
        assert value.is_finite()
        assert abs(value) < 10**12
        assert -int(value.as_tuple().exponent) <= (column.type.scale or 16383)


def rows_of(detail: CmmsAssetDetail) -> list[tuple[Any, Mapping[str, Any]]]:
    return [
        (tables.asset_master, detail.master),
        (tables.asset_performance, detail.performance or {}),
        *((tables.workorder_summary, row) for row in detail.workorders.values()),
        *((tables.metadata.tables[name], row) for name, row in detail.places.items()),
    ]


def leaf_paths() -> list[tuple[str, ...]]:
    return [path for path in MUTABLE_PATHS if not any(other[:-1] == path for other in MUTABLE_PATHS)]


@pytest.mark.parametrize("value", AWKWARD_VALUES, ids=repr)
def test_an_awkward_value_in_every_field_is_read_into_values_that_fit_or_is_an_issue(value):
    assert_reads([(path, value) for path in leaf_paths()])


@settings(max_examples=300)
@given(mutations)
def test_any_changed_answer_is_read_into_values_that_fit_their_columns(changes):
    assert_reads(changes)


def assert_reads(changes: list[tuple[tuple[str, ...], Any]]) -> None:
    checked = check_answer(json.dumps(mutate(changes)), PUMP)
    detail = parse_detail(load_json(checked.body_json), KOLKATA)
    for table, row in rows_of(detail):
        for name, value in row.items():
            assert_fits(value, table.c[name])
    assert set(detail.workorders) <= set(PERIODS)
    for name, row in detail.places.items():
        assert row[tables.metadata.tables[name].primary_key.columns.keys()[0]] is not None
    for issue in (*checked.issues, *detail.issues):
        (issue.field + issue.raw_value + issue.reason).encode("utf-8")
        assert "\0" not in issue.field + issue.raw_value + issue.reason


@given(mutations)
def test_reading_an_answer_changes_nothing_in_it_and_gives_the_same_each_time(changes):
    answer = load_json(check_answer(json.dumps(mutate(changes)), PUMP).body_json)
    before = deepcopy(answer)
    first = parse_detail(answer, KOLKATA)
    assert answer == before
    assert parse_detail(answer, KOLKATA) == first


@given(mutations)
def test_values_that_were_read_are_read_again_as_themselves(changes):
    detail = parse(mutate(changes))
    data = {**detail.master, "traceid": detail.master.get("traceability_id"), "serialnumber": PUMP}
    data |= {name: value.isoformat() for name, value in data.items() if isinstance(value, datetime)}
    again = parse({"response": {"data": data, "workorder_transactional": as_text(detail.workorders)}})
    assert {name: again.master[name] for name in detail.master} == detail.master
    assert again.workorders == {period: row for period, row in detail.workorders.items() if row}
    assert again.issues == ()


def as_text(workorders: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        period: {name: value if value is None else str(value) for name, value in row.items()}
        for period, row in workorders.items()
    }
