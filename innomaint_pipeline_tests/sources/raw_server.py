"""A server made of sockets that says what a test wants, and when; it leaves connections open."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

PLENTY_SECONDS = 60

Talk = Callable[[socket.socket, str], None]
"""Answers the request for an item; the connection stays open for another."""


def answer(body: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    """Return the bytes of a whole answer; `length` is a Content-Length that is not the true one."""
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body) if length is None else length}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def detail(item: str, **fields: object) -> bytes:
    """Return a good answer for an item as JSON."""
    data = {"serialnumber": item, **fields}
    return json.dumps({"status": True, "response_code": 200, "response": {"data": data}}).encode()


class RawServer:
    """Answers each request by `talk`; `early` is sent on each connection before anything is read from it.

    Bytes for `talk` are sent as they are, and then the end. `asked` are the items of the requests, in order.
    """

    def __init__(
        self, talk: Talk | bytes, *, early: bytes = b"", context: ssl.SSLContext | None = None
    ) -> None:
        self._talk, self._early, self._context = talk, early, context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._opened: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.asked: list[str] = []

    @property
    def connections(self) -> int:
        return len(self._opened)

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join(PLENTY_SECONDS)
        self._listener.close()
        for connection in self._opened:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PLENTY_SECONDS)
            assert not thread.is_alive()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._opened.append(connection)
                self._threads.append(threading.Thread(target=self._serve, args=(connection,), daemon=True))
                self._threads[-1].start()

    def _serve(self, plain: socket.socket) -> None:
        # What a client does to a connection is the test's to judge.
        with suppress(OSError):
            plain.settimeout(PLENTY_SECONDS)
            with self._context.wrap_socket(plain, server_side=True) if self._context else plain as connection:
                connection.sendall(self._early)
                received = b""
                while True:
                    item, received = self._read_request(connection, received)
                    self.asked.append(item)
                    if isinstance(self._talk, bytes):
                        connection.sendall(self._talk)
                        connection.shutdown(socket.SHUT_WR)
                    else:
                        self._talk(connection, item)

    def _read_request(self, connection: socket.socket, received: bytes) -> tuple[str, bytes]:
        while b"\r\n\r\n" not in received:
            received += _more(connection)
        head, received = received.split(b"\r\n\r\n", 1)
        lines = [line.lower() for line in head.split(b"\r\n")]
        length = int(next(line for line in lines if line.startswith(b"content-length"))[15:])
        while len(received) < length:
            received += _more(connection)
        return str(json.loads(received[:length])["serialnumber"]), received[length:]


def _more(connection: socket.socket) -> bytes:
    chunk = connection.recv(65536)
    if not chunk:
        raise ConnectionError("the client left")
    return chunk
