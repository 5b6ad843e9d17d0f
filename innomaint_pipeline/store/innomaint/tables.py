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
from sqlalchemy.types import TypeEngine

from innomaint_pipeline.store.tables import TIME, metadata

_GIVEN = {"is_always_given": True}
"""Every row that is written has a value there, so that an adopted column may be NOT NULL."""


def _stamps() -> tuple[Column, Column]:
    return (
        Column(
            "created_at", TIME, nullable=False, server_default=func.now(), comment="when the row was made"
        ),
        Column(
            "updated_at",
            TIME,
            nullable=False,
            server_default=func.now(),
            comment="when a value of the row last changed",
        ),
    )


def _many(column_type: type[TypeEngine] | TypeEngine, **columns: str) -> tuple[Column, ...]:
    return tuple(Column(name, column_type, comment=words) for name, words in columns.items())


def _excel(column_type: type[TypeEngine], **columns: str) -> tuple[Column, ...]:
    """Return columns that only the import inserts, which refuses a row without a value by itself."""
    return tuple(Column(name, column_type, comment=words, info=_GIVEN) for name, words in columns.items())


def _words(name: str, *values: str) -> Column:
    """Return a column of which this program writes every value itself."""
    return Column(name, Text, comment=" or ".join(values), info={"values": values, **_GIVEN})


asset_master = Table(
    "ic3_asset_master",
    metadata,
    Column("asset_id", Integer, Identity(), primary_key=True, comment="number of the CMMS asset in IC3"),
    Column("cmms_asset_id", Text, unique=True, comment="the Innomaint id, API `serialnumber`", info=_GIVEN),
    *_excel(
        Integer,
        report_seq_no="the order of the Excel report",
    ),
    *_excel(
        Text,
        asset_name="name of the CMMS asset, Excel",
        equipment_category="kind of equipment, Excel",
        make="manufacturer, Excel",
        model="model of the manufacturer, Excel",
        criticality="API, where it gives a value, else Excel",
        capacity_rating="with its unit, as text; API, where it gives a value, else Excel",
        customer_name="customer, Excel",
        location_name="location, Excel",
        building_name="building, Excel; Innomaint's name is in ic3_building",
        floor_name="floor, Excel; Innomaint's name is in ic3_floor_master",
        department_name="department, Excel; Innomaint's name is in ic3_department_master",
        in_charge_person="API, where it gives a value, else Excel",
    ),
    *_excel(Date, installation_date="day of installation, Excel"),
    *_excel(Integer, year_of_manufacturing="year, Excel"),
    Column("excel_criticality", Text, comment="what Excel said"),
    Column("excel_attributes", JSONB, comment="every other column of the sheet, by its header"),
    Column("traceability_id", BigInteger, comment="API `traceid`"),
    Column("barcode", Text, comment="API `barcode`"),
    *_many(
        BigInteger,
        customer_id="Innomaint's number of the customer, API",
        location_id="Innomaint's number of the location, API",
        building_id="key of ic3_building, API",
        floor_id="key of ic3_floor_master, API",
        department_id="key of ic3_department_master, API",
        asset_building_id="API field of this name",
        asset_floor_id="API field of this name",
        asset_department_id="API field of this name",
        fk_customers_equipment_mapping_id="API field of this name",
        customers_locations_serialnumber_mapping_id="API field of this name",
        customer_traceability_id="API field of this name",
        customer_model_id="API field of this name",
        location_traceability_id="API field of this name",
        location_model_id="API field of this name",
    ),
    *_many(
        Integer,
        ticketcount="number of tickets, API",
        schedulecount="number of schedules, API",
        schedule_configured="the vendor's number for whether a schedule is configured, API",
        schedule_initiate="the vendor's number for whether a schedule is initiated, API",
        iot_device_mapped="the vendor's number for whether an IoT device is mapped, API",
        status="the vendor's number of the status, API",
        asset_live_status="the vendor's number of the live status, API",
        mapping_status="the vendor's number of the mapping's status, API",
        traceability_status="the vendor's number of the traceability's status, API",
        is_loaner="1: a loaner, API",
        is_ble_tracking="1: tracked by Bluetooth, API",
        is_rfid_tracking="1: tracked by RFID, API",
        is_qr_tracking="1: tracked by QR code, API",
        is_tracking_enabled="1: tracking is enabled, API",
    ),
    Column("traceability_updated_on", TIME, comment="when the traceability was updated, API"),
    Column("api_attributes", JSONB, comment="every field of the answer that has no column of its own"),
    Column("last_synced_at", TIME, comment="the last successful sync"),
    Column("sync_version", Integer, server_default="0", comment="+1 for each sync that changed the asset"),
    *_stamps(),
    comment="One row for each physical asset; Excel's columns and the API's",
)

building = Table(
    "ic3_building",
    metadata,
    Column("building_id", BigInteger, primary_key=True, autoincrement=False, comment="Innomaint's number"),
    Column("customer_id", BigInteger, comment="Innomaint's number of the customer, API"),
    Column("building_name", Text, comment="of the newest answer that names the building"),
    *_stamps(),
    comment="One row for each building that an answer of Innomaint named",
)

floor_master = Table(
    "ic3_floor_master",
    metadata,
    Column("floor_id", BigInteger, primary_key=True, autoincrement=False, comment="Innomaint's number"),
    Column("floor_name", Text, comment="of the newest answer that names the floor"),
    Column("location_id", BigInteger, comment="Innomaint's number of the location, API"),
    Column("asset_floor_id", BigInteger, comment="API field of this name"),
    *_stamps(),
    comment="One row for each floor that an answer of Innomaint named",
)

department_master = Table(
    "ic3_department_master",
    metadata,
    Column("department_id", BigInteger, primary_key=True, autoincrement=False, comment="Innomaint's number"),
    Column("department_name", Text, comment="of the newest answer that names the department"),
    Column("floor_id", BigInteger, comment="key of ic3_floor_master, API"),
    Column("location_id", BigInteger, comment="Innomaint's number of the location, API"),
    Column("asset_department_id", BigInteger, comment="API field of this name"),
    *_stamps(),
    comment="One row for each department that an answer of Innomaint named",
)

place_naming = Table(
    "innomaint_place_naming",
    metadata,
    Column("place_table", Text, primary_key=True, comment="ic3_building and its like"),
    Column("place_id", BigInteger, primary_key=True, autoincrement=False, comment="the key of its row there"),
    Column("named_at", TIME, nullable=False, comment="when the answer came that its name is from"),
    comment="For each building, floor and department, when the answer came that its name is from",
)

asset_performance = Table(
    "ic3_asset_performance",
    metadata,
    Column("asset_id", Integer, primary_key=True, autoincrement=False, comment="key of ic3_asset_master"),
    Column("serialnumber", Text, comment="the CMMS asset id", info=_GIVEN),
    *_many(
        Text,
        equipments_name="name of the equipment, API",
        equipment_model_name="name of the model, API",
        criticality_type_label="criticality, API",
        mttr="mean time to repair, the vendor's text",
        mtbf="mean time between failures, the vendor's text",
        availability="share of time available, the vendor's text",
        total_ticket_breakdown_hrs="breakdown of all tickets, the vendor's text",
        total_schedule_breakdown_hrs="breakdown of all schedules, the vendor's text",
        asset_created_date="when the CMMS asset was created, the vendor's text",
        total_actual_hrs="actual time, the vendor's text",
    ),
    Column("total_ticket", Integer, comment="number of tickets, API"),
    Column(
        "recorded_at",
        TIME,
        comment="when a changed answer last wrote the row; the volatile values are as old as last_synced_at",
        info=_GIVEN,
    ),
    *_many(
        BigInteger,
        mttr_seconds="mttr in seconds",
        mtbf_seconds="mtbf in seconds",
        ticket_breakdown_seconds="total_ticket_breakdown_hrs in seconds",
        schedule_breakdown_seconds="total_schedule_breakdown_hrs in seconds",
        actual_seconds="total_actual_hrs in seconds",
    ),
    Column("availability_pct", Numeric, comment="availability in percent, as the vendor rounds it"),
    Column("asset_created_at", TIME, comment="asset_created_date as a time"),
    comment="One row for each CMMS asset: the vendor's figures as text, as delivered, and as numbers",
)

workorder_summary = Table(
    "ic3_workorder_summary",
    metadata,
    Column("asset_id", Integer, primary_key=True, autoincrement=False, comment="key of ic3_asset_master"),
    Column(
        "period_type",
        Text,
        CheckConstraint("period_type IN ('upto', 'last_year')"),
        primary_key=True,
        comment="upto: ever; last_year",
        info={"values": ("upto", "last_year")},
    ),
    *_many(
        Integer,
        work_estimate_count="number of work estimates, API",
        schedule_count="number of schedules, API",
        ticket_count="number of tickets, API",
    ),
    *_many(
        Numeric(14, 2),
        work_estimate_cost="cost of the work estimates, in Innomaint's currency, API",
        schedule_cost="cost of the schedules, in Innomaint's currency, API",
        ticket_cost="cost of the tickets, in Innomaint's currency, API",
    ),
    Column("updated_at", TIME, server_default=func.now(), comment="when a value of the row last changed"),
    comment="One row for each CMMS asset and period: how many work orders, and what they cost",
)

sync_log = Table(
    "ic3_sync_log",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True, comment="number of the row"),
    Column("serialnumber", Text, comment="the CMMS asset id", info=_GIVEN),
    _words("sync_type", "api_sync", "excel_import"),
    _words("status", "success", "error"),
    Column(
        "error_message",
        Text,
        comment="why the CMMS asset failed, in words",
        info={"characters": float("inf")},
    ),
    Column("synced_at", TIME, server_default=func.now(), comment="when the answer came, or the import ran"),
    Column("error_class", Text, comment="class of the error", info={"characters": 20}),
    Column("http_status", Integer, comment="HTTP status of a failed attempt"),
    Column("attempts", Integer, comment="requests of the run for this CMMS asset, both passes"),
    Column("duration_ms", Integer, comment="of those requests, milliseconds"),
    Column("run_id", Text, comment="the Dagster run", info={"characters": 64}),
    Index("ix_ic3_sync_log_synced_at", "synced_at"),
    Index("ix_ic3_sync_log_serialnumber", "serialnumber", "synced_at"),
    Index("ix_ic3_sync_log_run_id", "run_id"),
    comment="One row for each CMMS asset and sync or import; only added to",
    info={"is_log": True},
)

batch_log = Table(
    "cmms_sync_log",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True, comment="number of the row"),
    _words("sync_type", "api_sync"),
    _words("status", "complete", "partial", "failed", "cancelled"),
    Column("assets_synced", Integer, comment="CMMS assets synced, unchanged ones included", info=_GIVEN),
    Column("duration_ms", Integer, comment="of the batch run, milliseconds", info=_GIVEN),
    Column("synced_at", TIME, server_default=func.now(), comment="when the batch run ended"),
    Column("batch_key", Text, comment="the batch, like batch_000001", info={"characters": 20, **_GIVEN}),
    Column("run_id", Text, comment="the Dagster run", info={"characters": 64, **_GIVEN}),
    Column("total", Integer, comment="CMMS assets of the run", info=_GIVEN),
    Column("failed", Integer, comment="of those, failed", info=_GIVEN),
    Column("unchanged", Integer, comment="of those, answered as stored", info=_GIVEN),
    Column("skipped", Integer, comment="of those, not asked for", info=_GIVEN),
    Column(
        "reason",
        Text,
        comment="why it ended early or failed, in words; null where nothing is to be said",
        info={"characters": 1000},
    ),
    Column(
        "cause",
        Text,
        comment="settings, token, route, breaker, database, cancelled, fault, assets; null without a reason",
        info={"characters": 20},
    ),
    Index("ix_cmms_sync_log_synced_at", "synced_at"),
    Index("ix_cmms_sync_log_run_id", "run_id"),
    Index("ix_cmms_sync_log_batch_key", "batch_key", "synced_at"),
    comment="One row for each batch run; only added to",
    info={"is_log": True},
)


def _asset_key() -> Column:
    return Column(
        "asset_id",
        Integer,
        ForeignKey("ic3_asset_master.asset_id", ondelete="CASCADE"),
        primary_key=True,
        comment="key of ic3_asset_master",
    )


response = Table(
    "innomaint_response",
    metadata,
    _asset_key(),
    Column("body", JSONB, nullable=False, comment="the last raw answer"),
    Column("body_hash", Text, nullable=False, comment="of its canonical JSON without the volatile fields"),
    Column("fetched_at", TIME, nullable=False, comment="when the answer came"),
    Column("run_id", Text, comment="the Dagster run that fetched it"),
    Column("attempts", Integer, nullable=False, comment="requests until it came"),
    Column("duration_ms", Integer, nullable=False, comment="of those requests, milliseconds"),
    Column("cleaning_issues", JSONB, comment="values that had to be cleaned before they could be stored"),
    Column("is_pending", Boolean, nullable=False, comment="stored, not yet enriched"),
    comment="The last raw answer of each CMMS asset, from which the IC3 tables can be rebuilt",
)

Index("ix_innomaint_response_pending", response.c.asset_id, postgresql_where=response.c.is_pending)

sync_state = Table(
    "innomaint_sync_state",
    metadata,
    _asset_key(),
    Column("batch_key", Text, comment="null only for a row that has no CMMS asset id yet"),
    Column(
        "state",
        Text,
        CheckConstraint("state IN ('never', 'synced', 'failed')"),
        nullable=False,
        comment="never, synced or failed",
    ),
    Column("error_class", Text, comment="class of the last error; null unless failed"),
    Column("error_message", Text, comment="the last error in words; null unless failed"),
    Column("consecutive_failures", Integer, nullable=False, server_default="0", comment="failures in a row"),
    Column("failed_since", TIME, comment="when the first of these failures in a row was; null unless failed"),
    Column("last_attempt_at", TIME, comment="when it was last asked for"),
    Column("last_success_at", TIME, comment="when the last good answer came: the age of the values"),
    Column(
        "last_changed_at", TIME, comment="when the last good answer came that differed from the one before"
    ),
    Column("next_due_at", TIME, nullable=False, server_default=func.now(), comment="when it is due again"),
    Column("response_hash", Text, comment="of the answer that the tables hold"),
    Column("run_id", Text, comment="the Dagster run of the last attempt"),
    Column("http_status", Integer, comment="of the last failed attempt"),
    Column("attempts", Integer, comment="requests of the last run for this CMMS asset"),
    Column("duration_ms", Integer, comment="of those requests, milliseconds"),
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
    Index("ix_innomaint_sync_state_changed", "last_changed_at"),
    comment="The state of each CMMS asset: exactly one row for each of ic3_asset_master",
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
    Column("batch_key", Text, primary_key=True, comment="the batch"),
    Column("kind", Text, primary_key=True, comment="never, synced, or the error class of failed ones"),
    Column("assets", Integer, nullable=False, server_default="0", comment="CMMS assets of this kind"),
    Column("first_due_at", TIME, comment="when the first of them is due"),
    Column("last_due_at", TIME, comment="when the last of them is due"),
    comment="How many CMMS assets of each batch are in which state; kept by triggers",
)

overridden_value = Table(
    "innomaint_overridden_value",
    metadata,
    _asset_key(),
    *_many(
        Text,
        excel_criticality="what Excel says",
        excel_capacity_rating="what Excel says",
        excel_in_charge_person="what Excel says",
        api_criticality="what the API says",
        api_capacity_rating="what the API says",
        api_in_charge_person="what the API says",
    ),
    comment="For each CMMS asset, what Excel and what the API say where the API wins",
)

held_back = Table(
    "innomaint_held_back",
    metadata,
    _asset_key(),
    Column("times", Integer, nullable=False, comment="how often in a row its state was refused"),
    Column("reason", Text, nullable=False, comment="why, in the words of the database"),
    Column("held_until", TIME, nullable=False, comment="until then it is not asked for by itself"),
    comment="CMMS assets whose rows of innomaint_sync_state the database refuses to change",
)

data_issue = Table(
    "innomaint_data_issue",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True, comment="number of the row"),
    Column(
        "asset_id",
        Integer,
        ForeignKey("ic3_asset_master.asset_id", ondelete="CASCADE"),
        nullable=False,
        comment="key of ic3_asset_master",
    ),
    Column("source", Text, nullable=False, server_default="innomaint", comment="innomaint or workbook"),
    Column(
        "field",
        Text,
        nullable=False,
        comment="path of the field in the answer, or column of ic3_asset_master",
    ),
    Column("raw_value", Text, comment="the beginning of its value, as delivered"),
    Column("reason", Text, nullable=False, comment="why it could not be read"),
    Column(
        "first_seen_at", TIME, nullable=False, server_default=func.now(), comment="when it was first seen"
    ),
    Column("last_seen_at", TIME, nullable=False, server_default=func.now(), comment="when it was last seen"),
    Column("resolved_at", TIME, comment="since when it can be read again; null: it is open"),
    comment="Values of answers and workbooks that could not be read; the CMMS asset is kept without them",
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
    Column(
        "first_seen_at", TIME, nullable=False, server_default=func.now(), comment="when it was first seen"
    ),
    Column("first_cmms_asset_id", Text, comment="of which CMMS asset's answer"),
    comment="Fields of answers that no document names, each reported once",
)

import_reject = Table(
    "innomaint_import_reject",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True, comment="number of the row"),
    Column("workbook", Text, nullable=False, comment="name of the file"),
    Column("sheet", Text, nullable=False, comment="name of the sheet"),
    Column("row_number", Integer, nullable=False, comment="number of the row in the sheet, from 1"),
    Column("reason", Text, nullable=False, comment="why it was not imported"),
    Column("row", JSONB, comment="its cells, by header"),
    Column("imported_at", TIME, nullable=False, server_default=func.now(), comment="when the import ran"),
    UniqueConstraint("workbook", "sheet", "row_number", name="uq_innomaint_import_reject_row"),
    comment="Rows of a workbook that were not imported",
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
