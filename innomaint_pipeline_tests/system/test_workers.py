"""Workers on two machines, one of which dies: what one machine does by itself, several do with Redis.

One installation, in turn: launched without a worker; two workers; one killed while a request is carried out;
Terminate; the end of Redis. Each machine has a folder and a home of its own; Redis and PostgreSQL are of
Debian's packages.
"""

import shutil
import signal
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
import yaml

from benchmarks.place import NOTE_STARTS
from benchmarks.servers import running_redis
from innomaint_pipeline.domain.pacing import START_TOLERANCE_SECONDS
from innomaint_pipeline_tests.conftest import CANARY_TOKEN
from innomaint_pipeline_tests.system.conftest import (
    Command,
    Ended,
    Installation,
    find_free_port,
    installation,
    start,
    wait_until,
)
from innomaint_pipeline_tests.system.ui import Ui

pytestmark = pytest.mark.system

SIZE, BATCH_SIZE, RATE_MS = 160, 40, 100
SHIPPED = Path(__file__).resolve().parents[2] / "deploy" / "celery"
# As shipped, but for how long a run may wait for a worker.
START_TIMEOUT_SECONDS = 20
LIVE = "('QUEUED', 'NOT_STARTED', 'STARTING', 'STARTED', 'CANCELING')"
ENDED = {"SUCCESS", "FAILURE", "CANCELED"}
OF_REQUESTS = "run_id in (select run_id from run_tags where key = 'innomaint/request')"


@dataclass
class Seen:
    """What was seen of the installation, in turn."""

    alone: dict[str, Any] = field(default_factory=dict)
    alone_runs: list[dict[str, Any]] = field(default_factory=list)
    redis_held: bytes = b""
    second_up: Ended | None = None
    together: dict[str, Any] = field(default_factory=dict)
    asked_first: Counter[str | None] = field(default_factory=Counter)
    starts: list[float] = field(default_factory=list)
    printed: dict[str, str] = field(default_factory=dict)
    killed: str = ""
    synced: Ended | None = None
    asked_again: Counter[str | None] = field(default_factory=Counter)
    terminated: str = ""
    cancelled: Ended | None = None
    interrupted: Ended | None = None
    without_redis: list[dict[str, Any]] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    log_rows: list[dict[str, Any]] = field(default_factory=list)
    stopped: list[int] = field(default_factory=list)
    daemon_log: str = ""
    embedded: list[Path] = field(default_factory=list)


class Machines:
    """Machines of one installation: a folder for each, with the files that are shipped."""

    def __init__(self, made: Installation, broker: str) -> None:
        self.made = made
        self.port = find_free_port()
        self.ui = Ui(self.port)
        made.postgres.ensure_database("dagster")
        self.variables = made.variables | {
            "IC3_DATABASE_URL": made.postgres.url("ic3"),
            "DAGSTER_PG_URL": made.postgres.url("dagster"),
            "INNOMAINT_BROKER_URL": broker,
            "INNOMAINT_WORKER_SLOTS": "1",
            "INNOMAINT_SYNC_INTERVAL_S": "5",
        }

    def start(self, machine: str, *arguments: str, **variables: str) -> Command:
        folder = self.made.home / machine
        if not folder.exists():
            folder.mkdir()
            shutil.copy(SHIPPED / "workspace.yaml", folder)
            shipped = yaml.safe_load((SHIPPED / "dagster.yaml").read_text("utf-8"))
            shipped["run_monitoring"]["start_timeout_seconds"] = START_TIMEOUT_SECONDS
            (folder / "dagster.yaml").write_text(yaml.safe_dump(shipped), encoding="utf-8")
        return start(folder, self.variables | variables, *arguments)

    def start_up(self) -> Command:
        return self.start("first", "up", "--port", str(self.port))

    def runs(self, condition: str = "true") -> list[dict[str, Any]]:
        return self.made.rows(
            "select run_id, status, extract(epoch from create_timestamp) as created_at, end_time, "
            "(select value from run_tags where run_tags.run_id = runs.run_id and key = 'dagster/partition') "
            "as batch, exists (select from run_tags where run_tags.run_id = runs.run_id "
            f"and key = 'dagster-celery/task_id') as has_task from runs where {condition} order by id",
            database="dagster",
        )

    def read_log(self, machine: str) -> str:
        log = self.made.home / machine / "logs" / "worker.log"
        return log.read_text("utf-8", "replace") if log.exists() else ""

    def status(self) -> dict[str, Any]:
        return self.start("first", "status", "--json").end().json

    def wait_for_fetch(self, condition: str) -> str:
        """Wait until a run asks for CMMS assets; return its id."""
        (run,) = wait_until(lambda: self.runs(f"status = 'STARTED' and {condition}")[:1], "a run begins")
        asked = len(self.made.simulator.record)
        wait_until(lambda: len(self.made.simulator.record) > asked + 3, "it asks for CMMS assets")
        return run["run_id"]


def wait_for_all(machines: Machines) -> None:
    query = "select count(*) as n from innomaint_sync_state where state = 'synced'"
    wait_until(lambda: machines.made.rows(query) == [{"n": SIZE}], "all are synced")
    wait_until(lambda: not machines.runs(f"status in {LIVE}"), "no run is under way")


def grow_to_two_machines() -> Seen:
    seen = Seen()
    # A moment that must not pass before it is acted on lasts longer than a lease's renewal.
    answers_after = {"seconds": 0.0}
    with (
        installation(
            "work",
            size=SIZE,
            batch_size=BATCH_SIZE,
            rate_ms=RATE_MS,
            latency=lambda: answers_after["seconds"],
            has_own_server=True,
        ) as made,
        running_redis(made.home) as (broker, redis_server),
    ):
        machines = Machines(made, broker)
        record = made.simulator.record
        with psycopg.connect(made.postgres.url("ic3")) as connection:
            connection.execute(NOTE_STARTS)
        up = machines.start_up()

        # No worker.
        has_tables = "select from pg_tables where tablename = 'run_tags'"
        wait_until(lambda: made.rows(has_tables, database="dagster"), "Dagster's tables are made")
        wait_until(lambda: len(machines.runs("status = 'FAILURE'")) >= 3, "runs are given up")
        wait_until(lambda: len(machines.runs()) >= 4, "another one is launched")
        seen.alone_runs = machines.runs()
        seen.alone = machines.status()
        with redis.Redis.from_url(broker) as client:
            held = [client.lrange(key, 0, -1) for key in client.scan_iter() if client.type(key) == b"list"]
            seen.redis_held = b"".join(item for items in held for item in items)
        other = {"IC3_DATABASE_URL": made.postgres.url("other")}
        made.postgres.ensure_database("other")
        seen.second_up = machines.start("third", "up", "--port", str(find_free_port()), **other).end()

        # Two.
        workers = {name: machines.start(name, "worker") for name in ("first", "second")}
        wait_for_all(machines)
        seen.together = machines.status()
        seen.asked_first = record.count_by_serial()
        query = "select distinct at from noted_start order by at"
        seen.starts = [row["at"] for row in made.rows(query)]

        # One is killed while it works for a request.
        answers_after["seconds"] = 1.0
        sync = machines.start("first", "sync", "--all", "--json")
        seen.printed = {name: machines.read_log(name) for name in workers}
        seen.killed = wait_until(
            lambda: next(
                (
                    run["run_id"]
                    for run in machines.runs(f"status = 'STARTED' and {OF_REQUESTS}")
                    if run["run_id"] in machines.read_log("second")
                ),
                None,
            ),
            "the second machine works for the request",
        )
        machines.wait_for_fetch(f"run_id = '{seen.killed}'")
        workers.pop("second").kill_with_all_it_started()
        answers_after["seconds"] = 0.0
        seen.synced = sync.end()
        seen.asked_again = record.count_by_serial()

        # Terminate.
        answers_after["seconds"] = 3.0
        sync = machines.start("first", "sync", "--all", "--json")
        seen.terminated = machines.wait_for_fetch(OF_REQUESTS)
        machines.ui.terminate(seen.terminated)
        ended = f"run_id = '{seen.terminated}' and status not in {LIVE}"
        wait_until(lambda: machines.runs(ended), "the run ends")
        answers_after["seconds"] = 0.0
        seen.cancelled = sync.end()
        # Without Redis there are no tasks.
        seen.runs = machines.runs()

        # Redis ends during a run.
        answers_after["seconds"] = 1.0
        sync = machines.start("first", "sync", "--all", "--json")
        last = machines.wait_for_fetch(OF_REQUESTS)
        redis_server.kill()
        redis_server.wait()
        answers_after["seconds"] = 0.0
        wait_until(lambda: machines.runs(f"run_id = '{last}' and status not in {LIVE}"), "the run ends")
        seen.interrupted = sync.signal(signal.SIGINT)
        seen.without_redis = machines.runs(f"run_id = '{last}'")

        seen.log_rows = made.rows(
            "select run_id, status, assets_synced, failed from cmms_sync_log order by id"
        )
        seen.stopped = [command.signal(signal.SIGTERM).code for command in (*workers.values(), up)]
        seen.embedded = list(made.home.rglob("postgres.*"))
        seen.daemon_log = (made.home / "first" / "logs" / "daemon.log").read_text("utf-8", "replace")
    return seen


SCENARIOS: dict[str, Callable[[], Any]] = {"two machines": grow_to_two_machines}


@pytest.fixture(scope="module")
def seen(outcomes: dict[str, Future[Any]]) -> Seen:
    return outcomes["two machines"].result()


def test_without_a_worker_one_run_at_a_time_waits_and_people_are_told(seen: Seen) -> None:
    assert seen.alone["health"] == "degraded"
    # Three at first, as ever.
    assert [run["status"] == "FAILURE" for run in seen.alone_runs] == [True, True, True, False]
    assert seen.redis_held
    for secret in (CANARY_TOKEN, "postgresql"):
        assert secret.encode() not in seen.redis_held


def test_a_second_daemon_for_one_dagster_database_is_refused(seen: Seen) -> None:
    assert seen.second_up is not None
    assert seen.second_up.code == 2
    assert "runs already on this Dagster database" in seen.second_up.err


def test_both_machines_take_runs_and_share_one_clock(seen: Seen) -> None:
    assert seen.together["health"] == "healthy"
    for printed in seen.printed.values():
        assert "RUN_SUCCESS" in printed
    assert len(seen.asked_first) == SIZE
    assert set(seen.asked_first.values()) == {1}
    pauses = [later - earlier for earlier, later in pairwise(seen.starts)]
    assert min(pauses) >= RATE_MS / 1000 - START_TOLERANCE_SECONDS


def test_the_batch_of_a_killed_worker_is_done_by_one_further_run(seen: Seen) -> None:
    assert seen.synced is not None
    assert seen.synced.code == 0, seen.synced.err
    result = seen.synced.json
    assert (result["total"], result["success"], result["failed"]) == (SIZE, SIZE, 0)
    lost = next(run for run in seen.runs if run["run_id"] == seen.killed)
    assert lost["status"] == "FAILURE"
    of_batch = [run for run in seen.runs if run["batch"] == lost["batch"]]
    after = [run for run in of_batch if run["created_at"] > lost["created_at"]]
    assert after[0]["status"] == "SUCCESS"
    # Its request made it, and Dagster none of its own beside.
    repeated = [run for run in after if run["created_at"] < lost["end_time"] + 60]
    assert [run["status"] for run in repeated][:1] == ["SUCCESS"]
    more_than_twice = [serial for serial, times in seen.asked_again.items() if times > 2]
    # What was in flight, or answered and not yet written.
    assert len(more_than_twice) <= 20
    assert all(run["has_task"] for run in seen.runs if run["status"] in ENDED)


def test_terminate_ends_a_run_elsewhere_and_nobody_repeats_it(seen: Seen) -> None:
    ended = next(run for run in seen.runs if run["run_id"] == seen.terminated)
    assert ended["status"] == "CANCELED"
    assert {row["status"] for row in seen.log_rows if row["run_id"] == seen.terminated} == {"cancelled"}
    assert seen.cancelled is not None
    assert seen.cancelled.code == 130


def test_a_run_goes_on_without_redis_and_every_row_tells_of_work(seen: Seen) -> None:
    assert [run["status"] for run in seen.without_redis] == ["SUCCESS"]
    assert seen.interrupted is not None
    assert seen.interrupted.code == 130
    assert "is stored, and Dagster goes on with it" in seen.interrupted.err
    complete = [row for row in seen.log_rows if row["status"] == "complete"]
    assert all(row["assets_synced"] + row["failed"] > 0 for row in complete)


def test_all_end_in_order_and_the_daemon_has_nothing_to_complain_of(seen: Seen) -> None:
    assert seen.stopped == [0, 130]
    # Of a server of one's own, no machine has a log, a lock or data.
    assert seen.embedded == []
    assert "KeyError" not in seen.daemon_log
