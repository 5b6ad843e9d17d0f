"""The admin service on a real socket, in front of a real database."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from innomaint_pipeline.api.guard import Network
from innomaint_pipeline.api.parts import Parts
from innomaint_pipeline.api.server import AdminServer
from innomaint_pipeline.cli.innomaint.single import sync_named
from innomaint_pipeline.domain.pacing import SourceAccount
from innomaint_pipeline.settings import Settings
from innomaint_pipeline.simulator.innomaint.server import InnomaintSimulator
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.innomaint.asset_details import Outcome
from innomaint_pipeline_tests.conftest import CANARY_TOKEN, Pipeline, import_two_batches

ADMIN_TOKEN = "admin-token-of-tests"
DAGSTER_URL = "http://127.0.0.1:3000"
_LONG_SECONDS = 60


@dataclass(frozen=True)
class Answer:
    """What the service answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The message of an error, which must be its only field."""
        (name,) = self.json
        assert name == "error"
        assert self.headers["content-type"] == "application/json"
        return self.json["error"]


@dataclass
class Client:
    """Asks the service as a program does."""

    port: int
    headers: dict[str, str] = field(default_factory=lambda: {"Authorization": f"Bearer {ADMIN_TOKEN}"})

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        **fields: Any,
    ) -> Answer:
        """Send a request; `fields` become a JSON body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_LONG_SECONDS)
        sent = dict(self.headers if headers is None else headers)
        if fields:
            body = json.dumps(fields).encode()
            sent.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, named, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **options: Any) -> Answer:
        return self.ask("GET", path, **options)

    def post(self, path: str, **options: Any) -> Answer:
        return self.ask("POST", path, **options)


def asset_path(cmms_asset_id: str) -> str:
    return quote(cmms_asset_id, safe="")


def build_sync_now(database: Database, api_url: str) -> Callable[[str, Callable[[], bool]], Outcome]:
    """Return what syncs one CMMS asset at once, as the service's own process does, and tells nobody."""
    settings = Settings(
        innomaint_api_url=api_url,
        innomaint_api_token=SecretStr(CANARY_TOKEN),
        innomaint_rate_ms=0,
        innomaint_retry_base_s=0.001,
    )
    return lambda name, is_stopping: sync_named(settings, database, [name], is_stopping).only_outcome()


@contextmanager
def serving(
    database: Database,
    *,
    port: int = 0,
    account: str = "http://127.0.0.1:1",
    trusted_proxies: Sequence[Network] = (),
    **options: Any,
) -> Iterator[Client]:
    """Serve in a thread, on a free port or on one that was served before."""
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        port = listening.getsockname()[1]
        settings = {
            "account": SourceAccount(account, 1440, 5.0),
            "sync_now": build_sync_now(database, account),
            "dagster_url": DAGSTER_URL,
            "patience_seconds": 0.0,
            "poll_seconds": 0.02,
        }
        parts = Parts(database, **{**settings, **options})
        server = AdminServer(
            parts, SecretStr(ADMIN_TOKEN), host="127.0.0.1", port=port, trusted_proxies=trusted_proxies
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            deadline = time.monotonic() + _LONG_SECONDS
            while not server.started:
                assert time.monotonic() < deadline
                assert thread.is_alive()
                time.sleep(0.005)
            yield Client(port)
        finally:
            server.should_exit = True
            thread.join(_LONG_SECONDS)
            assert not thread.is_alive()


@pytest.fixture
def pipeline(database: Database, simulator: InnomaintSimulator) -> Pipeline:
    """Database and simulator, with 12 CMMS assets in two batches."""
    return import_two_batches(database, simulator)


@pytest.fixture
def client(pipeline: Pipeline) -> Iterator[Client]:
    """A program with the right token."""
    with serving(pipeline.database, account=pipeline.simulator.url) as made:
        yield made
