"""Faults of the way: connections that are refused, broken, slow or not to be trusted."""

import os
import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from innomaint_pipeline.simulator.innomaint.faults import Hang, ResetBeforeAnswer, ResetInBody, Trickle
from innomaint_pipeline.sources.outcomes import RequestPolicy
from innomaint_pipeline.sources.route import Route, trusted_certificates
from innomaint_pipeline_tests.faults.conftest import (
    Expected,
    FaultPipeline,
    assert_failed,
    assert_nothing_is_reached,
    assert_the_way_is_closed,
    issue,
    play,
    play_prepared,
)
from innomaint_pipeline_tests.faults.listener import Listener, Reply, answer, sends, with_data


def test_a_connection_that_is_reset_before_the_answer_is_asked_six_times(faults: FaultPipeline) -> None:
    play(faults, ResetBeforeAnswer(), Expected.transient(None))


def test_a_connection_that_is_reset_in_the_body_is_asked_six_times(faults: FaultPipeline) -> None:
    play(faults, ResetInBody(), Expected.transient(None))


def resets(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def write_head_and_half(connection: socket.socket, end: Reply | None = None) -> None:
    connection.sendall(b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"status": true, ')
    if end is not None:
        end(connection)


@pytest.mark.parametrize(
    "reply",
    [
        resets,
        sends(b""),
        sends(b"\x00\xff garbage that is no HTTP\r\n\r\n"),
        sends(b"HTTP/1.1 200 OK\r\nContent-Type: applic"),
        sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n{}\r\n0\r\n\r\n"),
        sends(b"HTTP/1.1 200 OK\r\nContent-Length: minus one\r\n\r\n{}"),
        sends(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 500_000),
    ],
    ids=["reset", "closed", "no HTTP", "head cut off", "broken chunk", "broken length", "endless head"],
)
def test_a_broken_exchange_is_asked_six_times_and_erases_nothing(faults: FaultPipeline, reply: Reply) -> None:
    faulty, *others = faults.serials[1:4]
    with Listener(faults.simulator.world) as listener:
        faults.api_url = f"http://127.0.0.1:{listener.port}"
        listener.replies[faulty] = reply
        play_prepared(faults, faulty, others, Expected.transient(None))
        assert listener.count(faulty) == 6


# what takes longer than an attempt may take: nothing but a hang reaches the bounds of these


def test_an_attempt_ends_though_the_source_hangs_or_trickles(faults: FaultPipeline) -> None:
    faults.policy = RequestPolicy(timeout_seconds=2, max_attempts=1)
    slow = dict(zip(faults.serials, (Hang(), Hang(after_headers=True), Trickle(0.05)), strict=False))
    before = {serial: faults.snapshot(serial) for serial in slow}
    for serial, fault in slow.items():
        faults.simulator.faults.always(serial, fault)
    run_id, report = faults.sync_some(*slow, faults.serials[5])
    for serial in slow:
        assert_failed(faults, run_id, serial, Expected("transient", 2, None), before[serial])
        assert faults.simulator.record.count(serial) == 2
    assert (report.status, faults.waits) == ("partial", [])
    assert faults.states()[faults.serials[5]] == ("synced", None)


@pytest.fixture
def full_listener() -> Iterator[int]:
    """A port whose queue is full: the system answers no further connection."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        yield port


def test_a_connection_that_is_not_taken_up_is_given_up(faults: FaultPipeline, full_listener: int) -> None:
    faults.policy = RequestPolicy(timeout_seconds=0.3, max_attempts=1)
    faults.api_url = f"http://127.0.0.1:{full_listener}"
    for message in assert_nothing_is_reached(faults, attempts=1):
        assert "0.3 s" in message or "Timeout" in message


def test_a_refused_connection_is_asked_six_times_and_erases_nothing(faults: FaultPipeline) -> None:
    with socket.socket() as reserved:  # bound and not listening: nobody else can take it
        reserved.bind(("127.0.0.1", 0))
        faults.api_url = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        for message in assert_nothing_is_reached(faults):
            assert message.startswith("no answer: ")


def test_a_host_name_that_does_not_exist_is_asked_for_and_erases_nothing(faults: FaultPipeline) -> None:
    faults.policy = replace(faults.policy, max_attempts=1)
    faults.api_url = "https://innomaint.invalid"
    for message in assert_nothing_is_reached(faults, attempts=1):
        assert message.startswith("no answer: ")


# certificates


@pytest.mark.parametrize(
    "case",
    [
        (["localhost"], False, False, "unable to get local issuer certificate|self-signed"),
        (["elsewhere.test"], False, True, "Hostname mismatch"),
        (["localhost"], True, True, "certificate has expired"),
    ],
    ids=["of an unknown authority", "for another host", "expired"],
)
def test_a_certificate_that_is_not_to_be_trusted_gets_no_request_and_no_token(
    faults: FaultPipeline, authority: trustme.CA, ca_file: Path, case: tuple[list[str], bool, bool, str]
) -> None:
    hosts, is_expired, has_ca_file, cause = case
    context = issue(authority, *hosts, is_expired=is_expired)
    with Listener(faults.simulator.world, context) as listener:
        faults.api_url = f"https://localhost:{listener.port}"
        faults.route = Route(ca_file if has_ca_file else None)
        message = assert_the_way_is_closed(faults)
        assert any(part in message for part in cause.split("|")), message
        assert "localhost" in message
        assert "INNOMAINT_CA_FILE" in message
        assert listener.connections <= faults.policy.max_in_flight
        assert listener.requests == []


def test_the_certificate_of_an_authority_given_by_file_is_trusted(
    faults: FaultPipeline, authority: trustme.CA, ca_file: Path
) -> None:
    serial = faults.serials[1]
    with Listener(faults.simulator.world, issue(authority, "localhost")) as listener:
        faults.api_url = f"https://localhost:{listener.port}"
        faults.route = Route(ca_file)
        listener.replies[serial] = sends(answer(with_data(faults.simulator.world, serial, ticketcount=4711)))
        _, report = faults.sync_some(serial)
        assert (report.status, listener.count(serial)) == ("complete", 1)
    assert faults.snapshot(serial)["master"]["ticketcount"] == 4711


def test_a_file_of_authorities_replaces_the_public_ones_and_is_read_again_when_it_changes(
    authority: trustme.CA, tmp_path: Path
) -> None:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    assert trusted_certificates(None).cert_store_stats()["x509_ca"] > 10
    first = trusted_certificates(path)
    assert first.cert_store_stats()["x509_ca"] == 1
    assert trusted_certificates(path) is first
    assert (first.verify_mode, first.check_hostname) == (ssl.CERT_REQUIRED, True)
    trustme.CA(key_type=trustme.KeyType.ECDSA).cert_pem.write_to_path(str(path), append=True)
    os.utime(path, (1, 1))  # a clock that ticks slower than this test runs
    assert trusted_certificates(path).cert_store_stats()["x509_ca"] == 2
