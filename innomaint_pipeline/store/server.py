"""The PostgreSQL server around a database: creating the database where it is missing."""

from __future__ import annotations

from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from innomaint_pipeline.errors import DatabaseError
from innomaint_pipeline.store.database import short_message, sqlstate, with_driver

_MISSING_DATABASE = "3D000"
_EXISTS_ALREADY = {"42P04", "23505"}
_MAINTENANCE_DATABASE = "postgres"


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


def _try(address: object) -> DBAPIError | None:
    """Return None when the database takes connections, the error when it does not exist.

    Raise for all else.
    """
    engine = create_engine(address, connect_args={"connect_timeout": 10})  # pyright: ignore[reportArgumentType]
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
