"""Whose fault a database's error is: told by SQLSTATE and place, never by words, which are in any language.

Belongs here: the judgement, and its words for people. What follows from it is decided by whoever wrote the
rows (`store.rows`, `store.workbook`): what fails for each row alone is everybody's trouble, whatever its
SQLSTATE, since a trigger may raise any of them.
"""

from __future__ import annotations

from enum import Enum, auto

import psycopg
from sqlalchemy.exc import DBAPIError

from innomaint_pipeline.errors import ConflictError, DatabaseError, DiskFullError, RefusedRowError


class Fault(Enum):
    """Whose fault an error is."""

    ROW = auto()
    """A value or a constraint: the row's, whatever becomes of others."""
    ROW_OR_ALL = auto()
    """Raised by a function of the database, or by a policy: the row's where others are taken."""
    CONFLICT = auto()
    """A deadlock or serialization failure, after which the same transaction may be repeated."""
    SCHEMA = auto()
    """A table, column, key or right is missing."""
    SERVER = auto()
    """The server is away, ends, or refuses everything."""


# SQLSTATE classes of values and constraints: data exception, integrity, check option, size of a row.
_ROW_CLASSES = {"22", "23", "44", "54"}
_CONFLICT_CLASS = "40"
_SCHEMA_CLASSES = {"42", "3F"}
_MISSING = {"42P01", "42703", "42883", "42704", "42P10"}
_NO_RIGHT = "42501"
_READ_ONLY = "25006"
_LOCK_TIMEOUT = "55P03"
_DISK_FULL = "53100"
# Where the server's code ends a statement from outside: a time-out, an administrator.
_INTERRUPT = "ProcessInterrupts"
_POLICY = "ExecWithCheckOptions"
_HIDDEN_ROWS = "check_enable_rls"


def sqlstate(error: DBAPIError) -> str:
    """Return the five-character SQLSTATE, empty when the server did not answer."""
    return getattr(error.orig, "sqlstate", None) or ""


def first_line(error: BaseException | None) -> str:
    """Return an error's first line."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def short_message(error: DBAPIError) -> str:
    """Return the server's own first line, without the statement and its values."""
    return first_line(error.orig)


def forget_values(error: DBAPIError) -> None:
    """Take the values out of an error, which may be logged whole: the server quotes rows in its details."""
    words = short_message(error)
    error.args = (f"({type(error.orig).__name__}) {words}",)
    if error.orig is not None:
        error.orig.args = (words,)


def judge(error: DBAPIError) -> Fault:
    """Tell whose fault an error is."""
    state = sqlstate(error)
    if error.connection_invalidated or not state:
        # Without the server's word, a value that the driver could not write is told by its class.
        is_value = isinstance(error.orig, (psycopg.DataError, psycopg.IntegrityError))
        return Fault.ROW if is_value and not error.connection_invalidated else Fault.SERVER
    place, context = _place(error)
    if place == _INTERRUPT:
        return Fault.SERVER
    if state[:2] == _CONFLICT_CLASS:
        return Fault.CONFLICT
    if state[:2] in _ROW_CLASSES:
        return Fault.ROW
    if context or place == _POLICY:
        return Fault.ROW_OR_ALL
    return Fault.SCHEMA if state[:2] in _SCHEMA_CLASSES else Fault.SERVER


def _place(error: DBAPIError) -> tuple[str | None, str | None]:
    """Return the function of the server's code, and the functions of the database that were under way."""
    diagnosis = getattr(error.orig, "diag", None)
    return getattr(diagnosis, "source_function", None), getattr(diagnosis, "context", None)


def is_lock_timeout(error: BaseException | None) -> bool:
    """Tell that somebody else's lock was waited for in vain."""
    return (
        isinstance(error, DBAPIError) and sqlstate(error) == _LOCK_TIMEOUT and _place(error)[0] == _INTERRUPT
    )


def lacks_right(error: BaseException | None) -> bool:
    """Tell that the role may not do what it tried."""
    return isinstance(error, DBAPIError) and sqlstate(error) == _NO_RIGHT and judge(error) is Fault.SCHEMA


_LACKS = (
    "the database ({place}) lacks a table, column or key: {words}; run: innomaint db upgrade, which adds it "
    "or names what stands in the way"
)
_REFUSES_RIGHT = (
    "the database ({place}) refuses a right to this role: {words}; grant it (docs/database-roles.md), or use "
    "a role that has it"
)
_TAKES_NO_CHANGES = (
    "the database ({place}) takes no changes: {words}. Connect to the primary server "
    "(target_session_attrs=read-write in the address), or set default_transaction_read_only off"
)
_UNREACHABLE = "the database ({place}) is unreachable or refuses: {words}"
_WAITED = (
    "the database ({place}) let a statement wait too long for another program's lock: {words}; the view "
    "pg_stat_activity and the function pg_blocking_pids show whose it is while one waits"
)
_HIDES_ROWS = (
    "the database ({place}) would hide rows from this role: {words}; run: innomaint db upgrade, which names "
    "the statement that helps"
)
_IS_FULL = "the disk of the database ({place}) is full: {words}; nothing was written. Make room there"
_OTHER_SCHEMA = "the database ({place}) is not as the program needs it: {words}"
_WORDS = {
    **dict.fromkeys(_MISSING, _LACKS),
    _NO_RIGHT: _REFUSES_RIGHT,
    _READ_ONLY: _TAKES_NO_CHANGES,
    _DISK_FULL: _IS_FULL,
}


def _find_words(error: DBAPIError, fault: Fault) -> str:
    if _place(error)[0] == _HIDDEN_ROWS:
        return _HIDES_ROWS
    if is_lock_timeout(error):
        return _WAITED
    return _WORDS.get(sqlstate(error), _OTHER_SCHEMA if fault is Fault.SCHEMA else _UNREACHABLE)


def explain(error: DBAPIError, place: str) -> DatabaseError:
    """Return what a failed transaction means, in words that say what to do."""
    words, fault = short_message(error), judge(error)
    if fault is Fault.CONFLICT:
        return ConflictError(
            f"the database ({place}) broke off a transaction that met another: {words}; nothing of it was "
            "written"
        )
    if fault in {Fault.ROW, Fault.ROW_OR_ALL}:
        return RefusedRowError(
            f"the database ({place}) refuses a row: {words}; nothing of it was written. Correct what refuses "
            "it: a constraint, a trigger or a policy of the table",
            reason=words,
            is_certain=fault is Fault.ROW,
        )
    kind = DiskFullError if sqlstate(error) == _DISK_FULL else DatabaseError
    return kind(_find_words(error, fault).format(place=place, words=words))
