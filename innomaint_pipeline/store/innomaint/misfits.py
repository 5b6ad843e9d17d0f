"""What answers hold that does not fit: values that cannot be read, fields that no document names.

Belongs here: noting each once, and resolving what can be read again. What does fit is `enriched`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from sqlalchemy import (
    Connection,
    Integer,
    Text,
    TextClause,
    and_,
    any_,
    bindparam,
    cast,
    func,
    literal_column,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert

from innomaint_pipeline.domain.innomaint.detail import UnknownField, choose_unknown_fields
from innomaint_pipeline.store.innomaint.enriched import ParsedAnswer
from innomaint_pipeline.store.innomaint.tables import data_issue, unknown_field
from innomaint_pipeline.store.rows import left_out, prepared, recordset, rows_parameter


def save_issues(connection: Connection, answers: Sequence[ParsedAnswer], *, is_seen_again: bool) -> int:
    """Note values that could not be read, resolve those that can be read again.

    Return how many are open now. With `is_seen_again` false an issue that is open already stays as it is: an
    unchanged answer writes only what is new about it (a volatile value that became unreadable, characters
    that had to be cleaned). Raises `RefusedRowError` where a trigger leaves one out.
    """
    rows = [
        {"asset_id": item.asset_id, "field": field, "raw_value": issue.raw_value, "reason": issue.reason}
        for item in answers
        for field, issue in {issue.field: issue for issue in item.issues}.items()
    ]
    parameters = {"rows": rows_parameter(rows), "asset_ids": [item.asset_id for item in answers]}
    connection.execute(_resolve_issues(), parameters)
    if rows:
        connection.execute(_insert_issues(is_seen_again=is_seen_again), {"rows": parameters["rows"]})
        missing = connection.execute(_find_unnoted(), {"rows": parameters["rows"]}).mappings().first()
        if missing is not None:
            raise left_out(data_issue, {str(name): value for name, value in missing.items()})
    return len(rows)


_ISSUE_COLUMNS = ("asset_id", "field", "raw_value", "reason")
_ISSUE_SOURCE = literal_column("'innomaint'")


@cache
def _resolve_issues() -> TextClause:
    given = recordset(data_issue, _ISSUE_COLUMNS)
    is_seen = (
        select(given.c.field)
        .where(given.c.asset_id == data_issue.c.asset_id, given.c.field == data_issue.c.field)
        .exists()
    )
    return prepared(
        update(data_issue)
        .values(resolved_at=func.now())
        .where(
            data_issue.c.source == _ISSUE_SOURCE,
            data_issue.c.asset_id == any_(cast(bindparam("asset_ids"), ARRAY(Integer))),
            data_issue.c.resolved_at.is_(None),
            ~is_seen,
        )
    )


@cache
def _insert_issues(*, is_seen_again: bool) -> TextClause:
    given = recordset(data_issue, _ISSUE_COLUMNS)
    statement = upsert(data_issue).from_select(
        ["source", *_ISSUE_COLUMNS],
        select(_ISSUE_SOURCE, *(given.c[name] for name in _ISSUE_COLUMNS)),
    )
    new = statement.excluded
    is_new = or_(*(data_issue.c[name].is_distinct_from(new[name]) for name in ("raw_value", "reason")))
    return prepared(
        statement.on_conflict_do_update(
            index_elements=["source", "asset_id", "field"],
            index_where=data_issue.c.resolved_at.is_(None),
            set_={"raw_value": new.raw_value, "reason": new.reason, "last_seen_at": func.now()},
            where=None if is_seen_again else is_new,
        )
    )


@cache
def _find_unnoted() -> TextClause:
    given = recordset(data_issue, _ISSUE_COLUMNS)
    is_open = and_(data_issue.c.source == _ISSUE_SOURCE, data_issue.c.resolved_at.is_(None))
    is_noted = select(data_issue.c.id).where(
        is_open, data_issue.c.asset_id == given.c.asset_id, data_issue.c.field == given.c.field
    )
    return prepared(select(given.c.asset_id, given.c.field).where(~is_noted.exists()).limit(1))


def save_unknown_fields(connection: Connection, answers: Sequence[ParsedAnswer]) -> list[str]:
    """Remember fields that no document names; return those not seen before, so that each is reported once.

    By name `MOST_UNKNOWN_FIELDS` of a section are kept and `MOST_UNKNOWN_FIELDS_IN_ALL` in all; the row of a
    section of its own counts further ones, in the answer that has most of them.
    """
    first_seen: dict[UnknownField, str] = {}
    further: dict[str, int] = {}
    for item in answers:
        for unknown in item.detail.unknown_fields:
            first_seen.setdefault(unknown, item.cmms_asset_id)
        for section, count in item.detail.further_unknown_fields.items():
            further[section] = max(count, further.get(section, 0))
    if not first_seen and not further:
        return []
    paths = [unknown.path for unknown in first_seen]
    known = set(connection.execute(_find_unknown_fields(), {"paths": paths}).scalars())
    new: list[UnknownField] = []
    fresh = [unknown for unknown in first_seen if unknown.path not in known]
    if fresh:
        # Two batches that look at once would each fill up what is left.
        connection.execute(text("LOCK TABLE innomaint_unknown_field IN SHARE ROW EXCLUSIVE MODE"))
        kept = connection.execute(
            select(unknown_field.c.section, func.count())
            .where(unknown_field.c.further.is_(None))
            .group_by(unknown_field.c.section)
        ).tuples()
        new, left_over = choose_unknown_fields(fresh, dict(kept.all()))
        for section, count in left_over.items():
            further[section] = further.get(section, 0) + count
    if new:
        rows = [
            {"field": item.path, "section": item.section, "first_cmms_asset_id": first_seen[item]}
            for item in new
        ]
        statement = upsert(unknown_field).values(rows).on_conflict_do_nothing()
        added = connection.execute(statement.returning(unknown_field.c.field)).scalars().all()
    else:
        added = []
    for section, count in sorted(further.items()):
        statement = upsert(unknown_field).values(field=f"{section} (further)", section=section, further=count)
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["field"],
                set_={"further": statement.excluded.further},
                where=func.coalesce(unknown_field.c.further, 0) < statement.excluded.further,
            )
        )
    return sorted(added)


@cache
def _find_unknown_fields() -> TextClause:
    return prepared(
        select(unknown_field.c.field).where(
            unknown_field.c.field == any_(cast(bindparam("paths"), ARRAY(Text)))
        )
    )
