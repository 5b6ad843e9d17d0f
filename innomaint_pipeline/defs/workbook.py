"""The asset master from Excel, as a Dagster asset (docs/how-it-works.md)."""

import json
from contextlib import suppress
from datetime import UTC
from pathlib import Path

import dagster as dg
from pydantic import Field

from innomaint_pipeline.defs.columns import column_schema
from innomaint_pipeline.defs.innomaint.partitions import register_batches
from innomaint_pipeline.defs.innomaint.resource import InnomaintResource
from innomaint_pipeline.defs.resources import Ic3DatabaseResource
from innomaint_pipeline.defs.source import SourceDefinitions
from innomaint_pipeline.domain.alerts import Condition
from innomaint_pipeline.domain.health import Health
from innomaint_pipeline.domain.workbook import SOURCE
from innomaint_pipeline.errors import InnomaintPipelineError
from innomaint_pipeline.settings import Settings
from innomaint_pipeline.store.database import Connection
from innomaint_pipeline.store.settings import IMPORT_ERROR, save_setting
from innomaint_pipeline.store.workbook import load_conditions
from innomaint_pipeline.sync.workbook import ImportReport, import_master, look_at_workbook, parse_mark

OWNERS = ["team:data-engineering"]
_ASSET = "ic3_asset_master"
_WORKBOOK_SECONDS = 60


class ImportConfig(dg.Config):
    """Which workbook to import; as it is: the one of INNOMAINT_WORKBOOK."""

    workbook: str | None = Field(
        default=None, description="Path of the workbook; default: INNOMAINT_WORKBOOK."
    )
    sheet: str | None = Field(
        default=None, description="Name of the sheet; default: the first with an id column."
    )
    mapping: str | None = Field(default=None, description="Path of a file that maps headers to columns.")


@dg.asset(
    name=_ASSET,
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
    try:
        with ic3.open() as database:
            report = import_master(
                database,
                path,
                sheet=config.sheet,
                mapping_path=Path(config.mapping) if config.mapping else None,
                batch_size=settings.innomaint_batch_size,
                run_id=context.run.run_id,
            )
            register_batches(context.instance, database)
    except InnomaintPipelineError as error:
        _remember(ic3, error)
        raise dg.Failure(str(error), allow_retries=False) from error
    for notice in report.notices:
        context.log.warning(notice)
    return dg.MaterializeResult(metadata=import_metadata(report))


def _remember(ic3: Ic3DatabaseResource, error: InnomaintPipelineError) -> None:
    """Leave a note for the alerts; a database that is out of reach is noticed by others."""
    with suppress(InnomaintPipelineError), ic3.open() as database, database.begin() as connection:
        save_setting(connection, SOURCE, IMPORT_ERROR, str(error))


def import_metadata(report: ImportReport) -> dict[str, dg.MetadataValue]:
    """Return what the UI shows and plots of an import."""
    # A table of the UI needs the same columns in each row, as texts.
    records = [
        {name: "" if value is None else str(value) for name, value in row.items()} for row in report.preview
    ]
    metadata: dict[str, dg.MetadataValue] = {
        "workbook": dg.MetadataValue.text(report.workbook),
        "sheet": dg.MetadataValue.text(report.sheet),
        **{name: dg.MetadataValue.int(count) for name, count in report.to_json().items()},
        "dagster/row_count": dg.MetadataValue.int(report.rows - report.rejected),
        "reject_reasons": dg.MetadataValue.json(report.reject_reasons),
        "missing_examples": dg.MetadataValue.json(list(report.missing_examples)),
    }
    if records:
        metadata["preview"] = dg.MetadataValue.table([dg.TableRecord(row) for row in records])
    return metadata


import_asset_master = dg.define_asset_job(
    "import_asset_master",
    selection=dg.AssetSelection.assets(ic3_asset_master),
    description="Import the asset master from the workbook.",
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
    context: dg.ScheduleEvaluationContext, innomaint: InnomaintResource
) -> dg.RunRequest | dg.SkipReason:
    """Import the asset master once a day."""
    found = look_at_workbook(innomaint.settings().innomaint_workbook, None)
    if isinstance(found, str):
        return dg.SkipReason(found)
    day = context.scheduled_execution_time.astimezone(UTC).date().isoformat()
    return dg.RunRequest(run_key=f"daily-{day}", tags={"innomaint/started_by": "daily import"})


@dg.sensor(
    job=import_asset_master,
    name="workbook_changed",
    minimum_interval_seconds=_WORKBOOK_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Imports the workbook when its size or time and then its hash have changed.",
)
def workbook_changed(
    context: dg.SensorEvaluationContext, innomaint: InnomaintResource
) -> dg.SensorResult | dg.SkipReason:
    """Import the asset master when the file has changed."""
    known = parse_mark(context.cursor)
    found = look_at_workbook(innomaint.settings().innomaint_workbook, known)
    if isinstance(found, str):
        return dg.SkipReason(found)
    cursor = json.dumps(vars(found))
    if known is not None and found.sha256 == known.sha256:
        return dg.SensorResult(skip_reason=dg.SkipReason("the workbook is unchanged"), cursor=cursor)
    request = dg.RunRequest(tags={"innomaint/started_by": "changed workbook"})
    return dg.SensorResult(run_requests=[request], cursor=cursor)


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
