"""Importing the asset master from a workbook, in one transaction."""

from __future__ import annotations

import gc
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

from innomaint_pipeline import crash_points
from innomaint_pipeline.domain.workbook import SOURCE
from innomaint_pipeline.domain.workbook.cells import JsonValue
from innomaint_pipeline.domain.workbook.register import (
    ColumnValue,
    ParsedSheet,
    RejectedRow,
    WorkbookRecord,
    parse_sheets,
)
from innomaint_pipeline.domain.workbook.synonyms import ID_COLUMN
from innomaint_pipeline.errors import WorkbookError
from innomaint_pipeline.sources.workbook.container import show_name
from innomaint_pipeline.sources.workbook.reading import read_mapping, read_register
from innomaint_pipeline.store.database import Connection, Database
from innomaint_pipeline.store.innomaint.batches import lock_imports
from innomaint_pipeline.store.rows import describe_refusals
from innomaint_pipeline.store.settings import (
    IMPORT_ERROR,
    IMPORT_VERDICT,
    LAST_IMPORT,
    clear_setting,
    save_setting,
)
from innomaint_pipeline.store.workbook import import_rows, save_rejects, save_workbook_issues

logger = logging.getLogger(__name__)

_REJECT_REASONS, _EXAMPLES = 20, 3
_COUNTS = ("rows", "inserted", "updated", "unchanged", "rejected", "missing", "batches")
_READ = ("sheets", "header_row", "columns", "attributes", "notices", "issues")


@dataclass(frozen=True)
class ImportReport:
    """What an import did, or with `is_dry_run` would do.

    `rows` = inserted + updated + unchanged + rejected, the sheets' rows that are not blank. `header_row` is
    that of the first sheet; `columns` maps headers to columns, `attributes` are the other headers. `issues`
    counts optional values that could not be read. `reject_examples` names rows by their reason.
    """

    workbook: str
    sheets: tuple[str, ...]
    rows: int
    inserted: int
    updated: int
    unchanged: int
    rejected: int
    missing: int
    batches: int
    header_row: int = 0
    header_rows: Mapping[str, int] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    attributes: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    issues: int = 0
    issue_examples: tuple[str, ...] = ()
    missing_examples: tuple[str, ...] = ()
    reject_reasons: Mapping[str, int] = field(default_factory=dict)
    reject_examples: Mapping[str, Sequence[str]] = field(default_factory=dict)
    preview: tuple[dict[str, Any], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the JSON of `import`."""
        return {name: _plain(getattr(self, name)) for name in (*_COUNTS, *_READ)}

    def counts(self) -> dict[str, int]:
        """Return what was counted, by name."""
        return {name: getattr(self, name) for name in (*_COUNTS, "issues")}

    def to_setting(self) -> dict[str, Any]:
        """Return what is stored of the last import, for whoever shows it."""
        names = ("workbook", "issue_examples", "missing_examples", "reject_reasons", "reject_examples")
        return self.to_json() | {name: _plain(getattr(self, name)) for name in names}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


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


@dataclass(frozen=True)
class WorkbookMark:
    """What tells one content of a workbook file from another; `sha256` is empty where nobody needs it."""

    size: int
    modified_at: float
    sha256: str

    def to_verdict(self, run_id: str | None) -> dict[str, Any]:
        """Return the stored JSON that says that this content was imported, or refused, by a run."""
        return {**vars(self), "run_id": run_id}


@_few_collections()
def import_master(
    database: Database,
    path: Path,
    *,
    sheets: Sequence[str] = (),
    mapping_path: Path | None = None,
    batch_size: int,
    run_id: str | None = None,
    is_dry_run: bool = False,
    mark: WorkbookMark | None = None,
    is_watched: bool = False,
) -> ImportReport:
    """Import a workbook into ic3_asset_master; with `is_dry_run` count only and change nothing.

    `sheets` names the sheets to read; without it the register is looked for. All or nothing: a crash leaves
    the old state. Importing the same workbook twice changes nothing. Raises `WorkbookError` and
    `ConfigurationError` for what a person must correct, also for a file that is not the one of `mark` any
    more. That the watched one was imported is kept with its rows.
    """
    synonyms = read_mapping(mapping_path) if mapping_path else {}
    register = read_register(path, sheets=sheets, synonyms=synonyms)
    if mark is not None:
        _refuse_another(path, mark)
    parsed = parse_sheets(register.sheets, synonyms)
    notices = _notices(parsed, register.notices)
    # The cells are not needed while the rows are written.
    del register
    verdict = mark.to_verdict(run_id) if mark is not None and is_watched else None
    return import_sheets(
        database,
        parsed,
        notices,
        batch_size=batch_size,
        run_id=run_id,
        is_dry_run=is_dry_run,
        verdict=verdict,
    )


def _refuse_another(path: Path, mark: WorkbookMark) -> None:
    try:
        status = path.stat()
    except OSError:
        status = None
    if status is None or (status.st_size, status.st_mtime) != (mark.size, mark.modified_at):
        raise WorkbookError(
            f"{show_name(path)}: the file changed while it was read; import it again once it is complete"
        )


def import_sheets(
    database: Database,
    parsed: Sequence[ParsedSheet],
    notices: Sequence[str] = (),
    *,
    batch_size: int,
    run_id: str | None,
    is_dry_run: bool = False,
    verdict: Mapping[str, Any] | None = None,
) -> ImportReport:
    """Import what the sheets of a workbook hold, see `import_master`."""
    reports: list[ImportReport] = []
    try:
        with database.begin() as connection:
            report = _write(connection, parsed, batch_size=batch_size, run_id=run_id)
            report = replace(report, notices=(*notices, *report.notices))
            reports.append(report)
            save_setting(connection, SOURCE, LAST_IMPORT, report.to_setting())
            clear_setting(connection, SOURCE, IMPORT_ERROR)
            if verdict is not None:
                save_setting(connection, SOURCE, IMPORT_VERDICT, verdict)
            crash_points.reach("import: rejects written")
            if is_dry_run:
                raise _DryRunError
    except _DryRunError:
        logger.info("dry run: nothing was changed")
    crash_points.reach("import: committed")
    return reports[0]


def _notices(parsed: Sequence[ParsedSheet], of_the_file: Sequence[str]) -> list[str]:
    """Return what is to be noticed; where there are several sheets, with the sheet."""
    prefix = len(parsed) > 1
    return [
        *of_the_file,
        *(f"sheet '{it.sheet}': {text}" if prefix else text for it in parsed for text in it.notices),
    ]


def _write(
    connection: Connection, parsed: Sequence[ParsedSheet], *, batch_size: int, run_id: str | None
) -> ImportReport:
    lock_imports(connection)
    columns = sorted({name for sheet in parsed for name in sheet.columns.values()} - {ID_COLUMN})
    rejects = [it for sheet in parsed for it in sheet.rejects]
    records = [(number, it) for number, sheet in enumerate(parsed) for it in sheet.records]
    counts = import_rows(
        connection,
        [_stored_row(number, it, columns) for number, it in records],
        [*columns, "excel_attributes"],
        batch_size=batch_size,
        run_id=run_id,
        headers=[sheet.labels for sheet in parsed],
        present_ids=[it.cmms_asset_id for it in rejects if it.cmms_asset_id is not None],
    )
    rejects += _refused_rows(parsed, counts.refused)
    unkept = save_rejects(
        connection,
        workbook=parsed[0].workbook,
        rejects=[
            {"sheet": it.sheet, "row_number": it.row_number, "reason": it.reason, "row": it.row}
            for it in rejects
        ],
    )
    imported = [it for _, it in records if it.cmms_asset_id not in counts.refused]
    issues = [
        {
            "cmms_asset_id": it.cmms_asset_id,
            "field": issue.column,
            "raw_value": issue.raw_value,
            "reason": issue.reason,
        }
        for it in imported
        for issue in it.issues
    ]
    unnoted = save_workbook_issues(connection, issues, [it.cmms_asset_id for it in imported])
    refusals = {
        "ic3_sync_log": counts.unlogged,
        "innomaint_import_reject": {
            f"{rejects[place].sheet}, row {rejects[place].row_number}": why for place, why in unkept.items()
        },
        "innomaint_data_issue": {issues[place]["cmms_asset_id"]: why for place, why in unnoted.items()},
    }
    examples: dict[str, list[str]] = {}
    for it in rejects:
        examples.setdefault(it.reason, []).append(f"{it.sheet}, row {it.row_number}")
    reasons = Counter(it.reason for it in rejects).most_common(_REJECT_REASONS)
    return ImportReport(
        workbook=parsed[0].workbook,
        sheets=tuple(sheet.sheet for sheet in parsed),
        rows=len(records) + sum(len(sheet.rejects) for sheet in parsed),
        inserted=counts.inserted,
        updated=counts.updated,
        unchanged=counts.unchanged,
        rejected=len(rejects),
        missing=counts.missing,
        batches=counts.batches,
        header_row=parsed[0].header_row_number,
        header_rows={sheet.sheet: sheet.header_row_number for sheet in parsed},
        columns={header: name for sheet in parsed for header, name in sheet.columns.items()},
        attributes=tuple(dict.fromkeys(header for sheet in parsed for header in sheet.unmatched_headers)),
        notices=tuple(describe_refusals(refused, table) for table, refused in refusals.items() if refused),
        issues=len(issues),
        issue_examples=tuple(f"{it['cmms_asset_id']}: {it['reason']}" for it in issues[:_REJECT_REASONS]),
        missing_examples=counts.missing_examples,
        reject_reasons=dict(reasons),
        reject_examples={reason: examples[reason][:_EXAMPLES] for reason, _ in reasons},
        preview=tuple({"cmms_asset_id": it.cmms_asset_id, **it.values} for it in imported[:10]),
    )


def _stored_row(sheet_no: int, record: WorkbookRecord, columns: Sequence[str]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "cmms_asset_id": record.cmms_asset_id,
        **record.values,
        "excel_attributes": record.excel_attributes,
    }
    if sheet_no:
        row["sheet_no"] = sheet_no
    # A column that another sheet alone has keeps its values here.
    kept = [*record.kept_columns, *(name for name in columns if name not in record.values)]
    if kept:
        row["kept_columns"] = kept
    if record.kept_attributes:
        row["kept_attributes"] = record.kept_attributes
    return row


def _refused_rows(parsed: Sequence[ParsedSheet], refused: Mapping[str, str]) -> list[RejectedRow]:
    """Return the records that the database cannot hold as rejects, their cells by header."""
    if not refused:
        return []
    return [
        RejectedRow(
            sheet.sheet,
            record.row_number,
            refused[record.cmms_asset_id],
            _cells_of(record, sheet),
            record.cmms_asset_id,
        )
        for sheet in parsed
        for record in sheet.records
        if record.cmms_asset_id in refused
    ]


def _cells_of(record: WorkbookRecord, sheet: ParsedSheet) -> dict[str, JsonValue]:
    """Return the cells of a row that are not blank, by header; those that could not be read as they stood."""
    unread = {issue.column: issue.raw_value for issue in record.issues}
    cells = {ID_COLUMN: record.cmms_asset_id, **record.values, **unread}
    named = {header: _json_value(cells[name]) for header, name in sheet.columns.items()}
    return {header: value for header, value in named.items() if value is not None} | record.excel_attributes


def _json_value(value: ColumnValue) -> JsonValue:
    return value.isoformat() if isinstance(value, date) else value
