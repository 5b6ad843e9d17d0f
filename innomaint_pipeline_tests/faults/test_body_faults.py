"""Faults of the body: a 200 whose bytes are no answer, too many of them, or odd ones."""

import gzip
import json
import socket
import tracemalloc
import unicodedata
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from innomaint_pipeline.simulator.innomaint.faults import (
    ByteOrderMark,
    DataEmptyList,
    DataEmptyObject,
    DeepNesting,
    DuplicateKeys,
    EmptyBody,
    Fault,
    GzipBomb,
    Html,
    HugeBody,
    ListForObject,
    NullResponse,
    OddValue,
    OtherSerial,
    ResponseCode,
    Status,
    StatusFalse,
    Truncated,
    WrongCharset,
)
from innomaint_pipeline_tests.faults.conftest import (
    Expected,
    FaultPipeline,
    count_open_issues,
    play,
    play_prepared,
)
from innomaint_pipeline_tests.faults.listener import Listener, answer, sends, with_data

MEGABYTE = 1024 * 1024


@pytest.mark.parametrize(
    "fault",
    [
        Truncated(),
        Truncated(0.99),
        Html(),
        EmptyBody(),
        Status(200, body=" \r\n"),
        Status(200, body="\ufeff"),
        Status(200, body='{"status": true'),
        Status(200, body="true false"),
        WrongCharset(),
    ],
    ids=repr,
)
def test_a_body_that_is_no_json_is_asked_six_times_and_erases_nothing(
    faults: FaultPipeline, fault: Fault
) -> None:
    play(faults, fault, Expected.transient(200))


def test_a_body_shorter_than_its_length_is_asked_six_times_and_erases_nothing(faults: FaultPipeline) -> None:
    play(faults, Truncated(is_length_too_large=True), Expected.transient(None))


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
NO_LENGTH = HEAD + b'\r\n{"status": true, "response": {"data": '
CHUNK_WITHOUT_END = HEAD + b'Transfer-Encoding: chunked\r\n\r\n10\r\n{"status": true,\r\n'


@pytest.mark.parametrize(
    ("raw", "http_status"),
    [
        (NO_LENGTH, 200),
        (CHUNK_WITHOUT_END, None),
        (answer(b"no gzip at all", "Content-Encoding: gzip"), 200),
        (answer(gzip.compress(b'{"status": true}')[:-9], "Content-Encoding: gzip"), 200),
        (answer(gzip.compress(b'{"status": true}') * 2, "Content-Encoding: gzip"), 200),
        (answer(gzip.compress(b'{"status": true}') + b"more", "Content-Encoding: gzip"), 200),
        (answer(b"{}", "Content-Encoding: br"), 200),
        (answer(b"\x28\xb5\x2f\xfd{}", "Content-Encoding: zstd"), 200),
        (answer(b"no JSON", "Content-Encoding: UTF-8"), 200),
        (answer('{"a": "é"}'.encode("utf-16")[:-1]), 200),
    ],
    ids=[
        *("without a length", "in a chunk", "no gzip", "gzip cut off", "two documents", "gzip and more"),
        *("br", "zstd", "no coding", "half a character"),
    ],
)
def test_a_body_that_is_cut_off_or_broken_is_asked_six_times_and_erases_nothing(
    faults: FaultPipeline, raw: bytes, http_status: int | None
) -> None:
    faulty, *others = faults.serials[1:4]
    with Listener(faults.simulator.world) as listener:
        faults.api_url = f"http://127.0.0.1:{listener.port}"
        listener.replies[faulty] = sends(raw)
        play_prepared(faults, faulty, others, Expected.transient(http_status))
        assert listener.count(faulty) == 6


def text_of(value: Any) -> Fault:
    return Status(200, body=json.dumps(value))


@pytest.mark.parametrize(
    "fault",
    [
        StatusFalse(),
        ResponseCode(418),
        NullResponse(),
        DataEmptyList(),
        DataEmptyObject(),
        ListForObject("answer"),
        ListForObject("response"),
        ListForObject("data"),
        OtherSerial(),
        DeepNesting(10_000),
        HugeBody(6_000_000),
        Status(200, body="null"),
        Status(200, body="[]"),
        Status(200, body="42"),
        Status(200, body='"text"'),
        Status(200, body="NaN"),
        Status(200, body="1" * 5000),
        text_of({}),
        text_of({"response": {"data": {"id": 1}}}),
        text_of({"response": {"data": {"serialnumber": None}}}),
        text_of({"response": {"data": {"serialnumber": ["x"]}}}),
        text_of({"response": {"data": {"serialnumber": True}}}),
    ],
    ids=lambda fault: repr(fault)[:60],
)
def test_an_answer_that_breaks_the_contract_is_asked_once_and_erases_nothing(
    faults: FaultPipeline, fault: Fault
) -> None:
    play(faults, fault, Expected("contract", 1, 200))


# bodies that are too large


def test_of_a_hundred_megabytes_little_more_than_five_are_taken(faults: FaultPipeline) -> None:
    sent = 0

    def pour(connection: socket.socket) -> None:
        nonlocal sent
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % (100 * MEGABYTE))
        for _ in range(1600):
            connection.sendall(b" " * 65536)
            sent += 65536

    faulty, *others = faults.serials[1:4]
    with Listener(faults.simulator.world) as listener:
        faults.api_url = f"http://127.0.0.1:{listener.port}"
        listener.replies[faulty] = pour
        play_prepared(faults, faulty, others, Expected("contract", 1, 200))
        assert listener.count(faulty) == 1
    # What the two systems hold in between is theirs.
    assert 5 * MEGABYTE < sent < 20 * MEGABYTE


def deflate(size: int, wbits: int) -> bytes:
    packer = zlib.compressobj(wbits=wbits)
    return b"".join(packer.compress(b" " * MEGABYTE) for _ in range(size // MEGABYTE)) + packer.flush()


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "raw deflate"])
def test_a_compressed_bomb_is_never_unpacked_whole(faults: FaultPipeline, encoding: str) -> None:
    bomb = deflate(200 * MEGABYTE, {"deflate": 15, "raw deflate": -15}.get(encoding, 31))
    faulty, *others = faults.serials[1:4]
    with Listener(faults.simulator.world) as listener:
        faults.api_url = f"http://127.0.0.1:{listener.port}"
        listener.replies[faulty] = sends(answer(bomb, f"Content-Encoding: {encoding.removeprefix('raw ')}"))
        tracemalloc.start()
        try:
            play_prepared(faults, faulty, others, Expected("contract", 1, 200))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert listener.count(faulty) == 1
    assert peak < 30 * MEGABYTE


def test_the_simulators_bomb_breaks_the_contract(faults: FaultPipeline) -> None:
    play(faults, GzipBomb(20_000_000), Expected("contract", 1, 200))


# bodies that are read


def assert_read(pipeline: FaultPipeline, fault: Fault, **master: Any) -> str:
    serial = pipeline.serials[1]
    pipeline.simulator.faults.always(serial, fault)
    run_id, report = pipeline.sync_some(serial)
    assert (report.status, pipeline.simulator.record.count(serial), pipeline.waits) == ("complete", 1, [])
    assert pipeline.logged(run_id, serial)["status"] == "success"
    row = pipeline.snapshot(serial)["master"]
    assert {name: row[name] for name in master} == master
    return serial


def change(pipeline: FaultPipeline) -> None:
    pipeline.simulator.world.change(pipeline.serials[1], {"data": {"ticketcount": 4711}})


def test_a_byte_order_mark_is_read_over(faults: FaultPipeline) -> None:
    change(faults)
    assert count_open_issues(faults, assert_read(faults, ByteOrderMark(), ticketcount=4711)) == {}


@pytest.mark.parametrize(
    ("declared", "actual"),
    [
        *(("iso-8859-1", "utf-8"), ("utf-16", "utf-8"), ("no-such-charset", "utf-8"), ("punycode", "utf-8")),
        *(("windows-1252", "windows-1252"), ("iso-8859-1", "iso-8859-1")),
        *(("utf-8", "utf-16"), ("utf-16", "utf-16-le"), ("utf-8", "utf-32-be")),
    ],
)
def test_a_character_set_is_what_the_bytes_say_or_the_header_declares(
    faults: FaultPipeline, declared: str, actual: str
) -> None:
    fault = WrongCharset(declared=declared, actual=actual)
    assert count_open_issues(faults, assert_read(faults, fault, in_charge_person="Société Pompière")) == {}


@pytest.mark.parametrize(
    "pack",
    [
        (gzip.compress, "gzip"),
        (zlib.compress, "deflate"),
        (lambda body: gzip.compress(body[:99]) + gzip.compress(body[99:]) + b"\0\0", "gzip"),
        (lambda body: zlib.compress(gzip.compress(body)), "gzip, deflate"),
        *((bytes, coding) for coding in ("identity", "UTF-8", "none", "identity, identity")),
    ],
    ids=["gzip", "deflate", "members", "two codings", "identity", "a charset", "none", "identity twice"],
)
def test_a_compressed_answer_is_read_though_nobody_asked_for_it(
    faults: FaultPipeline, pack: tuple[Callable[[bytes], bytes], str]
) -> None:
    serial = faults.serials[1]
    compress, encoding = pack
    with Listener(faults.simulator.world) as listener:
        faults.api_url = f"http://127.0.0.1:{listener.port}"
        body = with_data(faults.simulator.world, serial, ticketcount=4711)
        listener.replies[serial] = sends(answer(compress(body), f"Content-Encoding: {encoding}"))
        _, report = faults.sync_some(serial)
    assert (report.status, listener.count(serial)) == ("complete", 1)
    assert faults.snapshot(serial)["master"]["ticketcount"] == 4711


@pytest.mark.parametrize(
    ("value", "stored", "raw"), [("nul", "90KW", r"90\x00KW"), ("surrogate", "90KW", r"90\ud800KW")]
)
def test_characters_that_no_database_holds_are_removed_with_a_data_issue(
    faults: FaultPipeline, value: str, stored: str, raw: str
) -> None:
    change(faults)
    serial = assert_read(faults, OddValue(value), capacity_rating=stored, ticketcount=4711)
    assert count_open_issues(faults, serial) == {"data.capacity_rating": raw}


@pytest.mark.parametrize(
    ("value", "raw"), [("nan", "NaN"), ("infinity", "Infinity"), ("minus_infinity", "-Infinity")]
)
def test_a_number_that_is_none_keeps_the_stored_value_with_a_data_issue(
    faults: FaultPipeline, value: str, raw: str
) -> None:
    change(faults)
    before = faults.snapshot(faults.serials[1])["master"]["schedulecount"]
    serial = assert_read(faults, OddValue(value, "schedulecount"), schedulecount=before, ticketcount=4711)
    assert count_open_issues(faults, serial) == {"data.schedulecount": raw}


def test_of_two_fields_of_one_name_the_last_counts(faults: FaultPipeline) -> None:
    change(faults)
    honest = faults.snapshot(faults.serials[1])["master"]["criticality"]
    assert_read(faults, DuplicateKeys(), criticality=honest, ticketcount=4711)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_an_id_is_the_same_in_both_unicode_forms(faults: FaultPipeline, form: str) -> None:
    asked = unicodedata.normalize("NFC", "Pompe n\u00e9 01")
    faults.import_serials([*faults.serials, asked])
    try:
        with Listener(faults.simulator.world) as listener:
            faults.api_url = f"http://127.0.0.1:{listener.port}"
            answered = f" {unicodedata.normalize(form, asked)} "
            body = with_data(faults.simulator.world, faults.serials[1], serialnumber=answered)
            listener.replies[asked] = sends(answer(body))
            _, report = faults.sync_some(asked)
            assert (report.status, listener.count(asked)) == ("complete", 1)
        row = faults.one(
            "select serialnumber from ic3_asset_performance join ic3_asset_master m using"
            " (asset_id) where m.cmms_asset_id = :serial",
            serial=asked,
        )
        assert row["serialnumber"] == asked
    finally:
        faults.execute(
            "delete from ic3_asset_performance where asset_id in"
            " (select asset_id from ic3_asset_master where cmms_asset_id = :serial)",
            serial=asked,
        )
        faults.execute(
            "delete from ic3_workorder_summary where asset_id in"
            " (select asset_id from ic3_asset_master where cmms_asset_id = :serial)",
            serial=asked,
        )
        faults.execute("delete from ic3_asset_master where cmms_asset_id = :serial", serial=asked)


def test_an_answer_that_differs_from_the_asked_id_by_case_is_another_assets(faults: FaultPipeline) -> None:
    serial = faults.serials[1]
    play(faults, OtherSerial(serial.swapcase()), Expected("contract", 1, 200))
