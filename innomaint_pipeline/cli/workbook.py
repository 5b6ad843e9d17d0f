"""`innomaint import`: the import, told to people, and reported to Dagster so that the UI shows it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from innomaint_pipeline.cli.environment import command_settings, export_for_dagster, open_database
from innomaint_pipeline.cli.output import json_option, print_counts, print_json, say
from innomaint_pipeline.settings import Settings

if TYPE_CHECKING:
    from innomaint_pipeline.store.database import Database
    from innomaint_pipeline.sync.workbook.importing import ImportReport

_HEADERS_SHOWN = 200


@click.command("import")
@click.argument("workbook", type=click.Path(path_type=Path))
@click.option(
    "--sheet", "sheets", multiple=True, help="Name of a sheet; repeatable; default: those of the register."
)
@click.option(
    "--mapping", type=click.Path(path_type=Path), help="A JSON or TOML file that maps headers to columns."
)
@click.option("--dry-run", "is_dry_run", is_flag=True, help="Tell what an import would do, change nothing.")
@json_option
def import_workbook(
    *, workbook: Path, sheets: tuple[str, ...], mapping: Path | None, is_dry_run: bool, is_json: bool
) -> int:
    """Import the asset master from WORKBOOK."""
    report = run_import(command_settings(), workbook, sheets=sheets, mapping=mapping, is_dry_run=is_dry_run)
    tell_import(report, is_dry_run=is_dry_run)
    if is_json:
        print_json(report.to_json())
    return 1 if report.rows and report.rejected == report.rows else 0


def run_import(
    settings: Settings, workbook: Path, *, sheets: Sequence[str], mapping: Path | None, is_dry_run: bool
) -> ImportReport:
    """Import a workbook and report it to Dagster.

    Raise `WorkbookError` or `ConfigurationError` for a bad one.
    """
    from innomaint_pipeline.sync.workbook.watching import import_at_rest

    with open_database(settings, uses_dagster=not is_dry_run) as (database, addresses):
        report = import_at_rest(
            database,
            workbook,
            watched=settings.innomaint_workbook,
            sheets=sheets,
            mapping_path=mapping,
            batch_size=settings.innomaint_batch_size,
            is_dry_run=is_dry_run,
            tell=say,
        )
        if not is_dry_run:
            export_for_dagster(settings, addresses)
            _report_to_dagster(database, report)
        return report


def _report_to_dagster(database: Database, report: ImportReport) -> None:
    import dagster as dg

    from innomaint_pipeline.defs.innomaint.partitions import register_batches
    from innomaint_pipeline.defs.workbook import ASSET_MASTER, import_metadata

    with dg.DagsterInstance.get() as instance:
        register_batches(instance, database)
        instance.report_runless_asset_event(
            dg.AssetMaterialization(ASSET_MASTER, metadata=import_metadata(report))
        )


def tell_import(report: ImportReport, *, is_dry_run: bool) -> None:
    """Tell people which sheets were read and how, what is to be noticed, and what was counted."""
    for sheet, row in report.header_rows.items():
        say(f"{report.workbook}: sheet '{sheet}', header in row {row}")
    for header, column in report.columns.items():
        say(f"  '{header}' -> {column}")
    if report.attributes:
        say(f"  kept as attributes: {_listed(report.attributes, _HEADERS_SHOWN)}")
    for notice in report.notices:
        say(f"notice: {notice}")
    for reason, count in report.reject_reasons.items():
        examples = report.reject_examples.get(reason, ())
        say(f"rejected ({count}): {reason} [{_listed(examples, len(examples), of=count)}]")
    for example in report.issue_examples:
        say(f"could not be read, the stored value stays: {example}")
    if report.issues > len(report.issue_examples):
        say(f"  and {report.issues - len(report.issue_examples):,} more values that could not be read")
    if report.missing:
        say(
            "missing, in the database and not in the workbook: "
            f"{_listed(report.missing_examples, len(report.missing_examples), of=report.missing)}"
        )
    print_counts("Dry run, nothing was changed" if is_dry_run else "Import", report.counts())


def _listed(items: Sequence[str], shown: int, *, of: int | None = None) -> str:
    more = (len(items) if of is None else of) - min(shown, len(items))
    return ", ".join(items[:shown]) + (f" and {more:,} more" if more > 0 else "")


WORKBOOK_COMMANDS = (import_workbook,)
