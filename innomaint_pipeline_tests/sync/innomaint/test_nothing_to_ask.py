"""A run that has nothing to do: no success, no end of a series, and no row where it had no right to begin."""

import pytest

from innomaint_pipeline.errors import SelectionError
from innomaint_pipeline.simulator.innomaint.faults import Status
from innomaint_pipeline.store.innomaint.batch_runs import (
    count_consecutive_failures,
    find_failing_since,
    seconds_since_newest_run,
)
from innomaint_pipeline.sync.innomaint.batch import Selection
from innomaint_pipeline.sync.innomaint.steps import close_failed_batch
from innomaint_pipeline_tests.conftest import FIRST_BATCH, Pipeline, import_two_batches

SECOND_BATCH = "batch_000002"


@pytest.fixture
def pipeline(empty_pipeline: Pipeline) -> Pipeline:
    return import_two_batches(empty_pipeline.database, empty_pipeline.simulator)


def statuses(pipeline: Pipeline) -> list[str]:
    return [row["status"] for row in pipeline.rows("select status from cmms_sync_log order by id")]


@pytest.mark.parametrize("batch_key", ["batch_000003", "batch_1", "", "nonsense"])
@pytest.mark.parametrize("step", ["fetch", "enrich", "settle"])
def test_every_step_of_an_unknown_batch_fails_and_names_it(
    pipeline: Pipeline, step: str, batch_key: str
) -> None:
    with pytest.raises(SelectionError, match=f"no CMMS asset is in batch {batch_key!r}"):
        getattr(pipeline, step)(pipeline.run("run", batch_key=batch_key))
    assert statuses(pipeline) == []
    assert pipeline.rows("select * from innomaint_lease") == []


@pytest.mark.parametrize("step", ["fetch", "settle"])
def test_an_unknown_id_and_one_of_another_batch_are_named_and_nothing_is_asked_for(
    pipeline: Pipeline, step: str
) -> None:
    mine, other = pipeline.serials[0], pipeline.serials[-1]
    run = pipeline.run("run", selection=Selection((mine, other, "no such id")))

    with pytest.raises(SelectionError) as raised:
        getattr(pipeline, step)(run)

    assert f"2 of the 3 CMMS assets asked for are not in {FIRST_BATCH}" in str(raised.value)
    assert f"{other!r} is in {SECOND_BATCH}" in str(raised.value)
    assert "'no such id' is unknown" in str(raised.value)
    assert len(pipeline.simulator.record) == 0
    assert statuses(pipeline) == []
    assert pipeline.rows("select * from innomaint_lease") == []


def test_a_run_that_had_nothing_to_ask_tells_the_truth_of_the_batch(pipeline: Pipeline) -> None:
    pipeline.simulator.faults.always(pipeline.serials[1], Status(404))
    pipeline.sync(pipeline.run("first"))

    report = pipeline.sync(pipeline.run("second"))

    assert (report.counts.success, report.counts.failed, report.status) == (0, 0, "partial")
    pipeline.simulator.faults.clear()
    pipeline.resync("third")
    pipeline.sync(pipeline.run("fourth"))
    assert statuses(pipeline) == ["partial", "partial", "complete", "complete"]


def test_a_run_that_had_nothing_to_ask_ends_no_series_of_failures(pipeline: Pipeline) -> None:
    pipeline.sync(pipeline.run("good", batch_key=SECOND_BATCH))
    for name in ("one", "two"):
        close_failed_batch(pipeline.run(name), ValueError("refused"))
    with pipeline.database.begin() as connection:
        since = find_failing_since(connection)

    pipeline.sync(pipeline.run("idle", batch_key=SECOND_BATCH))

    assert statuses(pipeline) == ["complete", "failed", "failed", "complete"]
    with pipeline.database.begin() as connection:
        assert count_consecutive_failures(connection) == 2
        assert find_failing_since(connection) == since
        age = seconds_since_newest_run(connection)
        newest = pipeline.one(
            "select extract(epoch from clock_timestamp() - max(synced_at)) as age from cmms_sync_log"
            " where status = 'failed'"
        )["age"]
    assert age is not None
    assert age <= float(newest)
    pipeline.sync(pipeline.run("good again"))
    with pipeline.database.begin() as connection:
        assert count_consecutive_failures(connection) == 0
