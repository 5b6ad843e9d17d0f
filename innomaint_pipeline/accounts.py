"""Names of accounts, the files in which their settings stand, and what is named after them.

An installation may hold several Innomaint accounts side by side. Each process works for one of them, or for
none, where there is only one (docs/scaling.md). Belongs here: what is known of an account before its settings
are read.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from pathlib import Path

ACCOUNT_VARIABLE = "INNOMAINT_ACCOUNT"
WITHOUT_ENV_FILE = "INNOMAINT_WITHOUT_ENV_FILE"
"""Set by what hands its settings on to its processes, so that no other .env gets between them."""

ACCOUNT_FORM = "[a-z][a-z0-9_]{0,29}"
_ENV_FILE = ".env"
_LOCATION = "innomaint_"
_LOCATION_OF_NONE = "innomaint_pipeline"
# An account has a folder in the home and a code location, each beside others of these names.
_TAKEN = frozenset(
    {"compute_logs", "customers", "demo", "history", "logs", "pipeline", "postgres", "schedules", "storage"}
)


def check_account(name: str) -> str:
    """Return the name of an account; raise `ValueError` for what is none: files and tables are called so."""
    if not re.fullmatch(ACCOUNT_FORM, name):
        raise ValueError(
            "must begin with a small letter and hold at most 30 small letters, digits and underscores"
        )
    if name in _TAKEN:
        raise ValueError("is a name that the program needs for itself")
    return name


def env_files(account: str | None) -> tuple[str, ...]:
    """Return the files in which the settings of an account stand, a later one over an earlier one."""
    if os.environ.get(WITHOUT_ENV_FILE):
        return ()
    return (_ENV_FILE,) if account is None else (_ENV_FILE, own_env_file(account))


def own_env_file(account: str | None) -> str:
    """Return the file that holds what is an account's own: .env.north, or .env where there are none."""
    return _ENV_FILE if account is None else f"{_ENV_FILE}.{account}"


def describe_open_env_files(account: str | None) -> str | None:
    """Return which of the files others than their owner may read, and what to do; None where it is none."""
    if sys.platform == "win32":
        return None
    found = []
    for name in env_files(account):
        path = Path(name)
        mode = stat.S_IMODE(path.stat().st_mode) if path.is_file() else 0
        if mode & (stat.S_IRGRP | stat.S_IROTH):
            who = f"may be read by others than its owner (mode {mode:04o})"
            found.append(f"The file {name} {who}: run chmod 600 {name}")
    return "\n".join(found) or None


def describe_origin(account: str | None) -> str:
    """Return in words where the settings are read."""
    paths = [str(path) for name in reversed(env_files(account)) if (path := Path(name).absolute()).is_file()]
    if not paths:
        return f"the environment alone; there is no {own_env_file(account)} in {Path.cwd()}"
    return f"{' over '.join(paths)}, and the environment, which wins"


def database_name(account: str | None) -> str:
    """Return the name of an account's database in the embedded server."""
    return "ic3" if account is None else f"ic3_{account}"


def database_variable(account: str) -> str:
    """Return the variable by which a process that serves several accounts finds the database of one."""
    return f"IC3_DATABASE_URL_{account.upper()}"


def location_name(account: str | None) -> str:
    """Return the name of an account's code location in Dagster."""
    return _LOCATION_OF_NONE if account is None else _LOCATION + account


def account_of_location(name: str) -> str | None:
    """Return whose a code location is."""
    return None if name == _LOCATION_OF_NONE else name.removeprefix(_LOCATION)
