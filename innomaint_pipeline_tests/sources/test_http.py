"""The HTTP session on a real socket: what answers mean, attempts, waits, deadlines, bounds, the token.

The pacing is a hand-written one that lets everything start; the shared one is tested in `store`.
"""

import asyncio
import gzip
import json
import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from innomaint_pipeline.domain.documents import dump_json
from innomaint_pipeline.domain.http_answers import HttpAnswer
from innomaint_pipeline.domain.innomaint.answers import judge_answer
from innomaint_pipeline.domain.pacing import Permit
from innomaint_pipeline.errors import AuthError, BreakerOpenError, ConfigurationError, DatabaseError
from innomaint_pipeline.simulator.innomaint.faults import (
    ByteOrderMark,
    DataEmptyList,
    DataEmptyObject,
    DeepNesting,
    EmptyBody,
    Fault,
    GzipBomb,
    Hang,
    Healthy,
    Html,
    HugeBody,
    ListForObject,
    NullResponse,
    OtherSerial,
    ResetBeforeAnswer,
    ResetInBody,
    ResponseCode,
    Status,
    StatusFalse,
    Trickle,
    Truncated,
    WrongCharset,
)
from innomaint_pipeline.simulator.innomaint.server import InnomaintSimulator
from innomaint_pipeline.simulator.limit import build_fixed_latency
from innomaint_pipeline.sources.http import (
    RATE_LIMIT_REPEATS,
    HttpSession,
    Judge,
    RouteAdvice,
    secret_header,
)
from innomaint_pipeline.sources.innomaint import DETAIL_PATH
from innomaint_pipeline.sources.outcomes import Request, RequestFailure, RequestPolicy, RequestSuccess
from innomaint_pipeline_tests.conftest import CANARY_TOKEN
from innomaint_pipeline_tests.sources.raw_server import RawServer, answer, detail

Result = RequestSuccess | RequestFailure
ADVICE = RouteAdvice(certificate="renew it", proxy="change it")


class OpenPacing:
    """Lets everything start, and writes down what it was told; closes after `starts_left` starts."""

    def __init__(self, *, starts_left: int | None = None, block: int = 1) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.fellows: tuple[str, ...] | None = None
        self.starts = 0
        self._starts_left = starts_left
        self._block = block

    async def start(self, *, is_bulk: bool) -> Permit:
        if self._starts_left is not None and self.starts >= self._starts_left:
            raise BreakerOpenError("closed for the test", retry_in_seconds=30)
        self.starts += 1
        self.told.append(("start", is_bulk))
        return Permit(self._block)

    async def end_bulk(self) -> None:
        self.told.append(("end_bulk",))

    async def succeeded(self) -> None:
        self.told.append(("succeeded",))

    async def failed(self, item: str) -> None:
        self.told.append(("failed", item))

    async def broke_contract(self, item: str, error: str) -> tuple[str, ...] | None:
        self.told.append(("broke_contract", item, error))
        return self.fellows

    async def rate_limited(self, retry_after_seconds: float | None, *, started_at: float) -> None:
        assert started_at <= time.monotonic()
        self.told.append(("rate_limited", retry_after_seconds))


class Waits:
    """A sleep that ends at once and writes down how long it should have been."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await asyncio.sleep(0)


class Asker:
    """Asks the simulator, with everything about it open to a test."""

    def __init__(self, simulator: InnomaintSimulator) -> None:
        self.simulator = simulator
        self.pacing = OpenPacing()
        self.waits = Waits()
        self.policy = RequestPolicy(timeout_seconds=20)
        self.judge: Judge = partial(judge_answer, now=datetime.now(UTC))
        self.transport: httpx.AsyncBaseTransport | None = None
        self.url = simulator.url + DETAIL_PATH
        self.results: dict[str, Result] = {}

    async def keep(self, item: str, result: Result) -> None:
        assert item not in self.results, "one result for each item"
        self.results[item] = result

    def ask(
        self,
        *serials: str,
        is_bulk: bool = True,
        on_result: Callable[[str, Result], Awaitable[None]] | None = None,
    ) -> dict[str, Result]:
        async def go() -> None:
            async with HttpSession(
                headers={
                    "Authorization": secret_header(SecretStr(CANARY_TOKEN), scheme="Bearer"),
                    "Content-Type": "application/json",
                },
                advice=ADVICE,
                pacing=self.pacing,
                policy=self.policy,
                sleep=self.waits,
                transport=self.transport,
            ) as session:
                await session.ask_each(
                    (
                        Request(serial, self.url, "POST", dump_json({"serialnumber": serial}).encode())
                        for serial in serials
                    ),
                    judge=self.judge,
                    on_result=on_result or self.keep,
                    is_bulk=is_bulk,
                )

        asyncio.run(go())
        return self.results

    def ask_one(self, fault: Fault) -> Result:
        serial = self.simulator.world.serials[1]
        self.simulator.faults.always(serial, fault)
        return self.ask(serial)[serial]


@pytest.fixture
def asker(simulator: InnomaintSimulator) -> Asker:
    return Asker(simulator)


TRANSIENT_STATUSES = [Status(code) for code in (202, 206, 408, 409, 423, 425, 500, 503, 507)]
OUR_STATUSES = [Status(code) for code in (400, 405, 413, 422)]
REDIRECTS = [Status(code, location="http://127.0.0.1:9/elsewhere") for code in (301, 302, 303, 307, 308)]


@pytest.mark.parametrize(
    "fault",
    [
        *TRANSIENT_STATUSES,
        Html(),
        Status(403, body="<html>a firewall</html>", content_type="text/html"),
        Status(404, body="<html>not here</html>", content_type="text/html"),
        ResponseCode(503),
        EmptyBody(),
        Truncated(),
        Truncated(0.9),
        Truncated(is_length_too_large=True),
        ResetBeforeAnswer(),
        ResetInBody(),
        WrongCharset(),
        Status(200, body="null and void"),
        Status(200, body="   "),
    ],
    ids=repr,
)
def test_a_transient_error_is_asked_three_times(asker: Asker, fault: Fault) -> None:
    result = asker.ask_one(fault)
    assert isinstance(result, RequestFailure)
    assert (result.error_class, result.attempts) == ("transient", 3)
    assert len(asker.simulator.record) == 3
    assert asker.pacing.told.count(("failed", asker.simulator.world.serials[1])) == 3


@pytest.mark.parametrize(
    ("fault", "error_class"),
    [
        (Status(404), "not_found"),
        *((fault, "data") for fault in OUR_STATUSES),
        *((fault, "contract") for fault in REDIRECTS),
        (Status(410), "not_found"),
        (Status(418), "contract"),
        (StatusFalse(), "contract"),
        (ResponseCode(404), "not_found"),
        (NullResponse(), "contract"),
        (DataEmptyList(), "contract"),
        (DataEmptyObject(), "contract"),
        (ListForObject("data"), "contract"),
        (ListForObject("response"), "contract"),
        (ListForObject("answer"), "contract"),
        (OtherSerial(), "contract"),
        (DeepNesting(), "contract"),
        (HugeBody(20_000_000), "contract"),
        (GzipBomb(20_000_000), "contract"),
    ],
    ids=repr,
)
def test_an_error_that_stays_is_asked_once(asker: Asker, fault: Fault, error_class: str) -> None:
    result = asker.ask_one(fault)
    assert isinstance(result, RequestFailure)
    assert (result.error_class, result.attempts) == (error_class, 1)
    assert len(asker.simulator.record) == 1
    assert result.http_status == fault.status_sent
    assert asker.waits.seconds == []


@pytest.mark.parametrize(
    "fault", [Healthy(), ByteOrderMark(), Trickle(0.001, 5), HugeBody(4_900_000)], ids=repr
)
def test_a_good_answer_is_read_whatever_its_clothes(asker: Asker, fault: Fault) -> None:
    result = asker.ask_one(fault)
    assert isinstance(result, RequestSuccess)
    assert (result.attempts, result.value.issues) == (1, ())
    serial = asker.simulator.world.serials[1]
    assert json.loads(result.value.body_json)["response"]["data"]["serialnumber"] == serial


@pytest.mark.parametrize("fault", [Hang(), Hang(after_headers=True), Trickle(0.02)], ids=repr)
def test_fifteen_seconds_mean_the_whole_attempt(asker: Asker, fault: Fault) -> None:
    asker.policy = RequestPolicy(timeout_seconds=0.3, max_attempts=2)
    began = time.monotonic()
    result = asker.ask_one(fault)
    assert time.monotonic() - began < 5
    assert isinstance(result, RequestFailure)
    assert (result.error_class, result.attempts, result.http_status) == ("transient", 2, None)
    assert "0.3 s" in result.message or "Timeout" in result.message
    assert result.duration_ms >= 600


@pytest.mark.parametrize(("attempts", "waits"), [(1, []), (3, [1, 2]), (4, [1, 2, 4])])
def test_the_waits_double_with_a_little_jitter(asker: Asker, attempts: int, waits: list[int]) -> None:
    asker.policy = RequestPolicy(max_attempts=attempts)
    result = asker.ask_one(Status(503))
    assert result.attempts == attempts == len(asker.simulator.record)
    assert len(asker.waits.seconds) == len(waits)
    for wait, base in zip(asker.waits.seconds, waits, strict=True):
        assert base <= wait <= 1.1 * base


def test_an_error_that_passes_is_healed_by_the_next_attempt(asker: Asker) -> None:
    serial = asker.simulator.world.serials[0]
    asker.simulator.faults.next(serial, Status(502), Truncated())
    result = asker.ask(serial)[serial]
    assert isinstance(result, RequestSuccess)
    assert result.attempts == 3


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (Status(429, retry_after=7), 7.0),
        (Status(429, retry_after=0), None),
        (Status(429, retry_after="120.0"), 120.0),
        (Status(429), None),
        (Status(429, retry_after="soon"), None),
        (Status(429, retry_after="99999999"), 900.0),
    ],
    ids=repr,
)
def test_a_429_is_told_to_the_pacing_and_uses_up_no_attempt(
    asker: Asker, fault: Fault, told: float | None
) -> None:
    serial = asker.simulator.world.serials[0]
    asker.simulator.faults.next(serial, fault, Status(500), fault, Status(500), fault)
    result = asker.ask(serial)[serial]
    assert isinstance(result, RequestSuccess)
    assert result.attempts == 6
    assert asker.pacing.told.count(("rate_limited", told)) == 3
    assert len(asker.waits.seconds) == 2, "after a 429 the pacing waits, not the session"


def test_a_429_with_a_date_is_waited_for_until_then(asker: Asker) -> None:
    serial = asker.simulator.world.serials[0]
    asker.simulator.faults.next(serial, Status(429, retry_after=20, retry_after_as_date=True))
    asker.ask(serial)
    (seconds,) = [told[1] for told in asker.pacing.told if told[0] == "rate_limited"]
    assert 15 < seconds <= 30, "the simulator's Date is up to seconds old"


def test_refusals_without_end_are_bounded(asker: Asker) -> None:
    result = asker.ask_one(Status(429))
    assert isinstance(result, RequestFailure)
    assert (result.error_class, result.http_status) == ("rate_limited", 429)
    assert result.attempts == RATE_LIMIT_REPEATS + 1 == len(asker.simulator.record)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_token_stops_everybody_and_keeps_the_others_results(asker: Asker, status: int) -> None:
    asker.policy = RequestPolicy(max_in_flight=2)
    asker.simulator.faults.next_everywhere(*[Healthy()] * 4).always_everywhere(Status(status))
    with pytest.raises(AuthError, match=f"HTTP {status}.*INNOMAINT_API_TOKEN"):
        asker.ask(*asker.simulator.world.serials)
    assert 3 <= len(asker.results) <= 4
    assert all(isinstance(result, RequestSuccess) for result in asker.results.values())
    assert len(asker.simulator.record) <= 6


def test_one_failing_item_never_stops_another(asker: Asker) -> None:
    serials = asker.simulator.world.serials
    faults = (Status(404), Status(503), StatusFalse(), ResetBeforeAnswer(), Html(), Status(422))
    for serial, fault in zip(serials, faults, strict=False):
        asker.simulator.faults.always(serial, fault)
    results = asker.ask(*serials)
    assert set(results) == set(serials)
    failed = {item for item, result in results.items() if isinstance(result, RequestFailure)}
    assert failed == set(serials[: len(faults)])


def test_a_fault_of_ours_in_reading_fails_its_own_item_only(
    asker: Asker, caplog: pytest.LogCaptureFixture
) -> None:
    serials = asker.simulator.world.serials

    def judge(answer: HttpAnswer, item: str) -> str:
        if item == serials[3]:
            raise ZeroDivisionError("planted")
        return answer.text

    asker.judge = judge
    results = asker.ask(*serials)
    broken = results.pop(serials[3])
    assert isinstance(broken, RequestFailure)
    assert (broken.error_class, broken.attempts) == ("internal", 1)
    assert "ZeroDivisionError" in broken.message
    assert all(isinstance(result, RequestSuccess) for result in results.values())
    assert "planted" in caplog.text


def test_an_error_of_the_one_who_takes_the_results_ends_the_asking(asker: Asker) -> None:
    async def refuse(item: str, result: Result) -> None:
        raise DatabaseError(f"no place for {item} after {result.attempts}")

    with pytest.raises(DatabaseError, match="no place for"):
        asker.ask(*asker.simulator.world.serials, on_result=refuse)
    assert len(asker.simulator.record) < len(asker.simulator.world.serials)


def test_a_closed_pacing_ends_the_feeding_and_finishes_what_is_under_way(asker: Asker) -> None:
    asker.pacing = OpenPacing(starts_left=5)
    asker.simulator.app.latency = build_fixed_latency(0.05)
    with pytest.raises(BreakerOpenError):
        asker.ask(*asker.simulator.world.serials)
    assert set(asker.results) == set(asker.simulator.world.serials[:5])
    assert all(isinstance(result, RequestSuccess) for result in asker.results.values())
    assert ("end_bulk",) in asker.pacing.told, "the next batch must not wait for this one's turn to time out"


def test_an_item_whose_repetition_may_not_start_is_reported_with_its_error(asker: Asker) -> None:
    asker.pacing = OpenPacing(starts_left=1)
    serial = asker.simulator.world.serials[0]
    asker.simulator.faults.always(serial, Status(503))
    result = asker.ask(serial)[serial]
    assert isinstance(result, RequestFailure)
    assert (result.error_class, result.attempts, result.http_status) == ("transient", 1, 503)


def test_a_pacing_out_of_reach_means_that_nothing_is_sent(asker: Asker) -> None:
    class LostPacing(OpenPacing):
        async def start(self, *, is_bulk: bool) -> Permit:
            raise DatabaseError(f"gone, bulk or not ({is_bulk})")

    asker.pacing = LostPacing()
    with pytest.raises(DatabaseError, match="gone"):
        asker.ask(*asker.simulator.world.serials)
    assert len(asker.simulator.record) == 0


def test_after_a_probe_nothing_starts_until_its_result_is_known(asker: Asker) -> None:
    class ProbingPacing(OpenPacing):
        async def start(self, *, is_bulk: bool) -> Permit:
            await super().start(is_bulk=is_bulk)
            return Permit(is_probe=self.starts == 1)

    asker.pacing = pacing = ProbingPacing()
    asker.simulator.app.latency = build_fixed_latency(0.1)
    asker.ask(*asker.simulator.world.serials)
    assert [told[0] for told in pacing.told[:3]] == ["start", "succeeded", "start"]


def test_first_requests_are_bulk_and_repetitions_are_not(asker: Asker) -> None:
    serial = asker.simulator.world.serials[0]
    asker.simulator.faults.next(serial, Status(500))
    asker.ask(serial)
    assert asker.pacing.told == [
        ("start", True),
        ("end_bulk",),
        ("failed", serial),
        ("start", False),
        ("succeeded",),
    ]


def test_a_single_request_takes_nobodys_turn(asker: Asker) -> None:
    asker.ask(asker.simulator.world.serials[0], is_bulk=False)
    assert asker.pacing.told == [("start", False), ("succeeded",)]


def test_an_answer_about_one_asset_counts_as_a_sign_of_life(asker: Asker) -> None:
    asker.ask_one(Status(404))
    assert asker.pacing.told[-1] == ("succeeded",)


def test_starts_granted_in_a_block_are_not_used_after_a_429(asker: Asker) -> None:
    asker.policy = RequestPolicy(max_in_flight=1)
    asker.pacing = OpenPacing(block=100)
    asker.simulator.faults.next_everywhere(Healthy(), Healthy(), Status(429))
    asker.ask(*asker.simulator.world.serials)
    told = [item[0] for item in asker.pacing.told]
    assert told.count("start") == 2
    assert told[: told.index("rate_limited") + 2][-1] == "start"


def test_a_block_granted_while_a_429_was_under_way_is_used_for_one_start_only(asker: Asker) -> None:
    class SlowPacing(OpenPacing):
        def __init__(self) -> None:
            super().__init__()
            self.is_refused = asyncio.Event()

        async def start(self, *, is_bulk: bool) -> Permit:
            await super().start(is_bulk=is_bulk)
            if self.starts == 2:
                await self.is_refused.wait()
                return Permit(100)
            return Permit()

        async def rate_limited(self, retry_after_seconds: float | None, *, started_at: float) -> None:
            await super().rate_limited(retry_after_seconds, started_at=started_at)
            self.is_refused.set()

    asker.policy = RequestPolicy(max_in_flight=2)
    asker.pacing = SlowPacing()
    asker.simulator.faults.next_everywhere(Status(429))
    asker.ask(*asker.simulator.world.serials)
    assert asker.pacing.starts == len(asker.simulator.record)


class CountingTransport(httpx.AsyncHTTPTransport):
    """A real transport that counts how many requests are under way."""

    def __init__(self) -> None:
        super().__init__(trust_env=False)
        self.now = self.most = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return await super().handle_async_request(request)
        finally:
            self.now -= 1


@pytest.mark.parametrize("cap", [1, 3])
def test_never_more_requests_are_under_way_than_allowed(asker: Asker, cap: int) -> None:
    asker.policy = RequestPolicy(max_in_flight=cap)
    asker.transport = transport = CountingTransport()
    asker.simulator.app.latency = build_fixed_latency(0.02)
    asker.simulator.faults.by_chance(0.5, faults=[Status(500), Status(429)])
    asker.ask(*asker.simulator.world.serials)
    assert transport.most == cap


def test_a_waiting_repetition_holds_no_place_in_flight(asker: Asker) -> None:
    asker.policy = RequestPolicy(max_in_flight=1, max_attempts=2)
    serials = asker.simulator.world.serials
    asker.simulator.faults.always(serials[0], Status(500))
    order: list[str] = []
    others_are_done = asyncio.Event()

    async def keep(item: str, result: Result) -> None:
        order.append(item)
        if len(order) == len(serials) - 1:
            others_are_done.set()
        assert result.attempts == (2 if item == serials[0] else 1)

    async def wait(seconds: float) -> None:
        assert seconds >= 1
        await others_are_done.wait()

    asker.waits = wait  # type: ignore[assignment]
    asker.ask(*serials, on_result=keep)
    assert order == [*serials[1:], serials[0]]


class Collector(BaseHTTPRequestHandler):
    """Writes down every request that reaches it."""

    seen: list[dict[str, str]]

    def do_POST(self) -> None:
        self.seen.append(dict(self.headers))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # as the base names it
        """Keep quiet."""


@pytest.fixture
def other_host() -> Iterator[tuple[str, list[dict[str, str]]]]:
    seen: list[dict[str, str]] = []
    handler = type("Handler", (Collector,), {"seen": seen})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://localhost:{server.server_port}/elsewhere", seen
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_the_token_not_sent_on(
    asker: Asker, other_host: tuple[str, list[dict[str, str]]], status: int
) -> None:
    address, seen = other_host
    result = asker.ask_one(Status(status, location=address))
    assert isinstance(result, RequestFailure)
    assert result.error_class == "contract"
    assert seen == []
    httpx.post(address, trust_env=False)
    assert len(seen) == 1, "the other host would have seen it"


def test_no_proxy_is_taken_from_the_environment(asker: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    result = asker.ask_one(Healthy())
    assert isinstance(result, RequestSuccess)


def test_no_credentials_are_taken_from_a_netrc_file(
    asker: Asker, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", os.fspath(tmp_path / ".netrc"))
    assert isinstance(asker.ask_one(Healthy()), RequestSuccess), "the simulator takes the canary token only"


def test_the_token_stands_in_no_message_no_repr_and_no_log(
    asker: Asker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "httpx")
    caplog.set_level(logging.DEBUG, "httpcore")
    asker.policy = RequestPolicy(max_in_flight=1, timeout_seconds=0.3, max_attempts=2)
    serials = asker.simulator.world.serials
    faults: Sequence[Fault] = (Status(500), Hang(), ResetBeforeAnswer(), Html(), OtherSerial(), Status(302))
    for serial, fault in zip(serials, faults, strict=False):
        asker.simulator.faults.always(serial, fault)
    asker.simulator.faults.always(serials[-1], Status(401))
    with pytest.raises(AuthError) as caught:
        asker.ask(*serials)
    texts = [repr(caught.value), str(caught.value), repr(asker.results), repr(vars(asker))]
    chain: BaseException | None = caught.value
    while chain is not None:
        texts.append(repr(chain) + str(chain.__context__))
        chain = chain.__context__
    texts += [record.getMessage() + repr((record.args, record.exc_info)) for record in caplog.records]
    assert len(caplog.records) > 50, "the libraries below do log at this level"
    assert not [text for text in texts if "canary-token-" in text]


def test_a_token_that_is_no_header_is_refused_without_being_shown() -> None:
    for broken in ("canary-token-\n", "canary-token- x", "canary-token-\u2014", ""):
        with pytest.raises(ConfigurationError, match="printable ASCII") as caught:
            secret_header(SecretStr(broken))
        assert "canary" not in repr(caught.value)


def test_a_session_shows_no_token_in_its_repr() -> None:
    token = secret_header(SecretStr(CANARY_TOKEN), scheme="Bearer")
    session = HttpSession(
        headers={"X-Key": token}, pacing=OpenPacing(), policy=RequestPolicy(), advice=ADVICE
    )
    assert CANARY_TOKEN not in repr(session) + repr(vars(session))
    asyncio.run(session.__aexit__())


def test_a_host_that_does_not_answer_is_a_transient_failure(asker: Asker) -> None:
    asker.url = "http://127.0.0.1:9/nowhere"
    result = asker.ask("Pump 1")["Pump 1"]
    assert isinstance(result, RequestFailure)
    assert (result.error_class, result.attempts, result.http_status) == ("transient", 3, None)
    assert result.message.startswith("no answer: ")


def test_a_contract_error_that_is_everybodys_is_transient_and_not_repeated(asker: Asker) -> None:
    serial = asker.simulator.world.serials[1]
    asker.pacing.fellows = ("Pump 8", "Pump 9")
    result = asker.ask_one(NullResponse())
    assert isinstance(result, RequestFailure)
    assert (result.error_class, result.attempts, result.also_transient) == (
        "transient",
        1,
        ("Pump 8", "Pump 9"),
    )
    assert [told[:2] for told in asker.pacing.told if told[0] != "start"] == [
        ("end_bulk",),
        ("broke_contract", serial),
    ]


def test_a_503_that_names_a_time_stops_everybody_until_then(asker: Asker) -> None:
    serial = asker.simulator.world.serials[0]
    asker.simulator.faults.next(serial, Status(503, retry_after=60))
    assert asker.ask(serial)[serial].attempts == 2
    assert [told for told in asker.pacing.told if told[0] in {"failed", "rate_limited"}] == [
        ("failed", serial),
        ("rate_limited", 60.0),
    ]


def test_a_refusal_is_understood_by_its_head_though_its_body_is_cut_off(asker: Asker) -> None:
    for status, error_class in ((429, "rate_limited"), (422, "data"), (404, "transient")):
        with RawServer(answer(b"{", status=f"{status} X", length=999)) as server:
            asker.url, asker.results = server.url, {}
            result = asker.ask("Pump 1")["Pump 1"]
        assert isinstance(result, RequestFailure)
        assert (result.error_class, result.http_status) == (error_class, status)


def test_a_declared_charset_is_honoured_though_its_bytes_are_utf_8_too(asker: Asker) -> None:
    # The two bytes of one Chinese character are a Cyrillic letter of UTF-8.
    body = detail("Pump 1", barcode="?").replace(b"?", "\u4e00".encode("gbk"))
    assert "\u04bb" in body.decode("utf-8")
    with RawServer(answer(body, "Content-Type: application/json; charset=GBK")) as server:
        asker.url = server.url
        result = asker.ask("Pump 1")["Pump 1"]
    assert isinstance(result, RequestSuccess)
    assert json.loads(result.value.body_json)["response"]["data"]["barcode"] == "\u4e00"


def test_many_empty_members_of_a_compressed_answer_take_no_time_to_speak_of(asker: Asker) -> None:
    body = gzip.compress(b"") * 200_000 + gzip.compress(detail("Pump 1"))
    with RawServer(answer(body, "Content-Encoding: gzip")) as server:
        asker.url = server.url
        assert isinstance(asker.ask("Pump 1")["Pump 1"], RequestSuccess)
