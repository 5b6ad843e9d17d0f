"""The assets of the customer list: one step that reads, checks and applies it, with its blocking checks.

Thin: the body calls `sync.customers` and turns its report into materializations, check results and metadata.
One step, because the list is applied and its run closed in one transaction: nothing between two steps could
be left half done.
"""

import functools
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import dagster as dg
from pydantic import Field

from innomaint_pipeline.defs.account import asset_key
from innomaint_pipeline.defs.columns import column_schema
from innomaint_pipeline.defs.customers.opening import build_run
from innomaint_pipeline.defs.failures import explain_error, observe, run_step
from innomaint_pipeline.defs.recovery import RunsOfSource
from innomaint_pipeline.defs.resources import Ic3DatabaseResource
from innomaint_pipeline.defs.source import source_tags
from innomaint_pipeline.domain.customers import SOURCE
from innomaint_pipeline.domain.customers.checks import CHECKS, DESCRIPTIONS, is_releasable
from innomaint_pipeline.domain.customers.lists import Finding
from innomaint_pipeline.domain.customers.runs import SUCCEEDED, Outcome, Trigger, describe_outcome
from innomaint_pipeline.settings import load_settings
from innomaint_pipeline.store.customers.overview import count_rows
from innomaint_pipeline.store.customers.tables import customers_metadata
from innomaint_pipeline.sync.customers.running import RunReport, sync_list

OWNERS = ["team:data-engineering"]
SNAPSHOT = asset_key(SOURCE, "snapshot")
CUSTOMER = asset_key(SOURCE, "customer")
CHANGE = asset_key(SOURCE, "change")
_COUNTS = ("rows", "new", "updated", "unchanged", "missing", "deleted", "restored", "rehashed")


class ListConfig(dg.Config):
    """Why the list is read; as it is: because a person starts the run."""

    trigger: str = Field(default=Trigger.MANUAL.value, description="schedule, manual or startup.")
    asked_at: str | None = Field(
        default=None, description="When it was asked for (ISO 8601): a run that ended since has done it."
    )
    only_due: bool = Field(default=False, description="Nothing where the next run is not due yet.")


def _spec(key: dg.AssetKey, description: str, *deps: dg.AssetKey) -> dg.AssetSpec:
    return dg.AssetSpec(
        key,
        deps=list(deps),
        group_name=SOURCE,
        owners=OWNERS,
        kinds={"python", "postgres"},
        description=description,
        metadata=column_schema(".".join(key.path[-2:]), customers_metadata),
        skippable=True,
    )


@dg.multi_asset(
    name="customers_list",
    specs=[
        _spec(
            SNAPSHOT, "The newest list of the ERP: received, read, and proved whole by its blocking checks."
        ),
        _spec(CUSTOMER, "The customers, brought to the newest accepted list; none is removed.", SNAPSHOT),
        _spec(CHANGE, "What each run changed of which customer: names of fields, no values.", SNAPSHOT),
    ],
    check_specs=[
        dg.AssetCheckSpec(name, asset=SNAPSHOT, blocking=True, description=DESCRIPTIONS[name])
        for name in CHECKS
    ],
    # A run that finds nothing to read makes none of its checks.
    can_subset=True,
)
def customers_list(
    context: dg.AssetExecutionContext, config: ListConfig, ic3: Ic3DatabaseResource
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Read the newest customer list, whole, whatever of it was selected."""
    run_id = context.run.run_id

    def is_cancelled() -> bool:
        run = context.instance.get_run_by_id(run_id)
        return run is not None and run.status in {dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED}

    with ic3.open() as database:

        def step() -> RunReport | None:
            run = build_run(load_settings(), database, run_id, Trigger(config.trigger))
            asked_at = datetime.fromisoformat(config.asked_at) if config.asked_at else None
            return sync_list(run.with_options(asked_at, is_cancelled, is_due_only=config.only_due))

        report = run_step(
            context,
            step,
            name="customer list",
            # The run closes its own row, and repeats itself.
            close=lambda _: None,
            explain=functools.partial(explain_error, work="the customer list"),
            is_repeated=False,
        )
        with database.begin() as connection:
            held = count_rows(connection)
    if report is None or report.is_joined:
        context.log.info("Another run works on the list or has read it, or nothing is due: nothing was done.")
        return
    context.log.info(describe_outcome(report.row))
    yield from _judge(context, report)
    if report.outcome is Outcome.REJECTED:
        observe(context, {"rejected": str(report.row["error_message"])})
    if report.outcome not in SUCCEEDED:
        return
    chosen = context.selected_asset_keys
    for key, metadata in (
        (SNAPSHOT, _describe_list(report)),
        (
            CUSTOMER,
            {"dagster/row_count": sum(held.get(state, 0) for state in ("active", "missing", "deleted"))},
        ),
        (CHANGE, {}),
    ):
        if key in chosen:
            yield dg.MaterializeResult(asset_key=key, metadata={**metadata, **_count(report)})


def _judge(context: dg.AssetExecutionContext, report: RunReport) -> Iterator[dg.AssetCheckResult]:
    chosen = context.selected_asset_check_keys
    for finding in report.findings:
        if dg.AssetCheckKey(SNAPSHOT, finding.check) in chosen:
            yield dg.AssetCheckResult(
                passed=finding.passed,
                asset_key=SNAPSHOT,
                check_name=finding.check,
                severity=dg.AssetCheckSeverity.ERROR,
                description=finding.message,
                metadata=_describe_finding(finding),
            )


def _describe_finding(finding: Finding) -> dict[str, Any]:
    return {
        "message": finding.message,
        "figures": dg.MetadataValue.json(dict(finding.figures)),
        "releasable": is_releasable([finding.check]),
    }


def _count(report: RunReport) -> dict[str, Any]:
    return {name: int(report.row[name] or 0) for name in _COUNTS}


def _describe_list(report: RunReport) -> dict[str, Any]:
    """Return the totals and the times of the stages, each as a number that plots."""
    figures = report.figures
    return {
        "sha256": figures["sha256"],
        "exported_at": figures["exported_at"],
        "dagster/row_count": figures["rows"],
        "count": figures["count"] or 0,
        "pages": figures["pages"],
        "cycle_pages": figures["cycle_pages"],
        "held": figures.get("held", 0),
        "unknown_headers": dg.MetadataValue.json(figures["unknown_headers"]),
        **{f"sum_{name}": value for name, value in figures["sums"].items()},
        **{f"{stage}_ms": value for stage, value in (report.row["stage_ms"] or {}).items()},
    }


customers_sync = dg.define_asset_job(
    "customers_sync",
    selection=dg.AssetSelection.assets(customers_list),
    description="Read the newest customer list and apply what changed.",
    tags=source_tags(SOURCE),
)

CUSTOMERS_RUNS = RunsOfSource(
    job_names=frozenset({"customers_sync"}), asset_keys=frozenset({SNAPSHOT, CUSTOMER, CHANGE})
)
"""The runs that read the list, one at a time."""


def list_run_config(**config: Any) -> dict[str, Any]:
    """Return the run config by which the list is read so."""
    return {"ops": {"customers_list": {"config": config}}}
