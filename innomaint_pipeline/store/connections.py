"""How a database is reached: its address, and what each transaction sets for itself.

Belongs here: reading addresses as PostgreSQL's own library does, and the settings that the program depends
on. They are set with each BEGIN, in the same round trip, and for the transaction alone: a pooler that gives
every transaction another session (PgBouncer in transaction pooling) takes no parameter at the start and
keeps none.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import ProgrammingError, errors, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy import URL, Connection, Engine, create_engine, event

from innomaint_pipeline.errors import ConfigurationError, DatabaseError
from innomaint_pipeline.store.faults import first_line

APPLICATION_NAME = "innomaint"
"""By which an administrator, and the program itself, knows its sessions."""

_CONNECT_SECONDS = 10
# PgBouncer asks a server that has refused it again after 15 s (`server_login_retry`).
_NEW_DATABASE_SECONDS = 30
_LONGEST_LOCK_WAIT_SECONDS = 300
_MAINTENANCE_DATABASE = "postgres"
_TRANSACTION_TIMEOUTS_SINCE = 170000

# What a person may choose by the address, as `options=-c name=value`.
_CHOSEN_BY_US = {
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    # Who waits longer for somebody's lock says so, and begins anew.
    "lock_timeout": f"{_LONGEST_LOCK_WAIT_SECONDS}s",
}
_SINCE_17 = {"transaction_timeout": "0"}
# What nobody else may choose: values are read and written in this form. Where row-level security would hide
# rows from the role, the server refuses instead of answering with the others.
_DEPENDED_ON = {
    "client_encoding": "UTF8",
    "timezone": "UTC",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "standard_conforming_strings": "on",
    "xmloption": "content",
    "row_security": "off",
}
_COMMITTED = "BEGIN ISOLATION LEVEL READ COMMITTED"
_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_IS_SNAPSHOT = "innomaint_is_snapshot"

_ADDRESS = re.compile(r"postgres(?:ql)?(?:\+\w+)?://(?P<rest>.*)", re.DOTALL)
_SWITCHES = re.compile(r"(?:\\.|[^\s\\])+")
_SETTING = re.compile(r"(?:-c\s*|--)(?P<name>[\w.-]+)=(?P<value>.*)", re.DOTALL)


def read_address(url: str) -> dict[str, str]:
    """Return what an address says, by the names of PostgreSQL's library (host, dbname, options...).

    Sockets, services and several hosts are what they are to that library. Raises `ConfigurationError`, which
    shows nothing of the address.
    """
    found = _ADDRESS.fullmatch(url.strip())
    rest = found["rest"] if found else ""
    try:
        if found is None or rest.split("/")[0].split("?")[0].count("@") > 1:
            raise ProgrammingError
        # A blank is refused there, and can only be meant as itself.
        given = conninfo_to_dict("postgresql://" + rest.replace(" ", "%20"))
    except ProgrammingError:
        # Its message may quote a part of a password.
        raise ConfigurationError(
            "the database address is malformed: expected postgresql://user@host/name; in a password, "
            "@ : / ? # % are %40 %3A %2F %3F %23 %25"
        ) from None
    return {name: str(value) for name, value in given.items()}


def _build_url(given: Mapping[str, str], driver: str) -> URL:
    rest = dict(given)
    user, password, name = (rest.pop(key, None) for key in ("user", "password", "dbname"))
    host, port = rest.get("host", ""), rest.get("port", "")
    is_plain = "," not in host and not host.startswith("/") and (not port or port.isdigit())
    if is_plain:
        host, port = rest.pop("host", ""), rest.pop("port", "")
    return URL.create(
        f"postgresql+{driver}" if driver else "postgresql",
        username=user,
        password=password,
        host=(host or None) if is_plain else None,
        port=int(port) if is_plain and port else None,
        database=name,
        query=rest,
    )


def _write(url: URL) -> str:
    # SQLAlchemy writes a blank as itself in a password, and as a plus sign behind the question mark: neither
    # is one to other readers of addresses.
    head, mark, query = url.render_as_string(hide_password=False).partition("?")
    return head.replace(" ", "%20") + mark + query.replace("+", "%20")


def with_driver(url: str, driver: str) -> str:
    """Return a PostgreSQL address as SQLAlchemy reads it, which names its driver, whatever form it had."""
    return _write(_build_url(read_address(url), driver))


def in_same_server(url: str, database: str) -> str:
    """Return the address of another database of the server, in the schema that is usual there."""
    given = {key: value for key, value in read_address(url).items() if key != "options"}
    return _write(_build_url({**given, "dbname": database}, ""))


def with_options_of_environment(url: str) -> str:
    """Return an address that says itself what PGOPTIONS says of it."""
    given, options = read_address(url), os.environ.get("PGOPTIONS", "")
    return url if "options" in given or not options else _write(_build_url({**given, "options": options}, ""))


def identify(url: str) -> tuple[str, str, str]:
    """Return host, port and name of a database, by which two addresses of one are known to be the same."""
    given = read_address(url)
    host = given.get("host") or os.environ.get("PGHOST") or given.get("service") or ""
    port = given.get("port") or os.environ.get("PGPORT") or "5432"
    name = given.get("dbname") or os.environ.get("PGDATABASE") or given.get("user") or ""
    return host.lower(), port, name


def name_place(url: str) -> str:
    """Return where a database is, without user and password."""
    given = read_address(url)
    service = f"service {given['service']}" if "service" in given else ""
    host = given.get("host") or os.environ.get("PGHOST") or service or "local socket"
    return f"{host}, database {given.get('dbname') or os.environ.get('PGDATABASE') or 'by default'}"


def _read_options(text: str) -> dict[str, str]:
    """Return the settings of libpq's options: `-c search_path=cmms`, `--search_path=cmms`."""
    switches = [re.sub(r"\\(.)", r"\1", item) for item in _SWITCHES.findall(text)]
    chosen: dict[str, str] = {}
    while switches:
        switch = switches.pop(0)
        # In addresses as SQLAlchemy writes them, a plus sign is a blank.
        switch = re.sub(r"^-c\+*", "-c", switch)
        if switch == "-c" and switches:
            switch += switches.pop(0)
        found = _SETTING.fullmatch(switch)
        if found is None:
            raise ConfigurationError(
                f"the options of the database address (or PGOPTIONS) hold {switch!r}, expected settings "
                "like -csearch_path=cmms"
            )
        chosen[found["name"].replace("-", "_").lower()] = found["value"]
    return chosen


def _begin(url: str) -> dict[bool, str]:
    """Return the statements that begin a transaction, by whether the server is PostgreSQL 17 or later."""
    options = read_address(url).get("options", os.environ.get("PGOPTIONS", ""))

    def calls(ours: Mapping[str, str]) -> str:
        settings = {**ours, **_read_options(options), **_DEPENDED_ON}
        return ", ".join(
            f"pg_catalog.set_config({_literal(name)}, {_literal(value)}, true)"
            for name, value in settings.items()
        )

    return {
        False: f"SELECT {calls(_CHOSEN_BY_US)}",
        True: f"SELECT {calls({**_CHOSEN_BY_US, **_SINCE_17})}",
    }


def _literal(text: str) -> str:
    # Escapes are the same under every setting of the server that may still be in force.
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    # A percent sign would begin a parameter.
    return f"E'{escaped}'".replace("%", "%%")


def open_engine(url: str) -> Engine:
    """Return an engine whose transactions begin with the settings above; connects when it is first used."""
    given = read_address(url)
    settings = _begin(url)
    arguments: dict[str, Any] = {
        "connect_timeout": _CONNECT_SECONDS,
        "application_name": APPLICATION_NAME,
        **given,
        # Set with each transaction; a pooler may refuse them at the start, or forget them.
        "options": "",
        "client_encoding": "UTF8",
        # A statement that one session has prepared is unknown to the next.
        "prepare_threshold": None,
        # BEGIN is ours, with what belongs to it.
        "autocommit": True,
    }
    engine = create_engine(
        _build_url({key: value for key, value in given.items() if key != "options"}, "psycopg"),
        pool_pre_ping=True,
        # What is written may be personal, and an error may be logged whole.
        hide_parameters=True,
        pool_size=4,
        max_overflow=8,
        use_native_hstore=False,
        connect_args=arguments,
    )

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if options.get("isolation_level") == "AUTOCOMMIT":
            return
        session: Any = connection.connection.driver_connection
        statement = settings[session.info.server_version >= _TRANSACTION_TIMEOUTS_SINCE]
        connection.exec_driver_sql(f"{_SNAPSHOT if options.get(_IS_SNAPSHOT) else _COMMITTED}; {statement}")

    return engine


def for_snapshot(engine: Engine) -> Engine:
    """Return the engine, its transactions each reading one moment."""
    return engine.execution_options(**{_IS_SNAPSHOT: True})


def ensure_database(url: str) -> None:
    """Connect to a database, creating it in its server if it is missing.

    Raise `DatabaseError` if neither works.
    """
    given = read_address(url)
    try:
        with connect(given):
            return
    except psycopg.Error as error:
        failure = error
    # A refused connection has no SQLSTATE, and its words are in any language: the server's own list tells.
    name = given.get("dbname")
    try:
        with connect(read_address(in_same_server(url, _MAINTENANCE_DATABASE))) as connection:
            found = connection.execute("SELECT FROM pg_database WHERE datname = %s", [name])
            if name is not None and not found.rowcount:
                create = "CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0"
                connection.execute(sql.SQL(create).format(sql.Identifier(name)))
                _wait_until_open(given)
                return
    except (errors.DuplicateDatabase, errors.UniqueViolation):
        return
    except psycopg.Error as error:
        if error.sqlstate is not None:
            raise DatabaseError(
                f"database {name} does not exist and cannot be created ({first_line(error)}). Somebody who "
                f"may has to run: CREATE DATABASE {name} OWNER {given.get('user', 'of this role')};"
            ) from error
    raise DatabaseError(f"the server cannot be reached: {first_line(failure)}") from failure


def refuse_missing_database(url: str) -> None:
    """Raise `DatabaseError`, with the statement that helps, where the server has no database of that name.

    Where the server cannot be asked, nothing is said: who uses the database learns why.
    """
    given = read_address(url)
    name = given.get("dbname")
    try:
        with connect(given):
            return
    except psycopg.Error:
        pass
    try:
        with connect(read_address(in_same_server(url, _MAINTENANCE_DATABASE))) as connection:
            if connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).rowcount:
                return
    except psycopg.Error:
        return
    raise DatabaseError(
        f"database {name} does not exist. Somebody who may has to run: CREATE DATABASE {name} "
        f"ENCODING 'UTF8' TEMPLATE template0 OWNER {given.get('user', 'of this role')}; then run: innomaint "
        "db upgrade"
    )


def _wait_until_open(given: Mapping[str, str]) -> None:
    """Connect to a database that was just made; a pooler that was refused before asks for it later."""
    until = time.monotonic() + _NEW_DATABASE_SECONDS
    while True:
        try:
            with connect({**given, "connect_timeout": str(_NEW_DATABASE_SECONDS)}):
                return
        except psycopg.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(1)


def connect(given: Mapping[str, str]) -> psycopg.Connection[tuple[Any, ...]]:
    """Open a session of no engine, for a look before there is one; each statement is a transaction."""
    address = make_conninfo("", **{"connect_timeout": _CONNECT_SECONDS, **given})
    return psycopg.connect(address, autocommit=True, prepare_threshold=None)
