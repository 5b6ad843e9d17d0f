"""The assets of Innomaint: fetch, enrich, settle, a batch a partition.

See docs/how-it-works.md.

Thin: a body calls `sync.innomaint` and turns its report into metadata. Only settle fails for single CMMS
assets, so that the tables of the good ones are materialized before.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

import dagster as dg

from innomaint_pipeline.defs.account import asset_key, step_name
from innomaint_pipeline.defs.columns import column_schema
from innomaint_pipeline.defs.failures import REMAINING, Explanation, observe, retry_wait_seconds, run_step
from innomaint_pipeline.defs.innomaint.partitions import BATCHES
from innomaint_pipeline.defs.innomaint.resource import InnomaintResource
from innomaint_pipeline.defs.innomaint.selection import FETCH, FETCH_KEY, SETTLE, SETTLE_KEY, SelectionConfig
from innomaint_pipeline.defs.recovery import RunsOfSource
from innomaint_pipeline.defs.requests import ROW_REFUSED_TAG, ROW_STATUS_TAG
from innomaint_pipeline.defs.resources import Ic3DatabaseResource
from innomaint_pipeline.defs.source import source_tags
from innomaint_pipeline.defs.workbook import OWNERS, ic3_asset_master
from innomaint_pipeline.domain.innomaint import SOURCE
from innomaint_pipeline.domain.innomaint.stops import Stop, StopCause, describe_classes, describe_stop
from innomaint_pipeline.domain.states import WHAT_TO_DO
from innomaint_pipeline.errors import DatabaseError, SelectionError
from innomaint_pipeline.store.database import Database, find_now
from innomaint_pipeline.store.innomaint.states import FailedAsset
from innomaint_pipeline.store.rows import describe_refusals
from innomaint_pipeline.sync.innomaint.batch import BatchRun, Selection
from innomaint_pipeline.sync.innomaint.fetching import PassReport
from innomaint_pipeline.sync.innomaint.steps import (
    EnrichReport,
    FetchReport,
    SettleReport,
    close_failed_batch,
    enrich_batch,
    fetch_batch,
    settle_batch,
)

Report = TypeVar("Report")

_SHOWN_ASSETS = 25
# asset -> the table that it writes
ENRICH_TABLES = {
    "ic3_building": "ic3_building",
    "ic3_floor_master": "ic3_floor_master",
    "ic3_department_master": "ic3_department_master",
    "ic3_asset_enrichment": "ic3_asset_master",
    "ic3_asset_performance": "ic3_asset_performance",
    "ic3_workorder_summary": "ic3_workorder_summary",
}
_ENRICH_KEYS = {asset_key(name): name for name in ENRICH_TABLES}
_ENRICH_STEP = "enrich"
_LEASED = "Another run works on this batch: nothing was asked for, nothing was written."


_DESCRIPTIONS = {
    "innomaint_response": (
        "Fetch: the last raw answer of Innomaint for each CMMS asset of the batch. Asks only for those "
        "that are due. A single CMMS asset never fails this step; a refused token, an open circuit "
        "breaker or the database does."
    ),
    "ic3_building": "Buildings, from the stored answers: a later answer updates the name.",
    "ic3_floor_master": "Floors, from the stored answers.",
    "ic3_department_master": "Departments, from the stored answers.",
    "ic3_asset_enrichment": (
        "The API's columns of ic3_asset_master, from the stored answers. The API overrides Excel for "
        "criticality, capacity_rating and in_charge_person where it gives a value."
    ),
    "ic3_asset_performance": "Performance of each CMMS asset: the vendor's texts, and the same as numbers.",
    "ic3_workorder_summary": "Work orders of each CMMS asset, in all and in the last year.",
    "cmms_sync_log": (
        "Settle: asks once more for what is left with a class worth retrying, and writes the batch's row. "
        "Its partition fails while such an asset remains: re-execute from failure, or materialize the "
        "partition again, and only the missing ones are asked for."
    ),
}


def _has_settle(context: dg.AssetExecutionContext) -> bool:
    """Tell whether this run settles the batch."""
    return _has_step(context, step_name(SETTLE_KEY), {SETTLE_KEY})


def _has_step(context: dg.AssetExecutionContext, step: str, keys: Collection[dg.AssetKey]) -> bool:
    """Tell whether this run has a step, which makes these assets."""
    steps = context.run.step_keys_to_execute
    if steps:
        return step in steps
    chosen = context.run.asset_selection
    return chosen is None or not chosen.isdisjoint(keys)


def _batch_run(
    context: dg.AssetExecutionContext,
    database: Database,
    selection: Selection | None = None,
) -> BatchRun:
    run_id = context.run.run_id

    def is_cancelled() -> bool:
        run = context.instance.get_run_by_id(run_id)
        return run is not None and run.status in {dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED}

    # The steps that mark CMMS assets as synced read the refresh interval themselves.
    return BatchRun(
        database,
        context.partition_key,
        run_id,
        0,
        selection or Selection(),
        is_cancelled,
        retry_wait_seconds(context),
    )


def run_batch_step(context: dg.AssetExecutionContext, run: BatchRun, step: Callable[[], Report]) -> Report:
    """Run a step; where the batch ends with it, the batch's row says so: failed, or cancelled."""

    def close(error: BaseException) -> None:
        # What was never begun leaves no row.
        if not isinstance(error, SelectionError):
            close_failed_batch(run, error)

    return run_step(
        context,
        step,
        name=run.batch_key,
        close=close,
        explain=lambda error: _explanation(describe_stop(error, now=_find_clock(run.database))),
    )


def _find_clock(database: Database) -> datetime:
    """Return the moment by the database's clock, by our own while the database is out of reach."""
    try:
        with database.begin() as connection:
            return find_now(connection)
    except DatabaseError:
        return datetime.now(UTC)


def _explanation(stop: Stop) -> Explanation:
    return Explanation(stop.cause, stop.reason, stop.what_to_do)


def remaining_failure(
    batch_key: str, remaining: Sequence[FailedAsset], asked: Sequence[str], stop: Stop
) -> dg.Failure:
    """Return the failure of a partition that lacks CMMS assets, naming them, their class and what to do."""
    others = [item for item in remaining if asked and item.cmms_asset_id not in set(asked)]
    shown = "\n".join(f"  {item}" for item in remaining[:_SHOWN_ASSETS])
    if len(remaining) > _SHOWN_ASSETS:
        shown += f"\n  and {len(remaining) - _SHOWN_ASSETS} more"
    note = f"\n{len(others)} of them were not asked for in this run." if others else ""
    classes = Counter(item.error_class for item in remaining)
    if stop.cause is StopCause.BREAKER:
        # Asking again helps nobody before the next probe, and then the sync does it by itself.
        why, advice = f"\n{stop.reason}", f"  {stop.what_to_do}"
    else:
        why, advice = "", "\n".join(f"  {name}: {WHAT_TO_DO[name]}" for name in sorted(classes))
        advice += "\nRe-execute from failure, or materialize the partition again: only these are asked for."
    return dg.Failure(
        f"{batch_key} still lacks {len(remaining)} assets:{why}\n{shown}{note}\nWhat to do:\n{advice}",
        metadata={
            **_explanation(stop).metadata(),
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


def _pass_metadata(report: PassReport) -> dict[str, Any]:
    seconds = report.duration_seconds
    return {
        "asked": report.asked,
        "stored": report.stored,
        "failed": report.failed,
        "requests": report.requests,
        "duration_seconds": round(seconds, 3),
        "requests_per_second": round(report.requests / seconds, 3) if seconds else 0.0,
    }


@dg.asset(
    key=FETCH_KEY,
    partitions_def=BATCHES,
    deps=[ic3_asset_master],
    group_name="innomaint",
    owners=OWNERS,
    kinds={"python", "postgres"},
    description=_DESCRIPTIONS[FETCH],
    metadata=column_schema(FETCH),
    output_required=False,
)
def innomaint_response(
    context: dg.AssetExecutionContext,
    config: SelectionConfig,
    ic3: Ic3DatabaseResource,
    innomaint: InnomaintResource,
) -> Iterator[dg.MaterializeResult]:
    """Fetch: ask Innomaint for the due CMMS assets of the batch and store the raw answers."""
    with ic3.open() as database:
        run = _batch_run(context, database, config.selection())

        def step() -> FetchReport:
            return fetch_batch(
                replace(run, refresh_minutes=innomaint.refresh_minutes(database)),
                innomaint.client_opener(database),
                innomaint.timezone(),
                is_last_step=not (_has_settle(context) or _has_step(context, _ENRICH_STEP, _ENRICH_KEYS)),
            )

        report = run_batch_step(context, run, step)
    if report.is_leased_elsewhere:
        context.log.info(_LEASED)
        return
    yield dg.MaterializeResult(
        metadata={
            "selected": report.selected,
            **_pass_metadata(report.passed),
            "failed_by_class": dg.MetadataValue.json(report.passed.failed_by_class),
        }
    )


def _unlogged_metadata(unlogged: Mapping[str, str]) -> dict[str, Any]:
    """Return, where the log lacks outcomes, how many; they stay to be written by the next run."""
    return {"refused_by_ic3_sync_log": len(unlogged)} if unlogged else {}


@dg.multi_asset(
    name=_ENRICH_STEP,
    specs=[
        dg.AssetSpec(
            key,
            deps=[innomaint_response],
            group_name="ic3",
            owners=OWNERS,
            kinds={"python", "postgres"},
            description=_DESCRIPTIONS[name],
            metadata=column_schema(ENRICH_TABLES[name]),
            skippable=True,
        )
        for key, name in _ENRICH_KEYS.items()
    ],
    partitions_def=BATCHES,
    can_subset=True,
)
def enrich(
    context: dg.AssetExecutionContext, ic3: Ic3DatabaseResource, innomaint: InnomaintResource
) -> Iterator[dg.MaterializeResult]:
    """Enrich: write the IC3 tables from the stored answers, without a request."""
    chosen = {_ENRICH_KEYS[key] for key in context.selected_asset_keys}
    with ic3.open() as database:
        run = _batch_run(context, database)
        asset_selection = context.run.asset_selection
        has_fetch = asset_selection is None or FETCH_KEY in asset_selection

        def step() -> EnrichReport:
            return enrich_batch(
                replace(run, refresh_minutes=innomaint.refresh_minutes(database)),
                innomaint.timezone(),
                tables={ENRICH_TABLES[name] for name in chosen},
                # New answers are applied to all tables or, chosen singly, to none.
                is_rebuild=not has_fetch or chosen != set(ENRICH_TABLES),
                is_last_step=not _has_settle(context),
            )

        report = run_batch_step(context, run, step)
    if report.is_leased_elsewhere:
        context.log.info(_LEASED)
        return
    if report.unlogged:
        context.log.warning(describe_refusals(report.unlogged, "ic3_sync_log"))
    if report.new_unknown_fields:
        context.log.warning(
            "Innomaint sends fields that no document names; they are kept in api_attributes and in "
            "the raw answer: " + ", ".join(report.new_unknown_fields)
        )
    for key, name in _ENRICH_KEYS.items():
        if name in chosen:
            table = ENRICH_TABLES[name]
            metadata: dict[str, Any] = {
                "rows_written": report.rows_written[table],
                "dagster/partition_row_count": report.rows_held[table],
            }
            if name == "ic3_asset_enrichment":
                metadata |= {
                    "assets_synced": report.success,
                    "assets_unchanged": report.unchanged,
                    "assets_failed": report.failed,
                    "data_issues": report.data_issues,
                    **_unlogged_metadata(report.unlogged),
                }
            yield dg.MaterializeResult(asset_key=key, metadata=metadata)


@dg.asset(
    key=SETTLE_KEY,
    partitions_def=BATCHES,
    deps=list(_ENRICH_KEYS),
    group_name="innomaint",
    owners=OWNERS,
    kinds={"python", "postgres"},
    description=_DESCRIPTIONS[SETTLE],
    metadata=column_schema(SETTLE),
    output_required=False,
)
def cmms_sync_log(
    context: dg.AssetExecutionContext,
    config: SelectionConfig,
    ic3: Ic3DatabaseResource,
    innomaint: InnomaintResource,
) -> Iterator[dg.MaterializeResult]:
    """Settle: ask once more for what is left, write the batch's row, fail the partition if any remains."""
    with ic3.open() as database:
        run = _batch_run(context, database, config.selection())

        def step() -> SettleReport:
            refresh_minutes = innomaint.refresh_minutes(database)
            return settle_batch(
                replace(run, refresh_minutes=refresh_minutes),
                innomaint.client_opener(database),
                innomaint.timezone(),
            )

        report = run_batch_step(context, run, step)
    if report.is_leased_elsewhere:
        context.log.info(_LEASED)
        return
    if report.row_refused is not None:
        context.log.warning(describe_refusals({run.batch_key: report.row_refused}, SETTLE))
        # What follows a request of a person would take a run without a row for one that did nothing.
        tags = {ROW_STATUS_TAG: report.status, ROW_REFUSED_TAG: report.row_refused}
        context.instance.add_run_tags(context.run.run_id, tags)
    if report.unlogged:
        context.log.warning(describe_refusals(report.unlogged, "ic3_sync_log"))
    counts = report.counts
    context.log.info(
        f"{run.batch_key} {report.status}: {counts.success} synced, {counts.unchanged} of them unchanged, "
        f"{counts.failed} failed, {report.skipped} not asked for, of {report.total}"
    )
    if report.remaining:
        # Somebody may have mended them since they were found: what they were is still why this run failed.
        found = Counter(item.error_class for item in report.remaining)
        stop = report.stop or Stop(StopCause.ASSETS, describe_classes(found))
        observe(context, _explanation(stop).metadata())
        raise remaining_failure(run.batch_key, report.remaining, run.selection.cmms_asset_ids, stop)
    yield dg.MaterializeResult(
        metadata={
            "total": report.total,
            "assets_synced": counts.success,
            "unchanged": counts.unchanged,
            "failed": counts.failed,
            "skipped": report.skipped,
            "second_pass_requests": report.second_pass.requests,
            "status": report.status,
            **_unlogged_metadata(report.unlogged),
            **(_explanation(report.stop).metadata() if report.stop else {}),
        }
    )


BATCH_ASSETS = [innomaint_response, enrich, cmms_sync_log]

BATCH_RUNS = RunsOfSource(
    job_names=frozenset({"sync_batch"}),
    asset_keys=frozenset({FETCH_KEY, *_ENRICH_KEYS, SETTLE_KEY}),
)
"""The runs that work on batches, each under the lease of its batch."""

sync_batch = dg.define_asset_job(
    "sync_batch",
    # The checks look at whole tables: once an hour, not with every batch.
    selection=dg.AssetSelection.assets(*BATCH_ASSETS).without_checks(),
    description="One batch: fetch, enrich, settle. As it is, it asks for the CMMS assets that are due.",
    tags=source_tags(SOURCE),
)
