import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline.simulator.innomaint import world as world_module
from innomaint_pipeline.simulator.innomaint.payload import VENDOR_TIMEZONE
from innomaint_pipeline.simulator.innomaint.world import ABSENT, World

NOW = datetime(2026, 6, 20, 11, 29, 53, tzinfo=UTC)
EXAMPLE = Path(world_module.__file__).with_name("asset_detail.example.json")


@pytest.fixture(scope="module")
def world() -> World:
    return World(now=lambda: NOW)


@pytest.fixture(scope="module")
def answers(world: World) -> list[dict[str, Any]]:
    return [answer for serial in world.serials if (answer := world.answer(serial))]


def in_seconds(duration: str) -> int:
    if duration == "0":
        return 0
    assert re.fullmatch(r"\d{2,}:[0-5]\d:[0-5]\d", duration)
    hours, minutes, seconds = map(int, duration.split(":"))
    return hours * 3600 + minutes * 60 + seconds


def changed_paths(old: Any, new: Any, path: str = "") -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in old.keys() | new.keys():
            yield from changed_paths(old.get(name, ABSENT), new.get(name, ABSENT), f"{path}/{name}")
    elif old != new:
        yield path


def test_the_first_cmms_asset_answers_the_vendors_example_at_any_time(world: World) -> None:
    later = World(size=1, seed=9, now=lambda: NOW + timedelta(days=900))
    assert world.serials[0] == later.serials[0] == "Delhi Cantt Naraina_BP_01"
    assert world.answer(world.serials[0]) == later.answer(later.serials[0]) == json.loads(EXAMPLE.read_text())


def test_the_same_seed_gives_the_same_world_and_another_seed_another(
    world: World, answers: list[dict[str, Any]]
) -> None:
    same = World(now=lambda: NOW)
    assert [same.answer(serial) for serial in same.serials] == answers
    other = World(seed=2, now=lambda: NOW)
    assert other.answer(other.serials[40]) != world.answer(world.serials[40])


def test_a_larger_world_continues_a_smaller_one(world: World) -> None:
    assert World(size=5000, now=lambda: NOW).serials[:2957] == world.serials


def test_serial_numbers_are_unique_nfc_and_free_of_outer_blanks_in_a_large_world() -> None:
    serials = World(size=100_000, now=lambda: NOW).serials
    assert len(set(serials)) == 100_000
    assert all(serial == unicodedata.normalize("NFC", serial.strip()) for serial in serials)


@pytest.mark.parametrize(
    "pattern", [r"/", r",", r"&", r"^0\d+$", r"^[1-9]\d+$", r"[^\x00-\x7f]", r"Zone 1_BP_\d{3}$"]
)
def test_a_few_serial_numbers_hold_what_stumbles_programs(pattern: str) -> None:
    assert any(re.search(pattern, serial) for serial in World(size=60, now=lambda: NOW).serials)


def test_each_answer_names_the_serial_number_asked_for(world: World, answers: list[dict[str, Any]]) -> None:
    assert [answer["response"]["data"]["serialnumber"] for answer in answers] == list(world.serials)


def test_an_unknown_serial_number_has_no_answer(world: World) -> None:
    assert world.answer("no such thing") is None
    assert world.answer(world.serials[5].lower()) is None


def test_every_field_of_the_example_is_answered_somewhere_and_nearly_everywhere(
    answers: list[dict[str, Any]],
) -> None:
    example = json.loads(EXAMPLE.read_text())["response"]
    for section in ("data", "performance", "workorder_transactional"):
        for name in example[section]:
            held = sum(name in answer["response"][section] for answer in answers)
            assert held > len(answers) * 0.97


def test_ids_that_belong_together_always_come_together(answers: list[dict[str, Any]]) -> None:
    partners: dict[tuple[str, int], set[tuple[str, ...]]] = defaultdict(set)
    for answer in answers:
        data = answer["response"]["data"]
        for owner, fields in {
            "building_id": ("building_name", "customer_id", "asset_building_id"),
            "floor_id": ("floor_name", "location_id", "asset_floor_id"),
            "department_id": ("department_name", "floor_id", "location_id", "asset_department_id"),
            "location_id": ("location_name", "customer_id"),
            "customer_id": ("customer_name",),
        }.items():
            if int(data[owner]):
                partners[owner, int(data[owner])].add(tuple(str(data[field]) for field in fields))
    assert len(partners) > 1000
    assert all(len(values) == 1 for values in partners.values())


def test_trace_ids_and_barcodes_are_unique(answers: list[dict[str, Any]]) -> None:
    assert len({int(answer["response"]["data"]["traceid"]) for answer in answers}) == len(answers)


def test_performance_obeys_the_vendors_arithmetic(answers: list[dict[str, Any]]) -> None:
    with_tickets = 0
    for answer in answers[1:]:
        performance = answer["response"]["performance"]
        tickets = performance["total_ticket"]
        breakdown = in_seconds(performance["total_ticket_breakdown_hrs"])
        actual = in_seconds(performance["total_actual_hrs"])
        created = datetime.strptime(performance["asset_created_date"], "%d/%m/%Y %H:%M").replace(
            tzinfo=VENDOR_TIMEZONE
        )
        assert in_seconds(performance["mttr"]) * tickets == breakdown
        assert created + timedelta(seconds=actual) == NOW
        assert abs(float(performance["availability"]) - 100 * (actual - breakdown) / actual) <= 0.5
        assert 0 <= breakdown < actual
        if tickets:
            with_tickets += 1
            assert in_seconds(performance["mtbf"]) == (actual - breakdown) // tickets
        else:
            assert (
                performance["mtbf"] == performance["mttr"] == performance["total_ticket_breakdown_hrs"] == "0"
            )
    assert with_tickets > 1000


def test_the_clock_alone_changes_three_fields_and_nothing_else(answers: list[dict[str, Any]]) -> None:
    later = World(now=lambda: NOW + timedelta(days=400))
    seen: set[str] = set()
    for serial, old in zip(later.serials, answers, strict=True):
        seen.update(changed_paths(old, later.answer(serial)))
    assert seen == {f"/response/performance/{name}" for name in ("total_actual_hrs", "mtbf", "availability")}


@pytest.mark.parametrize(
    ("name", "oddity"),
    [
        ("an id as text", lambda r: isinstance(r["data"]["traceid"], str)),
        ("an id of 0", lambda r: r["data"]["department_id"] == 0),
        ("no installation date", lambda r: r["data"]["installation_date"] is None),
        (
            "an installation date",
            lambda r: re.fullmatch(r"\d{4}-\d\d-\d\d", r["data"]["installation_date"] or ""),
        ),
        ("a blank criticality", lambda r: r["data"]["criticality"] == ""),
        ("a null criticality", lambda r: r["data"]["criticality"] is None),
        ("a blank capacity", lambda r: r["data"]["capacity_rating"] == ""),
        ("a blank person", lambda r: r["data"]["in_charge_person"] == " "),
        ("an absent field", lambda r: "barcode" not in r["data"]),
        (
            "a field that the sample lacks",
            lambda r: "is_loaner" in r["data"] and "mapping_status" in r["data"],
        ),
        ("an unknown section", lambda r: "geolocation" in r),
        ("an unknown object in data", lambda r: "contract" in r["data"]),
        ("a separator", lambda r: "," in r["workorder_transactional"]["upto"]["work_estimate_cost"]),
        ("no separator", lambda r: re.match(r"\d{4}", r["workorder_transactional"]["upto"]["schedule_cost"])),
        ("an availability below 100", lambda r: int(r["performance"]["availability"]) < 95),
        ("two ticket counts", lambda r: int(r["data"]["ticketcount"]) != r["performance"]["total_ticket"]),
    ],
)
def test_the_vendors_oddities_occur_and_are_rare_enough_to_surprise(
    name: str, oddity: Any, answers: list[dict[str, Any]]
) -> None:
    found = sum(bool(oddity(answer["response"])) for answer in answers)
    assert 5 <= found < 0.8 * len(answers), f"{name}: {found}"


def test_counts_and_costs_are_text_and_costs_have_two_decimals(answers: list[dict[str, Any]]) -> None:
    for answer in answers:
        for period in answer["response"]["workorder_transactional"].values():
            assert all(
                re.fullmatch(r"\d+", value) for name, value in period.items() if name.endswith("_count")
            )
            assert all(
                re.fullmatch(r"\d{1,3}(,\d{3})*\.\d\d|\d+\.\d\d", value)
                for name, value in period.items()
                if name.endswith("_cost")
            )


def test_a_change_is_answered_from_then_on_and_leaves_the_rest_alone() -> None:
    world = World(size=10, now=lambda: NOW)
    serial = world.serials[3]
    before = world.answer(serial)
    world.change(serial, {"data": {"criticality": "Extreme"}})
    world.change(
        serial, {"data": {"barcode": ABSENT, "added": {"deep": [1]}}, "performance": {"total_ticket": 99}}
    )
    after = world.answer(serial)
    assert set(changed_paths(before, after)) == {
        "/response/data/criticality",
        "/response/data/barcode",
        "/response/data/added",
        "/response/performance/total_ticket",
    }
    assert after is not None
    assert "barcode" not in after["response"]["data"]
    after["response"]["data"]["added"]["deep"].append(2)
    assert world.answer(serial)["response"]["data"]["added"] == {"deep": [1]}  # type: ignore[index]
    world.restore()
    assert world.answer(serial) == before


def test_the_first_cmms_asset_can_be_changed_too() -> None:
    world = World(size=2, now=lambda: NOW)
    world.change(world.serials[0], {"data": {"criticality": "Low"}})
    answer = world.answer(world.serials[0])
    assert answer is not None
    assert answer["response"]["data"]["criticality"] == "Low"


def test_a_removed_cmms_asset_is_unknown_until_restored() -> None:
    world = World(size=3, now=lambda: NOW)
    world.remove(world.serials[1])
    assert world.answer(world.serials[1]) is None
    assert world.serials[1] not in world
    world.restore()
    assert world.answer(world.serials[1]) is not None


def test_changing_what_never_existed_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="'nowhere'"):
        World(size=3, now=lambda: NOW).change("nowhere", {"data": {}})


@pytest.mark.parametrize(("size", "now"), [(0, NOW), (-1, NOW), (5, datetime(2020, 1, 1, tzinfo=UTC))])
def test_a_world_that_cannot_be_is_refused(size: int, now: datetime) -> None:
    with pytest.raises(ConfigurationError):
        World(size=size, now=lambda: now)
