"""Finding CMMS assets, and everything about one of them, for people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import simplejson
from sqlalchemy import ColumnElement, Connection, RowMapping, Table, Text, cast, func, or_, select

from innomaint_pipeline.domain.documents import load_json
from innomaint_pipeline.domain.innomaint.answers import VOLATILE_FIELDS
from innomaint_pipeline.domain.innomaint.selection import SINGLE_RUNS
from innomaint_pipeline.domain.states import WHAT_TO_DO, ErrorClass, SyncState
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
_API_SYNC = "api_sync"
_MOMENTS = ("failed_since", "last_success_at", "last_changed_at")


@dataclass(frozen=True)
class ListedAsset:
    """A CMMS asset in a list."""

    cmms_asset_id: str
    asset_name: str | None
    location_name: str | None
    state: SyncState
    error_class: ErrorClass | None
    batch_key: str | None
    failed_since: datetime | None
    last_success_at: datetime | None
    last_changed_at: datetime | None


@dataclass(frozen=True)
class AssetPage:
    """A page of a list, and how many there are in all."""

    total: int
    assets: tuple[ListedAsset, ...]


@dataclass(frozen=True)
class AssetValue:
    """A value of the tables under a title of people's, where it comes from, and how old it is."""

    group: str
    name: str
    value: Any
    source: str
    as_of: datetime | None


@dataclass(frozen=True)
class Attempt:
    """An import or a sync of a CMMS asset; `run_id` of an import is none of Dagster's."""

    synced_at: datetime | None
    sync_type: str | None
    status: str | None
    error_class: str | None
    message: str | None
    http_status: int | None
    attempts: int | None
    duration_ms: int | None
    run_id: str | None

    @property
    def dagster_run_id(self) -> str | None:
        """The Dagster run that made it, None for an import and for a sync at once."""
        is_run = self.sync_type == _API_SYNC and not (self.run_id or "").startswith(SINGLE_RUNS)
        return self.run_id if is_run else None


@dataclass(frozen=True)
class DataIssue:
    """A value that could not be read."""

    field: str
    raw_value: str | None
    reason: str
    first_seen_at: datetime
    last_seen_at: datetime
    resolved_at: datetime | None


@dataclass(frozen=True)
class AssetDetail:
    """Everything about one CMMS asset; `raw_answer` is the vendor's JSON, None where there is none."""

    cmms_asset_id: str
    asset_id: int
    batch_key: str | None
    state: SyncState
    error_class: ErrorClass | None
    error_message: str | None
    consecutive_failures: int
    failed_since: datetime | None
    last_attempt_at: datetime | None
    last_success_at: datetime | None
    last_changed_at: datetime | None
    next_due_at: datetime
    sync_version: int | None
    what_to_do: str | None
    values: tuple[AssetValue, ...]
    attempts: tuple[Attempt, ...]
    data_issues: tuple[DataIssue, ...]
    raw_answer: Any
    fetched_at: datetime | None


@dataclass(frozen=True)
class Outcome:
    """What became of a CMMS asset that was asked for."""

    state: SyncState
    error_class: ErrorClass | None
    error_message: str | None
    traceability_id: int | None
    is_unchanged: bool | None = None


def find_assets(
    connection: Connection,
    *,
    query: str | None,
    state: SyncState | None,
    error_class: ErrorClass | None,
    batch_key: str | None,
    limit: int,
    offset: int,
) -> AssetPage:
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
            *(sync_state.c[name] for name in ("state", "error_class", "batch_key", *_MOMENTS)),
        )
        .select_from(joined)
        .where(*where)
        .order_by(asset_master.c.report_seq_no.asc().nulls_last(), asset_master.c.asset_id)
        .limit(limit)
        .offset(offset)
    )
    return AssetPage(total, tuple(ListedAsset(**{**row, **_typed(row)}) for row in rows.mappings()))


def _typed(row: RowMapping) -> dict[str, SyncState | ErrorClass | None]:
    error_class = row["error_class"]
    return {
        "state": SyncState(row["state"]),
        "error_class": None if error_class is None else ErrorClass(error_class),
    }


def load_asset(connection: Connection, cmms_asset_id: str) -> AssetDetail | None:
    """Return everything about one CMMS asset, None when it is unknown."""
    master = _one(connection, asset_master, cmms_asset_id=cmms_asset_id)
    state = None if master is None else _one(connection, sync_state, asset_id=master["asset_id"])
    if master is None or state is None:
        return None
    asset_id = master["asset_id"]
    body, fetched_at = _load_answer(connection, asset_id)
    error_class = None if state["error_class"] is None else ErrorClass(state["error_class"])
    return AssetDetail(
        cmms_asset_id=cmms_asset_id,
        asset_id=asset_id,
        batch_key=state["batch_key"],
        state=SyncState(state["state"]),
        error_class=error_class,
        error_message=state["error_message"],
        consecutive_failures=state["consecutive_failures"],
        last_attempt_at=state["last_attempt_at"],
        **{name: state[name] for name in _MOMENTS},
        next_due_at=state["next_due_at"],
        sync_version=master["sync_version"],
        what_to_do=None if error_class is None else WHAT_TO_DO[error_class],
        values=(
            *_master_values(connection, master),
            *_performance_values(connection, asset_id, master["last_synced_at"]),
            *_workorder_values(connection, asset_id),
            *_place_values(connection, master),
        ),
        attempts=_load_attempts(connection, cmms_asset_id),
        data_issues=_load_issues(connection, asset_id),
        raw_answer=body,
        fetched_at=fetched_at,
    )


def load_outcome(connection: Connection, cmms_asset_id: str, since: datetime) -> Outcome | None:
    """Return what became of a CMMS asset that was asked for since a time, None when it was not."""
    row = connection.execute(
        select(
            sync_state.c.state,
            sync_state.c.error_class,
            sync_state.c.error_message,
            sync_state.c.is_unchanged,
            asset_master.c.traceability_id,
        )
        .join(asset_master, asset_master.c.asset_id == sync_state.c.asset_id)
        .where(asset_master.c.cmms_asset_id == cmms_asset_id, sync_state.c.last_attempt_at >= since)
    ).mappings()
    found = row.first()
    return None if found is None else Outcome(**{**found, **_typed(found)})


def _one(connection: Connection, table: Table, **where: str | int) -> RowMapping | None:
    conditions = [table.c[name] == value for name, value in where.items()]
    return connection.execute(select(table).where(*conditions)).mappings().first()


def _load_answer(connection: Connection, asset_id: int) -> tuple[Any, datetime | None]:
    # As text: a number must not pass through a float.
    row = connection.execute(
        select(cast(response.c.body, Text), response.c.fetched_at).where(response.c.asset_id == asset_id)
    ).first()
    return (None, None) if row is None else (load_json(row[0]), row[1])


def _master_values(connection: Connection, master: RowMapping) -> Iterator[AssetValue]:
    overridden = _one(connection, overridden_value, asset_id=master["asset_id"]) or {}
    synced_at = master["last_synced_at"]
    for name in _FROM_EXCEL:
        yield AssetValue("asset master", name, master[name], "excel", None)
    for name in _FROM_BOTH:
        is_api = overridden.get(f"api_{name}") is not None
        source, as_of = ("innomaint", synced_at) if is_api else ("excel", None)
        yield AssetValue("asset master", name, master[name], source, as_of)
    for name, value in (master["excel_attributes"] or {}).items():
        yield AssetValue("asset master", name, value, "excel", None)
    known = {*_FROM_EXCEL, *_FROM_BOTH, *_NOT_SHOWN}
    for name, value in master.items():
        if name not in known:
            yield AssetValue("from Innomaint", name, value, "innomaint", synced_at)
    # As text: a number must not pass through a float.
    rest = connection.execute(
        select(cast(asset_master.c.api_attributes, Text)).where(
            asset_master.c.asset_id == master["asset_id"], asset_master.c.api_attributes.is_not(None)
        )
    ).scalar_one_or_none()
    for name, value in (simplejson.loads(rest, use_decimal=True) if rest else {}).items():
        yield AssetValue("from Innomaint", name, value, "innomaint", synced_at)


def _performance_values(
    connection: Connection, asset_id: int, synced_at: datetime | None
) -> Iterator[AssetValue]:
    row = _one(connection, asset_performance, asset_id=asset_id) or {}
    volatile = {*VOLATILE_FIELDS, "mtbf_seconds", "availability_pct", "actual_seconds"}
    for name, value in row.items():
        if name not in _NOT_SHOWN:
            as_of = synced_at if name in volatile else row["recorded_at"]
            yield AssetValue("performance", name, value, "innomaint", as_of)


def _workorder_values(connection: Connection, asset_id: int) -> Iterator[AssetValue]:
    rows = connection.execute(
        select(workorder_summary)
        .where(workorder_summary.c.asset_id == asset_id)
        .order_by(workorder_summary.c.period_type.desc())
    ).mappings()
    for row in rows:
        for name, value in row.items():
            if name not in _NOT_SHOWN:
                group = _PERIODS[row["period_type"]]
                yield AssetValue(group, name, value, "innomaint", row["updated_at"])


def _place_values(connection: Connection, master: RowMapping) -> Iterator[AssetValue]:
    for table, key, name in (
        (building, "building_id", "building_name"),
        (floor_master, "floor_id", "floor_name"),
        (department_master, "department_id", "department_name"),
    ):
        row = _one(connection, table, **{key: master[key]}) if master[key] is not None else None
        if row is not None:
            yield AssetValue("place", name, row[name], "innomaint", row["updated_at"])


def _load_attempts(connection: Connection, cmms_asset_id: str) -> tuple[Attempt, ...]:
    names = ("synced_at", "sync_type", "status", "error_class", "http_status", "attempts", "duration_ms")
    rows = connection.execute(
        select(*(sync_log.c[name] for name in (*names, "run_id")), sync_log.c.error_message.label("message"))
        .where(sync_log.c.serialnumber == cmms_asset_id)
        .order_by(sync_log.c.synced_at.desc(), sync_log.c.id.desc())
        .limit(_SHOWN_ATTEMPTS)
    )
    return tuple(Attempt(**row) for row in rows.mappings())


def _load_issues(connection: Connection, asset_id: int) -> tuple[DataIssue, ...]:
    names = ("field", "raw_value", "reason", "first_seen_at", "last_seen_at", "resolved_at")
    rows = connection.execute(
        select(*(data_issue.c[name] for name in names))
        .where(data_issue.c.asset_id == asset_id)
        .order_by(data_issue.c.last_seen_at.desc(), data_issue.c.id)
        .limit(_SHOWN_ISSUES)
    )
    return tuple(DataIssue(**row) for row in rows.mappings())
