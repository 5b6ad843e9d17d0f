"""Asset checks: they pass on sound tables, and fail or warn where something is amiss."""

import re
from collections.abc import Iterator

import dagster as dg
import pytest
from sqlalchemy import Engine, event

from innomaint_pipeline.definitions import build_defs, defs
from innomaint_pipeline.defs.innomaint import checks
from innomaint_pipeline.domain import customers, maximo
from innomaint_pipeline.simulator.innomaint.workbook import write_sample_workbook
from innomaint_pipeline_tests.conftest import FIRST_BATCH, Pipeline
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
        name: numbers[name].value for name in ("total", "synced", "failed", "never", "assets_without_state")
    } == {
        "total": 30,
        "synced": 30,
        "failed": 0,
        "never": 0,
        "assets_without_state": 0,
    }


@pytest.mark.usefixtures("workbook")
def test_an_asset_without_a_state_fails_its_check(dagster: Dagster, without_a_state: int) -> None:
    found = run_checks(dagster)

    assert without_a_state == 1
    check = found["every_asset_has_one_state"]
    assert not check.passed
    assert check.metadata["assets_without_state"].value == 1
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


OWN_TABLE = re.compile(r"(FROM|UPDATE|INTO) (ic3_|innomaint_|cmms_)")
ALL_CHECKS = {
    "every_asset_has_one_state": dg.AssetCheckSeverity.ERROR,
    "no_orphan_rows": dg.AssetCheckSeverity.ERROR,
    "few_assets_are_not_found": dg.AssetCheckSeverity.WARN,
    "data_is_fresh": dg.AssetCheckSeverity.WARN,
    "every_value_is_readable": dg.AssetCheckSeverity.WARN,
    "vendor_numbers_agree": dg.AssetCheckSeverity.WARN,
    "no_batches_left_failed": dg.AssetCheckSeverity.ERROR,
    "batch_runs_succeed": dg.AssetCheckSeverity.WARN,
}


def check_all(dagster: Dagster) -> dict[str, dg.AssetCheckEvaluation]:
    """Run the hourly job and return what its checks of this source's tables found, by name."""
    run = defs.resolve_job_def("check_tables").execute_in_process(instance=dagster.instance)
    return {
        found.check_name: found
        for found in run.get_asset_check_evaluations()
        if found.asset_key.path[0] not in {customers.SOURCE, maximo.SOURCE}
    }


def failing(found: dict[str, dg.AssetCheckEvaluation]) -> set[str]:
    return {name for name, check in found.items() if not check.passed}


def numbers(check: dg.AssetCheckEvaluation) -> dict[str, object]:
    return {name: entry.value for name, entry in check.metadata.items()}


@pytest.fixture
def sound(dagster: Dagster) -> Dagster:
    """Thirty CMMS assets synced a moment ago, whose numbers agree with each other."""
    assert dagster.sync().success
    dagster.pipeline.execute("update ic3_asset_performance set criticality_type_label = 'Critical'")
    dagster.pipeline.execute(
        "update ic3_asset_master m set ticketcount = p.total_ticket"
        " from ic3_asset_performance p where p.asset_id = m.asset_id"
    )
    return dagster


def test_all_checks_pass_on_good_data(sound: Dagster) -> None:
    found = check_all(sound)

    assert set(found) == set(ALL_CHECKS)
    assert failing(found) == set()
    assert numbers(found["vendor_numbers_agree"])["compared"] == 30
    assert numbers(found["batch_runs_succeed"])["changed"] == 30


def test_all_checks_pass_before_the_first_sync(dagster: Dagster) -> None:
    assert failing(check_all(dagster)) == set()


def test_what_stops_no_sync_is_a_warning(sound: Dagster) -> None:
    assert {name: check.severity for name, check in check_all(sound).items()} | {
        name: severity for name, severity in ALL_CHECKS.items() if severity is dg.AssetCheckSeverity.WARN
    } == ALL_CHECKS
    sound.pipeline.execute("update ic3_asset_performance set mttr_seconds = mttr_seconds + 1")
    assert check_all(sound)["vendor_numbers_agree"].severity is dg.AssetCheckSeverity.WARN


@pytest.mark.parametrize(
    ("statement", "check", "expected"),
    [
        (
            (
                "update ic3_asset_performance set total_ticket = 2, mttr_seconds = 9,"
                " ticket_breakdown_seconds = 19, actual_seconds = 100, mtbf_seconds = 40 where asset_id = 1;"
                " update ic3_asset_master set ticketcount = 2 where asset_id = 1"
            ),
            "vendor_numbers_agree",
            {"mttr_times_tickets": 1, "mtbf_times_tickets": 0, "ticketcount_against_total_ticket": 0},
        ),
        (
            (
                "update ic3_asset_performance set total_ticket = 2, mttr_seconds = 9,"
                " ticket_breakdown_seconds = 18, actual_seconds = 100, mtbf_seconds = 42 where asset_id = 1;"
                " update ic3_asset_master set ticketcount = 2 where asset_id = 1"
            ),
            "vendor_numbers_agree",
            {"mttr_times_tickets": 0, "mtbf_times_tickets": 1},
        ),
        (
            "update innomaint_sync_state set state = 'failed', error_class = 'not_found' where asset_id <= 2",
            "few_assets_are_not_found",
            {"not_found": 2, "total": 30, "share": 0.0667},
        ),
        (
            (
                "insert into innomaint_data_issue (asset_id, field, reason) values"
                " (1, 'mttr', 'is no duration'), (2, 'mttr', 'is no duration'), (2, 'mtbf', 'is no duration')"
            ),
            "every_value_is_readable",
            {"issues": 3, "by_field": {"mttr": 2, "mtbf": 1}},
        ),
        (
            (
                "update innomaint_sync_state set last_success_at = now() - interval '49 hours'"
                " where asset_id = 30"
            ),
            "data_is_fresh",
            {"limit_seconds": 172800},
        ),
        (
            (
                "update innomaint_sync_state set state = 'failed', error_class = 'transient'"
                " where asset_id <= 3;"
                " update innomaint_sync_state set batch_key = 'batch_000002' where asset_id = 3"
            ),
            "no_batches_left_failed",
            {"batches": 2, "assets": 3, "by_batch": {FIRST_BATCH: 2, "batch_000002": 1}},
        ),
        (
            "insert into cmms_sync_log (sync_type, status, duration_ms) values ('api_sync', 'failed', 10)",
            "batch_runs_succeed",
            {"runs": 2, "success_rate": 0.5},
        ),
    ],
    ids=["mttr", "mtbf", "not found", "issues", "stale", "unfinished", "failing runs"],
)
def test_planted_trouble_is_found_by_its_check_and_by_no_other(
    sound: Dagster, statement: str, check: str, expected: dict[str, object]
) -> None:
    for part in statement.split(";"):
        sound.pipeline.execute(part)

    found = check_all(sound)

    assert failing(found) == {check}
    shown = numbers(found[check])
    assert {name: shown[name] for name in expected} == expected


def test_the_vendors_own_example_contradicts_its_label_and_its_tickets(dagster: Dagster) -> None:
    assert dagster.sync().success
    dagster.pipeline.execute(
        "delete from ic3_asset_performance where serialnumber <> 'Delhi Cantt Naraina_BP_01'"
    )
    dagster.pipeline.execute(
        "update ic3_asset_performance set criticality_type_label = 'Non-Critical', total_ticket = 2,"
        " mttr_seconds = 510, ticket_breakdown_seconds = 1020, mtbf_seconds = 30694003,"
        " actual_seconds = 61389027"
    )
    dagster.pipeline.execute("update ic3_asset_master set criticality = 'High', ticketcount = 5")

    found = check_all(dagster)["vendor_numbers_agree"]

    assert not found.passed
    assert numbers(found) == {
        "compared": 1,
        "mttr_times_tickets": 0,
        "mtbf_times_tickets": 0,
        "criticality_against_label": 1,
        "ticketcount_against_total_ticket": 1,
    }


def test_few_unknown_assets_are_tolerated(sound: Dagster) -> None:
    sound.pipeline.execute(
        "update innomaint_sync_state set state = 'failed', error_class = 'not_found' where asset_id = 1"
    )
    assert "few_assets_are_not_found" not in failing(check_all(sound))


def test_age_is_judged_by_the_refresh_interval_in_force(sound: Dagster) -> None:
    sound.pipeline.execute("update innomaint_sync_state set last_success_at = now() - interval '11 minutes'")
    assert "data_is_fresh" not in failing(check_all(sound))

    sound.pipeline.execute(
        "insert into innomaint_setting (name, value) values ('innomaint/refresh_minutes', '5')"
    )

    assert "data_is_fresh" in failing(check_all(sound))


def test_a_check_costs_at_most_three_queries(sound: Dagster) -> None:
    statements: list[str] = []

    def note(*given: object) -> None:
        statements.append(str(given[2]))

    costs = {}
    event.listen(Engine, "before_cursor_execute", note)
    try:
        for check in checks.CHECKS:
            job = dg.define_asset_job("one_check", selection=dg.AssetSelection.checks(*check.check_keys))
            definitions = build_defs(asset_checks=[check], jobs=[job], sensors=[], schedules=[])
            statements.clear()
            run = definitions.resolve_job_def("one_check").execute_in_process(instance=sound.instance)
            (found,) = run.get_asset_check_evaluations()
            # Dagster's own storage is asked through the same engine class.
            costs[found.check_name] = [text for text in statements if OWN_TABLE.search(text)]
    finally:
        event.remove(Engine, "before_cursor_execute", note)

    assert set(costs) == set(ALL_CHECKS)
    assert {name: queries for name, queries in costs.items() if not 1 <= len(queries) <= 3} == {}
