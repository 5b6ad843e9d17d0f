"""What an error means to Dagster: repeat the step, fail it, or fail it for good (spec 03, "A batch run").

Retries live in one place for each cause: a request's in `sources.http`, batch-wide trouble here, what remains
of single CMMS assets in the settle step.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

import dagster as dg
from dagster_shared.error import SerializableErrorInfo

from innomaint_pipeline.domain.states import WHAT_TO_DO
from innomaint_pipeline.errors import (
    AuthError,
    BreakerOpenError,
    DatabaseError,
    InnomaintPipelineError,
)
from innomaint_pipeline.redaction import secrets_removed
from innomaint_pipeline.store.innomaint.states import FailedAsset
from innomaint_pipeline.sync.innomaint.batch import BatchRun
from innomaint_pipeline.sync.innomaint.steps import close_failed_batch

_RETRY_WAITS_SECONDS = (5, 10, 20)
_SHOWN_ASSETS = 25
# Metadata of the failure that CMMS assets alone have caused.
REMAINING = "remaining"

# What stopped a run as a whole, by the name of the error's class -> exit code.
_STOPPING_ERRORS = {
    "AuthError": 3,
    "BreakerOpenError": 3,
    "DatabaseError": 4,
    "ConfigurationError": 2,
    "WorkbookError": 2,
}

Report = TypeVar("Report")


def retry_wait_seconds(context: dg.AssetExecutionContext) -> int | None:
    """Return how long to wait before the step is repeated, None when it has been repeated often enough."""
    done = context.retry_number
    return _RETRY_WAITS_SECONDS[done] if done < len(_RETRY_WAITS_SECONDS) else None


def run_step(context: dg.AssetExecutionContext, run: BatchRun, step: Callable[[], Report]) -> Report:
    """Run a step's work, turning errors into what Dagster should do.

    An open breaker and database trouble repeat the step after 5, 10 and 20 s. A refused token, a wrong
    setting and our own faults fail it at once. When the batch ends here its row says so: failed, or
    cancelled.
    """
    try:
        with secrets_removed():
            return step()
    except (BreakerOpenError, DatabaseError) as error:
        wait = retry_wait_seconds(context)
        if wait is not None:
            context.log.warning(f"{error}\nThe step is repeated in {wait} s.")
            raise dg.RetryRequested(max_retries=len(_RETRY_WAITS_SECONDS), seconds_to_wait=wait) from error
        _close(context, run, error)
        raise dg.Failure(f"{run.batch_key}: {error}", allow_retries=False) from error
    except InnomaintPipelineError as error:
        _close(context, run, error)
        metadata = {"what_to_do": dg.MetadataValue.text(str(error))} if isinstance(error, AuthError) else None
        raise dg.Failure(f"{run.batch_key}: {error}", metadata=metadata, allow_retries=False) from error
    except BaseException as error:
        # An interrupt (Terminate, SIGTERM, Ctrl-C) or a fault of ours.
        _close(context, run, error)
        raise


def _close(context: dg.AssetExecutionContext, run: BatchRun, error: BaseException) -> None:
    try:
        close_failed_batch(run, error)
    except InnomaintPipelineError as second:
        context.log.warning(f"The row of the batch could not be written: {second}")


def remaining_failure(batch_key: str, remaining: Sequence[FailedAsset], asked: Sequence[str]) -> dg.Failure:
    """Return the failure of a partition that lacks CMMS assets, naming them, their class and what to do."""
    others = [item for item in remaining if asked and item.cmms_asset_id not in set(asked)]
    shown = "\n".join(f"  {item}" for item in remaining[:_SHOWN_ASSETS])
    if len(remaining) > _SHOWN_ASSETS:
        shown += f"\n  and {len(remaining) - _SHOWN_ASSETS} more"
    note = f"\n{len(others)} of them were not asked for in this run." if others else ""
    classes = Counter(item.error_class for item in remaining)
    advice = "\n".join(f"  {name}: {WHAT_TO_DO[name]}" for name in sorted(classes))
    return dg.Failure(
        f"{batch_key} still lacks {len(remaining)} assets:\n{shown}{note}\nWhat to do:\n{advice}\n"
        "Re-execute from failure, or materialize the partition again: only these are asked for.",
        metadata={
            REMAINING: len(remaining),
            "by_class": dg.MetadataValue.json({str(name): count for name, count in sorted(classes.items())}),
            "assets": dg.MetadataValue.table(
                [
                    dg.TableRecord(
                        {
                            "cmms_asset_id": item.cmms_asset_id,
                            "class": str(item.error_class),
                            "message": item.message,
                        }
                    )
                    for item in remaining[:200]
                ]
            ),
        },
        allow_retries=False,
    )


def find_stop(events: Sequence[dg.DagsterEvent]) -> tuple[int | None, str | None, bool]:
    """Return exit code and message of what stopped a run, and whether that were CMMS assets that remain.

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
