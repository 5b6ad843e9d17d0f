"""What an error means to Dagster: repeat the step, fail it, or fail it for good.

Retries live in one place for each cause: a request's in `sources.http`, trouble of everybody's here, what
remains of single items in the source's last step.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import dagster as dg
from dagster._core.events import AssetObservationData
from dagster_shared.error import SerializableErrorInfo

from innomaint_pipeline.errors import (
    AuthError,
    BreakerOpenError,
    ConfigurationError,
    DatabaseError,
    DiskFullError,
    InnomaintPipelineError,
    RefusedRowError,
    RouteError,
    RunCancelledError,
    SourceRefusedError,
    WorkbookError,
)
from innomaint_pipeline.redaction import secrets_removed

PARTITION_TAG = "dagster/partition"
_RETRY_WAITS_SECONDS = (5, 10, 20)
# Metadata of a failure that single items, like CMMS assets, have caused: the others are done.
REMAINING = "remaining"

# What stopped a run as a whole, by the name of the error's class -> exit code.
_STOPPING_ERRORS = {
    "AuthError": 3,
    "RouteError": 3,
    "BreakerOpenError": 3,
    "DatabaseError": 4,
    "ConflictError": 4,
    "RefusedRowError": 4,
    # SQLAlchemy's, of Dagster's own database: what the project says of the other one is a DatabaseError.
    "OperationalError": 4,
    "DiskFullError": 4,
    "TransientSourceError": 3,
    "ReaderEndedError": 3,
    "StillGrowingError": 3,
    "ConfigurationError": 2,
    "SelectionError": 2,
    "WorkbookError": 2,
}

Report = TypeVar("Report")


@dataclass(frozen=True)
class Explanation:
    """Why a run did not end well: a word for the cause, the reason in words, and what helps."""

    cause: str
    reason: str
    what_to_do: str

    def metadata(self) -> dict[str, Any]:
        """Return it as Dagster shows it beside a run, an asset or a partition."""
        # Dagster stores no subclasses of texts.
        return {name: dg.MetadataValue.text(str(value)) for name, value in vars(self).items()}


_CORRECT = "correct what the reason names, then start it again"
# What stops work, a word for it, and what helps; the first class that fits counts.
_CAUSES = {
    WorkbookError: ("workbook", _CORRECT),
    ConfigurationError: ("settings", _CORRECT),
    AuthError: ("token", _CORRECT),
    RouteError: ("route", _CORRECT),
    BreakerOpenError: ("breaker", "nothing: it goes on by itself when the source answers again"),
    SourceRefusedError: ("source", _CORRECT),
    DatabaseError: ("database", "see that the database runs and takes the rows; what was stored is kept"),
    RunCancelledError: ("cancelled", "start it again; what was stored is kept"),
}


def explain_error(error: BaseException, work: str) -> Explanation:
    """Return why `work`, like "the import", ended early, for errors that say themselves what helps."""
    if not isinstance(error, Exception):
        return Explanation("cancelled", f"{work} was ended by a person or with the program", "start it again")
    found = next((found for kind, found in _CAUSES.items() if isinstance(error, kind)), None)
    if found is None:
        reason = f"a fault of this program stopped {work}: {type(error).__name__}"
        return Explanation("fault", reason, "report it: the run's log in Dagster tells where")
    cause, what_helps = found
    return Explanation(cause, str(error), what_helps)


def retry_wait_seconds(context: dg.AssetExecutionContext) -> int | None:
    """Return how long to wait before the step is repeated, None when it has been repeated often enough."""
    done = context.retry_number
    return _RETRY_WAITS_SECONDS[done] if done < len(_RETRY_WAITS_SECONDS) else None


def run_step(
    context: dg.AssetExecutionContext,
    step: Callable[[], Report],
    *,
    name: str,
    close: Callable[[BaseException], object],
    explain: Callable[[BaseException], Explanation],
    is_repeated: bool = True,
) -> Report:
    """Run a step's work, turning errors into what Dagster should do.

    An open breaker and database trouble repeat the step after 5, 10 and 20 s. A refused token, a wrong
    setting, a full disk and our own faults fail it at once; so does everything where the work repeats itself
    and `is_repeated` is False. Where the run's work ends here, `close` notes it with what ended it, and
    `explain` tells people: in the failure, and in an observation of each asset that is now not made, because
    the page of a partition shows no log. `name` says in messages what was worked on.
    """
    try:
        with secrets_removed():
            return step()
    except (BreakerOpenError, DatabaseError) as error:
        # What the database says of a row it says again.
        is_final = not is_repeated or isinstance(error, (RefusedRowError, DiskFullError))
        wait = None if is_final else retry_wait_seconds(context)
        if wait is not None:
            context.log.warning(f"{error}\nThe step is repeated in {wait} s.")
            raise dg.RetryRequested(max_retries=len(_RETRY_WAITS_SECONDS), seconds_to_wait=wait) from error
        _close(context, close, error)
        raise _failure(context, name, explain(error)) from error
    except InnomaintPipelineError as error:
        _close(context, close, error)
        raise _failure(context, name, explain(error)) from error
    except BaseException as error:
        # An interrupt (Terminate, SIGTERM, Ctrl-C) or a fault of ours.
        _close(context, close, error)
        observe(context, explain(error).metadata())
        raise


def _failure(context: dg.AssetExecutionContext, name: str, found: Explanation) -> dg.Failure:
    observe(context, found.metadata())
    return dg.Failure(
        f"{name}: {found.reason}\nWhat to do: {found.what_to_do}",
        metadata=found.metadata(),
        allow_retries=False,
    )


def observe(context: dg.AssetExecutionContext, metadata: Mapping[str, Any]) -> None:
    """Show this on the pages of the partition, of every asset that this step and those behind it now lack."""
    own = dg.AssetSelection.assets(*context.selected_asset_keys)
    concerned = own.downstream().resolve(context.job_def.asset_layer.asset_graph)
    observe_missing(context.instance, context.run, metadata, among=concerned)


def observe_missing(
    instance: dg.DagsterInstance,
    run: dg.DagsterRun,
    metadata: Mapping[str, Any],
    *,
    among: Collection[dg.AssetKey] | None = None,
) -> None:
    """Note this as an observation of each asset that a run was to make and has not, `among` those given."""
    planned = _find_keys(instance, run, dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED)
    made = _find_keys(instance, run, dg.DagsterEventType.ASSET_MATERIALIZATION)
    for key in sorted(planned - made):
        if among is None or key in among:
            observation = dg.AssetObservation(
                asset_key=key, partition=run.tags.get(PARTITION_TAG), metadata=dict(metadata)
            )
            event = dg.DagsterEvent(
                dg.DagsterEventType.ASSET_OBSERVATION.value,
                run.job_name,
                event_specific_data=AssetObservationData(observation),
                message=f"{key.to_user_string()} was not made",
            )
            instance.report_dagster_event(event, run.run_id)


def find_explanation(instance: dg.DagsterInstance, run_id: str) -> Explanation | None:
    """Return why a run did not end well, as the pages of its assets say; None where they say nothing."""
    for record in instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_OBSERVATION):
        event = record.dagster_event
        if event is None:
            continue
        metadata = event.asset_observation_data.asset_observation.metadata
        names = ("cause", "reason", "what_to_do")
        if all(name in metadata for name in names):
            return Explanation(*(str(metadata[name].value) for name in names))
    return None


def _find_keys(
    instance: dg.DagsterInstance, run: dg.DagsterRun, kind: dg.DagsterEventType
) -> set[dg.AssetKey]:
    events = (record.dagster_event for record in instance.all_logs(run.run_id, of_type=kind))
    return {event.asset_key for event in events if event is not None and event.asset_key is not None}


def _close(
    context: dg.AssetExecutionContext, close: Callable[[BaseException], object], error: BaseException
) -> None:
    try:
        close(error)
    except InnomaintPipelineError as second:
        context.log.warning(f"How the run ended could not be written: {second}")


def find_stop(events: Sequence[dg.DagsterEvent]) -> tuple[int | None, str | None, bool]:
    """Return exit code and message of what stopped a run, and whether that were single items that remain.

    Without an exit code the cause was no trouble of everybody's.
    """
    for event in reversed(events):
        if not event.is_step_failure:
            continue
        failure, error = event.step_failure_data.user_failure_data, event.step_failure_data.error
        causes: list[SerializableErrorInfo] = []
        while error is not None:
            causes.append(error)
            error = error.cause
        # Dagster wraps what a step raised: the first cause is what happened.
        text = failure.description if failure else (causes[-1].message.strip() if causes else None)
        for cause in causes:
            if cause.cls_name in _STOPPING_ERRORS:
                return _STOPPING_ERRORS[cause.cls_name], text, False
        return None, text, failure is not None and REMAINING in failure.metadata
    return None, None, False
