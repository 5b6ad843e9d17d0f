"""Telling people, to a real web server; addresses, which hold secrets, stand in no message and no log."""

import socket
from collections.abc import Iterator

import pytest

from innomaint_pipeline.domain.alerts import Notice, NoticeKind
from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline.sources.notifications import Notifier, refuse_addresses, send_heartbeat
from innomaint_pipeline_tests.sources.listener import SECRET, Listener, listening, watched_log

# Apprise, while it loads its plugins.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")

NOTICE = Notice(
    "failed_runs", NoticeKind.RAISED, "failing", "3 batch runs in a row failed. Ünïcode, [brackets]"
)


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as made:
        yield made


@pytest.fixture(autouse=True)
def _no_secret_in_any_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with watched_log(caplog):
        yield


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_notice_arrives_with_its_title_kind_and_words(listener: Listener) -> None:
    assert Notifier([listener.address]).send(NOTICE, 1)

    (told,) = listener.told
    assert told["title"] == "Innomaint sync: failed runs raised"
    assert told["message"] == NOTICE.message
    assert told["type"] == "warning"


def test_a_notice_of_one_of_several_accounts_says_whose_it_is(listener: Listener) -> None:
    assert Notifier([listener.address], account="north").send(NOTICE, 1)
    assert listener.told[0]["title"] == "Innomaint sync of north: failed runs raised"


def test_a_recovery_is_good_news(listener: Listener) -> None:
    Notifier([listener.address]).send(Notice("health", NoticeKind.RECOVERED, None, "Health is healthy."), 1)
    assert listener.told[0]["type"] == "success"


@pytest.mark.parametrize("status", [401, 404, 500, 302])
def test_an_address_that_refuses_did_not_take_the_notice(listener: Listener, status: int) -> None:
    listener.status = status
    assert not Notifier([listener.address]).send(NOTICE, 1)


def test_an_address_where_nobody_listens_did_not_take_the_notice(closed_port: int) -> None:
    assert not Notifier([f"json://user:{SECRET}@127.0.0.1:{closed_port}/"]).send(NOTICE, 1)


def test_addresses_are_told_one_by_one(listener: Listener, closed_port: int) -> None:
    notifier = Notifier([f"json://127.0.0.1:{closed_port}/", listener.address])

    assert notifier.numbers == (1, 2)
    assert [notifier.send(NOTICE, number) for number in notifier.numbers] == [False, True]
    assert len(listener.told) == 1


def test_without_an_address_nobody_is_told() -> None:
    assert Notifier([]).numbers == ()


@pytest.mark.parametrize("address", [f"nonsense://{SECRET}@host/", f"slack://{SECRET}", SECRET])
def test_an_address_that_is_not_understood_is_refused_by_its_number_and_not_shown(address: str) -> None:
    with pytest.raises(ConfigurationError, match="INNOMAINT_ALERT_URLS: address 2 of 2") as raised:
        refuse_addresses(["json://127.0.0.1/", address])
    assert SECRET not in str(raised.value)
    notifier = Notifier(["json://127.0.0.1/", address])
    assert notifier.numbers == (1,)
    assert notifier.refusals == [str(raised.value)]


@pytest.mark.parametrize(
    "address",
    [
        f"mailtos://user:{SECRET}@example.org?to=someone@example.org",
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general",
        "json://127.0.0.1:9/",
    ],
)
def test_mail_slack_and_webhooks_are_understood(address: str) -> None:
    assert Notifier([address]).numbers == (1,)


def test_a_heartbeat_is_one_request(listener: Listener) -> None:
    send_heartbeat(listener.heartbeat)
    assert listener.beats == [f"/ping/{SECRET}"]


@pytest.mark.parametrize(("status", "location"), [(404, None), (503, None), (302, "http://127.0.0.1:9/")])
def test_a_heartbeat_that_is_not_taken_raises_without_the_address(
    listener: Listener, status: int, location: str | None
) -> None:
    listener.status, listener.location = status, location

    with pytest.raises(ConnectionError, match="heartbeat address") as raised:
        send_heartbeat(listener.heartbeat)

    assert SECRET not in repr(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__
    assert len(listener.beats) == 1


@pytest.mark.parametrize("address", ["http://127.0.0.1:{port}/" + SECRET, f"http://[{SECRET}/"])
def test_a_heartbeat_to_nowhere_raises_without_the_address(address: str, closed_port: int) -> None:
    with pytest.raises(ConnectionError, match="heartbeat address") as raised:
        send_heartbeat(address.format(port=closed_port))
    assert SECRET not in str(raised.value)
