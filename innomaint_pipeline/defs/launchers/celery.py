"""Runs as Celery tasks: the launcher that dagster.yaml names, and the tasks that a worker takes.

Redis carries tasks and nothing else: what becomes of a run stands in Dagster's database, and whether it lives
tells its lease.
"""

import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import dagster as dg
from celery import Celery
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import unpack_value
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tasks import create_execute_job_task

from innomaint_pipeline.defs.recovery import LaunchElsewhere

_SETTINGS = {
    # A result would only repeat the run's status, and be missing after a SIGKILL.
    "result_backend": "disabled://",
    "task_ignore_result": True,
    # A worker takes no task beside those it executes: an idle one would wait for it in vain.
    "worker_prefetch_multiplier": 1,
    "worker_disable_prefetch": True,
    "broker_connection_retry_on_startup": True,
    # A broker that is gone ends no run.
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    # A broker that is away stops the daemon's launching for seconds, not for ever: the run is launched again.
    "broker_transport_options": {"socket_connect_timeout": 5, "socket_timeout": 30, "max_retries": 3},
}


class LeasedCeleryRunLauncher(LaunchElsewhere, CeleryRunLauncher):
    """Dagster's Celery launcher, which tells by leases who lives and terminates through the database."""

    def app_args(self) -> dict[str, Any]:
        """Return what the Celery app is made of, here and in a worker."""
        arguments = super().app_args()
        settings = {**arguments["config_source"], **_SETTINGS}
        if urlsplit(self.broker or "").scheme == "rediss":
            # Without options in the address, Celery would take anybody's certificate. Those win.
            settings["broker_use_ssl"] = {"ssl_cert_reqs": ssl.CERT_REQUIRED}
        return {**arguments, "backend": None, "config_source": settings}

    def get_run_worker_debug_info(self, run: dg.DagsterRun, *arguments: Any, **options: Any) -> None:
        """Note a run that was never begun; Celery itself would ask its results, of which there are none."""
        del arguments, options
        self._note_not_begun(run)


def find_run(task_arguments: Mapping[str, Any]) -> str:
    """Return the id of the run that a task executes."""
    return unpack_value(task_arguments["execute_job_args_packed"], as_type=ExecuteRunArgs).run_id


def build_worker_app(launcher: LeasedCeleryRunLauncher) -> Celery:
    """Return the launcher's app with the task that executes a run."""
    create_execute_job_task(launcher.celery)
    return launcher.celery
