"""The asset master: importing Excel's columns, and which batch a CMMS asset is in (docs/how-it-works.md).

Belongs here: everything that inserts into ic3_asset_master. The API's columns are written by
`store.innomaint.enriched`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from sqlalchemy import (
    Connection,
    Integer,
    TableClause,
    Text,
    all_,
    cast,
    column,
    func,
    insert,
    literal,
    or_,
    select,
    table,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import DBAPIError

from innomaint_pipeline import crash_points
from innomaint_pipeline.domain.alerts import Condition
from innomaint_pipeline.domain.innomaint.detail import OVERRIDING_FIELDS
from innomaint_pipeline.domain.workbook import SOURCE
from innomaint_pipeline.errors import DatabaseError
from innomaint_pipeline.store.database import (
    is_conflict,
    is_server_trouble,
    short_message,
)
from innomaint_pipeline.store.fitting import refuse_unfit
from innomaint_pipeline.store.innomaint.batches import assign_new_batches, count_batches
from innomaint_pipeline.store.innomaint.tables import asset_master, overridden_value, sync_log
from innomaint_pipeline.store.rows import recordset, rows_parameter
from innomaint_pipeline.store.settings import IMPORT_ERROR, load_setting

_ROWS_PER_STATEMENT = 2_000
_STAGE = "innomaint_import_stage"


@dataclass(frozen=True)
class ImportCounts:
    """What an import did to ic3_asset_master; `missing` are CMMS assets that the workbook no longer holds.

    `refused` says why the table cannot hold a row, by CMMS asset id: an adopted one may be narrower and
    stricter than the declaration.
    """

    inserted: int
    updated: int
    unchanged: int
    missing: int
    missing_examples: tuple[str, ...]
    batches: int
    refused: Mapping[str, str] = field(default_factory=dict)


def _chunks(rows: Sequence[Any]) -> Iterator[list[Any]]:
    iterator = iter(rows)
    while chunk := list(islice(iterator, _ROWS_PER_STATEMENT)):
        yield chunk


def _stage(connection: Connection, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> TableClause:
    """Load rows into a table of the transaction; return it with the master's column types."""
    names = ["cmms_asset_id", *columns]
    described = ", ".join(
        f"{connection.dialect.identifier_preparer.quote(name)} "
        f"{asset_master.c[name].type.compile(connection.dialect)}"
        for name in names
    )
    connection.execute(
        text(f"CREATE TEMPORARY TABLE {_STAGE} (sheet_order integer, {described}) ON COMMIT DROP")
    )
    given = recordset(asset_master, names, extra=[column("sheet_order", Integer)])
    stage = table(
        _STAGE, column("sheet_order", Integer), *(column(name, asset_master.c[name].type) for name in names)
    )
    statement = insert(stage).from_select(
        ["sheet_order", *names], select(given.c.sheet_order, *(given.c[name] for name in names))
    )
    for number, chunk in enumerate(_chunks(rows)):
        offset = number * _ROWS_PER_STATEMENT
        parameter = rows_parameter({"sheet_order": offset + index, **row} for index, row in enumerate(chunk))
        connection.execute(statement, {"rows": parameter})
    connection.execute(text(f"CREATE UNIQUE INDEX ON {_STAGE} (cmms_asset_id)"))
    connection.execute(text(f"ANALYZE {_STAGE}"))
    return stage


def import_rows(
    connection: Connection,
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    *,
    batch_size: int,
    run_id: str | None,
) -> ImportCounts:
    """Insert and update ic3_asset_master from the rows of a workbook, in the caller's transaction.

    Each row holds `cmms_asset_id` (unique among them) and exactly `columns`: those that the sheet has. Where
    the API has given a value of an overriding field it stays, and Excel's is kept beside it. New CMMS assets
    get their batch. Inserted and updated ones are logged in ic3_sync_log; a row that is as stored writes
    nothing. Raises `DatabaseError` for a row that is refused by more than a length or a NOT NULL: a check of
    another program's cannot be foreseen.
    """
    try:
        return _import_rows(connection, rows, columns, batch_size=batch_size, run_id=run_id)
    except DBAPIError as error:
        if is_server_trouble(error) or is_conflict(error):
            raise
        raise DatabaseError(
            f"the database refuses a row of the workbook: {short_message(error)}; nothing was imported. "
            "Correct the row, or the table"
        ) from error


def _import_rows(
    connection: Connection,
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    *,
    batch_size: int,
    run_id: str | None,
) -> ImportCounts:
    stage = _stage(connection, rows, columns)
    crash_points.reach("import: rows staged")
    refused = refuse_unfit(connection, stage, columns)
    overriding = [name for name in OVERRIDING_FIELDS if name in columns]
    _keep_excel_values(connection, stage, overriding)
    excel = {name: stage.c[name] for name in columns}
    if "criticality" in excel:
        excel["excel_criticality"] = stage.c.criticality
    effective: dict[str, Any] = dict(excel)
    for name in overriding:
        effective[name] = func.coalesce(overridden_value.c[f"api_{name}"], stage.c[name])
    changed = or_(*(asset_master.c[name].is_distinct_from(value) for name, value in effective.items()))
    updated = (
        connection.execute(
            update(asset_master)
            .values({**effective, "updated_at": func.now()})
            .where(
                asset_master.c.cmms_asset_id == stage.c.cmms_asset_id,
                asset_master.c.asset_id == overridden_value.c.asset_id,
                changed,
            )
            .returning(asset_master.c.cmms_asset_id)
        )
        .scalars()
        .all()
        if effective
        else []
    )
    known = select(asset_master.c.cmms_asset_id).where(asset_master.c.cmms_asset_id == stage.c.cmms_asset_id)
    order = (
        [stage.c.report_seq_no.asc().nulls_last(), stage.c.sheet_order]
        if "report_seq_no" in columns
        else [stage.c.sheet_order]
    )
    inserted = (
        connection.execute(
            insert(asset_master)
            .from_select(
                ["cmms_asset_id", *excel],
                select(stage.c.cmms_asset_id, *excel.values()).where(~known.exists()).order_by(*order),
            )
            .returning(asset_master.c.cmms_asset_id)
        )
        .scalars()
        .all()
    )
    _log_import(connection, [*inserted, *updated], run_id)
    crash_points.reach("import: rows written")
    assign_new_batches(connection, batch_size)
    crash_points.reach("import: batches given")
    missing = select(asset_master.c.cmms_asset_id).where(
        asset_master.c.cmms_asset_id.is_not(None),
        ~select(stage.c.cmms_asset_id).where(stage.c.cmms_asset_id == asset_master.c.cmms_asset_id).exists(),
        asset_master.c.cmms_asset_id != all_(cast(list(refused), ARRAY(Text))),
    )
    return ImportCounts(
        inserted=len(inserted),
        updated=len(updated),
        unchanged=len(rows) - len(refused) - len(inserted) - len(updated),
        missing=connection.execute(select(func.count()).select_from(missing.subquery())).scalar_one(),
        missing_examples=tuple(
            connection.execute(missing.order_by(asset_master.c.asset_id).limit(20)).scalars()
        ),
        batches=count_batches(connection),
        refused=refused,
    )


def _keep_excel_values(connection: Connection, stage: TableClause, overriding: Sequence[str]) -> None:
    if not overriding:
        return
    new = {f"excel_{name}": stage.c[name] for name in overriding}
    connection.execute(
        update(overridden_value)
        .values(new)
        .where(
            overridden_value.c.asset_id == asset_master.c.asset_id,
            asset_master.c.cmms_asset_id == stage.c.cmms_asset_id,
            or_(*(overridden_value.c[name].is_distinct_from(value) for name, value in new.items())),
        )
    )


def _log_import(connection: Connection, cmms_asset_ids: Sequence[str], run_id: str | None) -> None:
    serial = func.unnest(cast(cmms_asset_ids, ARRAY(Text))).column_valued("serialnumber")
    row = {
        "serialnumber": serial,
        "sync_type": literal("excel_import"),
        "status": literal("success"),
        "run_id": cast(run_id, Text),
    }
    connection.execute(insert(sync_log).from_select(list(row), select(*row.values())))


def load_conditions(connection: Connection) -> list[Condition]:
    """Return what people are told about the import of the asset master, good or bad."""
    error = load_setting(connection, SOURCE, IMPORT_ERROR)
    message = (
        f"The asset master was not imported: {error} The sync goes on with the old one."
        if error
        else "The asset master is imported again."
    )
    return [Condition("import", "failed" if error else None, message)]
