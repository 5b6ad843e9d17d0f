"""Importing the asset master from a workbook, in one transaction (docs/how-it-works.md)."""

from __future__ import annotations

import gc
import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from innomaint_pipeline import crash_points
from innomaint_pipeline.domain.workbook import SOURCE
from innomaint_pipeline.domain.workbook.cells import JsonValue
from innomaint_pipeline.domain.workbook.headers import ID_COLUMN
from innomaint_pipeline.domain.workbook.register import (
    ColumnValue,
    ParsedSheet,
    RejectedRow,
    has_id_column,
    parse_sheet,
)
from innomaint_pipeline.sources.workbook.reading import read_mapping, read_sheet
from innomaint_pipeline.store.database import Connection, Database
from innomaint_pipeline.store.innomaint.batches import lock_imports
from innomaint_pipeline.store.rejects import save_rejects
from innomaint_pipeline.store.settings import IMPORT_ERROR, clear_setting
from innomaint_pipeline.store.workbook import import_rows

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImportReport:
    """What an import did.

    `rows` = inserted + updated + unchanged + rejected, the sheet's rows that are not blank.
    """

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
        """Return the JSON of `import`."""
        names = ("rows", "inserted", "updated", "unchanged", "rejected", "missing", "batches")
        return {name: getattr(self, name) for name in names}


# Cells are many, and never refer back to their rows: looking for circles among them after every 700 new
# objects, as Python does, costs an eighth of an import.
_OBJECTS_BETWEEN_COLLECTIONS = 200_000


@contextmanager
def _few_collections() -> Iterator[None]:
    usual = gc.get_threshold()
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


class _DryRunError(Exception):
    """Rolls the transaction back once everything is counted."""


@_few_collections()
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
            clear_setting(connection, SOURCE, IMPORT_ERROR)
            crash_points.reach("import: rejects written")
            if is_dry_run:
                raise _DryRunError
    except _DryRunError:
        logger.info("dry run: nothing was changed")
    crash_points.reach("import: committed")
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
    rejects = [*parsed.rejects, *_refused_rows(parsed, counts.refused)]
    save_rejects(
        connection,
        workbook=parsed.workbook,
        sheet=parsed.sheet,
        rejects=[{"row_number": item.row_number, "reason": item.reason, "row": item.row} for item in rejects],
    )
    return ImportReport(
        workbook=parsed.workbook,
        sheet=parsed.sheet,
        rows=len(parsed.records) + len(parsed.rejects),
        inserted=counts.inserted,
        updated=counts.updated,
        unchanged=counts.unchanged,
        rejected=len(rejects),
        missing=counts.missing,
        batches=counts.batches,
        missing_examples=counts.missing_examples,
        notices=tuple(parsed.notices),
        reject_reasons=dict(Counter(item.reason for item in rejects).most_common(20)),
        preview=tuple({"cmms_asset_id": item.cmms_asset_id, **item.values} for item in parsed.records[:10]),
    )


def _refused_rows(parsed: ParsedSheet, refused: Mapping[str, str]) -> list[RejectedRow]:
    """Return the records that the database cannot hold as rejects, their cells by header."""
    return [
        RejectedRow(
            record.row_number,
            refused[record.cmms_asset_id],
            {
                **{
                    header: _json_value(record.cmms_asset_id if name == ID_COLUMN else record.values[name])
                    for header, name in parsed.columns.items()
                },
                **record.excel_attributes,
            },
        )
        for record in parsed.records
        if record.cmms_asset_id in refused
    ]


def _json_value(value: ColumnValue) -> JsonValue:
    return value.isoformat() if isinstance(value, date) else value


@dataclass(frozen=True)
class WorkbookMark:
    """What tells one content of a workbook file from another."""

    size: int
    modified_at: float
    sha256: str


def parse_mark(cursor: str | None) -> WorkbookMark | None:
    """Return the mark that a sensor's cursor holds as JSON; None, never looked, for one that holds none."""
    try:
        return WorkbookMark(**json.loads(cursor or ""))
    except (TypeError, ValueError):
        return None


def look_at_workbook(path: Path | None, known: WorkbookMark | None) -> WorkbookMark | str:
    """Return the mark of a workbook, or in words why there is none to import.

    The file is hashed only when its size or time differs from those of the known mark.
    """
    if path is None:
        return "INNOMAINT_WORKBOOK is not set: there is no workbook to import"
    try:
        found = path.stat()
        if known is not None and (found.st_size, found.st_mtime) == (known.size, known.modified_at):
            return known
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}; the asset master stays as it is"
    return WorkbookMark(found.st_size, found.st_mtime, digest)
