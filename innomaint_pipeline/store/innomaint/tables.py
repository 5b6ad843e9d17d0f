"""The tables of the source Innomaint: those of IC3, which other programs read, and this project's own.

Belongs here: declarations and nothing that runs, see `store.tables`.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Numeric,
    Table,
    Text,
    UniqueConstraint,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB

from innomaint_pipeline.store.tables import TIME, metadata


def _stamps() -> tuple[Column, Column]:
    return (
        Column("created_at", TIME, nullable=False, server_default=func.now()),
        Column("updated_at", TIME, nullable=False, server_default=func.now()),
    )


def _many(column_type: type, *names: str) -> tuple[Column, ...]:
    return tuple(Column(name, column_type) for name in names)


asset_master = Table(
    "ic3_asset_master",
    metadata,
    Column("asset_id", Integer, Identity(), primary_key=True),
    Column("cmms_asset_id", Text, unique=True, comment="the Innomaint id, API `serialnumber`"),
    Column("report_seq_no", Integer, comment="the order of the Excel report"),
    *_many(Text, "asset_name", "equipment_category", "make", "model"),
    Column("criticality", Text, comment="API, where it gives a value, else Excel"),
    Column("capacity_rating", Text, comment="API, where it gives a value, else Excel"),
    *_many(Text, "customer_name", "location_name", "building_name", "floor_name", "department_name"),
    Column("in_charge_person", Text, comment="API, where it gives a value, else Excel"),
    Column("installation_date", Date),
    Column("year_of_manufacturing", Integer),
    Column("excel_criticality", Text, comment="what Excel said"),
    Column("excel_attributes", JSONB, comment="every other column of the sheet, by its header"),
    Column("traceability_id", BigInteger, comment="API `traceid`"),
    Column("barcode", Text),
    *_many(
        BigInteger,
        "customer_id",
        "location_id",
        "building_id",
        "floor_id",
        "department_id",
        "asset_building_id",
        "asset_floor_id",
        "asset_department_id",
        "fk_customers_equipment_mapping_id",
        "customers_locations_serialnumber_mapping_id",
        "customer_traceability_id",
        "customer_model_id",
        "location_traceability_id",
        "location_model_id",
    ),
    *_many(
        Integer,
        "ticketcount",
        "schedulecount",
        "schedule_configured",
        "schedule_initiate",
        "iot_device_mapped",
        "status",
        "asset_live_status",
        "mapping_status",
        "traceability_status",
        "is_loaner",
        "is_ble_tracking",
        "is_rfid_tracking",
        "is_qr_tracking",
        "is_tracking_enabled",
    ),
    Column("traceability_updated_on", TIME),
    Column("api_attributes", JSONB, comment="every field of the answer that has no column of its own"),
    Column("last_synced_at", TIME, comment="the last successful sync"),
    Column("sync_version", Integer, server_default="0", comment="+1 for each sync that changed the asset"),
    *_stamps(),
)

building = Table(
    "ic3_building",
    metadata,
    Column("building_id", BigInteger, primary_key=True, autoincrement=False),
    Column("customer_id", BigInteger),
    Column("building_name", Text),
    *_stamps(),
)

floor_master = Table(
    "ic3_floor_master",
    metadata,
    Column("floor_id", BigInteger, primary_key=True, autoincrement=False),
    Column("floor_name", Text),
    Column("location_id", BigInteger),
    Column("asset_floor_id", BigInteger),
    *_stamps(),
)

department_master = Table(
    "ic3_department_master",
    metadata,
    Column("department_id", BigInteger, primary_key=True, autoincrement=False),
    Column("department_name", Text),
    Column("floor_id", BigInteger),
    Column("location_id", BigInteger),
    Column("asset_department_id", BigInteger),
    *_stamps(),
)

place_naming = Table(
    "innomaint_place_naming",
    metadata,
    Column("place_table", Text, primary_key=True, comment="ic3_building and its like"),
    Column("place_id", BigInteger, primary_key=True, autoincrement=False, comment="the key of its row there"),
    Column("named_at", TIME, nullable=False, comment="when the answer came that its name is from"),
)

asset_performance = Table(
    "ic3_asset_performance",
    metadata,
    Column("asset_id", Integer, primary_key=True, autoincrement=False),
    Column("serialnumber", Text, comment="the CMMS asset id"),
    *_many(
        Text,
        "equipments_name",
        "equipment_model_name",
        "criticality_type_label",
        "mttr",
        "mtbf",
        "availability",
        "total_ticket_breakdown_hrs",
        "total_schedule_breakdown_hrs",
        "asset_created_date",
        "total_actual_hrs",
    ),
    Column("total_ticket", Integer),
    Column(
        "recorded_at",
        TIME,
        comment="when a changed answer last wrote the row; the volatile values are as old as last_synced_at",
    ),
    *_many(
        BigInteger,
        "mttr_seconds",
        "mtbf_seconds",
        "ticket_breakdown_seconds",
        "schedule_breakdown_seconds",
        "actual_seconds",
    ),
    Column("availability_pct", Numeric),
    Column("asset_created_at", TIME),
)

workorder_summary = Table(
    "ic3_workorder_summary",
    metadata,
    Column("asset_id", Integer, primary_key=True, autoincrement=False),
    Column("period_type", Text, CheckConstraint("period_type IN ('upto', 'last_year')"), primary_key=True),
    *_many(Integer, "work_estimate_count", "schedule_count", "ticket_count"),
    *(Column(name, Numeric(14, 2)) for name in ("work_estimate_cost", "schedule_cost", "ticket_cost")),
    Column("updated_at", TIME, server_default=func.now()),
)

sync_log = Table(
    "ic3_sync_log",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("serialnumber", Text, comment="the CMMS asset id"),
    Column("sync_type", Text, comment="api_sync or excel_import"),
    Column("status", Text, comment="success or error"),
    Column("error_message", Text),
    Column("synced_at", TIME, server_default=func.now()),
    Column("error_class", Text),
    Column("http_status", Integer),
    Column("attempts", Integer),
    Column("duration_ms", Integer),
    Column("run_id", Text),
    Index("ix_ic3_sync_log_synced_at", "synced_at"),
    Index("ix_ic3_sync_log_serialnumber", "serialnumber", "synced_at"),
    Index("ix_ic3_sync_log_run_id", "run_id"),
)

batch_log = Table(
    "cmms_sync_log",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("sync_type", Text),
    Column("status", Text, comment="complete, partial, failed or cancelled"),
    Column("assets_synced", Integer),
    Column("duration_ms", Integer),
    Column("synced_at", TIME, server_default=func.now()),
    Column("batch_key", Text),
    Column("run_id", Text),
    *_many(Integer, "total", "failed", "unchanged", "skipped"),
    Index("ix_cmms_sync_log_synced_at", "synced_at"),
    Index("ix_cmms_sync_log_run_id", "run_id"),
    Index("ix_cmms_sync_log_batch_key", "batch_key", "synced_at"),
)


def _asset_key() -> Column:
    return Column(
        "asset_id", Integer, ForeignKey("ic3_asset_master.asset_id", ondelete="CASCADE"), primary_key=True
    )


response = Table(
    "innomaint_response",
    metadata,
    _asset_key(),
    Column("body", JSONB, nullable=False, comment="the last raw answer"),
    Column("body_hash", Text, nullable=False, comment="of its canonical JSON without the volatile fields"),
    Column("fetched_at", TIME, nullable=False),
    Column("run_id", Text, comment="the Dagster run that fetched it"),
    Column("attempts", Integer, nullable=False),
    Column("duration_ms", Integer, nullable=False),
    Column("cleaning_issues", JSONB, comment="values that had to be cleaned before they could be stored"),
    Column("is_pending", Boolean, nullable=False, comment="stored, not yet enriched"),
)

Index("ix_innomaint_response_pending", response.c.asset_id, postgresql_where=response.c.is_pending)

sync_state = Table(
    "innomaint_sync_state",
    metadata,
    _asset_key(),
    Column("batch_key", Text, comment="null only for a row that has no CMMS asset id yet"),
    Column("state", Text, CheckConstraint("state IN ('never', 'synced', 'failed')"), nullable=False),
    Column("error_class", Text),
    Column("error_message", Text),
    Column("consecutive_failures", Integer, nullable=False, server_default="0"),
    Column("last_attempt_at", TIME),
    Column("last_success_at", TIME),
    Column("next_due_at", TIME, nullable=False, server_default=func.now()),
    Column("response_hash", Text, comment="of the answer that the tables hold"),
    Column("run_id", Text, comment="the Dagster run of the last attempt"),
    Column("http_status", Integer, comment="of the last failed attempt"),
    Column("attempts", Integer, comment="requests of the last run for this CMMS asset"),
    Column("duration_ms", Integer, comment="of those requests"),
    Column("is_unchanged", Boolean, comment="the last answer was as stored"),
    Column(
        "is_logged", Boolean, nullable=False, server_default="true", comment="the outcome is in ic3_sync_log"
    ),
    CheckConstraint(
        "(state = 'failed') = (error_class IS NOT NULL)", name="innomaint_sync_state_failed_has_class"
    ),
    Index("ix_innomaint_sync_state_due", "next_due_at", "batch_key"),
    Index("ix_innomaint_sync_state_batch", "batch_key", "next_due_at"),
    Index("ix_innomaint_sync_state_success", "last_success_at"),
)

Index(
    "ix_innomaint_sync_state_failed",
    sync_state.c.error_class,
    postgresql_where=sync_state.c.state == "failed",
)

Index("ix_innomaint_sync_state_never", sync_state.c.batch_key, postgresql_where=sync_state.c.state == "never")

batch_count = Table(
    "innomaint_batch_count",
    metadata,
    Column("batch_key", Text, primary_key=True),
    Column("kind", Text, primary_key=True, comment="never, synced, or the error class of failed ones"),
    Column("assets", Integer, nullable=False, server_default="0", comment="CMMS assets of this kind"),
    Column("first_due_at", TIME, comment="when the first of them is due"),
    Column("last_due_at", TIME, comment="when the last of them is due"),
)

overridden_value = Table(
    "innomaint_overridden_value",
    metadata,
    _asset_key(),
    *_many(
        Text,
        "excel_criticality",
        "excel_capacity_rating",
        "excel_in_charge_person",
        "api_criticality",
        "api_capacity_rating",
        "api_in_charge_person",
    ),
)

data_issue = Table(
    "innomaint_data_issue",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("asset_id", Integer, ForeignKey("ic3_asset_master.asset_id", ondelete="CASCADE"), nullable=False),
    Column("source", Text, nullable=False, server_default="innomaint", comment="innomaint or workbook"),
    Column("field", Text, nullable=False),
    Column("raw_value", Text),
    Column("reason", Text, nullable=False),
    Column("first_seen_at", TIME, nullable=False, server_default=func.now()),
    Column("last_seen_at", TIME, nullable=False, server_default=func.now()),
    Column("resolved_at", TIME),
)

Index(
    "uq_innomaint_data_issue_open_by_source",
    data_issue.c.source,
    data_issue.c.asset_id,
    data_issue.c.field,
    unique=True,
    postgresql_where=data_issue.c.resolved_at.is_(None),
)

unknown_field = Table(
    "innomaint_unknown_field",
    metadata,
    Column("field", Text, primary_key=True, comment="the path of a field that no document names"),
    Column("section", Text, comment="the section of the answer that it stands in"),
    Column("further", Integer, comment="fields of the section that are not kept by name, of one answer"),
    Column("first_seen_at", TIME, nullable=False, server_default=func.now()),
    Column("first_cmms_asset_id", Text),
)

import_reject = Table(
    "innomaint_import_reject",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("workbook", Text, nullable=False),
    Column("sheet", Text, nullable=False),
    Column("row_number", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("row", JSONB),
    Column("imported_at", TIME, nullable=False, server_default=func.now()),
    UniqueConstraint("workbook", "sheet", "row_number", name="uq_innomaint_import_reject_row"),
)

IC3_TABLES = (
    asset_master,
    building,
    floor_master,
    department_master,
    asset_performance,
    workorder_summary,
    sync_log,
    batch_log,
)
