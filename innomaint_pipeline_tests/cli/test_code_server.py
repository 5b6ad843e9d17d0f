"""What the code server changes about Dagster's own."""

import multiprocessing
import signal
import sys

import pytest
from dagster._grpc.server import DagsterApiServer

from innomaint_pipeline.cli.code_server import fork_runs, main


def build_server(monkeypatch: pytest.MonkeyPatch, attributes: dict[str, object]) -> DagsterApiServer:
    """Return a server of which Dagster has set these attributes."""
    monkeypatch.setattr(DagsterApiServer, "__init__", lambda self: vars(self).update(attributes))
    fork_runs()
    return DagsterApiServer()


def test_runs_are_forked_from_what_has_imported_dagster(monkeypatch: pytest.MonkeyPatch) -> None:
    server = build_server(monkeypatch, {"_mp_ctx": multiprocessing.get_context("spawn")})
    assert server._mp_ctx.get_start_method() == "forkserver"  # what Dagster starts runs with


def test_a_dagster_that_starts_runs_in_another_way_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="another way"):
        build_server(monkeypatch, {})


def test_what_a_script_starts_in_the_background_ends_on_sigterm_too(monkeypatch: pytest.MonkeyPatch) -> None:
    handlers = []
    monkeypatch.setattr("dagster._cli.main", lambda: handlers.append(signal.getsignal(signal.SIGINT)))
    monkeypatch.setattr("innomaint_pipeline.cli.code_server.fork_runs", lambda: None)
    monkeypatch.setattr(sys, "argv", ["code_server"])
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        main()
    finally:
        signal.signal(signal.SIGINT, before)
    assert handlers == [signal.default_int_handler]
