"""`innomaint up` left alone: everything is synced, and whatever is killed, work goes on.

Each scenario mostly waits, so all of them run at once, and each test looks at one outcome. What does not
disturb each other shares one `up`, since starting it is most of the work.
"""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from innomaint_pipeline.simulator.innomaint.faults import Status
from innomaint_pipeline.simulator.innomaint.workbook import write_sample_workbook
from innomaint_pipeline.simulator.limit import VendorLimit, build_exponential_latency, build_fixed_latency
from innomaint_pipeline_tests.system.conftest import (
    Command,
    Installation,
    command_line,
    find_free_port,
    find_processes,
    installation,
    new_home,
    wait_until,
)
from innomaint_pipeline_tests.system.ui import ASSETS, Ui

pytestmark = pytest.mark.system

TICK_SECONDS = "5"
SIZE = 90
RATE_MS = 200
TABLES = [name for name in ASSETS if name.startswith("ic3_")]
_SEED = 7
_WINDOW_SECONDS = 10
ENDED = {"SUCCESS", "FAILURE", "CANCELED"}
CHECKS = 3


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
        # Asked where the UI asks, too: a question to the UI itself costs a tenth of a second of CPU.
        wait_until(lambda: set(self.made.run_statuses()) <= ENDED, "no run is left unfinished")

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
        port = find_free_port()
        up = Running(made, start_up(made, port), Ui(port), port)
        try:
            yield up
        finally:
            if up.command.process.poll() is None:
                up.end()


@dataclass(frozen=True)
class Unattended:
    """A whole sync that nobody launched, in which a few CMMS assets failed."""

    states: Counter[str]
    fullest_window: int
    allowed: float


@dataclass(frozen=True)
class Repaired:
    """CMMS assets that failed, and their partitions before and after a backfill."""

    failing: set[str]
    red: set[str]
    tables_red: set[str]
    tables_green: dict[str, int]
    backfill: str
    red_after: set[str]
    asked_again: list[str | None]
    states: Counter[str]
    message: str


@dataclass(frozen=True)
class Shared:
    """One batch wanted by everybody at once."""

    due: set[str]
    asked: Counter[str | None]
    states: Counter[str]
    command_code: int


@dataclass(frozen=True)
class Attended:
    """One `up`: first left alone, then repaired, then asked by everybody for the same, then stopped."""

    unattended: Unattended
    repaired: Repaired
    shared: Shared
    stop_seconds: float


def attend_up() -> Attended:
    latency = build_exponential_latency(0.8, seed=_SEED)
    with running("att", size=SIZE, batch_size=SIZE // 3, rate_ms=RATE_MS, latency=latency) as up:
        failing = {up.made.serials[5], up.made.serials[-5]}
        up.made.simulator.faults.by_chance(0.02, seed=_SEED)
        for serial in failing:
            up.made.simulator.faults.always(serial, Status(503))
        wait_until(lambda: up.states()["never"] == 0, "every asset was asked for")
        up.wait_until_idle()
        record = up.made.simulator.record
        unattended = Unattended(up.states(), record.max_within(_WINDOW_SECONDS), 1000 / RATE_MS)
        up.made.simulator.faults.clear()
        up.made.simulator.app.latency = build_fixed_latency(0.1)
        repaired = repair_failed_partitions(up, failing)
        return Attended(unattended, repaired, want_the_same_batch_at_once(up), up.end())


def repair_failed_partitions(up: Running, failing: set[str]) -> Repaired:
    red = up.ui.partitions("cmms_sync_log")["failedPartitions"]
    tables = {name: up.ui.partitions(name) for name in TABLES if name != "ic3_asset_master"}
    events = up.made.rows(
        "select event from event_logs where dagster_event_type = 'STEP_FAILURE'", database="dagster"
    )
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
    )


def want_the_same_batch_at_once(up: Running) -> Shared:
    """Let every CMMS asset of a batch be due; the command, the UI, twice, and continuous sync ask for it."""
    up.wait_until_idle()
    mark = len(up.made.simulator.record)
    due = up.made.rows(
        "update innomaint_sync_state set next_due_at = now() where batch_key = 'batch_000001'"
        " returning (select cmms_asset_id from ic3_asset_master m"
        " where m.asset_id = innomaint_sync_state.asset_id) as serial"
    )
    other = up.made.start("sync", "--json")
    up.ui.materialize("batch_000001")
    up.ui.materialize("batch_000001")
    code = other.end().code
    up.wait_until_idle()
    asked = Counter(up.made.requested_since(mark))
    return Shared({row["serial"] for row in due}, asked, up.states(), code)


def _workers(up: Running) -> list[psutil.Process]:
    """Return the processes that execute runs: forks of what the code server started, and may have left."""
    forked = [one for one in find_processes(up.made.home) if "forkserver" in command_line(one)]
    return [one for one in forked if one.ppid() in {it.pid for it in forked}]


def _named(up: Running, text: str) -> list[psutil.Process]:
    return [one for one in up.command.descendants() if text in command_line(one)]


def _postmaster(up: Running) -> list[psutil.Process]:
    return [one for one in find_processes(up.made.home) if "bin/postgres -D" in command_line(one)]


def _kill(processes: list[psutil.Process]) -> int:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    return len(processes)


@dataclass(frozen=True)
class Survived:
    """What is left after a sync in which everything was killed, at last as by a power cut."""

    kills: dict[str, int]
    states: Counter[str]
    runs: dict[tuple[str, str], int]
    leases: list[dict[str, Any]]


def cut_the_power(up: Running, workbook: Path) -> int:
    """Kill everything while three checks and an import wait for a lock, so that they are surely under way."""
    write_sample_workbook(up.made.simulator.world, workbook)
    began = {"check_tables": CHECKS, "import_asset_master": 1}
    # Closed without a commit: its server is killed, too.
    with closing(psycopg.connect(up.made.postgres.url("ic3"))) as holder:
        # Sensors read the master, too, and go on looking.
        holder.execute("lock table ic3_asset_performance in access exclusive mode")
        holder.execute("lock table ic3_asset_master in exclusive mode")
        for job, count in began.items():
            for _ in range(count):
                wait_until(lambda job=job: _launch(up.ui, job), f"the webserver launches {job}")
        wait_until(lambda: Counter(began) <= count_runs(up, "STARTED"), "all is under way")
        everybody = find_processes(up.made.home)
        up.command.kill_with_all_it_started()
        _kill(everybody)
    up.command = start_up(up.made, up.port)
    return len(everybody)


def _launch(ui: Ui, job: str) -> str | None:
    """Launch a run; None while the webserver still looks for a database or a code server that was killed."""
    with suppress(OSError, AssertionError):
        return ui.launch(job)
    return None


def count_runs(up: Running, status: str) -> Counter[str]:
    """Return how many runs of each job have a status."""
    query = f"select pipeline_name as job from runs where status = '{status}'"
    return Counter(row["job"] for row in up.made.rows(query, database="dagster"))


def is_trouble_told(up: Running) -> bool:
    """Tell whether people were told of the import, be it of a workbook that is not there."""
    query = "select value from innomaint_alert where name = 'import to address 0' and value is not null"
    return bool(up.made.rows(query))


def survive_kills() -> Survived:
    """SIGKILL in random order to the worker, code server, daemon and database, then to everything at once."""
    dice = random.Random(_SEED)
    latency = build_fixed_latency(0.1)
    victims: dict[str, Callable[[Running], int]] = {
        "worker": lambda up: _kill(_workers(up)[:1]),
        "code-server": lambda up: _kill(_named(up, "cli.code_server")),
        "daemon": lambda up: _kill(_named(up, "dagster._daemon")),
        "database": lambda up: _kill(_postmaster(up)),
    }
    with ExitStack() as stack:
        workbook = stack.enter_context(new_home("kiw")) / "assets.xlsx"
        up = stack.enter_context(
            running(
                "kil", size=80, batch_size=40, rate_ms=200, latency=latency, INNOMAINT_WORKBOOK=str(workbook)
            )
        )
        record = up.made.simulator.record
        kills: dict[str, int] = {}
        for victim in dice.sample(list(victims), len(victims)):
            # A run that was lost before it sent anything would only be waited for.
            already = len(record)
            wait_until(lambda already=already: len(record) > already, f"a run sends requests before {victim}")
            time.sleep(dice.uniform(0.2, 1))
            kills[victim] = victims[victim](up)
            wait_until(lambda: _is_up(up.made), "the database is up")
        wait_until(lambda: is_trouble_told(up), "people are told that the workbook is not there")
        kills["everything"] = cut_the_power(up, workbook)
        up.wait_for_all(80)
        imported = "select count(*) as n from ic3_asset_master where asset_name is not null"
        wait_until(lambda: up.made.rows(imported)[0]["n"] == 80, "the workbook is imported")
        wait_until(lambda: not is_trouble_told(up), "people are told that it is well")
        up.wait_until_idle()
        ended = {(job, it): n for it in ENDED for job, n in count_runs(up, it).items()}
        leases = "select * from innomaint_lease where expires_at > now() and resource <> 'up/daemon'"
        return Survived(kills, up.states(), ended, up.made.rows(leases))


def _is_up(made: Installation) -> bool:
    with suppress(Exception):
        return bool(made.rows("select 1"))
    return False


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
        in_retry = "select 1 from event_logs where dagster_event_type = 'STEP_UP_FOR_RETRY'"
        wait_until(lambda: up.made.rows(in_retry, database="dagster"), "a run gives up for a while")
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


SCENARIOS: dict[str, Callable[[], Any]] = {
    "kills": survive_kills,
    "weather": weather_an_outage_and_a_stricter_vendor,
    "attended": attend_up,
}


@pytest.fixture
def attended(outcomes: dict[str, Future[Any]]) -> Attended:
    return outcomes["attended"].result()


def test_everything_is_synced_without_a_hand_and_never_too_fast(attended: Attended) -> None:
    outcome = attended.unattended

    assert outcome.states == {"synced": SIZE - len(attended.repaired.failing), "failed": 2}
    # A busy machine may see the requests of a second or two late, and thus together.
    assert outcome.fullest_window <= outcome.allowed * (_WINDOW_SECONDS + 2)


def test_failing_assets_turn_only_their_own_partitions_red(attended: Attended) -> None:
    outcome = attended.repaired

    assert outcome.red == {"batch_000001", "batch_000003"}
    assert outcome.tables_red == set()
    assert set(outcome.tables_green.values()) == {3}


def test_a_red_partition_says_which_assets_why_and_what_to_do(attended: Attended) -> None:
    outcome = attended.repaired

    for serial in outcome.failing:
        assert serial in outcome.message
    assert "transient: Innomaint failed (HTTP 503)" in outcome.message
    assert "What to do" in outcome.message


def test_a_backfill_of_the_failed_partitions_asks_only_for_the_missing_assets(attended: Attended) -> None:
    outcome = attended.repaired

    assert outcome.backfill in {"COMPLETED", "COMPLETED_SUCCESS"}
    assert outcome.red_after == set()
    assert Counter(outcome.asked_again) == dict.fromkeys(outcome.failing, 1)
    assert outcome.states == {"synced": SIZE}


def test_up_stops_within_seconds(attended: Attended) -> None:
    assert attended.stop_seconds < 30


def test_whatever_is_killed_work_goes_on_by_itself(outcomes: dict[str, Future[Any]]) -> None:
    outcome: Survived = outcomes["kills"].result()

    assert len(outcome.kills) == 5
    assert all(outcome.kills.values()), outcome.kills
    assert outcome.states == {"synced": 80}
    assert outcome.leases == []


def test_after_a_power_cut_every_run_ends_in_truth_and_what_was_lost_is_done(
    outcomes: dict[str, Future[Any]],
) -> None:
    outcome: Survived = outcomes["kills"].result()

    assert outcome.runs["check_tables", "FAILURE"] >= CHECKS, "the lost ones end as what they are"
    assert outcome.runs["import_asset_master", "FAILURE"] >= 1
    assert outcome.runs["import_asset_master", "SUCCESS"] >= 1


def test_a_batch_that_everybody_wants_at_once_is_asked_for_once(attended: Attended) -> None:
    outcome = attended.shared

    assert outcome.command_code == 0
    assert outcome.states == {"synced": SIZE}
    assert len(outcome.due) == SIZE // 3
    assert outcome.asked == dict.fromkeys(outcome.due, 1)


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
