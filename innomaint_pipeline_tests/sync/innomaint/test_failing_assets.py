"""Single CMMS assets that fail: classes, the second pass, the logs, and what a refusing database costs."""

from datetime import timedelta
from typing import Any

import pytest

from innomaint_pipeline.errors import DatabaseError
from innomaint_pipeline.simulator.innomaint.faults import OtherSerial, Status, StatusFalse
from innomaint_pipeline.sync.innomaint.batch import Selection
from innomaint_pipeline_tests.conftest import WORLD_SIZE, Pipeline

REFUSED = "Delhi Cantt Naraina_BP_01"


def logged(pipeline: Pipeline, run_id: str) -> dict[str, tuple[str, str | None, int]]:
    """Return what ic3_sync_log says of a run, by CMMS asset; more than one row of an asset is an error."""
    rows = pipeline.rows(
        "select * from ic3_sync_log where run_id = :run and sync_type = 'api_sync'", run=run_id
    )
    by_serial = {row["serialnumber"]: (row["status"], row["error_class"], row["attempts"]) for row in rows}
    assert len(by_serial) == len(rows)
    return by_serial


def batch_row(pipeline: Pipeline, run_id: str) -> dict[str, Any]:
    row = pipeline.one("select * from cmms_sync_log where run_id = :run", run=run_id)
    assert row["total"] == row["assets_synced"] + row["failed"] + row["skipped"]
    return row


def test_half_a_batch_fails_and_the_other_half_is_synced(pipeline: Pipeline) -> None:
    serials, faults = pipeline.serials, pipeline.simulator.faults
    expected: dict[str, tuple[str, str | None]] = dict.fromkeys(serials, ("synced", None))
    for serial in serials[0:4:2]:
        faults.always(serial, Status(404))
        expected[serial] = ("failed", "not_found")
    faults.always(serials[4], StatusFalse())
    faults.always(serials[6], OtherSerial())
    faults.always(serials[8], Status(422))
    faults.always(serials[10], Status(503))
    expected[serials[4]] = expected[serials[6]] = ("failed", "contract")
    expected[serials[8]] = ("failed", "data")
    expected[serials[10]] = ("failed", "transient")
    report = pipeline.sync(pipeline.run("first"))
    assert pipeline.states() == expected
    assert (report.status, report.counts.success, report.counts.failed) == ("partial", 6, 6)
    assert [str(item) for item in report.remaining] == [
        f"{serials[10]}: transient: Innomaint failed (HTTP 503)"
    ]
    row = batch_row(pipeline, "first")
    assert (row["status"], row["total"], row["assets_synced"], row["failed"]) == ("partial", WORLD_SIZE, 6, 6)
    performance = pipeline.rows("select serialnumber from ic3_asset_performance order by asset_id")
    assert [item["serialnumber"] for item in performance] == list(serials[1::2])


def test_an_asset_that_keeps_failing_is_asked_twice_three_times_in_a_run(pipeline: Pipeline) -> None:
    serial = pipeline.serials[3]
    pipeline.simulator.faults.always(serial, Status(503))
    report = pipeline.sync(pipeline.run("first"))
    assert pipeline.simulator.record.count(serial) == 6
    assert [item.cmms_asset_id for item in report.remaining] == [serial]
    state = pipeline.state(serial)
    assert (state["consecutive_failures"], state["attempts"], state["http_status"]) == (1, 6, 503)
    assert logged(pipeline, "first")[serial] == ("error", "transient", 6)


def test_the_second_pass_heals_what_failed_in_the_first(pipeline: Pipeline) -> None:
    serial = pipeline.serials[3]
    pipeline.simulator.faults.next(serial, *[Status(503)] * 3)
    run = pipeline.run("first")
    assert pipeline.fetch(run).passed.failed_by_class == {"transient": 1}
    assert pipeline.states()[serial] == ("failed", "transient")
    pipeline.enrich(run)
    report = pipeline.settle(run)
    assert (report.status, report.remaining, report.second_pass.stored) == ("complete", (), 1)
    assert pipeline.states()[serial] == ("synced", None)
    assert logged(pipeline, "first")[serial] == ("success", None, 4)
    assert len(logged(pipeline, "first")) == WORLD_SIZE


def test_settle_asks_for_nothing_that_another_attempt_cannot_heal(pipeline: Pipeline) -> None:
    faults = pipeline.simulator.faults
    for serial, fault in zip(pipeline.serials, (Status(404), Status(400), StatusFalse()), strict=False):
        faults.always(serial, fault)
    report = pipeline.sync(pipeline.run("first"))
    assert (report.second_pass.asked, report.remaining, report.status) == (0, (), "partial")
    assert [pipeline.simulator.record.count(serial) for serial in pipeline.serials[:3]] == [1, 1, 1]


@pytest.mark.parametrize(
    ("fault", "delay"),
    [(Status(404), timedelta(days=7)), (StatusFalse(), timedelta(days=1)), (Status(422), timedelta(days=1))],
)
def test_a_failed_asset_is_due_again_as_its_class_says(
    pipeline: Pipeline, fault: Status, delay: timedelta
) -> None:
    pipeline.simulator.faults.always(pipeline.serials[0], fault)
    pipeline.sync(pipeline.run("first"))
    state = pipeline.state(pipeline.serials[0])
    assert abs(state["next_due_at"] - state["last_attempt_at"] - delay) < timedelta(seconds=1)


def test_failing_runs_put_a_transient_failure_off_for_longer_and_longer(pipeline: Pipeline) -> None:
    serial = pipeline.serials[0]
    pipeline.simulator.faults.always(serial, Status(500))
    delays = []
    for number in range(1, 4):
        pipeline.sync(pipeline.run(f"run {number}", selection=Selection((serial,))))
        state = pipeline.state(serial)
        assert state["consecutive_failures"] == number
        delays.append((state["next_due_at"] - state["last_attempt_at"]).total_seconds())
        pipeline.execute("update innomaint_sync_state set next_due_at = now() where state = 'failed'")
    assert 60 < delays[0] < delays[1] < delays[2] < 3600


def test_the_next_run_asks_exactly_for_what_is_missing(pipeline: Pipeline) -> None:
    serial = pipeline.serials[5]
    pipeline.simulator.faults.next(serial, *[Status(502)] * 6)
    assert pipeline.sync(pipeline.run("first")).remaining
    pipeline.simulator.record.clear()
    report = pipeline.sync(pipeline.run("second"))
    assert dict(pipeline.simulator.record.count_by_serial()) == {serial: 1}
    assert (report.status, report.remaining) == ("complete", ())
    row = batch_row(pipeline, "second")
    assert (row["assets_synced"], row["skipped"]) == (1, WORLD_SIZE - 1)


def test_a_selection_by_name_asks_for_nothing_else(pipeline: Pipeline) -> None:
    names = (pipeline.serials[2], pipeline.serials[9])
    report = pipeline.sync(pipeline.run("first", selection=Selection(names)))
    assert set(pipeline.simulator.record.count_by_serial()) == set(names)
    assert (report.total, report.counts.success, report.skipped) == (2, 2, 0)
    assert [state for state, _ in pipeline.states().values()].count("never") == WORLD_SIZE - 2


def test_every_asset_of_a_run_has_one_row_in_the_log(pipeline: Pipeline) -> None:
    serials, faults = pipeline.serials, pipeline.simulator.faults
    faults.always(serials[0], Status(404)).always(serials[1], Status(500))
    faults.next(serials[2], *[Status(500)] * 3).next(serials[3], *[Status(500)] * 3, Status(404))
    pipeline.sync(pipeline.run("first"))
    rows = logged(pipeline, "first")
    assert set(rows) == set(serials)
    assert rows[serials[0]] == ("error", "not_found", 1)
    assert rows[serials[1]] == ("error", "transient", 6)
    assert rows[serials[2]] == ("success", None, 4)
    assert rows[serials[3]] == ("error", "not_found", 4)
    assert rows[serials[4]] == ("success", None, 1)


def test_a_value_that_the_database_refuses_fails_one_asset_and_writes_nothing_of_it(
    pipeline: Pipeline,
) -> None:
    pipeline.execute(
        f"alter table ic3_asset_performance add constraint refused check (serialnumber <> '{REFUSED}')"
    )
    report = pipeline.sync(pipeline.run("first"))
    states = pipeline.states()
    assert states.pop(REFUSED) == ("failed", "data")
    assert set(states.values()) == {("synced", None)}
    assert (report.status, report.counts.success, report.counts.failed) == ("partial", WORLD_SIZE - 1, 1)
    master = pipeline.one("select * from ic3_asset_master where cmms_asset_id = :serial", serial=REFUSED)
    assert (master["barcode"], master["last_synced_at"], master["sync_version"]) == (None, None, 0)
    for table, column, value in (
        ("ic3_building", "building_id", 16420),
        ("ic3_floor_master", "floor_id", 12030),
        ("ic3_department_master", "department_id", 12250),
        ("ic3_asset_performance", "asset_id", master["asset_id"]),
        ("ic3_workorder_summary", "asset_id", master["asset_id"]),
    ):
        assert pipeline.rows(f"select 1 from {table} where {column} = {value}") == [], table
    assert pipeline.one("select count(*) from ic3_workorder_summary") == {"count": 2 * (WORLD_SIZE - 1)}
    log = pipeline.one(
        "select * from ic3_sync_log where serialnumber = :serial and run_id = 'first'", serial=REFUSED
    )
    assert (log["status"], log["error_class"]) == ("error", "data")
    assert "refused" in log["error_message"]


def test_an_adopted_column_that_is_too_narrow_fails_only_the_assets_that_do_not_fit(
    pipeline: Pipeline,
) -> None:
    pipeline.execute("alter table ic3_asset_performance alter column equipments_name type varchar(40)")
    pipeline.sync(pipeline.run("first"))
    narrow = pipeline.serials[1]
    old = pipeline.one("select * from ic3_asset_performance where serialnumber = :serial", serial=narrow)
    pipeline.simulator.world.change(
        narrow,
        {"performance": {"equipments_name": "x" * 41, "mttr": "00:01:00"}, "data": {"ticketcount": 99}},
    )
    assert pipeline.resync("second").counts.failed == 1
    state = pipeline.state(narrow)
    assert (state["state"], state["error_class"]) == ("failed", "data")
    assert "character varying(40)" in state["error_message"]
    new = pipeline.one("select * from ic3_asset_performance where serialnumber = :serial", serial=narrow)
    assert new == old
    master = pipeline.one("select * from ic3_asset_master where cmms_asset_id = :serial", serial=narrow)
    assert (master["ticketcount"] == 99, master["sync_version"]) == (False, 1)


def test_a_repaired_table_takes_the_refused_answer_when_it_is_asked_for_again(pipeline: Pipeline) -> None:
    pipeline.execute(
        f"alter table ic3_asset_performance add constraint refused check (serialnumber <> '{REFUSED}')"
    )
    pipeline.sync(pipeline.run("first"))
    pipeline.execute("alter table ic3_asset_performance drop constraint refused")
    report = pipeline.resync("second")
    assert (report.counts.success, report.counts.unchanged) == (WORLD_SIZE, WORLD_SIZE - 1)
    assert pipeline.state(REFUSED)["consecutive_failures"] == 0


def test_an_answer_that_the_database_cannot_store_fails_one_asset(pipeline: Pipeline) -> None:
    number = pipeline.one(
        "select asset_id from ic3_asset_master where cmms_asset_id = :serial", serial=REFUSED
    )
    pipeline.execute(
        f"alter table innomaint_response add constraint refused check (asset_id <> {number['asset_id']})"
    )
    report = pipeline.sync(pipeline.run("first"))
    states = pipeline.states()
    assert states.pop(REFUSED) == ("failed", "data")
    assert set(states.values()) == {("synced", None)}
    assert report.counts.failed == 1


def test_a_table_without_rights_is_the_databases_trouble_and_no_assets(pipeline: Pipeline) -> None:
    run = pipeline.run("first")
    pipeline.fetch(run)
    pipeline.execute("alter table ic3_asset_performance rename to hidden_performance")
    with pytest.raises(DatabaseError, match="innomaint db upgrade"):
        pipeline.enrich(run)
    pipeline.execute("alter table hidden_performance rename to ic3_asset_performance")
    pipeline.execute("alter table ic3_asset_performance drop constraint ic3_asset_performance_pkey")
    with pytest.raises(DatabaseError, match="innomaint db upgrade"):
        pipeline.enrich(run)
    assert set(pipeline.states().values()) == {("never", None)}
    pipeline.execute("alter table ic3_asset_performance add primary key (asset_id)")
    assert pipeline.sync(pipeline.run("second")).status == "complete"
    assert len(pipeline.simulator.record) == WORLD_SIZE, "the stored answers were used, not asked for again"


def test_a_run_that_enriches_foreign_answers_counts_its_own_selection_only(pipeline: Pipeline) -> None:
    killed = pipeline.run("killed", selection=Selection(pipeline.serials[:5]))
    pipeline.fetch(killed, is_last_step=True)
    report = pipeline.sync(pipeline.run("second", selection=Selection(pipeline.serials[5:7])))
    assert [state for state, _ in pipeline.states().values()].count("synced") == 7
    assert (report.total, report.counts.success, report.skipped) == (2, 2, 0)
    assert batch_row(pipeline, "second")["total"] == 2


def test_an_enrichment_alone_logs_what_it_could_not_store(pipeline: Pipeline) -> None:
    pipeline.fetch(pipeline.run("first"), is_last_step=True)
    pipeline.execute(
        f"alter table ic3_asset_performance add constraint refused check (serialnumber <> '{REFUSED}')"
    )
    report = pipeline.enrich(pipeline.run("second"), is_last_step=True)
    assert (report.success, report.failed) == (WORLD_SIZE - 1, 1)
    assert logged(pipeline, "second")[REFUSED] == ("error", "data", 1)
