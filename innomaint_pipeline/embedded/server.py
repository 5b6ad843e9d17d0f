"""The embedded PostgreSQL: a real server that comes in a wheel, shared by every command of one home.

Belongs here: starting, joining, finding, and the address. Its data and who owns them are in `embedded_data`;
who uses it, and how it stops, in `embedded_watch`. The server lives in `home/postgres`, on a Unix socket in a
folder that only its user may enter (on Windows: a port on loopback), and runs as long as anybody registered
in `home` is alive.
"""

import errno
import hashlib
import os
import re
import socket
import stat
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
from filelock import Timeout

from innomaint_pipeline.embedded.data import (
    LOG_TAIL_LINES,
    POSTGRES_USER,
    WHAT_ELSE,
    ensure_data,
    name_full_disk,
)
from innomaint_pipeline.embedded.watch import (
    START_TIMEOUT_SECONDS,
    Postmaster,
    ServerFiles,
    account_of,
    bound_log,
    clean_environment,
    find_server_processes,
    leave,
    load_register,
    read_postmaster,
    run_program,
    save_register,
    this_process,
    wait_for_end,
)
from innomaint_pipeline.errors import ConfigurationError, DatabaseError

_ORPHAN_WAIT_SECONDS = 5.0
# Shortest limit of the supported systems (macOS: 104 bytes with the closing zero).
_SOCKET_PATH_LIMIT_BYTES = 103
_UNIX_PORT = 5432

_SETTINGS = """\
include 'postgres/postgresql.conf'
listen_addresses = '{addresses}'
port = {port}
unix_socket_directories = '{socket_directory}'
max_connections = 200
shared_buffers = 128MB
work_mem = 8MB
effective_cache_size = 1GB
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
log_destination = 'stderr'
logging_collector = off
log_line_prefix = '%m [%p] '
# Without the details of an error, which quote rows, and rows may be personal.
log_error_verbosity = terse
"""
_FAST_AND_UNSAFE = "fsync = off\nfull_page_writes = off\nsynchronous_commit = off\n"


@dataclass(frozen=True)
class EmbeddedPostgres:
    """The address of a running server. `host` is the folder of its socket (on Windows an IP address)."""

    home: Path
    host: str
    port: int

    def url(self, database: str) -> str:
        """Return `postgresql://…` for psycopg, psycopg2 and SQLAlchemy; holds no secret.

        A name of other characters than letters, digits, `_`, `-` and `.` is refused: SQLAlchemy and libpq
        read an escape in it differently, and PostgreSQL cuts one of more than 63.
        """
        if not re.fullmatch(r"[\w.-]{1,63}", database, re.ASCII):
            raise ConfigurationError(
                f"The embedded PostgreSQL takes database names of 1 to 63 letters, digits, '_', '-', '.', "
                f"not {database!r}."
            )
        if os.path.isabs(self.host):  # noqa: PTH117 - a host name is no path
            return f"postgresql://{POSTGRES_USER}@/{database}?host={quote(self.host)}&port={self.port}"
        return f"postgresql://{POSTGRES_USER}@{self.host}:{self.port}/{database}"

    def ensure_database(self, name: str) -> None:
        """Create the database if it is missing; other processes may do the same at the same moment.

        Raises ConfigurationError for a name that `url` refuses, DatabaseError if the server does.
        """
        self.url(name)
        # Only who connects pays for the import.
        import psycopg  # noqa: PLC0415
        from psycopg import errors, sql  # noqa: PLC0415

        create = sql.SQL("create database {} template template0").format(sql.Identifier(name))
        try:
            with psycopg.connect(self.url(POSTGRES_USER), autocommit=True, connect_timeout=10) as connection:
                found = connection.execute("select from pg_database where datname = %s", [name])
                if found.rowcount == 0:
                    connection.execute(create)
        except (errors.DuplicateDatabase, errors.UniqueViolation):
            return
        except psycopg.Error as error:
            raise DatabaseError(
                f"The embedded PostgreSQL of {self.home} did not create the database {name!r}: {error}"
            ) from error

    def rename_database(self, old: str, new: str) -> None:
        """Give a database another name; does nothing where the old one is not there.

        Raises ConfigurationError where both are there, DatabaseError where somebody works with it.
        """
        self.url(new)
        # Only who connects pays for the import.
        import psycopg  # noqa: PLC0415
        from psycopg import sql  # noqa: PLC0415

        rename = sql.SQL("alter database {} rename to {}").format(sql.Identifier(old), sql.Identifier(new))
        try:
            with psycopg.connect(self.url(POSTGRES_USER), autocommit=True, connect_timeout=10) as connection:
                query = "select datname from pg_database where datname in (%s, %s)"
                found = {name for (name,) in connection.execute(query, [old, new])}
                if found == {old, new}:
                    raise ConfigurationError(
                        f"The embedded PostgreSQL of {self.home} holds both {old} and {new}: the one cannot "
                        "get the other's name. Drop the one that is not wanted, or give it another name."
                    )
                if old in found:
                    connection.execute(rename)
        except psycopg.Error as error:
            raise DatabaseError(
                f"The embedded PostgreSQL of {self.home} did not rename the database {old!r}: {error}"
            ) from error


@contextmanager
def embedded_postgres(home: Path, *, fast_and_unsafe: bool = False) -> Iterator[EmbeddedPostgres]:
    """Yield the home's server: started if it is not running, joined if it is.

    It stops at the end of the context if no other user is left; one that somebody started by hand stays. A
    user that was killed is noticed by the watchdog, which stops the server about three seconds later.
    Contexts may be nested and may be entered by many processes and threads at once.

    `fast_and_unsafe` gives up durability, for tests; a server that runs already keeps its settings.

    Raises ConfigurationError where another home would help (not writable, another PostgreSQL version),
    DatabaseError where the server does not start; the message then has the end of its log.
    """
    files = ServerFiles(home.resolve())
    user = this_process(uuid.uuid4().hex)
    with _explained(files), _locked(files, create=True):
        register = load_register(files)
        save_register(files, replace(register, users=(*register.users, user)))
    try:
        with _explained(files), _locked(files), _watchdog(files):
            server = _start_or_join(files, is_fast=fast_and_unsafe)
        yield server
    finally:
        # A forked child that unwinds its parent's context is not the user.
        if os.getpid() == user.pid:
            with _explained(files):
                leave(files, user)


def join(home: Path) -> EmbeddedPostgres:
    """Register this process, until it ends, as a user of the server that runs in the home.

    For a process that may outlive the one that entered `embedded_postgres`. May be repeated. Raises
    DatabaseError if no server runs.
    """
    files = ServerFiles(home.resolve())
    server = find_running(files.home)
    if server is not None:
        with _explained(files), _locked(files):
            server = find_running(files.home)
            if server is not None:
                user = this_process("joined")
                register = load_register(files).without(user)
                save_register(files, replace(register, users=(*register.users, user)))
                with _watchdog(files):
                    return server
    raise DatabaseError(
        f"No embedded PostgreSQL runs in {files.home}. Start it with `innomaint up`, or set IC3_DATABASE_URL."
    )


def find_running(home: Path) -> EmbeddedPostgres | None:
    """Return the home's server if it takes connections; starts, locks and registers nothing."""
    files = ServerFiles(home.resolve())
    with _explained(files):
        server = read_postmaster(files)
    return _address(files, server) if server is not None and server.is_ready else None


def _address(files: ServerFiles, server: Postmaster) -> EmbeddedPostgres:
    return EmbeddedPostgres(files.home, server.host, server.port)


@contextmanager
def _locked(files: ServerFiles, *, create: bool = False) -> Iterator[None]:
    if create:
        files.home.mkdir(parents=True, exist_ok=True)
    try:
        with files.lock().acquire(timeout=START_TIMEOUT_SECONDS + 60):
            yield
    except Timeout as error:
        raise DatabaseError(
            f"Another process has been starting or stopping the embedded PostgreSQL of {files.home} for more "
            f"than {START_TIMEOUT_SECONDS} s. The server's log is {files.log}."
        ) from error


@contextmanager
def _explained(files: ServerFiles) -> Iterator[None]:
    """Turn what the operating system says about the home into what a person can do."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise DatabaseError(
                f"The disk of {files.home} is full ({error}). Free space, then start again."
            ) from error
        raise ConfigurationError(
            f"The embedded PostgreSQL needs a home it can write to, but {files.home} refuses: {error}. "
            f"{WHAT_ELSE}"
        ) from error


@contextmanager
def _watchdog(files: ServerFiles) -> Iterator[None]:
    """Start a watchdog if none holds its lock; its own start goes on beside the block."""
    if _has_watchdog(files):
        yield
        return
    detached: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        detached = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    # The package's own folder first: the caller may have found it through its working directory.
    folders = [str(Path(__file__).resolve().parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = clean_environment() | {"PYTHONPATH": os.pathsep.join(folders)}
    with files.watchdog_log.open("w", encoding="utf-8") as log:
        watchdog = subprocess.Popen(  # noqa: S603 - this interpreter, our module
            [sys.executable, "-P", "-m", "innomaint_pipeline.embedded.watch", str(files.home)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            cwd=files.home.anchor,
            env=environment,
            **detached,
        )
    try:
        yield
    finally:
        if sys.platform == "win32":
            _watchdogs.append(watchdog)
        elif watchdog.wait() != 0:
            said = files.watchdog_log.read_text(encoding="utf-8")
            raise DatabaseError(f"The watchdog of the embedded PostgreSQL did not start:\n{said}")


def _has_watchdog(files: ServerFiles) -> bool:
    try:
        with files.watchdog_lock().acquire(timeout=0):
            return False
    except Timeout:
        return True


# Windows has no fork with which the watchdog could leave its parent; a handle that is kept warns of nothing.
_watchdogs: list[subprocess.Popen[Any]] = []


def _start_or_join(files: ServerFiles, *, is_fast: bool) -> EmbeddedPostgres:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        server = read_postmaster(files)
        if server is None:
            _start(files, is_fast=is_fast)
        elif server.is_ready:
            return _address(files, server)
        else:
            # It recovers from a crash, or somebody stops it.
            time.sleep(0.05)
    raise DatabaseError(
        f"The embedded PostgreSQL of {files.home} was not ready after {START_TIMEOUT_SECONDS} s. "
        f"The end of its log, {files.log}:\n{_read_tail(files.log, 0)}"
    )


def _start(files: ServerFiles, *, is_fast: bool) -> None:
    if sys.platform != "win32" and re.search(r'["$`\\\n]', str(files.home)):
        raise ConfigurationError(
            f"The embedded PostgreSQL cannot live in {str(files.home)!r}: its start command does not take "
            f'the characters " $ ` \\ or a line break. {WHAT_ELSE}'
        )
    ensure_data(files, is_fast=is_fast)
    account = account_of(files.data)
    socket_directory = None if sys.platform == "win32" else _ensure_socket_directory(files, account)
    _remove_leftovers(files, socket_directory)
    bound_log(files.log)
    _write_settings(files, socket_directory, is_fast=is_fast)
    save_register(files, replace(load_register(files), is_ours=True))
    logged_bytes = files.log.stat().st_size if files.log.exists() else 0
    options = ("-D", str(files.data), "-l", str(files.log), "-w", "-t", str(START_TIMEOUT_SECONDS))
    code, said = run_program(
        "pg_ctl", "start", *options, "-o", f'-c config_file="{files.settings}"', account=account
    )
    if code != 0 and read_postmaster(files) is None:
        log = _read_tail(files.log, logged_bytes)
        if code > 0:
            # Not after a signal: then the server may yet come up.
            save_register(files, replace(load_register(files), is_ours=False))
        raise DatabaseError(
            f"The embedded PostgreSQL of {files.home} did not start.{name_full_disk(said + log)} "
            f"The end of its log, {files.log}:\n{log or said}"
        )


def _remove_leftovers(files: ServerFiles, socket_directory: Path | None) -> None:
    """Clear what a killed server left, where PostgreSQL would refuse to start because of it."""
    alive = wait_for_end(find_server_processes(files.data), _ORPHAN_WAIT_SECONDS)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    wait_for_end(alive, _ORPHAN_WAIT_SECONDS)
    lock_files = [files.data / "postmaster.pid"]
    if socket_directory is not None:
        lock_files.append(socket_directory / f".s.PGSQL.{_UNIX_PORT}.lock")
    for lock_file in lock_files:
        if lock_file.exists():
            pid = lock_file.read_text(encoding="utf-8", errors="replace").partition("\n")[0].strip()
            # PostgreSQL takes any process of its user for a server, even one that has ended and is not yet
            # reaped, and an empty file for a server that starts.
            if not pid.isdigit() or psutil.pid_exists(int(pid)):
                lock_file.unlink()


def _write_settings(files: ServerFiles, socket_directory: Path | None, *, is_fast: bool) -> None:
    addresses, port = "", _UNIX_PORT
    if socket_directory is None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            addresses, port = "127.0.0.1", free.getsockname()[1]
    text = _SETTINGS.format(addresses=addresses, port=port, socket_directory=socket_directory or "")
    files.settings.write_text(text + (_FAST_AND_UNSAFE if is_fast else ""), encoding="utf-8")
    files.settings.chmod(0o644)


def _ensure_socket_directory(files: ServerFiles, account: dict[str, Any]) -> Path:
    """Return the data directory, or where it is not fit a private folder under the temporary one.

    Fit is what is short enough for a socket and what no client takes apart: libpq and SQLAlchemy split at
    `,` and `:`.
    """
    name = "innomaint-" + hashlib.sha256(os.fsencode(files.home)).hexdigest()[:12]
    for folder in (files.data, Path(tempfile.gettempdir()) / name, Path("/tmp") / name):  # noqa: S108
        address = folder / f".s.PGSQL.{_UNIX_PORT}"
        is_short = len(os.fsencode(address)) <= _SOCKET_PATH_LIMIT_BYTES
        if not is_short or not re.fullmatch(r"[\w/.+-]+", str(folder), re.ASCII):
            continue
        if folder != files.data:
            owner = account.get("user", os.geteuid())
            if not folder.exists():
                folder.mkdir(mode=0o700)
                os.chown(folder, owner, account.get("group", os.getegid()))
            found = folder.lstat()
            # Whoever may enter it may connect without a password.
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or found.st_mode & 0o077:
                raise ConfigurationError(
                    f"{folder} is not a private folder of user id {owner}. Remove it. {WHAT_ELSE}"
                )
        return folder
    raise ConfigurationError(
        f"No folder is short enough for a Unix socket; TMPDIR could name one. {WHAT_ELSE}"
    )


def _read_tail(log: Path, offset_bytes: int) -> str:
    if not log.exists():
        return ""
    with log.open("rb") as stream:
        stream.seek(offset_bytes)
        lines = stream.read().decode(errors="replace").splitlines()
    return "\n".join(lines[-LOG_TAIL_LINES:])
