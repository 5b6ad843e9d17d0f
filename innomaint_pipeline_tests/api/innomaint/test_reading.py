"""What the service tells: every address that reads, with good and bad input."""

from datetime import datetime
from typing import Any

import psycopg
import pytest
from sqlalchemy import event

from innomaint_pipeline.api.innomaint import models
from innomaint_pipeline.api.innomaint.words import WordsAnswer
from innomaint_pipeline.api.models import Answer
from innomaint_pipeline.domain.innomaint.batches import BatchState, lease_name
from innomaint_pipeline.domain.innomaint.launches import LaunchesToCome
from innomaint_pipeline.domain.states import (
    CLASS_WORDS,
    RETRYABLE_CLASSES,
    WHAT_TO_DO,
    ErrorClass,
    SyncState,
)
from innomaint_pipeline.domain.words import STATE_WORDS
from innomaint_pipeline.simulator.innomaint.faults import Status
from innomaint_pipeline.store.innomaint.progress import note_round
from innomaint_pipeline.store.leases import acquire_lease, report_progress
from innomaint_pipeline_tests.api.conftest import Client, asset_path, serving
from innomaint_pipeline_tests.conftest import FIRST_BATCH, Pipeline

SECOND = "batch_000002"
ADDRESSES: dict[str, type[Answer]] = {
    "/api/admin/cmms/sync/status": models.StatusAnswer,
    "/api/sync/metrics": models.MetricsAnswer,
    "/api/sync/overview": models.OverviewAnswer,
    "/api/sync/batches": models.BatchesAnswer,
    f"/api/sync/batches/{FIRST_BATCH}": models.BatchDetailAnswer,
    "/api/sync/failures": models.FailuresAnswer,
    "/api/sync/history": models.HistoryAnswer,
    "/api/sync/assets": models.AssetsAnswer,
    "/api/sync/words": WordsAnswer,
}


NAMED_BY_DATA = {
    "states",
    *("failed_by_class", "tables", "raw_answer", "batch_states", "asset_states", "error_classes"),
}


def same_shape(found: Any, example: Any, place: str = "") -> None:
    """Assert that objects have the fields of an example, as far as there is something in both."""
    if isinstance(example, dict) and isinstance(found, dict):
        if place.rpartition(".")[2] in NAMED_BY_DATA:
            return
        assert set(found) == set(example), place
        for name, value in example.items():
            same_shape(found[name], value, f"{place}.{name}")
    elif isinstance(example, list):
        assert isinstance(found, list), place
        for item in found:
            same_shape(item, example[0], f"{place}[]")


@pytest.fixture
def synced(pipeline: Pipeline) -> Pipeline:
    """The first batch is synced but for two failures, the second never was."""
    pipeline.simulator.faults.always(pipeline.serials[1], Status(404))
    pipeline.simulator.faults.always(pipeline.serials[2], Status(503))
    pipeline.sync(pipeline.run("run-1"))
    return pipeline


@pytest.mark.usefixtures("synced")
def test_every_address_answers_with_the_fields_of_its_example(client: Client) -> None:
    for path, model in ADDRESSES.items():
        answer = client.get(path)
        assert answer.status == 200, answer.body
        same_shape(answer.json, model.example(), path)


def test_the_words_of_the_page_are_those_of_the_code(client: Client) -> None:
    found = client.get("/api/sync/words").json

    assert set(found["batch_states"]) == set(BatchState)
    assert all(words["meaning"] for words in found["batch_states"].values())
    assert {name: words["word"] for name, words in found["asset_states"].items()} == {
        state: STATE_WORDS[state].word for state in SyncState
    }
    assert found["states"] == {name: vars(word) for name, word in STATE_WORDS.items()}
    assert {name: tuple(words.values()) for name, words in found["error_classes"].items()} == {
        name: (CLASS_WORDS[name], WHAT_TO_DO[name], name in RETRYABLE_CLASSES) for name in ErrorClass
    }


def test_an_overview_tells_of_one_moment_from_its_first_number_to_its_last(
    client: Client, synced: Pipeline, database_url: str
) -> None:
    seen = []
    with psycopg.connect(database_url, autocommit=True) as other:

        def lose_everything(*arguments: Any) -> None:
            if not seen and "innomaint_batch_count" in arguments[2]:
                seen.append(arguments[2])
                other.execute("delete from cmms_sync_log")
                other.execute("delete from ic3_sync_log")

        event.listen(synced.database.engine, "after_cursor_execute", lose_everything)
        overview = client.get("/api/sync/overview").json
        event.remove(synced.database.engine, "after_cursor_execute", lose_everything)

    assert seen
    assert overview["status"]["total_syncs"] == len(overview["status"]["last_batch"]) == 1
    assert overview["tables"]["cmms_sync_log"] == 1
    assert overview["tables"]["ic3_sync_log"] == 12 + 6
    assert client.get("/api/sync/overview").json["tables"]["ic3_sync_log"] == 0


def test_the_addresses_of_an_empty_database_answer_too(empty_pipeline: Pipeline) -> None:
    with serving(empty_pipeline.database) as client:
        for path in ADDRESSES:
            assert client.get(path).status == (404 if path.endswith(FIRST_BATCH) else 200), path
        overview = client.get("/api/sync/overview").json
    assert overview["health"]["word"] == "unknown"
    assert overview["running"] is overview["eta"] is None


def test_the_numbers_are_those_of_the_status(client: Client, synced: Pipeline) -> None:
    status = client.get("/api/admin/cmms/sync/status").json
    overview = client.get("/api/sync/overview").json
    batches = client.get("/api/sync/batches").json["batches"]

    counts = [status[name] for name in ("synced_assets", "failed_assets", "never_synced", "total_assets")]
    assert counts == [4, 2, 6, 12]
    assert overview["status"] == status
    state = synced.one(
        "select max(last_success_at)::text as seen, max(last_changed_at)::text as changed"
        " from innomaint_sync_state"
    )
    moments = [datetime.fromisoformat(overview[name]) for name in ("last_answer_at", "last_change_at")]
    assert moments == [datetime.fromisoformat(state[name]) for name in ("seen", "changed")]
    assert overview["tables"]["ic3_asset_master"] == 12
    assert overview["tables"]["ic3_sync_log"] == 12 + 6  # each import and each sync
    assert [[one[name] for name in ("synced", "failed", "never", "total")] for one in batches] == [
        [4, 2, 0, 6],
        [0, 0, 6, 6],
    ]
    assert [(one["batch_key"], one["state"]) for one in batches] == [
        (FIRST_BATCH, "partial"),
        (SECOND, "never"),
    ]
    assert batches[0]["last_run"]["run_url"] == "http://127.0.0.1:3000/runs/run-1"
    metrics = client.get("/api/sync/metrics").json
    assert (metrics["lastResult"], metrics["totalSyncs"]) == ("partial", 1)


def test_a_batch_under_way_is_running_and_shown_with_its_progress(client: Client, pipeline: Pipeline) -> None:
    with pipeline.database.begin() as connection:
        acquire_lease(connection, lease_name(SECOND), "run-2")
        report_progress(connection, lease_name(SECOND), "run-2", total=6, done=2)

    running = client.get("/api/sync/overview").json["running"]
    states = [one["state"] for one in client.get("/api/sync/batches").json["batches"]]

    assert (running["done"], running["total"]) == (2, 6)
    (batch,) = running["batches"]
    assert (batch["batch_key"], batch["done"], batch["total"]) == (SECOND, 2, 6)
    assert states == ["never", "running"]


@pytest.fixture
def in_round(pipeline: Pipeline) -> None:
    """Continuous sync has something to do."""
    with pipeline.database.begin() as connection:
        note_round(connection, LaunchesToCome(), looks_every_seconds=30)


@pytest.mark.usefixtures("in_round")
def test_between_two_batches_a_sync_is_still_running(client: Client, pipeline: Pipeline) -> None:
    pipeline.sync(pipeline.run("run-1"))

    overview = client.get("/api/sync/overview").json

    assert (overview["running"]["done"], overview["running"]["total"]) == (6, 12)
    assert overview["running"]["batches"] == []
    assert overview["eta"] is not None


@pytest.mark.usefixtures("in_round")
@pytest.mark.parametrize(
    "ended",
    [
        "update cmms_sync_log set status = 'failed'",
        "update cmms_sync_log set status = 'cancelled'",
        "update cmms_sync_log set synced_at = synced_at - interval '91 s'",
        "update innomaint_sync_state set next_due_at = now() + interval '1 hour'",
        "insert into innomaint_setting (name, value, updated_at) values ('innomaint/paused', 'true', now())",
    ],
)
def test_a_sync_that_does_not_go_on_is_not_running(client: Client, pipeline: Pipeline, ended: str) -> None:
    pipeline.sync(pipeline.run("run-1"))
    pipeline.execute(ended)

    assert client.get("/api/sync/overview").json["running"] is None


def test_an_answer_of_several_queries_tells_of_one_moment(
    client: Client, synced: Pipeline, database_url: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as other:

        def change_class(*arguments: Any) -> None:
            if "places_total" in arguments[2]:
                other.execute(
                    "update innomaint_sync_state set error_class = 'internal' where error_class = 'transient'"
                )

        event.listen(synced.database.engine, "after_cursor_execute", change_class)
        first = client.get("/api/sync/failures")
        event.remove(synced.database.engine, "after_cursor_execute", change_class)

    assert first.status == 200
    assert {group["error_class"] for group in first.json["groups"]} == {"not_found", "transient"}
    second = client.get("/api/sync/failures").json
    assert {group["error_class"] for group in second["groups"]} == {"not_found", "internal"}


def test_failures_stand_in_groups_that_say_what_to_do(client: Client, synced: Pipeline) -> None:
    groups = {group["error_class"]: group for group in client.get("/api/sync/failures").json["groups"]}

    assert set(groups) == {"not_found", "transient"}
    assert groups["not_found"]["title"] == "1 not found in Innomaint"
    assert groups["not_found"]["examples"] == [synced.serials[1]]
    assert not groups["not_found"]["is_retryable"]
    assert groups["transient"]["is_retryable"]
    assert groups["transient"]["messages"][0]["count"] == 1


def test_the_progress_ends_at_what_is_synced(client: Client, synced: Pipeline) -> None:
    del synced
    history = client.get("/api/sync/history?hours=1").json

    assert len(history["progress"]) == 60
    assert history["progress"][-1]["synced"] == 4
    assert history["progress"][0]["synced"] == 0
    assert history["total_assets"] == 12
    (run,) = history["runs"]
    assert (run["changed"], run["unchanged"], run["failed"]) == (4, 0, 2)


def test_assets_are_found_by_a_part_of_their_id_state_class_and_batch(
    client: Client, synced: Pipeline
) -> None:
    def total(query: str) -> int:
        return client.get(f"/api/sync/assets?{query}").json["total"]

    part = asset_path(synced.serials[3].swapcase())
    assert total(f"query={part}") == 1
    assert total("query=%25") == total("query=%5C") == 0
    assert total("state=synced") == 4
    assert total("error_class=transient") == 1
    assert total(f"batch={SECOND}&state=never") == 6
    page = client.get("/api/sync/assets?limit=2&offset=11").json
    assert page["total"] == 12
    assert [one["cmms_asset_id"] for one in page["assets"]] == [synced.serials[11]]


def test_an_asset_is_shown_with_its_values_attempts_and_raw_answer(client: Client, synced: Pipeline) -> None:
    good = client.get(f"/api/sync/assets/{asset_path(synced.serials[0])}").json
    bad = client.get(f"/api/sync/assets/{asset_path(synced.serials[1])}").json

    same_shape(good, models.AssetDetailAnswer.example(), "asset")
    assert good["raw_answer"]["response"]["data"]["serialnumber"] == synced.serials[0]
    assert good["state"] == "synced"
    groups = {value["group"] for value in good["values"]}
    assert {"asset master", "from Innomaint", "performance", "work orders, all time", "place"} <= groups
    (group,) = (
        found
        for found in client.get("/api/sync/failures").json["groups"]
        if found["error_class"] == "not_found"
    )
    assert bad["failed_since"] == group["failed_since"] is not None
    assert good["failed_since"] is None
    assert good["last_changed_at"] == good["last_success_at"]
    assert bad["error_class"] == "not_found"
    assert bad["what_to_do"].startswith("correct the asset id")
    assert bad["raw_answer"] is None
    assert [(one["sync_type"], one["status"]) for one in bad["attempts"]] == [
        ("api_sync", "error"),
        ("excel_import", "success"),
    ]


def test_numbers_of_an_answer_keep_every_digit(client: Client, synced: Pipeline) -> None:
    exact = '{"cost": 1234567890123456789.10, "id": 12345678901234567890}'
    synced.execute("update innomaint_response set body = cast(:body as jsonb)", body=exact)

    answer = client.get(f"/api/sync/assets/{asset_path(synced.serials[0])}")

    assert b"1234567890123456789.10" in answer.body
    assert b"12345678901234567890" in answer.body


def test_ids_may_hold_spaces_slashes_and_commas(client: Client, pipeline: Pipeline) -> None:
    name = "Plant 1/Pump, large//2"
    pipeline.import_serials([*pipeline.serials, name])

    for written in (asset_path(name), asset_path(f" {name} "), name.replace(" ", "%20")):
        found = client.get(f"/api/sync/assets/{written}")
        assert found.status == 200
        assert found.json["cmms_asset_id"] == name


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/sync/history?hours=0", 400),
        ("/api/sync/history?hours=2161", 400),
        ("/api/sync/history?hours=soon", 400),
        ("/api/sync/history?hours=1&hours=2", 400),
        ("/api/sync/history?hour=1", 400),
        ("/api/sync/overview?x", 400),
        ("/api/sync/assets?limit=501", 400),
        ("/api/sync/assets?offset=-1", 400),
        ("/api/sync/assets?state=lost", 400),
        ("/api/sync/assets?error_class=auth", 400),
        ("/api/sync/assets?query=%00", 400),
        ("/api/sync/assets?query=" + 201 * "x", 400),
        ("/api/sync/assets/nobody", 404),
        ("/api/sync/assets/%00", 404),
        ("/api/sync/batches/batch_000009", 404),
        ("/api/sync/batches/%00", 404),
        ("/api/admin/cmms/requests/1", 404),
        ("/api/admin/cmms/requests/0", 400),
        ("/api/admin/cmms/requests/99999999999999999999", 400),
        ("/api/admin/cmms/requests/first", 400),
        ("/api/nothing", 404),
        ("/sync/static/nothing.js", 404),
        ("/sync/static/..%2fapp.py", 404),
    ],
)
def test_bad_input_is_answered_with_what_is_wrong(
    client: Client, pipeline: Pipeline, path: str, status: int
) -> None:
    del pipeline
    answer = client.get(path)

    assert answer.status == status
    assert len(answer.error) > 10
