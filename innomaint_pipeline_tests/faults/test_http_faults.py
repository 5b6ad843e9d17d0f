"""Faults that a status tells: what each costs in requests and waits, what it writes, what stays."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from innomaint_pipeline.domain.pacing import LONGEST_STOP_SECONDS
from innomaint_pipeline.errors import AuthError
from innomaint_pipeline.simulator.innomaint.faults import Healthy, Status
from innomaint_pipeline.sources.http import RATE_LIMIT_REPEATS
from innomaint_pipeline_tests.conftest import WORLD_SIZE, everything
from innomaint_pipeline_tests.faults.conftest import Expected, FaultPipeline, play
from innomaint_pipeline_tests.faults.listener import Listener, answer, sends


@pytest.mark.parametrize("code", [202, 206, 408, 409, 425, 500, 503])
def test_a_status_that_passes_is_asked_six_times_and_erases_nothing(faults: FaultPipeline, code: int) -> None:
    play(faults, Status(code), Expected.transient(code))


@pytest.mark.parametrize("code", [400, 405, 413, 422])
def test_a_refused_request_is_asked_once_and_erases_nothing(faults: FaultPipeline, code: int) -> None:
    play(faults, Status(code), Expected("data", 1, code))


def test_an_asset_that_innomaint_does_not_know_is_asked_once_and_keeps_its_values(
    faults: FaultPipeline,
) -> None:
    play(faults, Status(404), Expected("not_found", 1, 404))


@pytest.mark.parametrize("code", [403, 404])
def test_a_page_in_between_is_asked_six_times_and_erases_nothing(faults: FaultPipeline, code: int) -> None:
    page = Status(code, body="<html>not from here</html>", content_type="text/html")
    play(faults, page, Expected.transient(code))


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_reaches_no_other_host(faults: FaultPipeline, code: int) -> None:
    with Listener(faults.simulator.world) as other:
        location = f"http://localhost:{other.port}/elsewhere"
        play(faults, Status(code, location=location), Expected("contract", 1, code))
        assert other.connections == 0


# 429: one refusal, then the honest answer


def read_stop(pipeline: FaultPipeline) -> float:
    """Return for how long the last refusal stopped everybody; assert that nothing started before."""
    row = pipeline.one("select * from innomaint_rate_limit")
    assert row["last_start_at"] >= row["blocked_until"], "a request started within the stop"
    return row["blocked_until"] - row["reduced_at"]


def assert_one_refusal(pipeline: FaultPipeline, requests: Callable[[str], int]) -> float:
    serial = pipeline.serials[1]
    pipeline.simulator.world.change(serial, {"data": {"ticketcount": 4711}})
    run_id, report = pipeline.sync_some(serial)
    assert (report.status, requests(serial), pipeline.waits) == ("complete", 2, [])
    assert pipeline.logged(run_id, serial) == {
        "status": "success",
        "error_class": None,
        "http_status": None,
        "attempts": 2,
    }
    assert pipeline.snapshot(serial)["master"]["ticketcount"] == 4711
    stop = read_stop(pipeline)
    assert sum(pipeline.stops) <= stop + 1
    return stop


@pytest.mark.parametrize(
    ("retry_after", "stop"),
    [
        (30, 30),
        (0, 1),
        ("9" * 8, LONGEST_STOP_SECONDS),
        ("soon", 1),
        ("-5", 1),
        ("30,120", 120),
        (None, 1),
    ],
    ids=repr,
)
def test_a_429_stops_everybody_for_as_long_as_it_says(
    faults: FaultPipeline, retry_after: float | str | None, stop: float
) -> None:
    faults.simulator.faults.next(faults.serials[1], Status(429, retry_after=retry_after))
    assert assert_one_refusal(faults, faults.simulator.record.count) == pytest.approx(stop, abs=0.01)


@pytest.mark.parametrize(
    ("skew", "seconds", "stop"),
    [
        (timedelta(0), 40, 40),
        (timedelta(0), -40, 1),
        (timedelta(hours=5), 40, 40),
        (timedelta(hours=-5), 40, 40),
        (timedelta(days=4000), 86400, LONGEST_STOP_SECONDS),
    ],
    ids=["date", "past date", "clock ahead", "clock behind", "clock far ahead, date far off"],
)
def test_a_429_with_a_date_is_read_by_the_clock_of_the_one_who_sent_it(
    faults: FaultPipeline, skew: timedelta, seconds: int, stop: float
) -> None:
    vendors_now = datetime.now(UTC).replace(microsecond=0) + skew
    refusal = answer(
        b"{}",
        f"Date: {format_datetime(vendors_now, usegmt=True)}",
        f"Retry-After: {format_datetime(vendors_now + timedelta(seconds=seconds), usegmt=True)}",
        status="429 Too Many Requests",
    )
    with Listener(faults.simulator.world) as listener:
        faults.api_url = f"http://127.0.0.1:{listener.port}"

        def refuse_once(connection) -> None:
            del listener.replies[faults.serials[1]]
            sends(refusal)(connection)

        listener.replies[faults.serials[1]] = refuse_once
        assert assert_one_refusal(faults, listener.count) == pytest.approx(stop, abs=0.01)


def test_refusals_without_end_are_bounded_and_erase_nothing(faults: FaultPipeline) -> None:
    requests = 2 * (RATE_LIMIT_REPEATS + 1)
    play(faults, Status(429, retry_after=3), Expected("rate_limited", requests, 429))
    assert len(faults.stops) >= requests - 1


@pytest.mark.parametrize("code", [401, 403])
def test_a_token_refused_in_the_middle_of_a_batch_marks_no_asset(faults: FaultPipeline, code: int) -> None:
    before = {serial: faults.snapshot(serial) for serial in faults.serials}
    for serial in faults.serials:
        faults.simulator.world.change(serial, {"data": {"ticketcount": 4711}})
    faults.simulator.faults.next_everywhere(*[Healthy()] * 4).always_everywhere(Status(code))
    run_id = faults.next_run()
    run = faults.run(run_id, selection=everything())
    with pytest.raises(AuthError, match=f"HTTP {code}.*INNOMAINT_API_TOKEN"):
        faults.fetch(run, is_last_step=True)
    assert len(faults.simulator.record) <= 4 + faults.policy.max_in_flight
    assert set(faults.states().values()) == {("synced", None)}
    assert faults.waits == []
    log = faults.rows("select serialnumber, status from ic3_sync_log where run_id = :run", run=run_id)
    stored = {row["serialnumber"] for row in log}
    assert {row["status"] for row in log} <= {"success"}
    assert len(stored) == len(log) <= 4
    for serial in set(faults.serials) - stored:
        assert faults.snapshot(serial) == before[serial]
    faults.simulator.faults.clear()
    assert faults.resync(faults.next_run()).counts.success == WORLD_SIZE
    assert {row["ticketcount"] for row in faults.rows("select ticketcount from ic3_asset_master")} == {4711}
