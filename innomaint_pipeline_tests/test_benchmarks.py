"""Each benchmark runs, at a size that shows nothing but that it works; no time is asserted."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.__main__ import NAMES, load
from benchmarks.picture import save_picture
from benchmarks.place import Place, Scale, open_place
from benchmarks.rate import rate_shares
from benchmarks.report import Row, exponent, save_rows, spread
from benchmarks.soak import _Soak, find_outcome, find_wrong_counts, growth_of
from benchmarks.unchanged import find_excess

BENCHMARKS = Path(load("rate").__code__.co_filename).parent
# Their smallest run starts Dagster, which the system tests do.
WITH_DAGSTER = {"accounts", "continuous", "launches", "memory", "rest", "workers"}
COUNTS = "counts that do not add up after a soak"
PARTS = {"__init__", "__main__", "answers", "picture", "place", "report", "servers"}


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with open_place() as made:
        yield made


@pytest.mark.benchmark
@pytest.mark.parametrize("name", sorted(set(NAMES) - WITH_DAGSTER))
def test_a_benchmark_runs_and_returns_rows_that_a_person_can_read(place: Place, name: str) -> None:
    rows = load(name)(place, Scale.TINY)
    assert rows
    for row in rows:
        assert all([row.measure, row.target, row.figure, row.ratio, row.scale]), row
        assert "nan" not in row.figure
        json.dumps(row.details)
        assert row.measure != COUNTS or row.is_met, row.figure


def test_every_module_is_a_benchmark_or_a_part_of_them() -> None:
    assert {path.stem for path in BENCHMARKS.glob("*.py")} == {*NAMES, *PARTS}


def test_an_unchanged_sync_that_writes_too_much_is_found() -> None:
    before = {"ic3_asset_master": (0, 10), "ic3_building": (0, 3)}
    assert find_excess(before, {"ic3_asset_master": (10, 10), "ic3_building": (0, 3)}, 10) == {}
    found = find_excess(before, {"ic3_asset_master": (11, 10), "ic3_building": (1, 3)}, 10)
    assert found == {"ic3_asset_master": 1, "ic3_building": 1}


def test_what_grows_is_told_from_what_levels_off() -> None:
    assert growth_of([1, 5, 10, 10, 10, 10, 10, 10]) == 1
    assert growth_of([float(number) for number in range(1, 41)]) > 1.5


@pytest.mark.benchmark
def test_a_soak_whose_counts_disagree_says_which(place: Place) -> None:
    with place.database() as (_, database):
        assert find_wrong_counts(database, [], _Soak(), 0) == []
        request = {"serial": "A", "status": 200, "fault": None}
        wrong = find_wrong_counts(database, [request], _Soak(runs=1, succeeded=3), 2)
    assert [words.split(": ")[1] for words in wrong] == ["0 and 1", "3 and 4", "0 and 5", "0 and 1"]


@pytest.mark.parametrize(
    ("fault", "status", "outcome"),
    [
        (None, 200, "synced"),
        (None, 404, "not_found"),
        ("status", 404, "not_found"),
        ("status", 422, "data"),
        ("status", 503, "transient"),
        ("reset_before_answer", None, "transient"),
        ("truncated", 200, "transient"),
        ("other_serial", 200, "contract"),
    ],
)
def test_the_simulators_last_answer_says_how_an_asset_must_stand(
    fault: str | None, status: int | None, outcome: str
) -> None:
    assert find_outcome({"fault": fault, "status": status}) == outcome


def test_the_share_of_the_rate_is_that_of_starts_between_the_first_and_the_last() -> None:
    allowed = [{"monotonic_seconds": number / 5, "serial": str(number)} for number in range(11)]
    assert rate_shares(allowed, 5) == {"steady": pytest.approx(1), "whole": pytest.approx(1)}
    assert rate_shares(allowed, 10) == {"steady": pytest.approx(0.5), "whole": pytest.approx(0.5)}
    late_repetition = {"monotonic_seconds": 4.4, "serial": "0"}
    assert rate_shares([*allowed, late_repetition], 5) == {
        "steady": pytest.approx(1),
        "whole": pytest.approx(0.5),
    }


def test_growth_is_the_exponent_of_the_size() -> None:
    assert exponent([10, 100, 1000], [1, 10, 100]) == pytest.approx(1)
    assert exponent([10, 100, 1000], [2, 2, 2]) == pytest.approx(0)
    assert spread([3, 1, 2], "x") == "2.00x [1.00 to 3.00]"


def test_results_are_written_as_json_and_as_a_picture(tmp_path: Path) -> None:
    rows = [Row("a < b", "<= 1", "2", "-", "tiny", is_met=False, details={"values": [1.5]})]
    written = json.loads(save_rows(rows, Scale.TINY, tmp_path).read_text("utf-8"))
    assert written["rows"][0]["figure"] == "2"
    picture = save_picture(rows, Scale.TINY, tmp_path).read_text("utf-8")
    assert "a &lt; b" in picture
    assert "not met" in picture
    assert picture.startswith("<svg")
