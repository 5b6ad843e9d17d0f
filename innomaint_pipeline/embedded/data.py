"""The data directory of the embedded PostgreSQL: making it, its owner, and who may reach it.

As root the server runs as the owner of `home/postgres`, for a new home as the system user `pgserver`, which
is then created. That user must reach the files: every folder above the home, and above the installed
programs, gets the permission to pass through it (`o+x`) where it lacks it.
"""

import errno
import os
import shutil
import stat
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from innomaint_pipeline.embedded.watch import (
    POSTGRES_MAJOR,
    ServerFiles,
    account_of,
    find_programs,
    run_program,
)
from innomaint_pipeline.errors import ConfigurationError, DatabaseError

SYSTEM_USER = "pgserver"
POSTGRES_USER = "postgres"
WHAT_ELSE = "Set INNOMAINT_HOME to another folder, or IC3_DATABASE_URL to a PostgreSQL server."
LOG_TAIL_LINES = 15


def ensure_data(files: ServerFiles, *, is_fast: bool) -> None:
    """Make the data directory, all or nothing, or check that the one that is there can be used."""
    version = files.data / "PG_VERSION"
    if version.exists():
        found = version.read_text(encoding="ascii").strip()
        if found != str(POSTGRES_MAJOR):
            raise ConfigurationError(
                f"{files.data} holds data of PostgreSQL {found}, which PostgreSQL {POSTGRES_MAJOR} cannot "
                f"read. Dump them with version {found} and load them into a new home. {WHAT_ELSE}"
            )
        _check_owner(files.data)
        if account_of(files.data):
            _open_the_way(files.home)
        return
    if files.data.exists():
        if any(files.data.iterdir()):
            raise ConfigurationError(
                f"{files.data} holds files, but no PostgreSQL data. Move them away. {WHAT_ELSE}"
            )
        files.data.rmdir()
    # Under another name until it is complete: a killed initdb leaves what looks like data.
    draft = files.home / "postgres.new"
    if draft.exists():
        shutil.rmtree(draft)
    draft.mkdir(mode=0o700)
    if sys.platform != "win32" and os.geteuid() == 0:
        uid, gid = _ensure_system_user()
        os.chown(draft, uid, gid)
        _open_the_way(files.home)
    options = ["-D", str(draft), "-U", POSTGRES_USER, "--auth=trust", "--encoding=UTF8", "--locale=C"]
    options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", *(["--no-sync"] if is_fast else [])]
    code, said = run_program("initdb", *options, account=account_of(draft))
    if code != 0:
        shutil.rmtree(draft)
        end = "\n".join(said.splitlines()[-LOG_TAIL_LINES:])
        raise DatabaseError(
            f"The embedded PostgreSQL could not be made in {files.data}.{name_full_disk(said)} "
            f"The end of what initdb said:\n{end}"
        )
    draft.rename(files.data)


def _check_owner(data: Path) -> None:
    if sys.platform == "win32":
        return
    owner = data.stat().st_uid
    if owner == 0 or os.geteuid() not in {0, owner}:
        raise ConfigurationError(
            f"{data} belongs to user id {owner}, but PostgreSQL only runs as the owner of its data, never as "
            f"root. Give it to the right user (`chown -R`). {WHAT_ELSE}"
        )


def _ensure_system_user() -> tuple[int, int]:
    """Return user and group id of the system user, which is created if it is missing. POSIX, as root."""
    import pwd  # noqa: PLC0415 - Unix only

    said = "there is no program useradd"
    for _ in range(20):
        with suppress(KeyError):
            entry = pwd.getpwnam(SYSTEM_USER)
            return entry.pw_uid, entry.pw_gid
        program = shutil.which("useradd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        if program is None:
            break
        options = ("--system", "--user-group", "--no-create-home", "--shell", "/bin/false")
        added = subprocess.run(  # noqa: S603
            [program, *options, SYSTEM_USER], check=False, capture_output=True, text=True
        )
        if added.returncode != 0:
            # Another process, of another home, may hold the list of users at this moment.
            said = added.stderr.strip()
            time.sleep(0.1)
    raise ConfigurationError(
        f"PostgreSQL never runs as root, and the system user {SYSTEM_USER!r} could not be created: {said}. "
        f"Create it (`useradd {SYSTEM_USER}`), or work as another user than root."
    )


def _open_the_way(home: Path) -> None:
    """Let the system user reach the home and read the programs. POSIX, as root."""
    programs = find_programs()
    for folder in {home, *home.parents, *programs.parents}:
        _permit(folder, stat.S_IXOTH)
    if not (programs / "postgres").stat().st_mode & stat.S_IXOTH:
        # Installed under a umask that lets nobody else read.
        for path in [programs.parent, *programs.parent.rglob("*")]:
            may_run = path.is_dir() or path.parent == programs
            _permit(path, stat.S_IROTH | (stat.S_IXOTH if may_run else 0))


def _permit(path: Path, permission: int) -> None:
    mode = path.stat().st_mode
    if mode & permission != permission:
        path.chmod(mode | permission)


def name_full_disk(text: str) -> str:
    """Return what to add to a message when a program said that the disk is full, else nothing."""
    return " The disk is full." if os.strerror(errno.ENOSPC) in text else ""
