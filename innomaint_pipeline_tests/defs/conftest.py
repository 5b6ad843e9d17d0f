"""Dagster in the test's own process: an ephemeral instance, the definitions, and the pipeline around them."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

with warnings.catch_warnings():
    # Dagster asks pydantic for a name that pydantic deprecates, and warns of what it calls beta.
    warnings.simplefilter("ignore")
    import dagster as dg
    from dagster._core.definitions.reconstruct import ReconstructableRepository

    from innomaint_pipeline.definitions import defs

from innomaint_pipeline.defs.innomaint.partitions import BATCHES
from innomaint_pipeline.settings import Settings
from innomaint_pipeline.simulator.innomaint.server import InnomaintSimulator
from innomaint_pipeline.simulator.innomaint.world import World
from innomaint_pipeline.store.database import Database
from innomaint_pipeline_tests.conftest import CANARY_TOKEN, FIRST_BATCH, Pipeline, fix_world

PROJECT = Path(__file__).resolve().parents[2]
ENRICH_ASSETS = (
    "ic3_building",
    "ic3_floor_master",
    "ic3_department_master",
    "ic3_asset_enrichment",
    "ic3_asset_performance",
    "ic3_workorder_summary",
)
BATCH_ASSETS = ("innomaint_response", *ENRICH_ASSETS, "cmms_sync_log")
Run = dg.ExecuteInProcessResult | dg.JobExecutionResult


@pytest.fixture
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """No variable of the project is set, and no .env is read."""
    for name in (*(field.upper() for field in Settings.model_fields), "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return monkeypatch


@dataclass
class Dagster:
    """An ephemeral instance, and runs in it as the UI starts them."""

    instance: dg.DagsterInstance
    pipeline: Pipeline

    def sync(
        self, *, config: dict[str, Any] | None = None, settle: dict[str, Any] | None = None
    ) -> dg.ExecuteInProcessResult:
        """Run sync_batch on the first batch; `config` is that of fetch and, unless given, of settle."""
        run_config = {
            "ops": {
                "innomaint_response": {"config": config or {}},
                "cmms_sync_log": {"config": settle or config or {}},
            }
        }
        return defs.resolve_job_def("sync_batch").execute_in_process(
            partition_key=FIRST_BATCH, instance=self.instance, run_config=run_config, raise_on_error=False
        )

    def materialize(self, *names: str) -> dg.ExecuteInProcessResult:
        """Materialize assets of the first batch, chosen one by one."""
        return defs.resolve_implicit_global_asset_job_def().execute_in_process(
            partition_key=FIRST_BATCH,
            instance=self.instance,
            asset_selection=[dg.AssetKey(name) for name in names],
            raise_on_error=False,
        )

    def execute_again_from_failure(self, failed: Run) -> dg.JobExecutionResult:
        """Re-execute a run of sync_batch from failure."""
        repository = ReconstructableRepository.for_module(
            "innomaint_pipeline.definitions", "defs", working_directory=str(PROJECT)
        )
        parent = self.instance.get_run_by_id(failed.run_id)
        assert parent is not None
        with dg.execute_job(
            repository.get_reconstructable_job("sync_batch"),
            instance=self.instance,
            run_config=parent.run_config,
            tags=parent.tags,
            reexecution_options=dg.ReexecutionOptions.from_failure(failed.run_id, self.instance),
        ) as result:
            return result

    def partition_status(self, asset: str) -> str | None:
        """Return MATERIALIZED, FAILED or nothing for the first batch's partition of an asset."""
        statuses = self.instance.get_status_by_partition(dg.AssetKey(asset), [FIRST_BATCH], BATCHES)
        status = (statuses or {}).get(FIRST_BATCH)
        return None if status is None else status.value

    def log(self, run: Run) -> list[dg.EventLogEntry]:
        return list(self.instance.all_logs(run.run_id))

    def messages(self, run: Run, *, level: int) -> list[str]:
        """Return what the steps themselves said at a level."""
        return [
            entry.user_message
            for entry in self.log(run)
            if entry.level == level and entry.dagster_event is None
        ]


def materializations(run: Run) -> dict[str, dict[str, Any]]:
    """Return the metadata of what a run materialized, by asset."""
    return {
        event.asset_key.to_user_string(): {
            name: entry.value for name, entry in event.materialization.metadata.items()
        }
        for event in run.all_events
        if event.is_step_materialization and event.asset_key is not None
    }


def steps_started(run: Run) -> list[str | None]:
    return [event.step_key for event in run.all_events if event.event_type_value == "STEP_START"]


def failure_of(run: Run) -> tuple[str, str, dict[str, Any]]:
    """Return step, message and metadata of the only failed step."""
    (event,) = [event for event in run.all_events if event.is_step_failure]
    data = event.step_failure_data.user_failure_data
    assert data is not None
    assert data.description is not None
    metadata = {name: entry.value for name, entry in data.metadata.items()}
    return str(event.step_key), data.description, metadata


def cause_of(run: Run) -> str:
    """Return what the only failed step raised, where that was no failure made for people."""
    (event,) = [event for event in run.all_events if event.is_step_failure]
    error = event.step_failure_data.error
    assert error is not None
    assert error.cause is not None
    return error.cause.message


@pytest.fixture
def pipeline(database: Database, simulator: InnomaintSimulator) -> Pipeline:
    """Database and simulator, with 30 CMMS assets in one batch."""
    fix_world(simulator, World(30))
    made = Pipeline(database, simulator)
    made.import_serials()
    return made


@pytest.fixture(scope="session")
def _ephemeral_instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def instance(_ephemeral_instance: dg.DagsterInstance) -> dg.DagsterInstance:
    """An instance that remembers nothing; making its tables for each test takes longer than many a test."""
    made = _ephemeral_instance
    made.wipe()
    made.add_dynamic_partitions("innomaint_batches", [FIRST_BATCH])
    return made


@pytest.fixture
def environment(bare_environment: pytest.MonkeyPatch, pipeline: Pipeline) -> pytest.MonkeyPatch:
    """The variables with which steps reach the test's database and simulator."""
    for name, value in {
        "IC3_DATABASE_URL": database_url(pipeline),
        "INNOMAINT_API_URL": pipeline.simulator.url,
        "INNOMAINT_API_TOKEN": CANARY_TOKEN,
        "INNOMAINT_RATE_MS": "0",
        "INNOMAINT_RETRY_BASE_S": "0.001",
    }.items():
        bare_environment.setenv(name, value)
    return bare_environment


def database_url(pipeline: Pipeline) -> str:
    return pipeline.database.engine.url.render_as_string(hide_password=False)


@pytest.fixture
def dagster(
    instance: dg.DagsterInstance, pipeline: Pipeline, environment: pytest.MonkeyPatch
) -> Iterator[Dagster]:
    """Dagster in front of 30 CMMS assets in one batch; at the end the token must stand in no event."""
    del environment
    made = Dagster(instance, pipeline)
    yield made
    runs = instance.get_runs()
    texts = [f"{run.run_config}{run.tags}" for run in runs]
    texts += [entry.to_json() for run in runs for entry in instance.all_logs(run.run_id)]
    assert not [text for text in texts if CANARY_TOKEN in text]


def requested(pipeline: Pipeline) -> Sequence[str | None]:
    """Return the serial numbers that were asked for, in order."""
    return [start.serial for start in pipeline.simulator.record.starts]
