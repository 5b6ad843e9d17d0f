"""`innomaint maximo key`: an API key made by a native login, and ended."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from contextlib import suppress
from pathlib import Path

import click
from pydantic import SecretStr

from innomaint_pipeline.accounts import own_env_file
from innomaint_pipeline.cli.environment import open_database
from innomaint_pipeline.cli.output import say
from innomaint_pipeline.defs.maximo.opening import client_opener
from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline.redaction import remember_secret
from innomaint_pipeline.settings import Settings
from innomaint_pipeline.sources.maximo.login import create_key
from innomaint_pipeline.sources.route import Route

_VARIABLE = "MAXIMO_API_KEY"
_WARNING = (
    "A user has one key: where Maximo makes a new one instead of refusing, the old one dies, and with it "
    "whatever program uses it."
)


def run_key_create(
    settings: Settings, *, user: str | None, expires_minutes: int | None, is_saved: bool, is_replacing: bool
) -> None:
    """Make a key; print it alone on standard output, or put it into .env."""
    if settings.maximo_base_url is None:
        raise ConfigurationError("MAXIMO_BASE_URL is not set: it says at which Maximo the key is made")
    is_terminal = sys.stdin.isatty()
    if not is_replacing:
        if not is_terminal:
            raise ConfigurationError(
                f"{_WARNING} Without a terminal to ask on, say --replace if that is right"
            )
        say(_WARNING)
        if click.prompt("Go on? (y)", default="n", show_default=False, err=True).strip().lower() != "y":
            raise click.Abort
    if user is None and not is_terminal:
        raise ConfigurationError("without a terminal to ask on, --user names who logs in")
    user = user or click.prompt("User", err=True)
    password = _ask_password(is_terminal=is_terminal)
    key = create_key(
        settings.maximo_base_url,
        str(user),
        password,
        expires_minutes=expires_minutes,
        timeout_seconds=settings.maximo_timeout_s,
        route=Route(settings.ca_file, settings.maximo_proxy_url),
    )
    if is_saved:
        file = own_env_file(settings.innomaint_account)
        save_variable(Path(file), _VARIABLE, key)
        say(f"{_VARIABLE} stands in {file}")
        return
    sys.stdout.write(key.get_secret_value() + "\n")
    sys.stdout.flush()


def _ask_password(*, is_terminal: bool) -> SecretStr:
    if is_terminal:
        text = click.prompt("Password", hide_input=True, err=True)
    else:
        text = sys.stdin.readline().rstrip("\r\n")
    if not text:
        raise ConfigurationError(
            "no password was given: it is asked for, or read as a line of standard input"
        )
    remember_secret(text)
    return SecretStr(text)


def save_variable(path: Path, name: str, value: SecretStr) -> None:
    """Put a variable into a file of settings, which only its owner may read; other lines stay as they are."""
    try:
        lines = path.read_text("utf-8").splitlines(keepends=True) if path.exists() else []
        kept = [line for line in lines if re.match(rf"\s*(export\s+)?{name}\s*=", line) is None]
        place = next((number for number, line in enumerate(lines) if line not in kept), len(kept))
        if kept and place and not kept[place - 1].endswith("\n"):
            kept[place - 1] += "\n"
        kept.insert(place, f"{name}={value.get_secret_value()}\n")
        partial = path.with_name(f"{path.name}.partial")
        with suppress(FileNotFoundError):
            partial.unlink()
        opened = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(opened, "w", encoding="utf-8") as file:
            file.writelines(kept)
        partial.replace(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"the key was made, but {path} cannot be written ({type(error).__name__}): correct that, then "
            "make a key once more"
        ) from None


def run_key_revoke(settings: Settings) -> None:
    """End the key in use."""
    with open_database(settings) as (database, _):
        opener = client_opener(settings, database)

        async def revoke() -> None:
            async with opener("maximo-key-revoke") as client:
                await client.revoke_key()

        asyncio.run(revoke())
    say(f"The key is ended. {_VARIABLE} in .env, or in the environment, still holds it: take it out.")
