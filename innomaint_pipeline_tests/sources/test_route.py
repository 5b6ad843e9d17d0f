"""The way to a source: whose bytes an answer is made of, names, addresses, and what is nobody's fault."""

import asyncio
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress

import httpcore
import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from innomaint_pipeline.errors import RouteError
from innomaint_pipeline.sources.innomaint import InnomaintClient
from innomaint_pipeline.sources.outcomes import RequestFailure, RequestPolicy, RequestSuccess
from innomaint_pipeline.sources.route import DIRECT, Network, Route
from innomaint_pipeline_tests.conftest import CANARY_TOKEN
from innomaint_pipeline_tests.sources.raw_server import RawServer, answer, detail
from innomaint_pipeline_tests.sources.test_http import OpenPacing

PUMPS = ("PUMP-1", "PUMP-2", "PUMP-3")
Results = dict[str, RequestSuccess | RequestFailure]


def fetch(
    url: str, *items: str, route: Route = DIRECT, in_flight: int = 1, attempts: int = 1, seconds: float = 20
) -> tuple[Results, OpenPacing]:
    pacing, results = OpenPacing(), {}

    async def keep(item: str, result: RequestSuccess | RequestFailure) -> None:
        assert item not in results
        results[item] = result

    async def go() -> None:
        policy = RequestPolicy(in_flight, attempts, 0.001, seconds)
        async with InnomaintClient(url, SecretStr(CANARY_TOKEN), pacing, policy, route=route) as client:
            await client.fetch_details(items, keep)

    asyncio.run(go())
    return results, pacing


def answer_well(connection: socket.socket, item: str) -> None:
    connection.sendall(answer(detail(item)))


# an answer belongs to the request before it


LEFT_OVERS = {
    "a 404": b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    "a 401": b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
    "a line": b"\r\n",
    "a good answer": answer(detail("PUMP-2", barcode="of another")),
    "half an answer": b"HTTP/1.1 200 OK\r\nContent-Le",
    "noise": b"\0\xff",
}


def test_bytes_beyond_an_answer_are_nobodys_answer() -> None:
    for left_over in LEFT_OVERS.values():

        def answer_and_more(connection: socket.socket, item: str, left_over: bytes = left_over) -> None:
            connection.sendall(answer(detail(item)) + left_over)

        with RawServer(answer_and_more) as server:
            results, pacing = fetch(server.url, *PUMPS)
        assert {item: type(result) for item, result in results.items()} == dict.fromkeys(
            PUMPS, RequestSuccess
        )
        assert server.asked == list(PUMPS)
        assert [told[0] for told in pacing.told].count("failed") == 0


def test_a_connection_that_ends_after_its_answer_costs_the_next_asset_nothing() -> None:
    def answer_and_end(connection: socket.socket, item: str) -> None:
        answer_well(connection, item)
        connection.recv(65536)
        connection.close()

    with RawServer(answer_and_end) as server:
        results, _ = fetch(server.url, *PUMPS)
    assert {result.attempts for result in results.values()} == {1}
    assert all(isinstance(result, RequestSuccess) for result in results.values())


def test_what_a_server_says_before_it_is_asked_is_no_answer() -> None:
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", key_type=trustme.KeyType.ECDSA).configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    async def speak_late(port: int, *, is_encrypted: bool) -> None:
        stream = await Network(None).connect_tcp("127.0.0.1", port)
        if is_encrypted:
            stream = await stream.start_tls(trusting, "localhost")
        await asyncio.sleep(0.2)
        try:
            await stream.write(b"POST / HT")
            with suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    await stream.read(1)
        finally:
            await stream.aclose()

    for is_encrypted in (False, True):
        for early in (LEFT_OVERS["a 404"], b""):
            with RawServer(b"", early=early, context=context if is_encrypted else None) as server:
                if early:
                    with pytest.raises(httpcore.RemoteProtocolError, match="before it was asked"):
                        asyncio.run(speak_late(server.port, is_encrypted=is_encrypted))
                else:
                    asyncio.run(speak_late(server.port, is_encrypted=is_encrypted))


def test_any_bytes_at_any_moment_give_no_asset_the_verdict_of_another() -> None:
    """A fuzz: answers, what follows them, and ends of connections, in any order, several assets at once."""
    pumps = [f"PUMP-{number}" for number in range(8)]
    endings = st.sampled_from(["open", "closed", "reset", "half"])
    verdicts = st.sampled_from([200, 200, 200, 404, 500, 429])
    behaviours = st.fixed_dictionaries(
        {
            pump: st.tuples(verdicts, st.sampled_from([b"", *LEFT_OVERS.values()]), endings, st.booleans())
            for pump in pumps
        }
    )

    @settings(max_examples=25, deadline=None)
    @given(behaviours)
    def check(behaviour: dict[str, tuple[int, bytes, str, bool]]) -> None:
        def talk(connection: socket.socket, item: str) -> None:
            status, left_over, ending, is_split = behaviour[item]
            body = detail(item, barcode=f"of {item}") if status == 200 else b""
            whole = answer(body, "Retry-After: 0", status=f"{status} X")
            for part in (whole[: len(whole) // 2], whole[len(whole) // 2 :]) if is_split else (whole,):
                connection.sendall(part)
            with suppress(OSError):
                connection.sendall(left_over)
                if ending == "reset":
                    linger = b"\1\0\0\0\0\0\0\0"
                    connection.recv(65536)  # the client has its answer, and has left
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                if ending == "half":
                    connection.shutdown(socket.SHUT_WR)
                elif ending != "open":
                    connection.close()

        with RawServer(talk) as server:
            results, _ = fetch(server.url, *pumps, in_flight=3)
        classes = {404: "not_found", 500: "transient", 429: "rate_limited"}
        for pump, (status, *_) in behaviour.items():
            result = results[pump]
            if isinstance(result, RequestSuccess):
                assert (status, f"of {pump}" in result.value.body_json) == (200, True)
            else:
                assert result.error_class == classes.get(status)

    check()


# names and addresses


@pytest.fixture
def swallowing_port() -> Iterator[int]:
    """A port of 127.0.0.2 that takes up no connection, and is a good server's on 127.0.0.1."""
    with RawServer(answer_well) as server, socket.socket() as listener:
        listener.bind(("127.0.0.2", server.port))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.2", server.port))
        yield server.port
        for one in waiting:
            one.close()


def name_server(monkeypatch: pytest.MonkeyPatch, *addresses: str, seconds: float = 0) -> None:
    """Let the name pumps.test have these addresses, or none."""
    real = socket.getaddrinfo

    def look_up(host: str, port: int, *more: object, **named: object) -> object:
        if host != "pumps.test":
            return real(host, port, *more, **named)  # type: ignore[arg-type]
        time.sleep(seconds)
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


def test_the_second_address_is_tried_while_the_first_swallows_packets(
    monkeypatch: pytest.MonkeyPatch, swallowing_port: int
) -> None:
    name_server(monkeypatch, "127.0.0.2", "127.0.0.1")
    results, _ = fetch(f"http://pumps.test:{swallowing_port}", "PUMP-1")
    assert isinstance(results["PUMP-1"], RequestSuccess)


def test_the_second_address_is_tried_when_the_first_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer(answer_well) as server:
        for addresses in (("127.0.0.3", "127.0.0.1"), ("127.0.0.1", "127.0.0.3")):
            name_server(monkeypatch, *addresses)
            results, _ = fetch(f"http://pumps.test:{server.port}", "PUMP-1")
            assert isinstance(results["PUMP-1"], RequestSuccess)
        name_server(monkeypatch, "127.0.0.3", "127.0.0.4")
        results, _ = fetch(f"http://pumps.test:{server.port}", "PUMP-1")
    assert isinstance(results["PUMP-1"], RequestFailure)
    assert results["PUMP-1"].error_class == "transient"


def test_a_silent_name_server_holds_no_thread_that_others_need(monkeypatch: pytest.MonkeyPatch) -> None:
    name_server(monkeypatch, seconds=3)
    began = time.monotonic()
    results, _ = fetch("https://pumps.test", *(f"P{n}" for n in range(40)), in_flight=40, seconds=0.2)
    # The event loop's end waits for its own threads: with a look-up in them it would take three seconds.
    assert time.monotonic() - began < 2.9
    assert {str(getattr(result, "error_class", "")) for result in results.values()} == {"transient"}


def test_an_impossible_host_is_a_failure_of_one_attempt() -> None:
    for url in (
        "https://api..example.com/v1",
        f"https://{'a' * 70}.example.com",
        "https://xn--\u00fc.example.com",
        "https://",
        "nonsense",
        "https://[::1",
        "https://pumps.invalid",
    ):
        results, pacing = fetch(url, "PUMP-1")
        result = results["PUMP-1"]
        assert isinstance(result, RequestFailure)
        assert (result.error_class, result.message.startswith("no answer: ")) == ("transient", True)
        assert ("failed", "PUMP-1") in pacing.told


# a way that is closed


def test_a_certificate_that_is_not_trusted_stops_everybody_at_the_first_attempt() -> None:
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", key_type=trustme.KeyType.ECDSA).configure_cert(context)
    with RawServer(answer_well, context=context) as server:
        url = f"https://localhost:{server.port}"
        with pytest.raises(RouteError, match=r"certificate of localhost .*issuer.*INNOMAINT_CA_FILE"):
            fetch(url, *PUMPS, attempts=3)
        assert (server.connections, server.asked) == (1, [])


class Proxy(RawServer):
    """Answers CONNECT with one status."""

    def __init__(self, status: str) -> None:
        super().__init__(b"")
        self.status = status
        self.heads: list[bytes] = []

    def _read_request(self, connection: socket.socket, received: bytes) -> tuple[str, bytes]:
        del received
        self.heads.append(connection.recv(65536))
        connection.sendall(answer(b"<html>no</html>", status=self.status))
        raise ConnectionError("refused")

    @property
    def route(self) -> Route:
        return Route(proxy_url=SecretStr(f"http://user:secret-pass%40word@127.0.0.1:{self.port}"))


def test_a_proxy_that_refuses_stops_everybody_and_is_named_without_its_password() -> None:
    for status, attempts in (("407 Password", 1), ("403 Forbidden", 1), ("400 No", 1), ("502 Bad", 3)):
        with Proxy(status) as proxy:
            with pytest.raises(RouteError) as caught:
                fetch("https://api.example.com/v1", "PUMP-1", route=proxy.route, attempts=3)
            assert len(proxy.heads) == attempts
            assert not any(CANARY_TOKEN.encode() in head for head in proxy.heads)
        message = str(caught.value)
        assert all(part in message for part in (f"127.0.0.1:{proxy.port}", status, "INNOMAINT_PROXY_URL"))
        assert "word" not in message.replace("password", "").replace("Password", "")


def test_a_proxy_that_is_down_stops_everybody_after_the_attempts(swallowing_port: int) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        for address in (f"127.0.0.1:{reserved.getsockname()[1]}", f"127.0.0.2:{swallowing_port}"):
            route = Route(proxy_url=SecretStr(f"http://{address}"))
            with pytest.raises(RouteError, match=f"{address} is out of reach.*INNOMAINT_PROXY_URL"):
                fetch("https://api.example.com/v1", "PUMP-1", route=route, attempts=2, seconds=0.5)


def test_http_never_goes_through_a_proxy() -> None:
    with Proxy("200 OK") as proxy:
        results, _ = fetch("http://api.example.com/v1", "PUMP-1", route=proxy.route)
        assert isinstance(results["PUMP-1"], RequestFailure)
        assert proxy.connections == 0


def test_a_wish_of_somebody_on_the_way_stops_everybody() -> None:
    for status, wish in (("402 Pay", "a payment"), ("407 Log in", "a login")):
        with RawServer(answer(b"", status=status)) as server, pytest.raises(RouteError, match=wish) as caught:
            fetch(server.url, *PUMPS)
        assert "127.0.0.1" in str(caught.value)
        assert len(server.asked) == 1
