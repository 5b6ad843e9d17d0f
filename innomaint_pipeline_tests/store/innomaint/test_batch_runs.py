"""Batch runs are this project's: what other programs write to cmms_sync_log counts nowhere."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from innomaint_pipeline.domain.pacing import SourceAccount
from innomaint_pipeline.simulator.innomaint.faults import Status as Answered
from innomaint_pipeline.store.database import Connection
from innomaint_pipeline.store.innomaint.batch_details import load_batch, load_batches
from innomaint_pipeline.store.innomaint.batch_runs import (
    History,
    count_consecutive_failures,
    count_runs,
    find_failing_since,
    find_newest_runs,
    load_history,
    load_run_figures,
    seconds_since_newest_run,
)
from innomaint_pipeline.store.innomaint.due_batches import load_sync_facts
from innomaint_pipeline.store.innomaint.health import load_conditions
from innomaint_pipeline.store.innomaint.overview import Gauges, load_gauges, load_overview
from innomaint_pipeline.store.innomaint.status import load_status
from innomaint_pipeline_tests.conftest import FIRST_BATCH, Pipeline

READ: list[Callable[[Connection, SourceAccount], Any]] = [
    load_status,
    load_overview,
    load_gauges,
    load_conditions,
    lambda connection, _: load_history(connection, hours=24),
    lambda connection, _: load_batches(connection),
    lambda connection, _: load_batch(connection, FIRST_BATCH),
    lambda connection, _: load_run_figures(connection),
    lambda connection, _: count_runs(connection),
    lambda connection, _: count_consecutive_failures(connection),
    lambda connection, _: find_failing_since(connection),
    lambda connection, _: find_newest_runs(connection, 100),
    lambda connection, _: find_newest_runs(connection, 100, batch_key=FIRST_BATCH),
    lambda connection, _: round(seconds_since_newest_run(connection) or 0, -2),
    lambda connection, account: round_ages(
        load_sync_facts(connection, account=account.name, batches_in_runs=[])
    ),
]
FOREIGN_TYPES = ("work_orders", "excel_import", "API_SYNC", "", None)
FOREIGN = (
    "insert into cmms_sync_log (sync_type, status, assets_synced, duration_ms, synced_at, batch_key, run_id,"
    " total, failed, unchanged, skipped) values (:kind, :status, 77, 999999, now() + :after * interval '1 s',"
    f" '{FIRST_BATCH}', 'foreign', 88, 11, 5, 0)"
)


def round_ages(facts: Any) -> dict[str, Any]:
    """Return facts without the seconds that pass between two looks."""
    return {name: value for name, value in vars(facts).items() if not name.endswith("_in_seconds")} | {
        "seconds_since_failure": round(facts.seconds_since_failure or 0, -2)
    }


def read_all(pipeline: Pipeline) -> list[str]:
    """Return every number, as it is within one moment of the database."""
    account = SourceAccount(pipeline.simulator.url, 1440, 5.0)
    with pipeline.database.snapshot() as connection:
        return [without_clock(read(connection, account)) for read in READ]


def without_clock(found: Any) -> str:
    if isinstance(found, Gauges):
        found = replace(found, last_success_age_seconds=None)
    values = dict(vars(found)) if hasattr(found, "generated_at") else found
    if isinstance(values, dict):
        # The row counts of the tables tell how many rows there are, whoever wrote them.
        tables = values.pop("tables", {})
        assert not tables or tables["ic3_asset_master"]
        values.pop("generated_at", None)
    if isinstance(values, History):
        values = (values.runs, [point.synced for point in values.progress], values.total_assets)
    return repr(values)


def test_the_age_of_the_newest_answer_is_none_before_the_first(pipeline: Pipeline) -> None:
    account = SourceAccount(pipeline.simulator.url, 1440, 5.0)

    def read_age() -> float | None:
        with pipeline.database.snapshot() as connection:
            return load_gauges(connection, account).last_success_age_seconds

    assert read_age() is None
    pipeline.sync(pipeline.run("first"))
    pipeline.execute("update innomaint_sync_state set last_success_at = now() - interval '2 hours'")
    assert (read_age() or 0) // 60 == 120


def plant(pipeline: Pipeline) -> None:
    """Write rows as other programs do, older and newer than ours, and one of ours that has no time."""
    for kind in FOREIGN_TYPES:
        for status in ("failed", "complete", None):
            for after in (-7200, 3600):
                pipeline.execute(FOREIGN, kind=kind, status=status, after=after)
    pipeline.execute(FOREIGN, kind="api_sync", status="failed", after=None)


def test_rows_of_other_programs_change_no_number(pipeline: Pipeline) -> None:
    pipeline.simulator.faults.always(pipeline.serials[0], Answered(503))
    pipeline.sync(pipeline.run("first"))
    pipeline.execute("update cmms_sync_log set synced_at = now() - interval '30 minutes'")
    before = read_all(pipeline)

    plant(pipeline)

    for read, old, new in zip(READ, before, read_all(pipeline), strict=True):
        assert new == old, read


def test_rows_of_other_programs_are_no_run_where_there_is_none(pipeline: Pipeline) -> None:
    before = read_all(pipeline)

    plant(pipeline)

    assert read_all(pipeline) == before


def test_planted_rows_would_count_if_they_were_ours(pipeline: Pipeline) -> None:
    pipeline.sync(pipeline.run("first"))
    pipeline.execute("update cmms_sync_log set synced_at = now() - interval '30 minutes'")
    before = read_all(pipeline)

    for _ in range(3):
        pipeline.execute(FOREIGN, kind="api_sync", status="failed", after=0)

    same = [
        place for place, (old, new) in enumerate(zip(before, read_all(pipeline), strict=True)) if old == new
    ]
    assert same == []
