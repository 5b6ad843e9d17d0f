import asyncio
import time
from typing import Any

import httpx
import pytest

from innomaint_pipeline.simulator.innomaint.app import build_app
from innomaint_pipeline.simulator.innomaint.faults import FaultScript, ResetBeforeAnswer, Status
from innomaint_pipeline.simulator.innomaint.server import InnomaintSimulator
from innomaint_pipeline.simulator.innomaint.world import World
from innomaint_pipeline.simulator.limit import build_exponential_latency, build_fixed_latency
from innomaint_pipeline.simulator.record import RequestRecord
from innomaint_pipeline_tests.simulator.conftest import PATH, Ask

BEARER = {"Authorization": "Bearer invented"}


def test_every_known_serial_number_is_answered_as_the_world_says(
    server: InnomaintSimulator, ask: Ask
) -> None:
    for serial in server.world.serials:
        answer = ask(serial)
        assert answer.status_code == 200
        assert answer.json() == server.world.answer(serial)
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["server"] == "innomaint-simulator"


def test_a_change_of_the_world_is_answered(server: InnomaintSimulator, ask: Ask) -> None:
    serial = server.world.serials[2]
    server.world.change(serial, {"data": {"criticality": "Extreme"}})
    assert ask(serial).json()["response"]["data"]["criticality"] == "Extreme"


def test_an_unknown_serial_number_is_404(server: InnomaintSimulator, ask: Ask) -> None:
    answer = ask("nobody knows")
    assert (answer.status_code, answer.json()["status"]) == (404, False)
    assert (server.record.starts[-1].status, server.record.starts[-1].serial) == (404, "nobody knows")


def test_any_prefix_is_served_and_other_paths_are_not(
    server: InnomaintSimulator, client: httpx.Client
) -> None:
    origin = server.url.removesuffix("/api/public/api/restapicontroller")
    body = {"serialnumber": server.world.serials[1]}
    assert client.post(f"{origin}/v9{PATH}", json=body, headers=BEARER).status_code == 200
    assert client.post(f"{origin}/assetmanagement/other", json=body, headers=BEARER).status_code == 404
    assert len(server.record) == 1


@pytest.mark.parametrize("value", [None, "", "Bearer", "Basic aW52ZW50ZWQ=", "invented"])
def test_without_a_bearer_token_it_is_401(
    value: str | None, server: InnomaintSimulator, client: httpx.Client
) -> None:
    headers = {} if value is None else {"Authorization": value}
    answer = client.post(server.url + PATH, json={"serialnumber": server.world.serials[1]}, headers=headers)
    assert (answer.status_code, server.record.starts[-1].status) == (401, 401)


def test_a_configured_token_is_the_only_right_one(client: httpx.Client) -> None:
    with InnomaintSimulator(World(size=2), token="right") as server:
        body = {"serialnumber": server.world.serials[0]}
        codes = [
            client.post(
                server.url + PATH, json=body, headers={"Authorization": f"Bearer {token}"}
            ).status_code
            for token in ("right", "wrong", "right right", "Right")
        ]
        assert codes == [200, 401, 401, 401]
        assert "right" not in repr(server.record.starts)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_other_methods_are_405(method: str, server: InnomaintSimulator, client: httpx.Client) -> None:
    answer = client.request(method, server.url + PATH, headers=BEARER)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff", 400),
        (b"[" * 100_000, 400),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"serialnumber": 7}', 422),
        (b'{"serialnumber": ""}', 422),
        (b'{"serial": "x"}', 422),
    ],
)
def test_a_body_that_asks_for_nothing_is_refused(
    body: bytes, code: int, server: InnomaintSimulator, client: httpx.Client
) -> None:
    headers = BEARER | {"Content-Type": "application/json"}
    assert client.post(server.url + PATH, content=body, headers=headers).status_code == code


def test_a_body_of_another_type_is_refused(server: InnomaintSimulator, client: httpx.Client) -> None:
    answer = client.post(server.url + PATH, data={"serialnumber": server.world.serials[1]}, headers=BEARER)
    assert answer.status_code == 400


def test_requests_are_recorded_in_order_with_status_and_fault(server: InnomaintSimulator, ask: Ask) -> None:
    first, second = server.world.serials[1:3]
    server.faults.next(first, Status(503))
    before = time.time()
    for serial in (first, first, second):
        ask(serial)
    starts = server.record.starts
    assert [(start.serial, start.status, start.fault) for start in starts] == [
        (first, 503, "status"),
        (first, 200, None),
        (second, 200, None),
    ]
    assert server.record.count(first) == 2
    assert starts[0].monotonic_seconds < starts[1].monotonic_seconds < starts[2].monotonic_seconds
    assert before <= starts[0].wall_seconds <= starts[2].at.timestamp() <= time.time()


def test_what_is_given_is_used_and_not_a_copy() -> None:
    world, faults, record = World(size=2), FaultScript(), RequestRecord()
    with InnomaintSimulator(world, faults=faults, record=record) as server:
        assert (server.world is world, server.faults is faults, server.record is record) == (True, True, True)


def test_a_limit_refuses_what_is_too_much_within_a_second(client: httpx.Client) -> None:
    with InnomaintSimulator(World(size=20), limit_per_second=3, retry_after=2) as server:
        answers = [
            client.post(server.url + PATH, json={"serialnumber": serial}, headers=BEARER)
            for serial in server.world.serials[:6]
        ]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429, 429]
        assert answers[3].headers["retry-after"] == "2"
        assert [start.fault for start in server.record.starts] == [None] * 3 + ["rate_limit"] * 3


def test_a_refused_request_uses_no_fault_up(client: httpx.Client) -> None:
    with InnomaintSimulator(World(size=3), limit_per_second=1) as server:
        first, second = server.world.serials[:2]
        server.faults.next(second, Status(500))
        for serial in (first, second):
            answer = client.post(server.url + PATH, json={"serialnumber": serial}, headers=BEARER)
        assert (answer.status_code, "retry-after" in answer.headers) == (429, False)
        assert server.faults.count_left(second) == 1


def test_answers_wait_for_the_latency_side_by_side() -> None:
    with InnomaintSimulator(World(size=20), latency=build_fixed_latency(0.3)) as server:

        async def ask_all() -> list[int]:
            async with httpx.AsyncClient(headers=BEARER, trust_env=False) as client:
                posts = [
                    client.post(server.url + PATH, json={"serialnumber": s}) for s in server.world.serials
                ]
                return [answer.status_code for answer in await asyncio.gather(*posts)]

        began = time.monotonic()
        assert asyncio.run(ask_all()) == [200] * 20
        assert 0.3 <= time.monotonic() - began < 3


def test_exponential_latency_follows_from_its_seed_and_has_its_mean() -> None:
    one, other, different = (build_exponential_latency(0.8, seed=seed) for seed in (1, 1, 2))
    drawn = [one() for _ in range(4000)]
    assert drawn == [other() for _ in range(4000)]
    assert drawn[:5] != [different() for _ in range(5)]
    assert 0.75 < sum(drawn) / len(drawn) < 0.85
    assert min(drawn) < 0.01
    assert max(drawn) > 4


def test_the_app_works_without_a_socket_except_for_broken_connections() -> None:
    app = build_app(World(size=3))
    serial = app.parts.world.serials[0]

    async def post() -> httpx.Response:
        transport: Any = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://simulated") as client:
            return await client.post(PATH, json={"serialnumber": serial}, headers=BEARER)

    assert asyncio.run(post()).json() == app.parts.world.answer(serial)
    app.parts.faults.next(serial, ResetBeforeAnswer())
    with pytest.raises(TypeError, match="SimulatorServer"):
        asyncio.run(post())
