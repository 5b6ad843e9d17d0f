"""Takes secrets out of texts, log records and errors, in whatever process they come up.

Belongs here: the secrets that this process knows, and the one function that an entry point calls,
`install_redaction`. They are process-wide on purpose: a log record of a library knows no session.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

REDACTED = "[redacted]"
SHORTEST_SECRET_CHARACTERS = 8
"""A shorter one occurs in innocent texts, which it would make unreadable."""

_secrets: set[str] = set()


def remember_secret(secret: str) -> None:
    """Let every later text of this process be without this secret."""
    if len(secret) >= SHORTEST_SECRET_CHARACTERS:
        _secrets.add(secret)


def redact(text: str) -> str:
    """Return the text without the remembered secrets, the longest first; the same object if it has none."""
    for secret in sorted(_secrets, key=len, reverse=True):
        if secret in text:
            text = text.replace(secret, REDACTED)
    return text


def redactor_of(secret: str) -> Callable[[str], str]:
    """Return what takes this one secret out of a text; it shows nothing of it in its repr."""

    def redact_one(text: str) -> str:
        return text.replace(secret, REDACTED)

    return redact_one if len(secret) >= SHORTEST_SECRET_CHARACTERS else str


def install_redaction(*secrets: str) -> None:
    """Take secrets out of every log record of this process, traceback included. Can be repeated.

    `load_settings` remembers its own by itself. It works at the making of records, not at a handler, so that
    loggers and handlers of libraries made later are covered, too.
    """
    for secret in secrets:
        remember_secret(secret)
    made_by = logging.getLogRecordFactory()
    if getattr(made_by, "is_redacting", False):
        return

    def make_record(*arguments: Any, **details: Any) -> logging.LogRecord:
        return _redact_record(made_by(*arguments, **details))

    make_record.is_redacting = True  # pyright: ignore[reportFunctionMemberAccess]
    logging.setLogRecordFactory(make_record)


def _redact_record(record: logging.LogRecord) -> logging.LogRecord:
    if not _secrets:
        return record
    try:
        message = record.getMessage()
    except (TypeError, ValueError, KeyError):  # a wrong format is told by logging itself, with its arguments
        message = f"{record.msg} {record.args}"
    if redact(message) != message:
        record.msg, record.args = redact(message), ()
    if record.exc_info and record.exc_info[1] is not None:
        text = "".join(traceback.format_exception(record.exc_info[1])).rstrip()
        if redact(text) != text:
            # Handlers that format tracebacks themselves would go back to the error.
            record.exc_info, record.exc_text = None, redact(text)
    if record.stack_info:
        record.stack_info = redact(record.stack_info)
    return record


@contextmanager
def secrets_removed() -> Iterator[None]:
    """Raise what the block raises, without a secret in it or its causes.

    An error keeps its class where its message can be changed, else a RuntimeError takes its place.
    """
    try:
        yield
    except BaseException as error:
        _redact_chain(error, set())
        text = "".join(traceback.format_exception(error))
        if redact(text) != text:
            raise RuntimeError(f"{type(error).__name__}: {redact(str(error))}") from None
        raise


def _redact_chain(error: BaseException | None, seen: set[int]) -> None:
    if error is None or id(error) in seen:
        return
    seen.add(id(error))
    if any(isinstance(item, str) and redact(item) != item for item in error.args):
        error.args = tuple(redact(item) if isinstance(item, str) else item for item in error.args)
    notes = getattr(error, "__notes__", [])
    notes[:] = [redact(note) for note in notes]
    for other in (error.__cause__, error.__context__, *getattr(error, "exceptions", ())):
        _redact_chain(other, seen)
