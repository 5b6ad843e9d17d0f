"""The asset master from Excel: a Dagster asset, its job, and what imports it by itself."""

import functools
import time
from contextlib import suppress
from datetime import UTC
from pathlib import Path

import dagster as dg
from pydantic import Field

from innomaint_pipeline.defs.account import ACCOUNT, account_tags, asset_key, own_runs
from innomaint_pipeline.defs.columns import column_schema
from innomaint_pipeline.defs.failures import explain_error, run_step
from innomaint_pipeline.defs.innomaint.partitions import register_batches
from innomaint_pipeline.defs.innomaint.resource import InnomaintResource
from innomaint_pipeline.defs.resources import Ic3DatabaseResource, look_at_database
from innomaint_pipeline.defs.source import SourceDefinitions
from innomaint_pipeline.domain.alerts import Condition
from innomaint_pipeline.domain.health import Health
from innomaint_pipeline.domain.workbook import SOURCE
from innomaint_pipeline.errors import InnomaintPipelineError
from innomaint_pipeline.settings import Settings, load_settings
from innomaint_pipeline.store.database import Connection
from innomaint_pipeline.store.settings import IMPORT_ERROR, save_setting
from innomaint_pipeline.store.workbook import load_conditions
from innomaint_pipeline.sync.workbook.importing import ImportReport
from innomaint_pipeline.sync.workbook.watching import (
    Attempts,
    find_trouble,
    import_at_rest,
    load_verdict,
    note_trouble,
    parse_watch,
    watch_workbook,
)

OWNERS = ["team:data-engineering"]
_ASSET = "ic3_asset_master"
ASSET_MASTER = asset_key(_ASSET)
_WORKBOOK_SECONDS = 30
_ATTEMPTS_SEEN = 8
_NOT_SET = "INNOMAINT_WORKBOOK is not set: there is no workbook to import"


class ImportConfig(dg.Config):
    """Which workbook to import; as it is: the one of INNOMAINT_WORKBOOK."""

    workbook: str | None = Field(
        default=None, description="Path of the workbook; default: INNOMAINT_WORKBOOK."
    )
    sheet: str | None = Field(
        default=None, description="Name of a sheet to read; default: those that are the register."
    )
    sheets: list[str] = Field(default=[], description="Names of sheets to read, as one list.")
    mapping: str | None = Field(default=None, description="Path of a file that maps headers to columns.")


@dg.asset(
    key=ASSET_MASTER,
    group_name="ic3",
    owners=OWNERS,
    kinds={"excel", "postgres"},
    description=(
        "The physical assets, imported from the Excel asset master: inserted, updated, never removed. "
        "Rows that cannot be imported stand in innomaint_import_reject with their reason."
    ),
    metadata=column_schema(_ASSET),
)
def ic3_asset_master(
    context: dg.AssetExecutionContext,
    config: ImportConfig,
    ic3: Ic3DatabaseResource,
    innomaint: InnomaintResource,
) -> dg.MaterializeResult:
    """Import the asset master and make its batches partitions."""
    settings = innomaint.settings()
    path = Path(config.workbook) if config.workbook else settings.innomaint_workbook
    if path is None:
        raise dg.Failure(
            "INNOMAINT_WORKBOOK is not set: set it to the asset master's path, or give `workbook` in "
            "the launchpad",
            allow_retries=False,
        )

    def step() -> ImportReport:
        with ic3.open() as database:
            report = import_at_rest(
                database,
                path,
                watched=settings.innomaint_workbook,
                sheets=[*([config.sheet] if config.sheet else []), *config.sheets],
                mapping_path=Path(config.mapping) if config.mapping else None,
                batch_size=settings.innomaint_batch_size,
                run_id=context.run.run_id,
                tell=context.log.info,
            )
            register_batches(context.instance, database)
            return report

    report = run_step(
        context,
        step,
        name="import",
        close=lambda error: _remember(ic3, error),
        explain=functools.partial(explain_error, work="the import"),
    )
    for notice in report.notices:
        context.log.warning(notice)
    return dg.MaterializeResult(metadata=import_metadata(report))


def _remember(ic3: Ic3DatabaseResource, error: BaseException) -> None:
    """Leave a note for the alerts; who ended the import, by Terminate or Ctrl-C, knows."""
    if not isinstance(error, Exception):
        return
    words = str(error) if isinstance(error, InnomaintPipelineError) else f"the import failed: {error!r}"
    with ic3.open() as database, database.begin() as connection:
        save_setting(connection, SOURCE, IMPORT_ERROR, words)


def import_metadata(report: ImportReport) -> dict[str, dg.MetadataValue]:
    """Return what the UI shows and plots of an import."""
    # A table of the UI needs the same columns in each row, as texts.
    records = [
        {name: "" if value is None else str(value) for name, value in row.items()} for row in report.preview
    ]
    metadata: dict[str, dg.MetadataValue] = {
        "workbook": dg.MetadataValue.text(report.workbook),
        "sheet": dg.MetadataValue.text(", ".join(report.sheets)),
        "sheets": dg.MetadataValue.json(list(report.sheets)),
        "header_row": dg.MetadataValue.int(report.header_row),
        "columns": dg.MetadataValue.json(dict(report.columns)),
        "attributes": dg.MetadataValue.json(list(report.attributes)),
        "notices": dg.MetadataValue.json(list(report.notices)),
        **{name: dg.MetadataValue.int(count) for name, count in report.counts().items()},
        "dagster/row_count": dg.MetadataValue.int(report.rows - report.rejected),
        "issue_examples": dg.MetadataValue.json(list(report.issue_examples)),
        "reject_reasons": dg.MetadataValue.json(dict(report.reject_reasons)),
        "missing_examples": dg.MetadataValue.json(list(report.missing_examples)),
    }
    if records:
        metadata["preview"] = dg.MetadataValue.table([dg.TableRecord(row) for row in records])
    return metadata


import_asset_master = dg.define_asset_job(
    "import_asset_master",
    selection=dg.AssetSelection.assets(ic3_asset_master),
    description="Import the asset master from the workbook.",
    tags=account_tags(ACCOUNT),
)


@dg.schedule(
    job=import_asset_master,
    name="daily_import",
    cron_schedule="15 1 * * *",
    execution_timezone="Asia/Kolkata",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Imports the workbook of INNOMAINT_WORKBOOK every night; an unchanged one changes nothing.",
)
def daily_import(
    context: dg.ScheduleEvaluationContext, ic3: Ic3DatabaseResource, innomaint: InnomaintResource
) -> dg.RunRequest | dg.SkipReason:
    """Import the asset master once a day."""
    path = innomaint.settings().innomaint_workbook
    if path is None:
        return dg.SkipReason(_NOT_SET)
    if trouble := find_trouble(path):
        with suppress(InnomaintPipelineError), ic3.open() as database:
            note_trouble(database, trouble)
        return dg.SkipReason(trouble)
    day = context.scheduled_execution_time.astimezone(UTC).date().isoformat()
    return dg.RunRequest(run_key=f"daily-{day}", tags={"innomaint/started_by": "daily import"})


@dg.sensor(
    job=import_asset_master,
    name="workbook_changed",
    minimum_interval_seconds=_WORKBOOK_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Imports the workbook when its content has changed and the file is at rest; an import that was lost "
        "or failed is repeated until it has succeeded."
    ),
)
def workbook_changed(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Import the asset master when the file has changed; tell of one that is not there."""
    path = load_settings().innomaint_workbook
    if path is None:
        return dg.SkipReason(_NOT_SET)
    with look_at_database() as database:
        note_trouble(database, find_trouble(path))
        with database.begin() as connection:
            verdict = load_verdict(connection)
    attempts = _find_attempts(context.instance, now=time.time())
    if attempts is None:
        return dg.SkipReason("an import is under way")
    watch, reason = watch_workbook(path, parse_watch(context.cursor), verdict, attempts, now=time.time())
    if reason:
        return dg.SensorResult(skip_reason=dg.SkipReason(reason), cursor=watch.to_cursor())
    request = dg.RunRequest(tags={"innomaint/started_by": "changed workbook"})
    return dg.SensorResult(run_requests=[request], cursor=watch.to_cursor())


def _find_attempts(instance: dg.DagsterInstance, *, now: float) -> Attempts | None:
    """Return the newest imports that failed in a row; None while one is queued or under way."""
    records = instance.get_run_records(own_runs(job_name="import_asset_master"), limit=_ATTEMPTS_SEEN)
    if any(not record.dagster_run.is_finished for record in records):
        return None
    is_failed = [record.dagster_run.status is dg.DagsterRunStatus.FAILURE for record in records]
    if not any(is_failed[:1]):
        return Attempts()
    return Attempts(
        failed=[*is_failed, False].index(False),
        ended_seconds_ago=now - (records[0].end_time or 0.0),
        last_run_id=records[0].dagster_run.run_id,
    )


def load_workbook_conditions(connection: Connection, _: Settings) -> tuple[Health, list[Condition]]:
    """Return what people are told about the import; a failed one degrades nothing that is synced."""
    return Health.HEALTHY, load_conditions(connection)


WORKBOOK = SourceDefinitions(
    assets=[ic3_asset_master],
    jobs=[import_asset_master],
    sensors=[workbook_changed],
    schedules=[daily_import],
    load_conditions=load_workbook_conditions,
)
