from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from innomaint_pipeline.simulator.innomaint.workbook import HEADER_ROW, HEADERS, SHEET, write_sample_workbook
from innomaint_pipeline.simulator.innomaint.world import World

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def world() -> World:
    return World(size=600, now=lambda: datetime(2026, 6, 20, tzinfo=UTC))


@pytest.fixture(scope="module")
def path(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    written = tmp_path_factory.mktemp("workbook") / "master.xlsx"
    write_sample_workbook(world, written)
    return written


@pytest.fixture(scope="module")
def rows(path: Path) -> Rows:
    workbook = openpyxl.load_workbook(path)
    assert workbook.sheetnames == [SHEET]
    values = list(workbook[SHEET].iter_rows(values_only=True))
    assert values[HEADER_ROW - 1] == HEADERS
    assert all(row[0] and not any(row[1:]) for row in values[: HEADER_ROW - 1])
    return [dict(zip(HEADERS, row, strict=True)) for row in values[HEADER_ROW:]]


def test_every_cmms_asset_has_its_row_in_report_order(rows: Rows, world: World) -> None:
    assert [str(row["Asset ID"]) for row in rows] == list(world.serials)
    assert [row["Sr. No."] for row in rows] == list(range(1, 601))


def test_digits_stay_text_only_where_zeros_lead(rows: Rows) -> None:
    digits = [row["Asset ID"] for row in rows if str(row["Asset ID"]).isdecimal()]
    assert {type(value) for value in digits} == {int, str}
    assert all(value.startswith("0") for value in digits if isinstance(value, str))


def test_places_agree_with_the_api(rows: Rows, world: World) -> None:
    for row, serial in zip(rows, world.serials, strict=True):
        answer = world.answer(serial)
        assert answer is not None
        data = answer["response"]["data"]
        assert row["Customer Name"] == data["customer_name"]
        assert row["Location Name"] == data["location_name"]
        assert row["Building"] == data["building_name"]
        assert row["Floor"] == data["floor_name"]
        assert data["department_name"] in (row["Department"], "")


def test_the_api_sometimes_disagrees_about_criticality(rows: Rows, world: World) -> None:
    differing = 0
    for row, serial in zip(rows, world.serials, strict=True):
        answer = world.answer(serial)
        assert answer is not None
        told = answer["response"]["data"]["criticality"]
        differing += bool(told and row["Criticality"] and told != row["Criticality"])
    assert 0.04 * len(rows) < differing < 0.2 * len(rows)


@pytest.mark.parametrize(
    ("header", "types"),
    [
        ("Date of Installation", {datetime, str, type(None)}),
        ("Year of Mfg", {int, str, type(None)}),
        ("Capacity / Rating", {int, str, type(None)}),
        ("Warranty Upto", {datetime, str, type(None)}),
        ("Remarks", {int, str, type(None)}),
        ("GPS", {str, type(None)}),
    ],
)
def test_values_are_of_mixed_types(header: str, types: set[type], rows: Rows) -> None:
    assert {type(row[header]) for row in rows} == types


def test_the_same_world_gives_the_same_bytes_and_another_gives_others(
    world: World, path: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again.xlsx"
    again.write_bytes(b"an older file")
    write_sample_workbook(World(size=600, now=world.now), again)
    assert again.read_bytes() == path.read_bytes()
    write_sample_workbook(World(size=600, seed=2, now=world.now), again)
    assert again.read_bytes() != path.read_bytes()
