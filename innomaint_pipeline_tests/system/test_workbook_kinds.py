"""A watched workbook and everything that happens to files, then a power cut, under one `innomaint up`."""

import shutil
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from innomaint_pipeline_tests.system.conftest import find_processes, make_home, wait_until
from innomaint_pipeline_tests.system.test_by_itself import Running, _postmaster, running, start_up

pytestmark = pytest.mark.system

SIZE = 6
HEADER = "CMMS Asset ID,Asset Name\n"
CHECKS = 3
LAUNCH_CHECKS = """
mutation($p: ExecutionParams!) { launchRun(executionParams: $p) { __typename
  ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }
"""


@dataclass
class Seen:
    """What was seen of each kind: the alert that was raised, the rows that were there in the end."""

    alerts: dict[str, str | None] = field(default_factory=dict)
    rows: dict[str, set[str]] = field(default_factory=dict)
    after_power_cut: dict[str, Any] = field(default_factory=dict)


def ids(first: int, end: int) -> list[str]:
    # The shorter one is no prefix's end by accident: a cut id would be another asset.
    return [f"Pump station {number:04d} north" for number in range(first, end)]


def lines(names: list[str]) -> str:
    return "".join(f"{name},Pump\n" for name in names)


class Watched:
    """The workbook of a running installation."""

    def __init__(self, up: Running, path: Path) -> None:
        self.up = up
        self.path = path

    def imported(self) -> set[str]:
        rows = self.up.made.rows("select cmms_asset_id from ic3_asset_master where asset_name is not null")
        return {row["cmms_asset_id"] for row in rows}

    def alert(self) -> str | None:
        """Return what people were told of the import, None when nothing is wrong."""
        found = self.up.made.rows("select value from innomaint_alert where name = 'import to address 0'")
        return found[0]["value"] if found else None

    def trouble(self) -> str | None:
        found = self.up.made.rows(
            "select value #>> '{}' as value from innomaint_setting where name like '%workbook_trouble%'"
        )
        return found[0]["value"] if found else None

    def grow(self, text: str, pause: float = 0.6) -> None:
        """Append a text in pieces that end within an id, as a slow copy does."""
        middle = 37
        for at in range(0, len(text), middle):
            with self.path.open("a", encoding="utf-8") as file:
                file.write(text[at : at + middle])
            time.sleep(pause)


def meet_files(watched: Watched, seen: Seen) -> None:
    """A file that is not there; one copied slowly while the database restarts; renamed; a folder; a file."""
    path = watched.path
    wait_until(watched.alert, "an alert for a workbook that is not there")
    seen.alerts["not there"] = watched.trouble()

    path.write_text(HEADER, encoding="utf-8")
    watched.grow(lines(ids(0, 6)))
    for process in _postmaster(watched.up):
        process.kill()
    watched.grow(lines(ids(6, 12)))
    wait_until(lambda: _holds(watched, 12) and not watched.alert(), "a slow copy is imported")
    seen.rows["copied slowly during a restart"] = watched.imported()

    aside = path.with_name("moved.csv")
    path.rename(aside)
    path.mkdir()
    wait_until(watched.alert, "an alert for a folder in the place of a workbook that was renamed")
    seen.alerts["a folder"] = watched.trouble()
    path.rmdir()
    aside.rename(path)
    wait_until(lambda: not watched.alert(), "it is back")
    seen.rows["back again"] = watched.imported()


def _holds(watched: Watched, count: int) -> bool:
    try:
        return len(watched.imported()) >= count
    except psycopg.OperationalError:
        return False


def cut_the_power(watched: Watched, seen: Seen) -> None:
    """Kill everything while three checks and an import wait for a lock, so that they are surely under way."""
    up = watched.up
    up.wait_until_idle()
    # Closed without a commit: its server is killed, too.
    with closing(psycopg.connect(up.made.postgres.url("ic3"))) as holder:
        # Sensors read the master, too, and go on looking.
        holder.execute("lock table ic3_asset_performance in access exclusive mode")
        holder.execute("lock table ic3_asset_master in exclusive mode")
        for _ in range(CHECKS):
            launch_checks(up)
        with watched.path.open("a", encoding="utf-8") as file:
            file.write(lines(ids(12, 16)))
        wait_until(lambda: jobs_under_way(up) >= {"check_tables", "import_asset_master"}, "all is under way")
        wait_until(lambda: count_under_way(up) >= CHECKS + 1, "three checks and an import are under way")
        everybody = find_processes(up.made.home)
        up.command.kill_with_all_it_started()
        for process in [*everybody, *find_processes(up.made.home)]:
            if process.is_running():
                process.kill()
    began = time.monotonic()
    up.command = start_up(up.made, up.port)
    wait_until(
        lambda: count_under_way(up) == 0 and len(watched.imported()) >= 16, "all runs end, the import is done"
    )
    seen.after_power_cut["seconds"] = round(time.monotonic() - began)
    wait_until(lambda: up.states()["never"] == 0, "everything due is synced")
    up.wait_until_idle()
    seen.after_power_cut["states"] = up.states()
    seen.after_power_cut["runs"] = up.made.rows(
        "select pipeline_name, status, count(*) from runs group by 1, 2 order by 1, 2", database="dagster"
    )
    seen.rows["power cut"] = watched.imported()


def launch_checks(up: Running) -> None:
    parameters = {
        "selector": {
            "repositoryLocationName": "innomaint_pipeline",
            "repositoryName": "__repository__",
            "jobName": "check_tables",
        },
        "runConfigData": {},
        "mode": "default",
    }
    launched = up.ui.ask(LAUNCH_CHECKS, p=parameters)["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched


def jobs_under_way(up: Running) -> set[str]:
    rows = up.made.rows("select pipeline_name as name from runs where status = 'STARTED'", database="dagster")
    return {row["name"] for row in rows}


def count_under_way(up: Running) -> int:
    started = up.made.rows(
        "select count(*) as n from runs where status not in ('SUCCESS', 'FAILURE', 'CANCELED')",
        database="dagster",
    )
    return started[0]["n"]


def meet_every_kind() -> Seen:
    folder = make_home("wbf")
    seen = Seen()
    try:
        path = folder / "assets.csv"
        with running("wbk", size=SIZE, batch_size=SIZE, rate_ms=20, INNOMAINT_WORKBOOK=str(path)) as up:
            watched = Watched(up, path)
            meet_files(watched, seen)
            cut_the_power(watched, seen)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return seen


SCENARIOS: dict[str, Callable[[], Any]] = {"every kind of workbook": meet_every_kind}


def test_a_workbook_has_the_right_rows_or_an_alert_whatever_happens_to_the_file(
    outcomes: dict[str, Future[Seen]],
) -> None:
    seen = outcomes["every kind of workbook"].result()
    expected = {"copied slowly during a restart": 12, "back again": 12, "power cut": 16}
    assert seen.rows == {name: set(ids(0, count)) for name, count in expected.items()}
    assert all(seen.alerts.values()), seen.alerts


def test_after_a_power_cut_every_run_ends_in_truth_and_what_was_lost_is_done(
    outcomes: dict[str, Future[Seen]],
) -> None:
    seen = outcomes["every kind of workbook"].result()
    after = seen.after_power_cut
    assert after["states"]["never"] == 0
    ended = {(row["pipeline_name"], row["status"]): row["count"] for row in after["runs"]}
    assert {status for _, status in ended} <= {"SUCCESS", "FAILURE"}
    assert ended["check_tables", "FAILURE"] >= CHECKS, f"the lost ones end as what they are: {ended}"
