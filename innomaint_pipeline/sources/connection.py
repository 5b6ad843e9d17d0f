"""One connection of HTTP/1.1 to one server, as an httpx transport that does little for each request.

Belongs here: bytes to and from a socket. HTTP itself is httpcore's and h11's. httpx's own transport keeps a
pool around its connections, sends head and body of a request apart, and waits through a second library:
measured, together they cost as much as the rest of a request.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable
from typing import Any, cast

import httpcore
import httpx

_KEPT_IDLE_SECONDS = 5.0
_MOST_UNREAD_BYTES = 512 * 1024


class _Stream(asyncio.Protocol, httpcore.AsyncNetworkStream):
    """A socket's bytes; waits have no time limits of their own, the caller limits the whole request."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._to_send: list[bytes] = []
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._is_ended = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if len(self._received) > _MOST_UNREAD_BYTES:
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self._is_ended = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._error, self._is_ended = exc, True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109, ARG002
        self._send()
        while not self._received:
            if self._error is not None:
                raise httpcore.ReadError(str(self._error) or type(self._error).__name__)
            if self._is_ended:
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        data = bytes(self._received[:max_bytes])
        del self._received[:max_bytes]
        if not self._transport.is_closing():
            self._transport.resume_reading()
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109, ARG002
        # Head and body leave together, when the answer is waited for.
        if buffer:
            self._to_send.append(buffer)

    def _send(self) -> None:
        if self._to_send:
            data = b"".join(self._to_send)
            self._to_send.clear()
            if not self._transport.is_closing():
                self._transport.write(data)

    async def aclose(self) -> None:
        self._transport.abort()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109, ARG002
    ) -> httpcore.AsyncNetworkStream:
        loop = asyncio.get_running_loop()
        try:
            encrypted = await loop.start_tls(
                self._transport, self, ssl_context, server_hostname=server_hostname
            )
        except (OSError, ssl.SSLError) as error:
            self._transport.abort()
            raise httpcore.ConnectError(str(error)) from error
        if encrypted is None:
            raise httpcore.ConnectError("the server ended the connection")
        self._transport = encrypted
        return self

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            # Between two requests a server says nothing, unless it ends the connection.
            return bool(self._received) or self._is_ended
        return self._transport.get_extra_info(info)


class _Backend(httpcore.AsyncNetworkBackend):
    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109, ARG002
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        try:
            _, stream = await asyncio.get_running_loop().create_connection(_Stream, host, port)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        return stream


class _Answer(httpx.AsyncByteStream):
    """The body of an answer, with httpx's errors."""

    def __init__(self, body: Any) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._body:
                yield part
        except _ERRORS as error:
            raise _as_httpx(error) from error

    async def aclose(self) -> None:
        await self._body.aclose()


_ERRORS = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException)


def _as_httpx(error: Exception) -> httpx.TransportError:
    # They have the same names there.
    return getattr(httpx, type(error).__name__, httpx.TransportError)(str(error))


class ConnectionTransport(httpx.AsyncBaseTransport):
    """Asks one request after the other; connects when needed, and anew when the server has ended it."""

    def __init__(self, ssl_context: ssl.SSLContext) -> None:
        self._ssl_context = ssl_context
        self._connection: httpcore.AsyncHTTPConnection | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return the answer's head; its body is still to be read."""
        url = request.url
        asked = httpcore.Request(
            request.method,
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
        )
        connection = self._connection
        is_usable = (
            connection is not None
            and connection.can_handle_request(asked.url.origin)
            and connection.is_idle()
            and not connection.has_expired()
        )
        try:
            if connection is None or not is_usable:
                await self.aclose()
                connection = self._connection = httpcore.AsyncHTTPConnection(
                    asked.url.origin, self._ssl_context, _KEPT_IDLE_SECONDS, network_backend=_Backend()
                )
            answer = await connection.handle_async_request(asked)
        except _ERRORS as error:
            raise _as_httpx(error) from error
        body = _Answer(cast("Any", answer.stream))
        return httpx.Response(
            answer.status, headers=answer.headers, stream=body, extensions=answer.extensions
        )

    async def aclose(self) -> None:
        """End the connection."""
        if self._connection is not None:
            await self._connection.aclose()
            self._connection = None
