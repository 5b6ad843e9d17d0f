"""Importing the asset master from a workbook, in one transaction (spec 03, "Importing the asset master")."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from innomaint_pipeline.domain.workbook import ParsedSheet, has_id_column, parse_sheet
from innomaint_pipeline.sources.workbook import read_mapping, read_sheet
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.master import import_rows, lock_imports
from innomaint_pipeline.store.rejects import save_rejects

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImportReport:
    """What an import did; `rows` = inserted + updated + unchanged + rejected, the sheet's rows that are not blank."""

    workbook: str
    sheet: str
    rows: int
    inserted: int
    updated: int
    unchanged: int
    rejected: int
    missing: int
    batches: int
    missing_examples: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    reject_reasons: dict[str, int] = field(default_factory=dict)
    preview: tuple[dict[str, Any], ...] = ()

    def to_json(self) -> dict[str, int]:
        """Return the JSON of `import` (spec 04)."""
        names = ("rows", "inserted", "updated", "unchanged", "rejected", "missing", "batches")
        return {name: getattr(self, name) for name in names}


class _DryRunError(Exception):
    """Rolls the transaction back once everything is counted."""


def import_master(
    database: Database,
    path: Path,
    *,
    sheet: str | None = None,
    mapping_path: Path | None = None,
    batch_size: int,
    run_id: str | None = None,
    is_dry_run: bool = False,
) -> ImportReport:
    """Import a workbook into ic3_asset_master; with `is_dry_run` count only and change nothing.

    All or nothing: a crash leaves the old state. Importing the same workbook twice changes nothing. Raises
    `WorkbookError` and `ConfigurationError` for what a person must correct.
    """
    synonyms = read_mapping(mapping_path) if mapping_path else {}
    rows = read_sheet(path, sheet=sheet, is_wanted=lambda read: has_id_column(read, synonyms))
    parsed = parse_sheet(rows, synonyms)
    reports: list[ImportReport] = []
    try:
        with database.begin() as connection:
            reports.append(_write(connection, parsed, batch_size=batch_size, run_id=run_id))
            if is_dry_run:
                raise _DryRunError
    except _DryRunError:
        logger.info("dry run: nothing was changed")
    return reports[0]


def _write(
    connection: Connection, parsed: ParsedSheet, *, batch_size: int, run_id: str | None
) -> ImportReport:
    lock_imports(connection)
    columns = sorted({column for column in parsed.columns.values() if column != "cmms_asset_id"})
    counts = import_rows(
        connection,
        [
            {
                "cmms_asset_id": record.cmms_asset_id,
                **{name: record.values.get(name) for name in columns},
                "excel_attributes": record.excel_attributes,
            }
            for record in parsed.records
        ],
        [*columns, "excel_attributes"],
        batch_size=batch_size,
        run_id=run_id,
    )
    save_rejects(
        connection,
        workbook=parsed.workbook,
        sheet=parsed.sheet,
        rejects=[
            {"row_number": item.row_number, "reason": item.reason, "row": item.row} for item in parsed.rejects
        ],
    )
    return ImportReport(
        workbook=parsed.workbook,
        sheet=parsed.sheet,
        rows=len(parsed.records) + len(parsed.rejects),
        inserted=counts.inserted,
        updated=counts.updated,
        unchanged=counts.unchanged,
        rejected=len(parsed.rejects),
        missing=counts.missing,
        batches=counts.batches,
        missing_examples=counts.missing_examples,
        notices=tuple(parsed.notices),
        reject_reasons=dict(Counter(item.reason for item in parsed.rejects).most_common(20)),
        preview=tuple({"cmms_asset_id": item.cmms_asset_id, **item.values} for item in parsed.records[:10]),
    )
