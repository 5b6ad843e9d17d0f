"""Finding CMMS assets, and everything about one of them, for people (spec 04, "HTTP")."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import simplejson
from sqlalchemy import ColumnElement, Connection, Table, Text, cast, func, or_, select

from innomaint_pipeline.domain.innomaint.answers import VOLATILE_FIELDS, load_json
from innomaint_pipeline.domain.states import WHAT_TO_DO, ErrorClass, SyncState
from innomaint_pipeline.store.innomaint.overview import run_url
from innomaint_pipeline.store.innomaint.tables import (
    asset_master,
    asset_performance,
    building,
    data_issue,
    department_master,
    floor_master,
    overridden_value,
    response,
    sync_log,
    sync_state,
    workorder_summary,
)

_SHOWN_ATTEMPTS = 20
_SHOWN_ISSUES = 200
_FROM_EXCEL = (
    *("asset_name", "equipment_category", "make", "model", "customer_name", "location_name"),
    *("building_name", "floor_name", "department_name", "installation_date", "year_of_manufacturing"),
    *("excel_criticality", "report_seq_no"),
)
_FROM_BOTH = ("criticality", "capacity_rating", "in_charge_person")
_NOT_SHOWN = {
    *("asset_id", "cmms_asset_id", "excel_attributes", "api_attributes", "created_at", "updated_at"),
    *("last_synced_at", "sync_version", "serialnumber", "recorded_at", "period_type"),
}
_PERIODS = {"upto": "work orders, all time", "last_year": "work orders, last year"}


def find_assets(
    connection: Connection,
    *,
    query: str | None,
    state: SyncState | None,
    error_class: ErrorClass | None,
    batch_key: str | None,
    limit: int,
    offset: int,
) -> dict[str, Any]:
    """Return a page of the CMMS assets that match, in report order, and how many there are."""
    where: list[ColumnElement[bool]] = [asset_master.c.cmms_asset_id.is_not(None)]
    if query:
        columns = (asset_master.c.cmms_asset_id, asset_master.c.asset_name)
        where.append(or_(*(column.icontains(query, autoescape=True) for column in columns)))
    if state is not None:
        where.append(sync_state.c.state == state)
    if error_class is not None:
        where.append(sync_state.c.error_class == error_class)
    if batch_key is not None:
        where.append(sync_state.c.batch_key == batch_key)
    joined = asset_master.join(sync_state, sync_state.c.asset_id == asset_master.c.asset_id)
    total = connection.execute(select(func.count()).select_from(joined).where(*where)).scalar_one()
    rows = connection.execute(
        select(
            *(asset_master.c[name] for name in ("cmms_asset_id", "asset_name", "location_name")),
            *(sync_state.c[name] for name in ("state", "error_class", "batch_key", "last_success_at")),
        )
        .select_from(joined)
        .where(*where)
        .order_by(asset_master.c.report_seq_no.asc().nulls_last(), asset_master.c.asset_id)
        .limit(limit)
        .offset(offset)
    )
    return {"total": total, "assets": [dict(row) for row in rows.mappings()]}


def load_asset(
    connection: Connection, cmms_asset_id: str, *, dagster_url: str | None
) -> dict[str, Any] | None:
    """Return everything about one CMMS asset, None when it is unknown."""
    master = _one(connection, asset_master, cmms_asset_id=cmms_asset_id)
    if master is None:
        return None
    asset_id = master["asset_id"]
    state = _one(connection, sync_state, asset_id=asset_id)
    if state is None:
        return None
    shown = (
        *("asset_id", "batch_key", "state", "error_class", "error_message", "consecutive_failures"),
        *("last_attempt_at", "last_success_at", "next_due_at"),
    )
    error_class = state["error_class"]
    body, fetched_at = _load_answer(connection, asset_id)
    return {
        "cmms_asset_id": cmms_asset_id,
        **{name: state[name] for name in shown},
        "sync_version": master["sync_version"],
        "what_to_do": WHAT_TO_DO[ErrorClass(error_class)] if error_class else None,
        "values": [
            *_master_values(connection, master),
            *_performance_values(connection, asset_id, master["last_synced_at"]),
            *_workorder_values(connection, asset_id),
            *_place_values(connection, master),
        ],
        "attempts": _load_attempts(connection, cmms_asset_id, dagster_url),
        "data_issues": _load_issues(connection, asset_id),
        "raw_answer": body,
        "fetched_at": fetched_at,
    }


def load_outcome(connection: Connection, cmms_asset_id: str, since: datetime) -> dict[str, Any] | None:
    """Return what became of a CMMS asset that was asked for since a time, None when it was not."""
    row = connection.execute(
        select(
            sync_state.c.state,
            sync_state.c.error_class,
            sync_state.c.error_message,
            asset_master.c.traceability_id,
        )
        .join(asset_master, asset_master.c.asset_id == sync_state.c.asset_id)
        .where(asset_master.c.cmms_asset_id == cmms_asset_id, sync_state.c.last_attempt_at >= since)
    ).mappings()
    found = row.first()
    return None if found is None else dict(found)


def _one(connection: Connection, table: Table, **where: Any) -> dict[str, Any] | None:
    conditions = [table.c[name] == value for name, value in where.items()]
    row = connection.execute(select(table).where(*conditions)).mappings().first()
    return None if row is None else dict(row)


def _load_answer(connection: Connection, asset_id: int) -> tuple[Any, datetime | None]:
    # As text: a number must not pass through a float.
    row = connection.execute(
        select(cast(response.c.body, Text), response.c.fetched_at).where(response.c.asset_id == asset_id)
    ).first()
    return (None, None) if row is None else (load_json(row[0]), row[1])


def _value(group: str, name: str, value: Any, source: str, as_of: datetime | None) -> dict[str, Any]:
    return {"group": group, "name": name, "value": value, "source": source, "as_of": as_of}


def _master_values(connection: Connection, master: dict[str, Any]) -> list[dict[str, Any]]:
    overridden = _one(connection, overridden_value, asset_id=master["asset_id"]) or {}
    synced_at = master["last_synced_at"]
    values = [_value("asset master", name, master[name], "excel", None) for name in _FROM_EXCEL]
    for name in _FROM_BOTH:
        is_api = overridden.get(f"api_{name}") is not None
        values.append(
            _value(
                "asset master",
                name,
                master[name],
                "innomaint" if is_api else "excel",
                synced_at if is_api else None,
            )
        )
    sheet = master["excel_attributes"] or {}
    values += [_value("asset master", name, value, "excel", None) for name, value in sheet.items()]
    known = {*_FROM_EXCEL, *_FROM_BOTH, *_NOT_SHOWN}
    values += [
        _value("from Innomaint", name, value, "innomaint", synced_at)
        for name, value in master.items()
        if name not in known
    ]
    rest = connection.execute(
        select(cast(asset_master.c.api_attributes, Text)).where(
            asset_master.c.asset_id == master["asset_id"], asset_master.c.api_attributes.is_not(None)
        )
    ).scalar_one_or_none()
    for name, value in (simplejson.loads(rest, use_decimal=True) if rest else {}).items():
        values.append(_value("from Innomaint", name, value, "innomaint", synced_at))
    return values


def _performance_values(
    connection: Connection, asset_id: int, synced_at: datetime | None
) -> list[dict[str, Any]]:
    row = _one(connection, asset_performance, asset_id=asset_id)
    if row is None:
        return []
    volatile = {*VOLATILE_FIELDS, "mtbf_seconds", "availability_pct", "actual_seconds"}
    return [
        _value("performance", name, value, "innomaint", synced_at if name in volatile else row["recorded_at"])
        for name, value in row.items()
        if name not in _NOT_SHOWN
    ]


def _workorder_values(connection: Connection, asset_id: int) -> list[dict[str, Any]]:
    rows = connection.execute(
        select(workorder_summary)
        .where(workorder_summary.c.asset_id == asset_id)
        .order_by(workorder_summary.c.period_type.desc())
    ).mappings()
    return [
        _value(_PERIODS[row["period_type"]], name, row[name], "innomaint", row["updated_at"])
        for row in rows
        for name in row
        if name not in _NOT_SHOWN
    ]


def _place_values(connection: Connection, master: dict[str, Any]) -> list[dict[str, Any]]:
    values = []
    for table, key, name in (
        (building, "building_id", "building_name"),
        (floor_master, "floor_id", "floor_name"),
        (department_master, "department_id", "department_name"),
    ):
        row = _one(connection, table, **{key: master[key]}) if master[key] is not None else None
        if row is not None:
            values.append(_value("place", name, row[name], "innomaint", row["updated_at"]))
    return values


def _load_attempts(
    connection: Connection, cmms_asset_id: str, dagster_url: str | None
) -> list[dict[str, Any]]:
    names = (
        *("synced_at", "sync_type", "status", "error_class", "error_message", "http_status"),
        *("attempts", "duration_ms", "run_id"),
    )
    rows = connection.execute(
        select(*(sync_log.c[name] for name in names))
        .where(sync_log.c.serialnumber == cmms_asset_id)
        .order_by(sync_log.c.synced_at.desc(), sync_log.c.id.desc())
        .limit(_SHOWN_ATTEMPTS)
    ).mappings()
    return [
        {
            **{name: value for name, value in row.items() if name != "error_message"},
            "message": row["error_message"],
            "run_url": run_url(dagster_url, row["run_id"] if row["sync_type"] == "api_sync" else None),
        }
        for row in rows
    ]


def _load_issues(connection: Connection, asset_id: int) -> list[dict[str, Any]]:
    names = ("field", "raw_value", "reason", "first_seen_at", "last_seen_at", "resolved_at")
    rows = connection.execute(
        select(*(data_issue.c[name] for name in names))
        .where(data_issue.c.asset_id == asset_id)
        .order_by(data_issue.c.last_seen_at.desc(), data_issue.c.id)
        .limit(_SHOWN_ISSUES)
    ).mappings()
    return [dict(row) for row in rows]
