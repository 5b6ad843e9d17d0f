"""A server made of sockets: it answers with the bytes that a test wants, and counts what reaches it."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

from innomaint_pipeline.simulator.innomaint.world import World

PLENTY_SECONDS = 60

Reply = Callable[[socket.socket], None]
"""Writes an answer to a connection; the listener closes it afterwards."""


def answer(body: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    """Return the bytes of a whole answer; `length` is a Content-Length that is not the true one."""
    lines = (f"HTTP/1.1 {status}", "Content-Type: application/json", "Connection: close", *headers)
    return (
        "\r\n".join((*lines, f"Content-Length: {len(body) if length is None else length}", "", "")).encode()
        + body
    )


def sends(raw: bytes) -> Reply:
    return lambda connection: connection.sendall(raw)


class Listener:
    """Answers honestly out of a world, except for the serial numbers in `replies`."""

    def __init__(self, world: World, context: ssl.SSLContext | None = None) -> None:
        self.world = world
        self.replies: dict[str, Reply] = {}
        self.connections = 0
        self.requests: list[tuple[str, str]] = []
        self._context = context
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Closing alone does not wake a thread that waits in accept.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._accepting.join(PLENTY_SECONDS)
        self._socket.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PLENTY_SECONDS)
            assert not thread.is_alive()

    def count(self, serial: str) -> int:
        """Return how many requests asked for a serial number."""
        return sum(asked == serial for asked, _ in self.requests)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, plain: socket.socket) -> None:
        # What a client does to a connection is the test's to judge, by what it counts.
        with plain, suppress(OSError):
            plain.settimeout(PLENTY_SECONDS)
            with self._context.wrap_socket(plain, server_side=True) if self._context else plain as connection:
                self.handle(connection)

    def handle(self, connection: socket.socket) -> None:
        head, body = read_request(connection)
        serial = str(json.loads(body)["serialnumber"])
        self.requests.append((serial, head))
        self.replies.get(serial, self._reply_honestly(serial))(connection)
        with suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
            # Closed with unread bytes, a connection is reset.
            while connection.recv(65536):
                pass

    def _reply_honestly(self, serial: str) -> Reply:
        return sends(answer(json.dumps(self.world.answer(serial)).encode()))


def read_request(connection: socket.socket) -> tuple[str, bytes]:
    """Return head and body of a request."""
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = connection.recv(65536)
        if not chunk:
            raise ConnectionError("the client left")
        received += chunk
    head, body = received.split(b"\r\n\r\n", 1)
    length = next(
        (
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length:")
        ),
        0,
    )
    while len(body) < length:
        body += connection.recv(65536)
    return head.decode("latin-1"), body


class ProxyListener(Listener):
    """An HTTP proxy: takes CONNECT and passes bytes on to `target`, whatever host was named."""

    def __init__(
        self,
        target: int,
        *,
        status: str = "200 Connection established",
        context: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(World(1), context)
        self._target = target
        self._status = status

    def handle(self, connection: socket.socket) -> None:
        head, _ = read_request(connection)
        self.requests.append((head.split(" ")[1], head))
        if not self._status.startswith("200"):
            connection.sendall(f"HTTP/1.1 {self._status}\r\nContent-Length: 0\r\n\r\n".encode())
            return
        with socket.create_connection(("127.0.0.1", self._target), PLENTY_SECONDS) as target:
            connection.sendall(f"HTTP/1.1 {self._status}\r\n\r\n".encode())
            back = threading.Thread(target=_pass_on, args=(target, connection), daemon=True)
            back.start()
            _pass_on(connection, target)
            back.join(PLENTY_SECONDS)


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(65536):
            target.sendall(chunk)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def with_data(world: World, serial: str, **data: Any) -> bytes:
    """Return the honest answer with some fields of `data` replaced, as JSON."""
    whole = world.answer(serial)
    assert whole is not None
    whole["response"]["data"] |= data
    return json.dumps(whole).encode()
