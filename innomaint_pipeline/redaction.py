"""Takes secrets out of texts, log records and errors, in whatever process they come up.

Belongs here: the secrets that this process knows, and the one function that an entry point calls,
`install_redaction`. They are process-wide on purpose: a log record of a library knows no session.
"""

from __future__ import annotations

import base64
import logging
import re
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

REDACTED = "[redacted]"
SHORTEST_SECRET_CHARACTERS = 8
"""A shorter one occurs in innocent texts, which it would make unreadable."""

_removers: dict[str, Callable[[str], str]] = {}
"""What takes a secret out of a text, by the secret; the longest secret comes first."""


def remember_secret(secret: str) -> None:
    """Let every later text of this process be without this secret, in whatever form (see `redactor_of`)."""
    if len(secret) < SHORTEST_SECRET_CHARACTERS or secret in _removers:
        return
    known = {**_removers, secret: redactor_of(secret)}
    _removers.clear()
    _removers.update(sorted(known.items(), key=lambda item: len(item[0]), reverse=True))


def redact(text: str) -> str:
    """Return the text without the remembered secrets; the same object if it has none."""
    for remove in tuple(_removers.values()):
        text = remove(text)
    return text


def redactor_of(secret: str) -> Callable[[str], str]:
    """Return what takes this one secret out of a text; it shows nothing of it in its repr.

    It knows the secret plain, percent-encoded in whole or in part, in base64 (within a longer text, too), and
    either side of a `|` in it, which frameworks send on its own. A text without it comes back as it is.
    """
    parts = [secret, *(secret.split("|") if "|" in secret else ())]
    parts = [part for part in parts if len(part) >= SHORTEST_SECRET_CHARACTERS]
    plain = tuple(dict.fromkeys([*parts, *(form for part in parts for form in _base64_forms(part))]))
    percent = re.compile("|".join("".join(map(_percent_pattern, part)) for part in parts))

    def redact_one(text: str) -> str:
        for form in plain:
            if form in text:
                text = text.replace(form, REDACTED)
        return percent.sub(REDACTED, text) if "%" in text else text

    return redact_one if parts else str


def _percent_pattern(character: str) -> str:
    octets = "".join(f"%{octet:02X}" for octet in character.encode())
    return f"(?:{re.escape(character)}|(?i:{octets}))"


def _base64_forms(secret: str) -> Iterable[str]:
    """Yield what base64 makes of a secret wherever it begins in a longer text, in both alphabets."""
    for before in range(3):
        octets = b"\0" * before + secret.encode()
        # What depends on the neighbours stays out.
        first, end = -(-before * 8 // 6), len(octets) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(octets).decode()[first:end]


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
    if not _removers:
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
