"""Killed, interrupted, refused: what is stored is kept, and the same command asks for the rest."""

import os
import signal
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from innomaint_pipeline.simulator.innomaint.faults import Status
from innomaint_pipeline.simulator.limit import build_fixed_latency
from innomaint_pipeline_tests.system.conftest import (
    Command,
    Ended,
    Installation,
    command_line,
    find_processes,
    installation,
    wait_until,
)

pytestmark = pytest.mark.system

SIZE = 40
ENOUGH = 12
"""Requests after which the middle of a sync is reached."""
# A whole attempt's timeout is 15 s; beyond it an interrupted command may only clean up.
END_SECONDS = 15 + 15


@dataclass(frozen=True)
class Outcome:
    """A sync that was disturbed, then the same command again."""

    disturbed: Ended | None
    stored: set[str]
    requests: int
    batches: list[str]
    runs: list[str]
    again: Ended
    asked_again: list[str | None]
    states: list[dict[str, Any]]
    waited_for: str = ""


def disturb(
    prefix: str,
    how: Callable[[Installation, Command], Ended | None],
    *options: str,
    batch_size: int = SIZE // 2,
    is_locked: bool = False,
) -> Outcome:
    """Sync, disturb it in the middle, and give the same command once more, if wished behind a lock."""
    latency = build_fixed_latency(0.2)
    with installation(prefix, size=SIZE, batch_size=batch_size, latency=latency) as made:
        command = made.start("sync", *options, "--json")
        wait_until(lambda: len(made.simulator.record) >= ENOUGH and made.stored(), "the middle of the sync")
        disturbed = how(made, command)
        stored, requests = made.stored(), len(made.simulator.record)
        batches, runs = made.batch_statuses(), made.run_statuses()
        other_command = made.start("sync", *options, "--json")
        waited_for = wait_behind_a_lock(made, other_command) if is_locked else ""
        again = other_command.end()
        return Outcome(
            disturbed,
            stored,
            requests,
            batches,
            runs,
            again,
            made.requested_since(requests),
            made.rows("select state, count(*) as n from innomaint_sync_state group by 1"),
            waited_for,
        )


def wait_behind_a_lock(made: Installation, command: Command) -> str:
    """Lock a table that the workers write until the command says what they wait for; return its words."""
    assert command.process.stderr is not None
    with psycopg.connect(made.postgres.url("ic3"), application_name="nightly report") as holder:
        holder.execute("lock table ic3_asset_performance in access exclusive mode")
        for line in command.process.stderr:
            if "waits for the lock" in line:
                return line
    raise AssertionError("the command ended without a word about the lock")


def kill_the_command(made: Installation, command: Command) -> None:
    """SIGKILL to the command alone; its workers notice and end."""
    os.kill(command.process.pid, signal.SIGKILL)
    command.end()
    wait_until(lambda: not _of_commands(made), "the workers of a killed command end")


def kill_everything(made: Installation, command: Command) -> None:
    """SIGKILL to the command and its workers at once: nobody is left to clean up."""
    del made
    command.kill_with_all_it_started()


def _of_commands(made: Installation) -> list[int]:
    """Return the processes of a home but those of its database server."""
    found = []
    for process in find_processes(made.home):
        line = command_line(process)
        if "embedded.watch" not in line and "postgres" not in line.partition(" ")[0]:
            found.append(process.pid)
    return found


def kill_a_worker() -> Outcome:
    """SIGKILL to one of two workers; the command goes on."""
    with installation("wrk", size=SIZE, batch_size=SIZE // 2, latency=build_fixed_latency(0.2)) as made:
        command = made.start("sync", "--json")
        wait_until(lambda: len(made.simulator.record) >= ENOUGH and made.stored(), "the middle of the sync")
        # The workers are what was forked from the process that has imported Dagster; the first has a batch
        # under way.
        forked = [process for process in command.descendants() if "forkserver" in command_line(process)]
        workers = sorted(
            (one for one in forked if one.ppid() in {it.pid for it in forked}), key=lambda one: one.pid
        )
        workers[0].suspend()
        stored, requests = made.stored(), len(made.simulator.record)
        workers[0].kill()
        ended = command.end()
        return Outcome(
            ended,
            stored,
            requests,
            made.batch_statuses(),
            made.run_statuses(),
            ended,
            made.requested_since(0),
            made.rows("select state, count(*) as n from innomaint_sync_state group by 1"),
        )


@dataclass(frozen=True)
class Outage:
    """A sync of a source that fails for everything, and the waits between the repetitions of its step."""

    ended: Ended
    requests: int
    waits_seconds: list[int]
    states: Counter[str]
    batches: list[str]


def meet_an_outage() -> Outage:
    with installation("out", size=SIZE, batch_size=SIZE, rate_ms=0) as made:
        made.simulator.faults.always_everywhere(Status(503))
        ended = made.run("sync", "--json")
        events = made.rows(
            "select event::json -> 'dagster_event' -> 'event_specific_data' -> 'seconds_to_wait' as n"
            " from event_logs where dagster_event_type = 'STEP_UP_FOR_RETRY' order by id",
            database="dagster",
        )
        states = made.rows("select state from innomaint_sync_state")
        return Outage(
            ended,
            len(made.simulator.record),
            [row["n"] for row in events],
            Counter(row["state"] for row in states),
            made.batch_statuses(),
        )


SCENARIOS: dict[str, Callable[[], Any]] = {
    "the command killed": lambda: disturb("kcm", kill_the_command, batch_size=SIZE),
    "everything killed": lambda: disturb("kev", kill_everything, is_locked=True),
    "SIGINT": lambda: disturb("int", lambda _, command: command.signal(signal.SIGINT), "--all"),
    "SIGTERM": lambda: disturb("trm", lambda _, command: command.signal(signal.SIGTERM), batch_size=SIZE),
    "a worker killed": kill_a_worker,
    "an outage": meet_an_outage,
}


@pytest.mark.parametrize("name", ["the command killed", "everything killed", "SIGINT", "SIGTERM"])
def test_the_same_command_completes_and_asks_only_for_what_was_not_stored(
    outcomes: dict[str, Future[Outcome]], name: str
) -> None:
    outcome = outcomes[name].result()

    assert 0 < len(outcome.stored) < SIZE, "the sync was not disturbed in its middle"
    assert outcome.again.code == 0
    assert outcome.states == [{"state": "synced", "n": SIZE}]
    asked = Counter(outcome.asked_again)
    assert set(asked.values()) == {1}
    assert set(asked).isdisjoint(outcome.stored)
    assert len(asked) == SIZE - len(outcome.stored)


def test_workers_that_wait_for_the_lock_of_somebody_are_told_with_whose_it_is(
    outcomes: dict[str, Future[Outcome]],
) -> None:
    waited_for = outcomes["everything killed"].result().waited_for

    assert "nightly report" in waited_for
    assert "ic3_asset_performance" in waited_for


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_interrupted_sync_exits_with_130_soon_and_says_that_it_kept_what_was_done(
    outcomes: dict[str, Future[Outcome]], name: str
) -> None:
    disturbed = outcomes[name].result().disturbed

    assert disturbed is not None
    assert disturbed.code == 130
    assert disturbed.seconds < END_SECONDS
    assert "Interrupted; what was done is kept." in disturbed.err
    assert "Traceback" not in disturbed.err


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "the command killed"])
def test_an_interrupted_sync_is_cancelled_in_dagster_and_in_the_log(
    outcomes: dict[str, Future[Outcome]], name: str
) -> None:
    outcome = outcomes[name].result()

    assert set(outcome.batches) == {"cancelled"}
    assert set(outcome.runs) == {"CANCELED"}


def test_an_interrupted_request_for_everything_is_taken_up_again(
    outcomes: dict[str, Future[Outcome]],
) -> None:
    again = outcomes["SIGINT"].result().again

    assert "Taking up the same request" in again.err
    assert again.json["total"] == SIZE
    assert again.json["failed"] == 0


def test_a_killed_worker_is_reported_and_its_batch_repeated(outcomes: dict[str, Future[Outcome]]) -> None:
    outcome = outcomes["a worker killed"].result()

    assert outcome.again.code == 0
    assert "it is repeated" in outcome.again.err
    assert outcome.states == [{"state": "synced", "n": SIZE}]
    asked = Counter(outcome.asked_again)
    assert set(asked) == {serial for serial in asked if serial}
    assert len(asked) == SIZE
    assert {serial for serial, times in asked.items() if times > 1}.isdisjoint(outcome.stored)


def test_an_outage_exits_with_3_after_few_requests_and_waits_of_5_10_and_20_seconds(
    outcomes: dict[str, Future[Outage]],
) -> None:
    outage = outcomes["an outage"].result()

    assert outage.ended.code == 3
    assert outage.ended.json["total"] == SIZE
    assert outage.waits_seconds == [5, 10, 20]
    assert "the next one may be sent at" in outage.ended.err
    # Ten in a row open the breaker; what was under way then, and one probe, come on top.
    assert outage.requests < SIZE
    assert outage.states["never"] > 0
    assert outage.states["synced"] == 0
    assert outage.batches == ["failed"]
