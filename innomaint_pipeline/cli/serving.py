"""`innomaint serve`: the admin service alone; and how a person reaches it."""

from __future__ import annotations

import os
import secrets
import socket
import tempfile
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from pydantic import SecretStr

from innomaint_pipeline.accounts import own_env_file
from innomaint_pipeline.addresses import is_loopback
from innomaint_pipeline.api.parts import Parts
from innomaint_pipeline.cli.environment import open_database
from innomaint_pipeline.cli.innomaint.single import SingleSyncs
from innomaint_pipeline.cli.innomaint.status import innomaint_account
from innomaint_pipeline.cli.output import say
from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline.settings import Settings, load_accounts

TOKEN_VARIABLE = "INNOMAINT_ADMIN_TOKEN"  # noqa: S105 # its name
_TOKEN_BYTES = 24
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 # what a person can open


def make_token() -> SecretStr:
    """Return a token for one start of the service."""
    return SecretStr(secrets.token_urlsafe(_TOKEN_BYTES))


def save_token(token: SecretStr) -> Path:
    """Write a token to .env, or .env.<account>, in place of an earlier one; return the file's path.

    Its other lines stay, and only its owner may read it. Raise `ConfigurationError`, with the file as it was,
    where that cannot be done, or where the environment would win over it.
    """
    path = Path(own_env_file(load_accounts().innomaint_account)).resolve()
    if any(name.upper() == TOKEN_VARIABLE for name in os.environ):
        raise ConfigurationError(
            f"{TOKEN_VARIABLE} is set in the environment, which wins over {path}: remove it there, then save "
            "a token"
        )
    try:
        lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} is not UTF-8 text: save it as UTF-8, then save a token") from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read ({error.strerror}): make it readable") from None
    if lines and not lines[-1]:
        lines.pop()
    kept = [it for it in lines if _variable_of(it) != TOKEN_VARIABLE]
    content = "\n".join([*kept, f"{TOKEN_VARIABLE}={token.get_secret_value()}", ""])
    try:
        # A file of its own is open to its owner alone from the first byte on.
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=".env.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(content)
            Path(draft).replace(path)
        except OSError:
            Path(draft).unlink()
            raise
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written ({error.strerror}): make its folder writable, or add the line "
            f"{TOKEN_VARIABLE}=... by hand with what innomaint token new prints"
        ) from None
    return path


def _variable_of(line: str) -> str:
    """Return the name that a line of .env sets, in capitals: settings are read in any case."""
    return line.partition("=")[0].strip().removeprefix("export ").strip().upper()


def page_address(host: str, port: int) -> str:
    """Return the address of the page."""
    shown = _WILDCARDS.get(host, host)
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/sync"


def announce(host: str, port: int, made_token: SecretStr | None, *, account: str | None = None) -> None:
    """Tell people where the page is; a token that was made at start is shown here and nowhere else."""
    if not is_loopback(host):
        say(
            f"Warning: the admin service listens on {host}, without TLS: its token travels in clear text. "
            "Put a proxy with TLS before it, or use it on this machine only."
        )
    fragment = f"#token={quote(made_token.get_secret_value(), safe='')}" if made_token else ""
    whose = "" if account is None else f" of {account}"
    say(f"The page{whose}: {page_address(host, port)}{fragment}")
    if made_token:
        say("Its token is of this start alone; innomaint token new --save makes a lasting one.")


def refuse_taken_port(host: str, port: int, option: str) -> None:
    """Raise `ConfigurationError` when an address cannot be listened on."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as probe:
            # As servers do: what a closed connection has left behind is no hindrance.
            if os.name == "posix":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise ConfigurationError(
            f"port {port} on {host} is taken or cannot be used ({error.strerror}): stop what uses it, "
            f"or give another with {option}"
        ) from None


def run_serve(
    settings: Settings, *, host: str | None, port: int | None, dagster_url: str | None, is_quiet: bool
) -> None:
    """Serve until Ctrl-C or SIGTERM; `is_quiet` leaves the address to the one who started this."""
    from innomaint_pipeline.api.server import AdminServer, log_accesses

    host = host or settings.innomaint_admin_host
    port = port or settings.innomaint_admin_port
    refuse_taken_port(host, port, "--port")
    given = settings.innomaint_admin_token
    token = given or make_token()
    with (
        open_database(settings) as (database, addresses),
        closing(SingleSyncs(settings, database, addresses)) as syncs,
    ):
        log_accesses()
        server = AdminServer(
            Parts(
                database,
                innomaint_account(settings),
                syncs.sync,
                dagster_url=dagster_url,
                sites=settings.maximo_sites,
                settings=settings,
            ),
            token,
            host=host,
            port=port,
            trusted_proxies=settings.innomaint_trusted_proxy,
            on_ready=lambda: None if is_quiet else announce(host, port, None if given else token),
        )
        server.run()
