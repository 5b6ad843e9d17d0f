"""A real web server for alerts and heartbeats; its addresses hold a secret that must appear nowhere."""

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

SECRET = "canary-secret-77ab"


@dataclass
class Listener:
    """Somebody who is told: a web server that keeps what it is sent and answers as it is told to."""

    port: int = 0
    status: int = 200
    location: str | None = None
    told: list[dict[str, Any]] = field(default_factory=list)
    beats: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"json://user:{SECRET}@127.0.0.1:{self.port}/{SECRET}"

    @property
    def heartbeat(self) -> str:
        return f"http://127.0.0.1:{self.port}/ping/{SECRET}"


@contextmanager
def listening() -> Iterator[Listener]:
    made = Listener()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.told.append(json.loads(body))
            self.answer()

        def do_GET(self) -> None:
            made.beats.append(self.path)
            self.answer()

        def answer(self) -> None:
            self.send_response(made.status)
            if made.location:
                self.send_header("Location", made.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield made
        server.shutdown()
        thread.join()


@contextmanager
def watched_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Log everything, and assert at the end of a test that no logger said the secret."""
    caplog.set_level(logging.DEBUG)
    yield
    messages = [record.getMessage() for when in ("setup", "call") for record in caplog.get_records(when)]
    assert [message for message in messages if SECRET in message] == []
