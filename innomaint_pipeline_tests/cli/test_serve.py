"""`innomaint serve` and the admin service of `up`: where, with which token, and when not at all."""

import re
import signal
import socket
import subprocess
import urllib.request

import pytest
from pydantic import SecretStr

from innomaint_pipeline.cli import serving
from innomaint_pipeline_tests.cli.conftest import INNOMAINT, Cli
from innomaint_pipeline_tests.conftest import Pipeline


@pytest.fixture
def taken() -> int:
    """A port that somebody listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_taken_port_is_refused_before_anything_starts(connected: Cli, taken: int) -> None:
    for arguments, option in (
        (["serve", "--port", str(taken)], "--port"),
        (["up", "--port", str(free_port()), "--admin-port", str(taken)], "--admin-port"),
        (["up", "--port", str(taken), "--admin-port", str(free_port())], "--port"),
        (["up", "--port", str(taken), "--admin-port", str(taken)], "--admin-port"),
    ):
        ended = connected(*arguments)
        assert ended.code == 2
        assert option in ended.err
        assert str(taken) in ended.err
    assert not (connected.home / "logs").exists()


def test_serve_prints_a_link_answers_and_ends_soon_after_sigterm(connected: Cli, pipeline: Pipeline) -> None:
    del pipeline
    port = free_port()
    process = subprocess.Popen(
        [INNOMAINT, "serve", "--port", str(port)], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.fullmatch(rf"The page: http://127\.0\.0\.1:{port}/sync#token=([\w-]{{32}})\n", line)
        assert found, line
        headers = {"Authorization": f"Bearer {found[1]}"}
        request = urllib.request.Request(f"http://127.0.0.1:{port}/api/sync/metrics", headers=headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.status == 200
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "GET /api/sync/metrics 200" in said
    assert "Traceback" not in said
    assert found[1] not in said
    assert not [path for path in connected.home.rglob("*") if path.is_file() and found[1] in path.read_text()]


def test_a_token_that_was_set_is_not_shown_and_another_host_is_warned_of(
    capsys: pytest.CaptureFixture[str],
) -> None:
    serving.announce("127.0.0.1", 9090, None)
    assert capsys.readouterr().err == "The page: http://127.0.0.1:9090/sync\n"
    serving.announce("0.0.0.0", 9090, SecretStr("a+b"))
    said = capsys.readouterr().err
    assert "without TLS" in said
    assert "The page: http://127.0.0.1:9090/sync#token=a%2Bb\n" in said
    assert "Its token is of this start alone; innomaint token new --save makes a lasting one." in said
    serving.announce("::1", 9090, None)
    assert "http://[::1]:9090/sync" in capsys.readouterr().err
