"""A proxy is used where the settings name one, or all programs use one; its password stands nowhere."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from pydantic import SecretStr

from innomaint_pipeline.defs.innomaint.resource import InnomaintResource
from innomaint_pipeline.sources.route import Route
from innomaint_pipeline.sync.innomaint.batch import Selection
from innomaint_pipeline.sync.innomaint.steps import SettleReport, fetch_batch, settle_batch
from innomaint_pipeline_tests.conftest import CANARY_TOKEN, KOLKATA, everything
from innomaint_pipeline_tests.faults.conftest import FaultPipeline, assert_the_way_is_closed, issue
from innomaint_pipeline_tests.faults.listener import Listener, ProxyListener

HOST = "innomaint.test"
PASSWORD = "canary-token-of-a-proxy"
OTHER_PROXIES = ("HTTP_PROXY", "ALL_PROXY", "http_proxy", "all_proxy")


@pytest.fixture
def source(faults: FaultPipeline, authority: trustme.CA) -> Iterator[Listener]:
    with Listener(faults.simulator.world, issue(authority, HOST, "localhost")) as listener:
        yield listener


def test_a_proxy_of_the_settings_is_given_the_host_and_never_the_token(
    faults: FaultPipeline, source: Listener, ca_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    serial = faults.serials[1]
    with ProxyListener(source.port) as proxy:
        faults.api_url = f"https://{HOST}/api"
        faults.route = Route(ca_file, SecretStr(f"http://user:{PASSWORD}@127.0.0.1:{proxy.port}"))
        _, report = faults.sync_some(serial)
    assert (report.status, source.count(serial)) == ("complete", 1)
    assert CANARY_TOKEN in source.requests[0][1]
    ((target, head),) = proxy.requests
    assert target == f"{HOST}:443"
    assert "proxy-authorization: basic " in head.lower()
    assert CANARY_TOKEN not in head
    assert "proxy-authorization" not in source.requests[0][1].lower()
    assert PASSWORD not in caplog.text + repr(faults.route)


def test_a_proxy_that_refuses_stops_the_sync_and_marks_nobody(
    faults: FaultPipeline, source: Listener
) -> None:
    with ProxyListener(source.port, status="407 Proxy Authentication Required") as proxy:
        faults.api_url = f"https://{HOST}/api"
        faults.route = Route(proxy_url=SecretStr(f"http://user:{PASSWORD}@127.0.0.1:{proxy.port}"))
        message = assert_the_way_is_closed(faults)
        assert f"127.0.0.1:{proxy.port}" in message
        assert "407" in message
        assert "INNOMAINT_PROXY_URL" in message
        assert PASSWORD not in message
        assert proxy.connections <= faults.policy.max_in_flight
    assert source.connections == 0


def test_an_https_proxy_must_show_a_certificate_to_be_trusted(
    faults: FaultPipeline, source: Listener, authority: trustme.CA, ca_file: Path
) -> None:
    with ProxyListener(source.port, context=issue(authority, "localhost")) as proxy:
        faults.api_url = f"https://{HOST}/api"
        proxy_url = SecretStr(f"https://localhost:{proxy.port}")
        faults.route = Route(None, proxy_url)
        assert "certificate of localhost" in assert_the_way_is_closed(faults)
        assert proxy.requests == []
        faults.start_over()
        faults.api_url, faults.route = f"https://{HOST}/api", Route(ca_file, proxy_url)
        _, report = faults.sync_some(faults.serials[1])
    assert (report.status, len(proxy.requests)) == ("complete", 1)


# through the settings, as Dagster's resources read them


@pytest.fixture
def settings_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ca_file: Path
) -> pytest.MonkeyPatch:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INNOMAINT_API_TOKEN", CANARY_TOKEN)
    monkeypatch.setenv("INNOMAINT_RATE_MS", "0")
    monkeypatch.setenv("INNOMAINT_RETRY_BASE_S", "0.001")
    monkeypatch.setenv("INNOMAINT_CA_FILE", str(ca_file))
    monkeypatch.delenv("INNOMAINT_PROXY_URL", raising=False)
    for name in ("NO_PROXY", "HTTPS_PROXY", "SSL_CERT_FILE", "no_proxy", "https_proxy", "ssl_cert_file"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def sync_by_settings(pipeline: FaultPipeline) -> SettleReport:
    """Sync one asset with the client that Dagster's resource opens."""
    # Whether data are simulated or live would refuse the next of these addresses.
    pipeline.execute("delete from innomaint_setting")
    selection = Selection((pipeline.serials[1],), asked_before=everything().asked_before)
    run = pipeline.run(pipeline.next_run(), selection=selection)
    open_client = InnomaintResource().client_opener(pipeline.database)
    fetch_batch(run, open_client, KOLKATA, is_last_step=False)
    pipeline.enrich(run)
    report = settle_batch(run, open_client, KOLKATA)
    pipeline.execute("delete from innomaint_setting")
    return report


def test_the_proxy_of_all_programs_is_used_where_the_settings_name_none(
    faults: FaultPipeline, source: Listener, settings_environment: pytest.MonkeyPatch, ca_file: Path
) -> None:
    settings_environment.delenv("INNOMAINT_CA_FILE")
    settings_environment.setenv("SSL_CERT_FILE", str(ca_file))
    with ProxyListener(source.port) as proxy, ProxyListener(source.port) as other:
        for name in OTHER_PROXIES:
            settings_environment.setenv(name, f"http://127.0.0.1:{other.port}")
        settings_environment.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        settings_environment.setenv("INNOMAINT_API_URL", f"https://{HOST}")
        assert sync_by_settings(faults).status == "complete"
        assert [target for target, _ in proxy.requests] == [f"{HOST}:443"]
        # Only the proxy knows the way to this name.
        settings_environment.setenv("NO_PROXY", HOST)
        assert sync_by_settings(faults).status == "failed"
        assert (proxy.connections, other.connections) == (1, 0)


def test_the_proxy_of_the_settings_is_used_before_that_of_all_programs(
    faults: FaultPipeline, source: Listener, settings_environment: pytest.MonkeyPatch
) -> None:
    with ProxyListener(source.port) as proxy, ProxyListener(source.port) as other:
        for name in (*OTHER_PROXIES, "HTTPS_PROXY"):
            settings_environment.setenv(name, f"http://127.0.0.1:{other.port}")
        settings_environment.setenv("INNOMAINT_PROXY_URL", f"http://127.0.0.1:{proxy.port}")
        settings_environment.setenv("INNOMAINT_API_URL", f"https://{HOST}")
        assert sync_by_settings(faults).status == "complete"
        assert [target for target, _ in proxy.requests] == [f"{HOST}:443"]
        assert other.connections == 0


def test_the_proxy_of_the_settings_is_not_asked_for_this_machine(
    faults: FaultPipeline, source: Listener, settings_environment: pytest.MonkeyPatch
) -> None:
    with ProxyListener(source.port) as proxy:
        settings_environment.setenv("INNOMAINT_PROXY_URL", f"http://127.0.0.1:{proxy.port}")
        settings_environment.setenv("INNOMAINT_API_URL", faults.simulator.url)
        assert sync_by_settings(faults).status == "complete"
        assert (proxy.connections, len(faults.simulator.record)) == (0, 1)
