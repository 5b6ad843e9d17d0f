"""How far the sync under way is: of this selection and no other, the same on every surface."""

from datetime import datetime

import pytest

from innomaint_pipeline.domain.innomaint.batches import lease_name
from innomaint_pipeline.domain.innomaint.launches import LaunchesToCome
from innomaint_pipeline.domain.innomaint.progress import BatchProgress
from innomaint_pipeline.domain.innomaint.selection import SYNC_REQUESTS, SyncOptions
from innomaint_pipeline.domain.pacing import SourceAccount
from innomaint_pipeline.simulator.innomaint.faults import Status
from innomaint_pipeline.simulator.innomaint.server import InnomaintSimulator
from innomaint_pipeline.store.database import Database, find_now
from innomaint_pipeline.store.innomaint.overview import load_overview
from innomaint_pipeline.store.innomaint.progress import (
    COMMANDS,
    Progress,
    count_asked,
    load_progress,
    note_round,
    selected_by,
)
from innomaint_pipeline.store.innomaint.selection import plan_sync, wish_for
from innomaint_pipeline.store.innomaint.status import load_status
from innomaint_pipeline.store.leases import acquire_lease, report_progress
from innomaint_pipeline.store.requests import note_look, submit
from innomaint_pipeline.sync.innomaint.batch import Selection
from innomaint_pipeline_tests.conftest import (
    FIRST_BATCH,
    WORLD_SIZE,
    Pipeline,
    everything,
    import_two_batches,
)

SECOND = "batch_000002"
HALF = WORLD_SIZE // 2
ALL_LAUNCHED = LaunchesToCome()


@pytest.fixture
def pipeline(database: Database, simulator: InnomaintSimulator) -> Pipeline:
    return import_two_batches(database, simulator)


def account(pipeline: Pipeline) -> SourceAccount:
    return SourceAccount(pipeline.simulator.url, 1440, 5.0)


def look(pipeline: Pipeline) -> Progress | None:
    """Return the sync under way, having seen that page, command line and HTTP tell the same."""
    with pipeline.database.snapshot() as connection:
        progress = load_progress(connection, account(pipeline))
        status = load_status(connection, account(pipeline))
        overview = load_overview(connection, account(pipeline))
    assert status.progress == overview.running == progress
    if progress is None:
        assert (status.in_progress, overview.eta) == ((), None)
        return None
    assert 0 <= progress.done <= progress.total <= WORLD_SIZE
    assert overview.eta == progress.left
    assert status.eta_seconds == (progress.left.seconds if progress.left else None)
    assert len(status.in_progress) == max(len(progress.batches), 1), "between two batches, too"
    if not progress.batches:
        (row,) = status.in_progress
        assert (row.batch_key, row.state, row.total) == (None, "waiting", progress.total - progress.done)
    for row in status.in_progress:
        assert (row.sync_since, row.sync_total, row.sync_done) == (
            progress.since,
            progress.total,
            progress.done,
        )
    return progress


def numbers(pipeline: Pipeline) -> tuple[int, int]:
    progress = look(pipeline)
    assert progress is not None
    return progress.done, progress.total


def begin_command(pipeline: Pipeline, *, total: int, done: int = 0) -> None:
    with pipeline.database.begin() as connection:
        acquire_lease(connection, f"{COMMANDS}one", "one")
        report_progress(connection, f"{COMMANDS}one", "one", total=total, done=done)


def begin_round(pipeline: Pipeline, to_come: LaunchesToCome = ALL_LAUNCHED) -> None:
    with pipeline.database.begin() as connection:
        note_round(connection, to_come, looks_every_seconds=30)


def test_nothing_is_under_way_without_a_lease_a_request_or_a_command(pipeline: Pipeline) -> None:
    assert look(pipeline) is None


def test_syncs_that_follow_each_other_are_not_chained(pipeline: Pipeline) -> None:
    for number in range(3):
        for key in (FIRST_BATCH, SECOND):
            pipeline.sync(pipeline.run(f"run-{number}-{key}", batch_key=key, selection=everything()))
    again = pipeline.run("again", selection=everything())
    pipeline.fetch(again)

    assert numbers(pipeline) == (HALF, HALF)

    pipeline.enrich(again)
    pipeline.settle(again)
    assert look(pipeline) is None


def test_a_batch_waits_until_its_first_answer_is_there(pipeline: Pipeline) -> None:
    with pipeline.database.begin() as connection:
        acquire_lease(connection, lease_name(SECOND), "run-2")

    progress = look(pipeline)

    assert progress is not None
    (batch,) = progress.batches
    assert (batch.batch_key, batch.state) == (SECOND, BatchProgress.WAITING)
    pipeline.fetch(pipeline.run("run-1"))
    progress = look(pipeline)
    assert progress is not None
    assert [(one.batch_key, one.state, one.done) for one in progress.batches] == [
        (FIRST_BATCH, BatchProgress.RUNNING, HALF),
        (SECOND, BatchProgress.WAITING, 0),
    ]


def test_a_command_tells_how_far_its_own_selection_is(pipeline: Pipeline) -> None:
    begin_command(pipeline, total=8, done=3)
    pipeline.fetch(pipeline.run("run-1"))

    assert numbers(pipeline) == (3, 8)


def test_several_syncs_together_are_never_more_than_there_are_assets(pipeline: Pipeline) -> None:
    begin_command(pipeline, total=WORLD_SIZE, done=WORLD_SIZE)
    with pipeline.database.begin() as connection:
        options = SyncOptions(partition_key=FIRST_BATCH)
        submit(connection, wish_for(options, plan_sync(connection, options)), asked_by="page")
        note_look(connection, SYNC_REQUESTS)
    pipeline.execute("update innomaint_request_part set state = 'running', run_ids = '{run-1}'")
    pipeline.fetch(pipeline.run("run-1"))

    assert numbers(pipeline) == (WORLD_SIZE, WORLD_SIZE)


@pytest.mark.parametrize("is_all", [True, False])
def test_a_request_counts_its_selection_since_it_was_made(pipeline: Pipeline, is_all: bool) -> None:
    pipeline.sync(pipeline.run("before"))
    names = (*pipeline.serials[:2], pipeline.serials[HALF])
    options = SyncOptions(everything=True) if is_all else SyncOptions(cmms_asset_ids=names)
    with pipeline.database.begin() as connection:
        plan = plan_sync(connection, options)
        stored = submit(connection, wish_for(options, plan), asked_by="page")
        note_look(connection, SYNC_REQUESTS)
    assert look(pipeline) is None, "nobody has begun"
    pipeline.execute("update innomaint_request_part set state = 'running', run_ids = '{run-1}'")
    total = WORLD_SIZE if is_all else 3
    assert numbers(pipeline) == (0, total)

    chosen = Selection(tuple(plan.names[FIRST_BATCH]), stored.requested_at)
    pipeline.fetch(pipeline.run("run-1", selection=chosen))

    progress = look(pipeline)
    assert progress is not None
    assert (progress.done, progress.total) == (HALF if is_all else 2, total)
    assert progress.since == stored.requested_at


def test_a_request_that_nobody_looks_after_is_not_under_way(pipeline: Pipeline) -> None:
    options = SyncOptions(everything=True)
    with pipeline.database.begin() as connection:
        submit(connection, wish_for(options, plan_sync(connection, options)), asked_by="page")
        note_look(connection, SYNC_REQUESTS)
    pipeline.execute("update innomaint_request_part set state = 'running', run_ids = '{run-1}'")
    assert numbers(pipeline) == (0, WORLD_SIZE)

    pipeline.execute("update innomaint_setting set updated_at = now() - interval '2 minutes'")

    assert look(pipeline) is None


def test_a_round_of_continuous_sync_counts_what_was_and_is_due(pipeline: Pipeline) -> None:
    pipeline.simulator.faults.always(pipeline.serials[0], Status(503))
    begin_round(pipeline)
    run = pipeline.run("run-1")
    pipeline.fetch(run)
    assert numbers(pipeline) == (HALF, WORLD_SIZE)
    pipeline.enrich(run)
    assert numbers(pipeline) == (HALF, WORLD_SIZE)
    pipeline.settle(run)
    assert numbers(pipeline) == (HALF, WORLD_SIZE), "between two batches"

    pipeline.execute("update innomaint_sync_state set next_due_at = now() where state = 'failed'")
    assert numbers(pipeline) == (HALF, WORLD_SIZE), "a failure that is due again is counted once"
    pipeline.sync(pipeline.run("run-2", batch_key=SECOND))
    assert look(pipeline) is None


def test_a_round_goes_on_while_it_is_looked_after_and_ends_with_the_work(pipeline: Pipeline) -> None:
    def began() -> list[str]:
        return [
            row["began"]
            for row in pipeline.rows(
                "select value->>'began_at' as began from innomaint_setting where name = 'innomaint/round'"
            )
        ]

    begin_round(pipeline)
    first = began()
    begin_round(pipeline)
    assert began() == first
    pipeline.execute("update innomaint_setting set updated_at = now() - interval '3 minutes'")
    begin_round(pipeline)
    assert began() > first, "nobody had looked for three minutes"
    with pipeline.database.begin() as connection:
        note_round(connection, None, looks_every_seconds=30)
    assert began() == []


def test_the_time_left_counts_what_is_selected_and_not_only_what_is_due(pipeline: Pipeline) -> None:
    for key in (FIRST_BATCH, SECOND):
        pipeline.sync(pipeline.run(f"run-{key}", batch_key=key))
    pipeline.execute("delete from innomaint_rate_limit")
    begin_command(pipeline, total=WORLD_SIZE, done=5)

    progress = look(pipeline)

    assert progress is not None
    assert progress.left is not None
    assert progress.left.seconds == round((WORLD_SIZE - 5) / 5 + 2), "nothing of it is due"


def test_the_time_left_waits_for_the_launches_that_are_to_come(pipeline: Pipeline) -> None:
    begin_round(pipeline, LaunchesToCome(looks=4, last_assets=HALF))
    pipeline.fetch(pipeline.run("run-1"))

    progress = look(pipeline)
    assert progress is not None
    assert progress.left is not None
    assert 110 < progress.left.seconds < 150, "the fourth look is in two minutes"

    begin_command(pipeline, total=WORLD_SIZE, done=HALF)
    progress = look(pipeline)
    assert progress is not None
    assert progress.left is not None
    assert progress.left.seconds < 30, "a command waits for no look"


def test_the_time_left_has_in_it_the_second_pass_of_a_batch_under_way(pipeline: Pipeline) -> None:
    def seconds() -> int:
        progress = look(pipeline)
        assert progress is not None
        assert progress.left is not None
        return progress.left.seconds

    pipeline.simulator.faults.always(pipeline.serials[0], Status(503))
    begin_command(pipeline, total=HALF, done=HALF)
    pipeline.fetch(pipeline.run("run-1"))
    pipeline.execute("update innomaint_sync_state set attempts = 200, duration_ms = 0 where state = 'failed'")
    pipeline.execute("delete from innomaint_rate_limit")
    assert seconds() == 2 + 200 / 5

    pipeline.execute(
        "update innomaint_sync_state set attempts = 3, duration_ms = 9000 where state = 'failed'"
    )
    assert seconds() == 2 + 9

    pipeline.execute("update innomaint_sync_state set error_class = 'not_found' where state = 'failed'")
    assert seconds() == 2, "nobody asks for what is not there once more"


def test_the_time_left_is_not_known_while_the_breaker_is_open(pipeline: Pipeline) -> None:
    pipeline.fetch(pipeline.run("run-1"))
    pipeline.execute("update innomaint_rate_limit set breaker_opened_at = extract(epoch from now())")

    progress = look(pipeline)

    assert progress is not None
    assert progress.left is None


def test_stored_answers_count_once_whatever_became_of_them_before(pipeline: Pipeline) -> None:
    ailing = pipeline.serials[0]
    pipeline.simulator.faults.next(ailing, *[Status(503)] * 3)
    with pipeline.database.begin() as connection:
        since: datetime = find_now(connection)
    run = pipeline.run("run-1")
    pipeline.fetch(run)
    pipeline.settle(run)
    names = {FIRST_BATCH: [], SECOND: [pipeline.serials[HALF]]}

    with pipeline.database.begin() as connection:
        assert count_asked(connection, since) == HALF
        assert count_asked(connection, since, selected_by(names)) == HALF
        assert count_asked(connection, since, selected_by({FIRST_BATCH: [ailing]})) == 1
        assert count_asked(connection, find_now(connection)) == 0
