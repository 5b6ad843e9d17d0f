"""Runs that end early or may not begin: a refused token, an outage, a lease, a kill, a cancellation."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import NoReturn

import pytest

from innomaint_pipeline.domain.innomaint import SOURCE
from innomaint_pipeline.errors import AuthError, BreakerOpenError, DatabaseError, RunCancelledError
from innomaint_pipeline.simulator.innomaint.faults import Healthy, NullResponse, Status
from innomaint_pipeline.simulator.innomaint.world import World
from innomaint_pipeline.simulator.limit import build_fixed_latency
from innomaint_pipeline.sources.outcomes import RequestPolicy
from innomaint_pipeline.store.settings import AUTH_REFUSED_AT, load_setting, save_setting
from innomaint_pipeline.sync.innomaint.batch import BatchRun, Selection
from innomaint_pipeline.sync.innomaint.steps import close_failed_batch, fetch_batch
from innomaint_pipeline_tests.conftest import (
    CANARY_TOKEN,
    FIRST_BATCH,
    KOLKATA,
    WORLD_SIZE,
    Pipeline,
    fix_world,
)


def stored_serials(pipeline: Pipeline) -> set[str]:
    rows = pipeline.rows(
        "select cmms_asset_id from innomaint_response join ic3_asset_master using (asset_id)"
    )
    return {row["cmms_asset_id"] for row in rows}


def is_token_refused(pipeline: Pipeline) -> bool:
    with pipeline.database.begin() as connection:
        return load_setting(connection, SOURCE, AUTH_REFUSED_AT) is not None


def count_states(pipeline: Pipeline) -> Counter[str]:
    return Counter(state for state, _ in pipeline.states().values())


def when(condition: Callable[[], bool], act: Callable[[], object]) -> threading.Thread:
    """Act from another thread as soon as the condition holds, or after ten seconds."""

    def wait() -> None:
        until = time.monotonic() + 10
        while not condition() and time.monotonic() < until:
            time.sleep(0.005)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_token_ends_the_batch_marks_no_asset_and_enriches_what_has_arrived(
    pipeline: Pipeline, status: int
) -> None:
    pipeline.policy = RequestPolicy(max_in_flight=2, retry_base_seconds=0.001)
    pipeline.simulator.faults.next_everywhere(*[Healthy()] * 6).always_everywhere(Status(status))
    run = pipeline.run("first")
    with pytest.raises(AuthError, match="INNOMAINT_API_TOKEN"):
        pipeline.fetch(run)
    assert len(pipeline.simulator.record) <= 8
    assert is_token_refused(pipeline), "what had arrived before is older than the refusal"
    stored = stored_serials(pipeline)
    assert 5 <= len(stored) <= 6
    states = pipeline.states()
    assert {serial for serial, state in states.items() if state == ("synced", None)} == stored
    assert {states[serial] for serial in states.keys() - stored} == {("never", None)}
    assert len(pipeline.rows("select 1 from ic3_asset_performance")) == len(stored)

    pipeline.simulator.faults.clear()
    pipeline.simulator.record.clear()
    assert pipeline.sync(pipeline.run("second")).status == "complete"
    assert set(pipeline.simulator.record.count_by_serial()) == set(pipeline.serials) - stored
    assert count_states(pipeline) == {"synced": WORLD_SIZE}


def test_a_batch_that_ends_before_it_is_settled_has_its_row(pipeline: Pipeline) -> None:
    pipeline.simulator.faults.always_everywhere(Status(401))
    pipeline.simulator.app.latency = build_fixed_latency(0.05)
    run = pipeline.run("first")
    with pytest.raises(AuthError) as caught:
        pipeline.fetch(run)
    close_failed_batch(run, caught.value)
    row = pipeline.one("select * from cmms_sync_log")
    assert row["duration_ms"] >= 50
    assert pipeline.rows("select * from innomaint_lease") == []
    assert (row["status"], row["total"], row["assets_synced"], row["failed"], row["skipped"]) == (
        "failed",
        WORLD_SIZE,
        0,
        0,
        WORLD_SIZE,
    )
    close_failed_batch(run, RunCancelledError("ended by a person"))
    close_failed_batch(run, KeyboardInterrupt())
    statuses = [item["status"] for item in pipeline.rows("select status from cmms_sync_log order by id")]
    assert statuses == ["failed", "cancelled"], "the same word of the same run is written once"


def test_a_refused_token_in_the_second_pass_stops_settling(pipeline: Pipeline) -> None:
    serial = pipeline.serials[0]
    pipeline.simulator.faults.next(serial, *[Status(500)] * 3, Status(403))
    run = pipeline.run("first")
    pipeline.fetch(run)
    pipeline.enrich(run)
    with pytest.raises(AuthError):
        pipeline.settle(run)
    assert pipeline.states()[serial] == ("failed", "transient")
    close_failed_batch(run, AuthError("refused"))
    row = pipeline.one(
        "select * from ic3_sync_log where serialnumber = :serial and run_id = 'first'", serial=serial
    )
    assert (row["error_class"], row["attempts"]) == ("transient", 3)


def test_an_outage_opens_the_breaker_after_ten_assets_and_costs_few_requests(
    empty_pipeline: Pipeline,
) -> None:
    fix_world(empty_pipeline.simulator, World(40))
    empty_pipeline.import_serials()
    empty_pipeline.simulator.faults.always_everywhere(Status(503))
    run = empty_pipeline.run("first")
    with pytest.raises(BreakerOpenError, match="next probe"):
        empty_pipeline.fetch(run)
    requests = len(empty_pipeline.simulator.record)
    assert 10 <= requests <= 30
    asked = set(empty_pipeline.simulator.record.count_by_serial())
    states = empty_pipeline.states()
    assert {serial for serial, state in states.items() if state == ("failed", "transient")} == asked
    assert {states[serial] for serial in states.keys() - asked} == {("never", None)}

    with pytest.raises(BreakerOpenError):
        empty_pipeline.fetch(empty_pipeline.run("first"))
    report = empty_pipeline.settle(run)
    assert len(empty_pipeline.simulator.record) == requests, "while the breaker is open nothing is asked for"
    assert (report.status, report.counts.success) == ("failed", 0)
    assert {item.cmms_asset_id for item in report.remaining} == asked
    row = empty_pipeline.one("select * from cmms_sync_log")
    assert (row["status"], row["total"], row["failed"], row["skipped"]) == (
        "failed",
        40,
        len(asked),
        40 - len(asked),
    )


def test_whatever_ends_a_run_what_has_arrived_is_enriched_in_both_passes(pipeline: Pipeline) -> None:
    failing = pipeline.serials[3:]
    for serial in failing:
        pipeline.simulator.faults.next(serial, *[Status(500)] * 3)
    run = pipeline.run("first")
    pipeline.fetch(run)
    pipeline.policy = RequestPolicy(max_in_flight=1)
    pipeline.simulator.faults.next_everywhere(Healthy(), Healthy()).always_everywhere(Status(401))
    with pytest.raises(AuthError):
        pipeline.settle(run)
    close_failed_batch(run, AuthError("refused"))
    assert count_states(pipeline) == {"synced": 5, "failed": WORLD_SIZE - 5}
    row = pipeline.one("select status, assets_synced, failed from cmms_sync_log")
    assert row == {"status": "failed", "assets_synced": 5, "failed": WORLD_SIZE - 5}


def test_ten_assets_with_one_contract_error_are_the_sources_trouble(empty_pipeline: Pipeline) -> None:
    fix_world(empty_pipeline.simulator, World(40))
    empty_pipeline.import_serials()
    empty_pipeline.policy = RequestPolicy(max_in_flight=2)
    empty_pipeline.simulator.faults.always_everywhere(NullResponse())
    single = empty_pipeline.run("single", selection=Selection((empty_pipeline.serials[39],)))
    empty_pipeline.fetch(single)
    assert empty_pipeline.states()[empty_pipeline.serials[39]] == ("failed", "contract")
    close_failed_batch(single, RunCancelledError("for the test"))

    run = empty_pipeline.run("first")
    with pytest.raises(BreakerOpenError):
        empty_pipeline.fetch(run)
    assert 10 <= len(empty_pipeline.simulator.record) <= 11
    assert set(empty_pipeline.states().values()) == {("never", None), ("failed", "transient")}
    due = empty_pipeline.one(
        "select max(next_due_at) - now() < interval '10 minutes' as soon from innomaint_sync_state"
        " where state = 'failed'"
    )
    assert due["soon"]
    assert empty_pipeline.settle(run).status == "failed"

    empty_pipeline.simulator.faults.clear()
    empty_pipeline.execute("update innomaint_rate_limit set breaker_probe_at = breaker_probe_at - 31")
    empty_pipeline.execute("update innomaint_sync_state set next_due_at = now()")
    assert empty_pipeline.sync(empty_pipeline.run("second")).status == "complete"
    assert count_states(empty_pipeline) == {"synced": 40}


def test_contract_errors_between_good_answers_are_each_assets_own(empty_pipeline: Pipeline) -> None:
    fix_world(empty_pipeline.simulator, World(40))
    empty_pipeline.import_serials()
    empty_pipeline.policy = RequestPolicy(max_in_flight=1)
    for number, serial in enumerate(empty_pipeline.serials):
        if number % 4:
            empty_pipeline.simulator.faults.always(serial, NullResponse())
    assert empty_pipeline.sync(empty_pipeline.run("first")).status == "partial"
    assert Counter(empty_pipeline.states().values()) == {("synced", None): 10, ("failed", "contract"): 30}


def test_the_breaker_closes_by_itself_when_a_probe_succeeds(empty_pipeline: Pipeline) -> None:
    fix_world(empty_pipeline.simulator, World(40))
    empty_pipeline.import_serials()
    empty_pipeline.simulator.faults.always_everywhere(Status(503))
    with pytest.raises(BreakerOpenError):
        empty_pipeline.fetch(empty_pipeline.run("first"))
    # What 30 seconds would do.
    empty_pipeline.execute("update innomaint_rate_limit set breaker_probe_at = breaker_probe_at - 31")
    empty_pipeline.simulator.record.clear()
    with pytest.raises(BreakerOpenError):
        empty_pipeline.fetch(empty_pipeline.run("second"))
    assert len(empty_pipeline.simulator.record) == 1, "one probe, and no more while it fails"

    empty_pipeline.execute("update innomaint_rate_limit set breaker_probe_at = breaker_probe_at - 61")
    empty_pipeline.simulator.faults.clear()
    assert empty_pipeline.sync(empty_pipeline.run("third")).status == "complete"
    assert count_states(empty_pipeline) == {"synced": 40}


def test_a_second_run_of_a_leased_batch_asks_for_nothing_and_writes_nothing(pipeline: Pipeline) -> None:
    pipeline.fetch(pipeline.run("first"))
    pipeline.simulator.record.clear()
    second = pipeline.run("second")
    assert pipeline.fetch(second).is_leased_elsewhere
    assert pipeline.enrich(second).is_leased_elsewhere
    assert pipeline.settle(second).is_leased_elsewhere
    assert len(pipeline.simulator.record) == 0
    assert count_states(pipeline) == {"never": WORLD_SIZE}
    assert pipeline.rows("select * from cmms_sync_log") == []

    first = pipeline.run("first")
    pipeline.enrich(first)
    assert pipeline.settle(first).status == "complete"
    assert not pipeline.fetch(second).is_leased_elsewhere, "a settled batch is free"


def test_a_step_that_will_be_repeated_keeps_its_lease(pipeline: Pipeline) -> None:
    run = replace(pipeline.run("first"), repeat_after_seconds=5)

    def fail(_run_id: str) -> NoReturn:
        raise DatabaseError("the database is unreachable")

    with pytest.raises(DatabaseError):
        fetch_batch(run, fail, KOLKATA, is_last_step=False)
    assert pipeline.fetch(pipeline.run("second")).is_leased_elsewhere
    assert pipeline.sync(run).status == "complete"


def test_a_step_that_will_not_be_repeated_gives_its_lease_back(pipeline: Pipeline) -> None:
    pipeline.simulator.faults.always_everywhere(Status(401))
    run = replace(pipeline.run("first"), repeat_after_seconds=5)
    with pytest.raises(AuthError):
        fetch_batch(run, pipeline.open_client, KOLKATA, is_last_step=False)
    pipeline.simulator.faults.clear()
    assert pipeline.sync(pipeline.run("second")).status == "complete"


def test_a_repeated_step_asks_only_for_what_it_still_lacks(pipeline: Pipeline) -> None:
    pipeline.simulator.faults.always(pipeline.serials[0], Status(404)).always(
        pipeline.serials[1], Status(500)
    )
    run = pipeline.run("first")
    pipeline.fetch(run)
    pipeline.execute("update innomaint_sync_state set next_due_at = now() - interval '1 second'")
    pipeline.simulator.record.clear()
    assert pipeline.fetch(run).passed.asked == 0
    assert len(pipeline.simulator.record) == 0


KILLED_RUN = """
import sys
from zoneinfo import ZoneInfo
from pydantic import SecretStr
from innomaint_pipeline.sources.outcomes import RequestPolicy
from innomaint_pipeline.sources.innomaint import InnomaintClient
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.pacing import SharedPacing
from innomaint_pipeline.sync.innomaint.batch import BatchRun, Selection
from innomaint_pipeline.sync.innomaint.steps import fetch_batch

database_url, api_url, token = sys.argv[1:]
database = Database(database_url)

def open_client(run_id):
    pacing = SharedPacing(database, api_url, owner=run_id, rate_ms=0)
    return InnomaintClient(api_url, SecretStr(token), pacing, RequestPolicy(max_in_flight=2))

run = BatchRun(database, "batch_000001", "killed", 1440)
fetch_batch(run, open_client, ZoneInfo("Asia/Kolkata"), is_last_step=False)
"""


def test_a_killed_run_loses_only_what_was_not_stored(pipeline: Pipeline, database_url: str) -> None:
    pipeline.simulator.app.latency = build_fixed_latency(0.25)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED_RUN, database_url, pipeline.simulator.url, CANARY_TOKEN]
    )
    until = time.monotonic() + 30
    while not stored_serials(pipeline) and time.monotonic() < until:
        time.sleep(0.02)
    process.kill()
    assert process.wait(10) != 0, "the run ended before it could be killed"
    pipeline.simulator.app.latency = None
    stored = stored_serials(pipeline)
    assert 0 < len(stored) < WORLD_SIZE

    pipeline.simulator.record.clear()
    assert pipeline.fetch(pipeline.run("second")).is_leased_elsewhere, "nobody knows yet that it is dead"
    assert len(pipeline.simulator.record) == 0

    # What 30 seconds would do.
    pipeline.execute("update innomaint_lease set expires_at = now() - interval '1 second'")
    report = pipeline.sync(pipeline.run("second"))
    assert set(pipeline.simulator.record.count_by_serial()) == set(pipeline.serials) - stored
    assert (report.status, report.counts.success) == ("complete", WORLD_SIZE)


def test_what_a_killed_run_marked_as_failed_is_logged_by_the_next_one(pipeline: Pipeline) -> None:
    serial = pipeline.serials[0]
    pipeline.simulator.faults.next(serial, *[Status(500)] * 3)
    pipeline.fetch(pipeline.run("killed"))
    pipeline.execute("update innomaint_lease set expires_at = now() - interval '1 second'")
    pipeline.sync(pipeline.run("second"))
    rows = pipeline.rows(
        "select run_id, status, attempts from ic3_sync_log where serialnumber = :serial"
        " and sync_type = 'api_sync' order by id",
        serial=serial,
    )
    assert rows == [
        {"run_id": "killed", "status": "error", "attempts": 3},
        {"run_id": "second", "status": "success", "attempts": 1},
    ]


@pytest.mark.parametrize(("status", "error_class"), [(404, "not_found"), (500, "transient")])
def test_a_failure_counts_more_than_the_older_answer_that_a_killed_run_left_to_be_enriched(
    pipeline: Pipeline, status: int, error_class: str
) -> None:
    pipeline.fetch(pipeline.run("killed"))
    pipeline.execute("update innomaint_lease set expires_at = now() - interval '1 second'")
    pipeline.simulator.faults.always(pipeline.serials[0], Status(status))
    report = pipeline.resync("second")
    assert pipeline.states()[pipeline.serials[0]] == ("failed", error_class)
    assert (report.counts.success, report.counts.failed) == (WORLD_SIZE - 1, 1)
    logged = pipeline.rows(
        "select run_id, error_class from ic3_sync_log"
        " where serialnumber = :serial and sync_type = 'api_sync'",
        serial=pipeline.serials[0],
    )
    assert logged == [{"run_id": "second", "error_class": error_class}]
    pipeline.simulator.faults.clear()
    assert pipeline.resync("third").status == "complete"


def test_an_interrupt_keeps_what_was_stored_and_frees_the_batch(pipeline: Pipeline) -> None:
    pipeline.policy = RequestPolicy(max_in_flight=2)
    pipeline.simulator.app.latency = build_fixed_latency(0.1)
    thread = when(lambda: len(pipeline.simulator.record) >= 5, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        pipeline.fetch(pipeline.run("first"))
    thread.join()
    pipeline.simulator.app.latency = None
    stored = stored_serials(pipeline)
    assert 2 <= len(stored) < WORLD_SIZE
    assert count_states(pipeline) == {"synced": len(stored), "never": WORLD_SIZE - len(stored)}
    pipeline.simulator.record.clear()
    assert pipeline.sync(pipeline.run("second")).status == "complete"
    assert set(pipeline.simulator.record.count_by_serial()) == set(pipeline.serials) - stored


def watched(run: BatchRun) -> BatchRun:
    return replace(run, renewal_seconds=0.05)


@pytest.mark.leaves("expired_leases")
def test_a_cancelled_run_stops_and_keeps_what_was_stored(pipeline: Pipeline) -> None:
    with pipeline.database.begin() as connection:
        save_setting(connection, SOURCE, AUTH_REFUSED_AT, "2026-06-20T10:00:00+00:00")
    pipeline.policy = RequestPolicy(max_in_flight=2)
    pipeline.simulator.app.latency = build_fixed_latency(0.1)
    run = pipeline.run("first", is_cancelled=lambda: len(pipeline.simulator.record) >= 5)
    with pytest.raises(RunCancelledError, match=FIRST_BATCH):
        pipeline.fetch(watched(run))
    stored = stored_serials(pipeline)
    assert 2 <= len(stored) < WORLD_SIZE
    assert count_states(pipeline) == {"synced": len(stored), "never": WORLD_SIZE - len(stored)}
    assert not is_token_refused(pipeline), "it was let in, though it ended early"


def test_a_run_that_lost_its_lease_stops(pipeline: Pipeline) -> None:
    pipeline.policy = RequestPolicy(max_in_flight=2)
    pipeline.simulator.app.latency = build_fixed_latency(0.1)
    thread = when(
        lambda: len(pipeline.simulator.record) >= 3,
        lambda: pipeline.execute("update innomaint_lease set owner = 'second'"),
    )
    with pytest.raises(DatabaseError, match="lost the lease"):
        pipeline.fetch(watched(pipeline.run("first")))
    thread.join()
    assert len(pipeline.simulator.record) < WORLD_SIZE
    assert pipeline.one("select owner from innomaint_lease") == {"owner": "second"}


def test_a_lease_is_renewed_while_its_run_works(pipeline: Pipeline) -> None:
    pipeline.policy = RequestPolicy(max_in_flight=2)
    pipeline.simulator.app.latency = build_fixed_latency(0.1)
    seen: list[object] = []
    query = "select expires_at from innomaint_lease"
    thread = when(
        lambda: (
            len({row["expires_at"] for row in pipeline.rows(query)} | set(seen)) > 3
            or seen.extend(row["expires_at"] for row in pipeline.rows(query)) is not None
        ),
        lambda: None,
    )
    pipeline.fetch(watched(pipeline.run("first")))
    thread.join()
    assert len(set(seen)) >= 3


@pytest.mark.leaves("expired_leases")
def test_a_database_that_is_gone_stops_the_run_before_a_request_is_sent(pipeline: Pipeline) -> None:
    pipeline.execute("alter table innomaint_rate_limit rename to hidden_rate_limit")
    with pytest.raises(DatabaseError, match="innomaint_rate_limit"):
        pipeline.fetch(pipeline.run("first"))
    assert len(pipeline.simulator.record) == 0
    assert count_states(pipeline) == {"never": WORLD_SIZE}
