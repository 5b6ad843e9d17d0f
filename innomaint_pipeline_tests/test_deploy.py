"""The installations of deploy/: complete, alike but for where a run executes, and loaded as Dagster does."""

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import redis
import yaml
from dagster_k8s.job import construct_dagster_k8s_job

from innomaint_pipeline.cli.engine import find_engine
from innomaint_pipeline.defs.launchers.celery import LeasedCeleryRunLauncher
from innomaint_pipeline.defs.launchers.kubernetes import LeasedK8sRunLauncher
from innomaint_pipeline.embedded.server import EmbeddedPostgres
from innomaint_pipeline.settings import Settings
from innomaint_pipeline.store.connections import with_driver

PROJECT = Path(__file__).resolve().parents[1]
DEPLOY = PROJECT / "deploy"
FOLDERS = {"celery": DEPLOY / "celery", "kubernetes": DEPLOY / "kubernetes"}
OF_THE_ENGINE = {"run_launcher", "compute_logs"}
SECRET = "Sup3rSecr3tVa1ue"


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@contextmanager
def instance_of(folder: Path, postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    postgres.ensure_database("deployed")
    with pytest.MonkeyPatch.context() as environment:
        variables = {
            "DAGSTER_HOME": str(folder),
            "DAGSTER_PG_URL": with_driver(postgres.url("deployed"), "psycopg2"),
            "IC3_DATABASE_URL": f"postgresql://ic3:{SECRET}@db.example/ic3",
            "INNOMAINT_API_TOKEN": SECRET,
            "INNOMAINT_BROKER_URL": f"redis://:{SECRET}@redis.example:6379/0",
            "INNOMAINT_CONCURRENT_RUNS": "6",
            "INNOMAINT_HOME": str(tmp_path),
            "INNOMAINT_NAMESPACE": "pumps",
            "DAGSTER_K8S_INSTANCE_CONFIG_MAP": "dagster-instance",
        }
        for name, value in variables.items():
            environment.setenv(name, value)
        with dg.DagsterInstance.get() as opened:
            yield opened


def test_the_folders_are_alike_but_for_where_a_run_executes() -> None:
    own = read(PROJECT / "dagster.yaml")
    assert find_engine(PROJECT) is None
    for engine, folder in FOLDERS.items():
        shipped = read(folder / "dagster.yaml")
        differing = {key for key in own.keys() | shipped.keys() if own.get(key) != shipped.get(key)}
        assert differing == OF_THE_ENGINE
        assert find_engine(folder) == engine
        assert "innomaint_pipeline.definitions" in (folder / "workspace.yaml").read_text("utf-8")
        (entry,) = read(folder / "workspace.yaml")["load_from"]
        assert {found["location_name"] for found in entry.values()} == {"innomaint_pipeline"}
        lines = (folder / ".env.example").read_text("utf-8").splitlines()
        names = {line.partition("=")[0] for line in lines if line and not line.startswith("#")}
        assert names <= {field.upper() for field in Settings.model_fields}
        assert {"INNOMAINT_API_TOKEN", "IC3_DATABASE_URL", "DAGSTER_PG_URL"} <= names


def test_the_values_of_the_chart_say_what_dagster_yaml_says() -> None:
    values, own = read(FOLDERS["kubernetes"] / "values.yaml"), read(FOLDERS["kubernetes"] / "dagster.yaml")
    daemon = values["dagsterDaemon"]

    launcher = values["runLauncher"]["config"]["customRunLauncher"]
    # The chart's own storage is given its password so.
    del launcher["config"]["postgres_password_secret"]
    assert launcher == own["run_launcher"]
    assert daemon["runCoordinator"]["config"]["customRunCoordinator"] == own["run_coordinator"]
    monitoring, retries = daemon["runMonitoring"], daemon["runRetries"]
    assert {
        "enabled": monitoring["enabled"],
        "poll_interval_seconds": monitoring["pollIntervalSeconds"],
        "start_timeout_seconds": monitoring["startTimeoutSeconds"],
        "cancel_timeout_seconds": monitoring["cancelTimeoutSeconds"],
        "max_runtime_seconds": monitoring["maxRuntimeSeconds"],
    } == own["run_monitoring"]
    assert {
        "enabled": retries["enabled"],
        "max_retries": retries["maxRetries"],
        "retry_on_asset_or_op_failure": retries["retryOnAssetOrOpFailure"],
    } == own["run_retries"]
    for name in ("sensors", "schedules"):
        found = {"use_threads": daemon[name]["useThreads"], "num_workers": daemon[name]["numWorkers"]}
        assert found == own[name]
    assert values["computeLogManager"]["type"] == own["compute_logs"]["class"]
    for name in ("sensor", "schedule"):
        assert values["retention"][name]["purgeAfterDays"] == own["retention"][name]["purge_after_days"]


def test_the_celery_folder_loads_and_its_tasks_hold_no_secret(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    with instance_of(FOLDERS["celery"], postgres, tmp_path) as instance:
        launcher = instance.run_launcher
        assert isinstance(launcher, LeasedCeleryRunLauncher)
        assert SECRET in launcher.celery.conf.broker_url
        assert launcher.celery.conf.result_backend == "disabled://"
        assert launcher.celery.conf.worker_disable_prefetch
        # What travels with each task.
        assert SECRET not in str(instance.get_ref())
        assert instance.run_monitoring_max_resume_run_attempts == 0


def test_a_redis_with_tls_must_prove_that_it_is_the_one() -> None:
    for address in ("rediss://redis.example/0", "rediss://redis.example/0?ssl_ca_certs=/etc/ca.pem"):
        with LeasedCeleryRunLauncher(default_queue="dagster", broker=address).celery.connection() as used:
            connection = redis.SSLConnection(**used.ssl)
        assert connection.cert_reqs == ssl.CERT_REQUIRED
        assert connection.check_hostname
    with LeasedCeleryRunLauncher(default_queue="dagster", broker="redis://h/0").celery.connection() as used:
        assert not used.ssl


def test_a_job_of_kubernetes_takes_its_variables_from_the_secret_and_holds_none(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    config = tmp_path / "kubeconfig"
    cluster = {"name": "none", "cluster": {"server": "https://127.0.0.1:1"}}
    context = {"name": "none", "context": {"cluster": "none", "user": "nobody"}}
    user = {"name": "nobody", "user": {"token": "invented"}}
    stub = {"clusters": [cluster], "contexts": [context], "users": [user], "current-context": "none"}
    config.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **stub}))
    shipped = read(FOLDERS["kubernetes"] / "dagster.yaml")
    # Outside of a cluster there is no account of a service to load.
    shipped["run_launcher"]["config"] |= {"load_incluster_config": False, "kubeconfig_file": str(config)}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(shipped))

    with instance_of(tmp_path, postgres, tmp_path) as instance:
        launcher = instance.run_launcher
        assert isinstance(launcher, LeasedK8sRunLauncher)
        run = dg.DagsterRun(job_name="sync_batch", run_id="b51cf4a8-6a53-4d4f-8f5b-6a1a4a5b6c7d")
        context_of_run = launcher.get_container_context_for_run(run)
        job = construct_dagster_k8s_job(
            job_config=context_of_run.get_k8s_job_config("innomaint:1", launcher),
            args=["dagster", "api", "execute_run"],
            job_name="run",
            user_defined_k8s_config=context_of_run.run_k8s_config,
            pod_name="run",
            component="run_worker",
        ).to_dict()
        assert instance.run_monitoring_max_resume_run_attempts == 0

    assert job["spec"]["backoff_limit"] == 0
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert [item["secret_ref"]["name"] for item in container["env_from"] if item["secret_ref"]] == [
        "innomaint"
    ]
    assert container["security_context"]["run_as_non_root"]
    assert SECRET not in str(job)


def test_the_image_needs_no_secret_and_runs_as_a_user_without_rights() -> None:
    recipe = (FOLDERS["kubernetes"] / "Dockerfile").read_text("utf-8")
    lines = [line for line in recipe.splitlines() if line and not line.startswith("#")]
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert [int(user) > 0 for user in users] == [True]
    assert not any(line.split()[0] == "ARG" or "secret" in line.lower() for line in lines)
    copied = [name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]]
    assert copied
    assert all((PROJECT / name).exists() for name in copied)
    assert not any(name.startswith(".") for name in copied)
