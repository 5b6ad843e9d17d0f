"""The rate over all processes: latency does not lower it, and it is never exceeded.

How close it comes to what is allowed, `make bench` measures: other tests run beside these.
"""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event

import pytest

from innomaint_pipeline.simulator.limit import build_exponential_latency
from innomaint_pipeline_tests.system.conftest import LONG_SECONDS, Ended, installation, wait_until

pytestmark = pytest.mark.system

SIZE = 100
MEAN_LATENCY_SECONDS = 0.8


@dataclass(frozen=True)
class Measured:
    """The simulator's own record of a sync of so many CMMS assets."""

    ended: list[Ended]
    rate: float
    most_in_a_second: int
    asked: Counter[str | None]
    states: list[dict[str, object]]


def measure(prefix: str, *commands: tuple[str, ...], batch_size: int, under_way: Event) -> Measured:
    """Run commands at once on one home, at the rate of the settings' default; tell when they send."""
    latency = build_exponential_latency(MEAN_LATENCY_SECONDS)
    with installation(prefix, size=SIZE, batch_size=batch_size, rate_ms=None, latency=latency) as made:
        record = made.simulator.record
        started = [made.start("sync", *options, "--json") for options in commands]
        try:
            wait_until(lambda: len(record) >= 10, f"{prefix} sends requests")
        finally:
            under_way.set()
        ended = [command.end() for command in started]
        return Measured(
            ended,
            record.rate(),
            record.max_in_any_second(),
            record.count_by_serial(),
            made.rows("select state, count(*) as n from innomaint_sync_state group by 1"),
        )


# The half of each command begins or ends amid the first batch.
HALF = str(SIZE // 2)
HALVES = ("--batch", HALF, "--offset", "0"), ("--batch", HALF, "--offset", HALF)
MEASUREMENTS: dict[str, Callable[[Event], Measured]] = {
    "one command": lambda under_way: measure("one", (), batch_size=SIZE // 2, under_way=under_way),
    "two commands at once": lambda under_way: measure("two", *HALVES, batch_size=70, under_way=under_way),
}


@pytest.fixture(scope="module")
def measured() -> dict[str, Future[Measured]]:
    """Both measurements, in homes of their own.

    Side by side, since they mostly wait; one begins when the other has begun, since starting is work.
    """
    with ThreadPoolExecutor(len(MEASUREMENTS)) as pool:
        futures = {}
        for name, measurement in MEASUREMENTS.items():
            under_way = Event()
            futures[name] = pool.submit(measurement, under_way)
            under_way.wait(LONG_SECONDS)
        return futures


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_requests_overlap_and_the_rate_is_never_exceeded(
    measured: dict[str, Future[Measured]], name: str
) -> None:
    result = measured[name].result()

    assert result.most_in_a_second <= 6
    # One request at a time would reach half of this at best.
    assert result.rate > 2 / MEAN_LATENCY_SECONDS


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_each_asset_is_asked_for_once_and_all_are_synced(
    measured: dict[str, Future[Measured]], name: str
) -> None:
    result = measured[name].result()

    assert {ended.code for ended in result.ended} == {0}
    assert sum(ended.json["success"] for ended in result.ended) == SIZE
    assert len(result.asked) == SIZE
    assert set(result.asked.values()) == {1}
    assert result.states == [{"state": "synced", "n": SIZE}]
