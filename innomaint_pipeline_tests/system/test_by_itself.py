"""`innomaint up` left alone: everything is synced, and whatever is killed, work goes on (spec 03).

Each scenario mostly waits, so all of them run at once, and each test looks at one outcome.
"""

import random
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psutil
import pytest

from innomaint_pipeline.simulator.innomaint.faults import Status
from innomaint_pipeline.simulator.limit import VendorLimit, build_exponential_latency, build_fixed_latency
from innomaint_pipeline_tests.system.conftest import (
    Command,
    Installation,
    command_line,
    find_processes,
    installation,
    wait_until,
)
from innomaint_pipeline_tests.system.ui import ASSETS, Ui

pytestmark = pytest.mark.system

TICK_SECONDS = "5"
TABLES = [name for name in ASSETS if name.startswith("ic3_")]
_SEED = 7


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Running:
    """An installation with `innomaint up`."""

    made: Installation
    command: Command
    ui: Ui
    port: int

    def states(self) -> Counter[str]:
        rows = self.made.rows("select state, count(*) as n from innomaint_sync_state group by 1")
        return Counter({row["state"]: row["n"] for row in rows})

    def wait_for_all(self, count: int) -> None:
        wait_until(lambda: self.states()["synced"] == count, f"{count} assets are synced: {self.states()}")

    def wait_until_idle(self) -> None:
        unfinished = ("QUEUED", "STARTING", "STARTED", "CANCELING")
        wait_until(lambda: not self.ui.runs(*unfinished), "no run is left unfinished")

    def end(self) -> float:
        ended = self.command.signal(signal.SIGTERM)
        assert ended.code == 130, ended.err
        return ended.seconds


def start_up(made: Installation, port: int) -> Command:
    command = made.start("up", "--port", str(port))
    ui = Ui(port)

    def is_ready() -> bool:
        assert command.process.poll() is None, command.end().err
        with suppress(OSError):
            ui.ask("{ version }")
            return True
        return False

    wait_until(is_ready, "the webserver answers")
    return command


@contextmanager
def running(prefix: str, **options: Any) -> Iterator[Running]:
    with installation(prefix, **{"INNOMAINT_SYNC_INTERVAL_S": TICK_SECONDS, **options}) as made:
        port = free_port()
        up = Running(made, start_up(made, port), Ui(port), port)
        try:
            yield up
        finally:
            if up.command.process.poll() is None:
                up.end()


@dataclass(frozen=True)
class Repaired:
    """Assets that failed, and their partitions before and after a backfill."""

    failing: set[str]
    red: set[str]
    tables_red: set[str]
    tables_green: dict[str, int]
    backfill: str
    red_after: set[str]
    asked_again: list[str | None]
    states: Counter[str]
    message: str
    stop_seconds: float


def repair_failed_partitions() -> Repaired:
    with running("rep", size=60, batch_size=20, rate_ms=20) as up:
        failing = {up.made.serials[5], up.made.serials[45]}
        for serial in failing:
            up.made.simulator.faults.always(serial, Status(503))
        wait_until(lambda: up.states() == {"synced": 58, "failed": 2}, "all but the failing are synced")
        up.wait_until_idle()
        red = up.ui.partitions("cmms_sync_log")["failedPartitions"]
        tables = {name: up.ui.partitions(name) for name in TABLES if name != "ic3_asset_master"}
        events = up.made.rows(
            "select event from event_logs where dagster_event_type = 'STEP_FAILURE'", database="dagster"
        )
        up.made.simulator.faults.clear()
        mark = len(up.made.simulator.record)
        backfill = up.ui.backfill(red)
        done = ("COMPLETED", "COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED")
        wait_until(lambda: up.ui.backfill_status(backfill) in done, "the backfill ends")
        return Repaired(
            failing,
            red,
            set().union(*(found["failedPartitions"] for found in tables.values())),
            {name: len(found["materializedPartitions"]) for name, found in tables.items()},
            up.ui.backfill_status(backfill),
            up.ui.partitions("cmms_sync_log")["failedPartitions"],
            up.made.requested_since(mark),
            up.states(),
            "".join(str(row["event"]) for row in events),
            up.end(),
        )


def _workers(up: Running) -> list[psutil.Process]:
    """Return the processes that execute runs: what the code server spawned."""
    return [one for one in up.command.descendants() if "spawn_main" in command_line(one)]


def _named(up: Running, text: str) -> list[psutil.Process]:
    return [one for one in up.command.descendants() if text in command_line(one)]


def _postmaster(up: Running) -> list[psutil.Process]:
    return [
        one
        for one in find_processes(up.made.home)
        if "bin/postgres -D" in command_line(one).replace("-D ", "-D ")
    ]


def _kill(processes: list[psutil.Process]) -> int:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    return len(processes)


@dataclass(frozen=True)
class Survived:
    """What is left after a sync in which everything was killed."""

    kills: Counter[str]
    states: Counter[str]
    unfinished: list[dict[str, Any]]
    leases: list[dict[str, Any]]
    most_requests: int
    said: str


def survive_kills() -> Survived:
    """SIGKILL in random order to the worker, code server, daemon, database, and everything at once."""
    dice = random.Random(_SEED)
    latency = build_fixed_latency(0.1)
    with running("kil", size=80, batch_size=40, rate_ms=100, latency=latency) as up:
        victims = ["worker", "code-server", "daemon", "database", "everything"]
        dice.shuffle(victims)
        kills: Counter[str] = Counter()
        said = ""
        for victim in victims:
            wait_until(
                lambda: up.made.rows("select 1 from innomaint_lease where expires_at > now()"), "a run"
            )
            time.sleep(dice.uniform(0.2, 1.5))
            if victim == "everything":
                up.command.kill_with_all_it_started()
                up.command = start_up(up.made, up.port)
                kills[victim] += 1
                continue
            found = {
                "worker": lambda: _workers(up),
                "code-server": lambda: _named(up, "dagster api grpc"),
                "daemon": lambda: _named(up, "dagster._daemon"),
                "database": lambda: _postmaster(up),
            }[victim]()
            kills[victim] += _kill(found) > 0
            if victim == "database":
                wait_until(lambda: _is_up(up.made), "the database is back")
        up.wait_for_all(80)
        up.wait_until_idle()
        asked = up.made.simulator.record.count_by_serial()
        return Survived(
            kills,
            up.states(),
            up.ui.runs("QUEUED", "STARTING", "STARTED", "CANCELING"),
            up.made.rows("select * from innomaint_lease where expires_at > now()"),
            max(asked.values()),
            said,
        )


def _is_up(made: Installation) -> bool:
    with suppress(Exception):
        return bool(made.rows("select 1"))
    return False


@dataclass(frozen=True)
class Shared:
    """One batch wanted by everybody at once."""

    asked: Counter[str | None]
    states: Counter[str]
    command_code: int


def want_the_same_batch_at_once() -> Shared:
    with running("shr", size=40, batch_size=40, rate_ms=50, latency=build_fixed_latency(0.1)) as up:
        other = up.made.start("sync", "--json")
        up.ui.materialize("batch_000001")
        up.ui.materialize("batch_000001")
        code = other.end().code
        up.wait_for_all(40)
        up.wait_until_idle()
        return Shared(up.made.simulator.record.count_by_serial(), up.states(), code)


@dataclass(frozen=True)
class Weathered:
    """An outage, a terminated run, and a vendor that allows less than is configured."""

    requests_in_outage: int
    health_in_outage: str
    cancelled_after: float
    stored_at_terminate: int
    kept: bool
    states: Counter[str]
    refused: int
    total: int


def weather_an_outage_and_a_stricter_vendor() -> Weathered:
    with running("wea", size=60, batch_size=30, rate_ms=100, latency=build_fixed_latency(0.1)) as up:
        simulator = up.made.simulator
        wait_until(lambda: len(up.made.stored()) >= 5, "the sync has begun")
        run_id = up.ui.runs("STARTED")[0]["runId"]
        sent = time.monotonic()
        up.ui.terminate(run_id)
        stored = up.made.stored()
        wait_until(lambda: run_id in {one["runId"] for one in up.ui.runs("CANCELED")}, "the run is cancelled")
        cancelled_after = time.monotonic() - sent
        kept = stored <= up.made.stored()
        simulator.faults.always_everywhere(Status(503))
        mark = len(simulator.record)
        opened = "select 1 from innomaint_rate_limit where breaker_opened_at is not null"
        wait_until(lambda: up.made.rows(opened), "the breaker opens")
        time.sleep(15)
        in_outage = len(simulator.record) - mark
        health = up.made.run("status", "--json").json["health"]
        simulator.faults.clear()
        simulator.limit = VendorLimit(per_second=4)
        up.wait_for_all(60)
        statuses = Counter(start.status for start in simulator.record.starts)
        return Weathered(
            in_outage,
            health,
            cancelled_after,
            len(stored),
            kept,
            up.states(),
            statuses[429],
            len(simulator.record),
        )


@dataclass(frozen=True)
class Unattended:
    """A whole sync that nobody launched."""

    states: Counter[str]
    fullest_second: int
    allowed: float


def sync_unattended() -> Unattended:
    rate_ms = 200
    latency = build_exponential_latency(0.8, seed=_SEED)
    with running("una", size=120, batch_size=40, rate_ms=rate_ms, latency=latency) as up:
        up.made.simulator.faults.by_chance(0.02, seed=_SEED)
        up.wait_for_all(120)
        record = up.made.simulator.record
        return Unattended(up.states(), record.max_in_any_second(), 1000 / rate_ms)


SCENARIOS: dict[str, Callable[[], Any]] = {
    "kills": survive_kills,
    "unattended": sync_unattended,
    "weather": weather_an_outage_and_a_stricter_vendor,
    "repair": repair_failed_partitions,
    "shared": want_the_same_batch_at_once,
}


def test_everything_is_synced_without_a_hand_and_never_too_fast(outcomes: dict[str, Future[Any]]) -> None:
    outcome: Unattended = outcomes["unattended"].result()

    assert outcome.states == {"synced": 120}
    assert outcome.fullest_second <= outcome.allowed + 1


def test_failing_assets_turn_only_their_own_partitions_red(outcomes: dict[str, Future[Any]]) -> None:
    outcome: Repaired = outcomes["repair"].result()

    assert outcome.red == {"batch_000001", "batch_000003"}
    assert outcome.tables_red == set()
    assert set(outcome.tables_green.values()) == {3}


def test_a_red_partition_says_which_assets_why_and_what_to_do(outcomes: dict[str, Future[Any]]) -> None:
    outcome: Repaired = outcomes["repair"].result()

    for serial in outcome.failing:
        assert serial in outcome.message
    assert "transient: Innomaint failed (HTTP 503)" in outcome.message
    assert "What to do" in outcome.message


def test_a_backfill_of_the_failed_partitions_asks_only_for_the_missing_assets(
    outcomes: dict[str, Future[Any]],
) -> None:
    outcome: Repaired = outcomes["repair"].result()

    assert outcome.backfill in {"COMPLETED", "COMPLETED_SUCCESS"}
    assert outcome.red_after == set()
    assert Counter(outcome.asked_again) == dict.fromkeys(outcome.failing, 1)
    assert outcome.states == {"synced": 60}


def test_up_stops_within_seconds(outcomes: dict[str, Future[Any]]) -> None:
    outcome: Repaired = outcomes["repair"].result()

    assert outcome.stop_seconds < 30


def test_whatever_is_killed_work_goes_on_by_itself(outcomes: dict[str, Future[Any]]) -> None:
    outcome: Survived = outcomes["kills"].result()

    assert len(outcome.kills) >= 4, outcome.kills
    assert outcome.states == {"synced": 80}
    assert outcome.unfinished == []
    assert outcome.leases == []


def test_a_batch_that_everybody_wants_at_once_is_asked_for_once(outcomes: dict[str, Future[Any]]) -> None:
    outcome: Shared = outcomes["shared"].result()

    assert outcome.command_code == 0
    assert outcome.states == {"synced": 40}
    assert set(outcome.asked.values()) == {1}


def test_terminate_ends_a_run_soon_and_keeps_what_was_stored(outcomes: dict[str, Future[Any]]) -> None:
    outcome: Weathered = outcomes["weather"].result()

    assert outcome.cancelled_after < 30
    assert outcome.stored_at_terminate > 0
    assert outcome.kept


def test_an_outage_costs_few_requests_and_is_told_as_it_is(outcomes: dict[str, Future[Any]]) -> None:
    outcome: Weathered = outcomes["weather"].result()

    # Ten in a row open the breaker; what is under way then comes on top, and a probe.
    assert outcome.requests_in_outage <= 30
    assert outcome.health_in_outage == "down"


def test_a_vendor_stricter_than_the_configured_rate_loses_no_asset(outcomes: dict[str, Future[Any]]) -> None:
    outcome: Weathered = outcomes["weather"].result()

    assert outcome.states == {"synced": 60}
    assert outcome.refused < outcome.total / 2
