"""Who waits for somebody's lock, and whose it is: said while one waits, since afterwards nobody can tell.

Belongs here: looking at waits from beside them, on a session of its own. How long one waits at most is said
to each transaction by `store.connections`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
from sqlalchemy import Engine, event

from innomaint_pipeline.store.connections import APPLICATION_NAME, connect, read_address

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 5.0
"""Who waits so long for a lock says so."""
_REPEATED_AFTER_SECONDS = 60.0

# Behind a pooler a session has another process than the one that it knows: there the program's name tells.
_WAITS = """
    select w.pid, h.pid, coalesce(h.usename::text, 'unknown'),
           coalesce(nullif(h.application_name, ''), 'a program without a name'),
           coalesce(string_agg(distinct c.relname, ', '), 'no table')
    from pg_stat_activity w
    cross join lateral unnest(pg_blocking_pids(w.pid)) as blocking(pid)
    join pg_stat_activity h on h.pid = blocking.pid
    left join pg_locks l on l.pid = w.pid and not l.granted
    left join pg_locks t on t.pid = w.pid and t.locktype = 'relation' and l.locktype <> 'relation'
                         and t.mode = 'RowExclusiveLock'
    left join pg_class c on c.oid = coalesce(l.relation, t.relation) and c.relkind in ('r', 'p')
    where w.datname = current_database() and w.pid <> pg_backend_pid() and w.wait_event_type = 'Lock'
      and w.query_start < clock_timestamp() - make_interval(secs => %(patience)s)
      and (w.pid = any(%(pids)s) or (
            w.application_name = %(name)s
            and not exists (select from pg_stat_activity where pid = any(%(pids)s))
          ))
    group by 1, 2, 3, 4 order by 1, 2
"""


def find_lock_waits(url: str, pids: list[int] | None = None, *, patience_seconds: float) -> dict[int, str]:
    """Return in words what each process of the server waits for that has waited so long, by its number.

    Of `pids`, or of all sessions of this program. Nothing where the database cannot be asked: who waits then
    ends by an error of its own.
    """
    parameters = {"pids": pids or [], "name": APPLICATION_NAME, "patience": patience_seconds}
    waits: dict[int, str] = {}
    try:
        with connect(read_address(url)) as connection:
            for pid, holder, role, name, tables in connection.execute(_WAITS, parameters):
                words = f"process {holder} (role {role}, {name}), at {tables}"
                waits[pid] = f"{waits[pid]}; {words}" if pid in waits else words
    except psycopg.Error as error:
        logger.debug("whose lock is waited for cannot be told: %s", error)
    return waits


class LockTeller:
    """Tells of waits, each once a minute and when it changes."""

    def __init__(self, url: str, place: str, tell: Callable[[str], object]) -> None:
        self._url = url
        self._place = place
        self._tell = tell
        self._told: dict[int, tuple[str, float]] = {}
        self._looked_at = time.monotonic()

    def look(self, pids: list[int] | None = None, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        """Tell of the waits of `pids`, or of all sessions of this program; asked often, it looks seldom."""
        now = time.monotonic()
        if now - self._looked_at < patience_seconds / 2:
            return
        self._looked_at = now
        for pid, words in find_lock_waits(self._url, pids, patience_seconds=patience_seconds).items():
            told, told_at = self._told.get(pid, ("", 0.0))
            if words != told or now - told_at >= _REPEATED_AFTER_SECONDS:
                self._told[pid] = (words, now)
                self._tell(
                    f"the database ({self._place}): a statement waits for the lock of {words}. It goes on "
                    "when that ends; an administrator may end it by pg_terminate_backend"
                )


class LockWatch:
    """Looks, while statements of an engine run, whether one waits for a lock, and says whose it is."""

    def __init__(self, engine: Engine, url: str, place: str) -> None:
        self._teller = LockTeller(url, place, logger.warning)
        self._running: dict[int, tuple[int, float]] = {}
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        event.listen(engine, "before_cursor_execute", self._begin)
        event.listen(engine, "after_cursor_execute", self._end)
        event.listen(engine, "handle_error", self._fail)

    def close(self) -> None:
        """Look no more."""
        self._ended.set()

    def _begin(
        self, connection: Any, _cursor: Any, _statement: Any, _given: Any, context: Any, _: Any
    ) -> None:
        pid = connection.connection.driver_connection.info.backend_pid
        self._running[id(context)] = (pid, time.monotonic())
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="lock watch", daemon=True)
            self._thread.start()

    def _end(
        self, _connection: Any, _cursor: Any, _statement: Any, _given: Any, context: Any, _: Any
    ) -> None:
        self._running.pop(id(context), None)

    def _fail(self, failure: Any) -> None:
        self._running.pop(id(failure.execution_context), None)

    def _watch(self) -> None:
        while not self._ended.wait(PATIENCE_SECONDS / 2):
            now = time.monotonic()
            slow = [pid for pid, began in list(self._running.values()) if now - began >= PATIENCE_SECONDS]
            if slow:
                self._teller.look(slow)
