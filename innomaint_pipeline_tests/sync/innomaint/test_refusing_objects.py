"""Other programs' triggers and constraints, each of which refuses a row: that row or asset alone."""

import logging

import pytest

from innomaint_pipeline.domain.pacing import SourceAccount
from innomaint_pipeline.errors import DatabaseError
from innomaint_pipeline.simulator.innomaint.faults import Status
from innomaint_pipeline.store.innomaint.due_batches import find_due_batches
from innomaint_pipeline.store.innomaint.health import load_conditions
from innomaint_pipeline_tests.conftest import Pipeline
from innomaint_pipeline_tests.refusing import AT_COMMIT, SILENT, SPOKEN, refusing


def logged(pipeline: Pipeline, run_id: str) -> set[str]:
    rows = pipeline.rows("select serialnumber from ic3_sync_log where run_id = :run", run=run_id)
    names = [row["serialnumber"] for row in rows]
    assert len(names) == len(set(names)), "nobody is logged twice"
    return set(names)


def test_a_row_of_the_log_that_is_refused_costs_that_row_alone_and_is_kept(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline.import_serials()
    refused, failing = pipeline.serials[1], pipeline.serials[2]
    serials = set(pipeline.serials)
    for number, how in enumerate([*SPOKEN, SILENT, AT_COMMIT]):
        caplog.clear()
        run_id = f"run-{number}"
        pipeline.simulator.faults.next(failing, *[Status(404)])
        with refusing(pipeline, "ic3_sync_log", "insert", f"new.serialnumber = '{refused}'", how):
            report = pipeline.resync(run_id)
        assert (report.counts.success, report.counts.failed) == (len(serials) - 1, 1), how
        assert report.unlogged.keys() == {refused}, how
        assert pipeline.states()[refused] == ("synced", None), how
        assert logged(pipeline, run_id) == serials - {refused}, how
        assert any(refused in record.message for record in caplog.records), "it is told"
        pipeline.sync(pipeline.run(f"{run_id}-after"))
        assert logged(pipeline, run_id) == serials, "it was kept, and is written when nothing refuses it"


def test_a_row_of_a_batch_that_is_refused_is_told_and_fails_nothing(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline.import_serials()
    for number, how in enumerate([*SPOKEN, SILENT, AT_COMMIT]):
        caplog.clear()
        with refusing(pipeline, "cmms_sync_log", "insert", "true", how):
            report = pipeline.resync(f"run-{number}")
        assert (report.status, report.counts.success) == ("complete", len(pipeline.serials)), how
        assert report.row_refused, how
        assert any("cmms_sync_log" in record.message for record in caplog.records), how
    assert pipeline.rows("select 1 from cmms_sync_log") == []
    assert pipeline.rows("select 1 from innomaint_lease") == [], "the batch is free"


@pytest.mark.leaves("expired_leases")
def test_a_log_that_refuses_every_row_is_everybodys_trouble(pipeline: Pipeline) -> None:
    pipeline.import_serials()
    for how in ("42501", SILENT):
        with (
            refusing(pipeline, "ic3_sync_log", "insert", "true", how),
            pytest.raises(DatabaseError, match="so that it is no row's fault"),
        ):
            pipeline.resync(f"run-{how}")
    assert set(pipeline.states().values()) == {("never", None)}


def test_a_row_of_any_table_that_is_left_out_or_refused_costs_its_asset_alone(pipeline: Pipeline) -> None:
    pipeline.import_serials()
    refused = pipeline.serials[1]
    of_one = f"new.asset_id = {pipeline.state(refused)['asset_id']}"
    tables = {
        "innomaint_response": ("insert or update", of_one),
        "ic3_asset_performance": ("insert or update", of_one),
        "ic3_workorder_summary": ("insert or update", of_one),
        "ic3_asset_master": ("update", of_one),
        "innomaint_sync_state": ("update", f"{of_one} and new.state = 'synced'"),
    }
    number = 0
    for table, (event, condition) in tables.items():
        for how in ("42P01", SILENT, AT_COMMIT):
            number += 1
            pipeline.simulator.world.change(refused, {"data": {"barcode": f"changed {number}"}})
            pipeline.execute("truncate ic3_workorder_summary, ic3_asset_performance")
            with refusing(pipeline, table, event, condition, how):
                report = pipeline.resync(f"run-{number}")
            assert (report.status, report.counts.failed) == ("partial", 1), (table, how)
            assert pipeline.states()[refused] == ("failed", "data"), (table, how)
            assert pipeline.resync(f"run-{number}-after").status == "complete", (table, how)


def told_of_states(pipeline: Pipeline) -> str | None:
    with pipeline.database.snapshot() as connection:
        _, conditions = load_conditions(connection, SourceAccount(pipeline.simulator.url, 1440))
    (found,) = [item for item in conditions if item.name == "states"]
    return found.value and found.message


def test_a_state_that_is_never_noted_is_asked_for_ever_more_rarely(pipeline: Pipeline) -> None:
    refused = pipeline.serials[1]
    asked, waits, launched = [], [], []
    condition = f"new.asset_id = {pipeline.state(refused)['asset_id']}"
    with refusing(pipeline, "innomaint_sync_state", "update", condition, "42501"):
        for number in range(4):
            before = pipeline.simulator.record.count_by_serial()[refused]
            pipeline.sync(pipeline.run(f"run-{number}"))
            pipeline.sync(pipeline.run(f"run-{number}-again"))
            asked.append(pipeline.simulator.record.count_by_serial()[refused] - before)
            with pipeline.database.begin() as connection:
                launched += find_due_batches(connection)
            held = pipeline.one("select held_until - now() as wait from innomaint_held_back")
            waits.append(round(held["wait"].total_seconds() / 60))
            pipeline.execute("update innomaint_held_back set held_until = now()")
    assert asked == [1, 1, 1, 1], "once for each time that it is let go"
    assert waits == [2, 4, 8, 16]
    assert launched == [], "nor is a run launched for it"
    assert refused in (told_of_states(pipeline) or "")
    pipeline.execute("update innomaint_held_back set held_until = now() + interval '1 year'")
    pipeline.sync(pipeline.run("run-set-back"))
    assert pipeline.states()[refused] == ("synced", None), "a clock that was set back stalls nothing"
    assert pipeline.rows("select 1 from innomaint_held_back") == []


def test_a_state_that_cannot_be_noted_is_told_and_stops_nobody(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline.import_serials()
    refused, failing = pipeline.serials[1], pipeline.serials[2]
    condition = f"new.asset_id = {pipeline.state(refused)['asset_id']}"
    for number, how in enumerate(("0A000", SILENT, AT_COMMIT)):
        caplog.clear()
        for serial in (refused, failing):
            pipeline.simulator.faults.next(serial, Status(404))
        with refusing(pipeline, "innomaint_sync_state", "update", condition, how):
            report = pipeline.resync(f"run-{number}")
        assert (report.counts.success, report.counts.failed) == (len(pipeline.serials) - 2, 1), how
        assert pipeline.states()[refused] == ("never", None), how
        told = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert any(refused in record.message for record in told), how
        pipeline.sync(pipeline.run(f"run-{number}-at-once"))
        assert pipeline.states()[refused] == ("never", None), "it is not asked for at every look"
        assert refused in (told_of_states(pipeline) or ""), how
        pipeline.execute("update innomaint_held_back set held_until = now()")
        assert pipeline.sync(pipeline.run(f"run-{number}-after")).status == "partial"
        assert pipeline.states()[refused] == ("synced", None), "it is asked for again"
        assert told_of_states(pipeline) is None
        pipeline.execute(
            "update innomaint_sync_state set state = 'never', next_due_at = now(), error_class = null"
        )
