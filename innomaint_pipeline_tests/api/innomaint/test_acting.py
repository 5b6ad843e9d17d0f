"""What is asked of the service: waiting for the result, 202, one asset, settings."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Self

import pytest

from innomaint_pipeline.cli.innomaint.single import sync_named
from innomaint_pipeline.domain.innomaint.selection import SYNC_REQUESTS, is_due_only
from innomaint_pipeline.domain.requests import RequestState
from innomaint_pipeline.settings import Settings
from innomaint_pipeline.simulator.innomaint.faults import Hang, Status
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.innomaint.asset_details import Outcome
from innomaint_pipeline.store.innomaint.batches import lock_imports
from innomaint_pipeline.store.innomaint.selection import conclude_request
from innomaint_pipeline.store.requests import OpenRequest, close_request, find_open, note_look, save_progress
from innomaint_pipeline.sync.innomaint.batch import Selection
from innomaint_pipeline_tests.api.conftest import Client, asset_path, serving
from innomaint_pipeline_tests.conftest import FIRST_BATCH, Pipeline

SYNC = "/api/admin/cmms/sync"
ASYNC = {"Prefer": "respond-async"}


class Daemon:
    """Does with open requests what Dagster does, without Dagster: a run for each batch, then the end."""

    def __init__(
        self, pipeline: Pipeline, *, message: str | None = None, stop_code: int | None = None
    ) -> None:
        self._pipeline = pipeline
        self._end = (message, stop_code)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Self:
        with self._pipeline.database.begin() as connection:
            note_look(connection, SYNC_REQUESTS)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._ended.wait(0.01):
            with self._pipeline.database.begin() as connection:
                requests = find_open(connection, SYNC_REQUESTS)
            for request in requests:
                self._carry_out(request)

    def _carry_out(self, request: OpenRequest) -> None:
        message, request.stop_code = self._end
        for batch in request.parts:
            run_id = f"request-{request.id}-{batch.part}"
            if message is None:
                asked_before = None if is_due_only(request.options) else request.requested_at
                selection = Selection(batch.items, asked_before)
                run = self._pipeline.run(run_id, batch_key=batch.part, selection=selection)
                self._pipeline.sync(run)
            batch.state, batch.run_ids = RequestState.DONE, (run_id,)
        with self._pipeline.database.begin() as connection:
            state = RequestState.RUNNING
            save_progress(
                connection,
                request.id,
                request.parts,
                state=state,
                message=None,
                stop_code=request.stop_code,
            )
            outcome = conclude_request(connection, request)
            close_request(connection, request, message=message, outcome=outcome)


@contextmanager
def answered(pipeline: Pipeline, **end: Any) -> Iterator[Client]:
    """A program in front of a service whose requests are carried out."""
    account = pipeline.simulator.url
    with (
        serving(pipeline.database, account=account, patience_seconds=60.0) as client,
        Daemon(pipeline, **end),
    ):
        yield client


def headers(client: Client, **more: str) -> dict[str, str]:
    return {**client.headers, **more}


def test_a_long_import_holds_up_no_request(pipeline: Pipeline) -> None:
    with (
        pipeline.database.begin() as importing,
        serving(pipeline.database, account=pipeline.simulator.url) as client,
    ):
        lock_imports(importing)
        answer = client.post(SYNC, headers=headers(client, Prefer="respond-async"))

    assert answer.status == 202


def test_a_slice_is_waited_for_and_answers_with_the_json_of_sync(pipeline: Pipeline) -> None:
    with answered(pipeline) as client:
        answer = client.post(f"{SYNC}?batch=4&offset=4")

    assert answer.status == 200
    assert list(answer.json) == [
        "total",
        "success",
        "failed",
        "skipped",
        "unchanged",
        "errors",
        "duration_ms",
    ]
    assert (answer.json["total"], answer.json["success"], answer.json["skipped"]) == (4, 4, 0)
    asked = {start.serial for start in pipeline.simulator.record.starts}
    assert asked == set(pipeline.serials[4:8])


def test_failures_and_one_batch_are_retried(pipeline: Pipeline) -> None:
    pipeline.simulator.faults.always(pipeline.serials[2], Status(503))
    pipeline.simulator.faults.always(pipeline.serials[8], Status(503))
    with answered(pipeline) as client:
        first = client.post(f"{SYNC}?batch=12").json
        assert (first["success"], first["failed"]) == (10, 2)
        assert first["errors"][0].startswith(f"{pipeline.serials[2]}: transient: ")
        pipeline.simulator.faults.clear()
        batch = client.post(f"{SYNC}/batches/{FIRST_BATCH}").json
        rest = client.post(f"{SYNC}/retry-failed").json
        nothing = client.post(f"{SYNC}/retry-failed").json

    assert [(one["total"], one["success"]) for one in (batch, rest, nothing)] == [(1, 1), (1, 1), (0, 0)]


def test_one_asset_is_synced_now_whatever_its_id_holds(pipeline: Pipeline) -> None:
    good, unknown, broken = pipeline.serials[:3]
    odd = "Plant 1/Pump, large"
    pipeline.import_serials([*pipeline.serials, odd])
    pipeline.simulator.faults.always(unknown, Status(404))
    pipeline.simulator.faults.always(broken, Status(503))
    with serving(pipeline.database, account=pipeline.simulator.url) as client:
        answers = [
            client.post(f"{SYNC}/{asset_path(name)}") for name in (good, unknown, broken, odd, "nobody")
        ]
        slashed = client.post(f"{SYNC}/Plant%201/Pump,%20large")

    assert [answer.status for answer in answers] == [200, 404, 502, 404, 404]
    stored = pipeline.one(
        "select traceability_id from ic3_asset_master where cmms_asset_id = :name", name=good
    )
    assert answers[0].json == {"status": "synced", "cmms_asset_id": good, **stored}
    assert "not_found" in answers[1].error
    assert "transient" in answers[2].error
    assert odd in answers[3].error
    assert "not in the asset master" in answers[4].error
    assert (slashed.status, odd in slashed.error) == (404, True)


@pytest.mark.parametrize(("stop_code", "status"), [(3, 502), (4, 503), (None, 502)])
def test_what_stopped_the_work_is_the_answer(pipeline: Pipeline, stop_code: int | None, status: int) -> None:
    with answered(pipeline, message="Innomaint refuses the token", stop_code=stop_code) as client:
        answer = client.post(SYNC)

    assert answer.status == status
    assert answer.error.startswith("Innomaint refuses the token (the whole result: /api/admin/cmms/")


def test_what_stops_the_sync_of_one_asset_is_the_answer_and_marks_it_not(
    client: Client, pipeline: Pipeline
) -> None:
    pipeline.simulator.faults.always_everywhere(Status(401))

    answer = client.post(f"{SYNC}/{asset_path(pipeline.serials[0])}")

    assert answer.status == 502
    assert "renew INNOMAINT_API_TOKEN" in answer.error
    assert pipeline.states()[pipeline.serials[0]] == ("never", None)


def test_one_asset_asked_for_during_an_outage_is_told_when_it_is_tried_again(
    client: Client, pipeline: Pipeline
) -> None:
    pipeline.simulator.faults.always_everywhere(Status(503))
    *ten, last = pipeline.serials[:11]
    assert {client.post(f"{SYNC}/{asset_path(serial)}").status for serial in ten} == {502}
    before, requests = pipeline.states(), len(pipeline.simulator.record)

    answer = client.post(f"{SYNC}/{asset_path(last)}")

    assert answer.status == 503
    assert re.search(r"was not asked for: .*next one may be sent at \d\d:\d\d:\d\d UTC", answer.error)
    assert 1 <= int(answer.headers["retry-after"]) <= 30
    assert (pipeline.states(), len(pipeline.simulator.record)) == (before, requests)


def test_without_a_token_or_a_database_one_asset_is_refused_in_words(pipeline: Pipeline) -> None:
    path = f"{SYNC}/{asset_path(pipeline.serials[0])}"
    without_token = Settings(innomaint_api_url=pipeline.simulator.url, innomaint_api_token=None)

    def sync_without_token(name: str, is_stopping: Callable[[], bool]) -> Outcome:
        return sync_named(without_token, pipeline.database, [name], is_stopping).only_outcome()

    with serving(pipeline.database, sync_now=sync_without_token) as client:
        answer = client.post(path)
    assert answer.status == 502
    assert "INNOMAINT_API_TOKEN" in answer.error
    with serving(Database("postgresql://nobody@127.0.0.1:1/nowhere")) as client:
        answer = client.post(path)
    assert answer.status == 503
    assert "database" in answer.error
    assert pipeline.states()[pipeline.serials[0]] == ("never", None)


def test_the_end_of_the_service_ends_the_sync_of_one_asset(pipeline: Pipeline) -> None:
    hanging = pipeline.serials[0]
    pipeline.simulator.faults.always(hanging, Hang())
    with ThreadPoolExecutor(1) as pool:
        with serving(pipeline.database, account=pipeline.simulator.url) as client:
            asked = pool.submit(client.post, f"{SYNC}/{asset_path(hanging)}")
            until = time.monotonic() + 30
            while hanging not in pipeline.simulator.record.count_by_serial():
                assert time.monotonic() < until
                time.sleep(0.005)
        answer = asked.result()

    assert answer.status == 503
    assert "the program ends" in answer.error
    assert pipeline.states()[hanging] == ("never", None)


def test_one_asset_is_synced_now_while_a_run_holds_its_batch(client: Client, pipeline: Pipeline) -> None:
    name = pipeline.serials[1]
    run = pipeline.run("run-1")
    pipeline.fetch(run)

    answer = client.post(f"{SYNC}/{asset_path(name)}")

    assert answer.status == 200
    assert pipeline.states()[name] == ("synced", None)
    pipeline.enrich(run)
    report = pipeline.settle(run)
    assert (report.status, report.remaining) == ("complete", ())
    logged = pipeline.rows(
        "select run_id, status from ic3_sync_log where serialnumber = :name and sync_type = 'api_sync'",
        name=name,
    )
    assert {row["status"] for row in logged} == {"success"}
    assert any(row["run_id"].startswith("single-") for row in logged)
    shown = client.get(f"/api/sync/assets/{asset_path(name)}").json["attempts"]
    assert [one["run_url"] for one in shown if one["run_id"].startswith("single-")] == [None]


def test_one_asset_that_fails_now_leaves_the_failures_of_a_batch_under_way_alone(
    client: Client, pipeline: Pipeline
) -> None:
    ailing, asked = pipeline.serials[:2]
    pipeline.simulator.faults.always(ailing, Status(503)).always(asked, Status(503))
    run = pipeline.run("run-1")
    pipeline.fetch(run)

    assert client.post(f"{SYNC}/{asset_path(asked)}").status == 502

    def logged() -> list[str]:
        return [
            row["serialnumber"]
            for row in pipeline.rows(
                "select serialnumber from ic3_sync_log where sync_type = 'api_sync' and status = 'error'"
            )
        ]

    assert logged() == [asked], "the second pass of the run decides about the other"
    pipeline.enrich(run)
    pipeline.settle(run)
    assert sorted(logged()) == sorted([asked, asked, ailing])


def test_one_asset_now_leaves_no_lease_and_no_request(client: Client, pipeline: Pipeline) -> None:
    assert client.post(f"{SYNC}/{asset_path(pipeline.serials[0])}").status == 200

    assert pipeline.rows("select * from innomaint_lease") == []
    assert pipeline.rows("select * from innomaint_request") == []
    assert pipeline.rows("select * from innomaint_response where is_pending") == []


def test_a_caller_that_does_not_wait_finds_the_result_under_its_address(pipeline: Pipeline) -> None:
    with serving(pipeline.database, patience_seconds=60.0) as client:
        accepted = client.post(f"{SYNC}?batch=2", headers=headers(client, **ASYNC))
        again = client.post(f"{SYNC}?batch=2&offset=0", headers=headers(client, **ASYNC))
        address = accepted.json["address"]
        opened = client.get(address).json
        with Daemon(pipeline):
            deadline = time.monotonic() + 60
            while (closed := client.get(address).json)["finished_at"] is None:
                assert time.monotonic() < deadline
                time.sleep(0.01)
        recent = client.get("/api/sync/overview").json["requests"]

    assert accepted.status == again.status == 202
    assert list(accepted.json) == ["request_id", "address", "state", "message"]
    assert accepted.headers["location"] == address
    assert again.json["request_id"] == accepted.json["request_id"], "the same one is in flight"
    assert (opened["state"], opened["result"], opened["asked_by"]) == (
        "waiting",
        None,
        "admin service 127.0.0.1",
    )
    assert (closed["state"], closed["result"]["success"]) == ("done", 2)
    assert closed["runs"][0]["run_url"].startswith("http://127.0.0.1:3000/runs/")
    assert [(one["address"], one["state"], one["success"]) for one in recent] == [(address, "done", 2)]


def test_without_a_daemon_the_answer_comes_early_and_says_so(client: Client) -> None:
    answer = client.post(SYNC)

    assert answer.status == 202
    assert "nobody works on it" in answer.json["message"]
    assert "innomaint up" in answer.json["message"]


def test_a_service_that_stops_answers_those_who_wait(pipeline: Pipeline) -> None:
    with ThreadPoolExecutor(1) as pool:
        with serving(pipeline.database, patience_seconds=600.0) as client:
            waiting = pool.submit(client.post, SYNC)
            deadline = time.monotonic() + 60
            while not pipeline.rows("select 1 from innomaint_request"):
                assert time.monotonic() < deadline
                time.sleep(0.01)
        assert waiting.result().status == 202


def test_the_same_request_from_many_at_once_is_one(client: Client, pipeline: Pipeline) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.post(SYNC), range(16)))

    assert len({answer.json["request_id"] for answer in answers}) == 1
    assert len(pipeline.rows("select 1 from innomaint_request")) == 1


def test_the_refresh_interval_changes_at_once_for_all(client: Client, pipeline: Pipeline) -> None:
    pipeline.sync(pipeline.run("run-1"))

    answer = client.post("/api/admin/sync/frequency", intervalMinutes=60)

    assert (answer.status, answer.json["intervalMinutes"], answer.json["source"]) == (200, 60, "innomaint")
    assert client.get(f"{SYNC}/status").json["refresh_minutes"] == 60
    state = pipeline.state(pipeline.serials[0])
    assert (state["next_due_at"] - state["last_success_at"]).total_seconds() == 3600


@pytest.mark.parametrize("value", [4, 1441, 60.5, 60.0, "60", None, True, [60], {}, 10**30])
def test_another_interval_is_refused(client: Client, value: object) -> None:
    answer = client.post("/api/admin/sync/frequency", intervalMinutes=value)

    assert answer.status == 400
    assert "intervalMinutes" in answer.error


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"{}", b'{"intervalMinutes": 60, "x": 1}', b"\xff"]
)
def test_a_body_that_is_no_such_object_is_refused(client: Client, body: bytes) -> None:
    sent = headers(client, **{"Content-Type": "application/json"})
    assert client.post("/api/admin/sync/frequency", body=body, headers=sent).status == 400


def test_pause_keeps_the_time_at_which_it_began_and_resume_ends_it(client: Client) -> None:
    assert client.post("/api/admin/cmms/pause").json == {"is_paused": True}
    first = client.get("/api/sync/overview").json
    client.post("/api/admin/cmms/pause")
    again = client.get("/api/sync/overview").json
    assert client.post("/api/admin/cmms/resume").json == {"is_paused": False}

    assert (first["is_paused"], first["health"]["word"]) == (True, "paused")
    assert first["health"]["since"] == again["health"]["since"] is not None
    assert client.get("/api/sync/overview").json["is_paused"] is False


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{SYNC}?batch=0", 400),
        (f"{SYNC}?batch=10001", 400),
        (f"{SYNC}?batch=ten", 400),
        (f"{SYNC}?offset=-1", 400),
        (f"{SYNC}?offset=99999999999999999999", 400),
        (f"{SYNC}?retry_failed=perhaps", 400),
        (f"{SYNC}?limit=3", 400),
        (f"{SYNC}/retry-failed?batch=3", 400),
        (f"{SYNC}/batches/batch_000009", 404),
        (f"{SYNC}/", 404),
        (f"{SYNC}/%00", 404),
        (f"{SYNC}/{'x' * 501}", 400),
    ],
)
def test_bad_input_starts_nothing(client: Client, pipeline: Pipeline, path: str, status: int) -> None:
    answer = client.post(path)

    assert (answer.status, len(answer.error) > 10) == (status, True)
    assert pipeline.rows("select 1 from innomaint_request") == []
