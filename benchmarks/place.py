"""The ground that measurements stand on: an embedded PostgreSQL in a temporary home, simulators, processes.

Belongs here: starting, watching, ending. The simulator runs in a process of its own, so that client and
server do not share one interpreter; everything listens on loopback and has ended when the place is left.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg import sql

from innomaint_pipeline.accounts import WITHOUT_ENV_FILE
from innomaint_pipeline.embedded.server import EmbeddedPostgres, embedded_postgres
from innomaint_pipeline.settings import Settings
from innomaint_pipeline.simulator.innomaint.control import CONTROL_PATH
from innomaint_pipeline.simulator.innomaint.world import World
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.upgrade import upgrade_database
from innomaint_pipeline.store.workbook import import_rows

PROJECT = Path(__file__).resolve().parent.parent
TOKEN = "invented-token-of-the-benchmarks"
BATCH_SIZE = 100
NOTE_STARTS = """
create table noted_start (at double precision);
create function note_start() returns trigger language plpgsql as $$
begin
    insert into noted_start values (new.last_start_at);
    return null;
end $$;
create trigger note_start after insert or update on innomaint_rate_limit for each row
when (new.last_start_at > 0) execute function note_start();
"""
"""Notes when each request started, by the clock that all runs of a database share."""
_TEMPLATE = "measured_template"
_START_SECONDS = 60
_END_SECONDS = 120
_LONGEST_SECONDS = 600


class Scale:
    """How much is measured: what every run takes, all of it, or just enough to see that it works."""

    TINY = "tiny"
    DEFAULT = "default"
    FULL = "full"


@dataclass(frozen=True)
class Simulator:
    """A simulated Innomaint in a process of its own."""

    url: str

    def requests(self) -> dict[str, Any]:
        """Return its own record: `summary` and `requests`."""
        return json.loads(self._control("requests"))

    def reset(self) -> None:
        """Forget the requests so far."""
        self._control("reset", method="POST")

    def _control(self, name: str, method: str = "GET") -> bytes:
        origin = "/".join(self.url.split("/", 3)[:3])
        request = urllib.request.Request(f"{origin}{CONTROL_PATH}{name}", method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()


@dataclass
class Ended:
    """A command that ended well: what it printed, how long it took, how much it held at most."""

    out: str
    err: str
    seconds: float
    peak_mib: float
    samples: dict[int, list[float]]

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Place:
    """One server of PostgreSQL, with as many databases as are asked for."""

    home: Path
    postgres: EmbeddedPostgres
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    @contextmanager
    def database(self) -> Iterator[tuple[str, Database]]:
        """Yield the address of a new database with every table, and the database; dropped at the end."""
        name = f"measured_{next(self._numbers)}"
        with psycopg.connect(self.postgres.url("postgres"), autocommit=True) as connection:
            create = sql.SQL("create database {} template {}")
            connection.execute(create.format(sql.Identifier(name), sql.Identifier(_TEMPLATE)))
        database = Database(self.postgres.url(name))
        try:
            yield self.postgres.url(name), database
        finally:
            database.close()
            with psycopg.connect(self.postgres.url("postgres"), autocommit=True) as connection:
                connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))

    @contextmanager
    def simulator(self, size: int, *, latency: float = 0.0, faults: float = 0.0) -> Iterator[Simulator]:
        """Yield a simulator of `size` CMMS assets that runs until the end."""
        command = [*INNOMAINT, "simulate", "--port", "0", "--assets", str(size)]
        command += ["--latency", str(latency), "--faults", str(faults)]
        process = subprocess.Popen(
            command, env=self.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        try:
            stderr = process.stderr
            line = stderr.readline() if stderr else ""
            while "INNOMAINT_API_URL=" not in line:
                if process.poll() is not None:
                    raise RuntimeError(f"the simulator ended at once: {line}")
                line = stderr.readline() if stderr else ""
            # The console wraps long lines.
            url = line.split("INNOMAINT_API_URL=")[1].strip()
            yield Simulator(url)
        finally:
            process.terminate()
            process.communicate(timeout=_START_SECONDS)

    def environment(self, **variables: str) -> dict[str, str]:
        """Return the environment of a command: no variable of the project but those given, and the home."""
        project = {name.upper() for name in Settings.model_fields} | {"DAGSTER_HOME"}
        kept = {name: value for name, value in os.environ.items() if name not in project}
        own = {"INNOMAINT_HOME": str(self.home), WITHOUT_ENV_FILE: "1", "COLUMNS": "1000"}
        return kept | own | variables

    def run(self, command: Sequence[str], **variables: str) -> Ended:
        """Run a command to its end and watch its memory; raise when it fails."""
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            env=self.environment(**variables),
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        memory = _Memory(process.pid)
        out, err = process.communicate()
        seconds = time.perf_counter() - began
        memory.end()
        if process.returncode != 0:
            raise RuntimeError(f"{' '.join(command[:4])} ended with {process.returncode}: {err[-2000:]}")
        return Ended(out, err, seconds, memory.peak_mib, memory.samples)


@contextmanager
def keep_running(
    command: Sequence[str], *, folder: Path, environment: dict[str, str], log: Path, **account: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program for the block, then interrupt it and wait for its end; `log` gets what it prints.

    `account` is whose process it becomes, as `subprocess` takes it: `user`, `group`, `extra_groups`.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            **account,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until(
    condition: Callable[[], object], what: str, started: Sequence[subprocess.Popen[bytes]], folder: Path
) -> None:
    """Look twice a second; raise, with the logs of `folder`, when a program ends first or time is over."""
    deadline = time.monotonic() + _LONGEST_SECONDS
    while not condition():
        if any(process.poll() is not None for process in started) or time.monotonic() > deadline:
            said = {path.name: path.read_text("utf-8", "replace")[-1000:] for path in folder.rglob("*.log")}
            raise RuntimeError(f"waited in vain until {what}: {said}")
        time.sleep(0.5)


def count_synced(database: Database) -> int:
    """Return how many CMMS assets are synced."""
    with database.begin() as connection:
        query = "select count(*) from innomaint_sync_state where state = 'synced'"
        return connection.exec_driver_sql(query).scalar_one()


def find_noted_pauses_ms(database: Database) -> list[float]:
    """Return the times between one start and the next that `NOTE_STARTS` noted, least first."""
    with database.begin() as connection:
        return find_pauses_ms(connection.exec_driver_sql("select distinct at from noted_start").scalars())


def find_pauses_ms(moments: Iterable[float]) -> list[float]:
    """Return the times between one moment, in seconds, and the next, least first."""
    return sorted(1000 * (later - earlier) for earlier, later in pairwise(sorted(moments)))


def find_free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


INNOMAINT = [sys.executable, "-c", "from innomaint_pipeline.cli.main import main; main()"]


class _Memory:
    """The resident memory of a process and its descendants, looked at twenty times a second."""

    def __init__(self, pid: int) -> None:
        self.samples: dict[int, list[float]] = {}
        self._root = psutil.Process(pid)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    @property
    def peak_mib(self) -> float:
        """Of the largest process."""
        return max((max(values) for values in self.samples.values()), default=0.0)

    def _watch(self) -> None:
        known: list[psutil.Process] = []
        ticks = 0
        while not self._ended.wait(0.05):
            with suppress(psutil.Error):
                if ticks % 10 == 0:
                    known = [self._root, *self._root.children(recursive=True)]
                ticks += 1
                for process in known:
                    with suppress(psutil.Error):
                        value = process.memory_info().rss / 2**20
                        self.samples.setdefault(process.pid, []).append(value)

    def end(self) -> None:
        self._ended.set()
        self._thread.join()


@contextmanager
def open_place() -> Iterator[Place]:
    """Yield a place in a new temporary home; the server has ended and the home is gone at the end."""
    home = Path(tempfile.mkdtemp(prefix="imb-", dir="/tmp" if Path("/tmp").is_dir() else None))
    try:
        # Durable, as in production: what a commit costs is part of what is measured.
        with embedded_postgres(home) as postgres:
            postgres.ensure_database(_TEMPLATE)
            template = Database(postgres.url(_TEMPLATE))
            upgrade_database(template, batch_size=BATCH_SIZE)
            template.close()
            yield Place(home, postgres)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def import_serials(database: Database, serials: Sequence[str], *, batch_size: int = BATCH_SIZE) -> None:
    """Put CMMS assets into the master, by their ids alone."""
    rows = [
        {"cmms_asset_id": serial, "report_seq_no": number} for number, serial in enumerate(serials, start=1)
    ]
    with database.begin() as connection:
        import_rows(connection, rows, ["report_seq_no"], batch_size=batch_size, run_id="import")


def serials_of(size: int) -> tuple[str, ...]:
    """Return the ids that a simulator of this size knows."""
    return World(size).serials
