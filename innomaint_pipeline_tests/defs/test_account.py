"""What of a Dagster instance is one account's: names, runs and databases, and nothing of another's."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run
from dagster._core.launcher.base import WorkerStatus

from innomaint_pipeline.definitions import defs
from innomaint_pipeline.defs.account import account_of_run
from innomaint_pipeline.defs.recovery import LeasedRunLauncher
from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.leases import RUN_LEASES, acquire_lease
from innomaint_pipeline.store.settings import save_account
from innomaint_pipeline_tests.conftest import FIRST_BATCH
from innomaint_pipeline_tests.defs.conftest import Dagster, requested
from innomaint_pipeline_tests.defs.runs import start_run

PROJECT = Path(__file__).resolve().parents[2]
# An account is known when the definitions load: a process of its own. Its instance holds old and new runs of
# two accounts, and of none, which have the same batches and requests.
LOOKING = """
import json, sys, warnings
from datetime import UTC, datetime, timedelta
warnings.simplefilter("ignore")
import dagster as dg
from innomaint_pipeline.definitions import defs
from innomaint_pipeline.defs.account import account_tags, own_runs
from innomaint_pipeline.defs.housekeeping import find_old_runs
from innomaint_pipeline.defs.innomaint.assets import BATCH_RUNS
from innomaint_pipeline.defs.innomaint.selection import read_selection, selection_run_config
from innomaint_pipeline.defs.innomaint.partitions import BATCHES
from innomaint_pipeline.defs.maximo.assets import SITES
from innomaint_pipeline.defs.recovery import find_partitions_in_runs
from innomaint_pipeline.defs.requests import REQUEST_TAG
from innomaint_pipeline.sync.innomaint.batch import Selection

graph = defs.resolve_asset_graph()
jobs = ["sync_batch", "import_asset_master", "check_tables", "housekeeping", "maximo_site", "customers_sync"]
found = {
    "keys": sorted(key.to_user_string() for key in graph.get_all_asset_keys()),
    "checks": sorted(f"{key.asset_key.to_user_string()}:{key.name}" for key in graph.asset_check_keys),
    "partitions": [BATCHES.name, SITES.name],
    "jobs": {name: dict(defs.resolve_job_def(name).run_tags) for name in jobs},
    "automation": sorted(item.name for item in (*defs.sensors, *defs.schedules)),
}
config = selection_run_config(Selection(("P 1",)))
dg.validate_run_config(defs.resolve_job_def("sync_batch"), config)
found["selection"] = list(read_selection(config).cmms_asset_ids)
with dg.DagsterInstance.ephemeral() as instance:
    def make(account, status):
        return instance.create_run_for_job(
            defs.resolve_job_def("sync_batch"), status=status,
            tags={"dagster/partition": "batch_000001", REQUEST_TAG: "1", "whose": str(account),
                  "innomaint/account": "", "dagster-celery/queue": "", **account_tags(account)},
        )
    for account in ("north", "south", None):
        for _ in range(3):
            make(account, dg.DagsterRunStatus.SUCCESS)
        make(account, dg.DagsterRunStatus.STARTED)
    whose = lambda ids: sorted(instance.get_run_by_id(run_id).tags["whose"] for run_id in ids)
    later = datetime.now(UTC) + timedelta(days=1)
    found["in_runs"] = whose(find_partitions_in_runs(instance, BATCH_RUNS).values())
    found["of_request"] = whose(run.run_id for run in instance.get_runs(own_runs(tags={REQUEST_TAG: "1"})))
    found["deleted"] = whose(find_old_runs(instance, later, limit=100))
print(json.dumps(found))
"""


def look(folder: Path, **variables: str) -> dict[str, Any]:
    """Return what the definitions of an account hold and what they find."""
    ended = subprocess.run(
        [sys.executable, "-c", LOOKING],
        cwd=folder,
        env={"PYTHONPATH": str(PROJECT), "PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_names_runs_and_partitions_are_those_of_the_account_and_without_one_as_ever(tmp_path: Path) -> None:
    north = look(tmp_path, INNOMAINT_ACCOUNT="north")
    graph = defs.resolve_asset_graph()

    keys = {key.to_user_string() for key in graph.get_all_asset_keys()}
    checks = {f"{key.asset_key.to_user_string()}:{key.name}" for key in graph.asset_check_keys}
    assert set(north["keys"]) == {f"north/{key}" for key in keys}
    assert set(north["checks"]) == {f"north/{check}" for check in checks}
    assert {"ic3_asset_master", "maximo/assets", "customers/customer"} <= keys
    assert north["partitions"] == ["innomaint_batches_north", "maximo_sites_north"]
    automation = {item.name for item in (*(defs.sensors or ()), *(defs.schedules or ()))}
    assert set(north["automation"]) == automation
    for name, tags in north["jobs"].items():
        assert (tags["innomaint/account"], tags["dagster-celery/queue"]) == ("north", "north")
        own = dict(defs.resolve_job_def(name).run_tags)
        assert not own.keys() & {"innomaint/account", "dagster-celery/queue"}
        # Three of a source at once, for each account.
        assert tags.get("innomaint/source") == (f"north/{own['innomaint/source']}" if own else None)
    assert north["selection"] == ["P 1"]
    assert north["in_runs"] == ["north"]
    assert north["of_request"] == ["north"] * 4
    # The latest stays, and so does every run of the others.
    assert north["deleted"] == ["north"] * 2


def test_a_run_is_judged_by_the_database_of_its_own_account(
    instance: dg.DagsterInstance, database: Database, bare_environment: pytest.MonkeyPatch
) -> None:
    run_id = start_run(instance, "batch_000001", seconds_ago=10_000)
    instance.add_run_tags(run_id, {"innomaint/account": "north"})
    run = instance.get_run_by_id(run_id)
    assert run is not None
    assert account_of_run(run) == "north"
    launcher = LeasedRunLauncher(second_look_seconds=0.0)
    launcher.register_instance(instance)
    bare_environment.setenv("IC3_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/another")
    url = database.engine.url.render_as_string(hide_password=False)
    bare_environment.setenv("IC3_DATABASE_URL_NORTH", url)
    with database.begin() as connection:
        assert acquire_lease(connection, RUN_LEASES + run_id, run_id)

    for _ in range(2):
        assert launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING

    bare_environment.delenv("IC3_DATABASE_URL_NORTH")
    with pytest.raises(ConfigurationError, match="IC3_DATABASE_URL_NORTH is not set"):
        launcher.check_run_worker_health(run)


def test_a_run_in_the_database_of_another_account_fails_before_it_asks_for_anything(dagster: Dagster) -> None:
    with dagster.pipeline.database.begin() as connection:
        save_account(connection, "north")

    job = defs.resolve_job_def("sync_batch")
    tags = {"dagster/partition": FIRST_BATCH}
    run = dagster.instance.create_run_for_job(job, tags=tags)

    with pytest.raises(ConfigurationError, match="the data of the account north"):
        execute_run(InMemoryJob(job), run, dagster.instance, raise_on_error=True)

    assert requested(dagster.pipeline) == []
