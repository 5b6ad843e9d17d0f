"""`innomaint demo`: the whole program in one command, and numbers that add up."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import pytest

from innomaint_pipeline.simulator.innomaint.demo import demo_faults
from innomaint_pipeline.simulator.innomaint.world import World
from innomaint_pipeline_tests.system.conftest import Ended, new_home, start

pytestmark = pytest.mark.system

SIZE = 2957


@dataclass(frozen=True)
class Demonstration:
    """The demonstration, and what a person does next."""

    shown: Ended
    healed: Ended
    status: Ended


def demonstrate() -> Demonstration:
    """Show the demonstration in a home of its own, without any variable."""
    with new_home("dem") as home:
        shown = start(home, {}, "demo", "--json").end()
        healed = start(home, {}, "--demo", "sync", "--retry-failed", "--json").end()
        status = start(home, {}, "--demo", "status", "--json").end()
        return Demonstration(shown, healed, status)


SCENARIOS: dict[str, Callable[[], Any]] = {"demonstration": demonstrate}


@pytest.fixture
def demonstration(outcomes: dict[str, Future[Demonstration]]) -> Demonstration:
    return outcomes["demonstration"].result()


def test_the_demonstration_ends_well_and_its_numbers_add_up(demonstration: Demonstration) -> None:
    shown = demonstration.shown

    assert shown.code == 0, shown.err
    imported, synced, status = (shown.json[name] for name in ("import", "sync", "status"))
    assert (imported["rows"], imported["inserted"], imported["batches"]) == (SIZE, SIZE, 30)
    assert synced["success"] + synced["failed"] + synced["skipped"] == synced["total"] == SIZE
    counted = status["synced_assets"] + status["failed_assets"] + status["never_synced"]
    assert counted == status["total_assets"] == SIZE
    assert f"{SIZE} = {SIZE} assets" in shown.err
    reads = shown.json["maximo"]["runs"]
    assert shown.json["maximo"]["status"] == "success"
    assert all(row["fetched"] == row["inserted"] == row["server_total"] for row in reads)
    fetched = {(row["endpoint"], row["site"]): row["fetched"] for row in reads}
    assert fetched["domain", None] == 949
    assert (fetched["locations", "KDFAC"], fetched["assets", "KDFAC"]) == (171, 1770)
    customers = shown.json["customers"]
    assert (customers["outcome"], customers["newCustomers"]) == ("succeeded_changed", 1452)


def test_assets_fail_on_purpose_as_announced(demonstration: Demonstration) -> None:
    faults = demo_faults(World(SIZE))
    shown = demonstration.shown.json

    assert shown["status"]["failed_by_class"] == {
        "not_found": len(faults.unknown),
        "transient": len(faults.ailing),
    }
    assert shown["sync"]["failed"] == len(faults.unknown) + len(faults.ailing)
    assert shown["status"]["total_syncs"] == 30


def test_retry_failed_heals_what_can_be_healed(demonstration: Demonstration) -> None:
    faults = demo_faults(World(SIZE))

    assert demonstration.healed.code == 0
    assert demonstration.healed.json["success"] == len(faults.ailing)
    status = demonstration.status.json
    assert status["failed_by_class"] == {"not_found": len(faults.unknown)}
    assert status["synced_assets"] + status["failed_assets"] == status["total_assets"] == SIZE
