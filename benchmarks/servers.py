"""The servers that machines share, as Debian's packages install them: Redis and PostgreSQL.

Belongs here: running one of its own on loopback, in a folder of the caller. The Redis and the PostgreSQL that
the machine may have for others are left alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from benchmarks.place import BATCH_SIZE, find_free_port, keep_running
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.upgrade import upgrade_database

_PROGRAMS = Path("/usr/lib/postgresql")
_START_SECONDS = 60
_SETTINGS = """\
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
max_connections = 200
jit = off
timezone = 'UTC'
"""
_FAST_AND_UNSAFE = "fsync = off\nfull_page_writes = off\nsynchronous_commit = off\n"


@dataclass(frozen=True)
class Server:
    """A PostgreSQL on loopback, which asks for a password."""

    port: int
    password: str

    def url(self, database: str) -> str:
        """Return the address of a database; it holds the password."""
        return f"postgresql://postgres:{self.password}@127.0.0.1:{self.port}/{database}"

    def ensure_database(self, name: str) -> None:
        """Create a database, if it is missing."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            if connection.execute("select from pg_database where datname = %s", [name]).rowcount == 0:
                connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))

    @contextmanager
    def database(
        self, name: str, *, batch_size: int = BATCH_SIZE, account: str | None = None
    ) -> Iterator[Database]:
        """Yield a database with every table, which remembers its account."""
        self.ensure_database(name)
        database = Database(self.url(name))
        try:
            upgrade_database(database, batch_size=batch_size, account=account)
            yield database
        finally:
            database.close()


@contextmanager
def running_redis(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run Redis for the block; yield its address and its process. It keeps nothing on the disk."""
    if shutil.which("redis-server") is None:
        raise FileNotFoundError("There is no redis-server: `make broker` installs it, on Debian and as root.")
    port = find_free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    log = folder / "redis.log"
    with keep_running(command, folder=folder, environment=dict(os.environ), log=log) as process:
        yield f"redis://127.0.0.1:{port}/0", process


@contextmanager
def running_postgres(folder: Path, *, password: str, fast_and_unsafe: bool = False) -> Iterator[Server]:
    """Run the newest PostgreSQL of Debian's packages for the block, with a new cluster below `folder`.

    Root becomes the package's user `postgres`, who must be let through the folder. `password` is the one of
    the superuser `postgres`. `fast_and_unsafe` gives up durability.
    """
    found = sorted(_PROGRAMS.glob("*/bin/initdb"), key=lambda program: int(program.parts[-3]))
    if not found:
        raise FileNotFoundError(
            f"There is no PostgreSQL of Debian's packages below {_PROGRAMS}: `make postgresql` installs it, "
            "on Debian and as root."
        )
    own = folder / "postgresql"
    own.mkdir(mode=0o700)
    word = own / "password"
    word.write_text(password, encoding="utf-8")
    account: dict[str, Any] = {}
    if os.geteuid() == 0:
        account = {"user": "postgres", "group": "postgres", "extra_groups": []}
        folder.chmod(folder.stat().st_mode | 0o011)
        for path in (own, word):
            shutil.chown(path, "postgres", "postgres")
    data = own / "data"
    # The default, SCRAM, costs 5 ms of CPU for each connection, and every process of a test makes some.
    options = ["--username=postgres", "--auth=md5", f"--pwfile={word}", "--encoding=UTF8"]
    options += ["--locale=C", "--no-sync", "--no-instructions"]
    made = subprocess.run(
        [found[-1], f"--pgdata={data}", *options],
        check=False,
        cwd=own,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        **account,
    )
    word.unlink()
    if made.returncode != 0:
        raise RuntimeError(f"{found[-1]} made no cluster: {made.stderr[-2000:]}")
    server = Server(find_free_port(), password)
    with (data / "postgresql.conf").open("a", encoding="utf-8") as settings:
        settings.write(_SETTINGS.format(port=server.port) + (_FAST_AND_UNSAFE if fast_and_unsafe else ""))
    command = [str(found[-1].with_name("postgres")), "-D", str(data)]
    log = folder / "postgresql.log"
    with keep_running(command, folder=own, environment=dict(os.environ), log=log, **account) as process:
        _wait_until_ready(server, process, log)
        yield server


def _wait_until_ready(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            psycopg.connect(server.url("postgres"), connect_timeout=10).close()
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                said = log.read_text("utf-8", "replace")[-2000:]
                raise RuntimeError(f"PostgreSQL does not take connections: {said}") from None
            time.sleep(0.05)
        else:
            return
