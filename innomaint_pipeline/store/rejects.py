"""Rows of a workbook that were not imported: innomaint_import_reject (docs/how-it-works.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Text, delete, func, literal, or_, select
from sqlalchemy.dialects.postgresql import insert

from innomaint_pipeline.store.innomaint.tables import import_reject
from innomaint_pipeline.store.rows import recordset, rows_parameter


def save_rejects(
    connection: Connection, *, workbook: str, sheet: str, rejects: Sequence[Mapping[str, Any]]
) -> None:
    """Make the table hold exactly these rejects for the sheet, touching only what differs.

    Each reject holds `row_number`, `reason` and `row` (header -> JSON value).
    """
    parameters = {"rows": rows_parameter(rejects)}
    given = recordset(import_reject, ["row_number", "reason", "row"])
    is_still_rejected = (
        select(given.c.row_number).where(given.c.row_number == import_reject.c.row_number).exists()
    )
    connection.execute(
        delete(import_reject).where(
            import_reject.c.workbook == workbook, import_reject.c.sheet == sheet, ~is_still_rejected
        ),
        parameters,
    )
    statement = insert(import_reject).from_select(
        ["workbook", "sheet", "row_number", "reason", "row"],
        select(
            literal(workbook, Text), literal(sheet, Text), given.c.row_number, given.c.reason, given.c.row
        ),
    )
    new = statement.excluded
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["workbook", "sheet", "row_number"],
            set_={"reason": new.reason, "row": new.row, "imported_at": func.now()},
            where=or_(
                import_reject.c.reason.is_distinct_from(new.reason),
                import_reject.c.row.is_distinct_from(new.row),
            ),
        ),
        parameters,
    )
