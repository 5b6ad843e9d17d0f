"""The numbers of `status`, recomputed from the tables."""

from innomaint_pipeline.domain.innomaint import SOURCE
from innomaint_pipeline.domain.pacing import SourceAccount
from innomaint_pipeline.simulator.innomaint import faults
from innomaint_pipeline.store.innomaint.status import Status, load_status
from innomaint_pipeline.store.settings import save_setting
from innomaint_pipeline_tests.conftest import FIRST_BATCH, WORLD_SIZE, Pipeline


def status(pipeline: Pipeline, *, rate: float = 5.0) -> Status:
    with pipeline.database.snapshot() as connection:
        return load_status(connection, SourceAccount(pipeline.simulator.url, 1440, rate))


def test_an_empty_database_has_numbers_too(empty_pipeline: Pipeline) -> None:
    found = status(empty_pipeline)
    assert (found.total_assets, found.synced_assets, found.failed_assets, found.never_synced) == (0, 0, 0, 0)
    assert (found.last_sync_at, found.last_batch, found.in_progress) == (None, (), ())
    assert (found.eta_seconds, found.health, found.average_duration_ms) == (0, "unknown", None)


def test_synced_failed_and_never_add_up_during_and_after_a_run(pipeline: Pipeline) -> None:
    pipeline.simulator.faults.always(pipeline.serials[0], faults.Status(404)).always(
        pipeline.serials[1], faults.Status(500)
    )
    run = pipeline.run("first")
    pipeline.fetch(run)
    during = status(pipeline)
    assert (during.failed_assets, during.never_synced) == (2, WORLD_SIZE - 2)
    (progress,) = during.in_progress
    assert (progress.batch_key, progress.run_id) == (FIRST_BATCH, "first")
    assert (progress.total, progress.done) == (WORLD_SIZE, WORLD_SIZE)
    pipeline.enrich(run)
    pipeline.settle(run)
    after = status(pipeline)
    assert (after.synced_assets, after.failed_assets, after.never_synced) == (WORLD_SIZE - 2, 2, 0)
    assert after.failed_by_class == {"not_found": 1, "transient": 1}
    assert after.total_assets == WORLD_SIZE
    assert after.in_progress == ()
    (batch,) = after.last_batch
    assert (batch.status, batch.total, batch.failed) == ("partial", WORLD_SIZE, 2)
    assert after.last_sync_at == batch.synced_at
    assert after.total_syncs == 1


def test_batches_that_failed_in_a_row_are_counted(pipeline: Pipeline) -> None:
    pipeline.execute(
        "insert into cmms_sync_log (sync_type, status, synced_at, duration_ms) values"
        " ('api_sync', 'failed', now() - interval '9 s', 100),"
        " ('api_sync', 'complete', now() - interval '8 s', 200),"
        " ('api_sync', 'failed', now() - interval '7 s', 300),"
        " ('api_sync', 'failed', now() - interval '6 s', 400)"
    )
    found = status(pipeline)
    assert (found.consecutive_failures, found.total_syncs, found.average_duration_ms) == (2, 4, 250)
    assert [row.status for row in found.last_batch] == ["failed", "failed", "complete", "failed"]


def test_the_stored_refresh_interval_is_shown(pipeline: Pipeline) -> None:
    assert status(pipeline).refresh_minutes == 1440
    with pipeline.database.begin() as connection:
        save_setting(connection, SOURCE, "refresh_minutes", 60)
    assert status(pipeline).refresh_minutes == 60


def test_the_time_left_comes_from_the_rate_while_something_runs(pipeline: Pipeline) -> None:
    assert status(pipeline).eta_seconds is None, "nothing runs"
    pipeline.execute(
        "insert into innomaint_lease (resource, owner, acquired_at, expires_at)"
        " values ('innomaint/batch_000001', 'first', now(), now() + interval '1 minute')"
    )
    pipeline.execute("update innomaint_lease set total = 9")
    assert status(pipeline, rate=3.0).eta_seconds == 9 / 3 + 2
