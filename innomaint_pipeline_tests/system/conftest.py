"""Whole programs: a home of its own for each, a simulator, and proof that nothing is left behind."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from psycopg.rows import dict_row

from benchmarks.servers import Server, running_postgres
from innomaint_pipeline.embedded.server import EmbeddedPostgres, embedded_postgres
from innomaint_pipeline.embedded.watch import wait_for_end
from innomaint_pipeline.settings import Settings
from innomaint_pipeline.simulator.innomaint.server import InnomaintSimulator
from innomaint_pipeline.simulator.innomaint.world import World
from innomaint_pipeline.simulator.limit import Latency
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.upgrade import upgrade_database
from innomaint_pipeline_tests.conftest import CANARY_TOKEN, Pipeline
from innomaint_pipeline_tests.homes import make_home
from innomaint_pipeline_tests.invariants import check_invariants, find_tables_with

PROJECT = Path(__file__).resolve().parents[2]
INNOMAINT = Path(sys.executable).with_name("innomaint")
# Bounds that only a hanging program reaches, on a slow machine too.
LONG_SECONDS = 480
_GONE_SECONDS = 30
# More would only wait for the two cores.
_AT_ONCE = 6
# Those that wait longest for leases, so that none of them is alone at the end.
_LONGEST_FIRST = ("kills", "second source", "demonstration", "attended", "weather", "an outage")
_LONGEST_PAUSE_SECONDS = 0.4

# A suite that was started in the background ignores Ctrl-C, and every command it starts would, too.
signal.signal(signal.SIGINT, signal.default_int_handler)


def wait_until(condition: Callable[[], Any], what: str, seconds: float = LONG_SECONDS) -> Any:
    """Return the first true value of a condition; fail when there is none in time.

    Looks ever more rarely: a question to Dagster's webserver costs it a tenth of a second of CPU.
    """
    deadline = time.monotonic() + seconds
    pause = 0.05
    while True:
        if found := condition():
            return found
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain: {what}"
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


@pytest.fixture(scope="session", autouse=True)
def _hangup_ends_programs() -> Iterator[None]:
    """Let SIGHUP do what it does in a terminal, also where the tests themselves run under nohup."""
    previous = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, previous)


@pytest.fixture(scope="session")
def outcomes(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[Any]]]:
    """What becomes of the `SCENARIOS` of the test modules, by name.

    A scenario mostly waits, for leases and for processes: a few run at once, each in a home of its own.
    """
    modules = {item.module for item in request.session.items if isinstance(item, pytest.Function)}
    scenarios: dict[str, Callable[[], Any]] = {}
    for module in sorted(modules, key=lambda module: module.__name__):
        scenarios |= getattr(module, "SCENARIOS", {})
    names = [name for name in _LONGEST_FIRST if name in scenarios]
    names += [name for name in scenarios if name not in names]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        yield {name: pool.submit(scenarios[name]) for name in names}


@dataclass(frozen=True)
class Ended:
    """A command that has ended, after so many seconds."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.out)


@dataclass
class Command:
    """A command under way."""

    process: subprocess.Popen[str]
    began: float = field(default_factory=time.monotonic)

    def end(self, seconds: float = LONG_SECONDS) -> Ended:
        """Wait for its end."""
        out, err = self.process.communicate(timeout=seconds)
        assert CANARY_TOKEN not in out + err
        return Ended(self.process.returncode, out, err, time.monotonic() - self.began)

    def signal(self, number: int) -> Ended:
        """Send a signal and wait for the end; `seconds` is the time in between."""
        sent = time.monotonic()
        self.process.send_signal(number)
        ended = self.end()
        return Ended(ended.code, ended.out, ended.err, time.monotonic() - sent)

    def descendants(self) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self.process.pid).children(recursive=True)
        return []

    def kill_with_all_it_started(self) -> None:
        """SIGKILL to the command and every descendant, before any of them can notice."""
        everybody = [psutil.Process(self.process.pid), *self.descendants()]
        for process in everybody:
            process.suspend()
        for process in everybody:
            process.kill()
        self.process.communicate()
        wait_for_end(everybody, _GONE_SECONDS)


def start(home: Path, variables: dict[str, str], *arguments: str, is_bare: bool = False) -> Command:
    """Start a command of a home, in a process group of its own; a bare one with its variables alone."""
    environment = build_environment(home, variables)
    if is_bare:
        for name in {"INNOMAINT_HOME", "INNOMAINT_ADMIN_PORT"} - set(variables):
            del environment[name]
    return Command(
        subprocess.Popen(
            [INNOMAINT, *arguments],
            env=environment,
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    )


def command_line(process: psutil.Process) -> str:
    """Return a process's command line, empty when it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


@dataclass
class Installation:
    """A home with its server running, a simulated Innomaint, and commands between them."""

    home: Path
    postgres: EmbeddedPostgres | Server
    simulator: InnomaintSimulator
    variables: dict[str, str]

    @property
    def serials(self) -> tuple[str, ...]:
        return self.simulator.world.serials

    def start(self, *arguments: str) -> Command:
        """Start a command."""
        return start(self.home, self.variables, *arguments)

    def run(self, *arguments: str) -> Ended:
        """Run a command to its end."""
        return self.start(*arguments).end()

    def rows(self, query: str, *, database: str = "ic3") -> list[dict[str, Any]]:
        with psycopg.connect(self.postgres.url(database), row_factory=dict_row) as connection:
            return connection.execute(query).fetchall()  # pyright: ignore[reportArgumentType, reportCallIssue]

    def stored(self) -> set[str]:
        """Return the CMMS asset ids whose answers are stored."""
        query = "select cmms_asset_id from innomaint_response join ic3_asset_master using (asset_id)"
        return {row["cmms_asset_id"] for row in self.rows(query)}

    def run_statuses(self) -> list[str]:
        """Return the statuses of Dagster's runs, in the order in which they were made."""
        return [row["status"] for row in self.rows("select status from runs order by id", database="dagster")]

    def batch_statuses(self) -> list[str]:
        return [row["status"] for row in self.rows("select status from cmms_sync_log order by id")]

    def requested_since(self, number: int) -> list[str | None]:
        """Return the serial numbers asked for after the first so many requests."""
        return [start.serial for start in self.simulator.record.starts[number:]]


def build_environment(home: Path, variables: dict[str, str]) -> dict[str, str]:
    """Return the environment of a command: no variable of the project but those given."""
    project = {field.upper() for field in Settings.model_fields} | {"DAGSTER_HOME"}
    kept = {name: value for name, value in os.environ.items() if name not in project}
    # Several run at once: none may take the port that all of them have by default.
    own = {"INNOMAINT_HOME": str(home), "INNOMAINT_ADMIN_PORT": str(find_free_port())}
    return kept | own | variables


@contextmanager
def new_home(prefix: str) -> Iterator[Path]:
    """Yield a folder with a short path; at the end no process of it is left, and no file holds the token."""
    home = make_home(prefix)
    try:
        yield home
        wait_until(lambda: not find_processes(home), f"the processes of {home} end", _GONE_SECONDS)
        assert find_files_with(home, CANARY_TOKEN) == []
    finally:
        for process in find_processes(home):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def installation(
    prefix: str,
    *,
    size: int,
    batch_size: int,
    rate_ms: int | None = 100,
    latency: Latency | None = None,
    has_own_server: bool = False,
    **variables: str,
) -> Iterator[Installation]:
    """Yield an installation whose master holds the simulator's world; at the end no row holds the token.

    `has_own_server` gives it PostgreSQL as Debian's package installs it, instead of the embedded one; its
    password is the token, so that whatever finds the one finds the other.
    """
    with ExitStack() as stack:
        home = stack.enter_context(new_home(prefix))
        postgres = stack.enter_context(
            running_postgres(home, password=CANARY_TOKEN, fast_and_unsafe=True)
            if has_own_server
            else embedded_postgres(home, fast_and_unsafe=True)
        )
        simulator = stack.enter_context(InnomaintSimulator(World(size), token=CANARY_TOKEN, latency=latency))
        postgres.ensure_database("ic3")
        database = Database(postgres.url("ic3"))
        stack.callback(database.close)
        upgrade_database(database, batch_size=batch_size)
        Pipeline(database, simulator).import_serials(batch_size=batch_size)
        settings = {
            "INNOMAINT_API_URL": simulator.url,
            "INNOMAINT_API_TOKEN": CANARY_TOKEN,
            "INNOMAINT_BATCH_SIZE": str(batch_size),
            "INNOMAINT_RETRY_BASE_S": "0.01",
        }
        if rate_ms is not None:
            settings["INNOMAINT_RATE_MS"] = str(rate_ms)
        began = datetime.now(UTC)
        yield Installation(home, postgres, simulator, settings | variables)
        check_invariants(database, began)
        for name in ("ic3", "dagster"):
            assert find_tables_with(postgres.url(name), CANARY_TOKEN) == []
        # The searches would find it: what surely stands there is found.
        known = simulator.world.serials[0]
        assert "ic3_asset_master" in find_tables_with(postgres.url("ic3"), known)
        assert find_files_with(home, known) != []


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def find_processes(home: Path) -> list[psutil.Process]:
    """Return the processes that belong to a home: by their command line, folder or variables."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            owned = process.environ().get("INNOMAINT_HOME", "") if process.uids().real == os.getuid() else ""
            if str(home) in " ".join(process.cmdline()) or owned.startswith(str(home)):
                found.append(process)
    return found


def find_files_with(folder: Path, text: str) -> list[Path]:
    """Return the files below a folder that hold a text."""
    found = []
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            if path.is_file() and text.encode() in path.read_bytes():
                found.append(path)
    return found
