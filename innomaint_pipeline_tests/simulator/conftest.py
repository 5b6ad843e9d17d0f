from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import httpx
import pytest

from innomaint_pipeline.simulator.innomaint.server import InnomaintSimulator
from innomaint_pipeline.simulator.innomaint.world import World

PATH = "/assetmanagement/getAssetIDDetailByAssetID"
Ask = Callable[..., httpx.Response]


@pytest.fixture
def server() -> Iterator[InnomaintSimulator]:
    with InnomaintSimulator(World(size=60, now=lambda: datetime(2026, 6, 20, 10, tzinfo=UTC))) as running:
        yield running


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=5, trust_env=False) as opened:
        yield opened


@pytest.fixture
def ask(server: InnomaintSimulator, client: httpx.Client) -> Ask:
    def send(serial: str) -> httpx.Response:
        return client.post(
            server.url + PATH, json={"serialnumber": serial}, headers={"Authorization": "Bearer invented"}
        )

    return send
