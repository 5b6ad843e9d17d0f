"""The rate over all processes: latency does not lower it, and it is never exceeded.

How close it comes to what is allowed, and when requests arrive, `make bench` measures: other tests run beside
these, and make a simulator late. When requests start, the shared clock tells; a trigger of the test notes it.
"""

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from time import monotonic

import psycopg
import pytest

from benchmarks.place import NOTE_STARTS
from innomaint_pipeline.domain.pacing import START_TOLERANCE_SECONDS
from innomaint_pipeline.simulator.limit import build_exponential_latency
from innomaint_pipeline_tests.system.conftest import Ended, installation

pytestmark = pytest.mark.system

SIZE = 70
BATCH_SIZE = 50
MEAN_LATENCY_SECONDS = 0.8


@dataclass(frozen=True)
class Measured:
    """A sync of so many CMMS assets: its starts by the shared clock, and the simulator's own record."""

    ended: list[Ended]
    most_in_flight: int
    starts: list[float]
    asked: Counter[str | None]
    states: list[dict[str, object]]


def measure(*commands: tuple[str, ...]) -> Measured:
    """Run commands at once on one home, at the rate of the settings' default."""
    draw_latency = build_exponential_latency(MEAN_LATENCY_SECONDS)
    waits: list[tuple[float, float]] = []

    def latency() -> float:
        began, seconds = monotonic(), draw_latency()
        waits.append((began, began + seconds))
        return seconds

    with installation("two", size=SIZE, batch_size=BATCH_SIZE, rate_ms=None, latency=latency) as made:
        with psycopg.connect(made.postgres.url("ic3")) as connection:
            connection.execute(NOTE_STARTS)
        ended = [
            command.end() for command in [made.start("sync", *options, "--json") for options in commands]
        ]
        return Measured(
            ended,
            max(sum(began <= at < until for began, until in waits) for at, _ in waits),
            [row["at"] for row in made.rows("select distinct at from noted_start order by at")],
            made.simulator.record.count_by_serial(),
            made.rows("select state, count(*) as n from innomaint_sync_state group by 1"),
        )


@pytest.fixture(scope="module")
def measured() -> Measured:
    """Two commands at once; the half of each begins or ends amid the first batch."""
    half = str(SIZE // 2)
    return measure(("--batch", half, "--offset", "0"), ("--batch", half, "--offset", half))


def test_requests_overlap_and_the_rate_is_never_exceeded(measured: Measured) -> None:
    assert len(measured.starts) == SIZE
    pauses = [later - earlier for earlier, later in pairwise(measured.starts)]
    # A wake-up may be a timer's rounding early.
    assert min(pauses) >= 0.2 - START_TOLERANCE_SECONDS
    # One request at a time would be as many as there are commands.
    assert measured.most_in_flight > len(measured.ended)


def test_each_asset_is_asked_for_once_and_all_are_synced(measured: Measured) -> None:
    assert {ended.code for ended in measured.ended} == {0}
    assert sum(ended.json["success"] for ended in measured.ended) == SIZE
    assert len(measured.asked) == SIZE
    assert set(measured.asked.values()) == {1}
    assert measured.states == [{"state": "synced", "n": SIZE}]
