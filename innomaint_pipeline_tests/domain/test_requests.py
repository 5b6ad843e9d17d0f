"""What becomes of a batch that a person asked for: exactly one run does the work, whatever is lost."""

from dataclasses import replace

import pytest

from innomaint_pipeline.domain.requests import (
    LAUNCHES_OF_LOST,
    LOOK_IS_LATE_SECONDS,
    RunSeen,
    Step,
    decide_part,
    describe_request,
)

QUEUED = RunSeen("queued", is_finished=False)
GOOD = RunSeen("good", is_finished=True, is_success=True, row_status="complete")
LEASED_ELSEWHERE = RunSeen("idle", is_finished=True, is_success=True)
LOST = RunSeen("lost", is_finished=True, ended_seconds_ago=5.0)
STOPPED_WITH_ITS_WORKER = replace(LOST, row_status="cancelled")
TERMINATED = replace(LOST, row_status="cancelled", is_ended_by_person=True)
ASSETS_REMAIN = replace(LOST, row_status="partial", is_of_items=True, message="batch lacks 1 asset")
REFUSED = replace(LOST, row_status="failed", stop_code=3, message="the token is refused")
REFUSED_BEFORE_ITS_ROW = replace(REFUSED, row_status=None)
FAULTY = replace(LOST, row_status="failed", message="ZeroDivisionError")
REPEATED = replace(LOST, is_repeated_by_dagster=True)


@pytest.mark.parametrize(
    ("runs", "step"),
    [
        ([], Step.LAUNCH),
        ([QUEUED], Step.WAIT),
        ([LOST, QUEUED], Step.WAIT),
        ([GOOD], Step.CLOSE),
        ([LOST, GOOD], Step.CLOSE),
        ([LEASED_ELSEWHERE], Step.LAUNCH),
        ([LEASED_ELSEWHERE] * 20, Step.LAUNCH),
        ([LOST], Step.LAUNCH),
        ([STOPPED_WITH_ITS_WORKER], Step.LAUNCH),
        ([LOST] * (LAUNCHES_OF_LOST - 1), Step.LAUNCH),
        ([LOST] * LAUNCHES_OF_LOST, Step.CLOSE),
        ([replace(LOST, is_never_begun=True)] * 20, Step.LAUNCH),
        ([REPEATED], Step.WAIT),
        ([replace(REPEATED, ended_seconds_ago=61.0)], Step.LAUNCH),
        ([TERMINATED], Step.CLOSE),
        ([ASSETS_REMAIN], Step.CLOSE),
        ([REFUSED], Step.CLOSE),
        ([REFUSED_BEFORE_ITS_ROW], Step.CLOSE),
        ([FAULTY], Step.CLOSE),
    ],
)
def test_the_last_run_of_a_batch_decides_what_is_next(runs: list[RunSeen], step: Step) -> None:
    assert decide_part(runs, held_by=None).step is step
    expected = Step.WAIT if step is Step.LAUNCH else step
    assert decide_part(runs, held_by="another run").step is expected


@pytest.mark.parametrize(
    ("run", "is_good", "stop_code", "words"),
    [
        (GOOD, True, None, None),
        (ASSETS_REMAIN, True, None, None),
        (TERMINATED, False, None, "ended by a person"),
        (REFUSED, False, 3, "the token is refused"),
        (FAULTY, False, None, "ZeroDivisionError"),
    ],
)
def test_a_batch_that_ended_badly_says_why(
    run: RunSeen, is_good: bool, stop_code: int | None, words: str | None
) -> None:
    verdict = decide_part([run], held_by=None)

    assert (verdict.is_good, verdict.stop_code) == (is_good, stop_code)
    assert (verdict.message is None) if words is None else (words in str(verdict.message))


def test_an_open_request_says_how_far_it_is_and_when_nobody_works_on_it() -> None:
    states = {"batch_000001": "done", "batch_000002": "waiting"}
    waits = {"batch_000002": "another run holds it"}

    def said(seconds: float | None) -> str:
        return describe_request(states, waits=waits, seconds_since_look=seconds)

    assert said(3.0) == "1 of 2 batches done; batch_000002: another run holds it"
    assert "last looked never" in said(None)
    assert "last looked 2 min ago; start it with innomaint up" in said(120.0)
    assert "batches done" in said(LOOK_IS_LATE_SECONDS)
