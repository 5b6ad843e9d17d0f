"""The way to a source: its name's addresses, the certificates that are trusted, and a proxy.

Belongs here: what lies between a request and the host that answers it. Only what is passed in counts: no
proxy, no certificates and no credentials are taken from the environment.
"""

from __future__ import annotations

import asyncio
import ipaddress
import select
import socket
import ssl
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import anyio
import httpcore
import httpx
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSAttribute, TLSStream
from pydantic import SecretStr

_NEXT_ADDRESS_AFTER_SECONDS = 0.25
_EARLY_BYTES_WITHIN_SECONDS = 0.001
# Of an attempt's time, so that a proxy that swallows packets is told from a host that does.
_PROXY_SHARE = 0.9


def host_of(url: httpx.URL) -> str:
    """Return a host as it is asked for; its own form of writing may be one that httpx refuses to show."""
    return url.raw_host.decode()


@dataclass(frozen=True)
class Route:
    """How a source is reached.

    `ca_file`, a PEM file, is trusted instead of the public authorities: only one host is asked. `proxy_url`
    may hold a user and a password; http, for this machine alone, never goes through it.
    """

    ca_file: Path | None = None
    proxy_url: SecretStr | None = None

    @property
    def proxy(self) -> str | None:
        """The proxy's host and port, for messages."""
        if self.proxy_url is None:
            return None
        url = httpx.URL(self.proxy_url.get_secret_value())
        return f"{host_of(url)}:{url.port or (443 if url.scheme == 'https' else 80)}"


DIRECT = Route()
"""Straight to the source, whose certificate a public authority has signed."""


class ClosedRouteError(Exception):
    """No request can reach the source, whatever it asks for; `is_passing`: a proxy may soon recover."""

    def __init__(self, message: str, *, is_proxy: bool, is_passing: bool = False) -> None:
        super().__init__(message)
        self.is_proxy = is_proxy
        self.is_passing = is_passing


class RouteTransport(httpx.AsyncHTTPTransport):
    """httpx's transport over a route of ours: a connection for each request.

    What a server sends beyond an answer ends with the answer's connection, and no connection is old when a
    request is sent. Raises `ClosedRouteError` besides httpx's errors.
    """

    def __init__(self, route: Route, *, most_connections: int) -> None:
        trusted = trusted_certificates(route.ca_file)
        self._route = route
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=trusted,
            proxy=_proxy_of(route, trusted),
            max_connections=most_connections,
            max_keepalive_connections=0,
            network_backend=Network(route.proxy),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return the answer's head; its body is still to be read."""
        if self._route.proxy_url is not None and request.url.scheme != "https":
            raise httpx.UnsupportedProtocol("http is not sent through a proxy, which could read it")
        try:
            return await super().handle_async_request(request)
        except httpx.ProxyError as error:
            status = str(error)[:3]
            raise ClosedRouteError(
                f"the proxy {self._route.proxy} lets no request to {host_of(request.url)} through "
                f"(it answers {str(error)[:100]})",
                is_proxy=True,
                is_passing=status.startswith("5"),
            ) from None


def _proxy_of(route: Route, trusted: ssl.SSLContext) -> httpcore.Proxy | None:
    if route.proxy_url is None:
        return None
    proxy = httpx.Proxy(route.proxy_url.get_secret_value())
    return httpcore.Proxy(
        url=httpcore.URL(
            scheme=proxy.url.raw_scheme, host=proxy.url.raw_host, port=proxy.url.port, target=b"/"
        ),
        auth=proxy.raw_auth,
        ssl_context=trusted if proxy.url.scheme == "https" else None,
    )


class Network(httpcore.AsyncNetworkBackend):
    """Opens connections to whichever address of a host answers first."""

    def __init__(self, proxy: str | None) -> None:
        self._proxy = proxy

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 # as the base names it
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Open a connection; raise `ClosedRouteError` where a proxy does not take it."""
        del local_address, socket_options
        if self._proxy is None:
            return _Stream(await _connect_first(await look_up(host, port), port))
        try:
            async with asyncio.timeout(timeout and timeout * _PROXY_SHARE):
                return _Stream(await _connect_first(await look_up(host, port), port))
        except (TimeoutError, httpcore.ConnectError) as error:
            cause = str(error) or "it does not take up the connection"
            raise ClosedRouteError(
                f"the proxy {self._proxy} is out of reach ({cause})", is_proxy=True, is_passing=True
            ) from None


async def _connect(address: str, port: int) -> ByteStream:
    try:
        return await anyio.connect_tcp(address, port)
    except OSError as error:
        raise httpcore.ConnectError(str(error.__cause__ or error)) from error


async def _connect_first(addresses: Sequence[str], port: int) -> ByteStream:
    if len(addresses) == 1:
        return await _connect(addresses[0], port)
    waiting = list(addresses)
    connecting: set[asyncio.Task[ByteStream]] = set()
    error: BaseException | None = None
    try:
        while waiting or connecting:
            if waiting:
                connecting.add(asyncio.create_task(_connect(waiting.pop(0), port)))
            patience = _NEXT_ADDRESS_AFTER_SECONDS if waiting else None
            done, _ = await asyncio.wait(connecting, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                connecting.discard(task)
                error = task.exception()
                if error is None:
                    return task.result()
    finally:
        await _close_each(connecting)
    raise error or httpcore.ConnectError("the host has no address")


async def _close_each(connecting: set[asyncio.Task[ByteStream]]) -> None:
    for task in connecting:
        task.cancel()
    for found in await asyncio.gather(*connecting, return_exceptions=True):
        if isinstance(found, ByteStream):
            await found.aclose()


async def look_up(host: str, port: int) -> list[str]:
    """Return a host's addresses, in a thread that nobody waits for longer than for the attempt.

    A name server that is silent would else fill the threads of the event loop, which the database needs.
    Raises `httpcore.ConnectError`.
    """
    with suppress(ValueError):
        return [str(ipaddress.ip_address(host))]
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[str]] = loop.create_future()

    def settle(addresses: list[str], cause: str) -> None:
        if found.done():
            return
        if addresses:
            found.set_result(addresses)
        else:
            found.set_exception(httpcore.ConnectError(f"{host} is not found ({cause})"))

    def ask_name_server() -> None:
        addresses: list[str] = []
        cause = "no address"
        try:
            entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            addresses = list(dict.fromkeys(str(entry[4][0]) for entry in entries))
        except OSError as error:
            cause = error.strerror or type(error).__name__
        except UnicodeError:
            cause = "no name that a host can have"
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, addresses, cause)

    threading.Thread(target=ask_name_server, name=f"look up {host}", daemon=True).start()
    return await found


class _Stream(httpcore.AsyncNetworkStream):
    """A connection on which nothing may have been said before the first request.

    Waits have no limits of their own: the whole attempt has one.
    """

    def __init__(self, inner: ByteStream) -> None:
        self._inner = inner
        self._socket = inner.extra(SocketAttribute.raw_socket)  # noqa: S610 # no database's
        self._encrypted: ssl.SSLObject | None = None
        if isinstance(inner, TLSStream):
            self._encrypted = inner.extra(TLSAttribute.ssl_object)  # noqa: S610 # no database's
        self._to_send: list[bytes] = []
        self._has_sent = False

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109, ARG002
        try:
            await self._send()
            return await self._inner.receive(max_bytes)
        except anyio.EndOfStream:
            return b""
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise httpcore.ReadError(str(error.__cause__ or "the connection has ended")) from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109, ARG002
        # Head and body leave together, when the answer is waited for.
        self._to_send.append(buffer)

    async def _send(self) -> None:
        if self._to_send:
            if not self._has_sent and await self._has_early_bytes():
                raise httpcore.RemoteProtocolError("the server spoke before it was asked")
            self._has_sent = True
            data = b"".join(self._to_send)
            self._to_send.clear()
            await self._inner.send(data)

    async def _has_early_bytes(self) -> bool:
        if self._encrypted is not None:
            with suppress(ssl.SSLError):  # nothing yet
                return bool(self._encrypted.read(1))
        if not _is_readable(self._socket):
            return False
        # Readable may also mean the end, or keys of TLS.
        with anyio.move_on_after(_EARLY_BYTES_WITHIN_SECONDS):
            return bool(await self._inner.receive(1))
        return False

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109, ARG002
    ) -> httpcore.AsyncNetworkStream:
        try:
            return _Stream(
                await TLSStream.wrap(
                    self._inner, hostname=server_hostname, ssl_context=ssl_context, standard_compatible=False
                )
            )
        except BaseException as error:
            # Cancelled in the middle, the libraries would leave the connection open.
            await self.aclose()
            if isinstance(error, ssl.SSLCertVerificationError):
                raise ClosedRouteError(
                    f"the certificate of {server_hostname} is not to be trusted "
                    f"({error.verify_message.rstrip('.')})",
                    is_proxy=False,
                ) from None
            if isinstance(error, (OSError, anyio.BrokenResourceError, anyio.EndOfStream)):
                cause = str(error) or "the connection ended in the TLS handshake"
                raise httpcore.ConnectError(cause) from error
            raise

    def get_extra_info(self, info: str) -> Any:
        if info == "ssl_object":
            return self._encrypted
        if info == "is_readable":
            return _is_readable(self._socket)
        return None


def _is_readable(connection: socket.socket) -> bool:
    return bool(select.select([connection], [], [], 0)[0])


def trusted_certificates(ca_file: Path | None) -> ssl.SSLContext:
    """Return what verifies a host's certificate; a file that changed is read again."""
    return _read_certificates(ca_file, ca_file.stat().st_mtime_ns if ca_file else 0)


# Reading the certificates takes longer than twenty requests: once a process, not once a batch.
@lru_cache(maxsize=8)
def _read_certificates(ca_file: Path | None, _changed_at_ns: int) -> ssl.SSLContext:
    if ca_file is None:
        return httpx.create_ssl_context(trust_env=False)
    return ssl.create_default_context(cafile=ca_file)
