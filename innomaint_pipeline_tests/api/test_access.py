"""Who may ask: the token, the page's session, the limit on wrong tokens, and what every answer carries."""

import logging
import socket
import time
from collections.abc import Callable
from ipaddress import ip_network

import pytest
from pydantic import SecretStr

from innomaint_pipeline.api.access import (
    WRONG_PER_CLIENT,
    Access,
    WrongTokenLimit,
)
from innomaint_pipeline.api.guard import LARGEST_BODY_BYTES, access_log
from innomaint_pipeline.settings import Settings
from innomaint_pipeline.store.database import Database
from innomaint_pipeline_tests.api.conftest import ADMIN_TOKEN, Answer, Client, serving
from innomaint_pipeline_tests.conftest import Pipeline

STATUS = "/api/admin/cmms/sync/status"
PAUSE = "/api/admin/cmms/pause"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
)


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait for what the service does after its answer has gone."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def sign_in(client: Client) -> str:
    """Sign in as the page does and return the cookie to send."""
    answer = client.post("/sync/session", headers={}, token=ADMIN_TOKEN)
    assert answer.status == 204
    assert answer.body == b""
    cookie, *attributes = answer.headers["set-cookie"].split("; ")
    assert {"HttpOnly", "Path=/", "SameSite=strict"} <= set(attributes)
    assert ADMIN_TOKEN not in cookie
    return cookie


def from_the_page(client: Client, cookie: str, **more: str) -> dict[str, str]:
    own = f"http://127.0.0.1:{client.port}"
    return {"Cookie": cookie, "Origin": own, "Content-Type": "application/json", **more}


@pytest.mark.parametrize("path", [STATUS, "/metrics", "/openapi.json", "/api/sync/metrics", "/nothing", "/"])
@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {ADMIN_TOKEN}"},
        {"Cookie": "innomaint_session=x"},
    ],
    ids=["nothing", "wrong", "another kind", "forged session"],
)
def test_without_the_token_nothing_is_told(client: Client, path: str, sent: dict[str, str]) -> None:
    answer = client.get(path, headers=sent)

    assert answer.status == 401
    assert "token" in answer.error
    assert answer.headers["www-authenticate"] == "Bearer"


def test_liveness_and_readiness_need_no_token(client: Client, pipeline: Pipeline) -> None:
    assert client.get("/healthz", headers={}).json == {"status": "ok"}
    assert client.get("/readyz", headers={}).json == {"status": "ok"}
    pipeline.execute("alter table innomaint_request drop column message")
    answer = client.get("/readyz", headers={})
    assert answer.status == 503
    assert "innomaint_request.message" in answer.error
    assert "innomaint db upgrade" in answer.error


def test_a_database_that_is_gone_is_told_and_life_goes_on() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        gone = Database(f"postgresql://nobody@127.0.0.1:{nobody.getsockname()[1]}/x")
        with serving(gone) as client:
            for path in ("/readyz", STATUS, "/metrics", "/api/sync/overview"):
                answer = client.get(path)
                assert answer.status == 503, path
                assert "unreachable" in answer.error
            assert client.post("/api/admin/cmms/sync").status == 503
            assert client.get("/healthz").status == 200


def test_wrong_tokens_lock_out_nobody_who_has_the_right_one(pipeline: Pipeline) -> None:
    with serving(pipeline.database) as client:
        cookie = sign_in(client)
        wrong = {"Authorization": "Bearer wrong"}
        answers = [client.get(STATUS, headers=wrong) for _ in range(WRONG_PER_CLIENT + 2)]
        right = client.get(STATUS)
        page = client.get(STATUS, headers={"Cookie": cookie})
        at_the_door = client.post("/sync/session", headers={}, token=ADMIN_TOKEN)
        wrong_again = client.post("/sync/session", headers={}, token="wrong")

    assert [answer.status for answer in answers] == [401] * WRONG_PER_CLIENT + [429] * 2
    assert 0 < int(answers[-1].headers["retry-after"]) <= 61
    assert (right.status, page.status, at_the_door.status) == (200, 200, 204)
    assert wrong_again.status == 429


def test_wrong_tokens_are_counted_for_each_address_and_minute() -> None:
    now = 0.0
    limit = WrongTokenLimit(lambda: now)
    assert [limit.count_wrong("a") for _ in range(WRONG_PER_CLIENT)] == [0.0] * WRONG_PER_CLIENT
    now = 12.0
    assert (limit.count_wrong("a"), limit.count_wrong("b")) == (48.0, 0.0)
    now = 60.0
    assert limit.count_wrong("a") == 0.0


def test_only_a_trusted_proxy_tells_for_whom_it_asks(pipeline: Pipeline) -> None:
    def ask(client: Client, forwarded: str) -> int:
        sent = {"Authorization": "Bearer wrong", "X-Forwarded-For": forwarded}
        return client.get(STATUS, headers=sent).status

    with serving(pipeline.database, trusted_proxies=[ip_network("127.0.0.0/8")]) as behind:
        guessed = [ask(behind, "198.51.100.7, 192.0.2.1") for _ in range(WRONG_PER_CLIENT + 1)]
        # What stands before the address that the proxy saw was written by whoever asks.
        assert guessed[-1] == ask(behind, "203.0.113.9, 192.0.2.1") == 429
        assert ask(behind, "192.0.2.2") == 401
    with serving(pipeline.database) as plain:
        assert [ask(plain, f"192.0.2.{number}") for number in range(WRONG_PER_CLIENT + 1)][-1] == 429


def test_the_page_works_behind_a_trusted_proxy_under_its_public_address(pipeline: Pipeline) -> None:
    public = {"Host": "sync.example", "X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.1"}
    with serving(pipeline.database, trusted_proxies=[ip_network("127.0.0.1")]) as client:
        sent = {**public, "Cookie": sign_in(client), "Content-Type": "application/json"}
        own = client.post(PAUSE, headers={**sent, "Origin": "https://sync.example"}, body=b"{}")
        other = client.post(PAUSE, headers={**sent, "Origin": "https://elsewhere.example"}, body=b"{}")
    with serving(pipeline.database) as plain:
        assert plain.get(STATUS, headers={**plain.headers, **public}).status == 400

    assert (own.status, other.status) == (200, 401)


def test_a_session_ends_with_its_time_its_token_and_by_signing_out() -> None:
    now = 1000.0
    access = Access(SecretStr("one"), wall_clock=lambda: now)
    session = access.open_session()
    assert access.is_session(session)
    assert Access(SecretStr("one"), wall_clock=lambda: now).is_session(session), "after a restart"
    assert not Access(SecretStr("two"), wall_clock=lambda: now).is_session(session)
    assert not access.is_session("9" + session)
    assert not access.is_session("")
    now += 7 * 24 * 3600
    assert not access.is_session(session)
    now = 1000.0
    access.end_session(session)
    assert not access.is_session(session)


def test_the_page_signs_in_works_and_signs_out(client: Client) -> None:
    cookie = sign_in(client)

    assert client.get(STATUS, headers={"Cookie": cookie}).status == 200
    assert client.post(PAUSE, headers=from_the_page(client, cookie), body=b"{}").status == 200
    out = client.ask("DELETE", "/sync/session", headers=from_the_page(client, cookie))
    assert out.status == 204
    assert "innomaint_session=" in out.headers["set-cookie"]
    assert client.get(STATUS, headers={"Cookie": cookie}).status == 401


def test_the_pages_of_two_accounts_of_one_host_say_whose_they_are_and_keep_a_session_each(
    pipeline: Pipeline,
) -> None:
    settings = Settings.model_construct(innomaint_account="north")
    with serving(pipeline.database, settings=settings) as north, serving(pipeline.database) as plain:
        own = sign_in(north)
        both = f"{own}; {sign_in(plain)}"

        assert own.startswith("innomaint_session_north=")
        for client in (north, plain):
            assert client.get(STATUS, headers={"Cookie": both}).status == 200
        assert b"Innomaint sync of north" in north.get("/sync").body
        assert b"Innomaint sync of" not in plain.get("/sync").body


@pytest.mark.parametrize(
    "change",
    [
        {"Origin": "http://elsewhere.example"},
        {"Origin": "null"},
        {"Origin": "http://elsewhere.example", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
    ],
    ids=str,
)
def test_another_site_cannot_use_the_session(client: Client, change: dict[str, str]) -> None:
    sent = from_the_page(client, sign_in(client), **change)
    assert client.post(PAUSE, headers=sent, body=b"{}").status == 401
    assert client.get("/api/sync/overview").json["is_paused"] is False


def test_a_change_without_an_origin_is_refused_and_a_foreign_sign_in_too(client: Client) -> None:
    cookie = sign_in(client)
    sent = {"Cookie": cookie, "Content-Type": "application/json"}
    assert client.post(PAUSE, headers=sent).status == 401
    foreign = {"Origin": "http://elsewhere.example"}
    assert client.post("/sync/session", headers=foreign, token=ADMIN_TOKEN).status == 401


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"token": 5}', b'{"token": "\\ud800"}', b'{"user": "x"}'])
def test_a_sign_in_that_is_none_is_refused(client: Client, body: bytes) -> None:
    answer = client.post("/sync/session", body=body, headers={"Content-Type": "application/json"})
    assert answer.status in {400, 401}
    assert answer.error


@pytest.mark.parametrize("host", ["evil.example", "evil.example:9090", "127.0.0.1.evil.example", "", "[::1"])
def test_another_host_name_is_refused(client: Client, host: str) -> None:
    for path in ("/sync", "/healthz", STATUS):
        answer = client.get(path, headers={**client.headers, "Host": host})
        assert answer.status == 400
        assert "host name" in answer.error


@pytest.mark.parametrize("host", ["localhost", "localhost:9090", "127.0.0.1", "[::1]:9090", "LOCALHOST"])
def test_the_names_of_this_machine_are_taken(client: Client, host: str) -> None:
    assert client.get("/healthz", headers={"Host": host}).status == 200


def test_a_body_that_is_too_large_is_refused_whether_its_size_is_told_or_not(client: Client) -> None:
    large = b"x" * (LARGEST_BODY_BYTES + 1)
    told = client.post("/sync/session", body=large, headers={"Content-Type": "application/json"})
    chunked = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
    framed = b"%x\r\n%s\r\n0\r\n\r\n" % (len(large), large)
    untold = client.post("/sync/session", body=framed, headers=chunked)

    assert (told.status, untold.status) == (413, 413)
    assert str(LARGEST_BODY_BYTES) in told.error


def assert_headers(answer: Answer) -> None:
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "server" not in answer.headers


def test_every_answer_is_json_with_the_headers_that_browsers_heed(client: Client) -> None:
    wrong_method = client.ask("DELETE", STATUS)
    for answer, status in (
        (client.get(STATUS), 200),
        (client.get(STATUS, headers={}), 401),
        (client.get("/nothing"), 404),
        (wrong_method, 405),
        (client.get("/sync/static/nothing.js", headers={}), 404),
        (client.get("/healthz", headers={"Host": "evil.example"}), 400),
    ):
        assert answer.status == status
        assert_headers(answer)
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-type"] == "application/json"
    assert wrong_method.headers["allow"] == "GET"


def test_a_fault_of_the_program_is_json_and_tells_nothing_else(
    client: Client, pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    # A value that no code of this program writes, and that reading therefore does not expect.
    pipeline.execute("update innomaint_sync_state set state = 'failed', error_class = 'unheard of'")

    answer = client.get("/api/sync/failures")

    assert answer.status == 500
    assert "unheard" not in answer.error
    wait_for(lambda: "unheard of" in caplog.text)
    assert_headers(answer)


def test_the_log_of_accesses_names_paths_and_never_a_query_or_the_token(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, access_log.name):
        client.get(f"/api/sync/history?hours=1&token={ADMIN_TOKEN}")
        client.get("/api/sync/assets/a%0Ab")
        client.post("/sync/session", headers={}, token=ADMIN_TOKEN)

        wait_for(lambda: "/sync/session" in caplog.text)
    lines = [record.getMessage() for record in caplog.records if record.name == access_log.name]
    assert [line.split(" ")[:4] for line in lines] == [
        ["127.0.0.1", "GET", "/api/sync/history", "400"],
        ["127.0.0.1", "GET", "/api/sync/assets/a%0Ab", "404"],
        ["127.0.0.1", "POST", "/sync/session", "204"],
    ]
    assert ADMIN_TOKEN not in caplog.text


def test_prometheus_reads_the_tables_and_counts_by_route(client: Client, pipeline: Pipeline) -> None:
    pipeline.sync(pipeline.run("run-1"))
    client.get("/api/sync/assets/one")
    client.get("/api/sync/assets/another")

    route = "/api/sync/assets/{cmms_asset_id:path}"
    answer = client.get("/metrics")
    lines = answer.body.decode().splitlines()

    assert answer.headers["content-type"].startswith("text/plain")
    for line in (
        "innomaint_assets 12.0",
        'innomaint_health{word="healthy"} 1.0',
        'innomaint_assets_by_state{state="synced"} 6.0',
        'innomaint_assets_by_state{state="never"} 6.0',
        'innomaint_failed_assets{error_class="not_found"} 0.0',
        "innomaint_breaker_open 0.0",
        "innomaint_due_assets 6.0",
        "innomaint_batches_in_flight 0.0",
        f'innomaint_admin_requests_total{{endpoint="{route}",method="GET",status="404"}} 2.0',
    ):
        assert line in lines, line
    assert any(line.startswith("innomaint_last_success_age_seconds ") for line in lines)
