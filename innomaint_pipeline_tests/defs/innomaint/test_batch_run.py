"""A batch run in Dagster: what is green, what is red and says why, what heals it."""

import logging
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from innomaint_pipeline.domain.innomaint.batches import LEASES, lease_name
from innomaint_pipeline.simulator.innomaint.faults import OtherSerial, Status
from innomaint_pipeline.store.leases import acquire_lease, find_leases
from innomaint_pipeline_tests.conftest import CANARY_TOKEN, FIRST_BATCH, Pipeline
from innomaint_pipeline_tests.defs.conftest import (
    BATCH_ASSETS,
    ENRICH_ASSETS,
    Dagster,
    cause_of,
    failure_of,
    materializations,
    requested,
    steps_started,
)


def batch_rows(pipeline: Pipeline) -> list[tuple[str, int, int, int, int]]:
    return [
        (row["status"], row["total"], row["assets_synced"], row["failed"], row["skipped"])
        for row in pipeline.rows("select * from cmms_sync_log order by id")
    ]


def test_a_good_batch_is_green_and_its_numbers_can_be_plotted(dagster: Dagster) -> None:
    run = dagster.sync()

    assert run.success
    assert {asset: dagster.partition_status(asset) for asset in BATCH_ASSETS} == dict.fromkeys(
        BATCH_ASSETS, "MATERIALIZED"
    )
    made = materializations(run)
    assert set(made) == set(BATCH_ASSETS)
    fetched = made["innomaint_response"]
    assert {name: fetched[name] for name in ("selected", "asked", "stored", "failed", "requests")} == {
        "selected": 30,
        "asked": 30,
        "stored": 30,
        "failed": 0,
        "requests": 30,
    }
    for name in ("duration_seconds", "requests_per_second"):
        assert isinstance(fetched[name], float)
        assert fetched[name] > 0
    enriched = made["ic3_asset_enrichment"]
    assert enriched["assets_synced"] == enriched["rows_written"] == 30
    assert (enriched["assets_unchanged"], enriched["assets_failed"]) == (0, 0)
    for asset in ENRICH_ASSETS:
        assert isinstance(made[asset]["rows_written"], int), asset
        assert made[asset]["dagster/partition_row_count"] > 0, asset
    assert made["ic3_workorder_summary"]["dagster/partition_row_count"] == 60
    assert made["cmms_sync_log"] == {
        "total": 30,
        "assets_synced": 30,
        "unchanged": 0,
        "failed": 0,
        "skipped": 0,
        "second_pass_requests": 0,
        "status": "complete",
    }
    assert batch_rows(dagster.pipeline) == [("complete", 30, 30, 0, 0)]


def test_a_batch_says_one_sentence_not_a_line_per_asset(dagster: Dagster) -> None:
    run = dagster.sync()

    assert dagster.messages(run, level=logging.INFO) == [
        "batch_000001 complete: 30 synced, 0 of them unchanged, 0 failed, 0 not asked for, of 30"
    ]


def test_a_second_run_of_a_synced_batch_asks_for_nothing_and_is_green(dagster: Dagster) -> None:
    assert dagster.sync().success
    dagster.pipeline.simulator.record.clear()

    run = dagster.sync()

    assert run.success
    assert len(dagster.pipeline.simulator.record) == 0
    assert materializations(run)["cmms_sync_log"]["skipped"] == 30


@pytest.mark.parametrize("fault", [Status(404), Status(422), OtherSerial()])
def test_an_asset_that_no_retry_can_help_does_not_fail_the_partition(
    dagster: Dagster, fault: Status | OtherSerial
) -> None:
    serial = dagster.pipeline.serials[4]
    dagster.pipeline.simulator.faults.always(serial, fault)

    run = dagster.sync()

    assert run.success
    assert dagster.partition_status("cmms_sync_log") == "MATERIALIZED"
    assert materializations(run)["cmms_sync_log"]["failed"] == 1
    assert dagster.pipeline.simulator.record.count(serial) == 1
    assert batch_rows(dagster.pipeline) == [("partial", 30, 29, 1, 0)]


def test_an_asset_that_keeps_failing_fails_the_partition_and_is_named(dagster: Dagster) -> None:
    serial = dagster.pipeline.serials[7]
    dagster.pipeline.simulator.faults.always(serial, Status(503))

    run = dagster.sync()

    assert not run.success
    step, message, metadata = failure_of(run)
    assert step == "cmms_sync_log"
    assert f"{serial}: transient: Innomaint failed (HTTP 503)" in message
    assert "batch_000001 still lacks 1 assets" in message
    assert "What to do:\n  transient: " in message
    assert "Re-execute from failure" in message
    assert metadata["remaining"] == 1
    assert metadata["by_class"] == {"transient": 1}
    (row,) = metadata["assets"].records
    assert row.data == {
        "cmms_asset_id": serial,
        "class": "transient",
        "message": "Innomaint failed (HTTP 503)",
    }
    assert batch_rows(dagster.pipeline) == [("partial", 30, 29, 1, 0)]


def test_a_failing_asset_gets_two_passes_of_attempts_and_no_retry_of_the_step(dagster: Dagster) -> None:
    serial = dagster.pipeline.serials[7]
    dagster.pipeline.simulator.faults.always(serial, Status(503))

    run = dagster.sync()

    assert dagster.pipeline.simulator.record.count(serial) == 2 * 3
    assert steps_started(run) == ["innomaint_response", "enrich", "cmms_sync_log"]
    assert not [event for event in run.all_events if event.event_type_value == "STEP_UP_FOR_RETRY"]


def test_only_settle_is_red_when_an_asset_fails_the_tables_of_the_others_are_done(dagster: Dagster) -> None:
    dagster.pipeline.simulator.faults.always(dagster.pipeline.serials[7], Status(503))

    run = dagster.sync()

    green = ("innomaint_response", *ENRICH_ASSETS)
    assert set(materializations(run)) == set(green)
    assert {asset: dagster.partition_status(asset) for asset in BATCH_ASSETS} == {
        **dict.fromkeys(green, "MATERIALIZED"),
        "cmms_sync_log": "FAILED",
    }
    assert dagster.pipeline.one("select count(*) as n from ic3_asset_performance")["n"] == 29


def test_a_long_list_of_failed_assets_is_cut_in_the_message_and_whole_in_the_metadata(
    dagster: Dagster,
) -> None:
    failing = dagster.pipeline.serials[:26]
    dagster.pipeline.execute("update innomaint_sync_state set next_due_at = now() + interval '1 hour'")
    dagster.pipeline.execute(
        "update innomaint_sync_state s set state = 'failed', error_class = 'internal', error_message = 'x'"
        " from ic3_asset_master m where m.asset_id = s.asset_id and m.cmms_asset_id = any(:failing)",
        failing=list(failing),
    )

    run = dagster.sync(settle={"cmms_asset_ids": [dagster.pipeline.serials[29]]})

    _, message, metadata = failure_of(run)
    assert "still lacks 26 assets" in message
    assert message.count(": internal: x") == 25
    assert "\n  and 1 more\n26 of them were not asked for in this run." in message
    assert len(metadata["assets"].records) == metadata["remaining"] == 26


def test_re_executing_from_failure_runs_only_settle_and_asks_only_for_what_is_missing(
    dagster: Dagster,
) -> None:
    serial = dagster.pipeline.serials[7]
    dagster.pipeline.simulator.faults.always(serial, Status(503))
    failed = dagster.sync()
    dagster.pipeline.simulator.faults.clear()
    dagster.pipeline.simulator.record.clear()

    healed = dagster.execute_again_from_failure(failed)

    assert healed.success
    assert steps_started(healed) == ["cmms_sync_log"]
    assert requested(dagster.pipeline) == [serial]
    assert dagster.partition_status("cmms_sync_log") == "MATERIALIZED"
    assert dagster.pipeline.states()[serial] == ("synced", None)
    assert dagster.pipeline.one("select count(*) as n from ic3_asset_performance")["n"] == 30
    assert batch_rows(dagster.pipeline)[1] == ("complete", 30, 1, 0, 29)


@pytest.mark.parametrize(
    "again", [lambda dagster: dagster.sync(), lambda dagster: dagster.materialize(*BATCH_ASSETS)]
)
def test_materializing_a_failed_partition_again_asks_only_for_what_is_missing(
    dagster: Dagster, again: Callable[[Dagster], object]
) -> None:
    serial = dagster.pipeline.serials[7]
    dagster.pipeline.simulator.faults.always(serial, Status(503))
    assert not dagster.sync().success
    dagster.pipeline.simulator.faults.clear()
    dagster.pipeline.simulator.record.clear()

    again(dagster)

    assert requested(dagster.pipeline) == [serial]
    assert dagster.partition_status("cmms_sync_log") == "MATERIALIZED"


def test_fields_that_no_document_names_are_reported_once(dagster: Dagster) -> None:
    pipeline = dagster.pipeline
    for serial in pipeline.serials:
        pipeline.simulator.world.change(serial, {"data": {"hydraulic_class": "H2"}})
    first = dagster.sync()
    pipeline.simulator.world.change(pipeline.serials[0], {"data": {"hydraulic_class": "H3"}})
    second = dagster.sync(config={"asked_before": datetime.now(UTC).isoformat()})

    mentioned = [
        text
        for run in (first, second)
        for text in dagster.messages(run, level=logging.WARNING)
        if "hydraulic_class" in text
    ]
    assert len(mentioned) == 1
    assert "kept in api_attributes" in mentioned[0]


def test_a_refused_token_fails_the_fetch_at_once_and_marks_no_asset(dagster: Dagster) -> None:
    dagster.pipeline.simulator.faults.always_everywhere(Status(401))

    run = dagster.sync()

    step, message, metadata = failure_of(run)
    assert step == "innomaint_response"
    assert "renew INNOMAINT_API_TOKEN" in message
    assert "renew INNOMAINT_API_TOKEN" in metadata["what_to_do"]
    assert steps_started(run) == ["innomaint_response"]
    assert not [event for event in run.all_events if event.event_type_value == "STEP_UP_FOR_RETRY"]
    assert set(dagster.pipeline.states().values()) == {("never", None)}
    assert batch_rows(dagster.pipeline) == [("failed", 30, 0, 0, 30)]
    with dagster.pipeline.database.begin() as connection:
        assert find_leases(connection, LEASES) == []


def test_a_missing_token_fails_the_fetch_and_names_the_variable(
    dagster: Dagster, environment: pytest.MonkeyPatch
) -> None:
    environment.delenv("INNOMAINT_API_TOKEN")

    run = dagster.sync()

    step, message, _ = failure_of(run)
    assert step == "innomaint_response"
    assert "INNOMAINT_API_TOKEN is not set" in message
    assert len(dagster.pipeline.simulator.record) == 0


def test_a_missing_database_address_says_how_dagster_is_started(
    dagster: Dagster, environment: pytest.MonkeyPatch
) -> None:
    environment.delenv("IC3_DATABASE_URL")

    run = dagster.sync()

    assert "ConfigurationError: IC3_DATABASE_URL is not set" in cause_of(run)
    assert "innomaint up" in cause_of(run)


def test_a_database_of_live_data_takes_nothing_from_a_simulator(dagster: Dagster) -> None:
    dagster.pipeline.execute(
        "insert into innomaint_setting (name, value) values ('innomaint/data_origin', '\"live\"')"
    )

    _, message, _ = failure_of(dagster.sync())

    assert "holds live data" in message
    assert "simulated source" in message
    assert len(dagster.pipeline.simulator.record) == 0


def test_a_run_of_a_leased_partition_is_green_asks_for_nothing_and_says_so(dagster: Dagster) -> None:
    with dagster.pipeline.database.begin() as connection:
        assert acquire_lease(connection, lease_name(FIRST_BATCH), "another run")

    run = dagster.sync()

    assert run.success
    assert materializations(run) == {}
    assert len(dagster.pipeline.simulator.record) == 0
    note, *skipped = dagster.messages(run, level=logging.INFO)
    assert note == "Another run works on this batch: nothing was asked for, nothing was written."
    assert [text.split(" due to ")[0] for text in skipped] == [
        "Skipping step enrich",
        "Skipping step cmms_sync_log",
    ]
    assert batch_rows(dagster.pipeline) == []
    with dagster.pipeline.database.begin() as connection:
        assert [lease.owner for lease in find_leases(connection, LEASES)] == ["another run"]


@pytest.mark.parametrize("asset", [*ENRICH_ASSETS, "cmms_sync_log"])
def test_a_leased_partition_stays_as_it_is_whatever_asset_is_selected(dagster: Dagster, asset: str) -> None:
    with dagster.pipeline.database.begin() as connection:
        assert acquire_lease(connection, lease_name(FIRST_BATCH), "another run")

    run = dagster.materialize(asset)

    assert run.success
    assert materializations(run) == {}


def test_the_lease_is_given_back_at_the_end_of_a_run(dagster: Dagster) -> None:
    dagster.pipeline.simulator.faults.always(dagster.pipeline.serials[7], Status(503))

    dagster.sync()

    with dagster.pipeline.database.begin() as connection:
        assert find_leases(connection, LEASES) == []


@pytest.mark.parametrize(
    ("asset", "table", "count"),
    [
        ("ic3_building", "ic3_building", None),
        ("ic3_floor_master", "ic3_floor_master", None),
        ("ic3_department_master", "ic3_department_master", None),
        ("ic3_asset_performance", "ic3_asset_performance", 30),
        ("ic3_workorder_summary", "ic3_workorder_summary", 60),
    ],
)
def test_a_table_selected_alone_is_rebuilt_from_stored_answers_without_a_request(
    dagster: Dagster, asset: str, table: str, count: int | None
) -> None:
    assert dagster.sync().success
    before = _contents(dagster.pipeline, table)
    assert len(before) == (count or len(before)) > 0
    dagster.pipeline.execute(f"delete from {table}")
    dagster.pipeline.simulator.record.clear()

    run = dagster.materialize(asset)

    assert run.success
    assert set(materializations(run)) == {asset}
    assert materializations(run)[asset]["rows_written"] == len(before)
    assert _contents(dagster.pipeline, table) == before
    assert len(dagster.pipeline.simulator.record) == 0


def test_the_columns_of_the_master_are_rebuilt_from_stored_answers_without_a_request(
    dagster: Dagster,
) -> None:
    assert dagster.sync().success
    before = _contents(dagster.pipeline, "ic3_asset_master")
    dagster.pipeline.execute("update ic3_asset_master set building_id = null, api_attributes = null")
    dagster.pipeline.simulator.record.clear()

    assert dagster.materialize("ic3_asset_enrichment").success

    assert _contents(dagster.pipeline, "ic3_asset_master") == before
    assert len(dagster.pipeline.simulator.record) == 0


def test_rebuilding_needs_no_token(dagster: Dagster, environment: pytest.MonkeyPatch) -> None:
    assert dagster.sync().success
    environment.delenv("INNOMAINT_API_TOKEN")

    assert dagster.materialize(*ENRICH_ASSETS).success


def test_one_table_selected_together_with_the_fetch_holds_the_new_answers(dagster: Dagster) -> None:
    run = dagster.materialize("innomaint_response", "ic3_asset_performance")

    assert run.success
    assert materializations(run)["ic3_asset_performance"]["rows_written"] == 30
    assert len(_contents(dagster.pipeline, "ic3_asset_performance")) == 30


def test_the_fetch_selected_alone_stores_answers_that_the_next_run_enriches_without_asking(
    dagster: Dagster,
) -> None:
    assert dagster.materialize("innomaint_response").success
    assert dagster.pipeline.one("select count(*) as n from innomaint_response")["n"] == 30
    assert set(dagster.pipeline.states().values()) == {("never", None)}
    dagster.pipeline.simulator.record.clear()

    assert dagster.sync().success

    assert len(dagster.pipeline.simulator.record) == 0
    assert set(dagster.pipeline.states().values()) == {("synced", None)}


def test_a_selection_asks_for_the_named_assets_only(dagster: Dagster) -> None:
    wanted = [dagster.pipeline.serials[3], dagster.pipeline.serials[11]]

    run = dagster.sync(config={"cmms_asset_ids": wanted})

    assert Counter(requested(dagster.pipeline)) == Counter(wanted)
    assert materializations(run)["cmms_sync_log"]["total"] == 2


def test_asked_before_asks_for_assets_that_are_not_due(dagster: Dagster) -> None:
    assert dagster.sync().success
    dagster.pipeline.simulator.record.clear()

    assert dagster.sync(config={"asked_before": datetime.now(UTC).isoformat()}).success

    assert len(dagster.pipeline.simulator.record) == 30


def test_a_time_without_an_offset_is_refused_with_an_example(dagster: Dagster) -> None:
    run = dagster.sync(config={"asked_before": "2026-06-20T12:00"})

    assert "expected a time with offset, like 2026-06-20T12:00+05:30" in cause_of(run)
    assert len(dagster.pipeline.simulator.record) == 0


def test_the_stored_refresh_interval_decides_when_an_asset_is_due_again(dagster: Dagster) -> None:
    dagster.pipeline.execute(
        "insert into innomaint_setting (name, value) values ('innomaint/refresh_minutes', '5')"
    )

    assert dagster.sync().success

    minutes = dagster.pipeline.rows(
        "select distinct extract(epoch from next_due_at - last_success_at) / 60 as n"
        " from innomaint_sync_state"
    )
    assert [int(row["n"]) for row in minutes] == [5]


def test_the_token_stands_in_no_event_of_good_and_bad_runs(dagster: Dagster) -> None:
    pipeline = dagster.pipeline
    pipeline.simulator.world.change(pipeline.serials[2], {"data": {"asset_created_date": CANARY_TOKEN[:12]}})
    pipeline.simulator.faults.next(pipeline.serials[1], Status(500))
    pipeline.simulator.faults.always(pipeline.serials[3], Status(503))
    dagster.sync()
    pipeline.simulator.faults.always_everywhere(Status(403))
    dagster.sync(config={"asked_before": datetime.now(UTC).isoformat()})

    entries = [
        entry for run in dagster.instance.get_runs() for entry in dagster.instance.all_logs(run.run_id)
    ]

    assert len(entries) > 30
    assert not [entry for entry in entries if CANARY_TOKEN in entry.to_json()]


def _contents(pipeline: Pipeline, table: str) -> list[dict[str, object]]:
    """Return a table's rows without the times at which they were written."""
    times = {"created_at", "updated_at", "recorded_at"}
    rows = pipeline.rows(f"select * from {table}")
    kept = [{name: value for name, value in row.items() if name not in times} for row in rows]
    return sorted(kept, key=str)


def test_a_run_for_an_id_that_is_not_of_the_batch_fails_with_its_name_and_leaves_no_row(
    dagster: Dagster,
) -> None:
    run = dagster.sync(config={"cmms_asset_ids": ["no such id"]})

    step, message, _ = failure_of(run)
    assert step == "innomaint_response"
    assert "'no such id' is unknown" in message
    assert dagster.pipeline.rows("select * from cmms_sync_log") == []
    assert requested(dagster.pipeline) == []
