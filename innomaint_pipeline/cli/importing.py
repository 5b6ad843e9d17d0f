"""`innomaint import`: the import, reported to Dagster so that the UI shows it (docs/commands.md)."""

from __future__ import annotations

from pathlib import Path

from innomaint_pipeline.cli.environment import export_for_dagster, open_database
from innomaint_pipeline.settings import Settings
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.sync.workbook import ImportReport, import_master


def run_import(
    settings: Settings, workbook: Path, *, sheet: str | None, mapping: Path | None, is_dry_run: bool
) -> ImportReport:
    """Import a workbook and report it to Dagster.

    Raise `WorkbookError` or `ConfigurationError` for a bad one.
    """
    with open_database(settings) as (database, addresses):
        report = import_master(
            database,
            workbook,
            sheet=sheet,
            mapping_path=mapping,
            batch_size=settings.innomaint_batch_size,
            is_dry_run=is_dry_run,
        )
        if not is_dry_run:
            export_for_dagster(settings, addresses)
            _report_to_dagster(database, report)
        return report


def _report_to_dagster(database: Database, report: ImportReport) -> None:
    import dagster as dg

    from innomaint_pipeline.defs.innomaint.partitions import register_batches
    from innomaint_pipeline.defs.workbook import import_metadata

    with dg.DagsterInstance.get() as instance:
        register_batches(instance, database)
        instance.report_runless_asset_event(
            dg.AssetMaterialization("ic3_asset_master", metadata=import_metadata(report))
        )
