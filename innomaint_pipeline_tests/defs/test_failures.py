"""What an error means to Dagster: repeat the step after exact waits, or fail it."""

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime

import dagster as dg
import pytest

from innomaint_pipeline.definitions import defs
from innomaint_pipeline.defs.failures import retry_wait_seconds
from innomaint_pipeline.defs.innomaint.assets import BATCH_RUNS, remaining_failure, run_batch_step
from innomaint_pipeline.domain.innomaint.stops import WHAT_HELPS, Stop, StopCause, describe_stop
from innomaint_pipeline.domain.pacing import SourceAccount
from innomaint_pipeline.domain.states import WHAT_TO_DO, ErrorClass
from innomaint_pipeline.errors import (
    AuthError,
    BreakerOpenError,
    ConfigurationError,
    DatabaseError,
    InnomaintPipelineError,
    RouteError,
    RunCancelledError,
)
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.innomaint.states import FailedAsset
from innomaint_pipeline.store.innomaint.status import load_status
from innomaint_pipeline.sync.innomaint.batch import BatchRun
from innomaint_pipeline_tests.conftest import FIRST_BATCH, Pipeline
from innomaint_pipeline_tests.defs.runs import make_run

BREAKER = BreakerOpenError("the breaker is open", retry_in_seconds=30)
DATABASE = DatabaseError("the database is away")


@dataclass
class StepContext:
    """What `run_batch_step` needs of the step that fetches: how often it was repeated, a log, and its run."""

    retry_number: int = 0
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("step"))
    selected_asset_keys: frozenset[dg.AssetKey] = frozenset({dg.AssetKey("innomaint_response")})
    instance: dg.DagsterInstance = field(default_factory=dg.DagsterInstance.ephemeral)
    job_def: dg.JobDefinition = field(default_factory=lambda: defs.resolve_job_def("sync_batch"))

    def __post_init__(self) -> None:
        self.instance.add_dynamic_partitions("innomaint_batches", [FIRST_BATCH])
        run = self.instance.get_run_by_id(make_run(self.instance, FIRST_BATCH))
        assert run is not None
        self.run = run

    def observed(self) -> list[dg.AssetObservation]:
        found = self.instance.all_logs(self.run.run_id, of_type=dg.DagsterEventType.ASSET_OBSERVATION)
        data = (entry.get_dagster_event().asset_observation_data for entry in found)
        return [item.asset_observation for item in data]


def fail(
    pipeline: Pipeline,
    error: BaseException,
    *,
    repeated: int = 0,
    run: BatchRun | None = None,
    context: StepContext | None = None,
) -> BaseException:
    """Run a step that raises an error, and return what Dagster gets."""

    def step() -> None:
        raise error

    try:
        run_batch_step(context or StepContext(repeated), run or pipeline.run("run-1"), step)  # pyright: ignore[reportArgumentType]
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
    stop = describe_stop(error, now=datetime.now(UTC))
    assert last.description is not None
    assert last.description.startswith(f"{FIRST_BATCH}: {stop.reason[:60]}")
    assert last.description.endswith(f"What to do: {stop.what_to_do}")


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
    assert raised.description is not None
    assert raised.description.startswith(f"{FIRST_BATCH}: {error}\nWhat to do: ")
    assert statuses(pipeline) == ["failed"]


CAUSES: list[tuple[BaseException, StopCause, str]] = [
    (
        ConfigurationError("INNOMAINT_API_TOKEN is not set"),
        StopCause.SETTINGS,
        "INNOMAINT_API_TOKEN is not set",
    ),
    (AuthError("Innomaint refused the token"), StopCause.TOKEN, "refused the token"),
    (RouteError("the proxy wants a login"), StopCause.ROUTE, "the proxy wants a login"),
    (BREAKER, StopCause.BREAKER, "the next one may be sent at "),
    (DATABASE, StopCause.DATABASE, "the database is away"),
    (RunCancelledError("cancelled"), StopCause.CANCELLED, "ended by a person"),
    (KeyboardInterrupt(), StopCause.CANCELLED, "ended by a person"),
    (KeyError("secret words"), StopCause.FAULT, "KeyError"),
]


@pytest.mark.parametrize(("error", "cause", "words"), CAUSES)
def test_each_cause_stands_in_the_row_in_health_and_on_the_page_of_the_partition(
    pipeline: Pipeline, error: BaseException, cause: StopCause, words: str
) -> None:
    context = StepContext(3)

    raised = fail(pipeline, error, context=context)

    row = pipeline.one("select * from cmms_sync_log")
    assert row["cause"] == cause
    assert words in row["reason"]
    assert "secret words" not in row["reason"]
    # Nothing behind the fetch is made either.
    assert {item.asset_key for item in context.observed()} == BATCH_RUNS.asset_keys
    assert {item.partition for item in context.observed()} == {FIRST_BATCH}
    observed = context.observed()[0]
    assert all(item.metadata == observed.metadata for item in context.observed())
    assert observed.metadata["cause"].value == cause
    assert words in str(observed.metadata["reason"].value)
    assert observed.metadata["what_to_do"].value == WHAT_HELPS[cause]
    if isinstance(raised, dg.Failure):
        assert raised.metadata == observed.metadata
    with pipeline.database.snapshot() as connection:
        status = load_status(connection, SourceAccount(pipeline.simulator.url, 1440))
    assert status.last_batch[0].reason == row["reason"]
    if cause is not StopCause.CANCELLED:
        assert row["reason"] in status.health_reason
        assert status.what_to_do == WHAT_HELPS[cause]


def test_a_partition_that_lacks_assets_while_the_breaker_is_open_says_so_and_not_to_ask_again() -> None:
    remaining = [FailedAsset("P 1", ErrorClass.TRANSIENT, "no answer")]
    outage = describe_stop(BREAKER, now=datetime(2026, 6, 20, 10, tzinfo=UTC))

    failure = remaining_failure(FIRST_BATCH, remaining, (), outage)

    assert failure.description is not None
    assert "the circuit breaker is open" in failure.description
    assert "10:00:30 UTC" in failure.description
    assert "materialize the partition again" not in failure.description


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
    remaining = [FailedAsset("P 1", error_class, "no answer")]
    failure = remaining_failure(FIRST_BATCH, remaining, (), Stop(StopCause.ASSETS, "1 failed"))

    assert failure.description is not None
    assert f"  P 1: {error_class}: no answer\n" in failure.description
    assert f"  {error_class}: {WHAT_TO_DO[error_class]}" in failure.description
    assert not failure.allow_retries
