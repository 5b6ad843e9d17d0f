"""Asset checks: they pass on sound tables, and fail where a state or a row is amiss (spec 02, spec 04)."""

from collections.abc import Iterator

import dagster as dg
import pytest

from innomaint_pipeline.definitions import defs
from innomaint_pipeline.simulator.workbook import write_sample_workbook
from innomaint_pipeline_tests.conftest import Pipeline
from innomaint_pipeline_tests.defs.conftest import Dagster

CHECKS = {"every_asset_has_one_state", "no_orphan_rows"}


@pytest.fixture
def workbook(environment: pytest.MonkeyPatch, pipeline: Pipeline) -> None:
    write_sample_workbook(pipeline.simulator.world, "master.xlsx")
    environment.setenv("INNOMAINT_WORKBOOK", "master.xlsx")


def run_checks(dagster: Dagster) -> dict[str, dg.AssetCheckEvaluation]:
    """Import, as the job does that carries the checks, and return what they found, by name."""
    run = defs.resolve_job_def("import_asset_master").execute_in_process(
        instance=dagster.instance, raise_on_error=False
    )
    assert run.success
    return {found.check_name: found for found in run.get_asset_check_evaluations()}


@pytest.fixture
def without_a_state(pipeline: Pipeline) -> Iterator[int]:
    """A CMMS asset whose state is missing, though a trigger makes one for each row: its asset_id."""
    kept = pipeline.one("delete from innomaint_sync_state where asset_id = 1 returning *")
    yield kept["asset_id"]
    names = ", ".join(kept)
    pipeline.execute(
        f"insert into innomaint_sync_state ({names}) values ({', '.join(f':{name}' for name in kept)})"
        " on conflict do nothing",
        **kept,
    )


@pytest.mark.usefixtures("workbook")
def test_checks_pass_on_sound_tables(dagster: Dagster) -> None:
    assert dagster.sync().success

    found = run_checks(dagster)

    assert {name: check.passed for name, check in found.items() if name in CHECKS} == dict.fromkeys(
        CHECKS, True
    )
    numbers = found["every_asset_has_one_state"].metadata
    assert {
        name: numbers[name].value for name in ("total", "synced", "failed", "never", "without_state")
    } == {
        "total": 30,
        "synced": 30,
        "failed": 0,
        "never": 0,
        "without_state": 0,
    }


@pytest.mark.usefixtures("workbook")
def test_an_asset_without_a_state_fails_its_check(dagster: Dagster, without_a_state: int) -> None:
    found = run_checks(dagster)

    assert without_a_state == 1
    check = found["every_asset_has_one_state"]
    assert not check.passed
    assert check.metadata["without_state"].value == 1
    assert found["no_orphan_rows"].passed


@pytest.mark.usefixtures("workbook")
@pytest.mark.parametrize(
    ("table", "columns", "values"),
    [
        ("ic3_asset_performance", "asset_id", "99999"),
        ("ic3_workorder_summary", "asset_id, period_type", "99999, 'upto'"),
    ],
)
def test_a_row_of_no_asset_fails_its_check(dagster: Dagster, table: str, columns: str, values: str) -> None:
    dagster.pipeline.execute(f"insert into {table} ({columns}) values ({values})")
    try:
        found = run_checks(dagster)
    finally:
        dagster.pipeline.execute(f"delete from {table} where asset_id = 99999")

    assert not found["no_orphan_rows"].passed
    assert found["no_orphan_rows"].metadata[table].value == 1
    assert found["every_asset_has_one_state"].passed
