"""Maximo in Dagster: what a run materializes, what fails alone, what a check says, what is launched."""

from typing import Any

import dagster as dg
from dagster._core.definitions.partitions.context import partition_loading_context

from innomaint_pipeline.definitions import defs
from innomaint_pipeline.defs.maximo.assets import MAXIMO_RUNS
from innomaint_pipeline.defs.maximo.automation import load_maximo_conditions, maximo_due
from innomaint_pipeline.defs.maximo.requests import REQUESTED_READS
from innomaint_pipeline.defs.requests import build_requests_sensor
from innomaint_pipeline.domain.health import Health
from innomaint_pipeline.domain.maximo.declarations import STRUCTURES
from innomaint_pipeline.settings import load_settings
from innomaint_pipeline.simulator.maximo.faults import Fault
from innomaint_pipeline.store.maximo.conditions import find_oldest_sync
from innomaint_pipeline.store.maximo.requests import load_task, submit_read
from innomaint_pipeline_tests.defs.conftest import materializations
from innomaint_pipeline_tests.maximo import SITE, Maximo

FETCHES = ("mxapilocations", "mxapiasset", "mxapiinventory", "mxapiwodetail")


def run(instance: dg.DagsterInstance, job: str, **config: Any) -> dg.ExecuteInProcessResult:
    ops = {f"maximo__{name}": {"config": config} for name in FETCHES} if config else {}
    return defs.resolve_job_def(job).execute_in_process(
        partition_key=SITE if job == "maximo_site" else None,
        instance=instance,
        run_config={"ops": ops} if ops else None,
        raise_on_error=False,
    )


def checks(result: dg.ExecuteInProcessResult) -> dict[tuple[str, str], bool]:
    return {
        (item.check_name, item.asset_key.path[-1]): item.passed
        for item in result.get_asset_check_evaluations()
    }


def look(instance: dg.DagsterInstance, sensor: dg.SensorDefinition = maximo_due) -> Any:
    context = dg.build_sensor_context(instance=instance, definitions=defs)
    with context, partition_loading_context(dynamic_partitions_store=instance):
        return sensor.evaluate_tick(context)


def test_runs_materialize_every_table_and_every_check_is_made(beside: dg.DagsterInstance, maximo: Maximo):
    everywhere = run(beside, "maximo_global")
    at_site = run(beside, "maximo_site")

    assert everywhere.success
    assert at_site.success
    made = materializations(at_site)
    assert made["maximo/mxapiasset"]["fetched"] == 230
    assert made["maximo/assets"]["inserted"] == made["maximo/assets"]["dagster/row_count"] == 230
    assert {"maximo/assetmeter", "maximo/wolabor", "maximo/inventory_invcost"} <= made.keys()
    found = checks(everywhere) | checks(at_site)
    # Some rows of the invented world refer to what is not there.
    red = {name for name, is_good in found.items() if not is_good}
    assert red == {("references_resolve", name) for name in ("assets", "inventory")}
    assert len(found) == 6 * 6 + 1 + 3
    with maximo.database.begin() as connection:
        health, conditions = load_maximo_conditions(connection, load_settings())
    assert (health, [item.value for item in conditions]) == (Health.HEALTHY, [None, None])


def test_a_failed_structure_leaves_the_others_green_and_is_repeated_alone(
    beside: dg.DagsterInstance, maximo: Maximo
):
    maximo.app.faults.add("mxapiinventory", Fault("error", 403, "BMXAA0000E"))

    failed = run(beside, "maximo_site")

    assert not failed.success
    made = materializations(failed).keys()
    assert {"maximo/locations", "maximo/assets", "maximo/workorder"} <= made
    assert "maximo/inventory" not in made
    assert [event.step_key for event in failed.all_events if event.is_step_failure] == [
        "maximo__mxapiinventory"
    ]
    with maximo.database.begin() as connection:
        health, conditions = load_maximo_conditions(connection, load_settings())
    assert health is Health.DOWN
    assert "the right READ" in str(conditions[0].value)
    maximo.app.record.clear()
    keys = [dg.AssetKey(["maximo", name]) for name in ("mxapiinventory", "inventory")]
    again = defs.resolve_implicit_global_asset_job_def().execute_in_process(
        partition_key=SITE, instance=beside, asset_selection=keys
    )
    assert again.success
    assert {item.structure for item in maximo.app.record} == {"mxapiinventory"}


def test_a_partial_read_is_green_and_its_check_red(beside: dg.DagsterInstance, maximo: Maximo):
    run(beside, "maximo_site")
    for identifier in range(1001, 1116):
        maximo.world.remove("mxapiasset", identifier)

    result = run(beside, "maximo_site", force_full=True)

    assert result.success
    assert checks(result)["read_equals_server_count", "mxapiasset"] is False
    assert checks(result)["read_equals_server_count", "mxapilocations"] is True
    with maximo.database.begin() as connection:
        _, conditions = load_maximo_conditions(connection, load_settings())
    assert "115 of 230 rows" in conditions[1].message
    run(beside, "maximo_site", accept_deletes=True)
    assert maximo.statuses("assets") == {"deleted": 115, "synced": 115}


def test_a_table_alone_is_built_anew_without_a_request(beside: dg.DagsterInstance, maximo: Maximo):
    run(beside, "maximo_site")
    maximo.execute("delete from maximo.assetmeter")
    maximo.app.record.clear()

    result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
        partition_key=SITE, instance=beside, asset_selection=[dg.AssetKey(["maximo", "assetmeter"])]
    )

    assert result.success
    assert maximo.value("select count(*) from maximo.assetmeter") == 46
    assert maximo.app.record == []


def test_what_is_due_is_launched_once_and_asks_for_nothing_else(beside: dg.DagsterInstance, maximo: Maximo):
    first = look(beside)

    assert [(item.job_name, item.partition_key) for item in first.run_requests] == [
        ("maximo_global", None),
        ("maximo_site", SITE),
    ]
    maximo.sync_all()
    assert look(beside).run_requests == []
    maximo.execute("update maximo.sync_state set due_at = now() where endpoint = 'assets'")
    (request,) = look(beside).run_requests
    assert request.partition_key == SITE
    maximo.app.record.clear()
    result = defs.resolve_job_def("maximo_site").execute_in_process(
        partition_key=SITE, instance=beside, run_config=request.run_config
    )
    assert result.success
    assert {item.structure for item in maximo.app.record} == {"mxapiasset"}


def test_without_a_site_what_has_none_is_read_all_the_same(
    beside: dg.DagsterInstance, maximo: Maximo, bare_environment
):
    bare_environment.delenv("MAXIMO_SITES")
    maximo.app.default_site = maximo.app.insert_site = None

    (request,) = look(beside).run_requests

    assert (request.job_name, request.partition_key) == ("maximo_global", None)


def test_a_site_that_was_read_once_does_not_stay_in_turn(
    beside: dg.DagsterInstance, maximo: Maximo, bare_environment
):
    bare_environment.delenv("MAXIMO_SITES")
    maximo.sync_all(("LCVIRQ",))
    maximo.execute("update maximo.sync_state set last_sync_at = last_sync_at - interval '9 days'")

    requests = look(beside).run_requests

    # Of no site, and of the key's own user.
    assert [item.partition_key for item in requests] == [SITE]
    maximo.sync_all()
    asked = len(maximo.simulator.asked("whoami"))
    assert look(beside).run_requests == []
    assert len(maximo.simulator.asked("whoami")) == asked == 1
    with maximo.database.begin() as connection:
        structures = [item for item in STRUCTURES if item.has_site]
        ages = [find_oldest_sync(connection, structure)[1] for structure in structures]
    assert max(filter(None, ages)) < 3600, "what nobody keeps is not stale"


def test_without_an_address_nothing_is_launched(beside: dg.DagsterInstance, bare_environment):
    bare_environment.delenv("MAXIMO_BASE_URL")

    assert look(beside).run_requests == []
    assert dg.AssetKey(["maximo", "assets"]) in MAXIMO_RUNS.asset_keys


def test_what_a_person_asks_for_is_carried_out_and_told(beside: dg.DagsterInstance, maximo: Maximo):
    with maximo.database.begin() as connection:
        task, _ = submit_read(connection, "locations", (SITE,), is_forced=True, asked_by="test")

    (request,) = look(beside, build_requests_sensor([REQUESTED_READS])).run_requests

    assert (request.job_name, request.partition_key) == ("maximo_site", SITE)
    result = defs.resolve_job_def("maximo_site").execute_in_process(
        partition_key=SITE,
        instance=beside,
        run_config=request.run_config,
        tags=dict(request.tags),
        asset_selection=list(request.asset_selection),
    )
    assert result.success
    assert {item.structure for item in maximo.app.record} == {"mxapilocations"}
    look(beside, build_requests_sensor([REQUESTED_READS]))
    with maximo.database.begin() as connection:
        told = load_task(connection, task)
    assert told is not None
    assert (told["status"], told["progress"], told["endpoint"]) == ("completed", 100, "locations")
    assert told["messages"] == [
        {
            "level": "info",
            "text": "locations/KDFAC: success, 171 of 171 rows: full read: asked for",
        }
    ]
