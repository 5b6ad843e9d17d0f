"""Which file of the inbox is the next list, whether it is complete, and when it was exported.

Belongs here: what names, sizes and times of files mean, and the date that a PDF says of itself. Looking and
copying are `sources.customers.inbox`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

TAIL_BYTES = 1024
"""The end of a PDF, in which `%%EOF` lies."""

_AHEAD = _GROWING = timedelta(minutes=10)
_GREATEST_OFFSET = timedelta(hours=14)
_DATE = re.compile(r"(?:D:)?([0-9]{14})(?:(Z)(?:00'?00'?)?|([+-])([0-9]{2})(?:'?([0-9]{2}))?'?)?")


@dataclass(frozen=True, slots=True)
class InboxFile:
    """A regular file of the inbox; `name` as the system has it."""

    name: str
    size: int
    file_time: datetime


@dataclass(frozen=True, slots=True)
class Choice:
    """The newest file (None: there is none), and the names of those whose time is ahead of the clock."""

    newest: InboxFile | None
    ahead: tuple[str, ...]


def may_be_list(name: str) -> bool:
    """Tell whether a file of this name is looked at: `*.pdf` in any case, but not `.NAME` or `~NAME`."""
    return name.lower().endswith(".pdf") and not name.startswith((".", "~"))


def choose_newest(files: Iterable[InboxFile], now: datetime) -> Choice:
    """Return the newest file by its time; of equal times the later name counts.

    A file whose time is over 10 minutes ahead is passed over.
    """
    ahead, rest = [], []
    for file in files:
        (ahead if file.file_time > now + _AHEAD else rest).append(file)
    newest = max(rest, key=lambda it: (it.file_time, it.name), default=None)
    return Choice(newest, tuple(sorted(show_name(it.name) for it in ahead)))


def may_be_growing(file_time: datetime, now: datetime) -> bool:
    """Tell whether a file without its end may still get it: while its time is under 10 minutes old."""
    return file_time > now - _GROWING


def show_name(name: str) -> str:
    """Return a file's name as it can be stored and shown: what is no UTF-8 or no letter is escaped."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(it if it.isprintable() else it.encode("unicode_escape").decode("ascii") for it in text)


def parse_creation_date(text: str, zone: ZoneInfo, file_time: datetime) -> datetime | None:
    """Return the moment that a PDF's CreationDate means, None for what cannot be read as one.

    Without an offset it is local time in `zone`; of a local time that comes twice, the reading nearer to the
    file's time counts.
    """
    found = _DATE.fullmatch(text.strip(" \0"))
    if not found:
        return None
    digits, utc, sign, hours, minutes = found.groups()
    try:
        local = datetime.strptime(digits, "%Y%m%d%H%M%S")  # noqa: DTZ007 # the zone follows
        if utc:
            return local.replace(tzinfo=UTC)
        if sign:
            return _at_offset(local, sign, int(hours), int(minutes or 0))
        readings = [local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
    except (ValueError, OverflowError):
        return None
    return min(readings, key=lambda it: abs(it - file_time))


def _at_offset(local: datetime, sign: str, hours: int, minutes: int) -> datetime | None:
    offset = timedelta(hours=hours, minutes=minutes)
    if minutes > 59 or offset > _GREATEST_OFFSET:
        return None
    return local.replace(tzinfo=timezone(-offset if sign == "-" else offset)).astimezone(UTC)
