"""The fault matrix, seen from the client's end of a real socket."""

import json
import socket
import time
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest

from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline.simulator.innomaint import faults as catalogue
from innomaint_pipeline.simulator.innomaint.faults import (
    ByteOrderMark,
    DataEmptyList,
    DataEmptyObject,
    DeepNesting,
    DuplicateKeys,
    EmptyBody,
    Fault,
    GzipBomb,
    Hang,
    Healthy,
    Html,
    HugeBody,
    ListForObject,
    NullResponse,
    OddValue,
    OtherSerial,
    ResetBeforeAnswer,
    ResetInBody,
    ResponseCode,
    Slow,
    Status,
    StatusFalse,
    Trickle,
    Truncated,
    WrongCharset,
    read_fault,
)
from innomaint_pipeline.simulator.innomaint.server import InnomaintSimulator
from innomaint_pipeline_tests.simulator.conftest import PATH, Ask

EVERY_FAULT: tuple[Fault, ...] = (
    Healthy(), Status(503), Status(429, retry_after=2.5, retry_after_as_date=True), Status(418, body="tea"),
    Hang(), Hang(after_headers=True), Slow(0.1), Trickle(bytes_before_end=4), ResetBeforeAnswer(),
    ResetInBody(after_bytes=9), Truncated(share=0.3, is_length_too_large=True), Html(), EmptyBody(),
    ByteOrderMark(), WrongCharset(), HugeBody(size_bytes=10_000), GzipBomb(size_bytes=10_000),
    DeepNesting(depth=50), StatusFalse(), ResponseCode(404), NullResponse(), DataEmptyList(),
    DataEmptyObject(), ListForObject("response"), OtherSerial(), OddValue("nan"), DuplicateKeys(),
)  # fmt: skip


@pytest.fixture
def serial(server: InnomaintSimulator) -> str:
    return server.world.serials[4]


@pytest.fixture
def honest(server: InnomaintSimulator, serial: str) -> dict[str, Any]:
    answer = server.world.answer(serial)
    assert answer is not None
    return answer


def meet(fault: Fault, server: InnomaintSimulator, ask: Ask, serial: str) -> httpx.Response:
    server.faults.next(serial, fault)
    return ask(serial)


@pytest.mark.parametrize(
    "code", [204, 301, 304, 400, 401, 403, 404, 405, 408, 413, 422, 429, 500, 502, 503, 504, 599]
)
def test_any_status_can_be_sent_once_and_is_gone_then(
    code: int, server: InnomaintSimulator, ask: Ask, serial: str
) -> None:
    assert meet(Status(code), server, ask, serial).status_code == code
    assert ask(serial).status_code == 200
    assert [start.status for start in server.record.starts] == [code, 200]


def test_a_redirect_names_its_target(server: InnomaintSimulator, ask: Ask, serial: str) -> None:
    answer = meet(Status(307, location="http://127.0.0.1:9/elsewhere"), server, ask, serial)
    assert (answer.status_code, answer.headers["location"]) == (307, "http://127.0.0.1:9/elsewhere")


@pytest.mark.parametrize(("value", "text"), [(3, "3"), (0, "0"), (1.5, "1.5"), ("soon", "soon")])
def test_retry_after_is_sent_as_seconds_or_as_it_is(
    value: float | str, text: str, server: InnomaintSimulator, ask: Ask, serial: str
) -> None:
    assert meet(Status(429, retry_after=value), server, ask, serial).headers["retry-after"] == text


def test_retry_after_can_be_a_date(server: InnomaintSimulator, ask: Ask, serial: str) -> None:
    before = time.time()
    answer = meet(Status(429, retry_after=60, retry_after_as_date=True), server, ask, serial)
    moment = parsedate_to_datetime(answer.headers["retry-after"]).timestamp()
    assert before + 60 <= moment <= time.time() + 61


def test_a_status_carries_its_own_body_and_type(server: InnomaintSimulator, ask: Ask, serial: str) -> None:
    answer = meet(Status(502, body="<h1>Bad</h1>", content_type="text/html"), server, ask, serial)
    assert (answer.text, answer.headers["content-type"]) == ("<h1>Bad</h1>", "text/html")


def test_a_hanging_request_gets_no_byte(
    server: InnomaintSimulator, client: httpx.Client, serial: str
) -> None:
    server.faults.next(serial, Hang())
    with pytest.raises(httpx.ReadTimeout):
        client.post(
            server.url + PATH,
            json={"serialnumber": serial},
            headers={"Authorization": "Bearer x"},
            timeout=httpx.Timeout(5, read=0.2),
        )
    assert server.record.starts[-1].status is None


def test_an_answer_can_hang_after_its_headers(
    server: InnomaintSimulator, client: httpx.Client, serial: str
) -> None:
    server.faults.next(serial, Hang(after_headers=True))
    with client.stream(
        "POST",
        server.url + PATH,
        json={"serialnumber": serial},
        headers={"Authorization": "Bearer x"},
        timeout=httpx.Timeout(5, read=0.2),
    ) as answer:
        assert answer.status_code == 200
        with pytest.raises(httpx.ReadTimeout):
            answer.read()


def test_a_slow_answer_comes_late_and_whole(
    server: InnomaintSimulator, ask: Ask, serial: str, honest: dict[str, Any]
) -> None:
    began = time.monotonic()
    assert meet(Slow(0.2), server, ask, serial).json() == honest
    assert time.monotonic() - began >= 0.2


def test_a_trickle_that_ends_is_whole(
    server: InnomaintSimulator, ask: Ask, serial: str, honest: dict[str, Any]
) -> None:
    began = time.monotonic()
    fault = Trickle(interval_seconds=0.02, bytes_before_end=10)
    assert meet(fault, server, ask, serial).json() == honest
    assert time.monotonic() - began >= 0.2


def test_a_trickle_outlives_a_read_timeout_longer_than_its_interval(
    server: InnomaintSimulator, client: httpx.Client, serial: str
) -> None:
    server.faults.next(serial, Trickle(interval_seconds=0.02))
    began = time.monotonic()
    with client.stream(
        "POST",
        server.url + PATH,
        json={"serialnumber": serial},
        headers={"Authorization": "Bearer x"},
        timeout=httpx.Timeout(5, read=2),
    ) as answer:
        pieces = []
        for piece in answer.iter_raw():
            pieces.append(piece)
            if time.monotonic() - began > 0.5:
                break
    assert len(pieces) > 5
    assert all(len(piece) < 20 for piece in pieces)


def test_a_trickle_without_end_goes_on_after_the_json(
    server: InnomaintSimulator, client: httpx.Client, serial: str, honest: dict[str, Any]
) -> None:
    server.faults.next(serial, Trickle(interval_seconds=0.001))
    text = b""
    with client.stream(
        "POST", server.url + PATH, json={"serialnumber": serial}, headers={"Authorization": "Bearer x"}
    ) as answer:
        for piece in answer.iter_raw():
            text += piece
            if text.endswith(b"    "):
                break
    assert json.loads(text) == honest


def request_bytes(serial: str) -> bytes:
    body = json.dumps({"serialnumber": serial}).encode()
    return (
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def talk(server: InnomaintSimulator, serial: str) -> tuple[bytes, bool]:
    """Return all bytes that arrive, and whether the end is a TCP reset."""
    address = httpx.URL(server.url)
    received = b""
    with socket.create_connection((address.host, address.port or 80), timeout=5) as connection:
        connection.sendall(request_bytes(serial))
        while True:
            try:
                piece = connection.recv(65_536)
            except ConnectionResetError:
                return received, True
            if not piece:
                return received, False
            received += piece


def test_a_reset_before_the_answer_is_a_tcp_reset_without_a_byte(
    server: InnomaintSimulator, serial: str
) -> None:
    server.faults.next(serial, ResetBeforeAnswer())
    assert talk(server, serial) == (b"", True)


def test_a_reset_in_the_body_is_a_tcp_reset_after_a_part(server: InnomaintSimulator, serial: str) -> None:
    server.faults.next(serial, ResetInBody(after_bytes=120))
    received, is_reset = talk(server, serial)
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert (len(body), is_reset) == (120, True)


def test_resets_are_read_errors_to_httpx_and_the_next_request_goes_well(
    server: InnomaintSimulator, ask: Ask, serial: str
) -> None:
    server.faults.next(serial, ResetBeforeAnswer(), ResetInBody())
    for _ in range(2):
        with pytest.raises(httpx.ReadError):
            ask(serial)
    assert ask(serial).status_code == 200


def test_truncated_json_with_its_true_length_is_whole_to_http(
    server: InnomaintSimulator, ask: Ask, serial: str
) -> None:
    answer = meet(Truncated(), server, ask, serial)
    assert int(answer.headers["content-length"]) == len(answer.content) > 500
    with pytest.raises(json.JSONDecodeError):
        answer.json()


def test_truncated_json_with_a_larger_length_ends_in_an_orderly_close(
    server: InnomaintSimulator, ask: Ask, serial: str
) -> None:
    server.faults.next(
        serial, Truncated(share=0.5, is_length_too_large=True), Truncated(is_length_too_large=True)
    )
    received, is_reset = talk(server, serial)
    head, _, body = received.partition(b"\r\n\r\n")
    announced = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    assert (announced // 2, is_reset) == (len(body), False)
    with pytest.raises(httpx.RemoteProtocolError):
        ask(serial)


def test_html_comes_with_200(server: InnomaintSimulator, ask: Ask, serial: str) -> None:
    answer = meet(Html(), server, ask, serial)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.text.startswith("<!DOCTYPE html>")


def test_an_empty_body_has_the_length_zero(server: InnomaintSimulator, ask: Ask, serial: str) -> None:
    answer = meet(EmptyBody(), server, ask, serial)
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "0")


def test_a_byte_order_mark_stands_before_the_answer(
    server: InnomaintSimulator, ask: Ask, serial: str, honest: dict[str, Any]
) -> None:
    content = meet(ByteOrderMark(), server, ask, serial).content
    assert content[:3] == b"\xef\xbb\xbf"
    assert json.loads(content.decode("utf-8-sig")) == honest


def test_a_wrong_charset_cannot_be_read_as_declared(
    server: InnomaintSimulator, ask: Ask, serial: str
) -> None:
    answer = meet(WrongCharset(), server, ask, serial)
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    with pytest.raises(UnicodeDecodeError):
        answer.content.decode()
    assert json.loads(answer.content.decode("latin-1"))["response"]["data"]["in_charge_person"].startswith(
        "Soci"
    )


def test_a_wrong_charset_can_mislead_without_an_error(
    server: InnomaintSimulator, ask: Ask, serial: str
) -> None:
    answer = meet(WrongCharset(declared="latin-1", actual="utf-8"), server, ask, serial)
    assert "SociÃ©tÃ©" in answer.text
    assert json.loads(answer.content)["response"]["data"]["in_charge_person"] == "Société Pompière"


def test_a_huge_body_is_valid_json_of_exactly_that_size(
    server: InnomaintSimulator, ask: Ask, serial: str
) -> None:
    answer = meet(HugeBody(size_bytes=5_300_001), server, ask, serial)
    assert len(answer.content) == int(answer.headers["content-length"]) == 5_300_001
    assert answer.json()["response"]["data"]["serialnumber"] == serial


def test_leaving_in_the_middle_of_a_huge_body_hurts_nobody(
    server: InnomaintSimulator, client: httpx.Client, ask: Ask, serial: str
) -> None:
    server.faults.next(serial, HugeBody(size_bytes=20_000_000))
    with client.stream(
        "POST", server.url + PATH, json={"serialnumber": serial}, headers={"Authorization": "Bearer x"}
    ) as answer:
        assert next(answer.iter_raw())
    assert ask(serial).status_code == 200


def test_a_gzip_bomb_is_small_on_the_way_and_of_that_size_unpacked(
    server: InnomaintSimulator, ask: Ask, serial: str
) -> None:
    answer = meet(GzipBomb(size_bytes=8_000_000), server, ask, serial)
    assert int(answer.headers["content-length"]) < 20_000
    assert len(answer.content) == 8_000_000
    assert answer.json()["response"]["data"]["serialnumber"] == serial


def test_deep_nesting_overcomes_the_parser(server: InnomaintSimulator, ask: Ask, serial: str) -> None:
    content = meet(DeepNesting(), server, ask, serial).content
    assert content.count(b"[" * 100_000) == 1
    with pytest.raises(RecursionError):
        json.loads(content)
    shallow = meet(DeepNesting(depth=3), server, ask, serial).json()
    assert shallow["response"]["data"]["simulator_filling"] == [[[]]]


@pytest.mark.parametrize(
    ("fault", "path", "value"),
    [
        (StatusFalse(), ["status"], False),
        (ResponseCode(), ["response_code"], 500),
        (ResponseCode(code=404), ["response_code"], 404),
        (NullResponse(), ["response"], None),
        (DataEmptyList(), ["response", "data"], []),
        (DataEmptyObject(), ["response", "data"], {}),
    ],
)
def test_a_broken_contract_breaks_in_one_place_only(
    server: InnomaintSimulator, ask: Ask, *, fault: Fault, path: list[str], value: Any
) -> None:
    serial = server.world.serials[4]
    honest = server.world.answer(serial)
    answer = meet(fault, server, ask, serial)
    assert answer.status_code == 200
    found = answer.json()
    found.pop("message", None)
    holder, expected = found, honest
    for name in path[:-1]:
        holder, expected = holder[name], expected[name]
    assert holder[path[-1]] == value
    holder[path[-1]] = expected[path[-1]]
    assert found == honest


@pytest.mark.parametrize("place", ["answer", "response", "data", "performance", "workorder_transactional"])
def test_a_list_can_stand_for_any_object(
    place: str, server: InnomaintSimulator, ask: Ask, serial: str, honest: dict[str, Any]
) -> None:
    found = meet(ListForObject(place), server, ask, serial).json()
    inner = (
        found if place == "answer" else found["response"] if place == "response" else found["response"][place]
    )
    assert isinstance(inner, list)
    expected = {"answer": honest, "response": honest["response"]} | honest["response"]
    assert inner == [expected[place]]


def test_another_serial_number_comes_with_its_own_honest_answer(
    server: InnomaintSimulator, ask: Ask, serial: str
) -> None:
    world = server.world
    assert meet(OtherSerial(), server, ask, serial).json() == world.answer(world.serials[5])
    assert meet(OtherSerial(world.serials[9]), server, ask, serial).json() == world.answer(world.serials[9])


def test_a_serial_number_that_does_not_exist_can_be_answered(
    server: InnomaintSimulator, ask: Ask, serial: str, honest: dict[str, Any]
) -> None:
    found = meet(OtherSerial("invented"), server, ask, serial).json()
    assert found["response"]["data"] == honest["response"]["data"] | {"serialnumber": "invented"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("nul", rb'"90\u0000KW"'),
        ("surrogate", rb'"90\ud800KW"'),
        ("nan", b":NaN"),
        ("infinity", b":Infinity"),
        ("minus_infinity", b":-Infinity"),
    ],
)
def test_an_odd_value_arrives_as_json_writes_it(
    value: str, text: bytes, server: InnomaintSimulator, ask: Ask, serial: str
) -> None:
    content = meet(OddValue(value, field="capacity_rating"), server, ask, serial).content
    assert text in content
    json.loads(content)


def test_duplicate_keys_arrive_twice_and_the_last_is_honest(
    server: InnomaintSimulator, ask: Ask, serial: str, honest: dict[str, Any]
) -> None:
    answer = meet(DuplicateKeys(), server, ask, serial)
    assert answer.content.count(b'"criticality":') == 2
    assert b'"criticality":"Duplicate"' in answer.content
    assert answer.json() == honest


def test_where_there_is_no_answer_to_alter_it_is_404(server: InnomaintSimulator, ask: Ask) -> None:
    for fault in (StatusFalse(), Truncated(), Trickle(), ResetInBody()):
        assert meet(fault, server, ask, "unknown").status_code == 404


@pytest.mark.parametrize("fault", EVERY_FAULT, ids=str)
def test_every_fault_survives_json(fault: Fault) -> None:
    assert read_fault(json.loads(json.dumps(fault.to_json()))) == fault


def test_the_list_of_faults_here_is_complete() -> None:
    kinds = {
        value for value in vars(catalogue).values() if isinstance(value, type) and issubclass(value, Fault)
    } - {Fault}
    assert {type(fault) for fault in EVERY_FAULT} == kinds
    assert len({fault.kind for fault in kinds}) == len(kinds)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("status", '"kind"'),
        ({}, '"kind"'),
        ({"kind": "flood"}, "flood"),
        ({"kind": "status"}, "lacks a field"),
        ({"kind": "status", "code": "503"}, "'code'"),
        ({"kind": "status", "code": 42}, "between 200 and 599"),
        ({"kind": "html", "colour": 1}, "'colour'"),
        ({"kind": "odd_value", "value": "pi"}, "surrogate"),
        ({"kind": "truncated", "share": 1}, "below 1"),
        ({"kind": "slow", "seconds": -1}, "not negative"),
        ({"kind": "trickle", "interval_seconds": 0}, "at least 0.001"),
    ],
)
def test_a_fault_that_cannot_be_is_refused_with_the_reason(value: Any, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        read_fault(value)
