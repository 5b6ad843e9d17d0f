"""Dagster runs started from the command line: created as the UI would, executed here (docs/how-it-works.md).

Belongs here: the only code that knows how Dagster creates and executes a run. A run carries the origin of its
code location, so that the UI can re-execute it, and is executed in this process: a process for each run would
cost a batch several seconds.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.execution.api import execute_run
from dagster._core.remote_origin import RemoteRepositoryOrigin
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_shared.record import copy

from innomaint_pipeline.accounts import location_name
from innomaint_pipeline.cli.environment import CODE_FOLDER, project_folder
from innomaint_pipeline.defs.account import LOCATION
from innomaint_pipeline.defs.failures import find_stop
from innomaint_pipeline.defs.requests import ROW_REFUSED_TAG
from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline.store.readiness import find_dagster_trouble

_MODULE = "innomaint_pipeline.definitions"
_ATTRIBUTE = "defs"
_REPOSITORY = "__repository__"


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    `stop_code` is the exit code of an error that concerns everybody, with its message; `fault` is why else
    the run failed, unless for CMMS assets that remain. `row_refused` is
    why the database took no row of the batch.
    """

    run_id: str
    status: str
    partition_key: str | None = None
    stop_code: int | None = None
    message: str | None = None
    fault: str | None = None
    row_refused: str | None = None


class RunExecutor:
    """Creates and executes runs of one Dagster instance, one after the other."""

    def __init__(self) -> None:
        # Every step's lines belong to Dagster's event log, not to the terminal of the command.
        logging.getLogger("dagster").setLevel(logging.CRITICAL)
        self.instance = dg.DagsterInstance.get()
        self._repository = ReconstructableRepository.for_module(
            _MODULE, _ATTRIBUTE, working_directory=str(CODE_FOLDER)
        )
        self._definition = self._repository.get_definition()
        self._origin = self._find_origin()
        self._run_id: str | None = None

    @staticmethod
    def _find_origin() -> RemoteRepositoryOrigin:
        workspace = project_folder() / "workspace.yaml"
        found = {it.location_name: it for it in WorkspaceFileTarget([str(workspace)]).create_origins()}
        for name in (LOCATION, location_name(None)):
            if name in found:
                # One entry of the file serves every account.
                origin = copy(found[name], location_name=LOCATION)
                return RemoteRepositoryOrigin(code_location_origin=origin, repository_name=_REPOSITORY)
        raise ConfigurationError(f"{workspace} has no code location named {LOCATION}")

    def execute(
        self,
        job_name: str,
        *,
        partition_key: str | None = None,
        run_config: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> RunResult:
        """Create a run and execute it to its end; an interrupt ends it as `report_canceling` says.

        Where Dagster's database fails, the result says so: what the run has stored is kept.
        """
        try:
            return self._execute(job_name, partition_key, run_config or {}, tags or {})
        except Exception as error:
            trouble = find_dagster_trouble(error, os.environ["DAGSTER_PG_URL"])
            if trouble is None:
                raise
            return RunResult("", "UNKNOWN", partition_key, trouble.exit_code, str(trouble))

    def _execute(
        self,
        job_name: str,
        partition_key: str | None,
        run_config: Mapping[str, Any],
        tags: Mapping[str, str],
    ) -> RunResult:
        job = self._repository.get_reconstructable_job(job_name)
        definition = self._definition.get_job(job_name)
        run_tags = {**definition.run_tags, "innomaint/started_by": "command line", **tags}
        if partition_key is not None:
            run_tags |= definition.get_tags_for_partition_key(
                partition_key, selected_asset_keys=definition.asset_layer.executable_asset_keys
            )
        run = self.instance.create_run_for_job(
            job_def=definition,
            run_config=run_config,
            tags=run_tags,
            remote_job_origin=self._origin.get_job_origin(job_name),
            job_code_origin=job.get_python_origin(),
        )
        self._run_id = run.run_id
        try:
            result = execute_run(job, run, self.instance)
        finally:
            self._run_id = None
        ended = self.instance.get_run_by_id(run.run_id)
        status = ended.status if ended else None
        stop_code, message, is_of_assets = find_stop(result.all_events)
        is_fault = status != dg.DagsterRunStatus.SUCCESS and stop_code is None and not is_of_assets
        return RunResult(
            run.run_id,
            status.value if status else "UNKNOWN",
            partition_key,
            stop_code,
            message,
            fault=message or "the run's log says why" if is_fault else None,
            row_refused=ended.tags.get(ROW_REFUSED_TAG) if ended else None,
        )

    def report_canceling(self) -> None:
        """Tell Dagster that a person ends the run under way; called from another thread than `execute`."""
        run = self.instance.get_run_by_id(self._run_id) if self._run_id else None
        if run is not None and not run.is_finished:
            self.instance.report_run_canceling(run)
