"""`innomaint up`: database, Dagster's code server, webserver and daemon, admin service, until Ctrl-C."""

from __future__ import annotations

import json
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from innomaint_pipeline.accounts import describe_origin
from innomaint_pipeline.cli.engine import find_engine, require_engine
from innomaint_pipeline.cli.environment import (
    CODE_FOLDER,
    hand_on,
    make_dagster_tables_elsewhere,
    make_home,
    project_folder,
)
from innomaint_pipeline.cli.output import say
from innomaint_pipeline.cli.processes import KeptProcess, ProcessKeeper, end_leftovers
from innomaint_pipeline.cli.serving import refuse_taken_port
from innomaint_pipeline.cli.side_by_side import AccountPart, Databases, StartWork, share_variables
from innomaint_pipeline.errors import ConfigurationError, DatabaseError, InnomaintPipelineError
from innomaint_pipeline.settings import Settings
from innomaint_pipeline.store.database import AdvisoryLock
from innomaint_pipeline.store.sole_use import Hold

_READY_SECONDS = 120
_HOST = "127.0.0.1"
_LOCATION_QUERY = """
{ workspaceOrError { __typename
  ... on PythonError { message }
  ... on Workspace { locationEntries { loadStatus locationOrLoadError {
    __typename ... on PythonError { message } } } } } }
"""


class NotReadyError(InnomaintPipelineError):
    """A part did not become ready in time."""


_START_WORK_AFTER_SECONDS = 5
# The server may notice a moment later that an earlier one was killed.
_END_OF_EARLIER_SECONDS = 3


def run_up(
    accounts: Sequence[Settings],
    *,
    is_demo: bool,
    port: int,
    admin_port: int | None,
    first_work: Sequence[StartWork] = (),
    start_work: Sequence[StartWork] = (),
) -> None:
    """Start everything, say where it is, ask for what a start asks for, and keep it running.

    `accounts` are the settings of each that runs side by side, or those of the only one. Raise
    `ChildEndedError` when a part cannot be kept.
    """
    with ExitStack() as stack:
        for settings in accounts:
            say(f"Settings: {describe_origin(settings.innomaint_account)}.")
        if is_demo:
            from innomaint_pipeline.cli.demo import demo_environment, has_demo_data

            has_outage = not has_demo_data(accounts[0])
            accounts = [stack.enter_context(demo_environment(accounts[0], has_outage=has_outage))]
        engine = find_engine(project_folder())
        for settings in accounts:
            _check_settings(settings)
            require_engine(engine, settings)
        if admin_port is not None and len(accounts) > 1:
            raise ConfigurationError(
                "--admin-port is one port, and each account has an admin service of its own: set "
                "INNOMAINT_ADMIN_PORT in the file of each"
            )
        home = accounts[0].shared_home
        make_home(home)
        parts = [
            AccountPart(settings, variables, admin_port or settings.innomaint_admin_port)
            for settings, variables in zip(accounts, hand_on(accounts), strict=True)
        ]
        _claim_home(stack, home)
        end_leftovers(home)
        for part in parts:
            part.refuse_port(port)
        refuse_taken_port(_HOST, port, "--port")
        say("Starting: the database ...")
        databases = Databases(stack, home, first_work, is_alone=len(parts) == 1)
        opened = [part for part in parts if databases.open(part)]
        hold = _claim_dagster(stack, share_variables(parts))
        make_dagster_tables_elsewhere()
        address = f"http://{_HOST}:{port}"
        keeper = stack.enter_context(ProcessKeeper(home))
        say("Starting: the admin service, and Dagster's code server, webserver and daemon ...")
        for part in opened:
            part.start_admin(keeper, address)
        _start(keeper, home, port, parts)
        _wait_for(keeper, lambda: _answers(f"{address}/server_info"), "webserver")
        for part in opened:
            _wait_for(keeper, partial(_answers, part.health_url), f"{part.label}admin service")
        _wait_for(keeper, lambda: _has_definitions(f"{address}/graphql"), "code server")
        for part in opened:
            part.announce()
        say(f"Ready: Dagster's UI is at {address} (logs in {home / 'logs'}). Ctrl-C stops everything.")
        _keep(keeper, hold, databases, parts, address=address, start_work=start_work)


def _keep(
    keeper: ProcessKeeper,
    hold: Hold,
    databases: Databases,
    parts: Sequence[AccountPart],
    *,
    address: str,
    start_work: Sequence[StartWork],
) -> None:
    """Keep everything running, until Ctrl-C or until the databases are lost to another `up`."""

    def begin(part: AccountPart) -> None:
        part.start_admin(keeper, address)
        part.announce()

    start_at = time.monotonic() + _START_WORK_AFTER_SECONDS
    waiting = [(work, part) for part in parts for work in start_work]
    while hold.keep() and not any(part.is_lost.is_set() for part in parts):
        keeper.look()
        databases.look(parts, begin)
        if waiting and time.monotonic() >= start_at:
            waiting = [(work, part) for work, part in waiting if not _begin(work, part)]
        time.sleep(1)
    raise ConfigurationError(
        "another innomaint up has taken over these databases while this one did not reach them: only one "
        "may run for them"
    )


def _begin(work: StartWork, part: AccountPart) -> bool:
    """Ask for a piece of work; False for a database that is away, which is asked again at the next look."""
    if part.database is None:
        return False
    try:
        work(part.settings, part.database)
    except DatabaseError as error:
        say(f"{part.label}{error}")
        return False
    return True


def _check_settings(settings: Settings) -> None:
    """Raise `ConfigurationError` where no source is configured, or one in part, or an address is none."""
    if settings.innomaint_alert_urls:
        from innomaint_pipeline.sources.notifications import refuse_addresses

        refuse_addresses(settings.innomaint_alert_urls)
    if settings.customers_inbox is not None and (
        settings.maximo_base_url is None and settings.innomaint_api_token is None
    ):
        return
    if settings.maximo_base_url is not None:
        settings.require_maximo()
        return
    settings.require_token()


def _start(keeper: ProcessKeeper, home: Path, port: int, parts: Sequence[AccountPart]) -> None:
    ports = {part.location: _free_port() for part in parts}
    entries = [
        f"  - grpc_server:\n      host: {_HOST}\n      port: {code_port}\n      location_name: {name}\n"
        for name, code_port in ports.items()
    ]
    # Under a name of its own: the home may be the folder of the installation, which holds a workspace.yaml.
    workspace = home / "code-servers.yaml"
    workspace.write_text(f"load_from:\n{''.join(entries)}", encoding="utf-8")
    python = [sys.executable, "-m"]
    for part in parts:
        command = [*python, "innomaint_pipeline.cli.code_server", "-h", _HOST]
        command += ["-p", str(ports[part.location])]
        command += ["-m", "innomaint_pipeline.definitions", "--location-name", part.location]
        command += ["--working-directory", str(CODE_FOLDER)]
        name = part.name_process("code-server")
        keeper.start(KeptProcess(name, command, f"{part.label}Dagster's code-server", part.variables))
    for part in parts:
        _wait_for(keeper, partial(_listens, ports[part.location]), f"{part.label}code server")
    webserver = [*python, "dagster_webserver", "-w", str(workspace), "-h", _HOST, "-p", str(port)]
    keeper.start(KeptProcess("webserver", webserver, "Dagster's webserver"))
    daemon = [*python, "dagster._daemon", "run", "-w", str(workspace)]
    keeper.start(KeptProcess("daemon", daemon, "Dagster's daemon"))


def _claim_home(stack: ExitStack, home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True)
    lock = FileLock(home / "up.lock")
    try:
        stack.enter_context(lock.acquire(timeout=0))
    except Timeout:
        raise ConfigurationError(
            f"innomaint up runs already in {home}: stop it first, or set INNOMAINT_HOME to another folder"
        ) from None


def _claim_dagster(stack: ExitStack, url: str) -> Hold:
    """Hold Dagster's database against every other `up`, whatever databases of data that one has."""
    hold = stack.enter_context(Hold(url, AdvisoryLock.DAEMON))
    deadline = time.monotonic() + _END_OF_EARLIER_SECONDS
    while not hold.take():
        if time.monotonic() > deadline:
            raise ConfigurationError(
                "innomaint up runs already on this Dagster database, here or elsewhere, and only one "
                "may: stop it first, or set DAGSTER_PG_URL to another database"
            )
        time.sleep(0.2)
    return hold


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return probe.getsockname()[1]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((_HOST, port)) == 0


def _refuse_delay(deadline: float, name: str) -> None:
    if time.monotonic() > deadline:
        raise NotReadyError(f"the {name} was not ready after {_READY_SECONDS} s; its log tells why")
    time.sleep(0.2)


def _wait_for(keeper: ProcessKeeper, is_ready: Callable[[], bool], name: str) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not is_ready():
        keeper.look()
        _refuse_delay(deadline, name)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 # our own loopback address
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def _has_definitions(url: str) -> bool:
    """Tell whether Dagster has loaded the definitions; raise `NotReadyError` when it cannot."""
    body = json.dumps({"query": _LOCATION_QUERY}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 # as above
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            found = json.load(answer)["data"]["workspaceOrError"]
    except (urllib.error.URLError, OSError):
        return False
    entries = found.get("locationEntries", [])
    for part in (found, *(entry["locationOrLoadError"] or {} for entry in entries)):
        if part.get("__typename") == "PythonError":
            raise NotReadyError(f"Dagster cannot load the definitions: {part['message']}")
    return bool(entries) and all(entry["loadStatus"] == "LOADED" for entry in entries)
