"""The enriched IC3 tables, from parsed answers (docs/how-it-works.md).

Belongs here: writing details of many CMMS assets with one statement a table. All or nothing is the caller's
transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    TextClause,
    any_,
    bindparam,
    cast,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert

from innomaint_pipeline.domain.documents import DataIssue
from innomaint_pipeline.domain.innomaint.answers import VOLATILE_FIELDS
from innomaint_pipeline.domain.innomaint.detail import (
    OVERRIDING_FIELDS,
    PERFORMANCE_NUMBERS,
    PLACE_NAMES,
    PLACE_TABLES,
    CmmsAssetDetail,
)
from innomaint_pipeline.store.innomaint.tables import (
    asset_master,
    asset_performance,
    overridden_value,
    place_naming,
    sync_state,
    workorder_summary,
)
from innomaint_pipeline.store.rows import (
    group_by_columns,
    prepared,
    recordset,
    refuse_left_out,
    rows_parameter,
    upsert_rows,
)
from innomaint_pipeline.store.tables import metadata

ENRICHED_TABLES = (*PLACE_TABLES, "ic3_asset_master", "ic3_asset_performance", "ic3_workorder_summary")
_VOLATILE_COLUMNS = [*VOLATILE_FIELDS, *(PERFORMANCE_NUMBERS[name][0] for name in VOLATILE_FIELDS)]


@dataclass(frozen=True)
class ParsedAnswer:
    """A stored answer, read; `is_changed` tells whether it differs from the one that the tables hold."""

    asset_id: int
    cmms_asset_id: str
    detail: CmmsAssetDetail
    issues: tuple[DataIssue, ...]
    body_hash: str
    is_changed: bool
    fetched_at: datetime
    run_id: str | None
    attempts: int
    duration_ms: int
    consecutive_failures: int


def write_details(
    connection: Connection, answers: Sequence[ParsedAnswer], tables: Collection[str] = ENRICHED_TABLES
) -> dict[str, int]:
    """Write the chosen tables from answers; return how many rows of each were written.

    Rows that are as stored are not written. Where two answers name the same building, floor or department
    differently, the one that came later wins, whichever is written first.
    """
    ordered = sorted(answers, key=lambda item: item.fetched_at)
    written = dict.fromkeys(tables, 0)
    for name in PLACE_TABLES:
        if name in tables:
            written[name] = _write_places(connection, name, ordered)
    if "ic3_asset_master" in tables:
        written["ic3_asset_master"] = _write_master(connection, ordered)
    if "ic3_asset_performance" in tables:
        performance = [
            {"asset_id": item.asset_id, "serialnumber": item.cmms_asset_id, **item.detail.performance}
            for item in ordered
            if item.detail.performance is not None
        ]
        written["ic3_asset_performance"] = upsert_rows(
            connection, asset_performance, ["asset_id"], performance, stamp="recorded_at"
        )
    if "ic3_workorder_summary" in tables:
        workorders = [
            {"asset_id": item.asset_id, "period_type": period, **row}
            for item in ordered
            for period, row in item.detail.workorders.items()
        ]
        written["ic3_workorder_summary"] = upsert_rows(
            connection, workorder_summary, ["asset_id", "period_type"], workorders
        )
    return written


def _write_places(connection: Connection, table: str, answers: Sequence[ParsedAnswer]) -> int:
    key = PLACE_TABLES[table][0]
    rows: dict[int, dict[str, Any]] = {}
    told_at: dict[int, datetime] = {}
    named_at: dict[int, datetime] = {}
    for item in answers:
        row = item.detail.places.get(table)
        if row is None:
            continue
        rows.setdefault(row[key], {}).update(row)
        told_at[row[key]] = item.fetched_at
        if PLACE_NAMES[table] in row:
            named_at[row[key]] = item.fetched_at
    if not rows:
        return 0
    namings = [
        {"place_table": table, "place_id": place, "named_at": moment} for place, moment in named_at.items()
    ]
    if namings:
        connection.execute(_note_namings(table), {"rows": rows_parameter(namings)})
    # Of an answer that came before the one with the name, nothing counts any more.
    newest = dict(connection.execute(_load_namings(), {"table": table, "places": list(rows)}).tuples().all())
    told_at |= named_at
    current = [row for place, row in rows.items() if place not in newest or told_at[place] >= newest[place]]
    return upsert_rows(connection, metadata.tables[table], [key], current)


@cache
def _note_namings(table: str) -> TextClause:
    places = metadata.tables[table]
    is_there = select(places).where(places.c[PLACE_TABLES[table][0]] == place_naming.c.place_id).exists()
    columns = ("place_table", "place_id", "named_at")
    given = recordset(place_naming, columns)
    statement = upsert(place_naming).from_select(
        list(columns), select(*(given.c[name] for name in columns)).order_by(given.c.place_id)
    )
    # A row that is newer already is locked all the same, so that two batches never write over each other.
    return prepared(
        statement.on_conflict_do_update(
            index_elements=["place_table", "place_id"],
            set_={"named_at": statement.excluded.named_at},
            where=or_(place_naming.c.named_at < statement.excluded.named_at, ~is_there),
        )
    )


@cache
def _load_namings() -> TextClause:
    return prepared(
        select(place_naming.c.place_id, place_naming.c.named_at).where(
            place_naming.c.place_table == bindparam("table"),
            place_naming.c.place_id == any_(cast(bindparam("places"), ARRAY(BigInteger))),
        )
    )


def _write_master(connection: Connection, answers: Sequence[ParsedAnswer]) -> int:
    rows = [
        {"asset_id": item.asset_id, "api_attributes": item.detail.api_attributes, **item.detail.master}
        for item in answers
    ]
    _keep_api_values(connection, rows)
    written = 0
    for columns, group in group_by_columns(rows).items():
        came_back = connection.execute(_update_master(columns), {"rows": rows_parameter(group)}).all()
        # Where the API gives no value, Excel's stands there.
        own = [{name: row[name] for name in columns if name not in OVERRIDING_FIELDS} for row in group]
        refuse_left_out(connection, asset_master, ["asset_id"], own, came_back, is_update=True)
        written += len(came_back)
    return written


@lru_cache(maxsize=256)
def _update_master(columns: tuple[str, ...]) -> TextClause:
    given = recordset(asset_master, columns)
    new: dict[str, Any] = {name: given.c[name] for name in columns if name != "asset_id"}
    for name in OVERRIDING_FIELDS:
        if name in columns:
            new[name] = func.coalesce(given.c[name], overridden_value.c[f"excel_{name}"])
    return prepared(
        update(asset_master)
        .values({**new, "updated_at": func.now()})
        .where(
            asset_master.c.asset_id == given.c.asset_id,
            overridden_value.c.asset_id == given.c.asset_id,
            or_(*(asset_master.c[name].is_distinct_from(value) for name, value in new.items())),
        )
        .returning(asset_master.c.asset_id)
    )


def _keep_api_values(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    kept = (
        {"asset_id": row["asset_id"], **{name: row[name] for name in OVERRIDING_FIELDS if name in row}}
        for row in rows
    )
    for columns, group in group_by_columns(kept).items():
        if columns != ("asset_id",):
            connection.execute(_update_overridden(columns), {"rows": rows_parameter(group)})


@lru_cache(maxsize=256)
def _update_overridden(columns: tuple[str, ...]) -> TextClause:
    given = recordset(asset_master, columns)
    new = {f"api_{name}": given.c[name] for name in columns if name != "asset_id"}
    return prepared(
        update(overridden_value)
        .values(new)
        .where(
            overridden_value.c.asset_id == given.c.asset_id,
            or_(*(overridden_value.c[name].is_distinct_from(value) for name, value in new.items())),
        )
    )


def write_volatile(connection: Connection, answers: Sequence[ParsedAnswer]) -> int:
    """Write the values that change with the clock alone, where they differ.

    Return how many rows were written.
    """
    rows = [
        {
            "asset_id": item.asset_id,
            **{
                name: item.detail.performance[name]
                for name in _VOLATILE_COLUMNS
                if name in item.detail.performance
            },
        }
        for item in answers
        if item.detail.performance is not None
    ]
    written = 0
    for columns, group in group_by_columns(rows).items():
        if columns != ("asset_id",):
            came_back = connection.execute(_update_volatile(columns), {"rows": rows_parameter(group)}).all()
            refuse_left_out(connection, asset_performance, ["asset_id"], group, came_back, is_update=True)
            written += len(came_back)
    return written


@lru_cache(maxsize=256)
def _update_volatile(columns: tuple[str, ...]) -> TextClause:
    given = recordset(asset_performance, columns)
    new = {name: given.c[name] for name in columns if name != "asset_id"}
    return prepared(
        update(asset_performance)
        .values(new)
        .where(
            asset_performance.c.asset_id == given.c.asset_id,
            or_(*(asset_performance.c[name].is_distinct_from(value) for name, value in new.items())),
        )
        .returning(asset_performance.c.asset_id)
    )


def stamp_synced(connection: Connection, answers: Sequence[ParsedAnswer]) -> None:
    """Set last_synced_at to when the answer came, and count the syncs that changed something."""
    for is_changed in (True, False):
        rows = [
            {"asset_id": item.asset_id, "last_synced_at": item.fetched_at}
            for item in answers
            if item.is_changed is is_changed
        ]
        if rows:
            stamped = connection.execute(_stamp(is_changed=is_changed), {"rows": rows_parameter(rows)}).all()
            refuse_left_out(connection, asset_master, ["asset_id"], rows, stamped, is_update=True)


@cache
def _stamp(*, is_changed: bool) -> TextClause:
    given = recordset(asset_master, ["asset_id", "last_synced_at"])
    changes: dict[str, Any] = {"last_synced_at": given.c.last_synced_at}
    if is_changed:
        changes |= {"sync_version": func.coalesce(asset_master.c.sync_version, 0) + 1}
    return prepared(
        update(asset_master)
        .values(changes)
        .where(asset_master.c.asset_id == given.c.asset_id)
        .returning(asset_master.c.asset_id)
    )


def count_rows(connection: Connection, batch_key: str) -> dict[str, int]:
    """Return how many rows of each enriched table belong to the CMMS assets of a batch."""
    members = (
        select(
            asset_master.c.asset_id,
            asset_master.c.last_synced_at,
            *(asset_master.c[key] for key, _ in PLACE_TABLES.values()),
        )
        .join(sync_state, sync_state.c.asset_id == asset_master.c.asset_id)
        .where(sync_state.c.batch_key == batch_key)
        .cte("members")
    )
    queries = {
        "ic3_asset_master": select(func.count()).where(members.c.last_synced_at.is_not(None)),
        "ic3_asset_performance": select(func.count()).where(
            members.c.asset_id == asset_performance.c.asset_id
        ),
        "ic3_workorder_summary": select(func.count()).where(
            members.c.asset_id == workorder_summary.c.asset_id
        ),
    }
    for name, (key, _) in PLACE_TABLES.items():
        queries[name] = select(func.count(members.c[key].distinct()))
    counts = connection.execute(select(*(query.scalar_subquery() for query in queries.values()))).one()
    return dict(zip(queries, counts, strict=True))
