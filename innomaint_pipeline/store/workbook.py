"""The asset master: importing Excel's columns, and which batch a CMMS asset is in.

Belongs here: everything that inserts into ic3_asset_master, and what an import leaves beside it: rejected
rows, data issues. The API's columns are written by `store.innomaint.enriched`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    TableClause,
    Text,
    all_,
    and_,
    any_,
    bindparam,
    case,
    cast,
    column,
    delete,
    func,
    insert,
    literal,
    literal_column,
    or_,
    select,
    table,
    text,
    update,
    values,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import DBAPIError

from innomaint_pipeline import crash_points
from innomaint_pipeline.domain.alerts import Condition
from innomaint_pipeline.domain.innomaint.detail import OVERRIDING_FIELDS
from innomaint_pipeline.domain.states import SyncState
from innomaint_pipeline.domain.workbook import SOURCE
from innomaint_pipeline.errors import DatabaseError, RefusedRowError
from innomaint_pipeline.store.faults import Fault, judge, short_message
from innomaint_pipeline.store.innomaint.batches import (
    assign_new_batches,
    count_batches,
    find_last_batch,
    key_of_place,
)
from innomaint_pipeline.store.innomaint.tables import (
    asset_master,
    data_issue,
    import_reject,
    overridden_value,
    sync_log,
    sync_state,
)
from innomaint_pipeline.store.rows import (
    copy_rows,
    is_everybodys,
    recordset,
    rows_parameter,
    speak_now,
    write_within,
)
from innomaint_pipeline.store.settings import IMPORT_ERROR, WORKBOOK_TROUBLE, load_setting

_STAGE = "innomaint_import_stage"
_ATTRIBUTES = "excel_attributes"
# So many rows refused one by one before any was taken are asked whether it is a row's fault at all.
_REFUSED_BEFORE_ANY = 1000

# Triggers that could leave a row out without an error, but for our own.
_LEAVING_OUT = text(
    """
    select exists (
        select from pg_trigger
        where tgrelid = to_regclass(:name) and not tgisinternal and tgtype & 3 = 3 and tgenabled <> 'D'
    )
    """
)

# SQLAlchemy's inspector asks for far more, which costs a small import a third of its time.
_COLUMNS = text(
    """
    select a.attname as name, a.attnotnull as is_required,
           a.atthasdef or a.attidentity <> '' as has_default,
           case when t.typname in ('varchar', 'bpchar') and a.atttypmod > 4 then a.atttypmod - 4 end as length
    from pg_attribute a join pg_type t on t.oid = a.atttypid
    where a.attrelid = to_regclass(:name) and a.attnum > 0 and not a.attisdropped
    order by a.attnum
    """
)


@dataclass(frozen=True)
class ImportCounts:
    """What an import did to ic3_asset_master; `missing` are CMMS assets that the workbook no longer holds.

    `refused` says why the table cannot hold a row, by CMMS asset id: an adopted one may be narrower and
    stricter than the declaration. `unlogged` says why ic3_sync_log refuses the row of an imported one.
    """

    inserted: int
    updated: int
    unchanged: int
    missing: int
    missing_examples: tuple[str, ...]
    batches: int
    refused: Mapping[str, str] = field(default_factory=dict)
    unlogged: Mapping[str, str] = field(default_factory=dict)


def _stage(connection: Connection, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> TableClause:
    """Load rows into a table of the transaction; return it with the master's column types."""
    typed = [(name, asset_master.c[name].type) for name in ("cmms_asset_id", *columns)]
    own = [
        column("sheet_order", Integer),
        column("sheet_no", Integer),
        column("kept_columns", ARRAY(Text)),
        column("kept_attributes", ARRAY(Text)),
    ]
    stage = table(_STAGE, *own, *(column(name, type_) for name, type_ in typed))
    quote = connection.dialect.identifier_preparer.quote
    described = ", ".join(f"{quote(it.name)} {it.type.compile(connection.dialect)}" for it in stage.columns)
    connection.execute(text(f"CREATE TEMPORARY TABLE {_STAGE} ({described}) ON COMMIT DROP"))
    copy_rows(
        connection, stage, ({"sheet_order": place, "sheet_no": 0, **row} for place, row in enumerate(rows))
    )
    connection.execute(text(f"CREATE UNIQUE INDEX ON {_STAGE} (cmms_asset_id)"))
    connection.execute(text(f"CREATE INDEX ON {_STAGE} (sheet_order)"))
    connection.execute(text(f"ANALYZE {_STAGE} (cmms_asset_id)"))
    return stage


def import_rows(
    connection: Connection,
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    *,
    batch_size: int,
    run_id: str | None,
    headers: Sequence[Sequence[str]] = (),
    present_ids: Sequence[str] = (),
) -> ImportCounts:
    """Insert and update ic3_asset_master from the rows of a workbook, in the caller's transaction.

    Each row holds `cmms_asset_id` (unique among them) and `columns`, null where it lacks one; `kept_columns`
    and `kept_attributes` name those whose stored values stay, `sheet_no` which of `headers`, those of its
    sheet, it stands under: attributes of other headers stay, too. Where the API has given a value of an
    overriding field it stays, and Excel's is kept beside it. New CMMS assets get their batch. Inserted and
    updated ones are logged in ic3_sync_log; a row that is as stored writes nothing. `present_ids` are in the
    workbook without being imported. A row that the database refuses, or leaves out, is refused by itself.
    Raises `DatabaseError` for what fails for each row.
    """
    try:
        stage = _stage(connection, rows, columns)
        crash_points.reach("import: rows staged")
        refused = _refuse_unfit(connection, stage, columns)
        whole = (0, len(rows))
        writer = _Writer(
            connection, stage, columns, _sheets(headers, rows), refused, run_id, whole, batch_size
        )
        writer.write(*whole)
        writer.raise_what_is_everybodys()
        unlogged = _log_import(connection, [*writer.inserted, *writer.updated], run_id)
        crash_points.reach("import: rows written")
        assign_new_batches(connection, batch_size)
        crash_points.reach("import: batches given")
        missing = _missing(stage, [*refused, *present_ids])
        return ImportCounts(
            inserted=len(writer.inserted),
            updated=len(writer.updated),
            unchanged=len(rows) - len(refused) - len(writer.inserted) - len(writer.updated),
            missing=connection.execute(select(func.count()).select_from(missing.subquery())).scalar_one(),
            missing_examples=tuple(
                connection.execute(missing.order_by(asset_master.c.asset_id).limit(20)).scalars()
            ),
            batches=count_batches(connection),
            refused=refused,
            unlogged=unlogged,
        )
    except DBAPIError as error:
        if judge(error) in {Fault.SERVER, Fault.SCHEMA, Fault.CONFLICT}:
            raise
        raise DatabaseError(
            f"the database refuses the workbook: {short_message(error)}; nothing was imported. Correct the "
            "table, or the rights of this role"
        ) from error


def _sheets(headers: Sequence[Sequence[str]], rows: Sequence[Mapping[str, Any]]) -> FromClause:
    """Return the headers of each sheet as a relation; a sheet without any keeps every attribute."""
    highest = max((row.get("sheet_no", 0) for row in rows), default=0)
    return values(column("sheet_no", Integer), column("headers", ARRAY(Text)), name="sheets").data(
        [(number, list(headers[number]) if number < len(headers) else []) for number in range(highest + 1)]
    )


def _missing(stage: TableClause, present_ids: Sequence[str]) -> Any:
    return select(asset_master.c.cmms_asset_id).where(
        asset_master.c.cmms_asset_id.is_not(None),
        ~select(stage.c.cmms_asset_id).where(stage.c.cmms_asset_id == asset_master.c.cmms_asset_id).exists(),
        asset_master.c.cmms_asset_id != all_(cast(list(present_ids), ARRAY(Text))),
    )


@dataclass
class _Writer:
    """Writes what is staged into the master; ranges that the database refuses are halved down to the row.

    `refused` says why, by CMMS asset id.
    """

    connection: Connection
    stage: TableClause
    columns: Sequence[str]
    sheets: FromClause
    refused: dict[str, str]
    run_id: str | None
    whole: tuple[int, int]
    batch_size: int
    inserted: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    errors: list[RefusedRowError] = field(default_factory=list)

    def __post_init__(self) -> None:
        found = self.connection.execute(_LEAVING_OUT, {"name": asset_master.name})
        self.may_leave_out: bool = found.scalar_one()

    def write(self, first: int, end: int) -> None:
        """Write the staged rows from one place in the workbook up to another."""
        try:
            with self.connection.begin_nested():
                updated = self._update(first, end)
                inserted = self._insert(first, end)
                left_out = self._find_left_out(first, end, {*inserted, *updated})
                # What would speak at the commit, when it can no longer be told whose fault it is.
                speak_now(self.connection)
        except DBAPIError as error:
            fault = judge(error)
            if fault in {Fault.SERVER, Fault.SCHEMA}:
                raise
            if end - first > 1:
                middle = (first + end) // 2
                self.write(first, middle)
                self.write(middle, end)
                return
            self._refuse(first, short_message(error), is_certain=fault is Fault.ROW)
            if len(self.errors) == _REFUSED_BEFORE_ANY:
                self.raise_what_is_everybodys()
        else:
            self.updated += updated
            self.inserted += inserted
            for place in left_out:
                reason = "a trigger of the table left it out without an error"
                self._refuse(place, reason, is_certain=False)

    def raise_what_is_everybodys(self) -> None:
        """Raise `DatabaseError` where each row was refused alone, which is no row's fault."""
        if is_everybodys(self.errors, has_taken=bool(self.inserted or self.updated)):
            raise DatabaseError(
                f"the database refuses each of {len(self.errors)} rows of the workbook, so that it is no "
                f"row's fault: {self.errors[0].reason}; nothing was imported. Correct the trigger or "
                "function that says so, or the rights of this role"
            )

    def _refuse(self, place: int, reason: str, *, is_certain: bool) -> None:
        removed = (
            delete(self.stage).where(self.stage.c.sheet_order == place).returning(self.stage.c.cmms_asset_id)
        )
        for cmms_asset_id in self.connection.execute(removed).scalars():
            self.refused[cmms_asset_id] = f"the database refuses the row: {reason}"
            self.errors.append(RefusedRowError(reason, reason=reason, is_certain=is_certain))

    def _find_left_out(self, first: int, end: int, written: Collection[str]) -> Sequence[int]:
        """Return the places of rows that are not there, or not as they were to be, and were not written."""
        if not self.may_leave_out:
            return ()
        stage, sheets = self.stage, self.sheets
        is_in_range = stage.c.sheet_order.between(first, end - 1)
        is_there = asset_master.c.cmms_asset_id == stage.c.cmms_asset_id
        known = select(asset_master.c.asset_id).where(is_there)
        found = select(stage.c.cmms_asset_id, stage.c.sheet_order).where(is_in_range, ~known.exists())
        changed = self._differs()
        if changed is not None:
            found = found.union(
                select(stage.c.cmms_asset_id, stage.c.sheet_order).where(
                    is_there,
                    asset_master.c.asset_id == overridden_value.c.asset_id,
                    stage.c.sheet_no == sheets.c.sheet_no,
                    is_in_range,
                    changed,
                )
            )
        return [place for serial, place in self.connection.execute(found) if serial not in written]

    def _effective(self) -> dict[str, Any]:
        """Return what each column of the master is to hold."""
        effective: dict[str, Any] = {name: self._known(name, asset_master.c[name]) for name in self.columns}
        if "criticality" in effective:
            effective["excel_criticality"] = self._known("criticality", asset_master.c.excel_criticality)
        for name in OVERRIDING_FIELDS:
            if name in self.columns:
                effective[name] = func.coalesce(overridden_value.c[f"api_{name}"], effective[name])
        return effective

    def _differs(self) -> ColumnElement[bool] | None:
        effective = self._effective()
        if not effective:
            return None
        return or_(*(asset_master.c[name].is_distinct_from(value) for name, value in effective.items()))

    def _update(self, first: int, end: int) -> Sequence[str]:
        stage, sheets = self.stage, self.sheets
        is_in_range = stage.c.sheet_order.between(first, end - 1)
        self._keep_excel_values([name for name in OVERRIDING_FIELDS if name in self.columns], is_in_range)
        changed = self._differs()
        if changed is None:
            return []
        return (
            self.connection.execute(
                update(asset_master)
                .values({**self._effective(), "updated_at": func.now()})
                .where(
                    asset_master.c.cmms_asset_id == stage.c.cmms_asset_id,
                    asset_master.c.asset_id == overridden_value.c.asset_id,
                    stage.c.sheet_no == sheets.c.sheet_no,
                    is_in_range,
                    changed,
                )
                .returning(asset_master.c.cmms_asset_id)
            )
            .scalars()
            .all()
        )

    def _known(self, name: str, stored: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return what the workbook says of a column, or what is stored where it does not say."""
        stage = self.stage
        if name != _ATTRIBUTES:
            is_kept = literal(name, Text) == any_(func.coalesce(stage.c.kept_columns, _no_texts()))
            return case((is_kept, stored), else_=stage.c[name])
        header = func.unnest(self.sheets.c.headers).column_valued("header")
        cleared = select(header).where(header != all_(stage.c.kept_attributes)).scalar_subquery()
        erased = case(
            (stage.c.kept_attributes.is_(None), self.sheets.c.headers),
            else_=func.array(cleared, type_=ARRAY(Text)),
        )
        nothing = literal_column("'{}'::jsonb", JSONB)
        object_of = case((func.jsonb_typeof(stored) == "object", stored), else_=nothing)
        return object_of.op("-")(erased).op("||")(func.coalesce(stage.c[name], nothing))

    def _keep_excel_values(self, overriding: Sequence[str], is_in_range: ColumnElement[bool]) -> None:
        if not overriding:
            return
        new = {f"excel_{name}": self._known(name, overridden_value.c[f"excel_{name}"]) for name in overriding}
        self.connection.execute(
            update(overridden_value)
            .values(new)
            .where(
                overridden_value.c.asset_id == asset_master.c.asset_id,
                asset_master.c.cmms_asset_id == self.stage.c.cmms_asset_id,
                is_in_range,
                or_(*(overridden_value.c[name].is_distinct_from(value) for name, value in new.items())),
            )
        )

    def _insert(self, first: int, end: int) -> Sequence[str]:
        stage = self.stage
        excel = {name: stage.c[name] for name in self.columns}
        if "criticality" in excel:
            excel["excel_criticality"] = stage.c.criticality
        known = select(asset_master.c.cmms_asset_id).where(
            asset_master.c.cmms_asset_id == stage.c.cmms_asset_id
        )
        order: list[ColumnElement[Any]] = [stage.c.sheet_order]
        if "report_seq_no" in self.columns:
            order.insert(0, stage.c.report_seq_no.asc().nulls_last())
        adding = (
            insert(asset_master)
            .from_select(
                ["cmms_asset_id", *excel],
                select(stage.c.cmms_asset_id, *excel.values())
                .where(~known.exists(), stage.c.sheet_order.between(first, end - 1))
                .order_by(*order),
            )
            .returning(asset_master.c.asset_id, asset_master.c.cmms_asset_id, asset_master.c.report_seq_no)
        )
        if (first, end) != self.whole:
            return self.connection.execute(adding).scalars("cmms_asset_id").all()
        # All new ones are known here: their states are inserted with their batch, not given one afterwards.
        added = adding.cte("added")
        place = func.row_number().over(order_by=[added.c.report_seq_no.asc().nulls_last(), added.c.asset_id])
        key = key_of_place(place, find_last_batch(self.connection), self.batch_size)
        states = insert(sync_state).from_select(
            ["asset_id", "state", "batch_key"], select(added.c.asset_id, literal(SyncState.NEVER.value), key)
        )
        named = select(added.c.cmms_asset_id).add_cte(states.cte("states"))
        return self.connection.execute(named).scalars().all()


def _no_texts() -> ColumnElement[Any]:
    return literal_column("'{}'::text[]", ARRAY(Text))


def _refuse_unfit(connection: Connection, stage: TableClause, columns: Sequence[str]) -> dict[str, str]:
    """Take the rows that the table as it stands cannot hold off the stage; return why, by CMMS asset id."""
    known = select(asset_master.c.cmms_asset_id).where(asset_master.c.cmms_asset_id == stage.c.cmms_asset_id)
    refused: dict[str, str] = {}
    for name, is_required, has_default, length in connection.execute(
        _COLUMNS, {"name": asset_master.name}
    ).tuples():
        is_given = name == "cmms_asset_id" or name in columns
        reasons: list[tuple[ColumnElement[bool], ColumnElement[Any]]] = []
        if is_given and length is not None:
            size = func.char_length(stage.c[name])
            reason = func.format(
                "%s holds %s characters, the column of the database takes %s", name, size, length
            )
            reasons.append((size > length, reason))
        if is_given and is_required:
            reason = literal(f"{name} is empty, the column of the database requires a value")
            is_kept = literal(name, Text) == any_(func.coalesce(stage.c.kept_columns, _no_texts()))
            reasons.append((and_(stage.c[name].is_(None), ~and_(is_kept, known.exists())), reason))
        elif is_required and not has_default and name != "asset_id":
            reason = literal(f"the sheet has no {name}, the column of the database requires a value")
            reasons.append((~known.exists(), reason))
        for is_unfit, reason in reasons:
            removed = delete(stage).where(is_unfit).returning(stage.c.cmms_asset_id, reason)
            refused.update(connection.execute(removed).tuples().all())
    return refused


def _log_import(connection: Connection, cmms_asset_ids: Sequence[str], run_id: str | None) -> dict[str, str]:
    """Append a row of ic3_sync_log for each CMMS asset; return why rows are refused, by CMMS asset id."""
    serial = func.unnest(cast(bindparam("serials"), ARRAY(Text))).column_valued("serialnumber")
    row = {
        "serialnumber": serial,
        "sync_type": literal("excel_import"),
        "status": literal("success"),
        "run_id": cast(run_id, Text),
    }
    append = insert(sync_log).from_select(list(row), select(*row.values())).returning(sync_log.c.serialnumber)

    def write(part: Sequence[str]) -> Collection[str]:
        written = set(connection.execute(append, {"serials": list(part)}).scalars())
        return [] if len(written) == len(part) else [serial for serial in part if serial not in written]

    return write_within(connection, cmms_asset_ids, write) if cmms_asset_ids else {}


def save_workbook_issues(
    connection: Connection, issues: Sequence[Mapping[str, str]], imported_ids: Sequence[str]
) -> dict[int, str]:
    """Note optional values that could not be read; resolve those of the imported assets that now can.

    Each issue holds `cmms_asset_id`, `field`, `raw_value` and `reason`. One that is open as it is stays
    untouched. Returns why the database refuses to note some, by their places among `issues`.
    """
    extra = [column("cmms_asset_id", Text)]
    names = ["field", "raw_value", "reason"]
    given = recordset(data_issue, names, extra=extra)
    parameters = {"rows": rows_parameter(issues)}
    is_open = and_(data_issue.c.source == SOURCE, data_issue.c.resolved_at.is_(None))
    if (
        not issues
        and not connection.execute(select(select(data_issue.c.id).where(is_open).exists())).scalar_one()
    ):
        return {}
    is_still_seen = select(given.c.field).where(
        given.c.cmms_asset_id == asset_master.c.cmms_asset_id, given.c.field == data_issue.c.field
    )
    connection.execute(
        update(data_issue)
        .values(resolved_at=func.now())
        .where(
            is_open,
            data_issue.c.asset_id == asset_master.c.asset_id,
            asset_master.c.cmms_asset_id == any_(cast(list(imported_ids), ARRAY(Text))),
            ~is_still_seen.exists(),
        ),
        parameters,
    )
    statement = upsert(data_issue).from_select(
        ["source", "asset_id", *names],
        select(literal(SOURCE, Text), asset_master.c.asset_id, *(given.c[name] for name in names)).where(
            asset_master.c.cmms_asset_id == given.c.cmms_asset_id
        ),
    )
    new = statement.excluded
    is_noted = select(data_issue.c.id).where(
        is_open,
        data_issue.c.asset_id == asset_master.c.asset_id,
        *(data_issue.c[name].is_not_distinct_from(given.c[name]) for name in names),
    )
    return _write_listed(
        connection,
        issues,
        statement.on_conflict_do_update(
            index_elements=["source", "asset_id", "field"],
            index_where=data_issue.c.resolved_at.is_(None),
            set_={"raw_value": new.raw_value, "reason": new.reason, "last_seen_at": func.now()},
            where=or_(*(data_issue.c[name].is_distinct_from(new[name]) for name in ("raw_value", "reason"))),
        ),
        select(func.count())
        .select_from(given.join(asset_master, asset_master.c.cmms_asset_id == given.c.cmms_asset_id))
        .where(~is_noted.exists()),
    )


def _write_listed(
    connection: Connection, rows: Sequence[Mapping[str, Any]], write: Any, count_lacking: Any
) -> dict[int, str]:
    """Write rows by a statement with the parameter `rows`; return why some are refused, by their places.

    `count_lacking` counts those of `rows` that are not there after it.
    """

    def write_part(places: Sequence[int]) -> Collection[int]:
        parameters = {"rows": rows_parameter(rows[place] for place in places)}
        connection.execute(write, parameters)
        if not connection.execute(count_lacking, parameters).scalar_one():
            return []
        return [
            place
            for place in places
            if connection.execute(count_lacking, {"rows": rows_parameter([rows[place]])}).scalar_one()
        ]

    return write_within(connection, range(len(rows)), write_part) if rows else {}


def save_rejects(
    connection: Connection, *, workbook: str, rejects: Sequence[Mapping[str, Any]]
) -> dict[int, str]:
    """Make innomaint_import_reject hold exactly these rows for the workbook, touching only what differs.

    Each reject holds `sheet`, `row_number`, `reason` and `row` (header -> JSON value). Returns why the
    database refuses to keep some, by their places among `rejects`.
    """
    parameters = {"rows": rows_parameter(rejects)}
    names = ["sheet", "row_number", "reason", "row"]
    given = recordset(import_reject, names)
    is_still_rejected = (
        select(given.c.row_number)
        .where(given.c.row_number == import_reject.c.row_number, given.c.sheet == import_reject.c.sheet)
        .exists()
    )
    connection.execute(
        delete(import_reject).where(import_reject.c.workbook == workbook, ~is_still_rejected), parameters
    )
    statement = upsert(import_reject).from_select(
        ["workbook", *names], select(literal(workbook, Text), *(given.c[name] for name in names))
    )
    new = statement.excluded
    is_kept = select(import_reject.c.reason).where(
        import_reject.c.workbook == workbook,
        *(import_reject.c[name] == given.c[name] for name in ("sheet", "row_number", "reason")),
    )
    return _write_listed(
        connection,
        rejects,
        statement.on_conflict_do_update(
            index_elements=["workbook", "sheet", "row_number"],
            set_={"reason": new.reason, "row": new.row, "imported_at": func.now()},
            where=or_(
                import_reject.c.reason.is_distinct_from(new.reason),
                import_reject.c.row.is_distinct_from(new.row),
            ),
        ),
        select(func.count()).select_from(given).where(~is_kept.exists()),
    )


def load_conditions(connection: Connection) -> list[Condition]:
    """Return what people are told about the import of the asset master, good or bad."""
    error = load_setting(connection, SOURCE, WORKBOOK_TROUBLE) or load_setting(
        connection, SOURCE, IMPORT_ERROR
    )
    message = (
        f"The asset master was not imported: {error} The sync goes on with the old one."
        if error
        else "The asset master is imported again."
    )
    return [Condition("import", "failed" if error else None, message)]
