import json
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest

from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline.simulator.innomaint.app import build_app
from innomaint_pipeline.simulator.innomaint.faults import Hang, Slow, Trickle
from innomaint_pipeline.simulator.innomaint.server import InnomaintSimulator
from innomaint_pipeline.simulator.innomaint.world import World
from innomaint_pipeline.simulator.limit import build_fixed_latency
from innomaint_pipeline.simulator.server import serve
from innomaint_pipeline_tests.simulator.conftest import PATH

FOREGROUND = """
from innomaint_pipeline.simulator.innomaint.app import build_app
from innomaint_pipeline.simulator.server import serve
from innomaint_pipeline.simulator.innomaint.world import World
try:
    serve(build_app(World(size=3)), port=0, on_ready=lambda url: print(url, flush=True))
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_it_is_ready_when_entered_and_gone_when_left() -> None:
    # Other tests may keep a simulator of their own for longer.
    others = set(threading.enumerate())
    with InnomaintSimulator(World(size=2)) as server:
        assert httpx.get(server.control_url + "health", trust_env=False).status_code == 200
        health = server.control_url + "health"
        assert server.url.endswith("/api/public/api/restapicontroller")
    left = set(threading.enumerate()) - others
    assert not [thread for thread in left if thread.name == "innomaint-simulator"]
    with pytest.raises(httpx.ConnectError):
        httpx.get(health, trust_env=False)


def test_it_can_be_entered_again() -> None:
    server = InnomaintSimulator(World(size=2))
    for _ in range(2):
        with server:
            assert httpx.get(server.control_url + "health", trust_env=False).status_code == 200


def test_its_port_can_be_taken_again_at_once() -> None:
    with InnomaintSimulator(World(size=2)) as server:
        port = httpx.URL(server.url).port or 0
        httpx.get(server.control_url + "health", trust_env=False)
    with InnomaintSimulator(World(size=2), port=port) as server:
        assert httpx.URL(server.url).port == port


@pytest.mark.parametrize("fault", [Hang(), Hang(after_headers=True), Slow(60), Trickle(interval_seconds=30)])
def test_leaving_does_not_wait_for_what_hangs(
    fault: Hang | Slow | Trickle, caplog: pytest.LogCaptureFixture
) -> None:
    cut_off: list[Exception] = []

    def wait(url: str, serial: str) -> None:
        try:
            httpx.post(
                url,
                json={"serialnumber": serial},
                headers={"Authorization": "Bearer x"},
                timeout=30,
                trust_env=False,
            )
        except httpx.TransportError as error:
            cut_off.append(error)

    with InnomaintSimulator(World(size=2)) as server:
        server.faults.always_everywhere(fault)
        waiting = threading.Thread(target=wait, args=(server.url + PATH, server.world.serials[0]))
        waiting.start()
        while not server.record.starts:
            time.sleep(0.005)
        began = time.monotonic()
    assert time.monotonic() - began < 20, "it waits for no request of sixty seconds"
    waiting.join(5)
    assert len(cut_off) == 1
    assert not [line for line in caplog.records if line.levelname in {"WARNING", "ERROR"}]


def test_leaving_does_not_wait_for_latency_or_idle_connections() -> None:
    with httpx.Client(trust_env=False) as client, InnomaintSimulator(World(size=2)) as server:
        assert client.get(server.control_url + "health").status_code == 200
        server.app.latency = build_fixed_latency(60)
        with pytest.raises(httpx.ReadTimeout):
            client.post(
                server.url + PATH,
                json={"serialnumber": server.world.serials[0]},
                headers={"Authorization": "Bearer x"},
                timeout=0.1,
            )
        began = time.monotonic()
    assert time.monotonic() - began < 20, "it waits for no request of sixty seconds"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.org", ""])
def test_other_hosts_than_loopback_are_refused(host: str) -> None:
    with pytest.raises(ConfigurationError, match="loopback"), InnomaintSimulator(World(size=2), host=host):
        pytest.fail("it listens")
    with pytest.raises(ConfigurationError, match="loopback"):
        serve(build_app(World(size=2)), host=host)


def test_localhost_is_loopback() -> None:
    with InnomaintSimulator(World(size=2), host="localhost") as server:
        assert httpx.get(server.control_url + "health", trust_env=False).status_code == 200


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(ConfigurationError, match=f"port {port}"),
            InnomaintSimulator(World(size=2), port=port),
        ):
            pytest.fail("it listens")
        with pytest.raises(ConfigurationError, match=f"port {port}"):
            serve(build_app(World(size=2)), port=port)


def test_a_port_that_cannot_be_is_refused() -> None:
    with (
        pytest.raises(ConfigurationError, match="port 70000"),
        InnomaintSimulator(World(size=2), port=70_000),
    ):
        pytest.fail("it listens")


def test_the_address_is_unknown_before_it_is_entered() -> None:
    with pytest.raises(RuntimeError, match="enter it first"):
        _ = InnomaintSimulator(World(size=2)).url


def test_in_the_foreground_it_serves_until_interrupted() -> None:
    with subprocess.Popen([sys.executable, "-c", FOREGROUND], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        answer = httpx.post(
            url + PATH,
            content=json.dumps({"serialnumber": "Delhi Cantt Naraina_BP_01"}),
            headers={"Authorization": "Bearer x", "Content-Type": "application/json"},
            trust_env=False,
        )
        assert answer.json()["response"]["data"]["id"] == 577833
        process.send_signal(signal.SIGINT)
        assert process.stdout.read().strip() == "interrupted"
        assert process.wait(10) == 0
