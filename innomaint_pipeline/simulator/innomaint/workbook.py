"""The asset master of the invented utility as people keep it: titles above the headers, mixed values.

Belongs here: how people write facts down. The facts are those of `estate`, so that names agree with the
API's.
"""

import random
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from os import PathLike
from pathlib import Path
from shutil import copyfileobj
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from openpyxl import Workbook
from openpyxl.writer.excel import ExcelWriter

from innomaint_pipeline.simulator.dice import build_dice
from innomaint_pipeline.simulator.innomaint.estate import Equipment
from innomaint_pipeline.simulator.innomaint.world import World

SHEET = "Asset Master"
HEADERS = (
    "Sr. No.", "Asset ID", "Asset Name", "Equipment Category", "Make", "Model No", "Criticality",
    "Capacity / Rating", "Customer Name", "Location Name", "Building", "Floor", "Department",
    "Person In-Charge", "Date of Installation", "Year of Mfg", "Warranty Upto", "Remarks", "GPS",
)  # fmt: skip
"""The last three have no column in the tables."""

HEADER_ROW = 3
_TITLES = (
    "Water Works: Asset Master",
    "Prepared for the annual review; one line for each installed equipment",
)
_SAVED_AT = datetime(2026, 1, 5, 10, 30)  # noqa: DTZ001 - a workbook's own times know no zone
_ARCHIVED_AT = (2026, 1, 5, 10, 30, 0)
_REMARKS = (
    "",
    "",
    "",
    "OK",
    "To be painted",
    "Spare available, see store",
    2,
    "Seal replaced\nin last overhaul",
    "-",
)
_CATEGORIES = {"BP": "Pump", "VP": "Pump", "SV": "Valve", "BV": "Valve"}

Cell = str | int | float | date | None


def write_sample_workbook(world: World, path: str | PathLike[str]) -> None:
    """Write every CMMS asset of the world, in report order, below two title rows and the row of `HEADERS`.

    The same world gives the same bytes. The API disagrees with about one criticality in ten. An existing file
    is replaced.
    """
    workbook = Workbook(write_only=True)
    workbook.properties.creator = "Water Works"
    workbook.properties.created = workbook.properties.modified = _SAVED_AT
    sheet = workbook.create_sheet(SHEET)
    for title in _TITLES:
        sheet.append([title])
    sheet.append(HEADERS)
    for row in build_rows(world):
        sheet.append(row)
    # Not Workbook.save: it stamps the current time into the file.
    with _TimelessZip(Path(path), "w", ZIP_DEFLATED, allowZip64=True) as archive:
        ExcelWriter(workbook, archive).write_data()


def build_rows(world: World) -> Iterator[list[Cell]]:
    """Yield the values of each data row, in the order of `HEADERS`."""
    for serial in world.serials:
        equipment = world.find_equipment(serial)
        yield _build_row(equipment, build_dice(world.seed, "sheet", equipment.position))


def _build_row(equipment: Equipment, dice: random.Random) -> list[Cell]:
    draw = dice.random
    place = equipment.place
    criticality = equipment.criticality
    if draw() < 0.1:
        criticality = {"High": "Medium", "Medium": "Low", "Low": "High"}[criticality]
    return [
        equipment.position + 1,
        _write_serial(equipment.serial),
        f"{equipment.kind} {place.department_name}",
        _CATEGORIES.get(
            equipment.code, "Electrical" if equipment.code in {"LT", "HT", "TR", "DG"} else "Instrument"
        ),
        equipment.make,
        equipment.model,
        criticality if draw() < 0.97 else None,
        _write_capacity(equipment.capacity_rating, dice),
        place.customer_name,
        place.location_name,
        place.building_name,
        place.floor_name,
        place.department_name,
        equipment.in_charge_person if draw() < 0.9 else None,
        _write_date(equipment.installed_on, dice),
        _write_year(equipment.year_of_manufacturing, dice),
        _write_date(equipment.installed_on + timedelta(days=1825), dice) if draw() < 0.7 else "Expired",
        dice.choice(_REMARKS) or None,
        f"{28.4 + draw():.5f}, {76.9 + draw():.5f}" if draw() < 0.6 else None,
    ]


def _write_serial(serial: str) -> Cell:
    """Write digits as a number, as a spreadsheet does by itself, unless leading zeros would be lost."""
    return int(serial) if serial.isdecimal() and not serial.startswith("0") else serial


def _write_capacity(capacity_rating: str, dice: random.Random) -> Cell:
    share = dice.random()
    if share < 0.06:
        return None
    digits = capacity_rating.removesuffix("KW")
    return int(digits) if share < 0.12 and digits.isdecimal() else capacity_rating


def _write_date(day: date, dice: random.Random) -> Cell:
    share = dice.random()
    if share < 0.12:
        return None
    if share < 0.75:
        return day
    # Day first, as people there write; from the 13th on nobody can read it month first.
    late = day.replace(day=max(day.day, 13))
    return late.strftime(dice.choice(("%d/%m/%Y", "%d-%m-%Y", "%Y-%m-%d")))


def _write_year(year: int, dice: random.Random) -> Cell:
    return dice.choice((year, year, year, str(year), float(year), None))


class _TimelessZip(ZipFile):
    """A zip archive whose members all carry the same time."""

    def writestr(self, zinfo_or_arcname: str | ZipInfo, data: Any, *_: object, **__: object) -> None:
        name = zinfo_or_arcname.filename if isinstance(zinfo_or_arcname, ZipInfo) else zinfo_or_arcname
        super().writestr(_build_member(name), data)

    def write(
        self,
        filename: str | PathLike[str],
        arcname: str | PathLike[str] | None = None,
        *_: object,
        **__: object,
    ) -> None:
        with (
            Path(filename).open("rb") as source,
            self.open(_build_member(str(arcname or filename)), "w") as target,
        ):
            copyfileobj(source, target)


def _build_member(name: str) -> ZipInfo:
    member = ZipInfo(name, _ARCHIVED_AT)
    member.compress_type = ZIP_DEFLATED
    return member
