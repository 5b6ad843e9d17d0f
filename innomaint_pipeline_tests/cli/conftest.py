"""The command line on real parts: databases of its own for each test, and one simulator."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from innomaint_pipeline.cli.main import main
from innomaint_pipeline.embedded.server import EmbeddedPostgres
from innomaint_pipeline.settings import Settings
from innomaint_pipeline.simulator.innomaint.server import InnomaintSimulator
from innomaint_pipeline.store.connections import with_driver
from innomaint_pipeline.store.database import Database
from innomaint_pipeline_tests.conftest import CANARY_TOKEN, WORLD_SIZE, Pipeline, import_two_batches
from innomaint_pipeline_tests.invariants import SECRET, find_tables_with

PROJECT = Path(__file__).resolve().parents[2]
INNOMAINT = Path(sys.executable).with_name("innomaint")
"""Two batches: six CMMS assets in each, in report order."""
_TEMPLATE = "template_dagster"
_numbers = count(1)


@pytest.fixture(scope="session")
def dagster_template(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with Dagster's tables: copying it costs less than making them."""
    postgres.ensure_database(_TEMPLATE)
    environment = {
        "DAGSTER_HOME": str(PROJECT),
        "DAGSTER_PG_URL": with_driver(postgres.url(_TEMPLATE), "psycopg2"),
        "INNOMAINT_HOME": str(tmp_path_factory.mktemp("template")),
        "INNOMAINT_CONCURRENT_RUNS": "6",
    }
    code = "import dagster as dg; dg.DagsterInstance.get().get_runs()"
    subprocess.run([sys.executable, "-c", code], env=environment, cwd=PROJECT, check=True)
    return _TEMPLATE


@pytest.fixture
def dagster_url(postgres: EmbeddedPostgres, dagster_template: str) -> Iterator[str]:
    name = f"dagster_{next(_numbers)}"
    create = sql.SQL("create database {} template {}")
    drop = sql.SQL("drop database {} with (force)")
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        connection.execute(create.format(sql.Identifier(name), sql.Identifier(dagster_template)))
        try:
            yield postgres.url(name)
            assert not find_tables_with(postgres.url(name), SECRET)
        finally:
            connection.execute(drop.format(sql.Identifier(name)))


@pytest.fixture
def bare_environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment without a variable of the project, in an empty folder; put back at the end."""
    kept, folder = dict(os.environ), Path.cwd()
    for name in (*(field.upper() for field in Settings.model_fields), "DAGSTER_HOME"):
        os.environ.pop(name, None)
    work = tmp_path / "work"
    work.mkdir()
    os.chdir(work)
    yield kept
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(kept)


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Standard output, which must be one JSON object and nothing else."""
        return json.loads(self.out)


@dataclass
class Cli:
    """Runs `innomaint` in the test's own process, where it reads the test's variables."""

    capture: pytest.CaptureFixture[str]
    home: Path

    def __call__(self, *arguments: str) -> Ended:
        self.capture.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        out, err = self.capture.readouterr()
        assert CANARY_TOKEN not in out + err
        return Ended(int(ended.value.code or 0), out, err)

    def in_a_process(self, *arguments: str, **variables: str) -> Ended:
        """Run the installed command in a process of its own."""
        ended = subprocess.run(
            [INNOMAINT, *arguments],
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert CANARY_TOKEN not in ended.stdout + ended.stderr
        return Ended(ended.returncode, ended.stdout, ended.stderr)


@pytest.fixture
def cli(
    bare_environment: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Iterator[Cli]:
    """The command line without a setting but a home of its own; the token must stand in no file of it."""
    del bare_environment
    home = tmp_path / "home"
    os.environ["INNOMAINT_HOME"] = str(home)
    yield Cli(capsys, home)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if CANARY_TOKEN.encode() in path.read_bytes()]


@pytest.fixture
def pipeline(database: Database, simulator: InnomaintSimulator) -> Pipeline:
    """Database and simulator, with 12 CMMS assets in two batches."""
    return import_two_batches(database, simulator)


@pytest.fixture
def connected(cli: Cli, database_url: str, dagster_url: str, simulator: InnomaintSimulator) -> Cli:
    """The command line with databases of its own and the simulator."""
    os.environ |= {
        "IC3_DATABASE_URL": database_url,
        "DAGSTER_PG_URL": dagster_url,
        "INNOMAINT_API_URL": simulator.url,
        "INNOMAINT_API_TOKEN": CANARY_TOKEN,
        "INNOMAINT_RATE_MS": "0",
        "INNOMAINT_RETRY_BASE_S": "0.001",
        "INNOMAINT_BATCH_SIZE": str(WORLD_SIZE // 2),
    }
    return cli
