"""What an error means to Dagster: repeat the step, fail it, or fail it for good.

Retries live in one place for each cause: a request's in `sources.http`, trouble of everybody's here, what
remains of single items in the source's last step.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import dagster as dg
from dagster_shared.error import SerializableErrorInfo

from innomaint_pipeline.errors import (
    BreakerOpenError,
    DatabaseError,
    InnomaintPipelineError,
    SourceRefusedError,
)
from innomaint_pipeline.redaction import secrets_removed

_RETRY_WAITS_SECONDS = (5, 10, 20)
# Metadata of a failure that single items, like CMMS assets, have caused: the others are done.
REMAINING = "remaining"

# What stopped a run as a whole, by the name of the error's class -> exit code.
_STOPPING_ERRORS = {
    "AuthError": 3,
    "RouteError": 3,
    "BreakerOpenError": 3,
    "DatabaseError": 4,
    "ConfigurationError": 2,
    "SelectionError": 2,
    "WorkbookError": 2,
}

Report = TypeVar("Report")


def retry_wait_seconds(context: dg.AssetExecutionContext) -> int | None:
    """Return how long to wait before the step is repeated, None when it has been repeated often enough."""
    done = context.retry_number
    return _RETRY_WAITS_SECONDS[done] if done < len(_RETRY_WAITS_SECONDS) else None


def run_step(
    context: dg.AssetExecutionContext,
    step: Callable[[], Report],
    *,
    name: str,
    close: Callable[[BaseException], None],
) -> Report:
    """Run a step's work, turning errors into what Dagster should do.

    An open breaker and database trouble repeat the step after 5, 10 and 20 s. A refused token, a wrong
    setting and our own faults fail it at once. Where the run's work ends here, `close` notes it with what
    ended it; `name` says in messages what was worked on.
    """
    try:
        with secrets_removed():
            return step()
    except (BreakerOpenError, DatabaseError) as error:
        wait = retry_wait_seconds(context)
        if wait is not None:
            context.log.warning(f"{error}\nThe step is repeated in {wait} s.")
            raise dg.RetryRequested(max_retries=len(_RETRY_WAITS_SECONDS), seconds_to_wait=wait) from error
        _close(context, close, error)
        raise dg.Failure(f"{name}: {error}", allow_retries=False) from error
    except InnomaintPipelineError as error:
        _close(context, close, error)
        is_refused = isinstance(error, SourceRefusedError)
        metadata = {"what_to_do": dg.MetadataValue.text(str(error))} if is_refused else None
        raise dg.Failure(f"{name}: {error}", metadata=metadata, allow_retries=False) from error
    except BaseException as error:
        # An interrupt (Terminate, SIGTERM, Ctrl-C) or a fault of ours.
        _close(context, close, error)
        raise


def _close(
    context: dg.AssetExecutionContext, close: Callable[[BaseException], None], error: BaseException
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
