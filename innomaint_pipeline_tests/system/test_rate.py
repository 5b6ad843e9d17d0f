"""The rate over all processes: latency does not lower it, and it is never exceeded.

How close it comes to what is allowed, and when requests arrive, `make bench` measures: other tests run beside
these, and make a simulator late. When requests start, the shared clock tells; a trigger of the test notes it.
"""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from threading import Event
from time import monotonic

import psycopg
import pytest

from innomaint_pipeline.domain.pacing import START_TOLERANCE_SECONDS
from innomaint_pipeline.simulator.limit import build_exponential_latency
from innomaint_pipeline_tests.system.conftest import LONG_SECONDS, Ended, installation, wait_until

pytestmark = pytest.mark.system

SIZE = 100
MEAN_LATENCY_SECONDS = 0.8
NOTE_STARTS = """
create table noted_start (at double precision);
create function note_start() returns trigger language plpgsql as $$
begin
    insert into noted_start values (new.last_start_at);
    return null;
end $$;
create trigger note_start after insert or update on innomaint_rate_limit for each row
when (new.last_start_at > 0) execute function note_start();
"""


@dataclass(frozen=True)
class Measured:
    """A sync of so many CMMS assets: its starts by the shared clock, and the simulator's own record."""

    ended: list[Ended]
    most_in_flight: int
    starts: list[float]
    asked: Counter[str | None]
    states: list[dict[str, object]]


def measure(prefix: str, *commands: tuple[str, ...], batch_size: int, under_way: Event) -> Measured:
    """Run commands at once on one home, at the rate of the settings' default; tell when they send."""
    draw_latency = build_exponential_latency(MEAN_LATENCY_SECONDS)
    waits: list[tuple[float, float]] = []

    def latency() -> float:
        began, seconds = monotonic(), draw_latency()
        waits.append((began, began + seconds))
        return seconds

    with installation(prefix, size=SIZE, batch_size=batch_size, rate_ms=None, latency=latency) as made:
        record = made.simulator.record
        with psycopg.connect(made.postgres.url("ic3")) as connection:
            connection.execute(NOTE_STARTS)
        started = [made.start("sync", *options, "--json") for options in commands]
        try:
            wait_until(lambda: len(record) >= 10, f"{prefix} sends requests")
        finally:
            under_way.set()
        ended = [command.end() for command in started]
        return Measured(
            ended,
            max(sum(began <= at < until for began, until in waits) for at, _ in waits),
            [row["at"] for row in made.rows("select distinct at from noted_start order by at")],
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

    assert len(result.starts) == SIZE
    pauses = [later - earlier for earlier, later in pairwise(result.starts)]
    # A wake-up may be a timer's rounding early.
    assert min(pauses) >= 0.2 - START_TOLERANCE_SECONDS
    # One request at a time would be as many as there are commands.
    assert result.most_in_flight > len(result.ended)


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
