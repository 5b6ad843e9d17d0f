"""What Dagster loads: names, dependencies, partitions, jobs, and what the UI says."""

import json
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml

with warnings.catch_warnings():
    # Dagster asks pydantic for a name that pydantic deprecates, and warns of what it calls beta.
    warnings.simplefilter("ignore")
    import dagster as dg
    from dagster._core.workspace.load_target import WorkspaceFileTarget

    from innomaint_pipeline.definitions import build_defs, defs

from innomaint_pipeline.domain.maximo.declarations import STRUCTURES
from innomaint_pipeline.store.maximo.tables import TABLES as MAXIMO_TABLES
from innomaint_pipeline.store.tables import metadata as tables

PROJECT = Path(__file__).resolve().parents[1]
ENRICH = {
    "ic3_building",
    "ic3_floor_master",
    "ic3_department_master",
    "ic3_asset_enrichment",
    "ic3_asset_performance",
    "ic3_workorder_summary",
}
DEPENDENCIES = {
    "ic3_asset_master": set(),
    "innomaint_response": {"ic3_asset_master"},
    **{name: {"innomaint_response"} for name in sorted(ENRICH)},
    "cmms_sync_log": ENRICH,
}
# The asset that is no table of its own writes the API's columns of the master.
TABLES = {name: name for name in DEPENDENCIES} | {"ic3_asset_enrichment": "ic3_asset_master"}
# In a folder whose .env is malformed: reading it at import would raise, as it does afterwards.
LOADING = """
import json
from innomaint_pipeline.definitions import defs
from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline.settings import load_settings
try:
    load_settings()
except ConfigurationError as error:
    keys = defs.resolve_asset_graph().get_all_asset_keys()
    print(json.dumps([sorted(key.to_user_string() for key in keys), str(error)]))
"""


def node(*path: str) -> Any:
    return defs.resolve_asset_graph().get(dg.AssetKey(path))


def text_of(definition: Any) -> str:
    return definition.description or ""


def test_the_definitions_load_without_any_variable_and_read_no_setting(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("INNOMAINT_RATE_MS=often\nIC3_DATABASE_URL=nowhere\n")

    loaded = subprocess.run(
        [sys.executable, "-c", LOADING],
        cwd=tmp_path,
        env={"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=True,
    )

    names, complaint = json.loads(loaded.stdout)
    assert [name for name in names if not name.startswith(("customers/", "maximo/"))] == sorted(DEPENDENCIES)
    assert "INNOMAINT_RATE_MS" in complaint


def test_the_definitions_are_valid() -> None:
    dg.Definitions.validate_loadable(defs)


def test_there_are_exactly_the_assets_of_the_specification() -> None:
    names = {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()}

    assert {name for name in names if not name.startswith(("customers/", "maximo/"))} == set(DEPENDENCIES)


def test_maximo_has_an_asset_for_each_structure_and_table_and_no_edge_between_structures() -> None:
    for structure in STRUCTURES:
        fetch = node("maximo", structure.name)
        assert not fetch.parent_keys
        for spec in structure.tables():
            table = node("maximo", spec.name)
            assert table.parent_keys == {fetch.key}
            assert (table.partitions_def is not None) == structure.has_site
            assert table.group_name == fetch.group_name == f"maximo_{structure.short}"
            shown = table.metadata["dagster/column_schema"].columns
            assert [column.name for column in shown] == list(MAXIMO_TABLES[spec.name].columns.keys())
    assert str(node("maximo", "assets").partitions_def.name) == "maximo_sites"


@pytest.mark.parametrize("name", DEPENDENCIES)
def test_an_asset_depends_on_what_it_reads(name: str) -> None:
    assert {key.to_user_string() for key in node(name).parent_keys} == DEPENDENCIES[name]


@pytest.mark.parametrize("name", DEPENDENCIES)
def test_every_asset_but_the_master_is_partitioned_by_batch(name: str) -> None:
    partitions = node(name).partitions_def

    if name == "ic3_asset_master":
        assert partitions is None
    else:
        assert isinstance(partitions, dg.DynamicPartitionsDefinition)
        assert partitions.name == "innomaint_batches"


@pytest.mark.parametrize("name", DEPENDENCIES)
def test_an_asset_has_an_owner_kinds_a_group_and_a_description(name: str) -> None:
    found = node(name)

    assert found.owners == ["team:data-engineering"]
    assert found.kinds == ({"excel", "postgres"} if name == "ic3_asset_master" else {"python", "postgres"})
    own = {"innomaint_response", "cmms_sync_log"}
    assert found.group_name == ("innomaint" if name in own else "ic3")
    assert len(text_of(found)) > 20


@pytest.mark.parametrize(("name", "table_name"), TABLES.items())
def test_an_asset_shows_the_columns_of_its_table_as_they_are_declared(name: str, table_name: str) -> None:
    table = tables.tables[table_name]
    found = node(name).metadata

    assert found["dagster/table_name"] == table_name
    shown = found["dagster/column_schema"].columns
    assert [(column.name, column.type, column.description) for column in shown] == [
        (column.name, str(column.type), column.comment) for column in table.columns
    ]
    assert {column.name for column in shown if not column.constraints.nullable} == {
        column.name for column in table.columns if not column.nullable
    }


@pytest.mark.parametrize(
    ("job", "assets"),
    [
        ("import_asset_master", {"ic3_asset_master"}),
        ("sync_batch", set(DEPENDENCIES) - {"ic3_asset_master"}),
    ],
)
def test_a_job_covers_its_assets_in_one_process_and_says_what_it_does(job: str, assets: set[str]) -> None:
    found = defs.resolve_job_def(job)

    keys = found.asset_layer.executable_asset_keys
    assert {key.to_user_string() for key in keys} == assets
    assert found.executor_def.name == "in_process"
    assert text_of(found)


def test_a_batch_is_three_steps() -> None:
    steps = {node.name for node in defs.resolve_job_def("sync_batch").nodes}

    assert steps == {"innomaint_response", "enrich", "cmms_sync_log"}


def test_the_import_carries_the_checks_of_the_master() -> None:
    keys = defs.resolve_job_def("import_asset_master").asset_layer.asset_graph.asset_check_keys

    names = {key.name for key in keys if key.asset_key == dg.AssetKey("ic3_asset_master")}
    assert {"every_asset_has_one_state", "no_orphan_rows"} <= names


def test_every_check_sensor_and_schedule_says_what_it_does() -> None:
    specs = [spec for check in defs.asset_checks or [] for spec in check.check_specs]

    assert len(specs) >= 2
    assert not [spec.name for spec in specs if not spec.description]
    automation = [*(defs.sensors or []), *(defs.schedules or [])]
    assert not [item.name for item in automation if not text_of(item)]


def test_a_description_of_a_failing_partition_says_how_to_repair_it() -> None:
    assert "re-execute from failure" in text_of(node("cmms_sync_log"))


def test_arguments_of_the_definitions_can_be_replaced() -> None:
    made = build_defs(jobs=[], sensors=[], schedules=[])

    assert not made.jobs
    assert made.assets == defs.assets


def test_the_workspace_leads_to_the_definitions_from_the_project_folder() -> None:
    (origin,) = WorkspaceFileTarget([str(PROJECT / "workspace.yaml")]).create_origins()

    assert origin.location_name == "innomaint_pipeline"
    target = origin.loadable_target_origin
    assert target.module_name == "innomaint_pipeline.definitions"
    assert target.attribute is None
    assert Path(target.working_directory or "").resolve() == PROJECT


def test_the_project_file_does_not_make_dagster_ignore_the_workspace() -> None:
    tool = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    (entry,) = yaml.safe_load((PROJECT / "workspace.yaml").read_text(encoding="utf-8"))["load_from"]

    # With one of these tables, `dagster` without -w reads it instead of workspace.yaml and says nothing.
    for name in {"dagster", "dg"} & tool.keys():
        table = tool[name].get("project", tool[name])
        assert table.get("module_name") == entry["python_module"]["module_name"]
        assert table.get("code_location_name") == entry["python_module"]["location_name"]
