"""Which rows of a workbook ic3_asset_master can hold as it stands (docs/tables.md).

Belongs here: an adopted table may be narrower (`varchar(50)`) and stricter (`NOT NULL`) than the declaration
in `store.tables`; a row that does not fit is refused by itself instead of failing the whole import.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, TableClause, delete, func, literal, select, text

from innomaint_pipeline.store.innomaint.tables import asset_master

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


def refuse_unfit(connection: Connection, stage: TableClause, columns: Sequence[str]) -> dict[str, str]:
    """Take the rows that the table as it stands cannot hold off the stage; return why, by CMMS asset id."""
    known = select(asset_master.c.cmms_asset_id).where(asset_master.c.cmms_asset_id == stage.c.cmms_asset_id)
    refused: dict[str, str] = {}
    for name, is_required, has_default, length in connection.execute(
        _COLUMNS, {"name": asset_master.name}
    ).tuples():
        is_given = name == "cmms_asset_id" or name in columns
        reasons = []
        if is_given and length is not None:
            size = func.char_length(stage.c[name])
            reason = func.format(
                "%s holds %s characters, the column of the database takes %s", name, size, length
            )
            reasons.append((size > length, reason))
        if is_given and is_required:
            reason = literal(f"{name} is empty, the column of the database requires a value")
            reasons.append((stage.c[name].is_(None), reason))
        elif is_required and not has_default and name != "asset_id":
            reason = literal(f"the sheet has no {name}, the column of the database requires a value")
            reasons.append((~known.exists(), reason))
        for is_unfit, reason in reasons:
            removed = delete(stage).where(is_unfit).returning(stage.c.cmms_asset_id, reason)
            refused.update(connection.execute(removed).tuples().all())
    return refused
