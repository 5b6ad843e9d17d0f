"""`innomaint enrich`: the tables once more, from stored answers, without a request."""

import os

import pytest

from innomaint_pipeline.domain.innomaint.batches import lease_name
from innomaint_pipeline.store.leases import acquire_lease
from innomaint_pipeline_tests.cli.conftest import Cli
from innomaint_pipeline_tests.conftest import FIRST_BATCH, Pipeline

SECOND_BATCH = "batch_000002"


@pytest.fixture
def synced(pipeline: Pipeline) -> Pipeline:
    """Both batches synced, and the requests of it forgotten."""
    for key in (FIRST_BATCH, SECOND_BATCH):
        pipeline.sync(pipeline.run(f"run-{key}", batch_key=key))
    pipeline.simulator.record.clear()
    return pipeline


def test_the_tables_are_rebuilt_without_a_request_or_a_token(connected: Cli, synced: Pipeline) -> None:
    del os.environ["INNOMAINT_API_TOKEN"]
    synced.execute("delete from ic3_asset_performance")
    synced.execute("delete from ic3_workorder_summary")

    ended = connected("enrich", "--json")

    assert ended.code == 0
    assert ended.json["ic3_asset_performance"] == 12
    assert ended.json["ic3_workorder_summary"] == 24
    assert (ended.json["failed"], ended.json["skipped_batches"]) == (0, 0)
    assert synced.one("select count(*) as n from ic3_asset_performance")["n"] == 12
    assert len(synced.simulator.record) == 0


def test_a_rebuild_of_sound_tables_writes_nothing(connected: Cli, synced: Pipeline) -> None:
    del synced
    assert set(connected("enrich", "--json").json.values()) == {0}


def test_one_batch_can_be_rebuilt_alone(connected: Cli, synced: Pipeline) -> None:
    synced.execute("delete from ic3_asset_performance")

    assert connected("enrich", "--partition", SECOND_BATCH, "--json").json["ic3_asset_performance"] == 6


@pytest.mark.parametrize("command", ["enrich", "sync"])
@pytest.mark.parametrize("name", ["batch_000009", "9", "batch_1"])
def test_an_unknown_partition_exits_with_2_and_the_form_of_a_name(
    connected: Cli, synced: Pipeline, command: str, name: str
) -> None:
    del synced
    ended = connected(command, "--partition", name)

    assert ended.code == 2
    said = " ".join(ended.err.split())
    assert f"there is no partition {name!r}: partitions are named like batch_000001" in said
    assert f"there are {FIRST_BATCH} to {SECOND_BATCH}" in said


def test_a_batch_that_a_sync_works_on_is_skipped_and_named(connected: Cli, synced: Pipeline) -> None:
    synced.execute("delete from ic3_asset_performance")
    with synced.database.begin() as connection:
        acquire_lease(connection, lease_name(FIRST_BATCH), "another run")

    ended = connected("enrich", "--json")

    assert ended.code == 0
    assert ended.json["skipped_batches"] == 1
    assert ended.json["ic3_asset_performance"] == 6
    assert f"{FIRST_BATCH} was skipped" in ended.err
