"""What only one process does with a database at a time, wherever it runs: held for as long as it lives.

By an advisory lock of a transaction that stays open. A session's own lock would outlive a process behind a
pooler, which gives its session to the next one; this one ends with the connection, and one without a
statement under way keeps no old rows.
"""

from __future__ import annotations

import time
from typing import Self

import psycopg

from innomaint_pipeline.errors import DatabaseError
from innomaint_pipeline.store.connections import connect, name_place, read_address
from innomaint_pipeline.store.database import AdvisoryLock
from innomaint_pipeline.store.faults import first_line

# A machine that is gone closes no connection: the server has to notice. Elsewhere than over TCP, and on
# servers that do not know a setting, there is nothing to be set.
_BEGIN = """
    begin;
    select set_config(name, value, true)
    from (values ('idle_in_transaction_session_timeout', '0'), ('transaction_timeout', '0'),
                 ('tcp_keepalives_idle', '10'), ('tcp_keepalives_interval', '5'),
                 ('tcp_keepalives_count', '4'), ('tcp_user_timeout', '30000'))
         as wanted (name, value)
    where exists (select from pg_settings where pg_settings.name = wanted.name)
"""

_LOOK_SECONDS = 5.0


class Hold:
    """One use of a database, held by this process alone; use it as a context manager, which gives it back."""

    def __init__(self, url: str, use: AdvisoryLock) -> None:
        self._url = url
        self._use = use
        self._connection: psycopg.Connection | None = None
        self._next_look = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def wait(self) -> None:
        """Take it once nobody else holds it; raise `DatabaseError` where the database cannot be reached."""
        self._run("select pg_advisory_xact_lock(%s)")

    def take(self) -> bool:
        """Take it; False where somebody else holds it. Errors as those of `wait`."""
        is_ours = self._run("select pg_try_advisory_xact_lock(%s)")
        if not is_ours:
            self._close()
        return is_ours

    def keep(self) -> bool:
        """Take it anew where the connection was lost; False where somebody else has taken it meanwhile.

        Looks every few seconds. A database that is out of reach is out of theirs, too: the next look tells.
        """
        if time.monotonic() < self._next_look:
            return True
        self._next_look = time.monotonic() + _LOOK_SECONDS
        if self._connection is not None:
            try:
                self._connection.execute("select")
            except psycopg.Error:
                self._close()
            else:
                return True
        try:
            return self.take()
        except DatabaseError:
            return True

    def _run(self, statement: str) -> bool:
        try:
            self._connection = connect(read_address(self._url))
            self._connection.execute(_BEGIN)
            found = self._connection.execute(statement.encode(), [self._use.value]).fetchone()
        except psycopg.Error as error:
            self._close()
            raise DatabaseError(
                f"the database ({name_place(self._url)}) cannot be reached: {first_line(error)}"
            ) from error
        return found is not None and found[0] is not False

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
