"""The wire between the program and PostgreSQL, and a trap on it that springs at a chosen moment.

A proxy on loopback that passes bytes on unread, but for two things that it looks for in what the client
sends: a piece of a statement, and the COMMIT of its transaction.
"""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, Self

_COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"
_CHUNK_BYTES = 65536

Moment = Literal["statement", "before commit", "after commit"]


@dataclass
class Trap:
    """Act once, at the `number`th statement that holds `fragment`, or around the commit of its transaction.

    Afterwards the connection is cut: before the statement or the COMMIT reaches the server, or after the
    COMMIT was carried out and before the client hears of it. `is_cut` false lets the statement go on.
    """

    fragment: bytes
    moment: Moment
    act: Callable[[], object]
    number: int = 1
    is_cut: bool = True
    seen: int = 0
    has_sprung: bool = False


class Wire:
    """A way to a server's Unix socket through a port on loopback; use it as a context manager."""

    def __init__(self, server_socket: str) -> None:
        self._server_socket = server_socket
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._trap: Trap | None = None
        self._sockets: list[socket.socket] = []

    @property
    def port(self) -> int:
        """Where clients connect."""
        return self._listener.getsockname()[1]

    def set_trap(self, trap: Trap | None) -> None:
        """Watch for the moment of a trap; for that alone."""
        self._trap = trap

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        # Closing alone would leave a thread in accept().
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for item in self._sockets:
            _cut(item)
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()

    def _start(self, work: Callable[..., object], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            self._sockets += [client, server]
            try:
                server.connect(self._server_socket)
            except OSError:
                # The server is being started again: as if nobody listened.
                _cut(client, server)
                continue
            is_mute = threading.Event()
            answered = threading.Event()
            self._start(self._pass_answers, server, client, is_mute, answered)
            self._start(self._pass_requests, client, server, is_mute, answered)

    def _pass_answers(
        self,
        server: socket.socket,
        client: socket.socket,
        is_mute: threading.Event,
        answered: threading.Event,
    ) -> None:
        with suppress(OSError):
            while chunk := server.recv(_CHUNK_BYTES):
                if is_mute.is_set():
                    answered.set()
                else:
                    client.sendall(chunk)
        answered.set()
        _cut(server, client)

    def _pass_requests(
        self,
        client: socket.socket,
        server: socket.socket,
        is_mute: threading.Event,
        answered: threading.Event,
    ) -> None:
        seen = b""
        with suppress(OSError):
            while chunk := client.recv(_CHUNK_BYTES):
                is_commit = chunk == _COMMIT
                seen = seen if is_commit else seen + chunk
                trap = self._sprung(seen, is_commit=is_commit)
                if trap is not None:
                    if trap.moment == "after commit":
                        is_mute.set()
                        server.sendall(chunk)
                        assert answered.wait(30)
                    trap.act()
                    if trap.is_cut:
                        break
                if is_commit or trap is not None:
                    seen = b""
                server.sendall(chunk)
        _cut(client, server)

    def _sprung(self, seen: bytes, *, is_commit: bool) -> Trap | None:
        trap = self._trap
        if trap is None or trap.has_sprung or trap.fragment not in seen:
            return None
        if is_commit is (trap.moment == "statement"):
            return None
        with self._lock:
            trap.seen += 1
            if trap.has_sprung or trap.seen < trap.number:
                return None
            trap.has_sprung = True
        return trap


def _cut(*sockets: socket.socket) -> None:
    for item in sockets:
        with suppress(OSError):
            item.shutdown(socket.SHUT_RDWR)
        item.close()
