"""A few CMMS assets synced at once: beside a run of their batch, stopped, and after a kill."""

import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from innomaint_pipeline.errors import AuthError, RunCancelledError
from innomaint_pipeline.simulator.innomaint.faults import Hang, Status
from innomaint_pipeline.sources.outcomes import RequestPolicy
from innomaint_pipeline.store.innomaint.responses import NewAnswer, save_answers
from innomaint_pipeline.store.leases import acquire_lease
from innomaint_pipeline.sync.innomaint.single import SingleReport, sync_assets
from innomaint_pipeline_tests.conftest import FIRST_BATCH, KOLKATA, Pipeline, everything


def sync_at_once(pipeline: Pipeline, *serials: str) -> SingleReport:
    return sync_assets(
        pipeline.database, {FIRST_BATCH: serials}, pipeline.open_client, KOLKATA, refresh_minutes=1440
    )


def logged(pipeline: Pipeline, serial: str) -> list[str]:
    rows = pipeline.rows(
        "select status from ic3_sync_log where serialnumber = :serial and sync_type = 'api_sync' order by id",
        serial=serial,
    )
    return [row["status"] for row in rows]


def stored(pipeline: Pipeline) -> list[Any]:
    return pipeline.rows("select asset_id from innomaint_response")


def wait_until_blocked(pipeline: Pipeline) -> None:
    """Return when somebody waits for a row that another transaction holds."""
    until = time.monotonic() + 30
    while not pipeline.rows("select 1 from pg_locks where not granted"):
        assert time.monotonic() < until, "nobody waits for the locked answer"
        time.sleep(0.005)


def replaced_answer(pipeline: Pipeline, serial: str) -> NewAnswer:
    """Return a newer answer for a CMMS asset than the stored one, with another barcode."""
    row = pipeline.one(
        "select asset_id, jsonb_set(body, '{response,data,barcode}', '\"newer\"')::text as body"
        " from innomaint_response join ic3_asset_master using (asset_id) where cmms_asset_id = :serial",
        serial=serial,
    )
    return NewAnswer(row["asset_id"], row["body"], "hash of the newer", 1, 1)


def barcode(pipeline: Pipeline, serial: str) -> Any:
    return pipeline.one("select barcode from ic3_asset_master where cmms_asset_id = :serial", serial=serial)[
        "barcode"
    ]


def test_an_answer_that_a_newer_one_replaces_is_neither_applied_nor_taken_for_it(pipeline: Pipeline) -> None:
    serial, other = pipeline.serials[:2]
    run = pipeline.run("run-1")
    pipeline.fetch(run)
    newer = replaced_answer(pipeline, serial)
    enriching = threading.Thread(target=pipeline.enrich, args=(run,))
    with pipeline.database.begin() as connection:
        save_answers(connection, [newer], run_id="single-1")
        enriching.start()
        wait_until_blocked(pipeline)
    enriching.join()

    assert pipeline.states()[serial] == ("never", None)
    assert pipeline.states()[other] == ("synced", None)
    assert logged(pipeline, serial) == []
    pipeline.settle(run)
    assert barcode(pipeline, serial) == "newer"
    assert logged(pipeline, serial) == ["success"]


def test_a_rebuild_leaves_the_place_to_a_newer_answer(pipeline: Pipeline) -> None:
    serial = pipeline.serials[0]
    pipeline.resync("run-1")
    newer = replaced_answer(pipeline, serial)
    rebuilding = threading.Thread(
        target=pipeline.enrich,
        args=(pipeline.run("run-2"),),
        kwargs={"is_rebuild": True, "is_last_step": True},
    )
    pipeline.execute("update ic3_asset_master set barcode = 'by another sync'")
    with pipeline.database.begin() as connection:
        save_answers(connection, [newer], run_id="single-1")
        rebuilding.start()
        wait_until_blocked(pipeline)
    rebuilding.join()

    assert barcode(pipeline, serial) == "by another sync"
    assert barcode(pipeline, pipeline.serials[1]) != "by another sync"
    pipeline.enrich(pipeline.run("run-3"), is_last_step=True)
    assert barcode(pipeline, serial) == "newer"


def test_a_stop_tells_what_became_of_those_before_it_and_gives_the_lease_back(pipeline: Pipeline) -> None:
    known, missing, *refused = pipeline.serials[:4]
    pipeline.policy = RequestPolicy(max_in_flight=1)
    pipeline.simulator.faults.always(missing, Status(404))
    for serial in refused:
        pipeline.simulator.faults.always(serial, Status(401))

    report = sync_at_once(pipeline, known, missing, *refused)

    assert isinstance(report.stopped_by, AuthError)
    states = {name: outcome and outcome.state.value for name, outcome in report.outcomes.items()}
    assert states == {known: "synced", missing: "failed", **dict.fromkeys(refused)}
    assert [logged(pipeline, serial) for serial in report.outcomes] == [["success"], ["error"], [], []]
    assert pipeline.rows("select * from innomaint_lease") == []


def test_the_end_of_the_program_ends_it_and_keeps_what_was_stored(pipeline: Pipeline) -> None:
    answered, hanging = pipeline.serials[:2]
    pipeline.simulator.faults.always(hanging, Hang())
    seen = pipeline.simulator.record.count_by_serial
    report = sync_assets(
        pipeline.database,
        {FIRST_BATCH: [answered, hanging]},
        pipeline.open_client,
        KOLKATA,
        refresh_minutes=1440,
        is_cancelled=lambda: len(stored(pipeline)) == 1 and hanging in seen(),
    )

    assert isinstance(report.stopped_by, RunCancelledError)
    assert pipeline.states()[answered] == ("synced", None)
    assert report.outcomes[hanging] is None
    assert pipeline.states()[hanging] == ("never", None)
    assert pipeline.rows("select * from innomaint_lease") == []


@pytest.mark.parametrize("holder", [None, "run-1"])
def test_the_lease_of_a_batch_is_taken_where_it_is_free_and_left_where_it_is_not(
    pipeline: Pipeline, holder: str | None
) -> None:
    claim = pipeline.run(holder or "free").claim
    if holder:
        with pipeline.database.begin() as connection:
            assert acquire_lease(connection, claim.resource, holder)

    report = sync_at_once(pipeline, pipeline.serials[0])

    assert report.only_outcome().state == "synced"
    owners = [row["owner"] for row in pipeline.rows("select owner from innomaint_lease")]
    assert owners == ([holder] if holder else [])


def test_what_a_killed_sync_at_once_left_is_ended_by_whoever_comes_next(pipeline: Pipeline) -> None:
    answered, failed = pipeline.serials[:2]
    pipeline.simulator.faults.always(failed, Status(404))
    killed = pipeline.run("single-killed", selection=replace(everything(), cmms_asset_ids=(answered, failed)))
    # As far as a killed one comes: the answer and the failure are stored, neither is enriched nor logged.
    pipeline.fetch(killed)
    pipeline.execute("update innomaint_sync_state set is_logged = false where state = 'failed'")
    pipeline.execute("delete from ic3_sync_log where sync_type = 'api_sync'")
    pipeline.execute("update innomaint_lease set expires_at = now() - interval '1 second'")
    pipeline.simulator.record.clear()

    pipeline.sync(pipeline.run("next"))

    assert answered not in pipeline.simulator.record.count_by_serial()
    assert logged(pipeline, answered) == ["success"]
    assert logged(pipeline, failed) == ["error"]
