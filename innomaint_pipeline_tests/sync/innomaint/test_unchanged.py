"""A second sync: what it may write, and what a change writes."""

from datetime import timedelta
from typing import Any

from innomaint_pipeline_tests.conftest import WORLD_SIZE, Pipeline

VOLATILE = {"mtbf", "mtbf_seconds", "availability", "availability_pct", "total_actual_hrs", "actual_seconds"}
PLACES = ("ic3_building", "ic3_floor_master", "ic3_department_master")
QUIET_TABLES = (
    *PLACES,
    "ic3_asset_performance",
    "ic3_workorder_summary",
    "innomaint_overridden_value",
    "innomaint_data_issue",
    "innomaint_unknown_field",
    "innomaint_import_reject",
    "innomaint_setting",
)


def dump(pipeline: Pipeline, *tables: str) -> dict[str, list[dict[str, Any]]]:
    """Return every row of the tables with the transaction that wrote it."""
    return {
        table: pipeline.rows(f'select *, xmin::text as written_by from "{table}" as t order by t::text')
        for table in tables
    }


def dump_master(pipeline: Pipeline) -> list[dict[str, Any]]:
    rows = pipeline.rows("select * from ic3_asset_master order by asset_id")
    return [{name: value for name, value in row.items() if name != "last_synced_at"} for row in rows]


def test_a_second_sync_with_the_same_answers_changes_no_row_of_data(pipeline: Pipeline) -> None:
    pipeline.sync(pipeline.run("first"))
    tables, master = dump(pipeline, *QUIET_TABLES), dump_master(pipeline)
    newest = pipeline.one("select max(last_synced_at) as at from ic3_asset_master")["at"]
    report = pipeline.resync("second")
    assert (report.status, report.counts.success, report.counts.unchanged) == (
        "complete",
        WORLD_SIZE,
        WORLD_SIZE,
    )
    assert dump(pipeline, *QUIET_TABLES) == tables
    assert dump_master(pipeline) == master
    assert {row["sync_version"] for row in master} == {1}
    assert pipeline.one("select min(last_synced_at) as at from ic3_asset_master")["at"] > newest


def test_an_unchanged_answer_is_logged_as_a_success_and_counted(pipeline: Pipeline) -> None:
    pipeline.sync(pipeline.run("first"))
    pipeline.resync("second")
    assert pipeline.one(
        "select count(*) from ic3_sync_log where run_id = 'second' and status = 'success'"
    ) == {"count": WORLD_SIZE}
    batch = pipeline.one("select * from cmms_sync_log where run_id = 'second'")
    assert (batch["assets_synced"], batch["unchanged"]) == (WORLD_SIZE, WORLD_SIZE)


def test_when_only_the_clock_moved_only_volatile_columns_are_written(pipeline: Pipeline) -> None:
    pipeline.sync(pipeline.run("first"))
    others = [table for table in QUIET_TABLES if table != "ic3_asset_performance"]
    tables, master = dump(pipeline, *others), dump_master(pipeline)
    before = pipeline.rows("select * from ic3_asset_performance order by asset_id")
    world = pipeline.simulator.world
    later = world.now() + timedelta(days=3)
    world.now = lambda: later
    assert pipeline.resync("second").counts.unchanged == WORLD_SIZE
    assert dump(pipeline, *others) == tables
    assert dump_master(pipeline) == master
    changed: set[str] = set()
    after = pipeline.rows("select * from ic3_asset_performance order by asset_id")
    for old, new in zip(before, after, strict=True):
        changed |= {name for name in old if old[name] != new[name]}
    assert {"total_actual_hrs", "actual_seconds", "mtbf", "mtbf_seconds"} <= changed <= VOLATILE
    assert before[0] == after[0], "the vendor's example stands still, so its row is not written"


def test_a_change_is_written_and_counted_once(pipeline: Pipeline) -> None:
    pipeline.sync(pipeline.run("first"))
    serial = pipeline.serials[7]
    pipeline.simulator.world.change(serial, {"data": {"asset_live_status": 7}})
    report = pipeline.resync("second")
    assert (report.counts.success, report.counts.unchanged) == (WORLD_SIZE, WORLD_SIZE - 1)
    pipeline.resync("third")
    versions = {
        row["cmms_asset_id"]: row["sync_version"]
        for row in pipeline.rows("select cmms_asset_id, sync_version from ic3_asset_master")
    }
    assert versions.pop(serial) == 2
    assert set(versions.values()) == {1}
    query = "select asset_live_status from ic3_asset_master where cmms_asset_id = :serial"
    assert pipeline.one(query, serial=serial) == {"asset_live_status": 7}


def test_a_changed_answer_writes_only_the_tables_whose_values_differ(pipeline: Pipeline) -> None:
    pipeline.sync(pipeline.run("first"))
    tables = dump(pipeline, *QUIET_TABLES)
    pipeline.simulator.world.change(pipeline.serials[7], {"data": {"asset_live_status": 7}})
    pipeline.resync("second")
    assert dump(pipeline, *QUIET_TABLES) == tables


def test_assets_that_are_not_due_are_not_asked(pipeline: Pipeline) -> None:
    pipeline.sync(pipeline.run("first"))
    pipeline.simulator.record.clear()
    report = pipeline.sync(pipeline.run("second"))
    assert len(pipeline.simulator.record) == 0
    assert (report.status, report.total, report.skipped) == ("complete", WORLD_SIZE, WORLD_SIZE)


def test_an_asset_that_failed_and_answers_as_before_is_synced_and_unchanged(pipeline: Pipeline) -> None:
    pipeline.sync(pipeline.run("first"))
    serial = pipeline.serials[3]
    synced = pipeline.state(serial)
    pipeline.simulator.world.remove(serial)
    pipeline.resync("second")
    failed = pipeline.state(serial)
    assert (failed["state"], synced["failed_since"]) == ("failed", None)
    assert synced["last_attempt_at"] < failed["failed_since"] <= failed["last_attempt_at"]
    pipeline.resync("third")
    again = pipeline.state(serial)
    assert again["consecutive_failures"] == 2
    assert again["failed_since"] == failed["failed_since"] < again["last_attempt_at"]
    pipeline.simulator.world.restore()
    assert pipeline.resync("fourth").counts.unchanged == WORLD_SIZE
    state = pipeline.state(serial)
    assert (state["state"], state["consecutive_failures"], state["error_message"]) == ("synced", 0, None)
    assert state["failed_since"] is None


def test_when_it_last_answered_and_when_it_last_changed_are_two_moments(pipeline: Pipeline) -> None:
    pipeline.sync(pipeline.run("first"))
    serial = pipeline.serials[7]
    first = pipeline.state(serial)
    assert first["last_changed_at"] == first["last_success_at"]
    pipeline.resync("second")
    second = pipeline.state(serial)
    assert second["last_changed_at"] == first["last_changed_at"] < second["last_success_at"]
    pipeline.simulator.world.change(serial, {"data": {"asset_live_status": 7}})
    pipeline.resync("third")
    third = pipeline.state(serial)
    assert third["last_changed_at"] == third["last_success_at"] > second["last_success_at"]


def test_an_error_never_erases_a_good_value(pipeline: Pipeline) -> None:
    pipeline.sync(pipeline.run("first"))
    tables, master = dump(pipeline, *QUIET_TABLES), dump_master(pipeline)
    answers = dump(pipeline, "innomaint_response")
    for serial in pipeline.serials:
        pipeline.simulator.world.remove(serial)
    assert pipeline.resync("second").counts.failed == WORLD_SIZE
    assert dump(pipeline, *QUIET_TABLES, "innomaint_response") == {**tables, **answers}
    assert dump_master(pipeline) == master
    assert pipeline.one("select count(last_synced_at) from ic3_asset_master") == {"count": WORLD_SIZE}
