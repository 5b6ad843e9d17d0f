"""One connection: encrypted and plain, kept while the server keeps it, opened anew when it does not."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress

import httpx
import pytest
import trustme

from innomaint_pipeline.sources.connection import ConnectionTransport

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def read_request(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(4)


async def ask(transport: ConnectionTransport, url: str) -> bytes:
    request = httpx.Request("POST", url, content=b"body")
    async with asyncio.timeout(60):
        answer = await transport.handle_async_request(request)
        try:
            return await answer.aread()
        finally:
            await answer.aclose()


async def serving(
    serve: Serve, work: Callable[[int], Awaitable[None]], context: ssl.SSLContext | None = None
) -> None:
    served: list[asyncio.Task[None] | None] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(asyncio.current_task())
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    async with server:
        await work(server.sockets[0].getsockname()[1])
        await asyncio.gather(*(task for task in served if task))


def test_a_trusted_server_is_asked_over_tls_and_another_is_not() -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server_context)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await read_request(reader):
            writer.write(ANSWER)

    async def work(port: int) -> None:
        for trusted, host in ((authority, "localhost"), (stranger, "localhost"), (authority, "127.0.0.1")):
            context = ssl.create_default_context()
            trusted.configure_trust(context)
            transport = ConnectionTransport(context)
            try:
                if trusted is authority and host == "localhost":
                    assert await ask(transport, f"https://{host}:{port}/") == b"ok"
                    assert await ask(transport, f"https://{host}:{port}/") == b"ok"
                else:
                    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                        await ask(transport, f"https://{host}:{port}/")
            finally:
                await transport.aclose()

    async def run() -> None:
        # The server's side of refused handshakes ends in errors of its own, which are not the client's.
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        await serving(serve, work, server_context)

    asyncio.run(run())


@pytest.mark.parametrize("last_words", [b"", b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"])
def test_what_a_server_says_between_two_requests_answers_neither(last_words: bytes) -> None:
    opened: list[int] = []
    said, ended = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(1)
        await read_request(reader)
        writer.write(ANSWER)
        if len(opened) == 1:
            await said.wait()
            writer.write(last_words)
            await writer.drain()
            ended.set()
        else:
            await reader.read()

    async def work(port: int) -> None:
        transport = ConnectionTransport(ssl.create_default_context())
        try:
            assert await ask(transport, f"http://127.0.0.1:{port}/") == b"ok"
            said.set()
            # The last words have arrived when their sender has waited for its own connection to end.
            async with asyncio.timeout(60):
                await ended.wait()
            await asyncio.sleep(0.05)
            assert await ask(transport, f"http://127.0.0.1:{port}/") == b"ok"
        finally:
            await transport.aclose()
        assert len(opened) == 2

    asyncio.run(serving(serve, work))


def test_a_connection_is_used_again_and_large_answers_arrive_whole() -> None:
    opened: list[int] = []
    body = bytes(range(256)) * 12_000

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(1)
        for _ in range(3):
            await read_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()
        await reader.read()

    async def work(port: int) -> None:
        transport = ConnectionTransport(ssl.create_default_context())
        try:
            for _ in range(3):
                assert await ask(transport, f"http://127.0.0.1:{port}/") == body
        finally:
            await transport.aclose()
        assert opened == [1]

    asyncio.run(serving(serve, work))


def test_a_broken_connection_is_an_error_of_httpx() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(ANSWER[:-1])

    async def work(port: int) -> None:
        transport = ConnectionTransport(ssl.create_default_context())
        with pytest.raises(httpx.RemoteProtocolError):
            await ask(transport, f"http://127.0.0.1:{port}/")
        await transport.aclose()

    asyncio.run(serving(serve, work))
