"""The connection to PostgreSQL: addresses, engine, transactions, and which database errors mean what.

Belongs here: what every module of `store` needs to reach the database. Statements stand with their tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import IntEnum, unique

from sqlalchemy import URL, Engine, create_engine, func, make_url, select, text
from sqlalchemy import Connection as Connection  # noqa: PLC0414 # a type for other layers, which do not know SQL
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchTableError, SQLAlchemyError

from innomaint_pipeline.errors import ConfigurationError, ConflictError, DatabaseError

# SQLSTATE classes after which repeating the same statement can succeed.
_CONFLICT_STATES = {"40001", "40P01"}
# Classes that tell of the server, not of a value: connection, resources, operator intervention, system error;
# and of a prepared statement that a pooler or a changed column has made void.
_SERVER_CLASSES = {"08", "53", "57", "58", "XX", "25", "28", "3D", "55", "26", "0A"}
# Missing tables, columns, keys or rights: true of every row alike, so never a single value's fault.
_SCHEMA_CLASS = "42"
_MISSING_DATABASE = "3D000"
_EXISTS_ALREADY = {"42P04", "23505"}
_MAINTENANCE_DATABASE = "postgres"
# Under a server's stricter default, two processes would break each other off at the shared clock's row. Where
# row-level security would hide rows from the role, the server refuses instead of answering with the others.
_OPTIONS = r"-c timezone=UTC -c default_transaction_isolation=read\ committed -c row_security=off"


def with_driver(url: str, driver: str) -> str:
    """Return a PostgreSQL address that names its driver, whatever form it was written in."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigurationError(
            "the database address is malformed: expected postgresql://user@host/name"
        ) from None
    return parsed.set(drivername=f"postgresql+{driver}").render_as_string(hide_password=False)


def _read_options(address: URL) -> str:
    given = address.query.get("options", ())
    return given if isinstance(given, str) else " ".join(given)


def sqlstate(error: DBAPIError) -> str:
    """Return the five-character SQLSTATE, empty when the server did not answer."""
    return getattr(error.orig, "sqlstate", None) or ""


def is_server_trouble(error: DBAPIError) -> bool:
    """Tell an unreachable or refusing server from a refused value."""
    state = sqlstate(error)
    return error.connection_invalidated or not state or state[:2] in _SERVER_CLASSES


def is_conflict(error: DBAPIError) -> bool:
    """Tell a deadlock or serialization failure, after which the same transaction may be repeated."""
    return sqlstate(error) in _CONFLICT_STATES


def short_message(error: DBAPIError) -> str:
    """Return the server's own first line, without the statement and its values."""
    lines = str(error.orig).strip().splitlines()
    return lines[0][:300] if lines else type(error.orig).__name__


@unique
class AdvisoryLock(IntEnum):
    """What only one transaction of a database does at a time; each has a number of its own."""

    UPGRADE = 7_241_300_601
    IMPORT = 7_241_300_602
    SUBMIT = 7_241_300_603


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
    server costs one reconnect, not an error.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        parsed = make_url(with_driver(url, "psycopg"))
        self.place = (
            f"{parsed.host or parsed.query.get('host') or 'local socket'}, database {parsed.database}"
        )
        self.engine: Engine = create_engine(
            parsed,
            pool_pre_ping=True,
            pool_size=4,
            max_overflow=8,
            connect_args={
                # Ours come last: the address may choose a schema (options=-csearch_path...), not these.
                "options": f"{_read_options(parsed)} {_OPTIONS}".strip(),
                "connect_timeout": 10,
                "application_name": "innomaint",
            },
        )

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Open a transaction that reads one moment, whatever others commit; errors as those of `begin`."""
        with self.begin() as connection:
            connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
            yield connection

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Open a transaction: committed at the end, rolled back on any error.

        Server trouble, conflicts with others, missing tables and missing rights become `DatabaseError`; a
        refused value stays what it is, for the caller who knows whose value it was.
        """
        try:
            with self.engine.begin() as connection:
                yield connection
        except DBAPIError as error:
            if is_server_trouble(error):
                raise DatabaseError(
                    f"the database ({self.place}) is unreachable or refuses: {short_message(error)}"
                ) from error
            if is_conflict(error):
                raise ConflictError(
                    f"the database ({self.place}) broke off a transaction that met another: "
                    f"{short_message(error)}; nothing of it was written"
                ) from error
            if sqlstate(error).startswith(_SCHEMA_CLASS):
                raise DatabaseError(
                    f"the database ({self.place}) lacks a table, column, key or right: "
                    f"{short_message(error)}; run: innomaint db upgrade"
                ) from error
            raise
        except NoSuchTableError as error:
            raise DatabaseError(
                f"the database ({self.place}) lacks table {error}; run: innomaint db upgrade"
            ) from error
        except SQLAlchemyError as error:
            raise DatabaseError(f"the database ({self.place}) failed: {type(error).__name__}") from error

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


def ensure_database(url: str) -> None:
    """Connect to a database, creating it in its server if it is missing.

    Raise `DatabaseError` if neither works.
    """
    address = make_url(with_driver(url, "psycopg"))
    if _try(address) is None:
        return
    maintenance = create_engine(address.set(database=_MAINTENANCE_DATABASE), isolation_level="AUTOCOMMIT")
    try:
        with maintenance.connect() as connection:
            name = connection.dialect.identifier_preparer.quote(address.database or "")
            connection.execute(text(f"CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0"))
    except DBAPIError as error:
        if sqlstate(error) not in _EXISTS_ALREADY:
            raise DatabaseError(
                f"database {address.database} does not exist and cannot be created: {short_message(error)}"
            ) from error
    finally:
        maintenance.dispose()


def _try(address: URL) -> DBAPIError | None:
    """Return None when the database takes connections, the error if it does not exist; raise all else."""
    engine = create_engine(address, connect_args={"connect_timeout": 10})
    try:
        with engine.connect():
            return None
    except DBAPIError as error:
        message = short_message(error)
        # psycopg gives a failed connection no SQLSTATE.
        if sqlstate(error) == _MISSING_DATABASE or "does not exist" in str(error.orig):
            return error
        raise DatabaseError(f"the server cannot be reached: {message}") from error
    finally:
        engine.dispose()
