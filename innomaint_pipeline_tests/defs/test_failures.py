"""What an error means to Dagster: repeat the step after exact waits, or fail it."""

import logging
from dataclasses import dataclass, field

import dagster as dg
import pytest

from innomaint_pipeline.defs.failures import retry_wait_seconds
from innomaint_pipeline.defs.innomaint.assets import remaining_failure, run_batch_step
from innomaint_pipeline.domain.states import WHAT_TO_DO, ErrorClass
from innomaint_pipeline.errors import (
    AuthError,
    BreakerOpenError,
    ConfigurationError,
    DatabaseError,
    InnomaintPipelineError,
    RunCancelledError,
)
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.innomaint.states import FailedAsset
from innomaint_pipeline.sync.innomaint.batch import BatchRun
from innomaint_pipeline_tests.conftest import FIRST_BATCH, Pipeline

BREAKER = BreakerOpenError("the breaker is open", retry_in_seconds=30)
DATABASE = DatabaseError("the database is away")


@dataclass
class StepContext:
    """What `run_batch_step` needs of a step: how often it was repeated, and a log."""

    retry_number: int = 0
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("step"))


def fail(
    pipeline: Pipeline, error: BaseException, *, repeated: int = 0, run: BatchRun | None = None
) -> BaseException:
    """Run a step that raises an error, and return what Dagster gets."""

    def step() -> None:
        raise error

    try:
        run_batch_step(StepContext(repeated), run or pipeline.run("run-1"), step)  # pyright: ignore[reportArgumentType]
    except BaseException as raised:  # noqa: BLE001 # an interrupt is among those looked at
        return raised
    raise AssertionError("a step that raises returned")


def statuses(pipeline: Pipeline) -> list[str]:
    return [row["status"] for row in pipeline.rows("select status from cmms_sync_log order by id")]


def test_the_result_of_a_good_step_is_returned(pipeline: Pipeline) -> None:
    assert run_batch_step(StepContext(), pipeline.run("run-1"), lambda: 42) == 42  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("error", [BREAKER, DATABASE])
def test_batch_wide_trouble_repeats_the_step_after_5_10_and_20_seconds(
    pipeline: Pipeline, error: InnomaintPipelineError
) -> None:
    raised = [fail(pipeline, error, repeated=number) for number in range(4)]

    waits = [item.seconds_to_wait for item in raised if isinstance(item, dg.RetryRequested)]
    assert waits == [5, 10, 20]
    assert [item.max_retries for item in raised if isinstance(item, dg.RetryRequested)] == [3, 3, 3]
    last = raised[3]
    assert isinstance(last, dg.Failure)
    assert not last.allow_retries
    assert last.description == f"{FIRST_BATCH}: {error}"


@pytest.mark.parametrize("error", [BREAKER, DATABASE])
def test_the_row_of_the_batch_is_written_when_the_last_repetition_has_failed(
    pipeline: Pipeline, error: InnomaintPipelineError
) -> None:
    for number in range(3):
        fail(pipeline, error, repeated=number)
    assert statuses(pipeline) == []

    fail(pipeline, error, repeated=3)

    assert statuses(pipeline) == ["failed"]


@pytest.mark.parametrize("error", [AuthError("renew the token"), ConfigurationError("set the variable")])
def test_what_repeating_cannot_help_fails_the_step_at_once(
    pipeline: Pipeline, error: InnomaintPipelineError
) -> None:
    raised = fail(pipeline, error)

    assert isinstance(raised, dg.Failure)
    assert not raised.allow_retries
    assert raised.description == f"{FIRST_BATCH}: {error}"
    assert statuses(pipeline) == ["failed"]


def test_a_refused_token_carries_what_to_do(pipeline: Pipeline) -> None:
    raised = fail(pipeline, AuthError("renew the token"))

    assert isinstance(raised, dg.Failure)
    assert raised.metadata["what_to_do"].value == "renew the token"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1), RunCancelledError("cancelled")])
def test_an_interrupted_batch_is_reported_as_cancelled(pipeline: Pipeline, error: BaseException) -> None:
    raised = fail(pipeline, error)

    assert raised is error or isinstance(raised, dg.Failure)
    assert statuses(pipeline) == ["cancelled"]


def test_an_interrupt_reaches_dagster_as_it_is(pipeline: Pipeline) -> None:
    error = KeyboardInterrupt()

    assert fail(pipeline, error) is error


def test_a_fault_of_ours_is_raised_as_it_is_and_the_batch_counts_as_failed(pipeline: Pipeline) -> None:
    error = KeyError("nobody expected this")

    assert fail(pipeline, error) is error
    assert statuses(pipeline) == ["failed"]


def test_an_unreachable_database_does_not_hide_the_error_that_ended_the_batch(pipeline: Pipeline) -> None:
    nowhere = Database("postgresql://nobody@127.0.0.1:1/nowhere")
    error = AuthError("renew the token")

    raised = fail(pipeline, error, run=BatchRun(nowhere, FIRST_BATCH, "run-1", 1440))
    nowhere.close()

    assert isinstance(raised, dg.Failure)
    assert "renew the token" in str(raised.description)


def test_a_step_is_repeated_three_times_and_no_more() -> None:
    waits = [retry_wait_seconds(StepContext(number)) for number in range(5)]  # pyright: ignore[reportArgumentType]

    assert waits == [5, 10, 20, None, None]


@pytest.mark.parametrize("error_class", list(ErrorClass))
def test_a_failed_partition_says_of_every_class_what_to_do(error_class: ErrorClass) -> None:
    failure = remaining_failure(FIRST_BATCH, [FailedAsset("P 1", error_class, "no answer")], ())

    assert failure.description is not None
    assert f"  P 1: {error_class}: no answer\n" in failure.description
    assert f"  {error_class}: {WHAT_TO_DO[error_class]}" in failure.description
    assert not failure.allow_retries
