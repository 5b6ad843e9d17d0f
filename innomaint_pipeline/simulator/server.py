"""A simulated source on a real socket: in a background thread, or in the foreground.

Belongs here: binding to loopback, starting, stopping. What is served, any ASGI application, is handed in.
"""

import asyncio
import ipaddress
import socket
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

import uvicorn

from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline.simulator.asgi import Application

_START_SECONDS = 10
_STOP_SECONDS = 10
_POLL_SECONDS = 0.1
_BACKLOG = 512


class SimulatorServer:
    """A simulated source as a context manager: serves when entered, holds no port or thread when left.

    `port` 0 takes a free one; `origin` is known as soon as it is entered. Leaving cuts off what is still
    under way, so that a hanging request delays nothing. Raises ConfigurationError for a host that is not
    loopback or a port that is taken.
    """

    def __init__(self, app: Application, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._served = app
        self._host = host
        self._port = port
        self._origin: str | None = None
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def origin(self) -> str:
        """Where it is reached, like http://127.0.0.1:8099."""
        if self._origin is None:
            raise RuntimeError(
                "The simulator has no address yet: enter it first (with the server as a context manager)."
            )
        return self._origin

    def __enter__(self) -> Self:
        """Start serving; returns once requests are answered."""
        listener = _listen(self._host, self._port)
        self._origin = _build_origin(listener)
        self._server = _Server(self._served)
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), name="simulator", daemon=True
        )
        self._thread.start()
        if not self._server.ready.wait(_START_SECONDS):
            self.__exit__(None, None, None)
            raise RuntimeError(f"The simulator did not start within {_START_SECONDS} s; its log says why.")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop serving; returns once the thread has ended."""
        if self._server is None or self._thread is None:
            return
        self._server.stop()
        self._thread.join(_STOP_SECONDS)
        if self._thread.is_alive():
            raise RuntimeError(f"The simulator did not stop within {_STOP_SECONDS} s.")
        self._server = self._thread = None


def serve(
    app: Application,
    *,
    host: str = "127.0.0.1",
    port: int = 8099,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve in the foreground until SIGINT or SIGTERM; `on_ready` is told the origin.

    What is under way then is cut off, the port is released, and the signal takes its usual effect: Ctrl-C is
    a KeyboardInterrupt here. Raises ConfigurationError as `SimulatorServer` does.
    """
    listener = _listen(host, port)
    server = _Server(app, on_ready=lambda: on_ready(_build_origin(listener)) if on_ready else None)
    server.run([listener])


class _Server(uvicorn.Server):
    """uvicorn that tells when it is ready, and cuts off what is under way when it stops."""

    def __init__(self, app: Application, *, on_ready: Callable[[], None] | None = None) -> None:
        # asyncio's own loop on every system: breaking a connection needs the socket itself. Without a log
        # configuration the process's own logging is left as it is.
        super().__init__(
            uvicorn.Config(
                app,
                loop="asyncio",
                lifespan="off",
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=60,
                backlog=_BACKLOG,
            )
        )
        self.ready = threading.Event()
        self._on_ready = on_ready
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()

    def stop(self) -> None:
        """Ask the server to stop, from any thread."""
        self.should_exit = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake.set)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self.ready.set()
        if self._on_ready is not None:
            self._on_ready()

    async def main_loop(self) -> None:
        ticks = 0
        while not await self.on_tick(ticks):
            ticks = (ticks + 1) % 864_000
            try:
                # uvicorn sleeps here; a stop from another thread need not wait for the end of the sleep.
                await asyncio.wait_for(self._wake.wait(), _POLL_SECONDS)
            except TimeoutError:
                continue

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        tasks = set(self.server_state.tasks)
        if tasks:
            # Each sees that its client is gone, and returns.
            await asyncio.wait(tasks, timeout=_STOP_SECONDS / 2)


def _listen(host: str, port: int) -> socket.socket:
    address = "127.0.0.1" if host == "localhost" else host
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        parsed = None
    if parsed is None or not parsed.is_loopback:
        raise ConfigurationError(
            f"The simulator was told to listen on {host!r}; it takes any token, so it listens on loopback "
            "alone: use 127.0.0.1, ::1 or localhost."
        )
    family = socket.AF_INET6 if parsed.version == 6 else socket.AF_INET
    # asyncio turns Nagle's algorithm off only where the protocol is named; with it an answer takes 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform != "win32":
            # On Windows the same option would let two servers share the port.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        raise ConfigurationError(
            f"The simulator cannot listen on {address} port {port} ({error}): stop what uses it, or choose "
            "another port."
        ) from error
    return listener


def _build_origin(listener: socket.socket) -> str:
    address, port = listener.getsockname()[:2]
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"
