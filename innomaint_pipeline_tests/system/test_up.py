"""`innomaint up`: the real webserver and daemon, driven through GraphQL as the UI does."""

import json
import os
import signal
import urllib.request
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from innomaint_pipeline.simulator.innomaint.faults import Status
from innomaint_pipeline.simulator.innomaint.server import InnomaintSimulator
from innomaint_pipeline.simulator.innomaint.workbook import write_sample_workbook
from innomaint_pipeline.simulator.innomaint.world import World
from innomaint_pipeline_tests.conftest import CANARY_TOKEN
from innomaint_pipeline_tests.system.conftest import (
    LONG_SECONDS,
    Command,
    Ended,
    command_line,
    find_free_port,
    find_processes,
    installation,
    new_home,
    start,
    wait_until,
)
from innomaint_pipeline_tests.system.ui import Ui

pytestmark = pytest.mark.system

FIRST, SECOND = "batch_000001", "batch_000002"
STOP_SECONDS = 30
# Stands in a .env of the home, where that of the other tests must not stand.
FOLDER_TOKEN = "from-the-folder"
EXECUTE_AGAIN = """
mutation ($params: ReexecutionParams!) {
  launchRunReexecution(reexecutionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""
RUN = """
query ($id: ID!) { runOrError(runId: $id) { ... on Run { status stepStats { stepKey status } } } }
"""


class Launchpad(Ui):
    """The UI with its launchpad; no answer may hold the token."""

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        data = super().ask(query, **variables)
        assert CANARY_TOKEN not in json.dumps(data)
        return data

    def execute_again_from_failure(self, run_id: str) -> str:
        """Press the button of a failed run; return the new run's id."""
        params = {"parentRunId": run_id, "strategy": "FROM_FAILURE"}
        launched = self.ask(EXECUTE_AGAIN, params=params)["launchRunReexecution"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return launched["run"]["runId"]

    def end_of(self, run_id: str) -> dict[str, Any]:
        """Return a run once it has ended."""

        def ended() -> dict[str, Any] | None:
            run = self.ask(RUN, id=run_id)["runOrError"]
            return run if run["status"] in {"SUCCESS", "FAILURE", "CANCELED"} else None

        return wait_until(ended, f"run {run_id} ends")

    def green_and_red(self, asset: str) -> tuple[set[str], set[str]]:
        """Return the materialized and the failed partitions of an asset."""
        found = self.partitions(asset)
        return found["materializedPartitions"], found["failedPartitions"]


@dataclass(frozen=True)
class Day:
    """What was seen of `up` after a sync of the command line in which one CMMS asset failed."""

    failing: str
    before: tuple[set[str], set[str]]
    tables_before: tuple[set[str], set[str]]
    second_serials: set[str]
    launched: dict[str, Any]
    healed: dict[str, Any]
    after: tuple[set[str], set[str]]
    requested: list[str | None]
    slice_result: dict[str, Any]
    single: dict[str, Any]
    second_up: Ended
    stopped: Ended
    left: list[str]


def spend_a_day() -> Day:
    """Sync with a failure, start `up`, materialize and re-execute through GraphQL, stop."""
    port = find_free_port()
    with installation("day", size=12, batch_size=6) as made:
        failing = made.serials[1]
        made.simulator.faults.always(failing, Status(503))
        assert made.run("sync").code == 1
        made.simulator.faults.clear()
        already = len(made.simulator.record)
        command = made.start("up", "--port", str(port))
        address, token = wait_for_ready(command)
        ui = Launchpad(port)
        before, tables_before = ui.green_and_red("cmms_sync_log"), ui.green_and_red("ic3_asset_performance")
        config = {"config": {"asked_before": datetime.now(UTC).isoformat()}}
        launched = ui.launch(
            "sync_batch",
            {"dagster/partition": SECOND},
            {"ops": {"innomaint_response": config, "cmms_sync_log": config}},
        )
        (failed,) = ui.runs("FAILURE")
        healing = ui.execute_again_from_failure(failed["runId"])
        seen = ui.end_of(launched), ui.end_of(healing), ui.green_and_red("cmms_sync_log")
        requested = made.requested_since(already)
        served = AskedService(address, token)
        slice_result, single = served.sync_slice("/sync?batch=2&offset=1"), served.sync_asset(made.serials[7])
        second_up = made.run("up", "--port", str(port))
        stopped = command.signal(signal.SIGTERM)
        return Day(
            failing,
            before,
            tables_before,
            set(made.serials[6:]),
            *seen,
            requested,
            slice_result,
            single,
            second_up,
            stopped,
            [line for line in map(command_line, find_processes(made.home)) if "dagster" in line],
        )


@dataclass(frozen=True)
class AskedService:
    """The admin service, asked for work without waiting for what is not done at once."""

    address: str
    token: str

    def sync_slice(self, path: str) -> dict[str, Any]:
        """Ask for a slice; return its result once it is there."""
        status, stored = self._send(path, "POST")
        assert status == 202
        return wait_until(lambda: self._get(stored["address"])["result"], f"a result of {path}")

    def sync_asset(self, cmms_asset_id: str) -> dict[str, Any]:
        status, answer = self._send(f"/sync/{quote(cmms_asset_id, safe='')}", "POST")
        assert status == 200
        return answer

    def _get(self, address: str) -> dict[str, Any]:
        return self._send(address.removeprefix("/api/admin/cmms"), "GET")[1]

    def _send(self, path: str, method: str) -> tuple[int, dict[str, Any]]:
        headers = {"Authorization": f"Bearer {self.token}", "Prefer": "respond-async"}
        request = urllib.request.Request(
            f"{self.address}/api/admin/cmms{path}", headers=headers, method=method
        )
        with urllib.request.urlopen(request, timeout=LONG_SECONDS) as answer:
            return answer.status, json.load(answer)


def wait_for_ready(command: Command) -> tuple[str, str]:
    """Read what `up` says until it is ready; return the admin service's address and token."""
    (page,) = [line for line in read_until_ready(command) if line.startswith("The page: ")]
    address, token = page.removeprefix("The page: ").strip().split("/sync#token=")
    return address, token


def stop_before_it_is_ready() -> tuple[Ended, list[str]]:
    """SIGTERM to `up` as soon as it has started a part; the command lines of what it leaves."""
    with new_home("upx") as home:
        command = start(home, {"INNOMAINT_API_TOKEN": "invented"}, "up", "--port", str(find_free_port()))
        wait_until(
            lambda: [one for one in command.descendants() if "-m dagster" in command_line(one)],
            "a part of up is started",
        )
        ended = command.signal(signal.SIGTERM)
        return ended, [line for line in map(command_line, find_processes(home)) if "dagster" in line]


@dataclass(frozen=True)
class Folder:
    """An installation that is a folder with a `.env`, whose `up` was killed, begun anew, and hung up."""

    said: list[str]
    synced: int
    refused: Ended
    daemons_after_a_kill: int
    ended: Ended
    left: list[str]


def live_in_a_folder() -> Folder:
    """Start `up` where only a `.env` lies; kill it, start it again, start another one, close its terminal."""
    with new_home("fld") as home, InnomaintSimulator(World(6), token=FOLDER_TOKEN) as simulator:
        other = home / "other"
        other.mkdir()
        write_sample_workbook(simulator.world, home / "master.xlsx")
        settings = {
            "INNOMAINT_API_URL": simulator.url,
            "INNOMAINT_API_TOKEN": FOLDER_TOKEN,
            "INNOMAINT_WORKBOOK": "master.xlsx",
            "INNOMAINT_ADMIN_PORT": str(find_free_port()),
            "INNOMAINT_SYNC_INTERVAL_S": "5",
        }
        write_env_file(home, settings)
        port = find_free_port()
        first = start_in(home, "up", "--port", str(port))
        said = read_until_ready(first)
        wait_until(lambda: len(simulator.record) >= 6, "every asset was asked for")
        daemon = next(it for it in find_processes(home) if "dagster._daemon" in command_line(it))
        same = {"IC3_DATABASE_URL": daemon.environ()["IC3_DATABASE_URL"]}
        write_env_file(other, settings | same | {"INNOMAINT_ADMIN_PORT": str(find_free_port())})
        refused = start_in(other, "up", "--port", str(find_free_port())).end()
        os.kill(first.process.pid, signal.SIGKILL)
        second = start_in(home, "up", "--port", str(port))
        read_until_ready(second)
        daemons = [it for it in map(command_line, find_processes(home)) if "dagster._daemon" in it]
        status = start_in(home, "status", "--json").end()
        # A closed terminal says it more than once.
        second.process.send_signal(signal.SIGHUP)
        ended = second.signal(signal.SIGHUP)
        left = [line for line in map(command_line, find_processes(home)) if "dagster" in line]
        first.process.communicate()
        return Folder(said, status.json["synced_assets"], refused, len(daemons), ended, left)


def write_env_file(folder: Path, settings: dict[str, str]) -> None:
    path = folder / ".env"
    path.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    path.chmod(0o600)


def start_in(folder: Path, *arguments: str) -> Command:
    """Start a command with nothing but the `.env` of its folder."""
    return start(folder, {}, *arguments, is_bare=True)


def read_until_ready(command: Command) -> list[str]:
    stream = command.process.stderr
    assert stream is not None
    said: list[str] = []
    for line in stream:
        said.append(line)
        if line.startswith("Ready: "):
            return said
    raise AssertionError(f"up ended before it was ready:\n{''.join(said)}")


SCENARIOS: dict[str, Callable[[], Any]] = {
    "an installation in a folder": live_in_a_folder,
    "a day of up": spend_a_day,
    "up stopped early": stop_before_it_is_ready,
}


@pytest.fixture
def day(outcomes: dict[str, Future[Day]]) -> Day:
    return outcomes["a day of up"].result()


def test_a_partition_that_failed_on_the_command_line_is_red_in_the_ui_and_its_tables_are_green(
    day: Day,
) -> None:
    assert day.before == ({SECOND}, {FIRST})
    assert day.tables_before == ({FIRST, SECOND}, set())


def test_a_partition_materialized_from_the_ui_succeeds_and_asks_for_its_assets(day: Day) -> None:
    assert day.launched["status"] == "SUCCESS"
    assert day.second_serials <= set(day.requested)


def test_a_failed_partition_executed_again_from_failure_turns_green_and_asks_only_for_the_missing(
    day: Day,
) -> None:
    assert day.healed["status"] == "SUCCESS"
    assert {step["stepKey"] for step in day.healed["stepStats"]} == {"cmms_sync_log"}
    assert day.after == ({FIRST, SECOND}, set())
    assert sorted(filter(None, day.requested)) == sorted([*day.second_serials, day.failing])


def test_a_slice_asked_for_over_http_is_synced_by_dagster_and_a_single_asset_at_once(day: Day) -> None:
    result = day.slice_result
    assert (result["total"], result["success"], result["failed"]) == (2, 2, 0)
    assert day.single["status"] == "synced"


def test_a_second_up_of_the_same_home_and_port_is_refused(day: Day) -> None:
    assert day.second_up.code == 2
    assert "Traceback" not in day.second_up.err


def test_sigterm_ends_up_soon_and_leaves_no_process(day: Day) -> None:
    assert day.stopped.code == 130
    assert day.stopped.seconds < STOP_SECONDS
    assert day.left == []


@pytest.fixture
def folder(outcomes: dict[str, Future[Folder]]) -> Folder:
    return outcomes["an installation in a folder"].result()


def test_a_folder_with_a_dotenv_file_is_an_installation_whose_file_is_named(folder: Folder) -> None:
    assert folder.said[0].startswith("Settings: ")
    assert "/.env, and the environment, which wins." in folder.said[0]
    assert folder.synced == 6


def test_up_that_was_killed_starts_again_with_one_daemon(folder: Folder) -> None:
    assert folder.daemons_after_a_kill == 1


def test_a_second_up_on_the_same_databases_from_another_folder_is_refused(folder: Folder) -> None:
    assert folder.refused.code == 2
    assert "innomaint up runs already on these databases" in folder.refused.err


def test_a_closed_terminal_ends_up_as_sigterm_does(folder: Folder) -> None:
    assert folder.ended.code == 130
    assert folder.ended.seconds < STOP_SECONDS
    assert folder.left == []


def test_up_that_is_stopped_before_it_is_ready_leaves_no_process(
    outcomes: dict[str, Future[tuple[Ended, list[str]]]],
) -> None:
    ended, left = outcomes["up stopped early"].result()

    assert ended.code == 130
    assert ended.seconds < STOP_SECONDS
    assert left == []
