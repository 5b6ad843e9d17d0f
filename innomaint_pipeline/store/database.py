"""The connection to PostgreSQL: transactions, locks, and what their errors become.

Belongs here: what every module of `store` needs to reach the database. Statements stand with their tables,
addresses in `store.connections`, the judgement of errors in `store.faults`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import IntEnum, unique

from sqlalchemy import Connection as Connection  # noqa: PLC0414 # a type for other layers, which do not know SQL
from sqlalchemy import Engine, func, select, text
from sqlalchemy.exc import DBAPIError, NoSuchTableError, SQLAlchemyError

from innomaint_pipeline.errors import DatabaseError
from innomaint_pipeline.store.connections import for_snapshot, name_place, open_engine
from innomaint_pipeline.store.faults import explain, forget_values
from innomaint_pipeline.store.lock_waits import LockWatch


@unique
class AdvisoryLock(IntEnum):
    """What only one transaction of a database does at a time; each has a number of its own.

    The last two are of Dagster's database, and held for longer (`sole_use`).
    """

    UPGRADE = 7_241_300_601
    IMPORT = 7_241_300_602
    SUBMIT = 7_241_300_603
    DAEMON = 7_241_300_701
    MAKING_TABLES = 7_241_300_702


def take_lock(connection: Connection, lock: AdvisoryLock) -> None:
    """Wait until no other transaction holds the lock, and hold it until this one ends."""
    connection.execute(select(func.pg_advisory_xact_lock(lock.value)))


def find_now(connection: Connection) -> datetime:
    """Return the moment by the database's clock."""
    return connection.execute(select(func.clock_timestamp())).scalar_one()


def limit_statements(connection: Connection, seconds: int) -> None:
    """Let each statement of this transaction fail that takes longer."""
    connection.execute(text(f"SET LOCAL statement_timeout = {seconds * 1000:d}"))


class Database:
    """One PostgreSQL database.

    Safe to use from several threads; connections are pooled and checked before use, so that a restarted
    server costs one reconnect, not an error. Nothing is kept in a session between two transactions. A
    statement that waits five seconds for somebody's lock is told in the log, with whose it is.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.place = name_place(url)
        self.engine: Engine = open_engine(url)
        self._locks = LockWatch(self.engine, url, self.place)

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Open a transaction that reads one moment, whatever others commit; errors as those of `begin`."""
        with self._transaction(for_snapshot(self.engine)) as connection:
            yield connection

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Open a transaction: committed at the end, rolled back on any error.

        What the database says against it becomes a `DatabaseError`: a `RefusedRowError` where it may be a
        row's fault, for the caller who knows whose row it was, a `ConflictError` where it may be repeated.
        """
        with self._transaction(self.engine) as connection:
            yield connection

    @contextmanager
    def _transaction(self, engine: Engine) -> Iterator[Connection]:
        try:
            with engine.begin() as connection:
                yield connection
        except DBAPIError as error:
            explained = explain(error, self.place)
            forget_values(error)
            raise explained from error
        except NoSuchTableError as error:
            raise DatabaseError(
                f"the database ({self.place}) lacks table {error}; run: innomaint db upgrade"
            ) from error
        except SQLAlchemyError as error:
            raise DatabaseError(f"the database ({self.place}) failed: {type(error).__name__}") from error

    def close(self) -> None:
        """Close every pooled connection."""
        self._locks.close()
        self.engine.dispose()
