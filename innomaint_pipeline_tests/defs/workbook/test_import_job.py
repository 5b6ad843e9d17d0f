"""The import as a Dagster job: preview, counts, partitions, refusals a person can act on."""

from pathlib import Path

import dagster as dg
import pytest
from openpyxl import Workbook

from innomaint_pipeline.definitions import defs
from innomaint_pipeline.simulator.innomaint.workbook import write_sample_workbook
from innomaint_pipeline.simulator.innomaint.world import World
from innomaint_pipeline.store.database import Database
from innomaint_pipeline_tests.defs.conftest import failure_of, materializations


@pytest.fixture
def environment(
    bare_environment: pytest.MonkeyPatch, database: Database, database_url: str
) -> pytest.MonkeyPatch:
    """The variables of an import into an empty database, batches of 10; no token."""
    del database
    bare_environment.setenv("IC3_DATABASE_URL", database_url)
    bare_environment.setenv("INNOMAINT_BATCH_SIZE", "10")
    return bare_environment


@pytest.fixture
def master(tmp_path: Path, environment: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "master.xlsx"
    write_sample_workbook(World(25), path)
    environment.setenv("INNOMAINT_WORKBOOK", str(path))
    return path


def import_master(instance: dg.DagsterInstance, **config: str) -> dg.ExecuteInProcessResult:
    return defs.resolve_job_def("import_asset_master").execute_in_process(
        instance=instance,
        run_config={"ops": {"ic3_asset_master": {"config": config}}},
        raise_on_error=False,
    )


@pytest.mark.usefixtures("master")
def test_an_import_shows_its_counts_and_a_preview(instance: dg.DagsterInstance) -> None:
    run = import_master(instance)

    assert run.success
    made = materializations(run)["ic3_asset_master"]
    names = ("rows", "inserted", "updated", "unchanged", "rejected", "missing", "batches")
    assert [made[name] for name in names] == [25, 25, 0, 0, 0, 0, 3]
    assert made["dagster/row_count"] == 25
    assert made["workbook"].endswith("master.xlsx")
    assert (made["sheet"], made["sheets"], made["header_row"]) == ("Asset Master", ["Asset Master"], 3)
    assert made["columns"]["Asset ID"] == "cmms_asset_id"
    assert made["attributes"] == ["Warranty Upto", "Remarks", "GPS"]
    assert (made["notices"], made["issues"]) == ([], 0)
    preview = [record.data for record in made["preview"].records]
    assert len(preview) == 10
    assert preview[0]["cmms_asset_id"] == "Delhi Cantt Naraina_BP_01"
    assert {len(row) for row in preview} == {len(preview[0])}


@pytest.mark.usefixtures("master")
def test_an_import_makes_its_batches_partitions(instance: dg.DagsterInstance) -> None:
    import_master(instance)

    assert instance.get_dynamic_partitions("innomaint_batches") == [
        "batch_000001",
        "batch_000002",
        "batch_000003",
    ]


@pytest.mark.usefixtures("master")
def test_a_second_import_changes_nothing(instance: dg.DagsterInstance) -> None:
    import_master(instance)

    made = materializations(import_master(instance))["ic3_asset_master"]

    assert (made["inserted"], made["updated"], made["unchanged"], made["batches"]) == (0, 0, 25, 3)


@pytest.mark.usefixtures("environment")
def test_the_launchpad_may_name_another_workbook_and_sheet(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    book = Workbook()
    book.remove(book.worksheets[0])
    for title, serial in (("Old", "P-1"), ("New", "P-2")):
        sheet = book.create_sheet(title)
        sheet.append(["Asset ID", "Make"])
        sheet.append([serial, "Kirloskar"])
    book.save(tmp_path / "other.xlsx")

    run = import_master(instance, workbook=str(tmp_path / "other.xlsx"), sheet="New")

    made = materializations(run)["ic3_asset_master"]
    assert made["sheet"] == "New"
    assert [record.data["cmms_asset_id"] for record in made["preview"].records] == ["P-2"]


@pytest.mark.usefixtures("environment")
def test_rejected_rows_are_counted_by_reason(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    book = Workbook()
    for row in (["Asset ID", "Make"], ["P-1", "Kirloskar"], [None, "KSB"], ["P-1", "again"]):
        book.worksheets[0].append(row)
    book.save(tmp_path / "other.xlsx")

    made = materializations(import_master(instance, workbook=str(tmp_path / "other.xlsx")))[
        "ic3_asset_master"
    ]

    assert (made["rows"], made["inserted"], made["rejected"], made["dagster/row_count"]) == (3, 1, 2, 1)
    assert sum(made["reject_reasons"].values()) == 2


@pytest.mark.usefixtures("environment")
def test_an_import_without_a_workbook_names_the_variable(instance: dg.DagsterInstance) -> None:
    _, message, _ = failure_of(import_master(instance))

    assert "INNOMAINT_WORKBOOK is not set" in message


def test_a_workbook_that_is_none_fails_with_its_name_and_is_not_repeated(
    instance: dg.DagsterInstance, master: Path
) -> None:
    master.write_text("no workbook")

    run = import_master(instance)

    step, message, _ = failure_of(run)
    assert step == "ic3_asset_master"
    assert "master.xlsx" in message
    assert materializations(run) == {}
    assert not [event for event in run.all_events if event.event_type_value == "STEP_UP_FOR_RETRY"]
