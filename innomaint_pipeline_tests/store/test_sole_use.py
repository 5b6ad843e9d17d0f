"""One use of a database at a time, over all processes and machines."""

import threading

import psycopg
import pytest

from innomaint_pipeline.errors import DatabaseError
from innomaint_pipeline.store import sole_use
from innomaint_pipeline.store.database import AdvisoryLock
from innomaint_pipeline.store.sole_use import Hold


def test_one_holds_it_until_it_ends_or_is_lost(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sole_use, "_LOOK_SECONDS", 0.0)
    with Hold(database_url, AdvisoryLock.DAEMON) as first, Hold(database_url, AdvisoryLock.DAEMON) as second:
        assert first.take()
        assert not second.take()
        with Hold(database_url, AdvisoryLock.MAKING_TABLES) as other:
            assert other.take()
        assert first.keep()
        with psycopg.connect(database_url, autocommit=True) as looking:
            # A transaction that keeps old rows from being removed would be a burden for months.
            holders = "from pg_locks join pg_stat_activity using (pid) where locktype = 'advisory'"
            assert looking.execute(f"select backend_xmin {holders}").fetchall() == [(None,)]
            # As where the server was started again: whoever comes first has it.
            looking.execute(f"select pg_terminate_backend(pid) {holders}")
            assert first.keep()
            assert not second.keep()
            looking.execute(f"select pg_terminate_backend(pid) {holders}")
        assert second.keep()
        assert not first.keep()


def test_who_waits_has_it_next(database_url: str) -> None:
    taken = threading.Event()

    def wait() -> None:
        with Hold(database_url, AdvisoryLock.MAKING_TABLES) as second:
            second.wait()
            taken.set()

    with Hold(database_url, AdvisoryLock.MAKING_TABLES) as first:
        assert first.take()
        waiting = threading.Thread(target=wait)
        waiting.start()
        assert not taken.wait(0.3)
    waiting.join(60)
    assert taken.is_set()


def test_a_database_that_cannot_be_reached_is_said_and_no_loss() -> None:
    with Hold("postgresql://nobody@127.0.0.1:1/dagster", AdvisoryLock.DAEMON) as hold:
        with pytest.raises(DatabaseError, match="database dagster"):
            hold.take()
        assert hold.keep()
