"""`innomaint up`: database, Dagster's code server, webserver and daemon, admin service, until Ctrl-C."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import SecretStr

from innomaint_pipeline.cli.environment import (
    export_variables,
    hand_on,
    make_dagster_tables_elsewhere,
    make_home,
    open_database,
    project_folder,
)
from innomaint_pipeline.cli.output import say
from innomaint_pipeline.cli.processes import KeptProcess, ProcessKeeper, end_leftovers
from innomaint_pipeline.cli.serving import (
    TOKEN_VARIABLE,
    announce,
    make_token,
    page_address,
    refuse_taken_port,
)
from innomaint_pipeline.embedded.server import embedded_postgres, find_running
from innomaint_pipeline.errors import ConfigurationError, DatabaseError, InnomaintPipelineError
from innomaint_pipeline.settings import Settings, describe_origin
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.leases import UP_LEASE, acquire_lease, find_leases
from innomaint_pipeline.store.upgrade import upgrade_database
from innomaint_pipeline.sync.holding import keep_lease

_READY_SECONDS = 120
_HOST = "127.0.0.1"
_LOCATION = "innomaint_pipeline"
_LOCATION_QUERY = """
{ workspaceOrError { __typename
  ... on PythonError { message }
  ... on Workspace { locationEntries { loadStatus locationOrLoadError {
    __typename ... on PythonError { message } } } } } }
"""


class NotReadyError(InnomaintPipelineError):
    """A part did not become ready in time."""


_START_WORK_AFTER_SECONDS = 5

StartWork = Callable[[Settings, Database], None]
"""What a source does at the start: before Dagster runs, or a few seconds after everything does."""


def run_up(
    settings: Settings,
    *,
    is_demo: bool,
    port: int,
    admin_port: int | None,
    first_work: Sequence[StartWork] = (),
    start_work: Sequence[StartWork] = (),
) -> None:
    """Start everything, say where it is, ask for what a start asks for, and keep it running.

    Raise `ChildEndedError` when a part cannot be kept.
    """
    with ExitStack() as stack:
        say(f"Settings: {describe_origin()}.")
        if is_demo:
            from innomaint_pipeline.cli.demo import demo_environment, has_demo_data

            has_outage = not has_demo_data(settings)
            settings = stack.enter_context(demo_environment(settings, has_outage=has_outage))
        _require_source(settings)
        if settings.innomaint_alert_urls:
            from innomaint_pipeline.sources.notifications import refuse_addresses

            refuse_addresses(settings.innomaint_alert_urls)
        make_home(settings.home)
        hand_on(settings)
        _claim_home(stack, settings.home)
        end_leftovers(settings.home)
        admin = _AdminPlace(settings.innomaint_admin_host, admin_port or settings.innomaint_admin_port)
        if port == admin.port:
            raise ConfigurationError(f"--port and --admin-port are both {port}: give another to one of them")
        refuse_taken_port(_HOST, port, "--port")
        refuse_taken_port(admin.host, admin.port, "--admin-port")
        say("Starting: the database ...")
        database, addresses = stack.enter_context(
            open_database(settings, uses_dagster=True, is_upgraded_next=True)
        )
        for line in upgrade_database(database, batch_size=settings.innomaint_batch_size):
            say(line)
        is_lost = _claim_databases(stack, database, settings.home)
        for work in first_work:
            work(settings, database)
        export_variables(settings, addresses)
        make_dagster_tables_elsewhere()
        address = f"http://{_HOST}:{port}"
        keeper = stack.enter_context(ProcessKeeper(settings.home))
        say("Starting: the admin service, and Dagster's code server, webserver and daemon ...")
        made_token = _start_admin(keeper, settings, admin, address)
        _start(keeper, settings.home, port)
        _wait_for(keeper, lambda: _answers(f"{address}/server_info"), "webserver")
        _wait_for(keeper, lambda: _answers(f"{admin.loopback_url}/healthz"), "admin service")
        _wait_for(keeper, lambda: _has_definitions(f"{address}/graphql"), "code server")
        announce(admin.host, admin.port, made_token)
        say(
            f"Ready: Dagster's UI is at {address} (logs in {settings.home / 'logs'}). Ctrl-C stops "
            "everything."
        )
        start_at = time.monotonic() + _START_WORK_AFTER_SECONDS
        waiting = list(start_work)
        while not is_lost.is_set():
            keeper.look()
            if addresses.is_embedded and find_running(settings.home) is None:
                say("The embedded database has ended and is started again.")
                stack.enter_context(embedded_postgres(settings.home))
            elif waiting and time.monotonic() >= start_at:
                _begin(waiting, settings, database)
            time.sleep(1)
        raise ConfigurationError(
            "another innomaint up has taken over these databases while this one did not reach them: only one "
            "may run for them"
        )


def _begin(waiting: list[StartWork], settings: Settings, database: Database) -> None:
    """Ask for the next piece of work; a database that is away is asked again at the next look."""
    try:
        waiting[0](settings, database)
    except DatabaseError as error:
        say(str(error))
        return
    del waiting[0]


def _require_source(settings: Settings) -> None:
    """Raise `ConfigurationError` where no source is configured; one that is half configured is told of."""
    if settings.customers_inbox is not None and (
        settings.maximo_base_url is None and settings.innomaint_api_token is None
    ):
        return
    if settings.maximo_base_url is not None:
        settings.require_maximo()
        return
    settings.require_token()


@dataclass(frozen=True)
class _AdminPlace:
    """Where the admin service listens."""

    host: str
    port: int

    @property
    def loopback_url(self) -> str:
        """The address at which this machine reaches it."""
        return page_address(self.host, self.port).removesuffix("/sync")


def _start_admin(
    keeper: ProcessKeeper, settings: Settings, place: _AdminPlace, dagster_url: str
) -> SecretStr | None:
    """Start the admin service; return its token where none was set.

    The token travels in the child's environment: a command line can be read by every user of the machine.
    """
    given = settings.innomaint_admin_token
    token = given or make_token()
    command = [sys.executable, "-m", f"{_LOCATION}.cli", "serve", "--quiet", "--host", place.host]
    command += ["--port", str(place.port), "--dagster-url", dagster_url]
    variables = {TOKEN_VARIABLE: token.get_secret_value()}
    keeper.start(KeptProcess("admin-service", command, "The admin service", variables))
    return None if given else token


def _start(keeper: ProcessKeeper, home: Path, port: int) -> None:
    code_port = _free_port()
    workspace = home / "workspace.yaml"
    workspace.write_text(
        f"load_from:\n  - grpc_server:\n      host: {_HOST}\n      port: {code_port}\n      "
        f"location_name: {_LOCATION}\n",
        encoding="utf-8",
    )
    module = ["-m", f"{_LOCATION}.definitions", "--location-name", _LOCATION]
    python = [sys.executable, "-m"]
    keeper.start(
        KeptProcess(
            "code-server",
            [
                *(*python, f"{_LOCATION}.cli.code_server", "-h", _HOST, "-p", str(code_port), *module),
                *("--working-directory", str(project_folder())),
            ],
            "Dagster's code-server",
        )
    )
    deadline = time.monotonic() + _READY_SECONDS
    while not _listens(code_port):
        keeper.look()
        _refuse_delay(deadline, "code server")
    keeper.start(
        KeptProcess(
            "webserver",
            [*python, "dagster_webserver", "-w", str(workspace), "-h", _HOST, "-p", str(port)],
            "Dagster's webserver",
        )
    )
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


def _claim_databases(stack: ExitStack, database: Database, home: Path) -> threading.Event:
    """Hold the databases against an `up` of another folder; the event is set when they were lost to one.

    An `up` of the same home comes back at once: whoever holds the home is the only one.
    """
    owner = f"{socket.gethostname()}, in {home}"
    with database.begin() as connection:
        if not acquire_lease(connection, UP_LEASE, owner):
            holder = next((lease.owner for lease in find_leases(connection, UP_LEASE)), "somebody else")
            raise ConfigurationError(
                f"innomaint up runs already on these databases (on {holder}), and only one may: stop it "
                "first, or set IC3_DATABASE_URL to another database"
            )
    is_lost = threading.Event()
    stack.enter_context(keep_lease(database, UP_LEASE, owner, on_lost=is_lost.set))
    return is_lost


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
