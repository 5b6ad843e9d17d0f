"""The invented water utility: which CMMS assets exist, where they stand and what they are.

Belongs here: facts that follow from a seed and a position in the report, and the ids that tie them together.
How Innomaint words them is `payload`, how people write them down is `workbook`.
"""

import json
import random
import unicodedata
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib import resources

from innomaint_pipeline.simulator.dice import build_dice

CMMS_ASSETS_PER_LOCATION = 37
LOCATIONS_PER_CUSTOMER = 8
OLDEST_REGISTRATION = datetime(2022, 1, 1, tzinfo=UTC)
NEWEST_REGISTRATION = datetime(2025, 7, 1, tzinfo=UTC)
# Break-downs are sized so that they fit into the time before this moment: earlier, the arithmetic would turn
# negative.
EARLIEST_NOW = datetime(2026, 1, 1, tzinfo=UTC)

_TOWNS = (
    "Khyala", "Sundarpur", "Madhuban", "Neelgarh", "Tilak Vihar", "Rampura", "Chandanwadi", "Jhilmil Bagh",
    "Surajkund", "Amrit Nagar", "Pipalgaon", "Devkhera", "Moti Talab", "Hariyal", "Banjara Tekri",
    "Kesarpura", "Lalbagh", "Nandivan", "Shantipur", "Gulmohar",
)  # fmt: skip
_BUILDINGS = ("Pump House", "UGR")
_FLOORS = ("Ground", "Pump Hall", "Control Room")
_DEPARTMENTS = ("Working", "Standby")
_MAKES = ("Nirjhar", "Varuna Pumps", "Tarang", "Jaldhara", "Sarita Electric", "Meghna Controls")
_IN_CHARGE = ("JWIL", "Aquaserv O&M", "Shift Desk A", "Shift Desk B", "Tarang Services")
# Code in the serial number, name, capacities as the vendor writes them.
_KINDS = (
    ("BP", "Booster Pump", ("90KW", "75KW", "37KW", "110KW")),
    ("VP", "Vertical Turbine Pump", ("250KW", "400KW", "160KW")),
    ("LT", "LT-Panel", ("415V", "630A", "90KW")),
    ("HT", "HT-Panel", ("11KV", "3.3KV")),
    ("SV", "Sluice Valve", ("DN300", "DN450", "DN600")),
    ("BV", "Butterfly Valve", ("DN400", "DN800")),
    ("DG", "Diesel Generator", ("500KVA", "250KVA")),
    ("TR", "Transformer", ("1000KVA", "630KVA")),
    ("FM", "Flow Meter", ("DN200", "DN350")),
    ("CL", "Chlorinator", ("5 kg/h", "10 kg/h")),
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a CMMS asset stands; ids that belong together always come together."""

    customer_id: int
    customer_name: str
    location_id: int
    location_name: str
    building_id: int
    building_name: str
    floor_id: int
    floor_name: str
    department_id: int
    department_name: str
    asset_building_id: int
    asset_floor_id: int
    asset_department_id: int


@dataclass(frozen=True, slots=True)
class Equipment:
    """One CMMS asset as it really is; what the API and the workbook say about it may differ from it.

    `code` is the kind's abbreviation in serial numbers. `registered_at` has whole minutes, in UTC.
    `ticket_count` times `repair_seconds` is its whole break-down time.
    """

    position: int
    serial: str
    code: str
    kind: str
    make: str
    model: str
    criticality: str
    capacity_rating: str
    in_charge_person: str
    place: Place
    year_of_manufacturing: int
    installed_on: date
    registered_at: datetime
    ticket_count: int
    repair_seconds: int


@cache
def load_example() -> str:
    """Return the text of the one known answer of the vendor, that of the first CMMS asset."""
    return (
        resources.files("innomaint_pipeline.simulator.innomaint")
        .joinpath("asset_detail.example.json")
        .read_text(encoding="utf-8")
    )


@cache
def _example_data() -> dict[str, object]:
    return json.loads(load_example())["response"]["data"]


def build_serial(position: int, seed: int) -> str:
    """Return the serial number at a position of the report.

    It is unique in a world, Unicode-NFC, and without outer blanks. Every 500 positions, from position 7, a
    few hold what a careless program stumbles over: `/`, `,`, `&`, digits only (with and without leading
    zeros), letters beyond ASCII.
    """
    if position == 0:
        return str(_example_data()["serialnumber"])
    location, number = divmod(position - 1, CMMS_ASSETS_PER_LOCATION)
    zone = _zone(location, seed)
    code = _KINDS[_kind_index(position, seed)][0]
    tail = f"{code}_{number + 1:03d}"
    odd = {
        7: f"{zone}_{tail}/A",
        11: f"{zone}, Annexe_{tail}",
        13: f"{zone} Pump & Motor_{tail}",
        17: f"00{position + 106}",
        19: f"{zone} Jalāśay_{tail}",
        23: f"{70_000 + position}",
        29: f"{zone} जल_{tail}",
    }
    return unicodedata.normalize("NFC", odd.get(position % 500, f"{zone}_{tail}"))


def build_equipment(position: int, seed: int) -> Equipment:
    """Return the CMMS asset at a position of the report; cheap enough to be made anew for every request."""
    dice = build_dice(seed, position)
    draw = dice.random
    code, kind, capacities = _KINDS[_kind_index(position, seed)]
    span_minutes = (NEWEST_REGISTRATION - OLDEST_REGISTRATION) // timedelta(minutes=1)
    registered_at = OLDEST_REGISTRATION + timedelta(minutes=int(draw() * span_minutes))
    ticket_count, repair_seconds = _breakdowns(dice, registered_at)
    year = 2004 + int(draw() * 17)
    equipment = Equipment(
        position=position,
        serial=build_serial(position, seed),
        code=code,
        kind=kind,
        make=_pick(_MAKES, draw()),
        model=f"{_pick(('NX', 'VT', 'TR', 'S'), draw())}-{100 + int(draw() * 900)}",
        criticality=_pick(("High", "Medium", "Low"), draw()),
        capacity_rating=_pick(capacities, draw()),
        in_charge_person=_pick(_IN_CHARGE, draw()),
        place=_example_place() if position == 0 else _place(position, seed),
        year_of_manufacturing=year,
        installed_on=date(year + 1, 1 + int(draw() * 12), 1 + int(draw() * 28)),
        registered_at=registered_at,
        ticket_count=ticket_count,
        repair_seconds=repair_seconds,
    )
    return equipment if position else _as_in_the_example(equipment)


def _breakdowns(dice: random.Random, registered_at: datetime) -> tuple[int, int]:
    share = dice.random()
    if share < 0.35:
        return 0, 0
    ticket_count = 1 + int(dice.random() * 9)
    if share < 0.85:
        return ticket_count, 300 + int(dice.random() * 28_000)
    # Long enough for the rounded availability to rise while time passes.
    age_seconds = (EARLIEST_NOW - registered_at).total_seconds()
    return ticket_count, int(age_seconds * (0.04 + 0.16 * dice.random()) / ticket_count)


def _place(position: int, seed: int) -> Place:
    location, number = divmod(position - 1, CMMS_ASSETS_PER_LOCATION)
    customer = location // LOCATIONS_PER_CUSTOMER
    building = location * 2 + number % 2
    floor = building * 3 + number // 2 % 3
    department = floor * 2 + number // 6 % 2
    zone = _zone(location, seed)
    # Each row of ids starts above the id that the example answer uses for the same thing.
    return Place(
        customer_id=25_000 + customer,
        customer_name=f"{_town(customer, seed)} Jal Board {customer + 1}",
        location_id=35_000 + location,
        location_name=zone,
        building_id=17_000 + building,
        building_name=f"{zone} {_BUILDINGS[number % 2]}",
        floor_id=13_000 + floor,
        floor_name=_FLOORS[number // 2 % 3],
        department_id=13_000 + department,
        department_name=_DEPARTMENTS[number // 6 % 2],
        asset_building_id=22_000 + building,
        asset_floor_id=21_000 + floor,
        asset_department_id=28_000 + department,
    )


def _example_place() -> Place:
    data = _example_data()
    return Place(**{name: data[name] for name in Place.__dataclass_fields__})  # pyright: ignore[reportArgumentType]


def _as_in_the_example(equipment: Equipment) -> Equipment:
    data = _example_data()
    return replace(
        equipment,
        code="LT",
        kind="LT-Panel",
        criticality=str(data["criticality"]),
        capacity_rating=str(data["capacity_rating"]),
        in_charge_person=str(data["in_charge_person"]),
    )


def _town(number: int, seed: int) -> str:
    return _TOWNS[(number + seed - 1) % len(_TOWNS)]


def _zone(location: int, seed: int) -> str:
    return f"{_town(location, seed)} Zone {location // len(_TOWNS) + 1}"


def _kind_index(position: int, seed: int) -> int:
    return (position * 7 + position // 10 + seed) % len(_KINDS)


def _pick(choices: tuple[str, ...], share: float) -> str:
    return choices[int(share * len(choices))]
