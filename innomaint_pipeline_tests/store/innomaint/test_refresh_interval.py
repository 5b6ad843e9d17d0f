"""A changed refresh interval counts at once, for what was synced before as well."""

from innomaint_pipeline.domain.innomaint import SOURCE
from innomaint_pipeline.store.innomaint.due_batches import change_refresh_minutes, find_due_batches
from innomaint_pipeline.store.settings import load_refresh_minutes
from innomaint_pipeline_tests.conftest import WORLD_SIZE, Pipeline


def change(pipeline: Pipeline, minutes: int) -> int:
    with pipeline.database.begin() as connection:
        return change_refresh_minutes(connection, minutes)


def count_due(pipeline: Pipeline) -> int:
    with pipeline.database.begin() as connection:
        return sum(item.due for item in find_due_batches(connection))


def test_a_shorter_interval_makes_older_data_due_at_once_and_a_longer_one_takes_it_back(
    pipeline: Pipeline,
) -> None:
    pipeline.sync(pipeline.run("first"))
    pipeline.execute("update innomaint_sync_state set last_success_at = last_success_at - interval '1 hour'")
    pipeline.execute("update innomaint_sync_state set next_due_at = last_success_at + interval '1 day'")
    assert count_due(pipeline) == 0

    assert change(pipeline, 59) == WORLD_SIZE
    assert count_due(pipeline) == WORLD_SIZE
    assert change(pipeline, 61) == WORLD_SIZE
    assert count_due(pipeline) == 0


def test_the_same_interval_again_changes_no_row(pipeline: Pipeline) -> None:
    pipeline.sync(pipeline.run("first"))

    assert change(pipeline, 30) == WORLD_SIZE
    assert change(pipeline, 30) == 0


def test_failed_and_never_synced_assets_keep_their_own_times(pipeline: Pipeline) -> None:
    pipeline.execute(
        "update innomaint_sync_state set state = 'failed', error_class = 'not_found',"
        " last_success_at = now() - interval '2 days', next_due_at = now() + interval '7 days'"
        " where asset_id = 1"
    )
    before = pipeline.rows("select asset_id, next_due_at from innomaint_sync_state order by asset_id")

    assert change(pipeline, 5) == 0

    assert pipeline.rows("select asset_id, next_due_at from innomaint_sync_state order by asset_id") == before


def test_the_interval_is_kept_and_counts_for_what_is_synced_from_now_on(pipeline: Pipeline) -> None:
    change(pipeline, 45)
    with pipeline.database.begin() as connection:
        assert load_refresh_minutes(connection, SOURCE, 1440) == 45
