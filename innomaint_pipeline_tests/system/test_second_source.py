"""A second source beside Innomaint, under the real daemon, without a change of what both share."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psutil
import pytest

from innomaint_pipeline.store.connections import with_driver
from innomaint_pipeline_tests.system.conftest import (
    PROJECT,
    Installation,
    build_environment,
    installation,
    wait_until,
)
from innomaint_pipeline_tests.system.throwaway import GOES_ON, NAMES

pytestmark = pytest.mark.system

_MODULE = "innomaint_pipeline_tests.system.throwaway.definitions"
_STOP_SECONDS = 30
_LONGEST_SECONDS, _SHORT_SECONDS = 60.0, 0.2


@dataclass(frozen=True)
class Beside:
    """What became of both sources; statuses of runs are by job."""

    most_batches_at_once: int
    tides_read_meanwhile: set[str]
    accounts: set[str]
    killed: str
    statuses: dict[str, list[str]]
    told: set[str]
    synced: int
    leases_left: list[dict[str, Any]]


@contextmanager
def daemon(made: Installation) -> Iterator[None]:
    """Run Dagster's daemon over the definitions with the second source."""
    made.postgres.ensure_database("dagster")
    workspace = made.home / "workspace.yaml"
    workspace.write_text(
        f"load_from:\n  - python_module:\n      module_name: {_MODULE}\n"
        "      location_name: innomaint_pipeline\n",
        encoding="utf-8",
    )
    variables = build_environment(made.home, made.variables) | {
        "DAGSTER_HOME": str(PROJECT),
        "DAGSTER_PG_URL": with_driver(made.postgres.url("dagster"), "psycopg2"),
        "IC3_DATABASE_URL": made.postgres.url("ic3"),
        "INNOMAINT_CONCURRENT_RUNS": "6",
        "PYTHONPATH": os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")]),
    }
    with (made.home / "daemon.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "dagster._daemon", "run", "-w", str(workspace)],
            env=variables,
            cwd=made.home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield
        finally:
            children = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
            for left in [process, *children]:
                with suppress(psutil.NoSuchProcess):
                    left.kill()
            process.wait()


def statuses(made: Installation) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in made.rows("select pipeline_name, status from runs order by id", database="dagster"):
        found.setdefault(row["pipeline_name"], []).append(row["status"])
    return found


def live_leases(made: Installation, source: str) -> set[str]:
    query = "select resource from innomaint_lease where expires_at > clock_timestamp()"
    return {row["resource"] for row in made.rows(query) if row["resource"].startswith(f"{source}/")}


def read_beside() -> Beside:
    """Sync with Innomaint while gauges are read; kill the worker of one gauge; then let both come to rest.

    Innomaint begins when both gauges are read, and its answers take long until all have met.
    """
    have_met = threading.Event()
    with installation(
        "two",
        size=60,
        batch_size=20,
        rate_ms=500,
        latency=lambda: _SHORT_SECONDS if have_met.is_set() else _LONGEST_SECONDS,
        INNOMAINT_SYNC_INTERVAL_S="5",
        INNOMAINT_TIMEOUT_S="120",
    ) as made:
        assert made.run("pause").code == 0
        (made.home / GOES_ON).touch()
        with daemon(made):
            wait_until(lambda: len(live_leases(made, "tides")) == len(NAMES), "both gauges are read")
            assert made.run("resume").code == 0
            most = wait_until(
                lambda: len(found) if len(found := live_leases(made, "innomaint")) == 3 else 0,
                "three batches are in flight beside them",
            )
            meanwhile = live_leases(made, "tides")
            have_met.set()
            (held,) = made.rows("select owner from innomaint_lease where resource = 'tides/harbour'")
            psutil.Process(int((made.home / "harbour.pid").read_text())).kill()
            wait_until(
                lambda: made.rows(
                    f"select 1 from runs where run_id = '{held['owner']}' and status = 'FAILURE'",
                    database="dagster",
                ),
                "the killed run is told",
            )
            wait_until(
                lambda: made.rows(
                    "select 1 from innomaint_lease where resource = 'tides/harbour'"
                    f" and owner <> '{held['owner']}' and expires_at > clock_timestamp()"
                ),
                "another run reads the gauge",
            )
            synced = "select count(*) as n from innomaint_sync_state where state = 'synced'"
            wait_until(lambda: made.rows(synced)[0]["n"] == 60, "everything is synced")
            (made.home / GOES_ON).unlink()
            unfinished = "select 1 from runs where status not in ('SUCCESS', 'FAILURE', 'CANCELED')"
            wait_until(lambda: not made.rows(unfinished, database="dagster"), "no run is left unfinished")
            told = wait_until(
                lambda: {
                    row["name"].partition(" ")[0] for row in made.rows("select name from innomaint_alert")
                },
                "the condition of the second source is told",
            )
            return Beside(
                most,
                meanwhile,
                {row["account"] for row in made.rows("select account from innomaint_rate_limit")},
                held["owner"],
                statuses(made),
                told,
                made.rows(synced)[0]["n"],
                made.rows("select * from innomaint_lease where expires_at > clock_timestamp()"),
            )


SCENARIOS = {"second source": read_beside}


@pytest.fixture
def beside(outcomes: dict[str, Future[Any]]) -> Beside:
    return outcomes["second source"].result()


def test_innomaint_keeps_three_batches_in_flight_beside_another_source(beside: Beside) -> None:
    assert beside.most_batches_at_once == 3
    assert beside.tides_read_meanwhile == {f"tides/{name}" for name in NAMES}
    assert beside.synced == 60


def test_each_source_has_a_clock_of_its_own(beside: Beside) -> None:
    assert "tides" in beside.accounts
    assert len(beside.accounts) == 2


def test_a_killed_run_of_one_source_is_repeated_and_none_of_the_other_is_marked(beside: Beside) -> None:
    assert beside.statuses["read_tides"].count("FAILURE") == 1
    assert set(beside.statuses["read_tides"]) == {"FAILURE", "SUCCESS"}
    assert set(beside.statuses["sync_batch"]) == {"SUCCESS"}
    assert beside.leases_left == []


def test_people_are_told_of_the_other_source_too(beside: Beside) -> None:
    assert "tides" in beside.told
