"""The client of the one endpoint, against the simulator on a real socket."""

import asyncio
import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
from pydantic import SecretStr

from innomaint_pipeline.domain.innomaint.answers import CheckedAnswer
from innomaint_pipeline.domain.pacing import Permit
from innomaint_pipeline.errors import AuthError
from innomaint_pipeline.simulator.innomaint.faults import OddValue, OtherSerial
from innomaint_pipeline.simulator.innomaint.server import InnomaintSimulator
from innomaint_pipeline.sources.innomaint import InnomaintClient
from innomaint_pipeline.sources.outcomes import RequestFailure, RequestPolicy, RequestSuccess
from innomaint_pipeline_tests.conftest import CANARY_TOKEN

Results = dict[str, RequestSuccess | RequestFailure]


class FreePacing:
    """Lets every request start at once."""

    async def start(self, *, is_bulk: bool) -> Permit:
        return Permit(2 if is_bulk else 1)

    async def end_bulk(self) -> None:
        """Nobody else waits."""

    async def succeeded(self) -> None:
        """Nothing is counted."""

    async def failed(self, item: str) -> None:
        """Nothing is counted."""

    async def broke_contract(self, item: str, error: str) -> None:
        """Nothing is counted."""

    async def rate_limited(self, retry_after_seconds: float | None, *, started_at: float) -> None:
        """Nothing is waited for."""


def fetch(url: str, *serials: str, token: str = CANARY_TOKEN) -> Results:
    results: Results = {}

    async def keep(serial: str, result: RequestSuccess | RequestFailure) -> None:
        results[serial] = result

    async def go() -> None:
        policy = RequestPolicy(retry_base_seconds=0.001, timeout_seconds=20)
        async with InnomaintClient(url, SecretStr(token), FreePacing(), policy) as client:
            await client.fetch_details(serials, keep)

    asyncio.run(go())
    return results


def test_every_cmms_asset_is_asked_for_once_and_answered(simulator: InnomaintSimulator) -> None:
    serials = simulator.world.serials
    results = fetch(simulator.url, *serials)
    assert set(results) == set(serials)
    assert dict(simulator.record.count_by_serial()) == dict.fromkeys(serials, 1)
    for serial, result in results.items():
        assert isinstance(result, RequestSuccess)
        assert isinstance(result.value, CheckedAnswer)
        assert json.loads(result.value.body_json) == simulator.world.answer(serial)


def test_a_slash_at_the_end_of_the_address_does_not_matter(simulator: InnomaintSimulator) -> None:
    serial = simulator.world.serials[0]
    assert isinstance(fetch(simulator.url + "/", serial)[serial], RequestSuccess)


def test_the_request_is_the_one_the_vendor_expects() -> None:
    seen: list[tuple[str, str, dict[str, str], Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((self.command, self.path, dict(self.headers), json.loads(body)))
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # as the base names it
            """Keep quiet."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.handle_request)
        thread.start()
        fetch(f"http://127.0.0.1:{server.server_port}/api/base", "Pümpe 1 / Süd, East_BP_01")
        thread.join()
    ((method, path, headers, body),) = seen
    assert (method, path) == ("POST", "/api/base/assetmanagement/getAssetIDDetailByAssetID")
    assert headers["Authorization"] == f"Bearer {CANARY_TOKEN}"
    assert headers["Content-Type"] == headers["Accept"] == "application/json"
    assert body == {"serialnumber": "Pümpe 1 / Süd, East_BP_01"}


def test_another_assets_answer_is_never_taken(simulator: InnomaintSimulator) -> None:
    serials = simulator.world.serials
    simulator.faults.always(serials[2], OtherSerial())
    result = fetch(simulator.url, *serials)[serials[2]]
    assert isinstance(result, RequestFailure)
    assert result.error_class == "contract"
    assert serials[2] in result.message
    assert serials[3] in result.message


def test_a_value_that_cannot_be_stored_comes_with_an_issue(simulator: InnomaintSimulator) -> None:
    serial = simulator.world.serials[2]
    simulator.faults.always(serial, OddValue("nan", "ticketcount"))
    result = fetch(simulator.url, serial)[serial]
    assert isinstance(result, RequestSuccess)
    assert [issue.field for issue in result.value.issues] == ["data.ticketcount"]


def test_a_wrong_token_is_refused_by_the_simulator_too(simulator: InnomaintSimulator) -> None:
    with pytest.raises(AuthError):
        fetch(simulator.url, *simulator.world.serials, token="another-token")


def test_nobody_to_ask_for_sends_nothing(simulator: InnomaintSimulator) -> None:
    assert fetch(simulator.url) == {}
    assert len(simulator.record) == 0


def test_a_client_shows_no_token(simulator: InnomaintSimulator) -> None:
    client = InnomaintClient(simulator.url, SecretStr(CANARY_TOKEN), FreePacing())
    assert CANARY_TOKEN not in repr(client) + repr(vars(client))
    asyncio.run(client.__aexit__())
