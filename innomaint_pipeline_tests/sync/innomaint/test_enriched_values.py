"""What stands in the tables after a sync: the vendor's example, absent, null and zero, odd values."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from innomaint_pipeline.simulator.innomaint.faults import OddValue
from innomaint_pipeline.simulator.innomaint.world import ABSENT, World
from innomaint_pipeline_tests.conftest import FIRST_BATCH, Pipeline, everything, fix_world

EXAMPLE = "Delhi Cantt Naraina_BP_01"


@pytest.fixture
def example(empty_pipeline: Pipeline) -> Pipeline:
    """The CMMS asset of the vendor's example, imported and synced."""
    empty_pipeline.import_serials(
        [EXAMPLE], criticality="Low", capacity_rating="1KW", in_charge_person="Excel's", asset_name="LT Panel"
    )
    assert empty_pipeline.sync(empty_pipeline.run("first")).status == "complete"
    return empty_pipeline


def master(pipeline: Pipeline) -> dict:
    return pipeline.one("select * from ic3_asset_master")


def test_the_master_row_holds_excels_and_the_apis_columns(example: Pipeline) -> None:
    row = master(example)
    times = {name: row.pop(name) for name in ("last_synced_at", "created_at", "updated_at")}
    assert {name: value for name, value in row.items() if value is not None} == {
        "asset_id": 1,
        "cmms_asset_id": EXAMPLE,
        "report_seq_no": 1,
        "asset_name": "LT Panel",
        "criticality": "High",
        "excel_criticality": "Low",
        "capacity_rating": "90KW",
        "in_charge_person": "JWIL",
        "traceability_id": 577833,
        "barcode": "MOD135692/SER577833",
        "customer_id": 24463,
        "location_id": 34801,
        "building_id": 16420,
        "floor_id": 12030,
        "department_id": 12250,
        "asset_building_id": 21852,
        "asset_floor_id": 20025,
        "asset_department_id": 27422,
        "fk_customers_equipment_mapping_id": 550822,
        "customers_locations_serialnumber_mapping_id": 505836,
        "customer_traceability_id": 550822,
        "customer_model_id": 225345,
        "location_traceability_id": 505836,
        "location_model_id": 252933,
        "ticketcount": 5,
        "schedulecount": 44,
        "schedule_configured": 1,
        "schedule_initiate": 1,
        "iot_device_mapped": 0,
        "status": 1,
        "asset_live_status": 1,
        "traceability_updated_on": datetime(2026, 3, 19, 4, 21, 46, tzinfo=UTC),
        "api_attributes": {
            "id": 577833,
            "customer_name": "DJB Khyala",
            "location_name": "Naraina D.Cantt UGR_Zone",
            "installation_date": None,
        },
        "sync_version": 1,
    }
    assert times["last_synced_at"] == example.state(EXAMPLE)["last_success_at"]
    assert times["created_at"] <= times["updated_at"]


def test_building_floor_and_department_are_stored(example: Pipeline) -> None:
    assert example.one("select building_id, customer_id, building_name from ic3_building") == {
        "building_id": 16420,
        "customer_id": 24463,
        "building_name": "Naraina D.Cantt UGR_Zone",
    }
    assert example.one("select floor_id, floor_name, location_id, asset_floor_id from ic3_floor_master") == {
        "floor_id": 12030,
        "floor_name": "UGR",
        "location_id": 34801,
        "asset_floor_id": 20025,
    }
    department = example.one("select * from ic3_department_master")
    assert (department.pop("created_at"), department.pop("updated_at")) != (None, None)
    assert department == {
        "department_id": 12250,
        "department_name": "Working",
        "floor_id": 12030,
        "location_id": 34801,
        "asset_department_id": 27422,
    }


def test_performance_is_stored_as_delivered_and_as_numbers(example: Pipeline) -> None:
    row = example.one("select * from ic3_asset_performance")
    assert row.pop("recorded_at") is not None
    assert row == {
        "asset_id": 1,
        "serialnumber": EXAMPLE,
        "equipments_name": "LT-Panel",
        "equipment_model_name": "NA",
        "criticality_type_label": "Non-Critical",
        "total_ticket": 2,
        "mttr": "00:08:30",
        "mtbf": "8526:06:43",
        "availability": "100",
        "total_ticket_breakdown_hrs": "00:17:00",
        "total_schedule_breakdown_hrs": "0",
        "asset_created_date": "09/07/2024 16:59",
        "total_actual_hrs": "17052:30:27",
        "mttr_seconds": 510,
        "mtbf_seconds": 30_694_003,
        "ticket_breakdown_seconds": 1020,
        "schedule_breakdown_seconds": 0,
        "actual_seconds": 61_389_027,
        "availability_pct": Decimal(100),
        "asset_created_at": datetime(2024, 7, 9, 11, 29, tzinfo=UTC),
    }


def test_both_work_order_rows_are_stored(example: Pipeline) -> None:
    rows = example.rows("select * from ic3_workorder_summary order by period_type")
    assert [row.pop("updated_at") is None for row in rows] == [False, False]
    nothing = {
        "asset_id": 1,
        "work_estimate_count": 0,
        "schedule_count": 0,
        "ticket_count": 0,
        "work_estimate_cost": Decimal("0.00"),
        "schedule_cost": Decimal("0.00"),
        "ticket_cost": Decimal("0.00"),
    }
    assert rows == [
        {**nothing, "period_type": "last_year"},
        {**nothing, "period_type": "upto", "work_estimate_count": 2, "ticket_count": 2},
    ]


def test_the_raw_answer_is_stored_word_for_word(example: Pipeline) -> None:
    row = example.one("select * from innomaint_response")
    assert row["body"] == example.simulator.world.answer(EXAMPLE)
    assert (row["run_id"], row["attempts"], row["is_pending"]) == ("first", 1, False)


def test_the_state_says_synced_and_when_it_is_due_again(example: Pipeline) -> None:
    state = example.state(EXAMPLE)
    assert (state["state"], state["error_class"], state["batch_key"]) == ("synced", None, FIRST_BATCH)
    assert (state["consecutive_failures"], state["run_id"]) == (0, "first")
    assert state["next_due_at"] - state["last_success_at"] == timedelta(minutes=1440)
    assert state["response_hash"] == example.one("select body_hash from innomaint_response")["body_hash"]


def test_a_sync_is_logged_for_the_asset_and_for_the_batch(example: Pipeline) -> None:
    log = example.one("select * from ic3_sync_log where sync_type = 'api_sync'")
    assert (log["serialnumber"], log["status"], log["error_class"]) == (EXAMPLE, "success", None)
    assert (log["attempts"], log["run_id"]) == (1, "first")
    batch = example.one("select * from cmms_sync_log")
    assert (batch["sync_type"], batch["status"], batch["batch_key"]) == ("api_sync", "complete", FIRST_BATCH)
    assert [batch[name] for name in ("total", "assets_synced", "failed", "unchanged", "skipped")] == [
        1,
        1,
        0,
        0,
        0,
    ]
    assert batch["duration_ms"] > 0


def test_absent_keeps_null_clears_and_zero_is_a_value(example: Pipeline) -> None:
    example.simulator.world.change(
        EXAMPLE,
        {
            "data": {
                "barcode": ABSENT,
                "ticketcount": None,
                "schedulecount": 0,
                "customer_id": "0",
                "status": "",
            },
            "performance": {"mttr": None, "total_ticket": 0, "equipments_name": ABSENT},
            "workorder_transactional": {
                "upto": {"ticket_count": None, "ticket_cost": ABSENT, "schedule_cost": "1,234.50"},
                "last_year": ABSENT,
            },
        },
    )
    assert example.resync("second").status == "complete"
    row = master(example)
    assert row["barcode"] == "MOD135692/SER577833"
    assert (row["ticketcount"], row["schedulecount"]) == (None, 0)
    assert (row["customer_id"], row["status"]) == (None, None)
    performance = example.one("select * from ic3_asset_performance")
    assert (performance["mttr"], performance["mttr_seconds"]) == (None, None)
    assert (performance["total_ticket"], performance["equipments_name"]) == (0, "LT-Panel")
    orders = example.rows("select * from ic3_workorder_summary order by period_type")
    assert [item["period_type"] for item in orders] == ["last_year", "upto"]
    assert (orders[1]["ticket_count"], orders[1]["ticket_cost"]) == (None, Decimal("0.00"))
    assert orders[1]["schedule_cost"] == Decimal("1234.50")


@pytest.mark.parametrize("blank", [None, "", "  "])
def test_a_blank_criticality_of_the_api_brings_excels_back(example: Pipeline, blank: str | None) -> None:
    fields = ("criticality", "capacity_rating", "in_charge_person")
    example.simulator.world.change(EXAMPLE, {"data": dict.fromkeys(fields, blank)})
    example.resync("second")
    assert [master(example)[name] for name in fields] == ["Low", "1KW", "Excel's"]


def test_an_absent_criticality_keeps_the_apis_last_value(example: Pipeline) -> None:
    example.simulator.world.change(EXAMPLE, {"data": {"criticality": ABSENT, "status": 0}})
    example.resync("second")
    row = master(example)
    assert (row["criticality"], row["status"]) == ("High", 0)


def test_a_place_that_an_asset_lost_stays_and_a_new_name_arrives(example: Pipeline) -> None:
    example.simulator.world.change(
        EXAMPLE, {"data": {"building_name": "New name", "floor_id": 0, "floor_name": "Nowhere"}}
    )
    example.resync("second")
    assert example.one("select building_name from ic3_building") == {"building_name": "New name"}
    assert example.one("select floor_id, floor_name from ic3_floor_master") == {
        "floor_id": 12030,
        "floor_name": "UGR",
    }
    assert master(example)["floor_id"] is None
    assert master(example)["api_attributes"]["floor_name"] == "Nowhere"


def test_unknown_fields_are_kept_by_section_and_reported_once(example: Pipeline) -> None:
    example.simulator.world.change(
        EXAMPLE,
        {
            "data": {"asset_colour": "blue"},
            "performance": {"mtta": "00:10:00"},
            "workorder_transactional": {"upto": {"amc_count": "3"}},
            "geolocation": {"latitude": 28.612912345678901},
        },
    )
    run = example.run("second", selection=everything())
    example.fetch(run)
    report = example.enrich(run)
    example.settle(run)
    paths = [
        "data.asset_colour",
        "geolocation",
        "performance.mtta",
        "workorder_transactional.upto.amc_count",
    ]
    assert report.new_unknown_fields == paths
    attributes = master(example)["api_attributes"]
    assert attributes["asset_colour"] == "blue"
    assert attributes["performance"] == {"mtta": "00:10:00"}
    assert attributes["workorder_transactional"] == {"upto": {"amc_count": "3"}}
    assert list(attributes["geolocation"]) == ["latitude"]

    example.simulator.world.change(EXAMPLE, {"data": {"asset_colour": "red"}})
    run = example.run("third", selection=everything())
    example.fetch(run)
    assert example.enrich(run).new_unknown_fields == []
    assert master(example)["api_attributes"]["asset_colour"] == "red"


def test_very_many_unknown_fields_are_no_rows_for_ever(empty_pipeline: Pipeline) -> None:
    world = World(13)
    for number, serial in enumerate(world.serials):
        fields = {f"a{number:02}{field:05}": field for field in range(300)}
        world.change(
            serial, {"data": fields, "performance": fields, "workorder_transactional": {"upto": fields}}
        )
    fix_world(empty_pipeline.simulator, world)
    empty_pipeline.import_serials(batch_size=1)
    for number in range(13):
        empty_pipeline.sync(empty_pipeline.run("first", batch_key=f"batch_{number + 1:06d}"))
    rows = empty_pipeline.rows(
        "select section, count(*), max(further) from innomaint_unknown_field where section <> 'response'"
        " group by section"
    )
    assert {(row["section"], row["count"]) for row in rows} == {
        *(("data", 201), ("performance", 201), ("workorder_transactional.upto", 201))
    }
    assert all(row["max"] >= 100 for row in rows)
    attributes = empty_pipeline.one("select api_attributes from ic3_asset_master where asset_id = 1")
    assert len(attributes["api_attributes"]["performance"]) == 300
    count = empty_pipeline.one("select count(*) from innomaint_unknown_field")
    empty_pipeline.execute("update innomaint_sync_state set response_hash = null")
    assert empty_pipeline.resync("second").status == "complete"
    assert empty_pipeline.one("select count(*) from innomaint_unknown_field") == count


def issues(pipeline: Pipeline) -> list[tuple]:
    rows = pipeline.rows(
        "select field, raw_value, resolved_at is null as is_open from innomaint_data_issue order by id"
    )
    return [tuple(row.values()) for row in rows]


def test_an_unreadable_value_is_noted_kept_and_resolved_later(example: Pipeline) -> None:
    world = example.simulator.world
    world.change(
        EXAMPLE, {"performance": {"mttr": "soon", "total_ticket": 3}, "data": {"ticketcount": "many"}}
    )
    assert example.resync("second").status == "complete"
    assert sorted(issues(example)) == [("data.ticketcount", "many", True), ("performance.mttr", "soon", True)]
    row = example.one("select mttr, mttr_seconds, total_ticket from ic3_asset_performance")
    assert row == {"mttr": "00:08:30", "mttr_seconds": 510, "total_ticket": 3}
    assert master(example)["ticketcount"] == 5

    world.change(EXAMPLE, {"performance": {"mttr": "00:09:00"}})
    example.resync("third")
    assert sorted(issues(example)) == [
        ("data.ticketcount", "many", True),
        ("performance.mttr", "soon", False),
    ]
    assert example.one("select mttr_seconds from ic3_asset_performance") == {"mttr_seconds": 540}

    world.change(EXAMPLE, {"performance": {"mttr": "later"}})
    example.resync("fourth")
    assert len(issues(example)) == 3


def test_a_volatile_value_that_cannot_be_read_is_noted_although_nothing_else_changed(
    example: Pipeline,
) -> None:
    example.simulator.world.change(EXAMPLE, {"performance": {"availability": "n/a"}})
    report = example.resync("second")
    assert report.counts.unchanged == 1
    assert issues(example) == [("performance.availability", "n/a", True)]
    assert example.one("select availability_pct from ic3_asset_performance") == {
        "availability_pct": Decimal(100)
    }

    example.simulator.world.change(EXAMPLE, {"performance": {"availability": "99"}})
    example.resync("third")
    assert issues(example) == [("performance.availability", "n/a", False)]
    assert example.one("select availability_pct from ic3_asset_performance") == {
        "availability_pct": Decimal(99)
    }


def test_an_unchanged_answer_leaves_the_issues_of_steady_values_open(example: Pipeline) -> None:
    example.simulator.world.change(EXAMPLE, {"data": {"ticketcount": "many"}})
    example.resync("second")
    assert example.resync("third").counts.unchanged == 1
    assert issues(example) == [("data.ticketcount", "many", True)]


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("nul", "90KW"),
        ("surrogate", "90KW"),
        ("nan", "90KW"),
        ("infinity", "90KW"),
        ("minus_infinity", "90KW"),
    ],
)
def test_what_a_database_cannot_store_is_cleaned_with_a_data_issue(
    example: Pipeline, value: str, stored: str
) -> None:
    example.simulator.faults.always(EXAMPLE, OddValue(value))
    assert example.resync("second").status == "complete"
    assert master(example)["capacity_rating"] == stored
    assert [field for field, _, is_open in issues(example) if is_open] == ["data.capacity_rating"]


def test_a_nul_in_a_fields_name_is_cleaned(example: Pipeline) -> None:
    example.simulator.world.change(EXAMPLE, {"data": {"odd\0name": "kept"}})
    assert example.resync("second").status == "complete"
    assert master(example)["api_attributes"]["oddname"] == "kept"


def test_an_answer_padded_around_its_serial_number_is_the_asked_ones(example: Pipeline) -> None:
    example.simulator.world.change(EXAMPLE, {"data": {"serialnumber": f"  {EXAMPLE} ", "status": 0}})
    assert example.resync("second").status == "complete"
    assert (master(example)["cmms_asset_id"], master(example)["status"]) == (EXAMPLE, 0)
