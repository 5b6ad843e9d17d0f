import httpx
import pytest

from innomaint_pipeline.simulator.innomaint.faults import Html, Status
from innomaint_pipeline.simulator.innomaint.server import InnomaintSimulator
from innomaint_pipeline.simulator.limit import VendorLimit
from innomaint_pipeline_tests.simulator.conftest import Ask


def test_health_tells_the_size_of_the_world(server: InnomaintSimulator, client: httpx.Client) -> None:
    answer = client.get(server.control_url + "health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "cmms_assets": 60})


def test_requests_are_shown_with_a_summary_and_without_the_token(
    server: InnomaintSimulator, client: httpx.Client, ask: Ask
) -> None:
    first, second = server.world.serials[:2]
    server.faults.next(first, Status(503))
    for serial in (first, first, second, "unknown"):
        ask(serial)
    answer = client.get(server.control_url + "requests")
    shown = answer.json()
    assert [(start["serial"], start["status"], start["fault"]) for start in shown["requests"]] == [
        (first, 503, "status"),
        (first, 200, None),
        (second, 200, None),
        ("unknown", 404, None),
    ]
    summary = shown["summary"]
    assert (summary["requests"], summary["serials"], summary["max_in_any_second"]) == (4, 3, 4)
    assert (summary["by_status"], summary["by_fault"]) == ({"503": 1, "200": 2, "404": 1}, {"status": 1})
    assert summary["rate_per_second"] > 1
    assert "invented" not in answer.text


def test_faults_can_be_scripted_shown_and_ended_over_http(
    server: InnomaintSimulator, client: httpx.Client, ask: Ask
) -> None:
    serial = server.world.serials[7]
    assert "/" in serial
    script = {
        "serials": {serial: {"next": [{"kind": "status", "code": 502}], "always": {"kind": "html"}}},
        "everywhere": {"next": [{"kind": "healthy"}]},
    }
    posted = client.post(server.control_url + "faults", json=script)
    assert posted.status_code == 200
    assert posted.json() == client.get(server.control_url + "faults").json() == server.faults.to_json()
    assert [ask(serial).status_code for _ in range(2)] == [200, 502]
    assert ask(serial).headers["content-type"].startswith("text/html")
    assert client.delete(server.control_url + "faults").json()["serials"] == {}
    assert ask(serial).json() == server.world.answer(serial)


def test_a_script_that_cannot_be_is_400_and_changes_nothing(
    server: InnomaintSimulator, client: httpx.Client, ask: Ask
) -> None:
    server.faults.always_everywhere(Status(503))
    for content in (b"{", b'{"everywhere": {"always": {"kind": "flood"}}}'):
        answer = client.post(server.control_url + "faults", content=content)
        assert answer.status_code == 400
        assert answer.json()["error"]
    assert ask(server.world.serials[0]).status_code == 503


def test_reset_forgets_requests_faults_and_changes(
    server: InnomaintSimulator, client: httpx.Client, ask: Ask
) -> None:
    serial = server.world.serials[3]
    honest = server.world.answer(serial)
    server.faults.always(serial, Html())
    server.world.change(serial, {"data": {"criticality": "Extreme"}})
    ask(serial)
    assert client.post(server.control_url + "reset").status_code == 200
    assert len(server.record) == 0
    assert ask(serial).json() == honest


def test_the_limit_can_be_set_and_lifted(server: InnomaintSimulator, client: httpx.Client, ask: Ask) -> None:
    serial = server.world.serials[0]
    limit = {"per_second": 1, "retry_after": 4, "retry_after_as_date": True}
    assert client.post(server.control_url + "limit", json=limit).json() == limit
    answers = [ask(serial), ask(serial)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert answers[1].headers["retry-after"].endswith("GMT")
    assert client.post(server.control_url + "limit", json={"per_second": None}).json()["per_second"] is None
    assert ask(serial).status_code == 200
    assert client.get(server.control_url + "limit").json() == VendorLimit().to_json()


@pytest.mark.parametrize(
    "limit",
    [
        [],
        {"per_second": 0},
        {"per_second": "5"},
        {"per_second": True},
        {"rate": 5},
        {"retry_after_as_date": 1},
    ],
)
def test_a_limit_that_cannot_be_is_400(
    limit: object, server: InnomaintSimulator, client: httpx.Client
) -> None:
    assert client.post(server.control_url + "limit", json=limit).status_code == 400
    assert server.limit.per_second is None


@pytest.mark.parametrize(
    ("method", "name", "code"), [("GET", "nothing", 404), ("POST", "health", 405), ("GET", "reset", 405)]
)
def test_what_no_control_serves_is_refused(
    method: str, name: str, code: int, server: InnomaintSimulator, client: httpx.Client
) -> None:
    answer = client.request(method, server.control_url + name)
    assert answer.status_code == code
    assert name in answer.json()["error"]


def test_control_requests_are_not_recorded(server: InnomaintSimulator, client: httpx.Client) -> None:
    client.get(server.control_url + "health")
    assert len(server.record) == 0
