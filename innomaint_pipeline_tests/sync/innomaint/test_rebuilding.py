"""Rebuilding the tables from stored answers, without a request."""

from collections.abc import Sequence
from typing import Any

import pytest

from innomaint_pipeline.domain.innomaint.batches import lease_name
from innomaint_pipeline.errors import DatabaseError
from innomaint_pipeline.simulator.innomaint.world import World
from innomaint_pipeline.store.innomaint.enriched import ENRICHED_TABLES
from innomaint_pipeline.store.leases import acquire_lease
from innomaint_pipeline.sync.innomaint.rebuilding import RebuildTask, rebuild_batches
from innomaint_pipeline.sync.innomaint.steps import enrich_batch
from innomaint_pipeline_tests.conftest import KOLKATA, WORLD_SIZE, Pipeline, everything, fix_world

STAMPS = {"created_at", "updated_at", "recorded_at"}


def values(pipeline: Pipeline, tables: tuple[str, ...] = ENRICHED_TABLES) -> dict[str, list[dict[str, Any]]]:
    return {
        table: sorted(
            [
                {name: value for name, value in row.items() if name not in STAMPS}
                for row in pipeline.rows(f"select * from {table}")
            ],
            key=repr,
        )
        for table in tables
    }


@pytest.fixture
def synced(pipeline: Pipeline) -> Pipeline:
    pipeline.sync(pipeline.run("first"))
    pipeline.simulator.record.clear()
    return pipeline


def damage(pipeline: Pipeline) -> None:
    pipeline.execute("delete from ic3_asset_performance where asset_id > 3")
    pipeline.execute("update ic3_workorder_summary set ticket_count = -1, ticket_cost = 0.01")
    pipeline.execute(
        "update ic3_asset_master set barcode = 'damaged', criticality = null, api_attributes = null"
    )
    pipeline.execute("truncate ic3_building, ic3_floor_master")
    pipeline.execute("update ic3_department_master set department_name = 'damaged'")


def test_a_rebuild_restores_damaged_tables_without_a_request(synced: Pipeline) -> None:
    good, states = values(synced), synced.rows("select * from innomaint_sync_state order by asset_id")
    damage(synced)
    assert values(synced) != good
    report = synced.enrich(synced.run("rebuild"), is_rebuild=True, is_last_step=True)
    assert values(synced) == good
    assert len(synced.simulator.record) == 0
    assert synced.rows("select * from innomaint_sync_state order by asset_id") == states
    assert report.rows_written["ic3_asset_performance"] == WORLD_SIZE - 3
    assert report.rows_written["ic3_asset_master"] == WORLD_SIZE
    assert report.rows_written["ic3_workorder_summary"] == 2 * WORLD_SIZE
    assert report.rows_held["ic3_workorder_summary"] == 2 * WORLD_SIZE


def test_a_rebuild_of_good_tables_writes_nothing(synced: Pipeline) -> None:
    query = "select xmin::text, t.* from {} as t order by t::text"
    before = [synced.rows(query.format(table)) for table in ENRICHED_TABLES]
    report = synced.enrich(synced.run("rebuild"), is_rebuild=True, is_last_step=True)
    assert set(report.rows_written.values()) == {0}
    assert [synced.rows(query.format(table)) for table in ENRICHED_TABLES] == before


def test_a_single_table_can_be_rebuilt_alone(synced: Pipeline) -> None:
    good = values(synced)
    damage(synced)
    damaged = values(synced)
    enrich_batch(synced.run("rebuild"), KOLKATA, tables={"ic3_building"}, is_rebuild=True, is_last_step=True)
    after = values(synced)
    assert after.pop("ic3_building") == good["ic3_building"]
    damaged.pop("ic3_building")
    assert after == damaged


def test_a_row_that_the_database_refuses_does_not_stop_the_others(synced: Pipeline) -> None:
    good = values(synced)
    damage(synced)
    refused = synced.serials[5]
    synced.execute(
        f"alter table ic3_asset_performance add constraint refused check (serialnumber <> '{refused}')"
    )
    report = synced.enrich(synced.run("rebuild"), is_rebuild=True, is_last_step=True)
    assert report.failed == 1
    rows = {row["serialnumber"] for row in synced.rows("select serialnumber from ic3_asset_performance")}
    assert rows == set(synced.serials) - {refused}
    synced.execute("alter table ic3_asset_performance drop constraint refused")
    synced.enrich(synced.run("again"), is_rebuild=True, is_last_step=True)
    assert values(synced) == good


def test_a_stored_answer_of_a_wrong_shape_does_not_stop_the_others(synced: Pipeline) -> None:
    good = values(synced)
    synced.execute("update innomaint_response set body = '[]' where asset_id = 2")
    damage(synced)
    report = synced.enrich(synced.run("rebuild"), is_rebuild=True, is_last_step=True)
    assert report.failed == 1
    synced.execute(
        "update innomaint_response set body = cast(:body as jsonb) where asset_id = 2",
        body=_answer(synced, synced.serials[1]),
    )
    synced.enrich(synced.run("again"), is_rebuild=True, is_last_step=True)
    assert values(synced) == good


def _answer(pipeline: Pipeline, serial: str) -> str:
    import json  # noqa: PLC0415

    return json.dumps(pipeline.simulator.world.answer(serial))


def test_a_fault_of_ours_with_one_answer_is_that_assets_alone(pipeline: Pipeline) -> None:
    run = pipeline.run("first")
    pipeline.fetch(run)
    pipeline.execute("update innomaint_response set body = '[]' where asset_id = 2")
    report = pipeline.enrich(run)
    assert (report.success, report.failed) == (WORLD_SIZE - 1, 1)
    assert pipeline.states()[pipeline.serials[1]] == ("failed", "internal")
    assert pipeline.settle(run).status == "complete", "it is asked for again in the second pass"


def test_enriching_twice_changes_nothing(synced: Pipeline) -> None:
    good, states = values(synced), synced.rows("select * from innomaint_sync_state order by asset_id")
    report = synced.enrich(synced.run("again"), is_last_step=True)
    assert (report.success, report.failed) == (0, 0)
    assert values(synced) == good
    assert synced.rows("select * from innomaint_sync_state order by asset_id") == states


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_place_has_the_name_of_the_newest_answer_whichever_batch_is_written_last(
    empty_pipeline: Pipeline, order: tuple[int, int]
) -> None:
    world = World(4)
    places = {"building_id": 7, "floor_id": 8, "department_id": 9}
    for number, serial in enumerate(world.serials):
        name = f"named by batch {number // 2 + 1}"
        names = {"building_name": name, "floor_name": name, "department_name": name}
        world.change(serial, {"data": {**places, **names}})
    fix_world(empty_pipeline.simulator, world)
    empty_pipeline.import_serials(batch_size=2)
    keys = [f"batch_{index + 1:06d}" for index in order]

    def names() -> set[str]:
        query = "select building_name as name from ic3_building union select floor_name from ic3_floor_master"
        query += " union select department_name from ic3_department_master"
        return {row["name"] for row in empty_pipeline.rows(query)}

    def rebuild(keys: Sequence[str]) -> None:
        for key in keys:
            empty_pipeline.enrich(
                empty_pipeline.run("rebuild", batch_key=key), is_rebuild=True, is_last_step=True
            )

    # Fetched in one order, written in the other.
    for key in keys:
        empty_pipeline.fetch(empty_pipeline.run("first", batch_key=key))
    for key in reversed(keys):
        empty_pipeline.enrich(empty_pipeline.run("first", batch_key=key))
        empty_pipeline.settle(empty_pipeline.run("first", batch_key=key))
    newest = f"named by batch {order[1] + 1}"
    assert names() == {newest}
    for written in (keys, keys[::-1], keys[:1]):
        rebuild(written)
        assert names() == {newest}
    stamps = empty_pipeline.rows("select * from ic3_building")
    for key in keys:
        empty_pipeline.sync(empty_pipeline.run("second", batch_key=key, selection=everything()))
    assert empty_pipeline.rows("select * from ic3_building") == stamps
    rebuild(keys)
    assert names() == {newest}
    # The name stays when nobody is left who gave it, and comes back to who is when its row is gone.
    for table in ("ic3_workorder_summary", "ic3_asset_performance", "ic3_asset_master"):
        empty_pipeline.execute(
            f"delete from {table} using innomaint_sync_state s where s.asset_id = {table}.asset_id"
            " and s.batch_key = :key",
            key=keys[1],
        )
    rebuild(keys[:1])
    assert names() == {newest}
    empty_pipeline.execute("truncate ic3_building, ic3_floor_master, ic3_department_master")
    rebuild(keys[:1])
    assert names() == {f"named by batch {order[0] + 1}"}


def test_processes_of_their_own_rebuild_the_same_and_report_in_order(empty_pipeline: Pipeline) -> None:
    empty_pipeline.import_serials(batch_size=1)
    keys = [f"batch_{number:06d}" for number in range(1, WORLD_SIZE + 1)]
    for key in keys:
        empty_pipeline.sync(empty_pipeline.run(f"run-{key}", batch_key=key))
    before = empty_pipeline.rows("select * from ic3_workorder_summary order by 1, 2")
    performance = (
        "select asset_id, mttr, mttr_seconds, total_actual_hrs from ic3_asset_performance order by 1"
    )
    numbers = empty_pipeline.rows(performance)
    empty_pipeline.execute("delete from ic3_workorder_summary where asset_id % 2 = 0")
    empty_pipeline.execute("update ic3_asset_performance set mttr = 'spoiled', mttr_seconds = -1")
    with empty_pipeline.database.begin() as connection:
        acquire_lease(connection, lease_name(keys[3]), "a sync")
    tasks = [RebuildTask(key, f"rebuild-{key}", 1440) for key in keys]

    reports = list(rebuild_batches(empty_pipeline.database, tasks, KOLKATA, processes=2))

    assert [task for task, _ in reports] == tasks
    assert [task.batch_key for task, report in reports if report.is_leased_elsewhere] == [keys[3]]
    empty_pipeline.execute("delete from innomaint_lease")
    again = list(rebuild_batches(empty_pipeline.database, tasks, KOLKATA))
    assert [sum(report.rows_written.values()) > 0 for _, report in again] == [key == keys[3] for key in keys]
    for row in empty_pipeline.rows("select * from ic3_workorder_summary order by 1, 2"):
        row.pop("updated_at")
        assert row in [{name: value for name, value in old.items() if name != "updated_at"} for old in before]
    assert empty_pipeline.one("select count(*) from ic3_workorder_summary") == {"count": 2 * WORLD_SIZE}
    assert empty_pipeline.rows(performance) == numbers


@pytest.mark.leaves("expired_leases")
def test_an_error_in_a_process_is_raised_as_it_is(empty_pipeline: Pipeline) -> None:
    empty_pipeline.import_serials(batch_size=6)
    empty_pipeline.execute("drop table ic3_workorder_summary")
    tasks = [RebuildTask(f"batch_00000{number}", f"rebuild-{number}", 1440) for number in (1, 2)]
    with pytest.raises(DatabaseError, match="lacks a table"):
        list(rebuild_batches(empty_pipeline.database, tasks, KOLKATA, processes=2))
    empty_pipeline.execute("create table ic3_workorder_summary (asset_id integer)")
