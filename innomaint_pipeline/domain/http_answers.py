"""What the head of an HTTP answer says, whatever source it is from: status, kind of body, Retry-After.

Belongs here: what every HTTP API means by the same sign. Each source judges its own answers with the help of
these, in its own words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import ceil

from innomaint_pipeline.domain.documents import (
    UnreadableDocumentError,
    UnstorableDocumentError,
    load_json,
)
from innomaint_pipeline.domain.pacing import LONGEST_STOP_SECONDS
from innomaint_pipeline.domain.states import ErrorClass

GOOD_STATUSES = frozenset({200, 201, 203, 226})
MISSING_STATUSES = frozenset({404, 410})
ROUTE_STATUSES = frozenset({402, 407})
"""Somebody on the way wants money or a password: no verdict on what was asked for."""

_TRANSIENT_STATUSES = frozenset({202, 204, 205, 206, 408, 409, 421, 423, 425})
_OUR_REQUEST_STATUSES = frozenset({400, 405, 413, 422})
_MOMENTS_FROM = 10**9
_MILLISECONDS_FROM = 10**11
_NUMBER = re.compile(r"\d{1,400}(\.\d*)?|\.\d+", re.ASCII)
# A date of RFC 9110 has a comma of its own, behind the day of the week.
_BETWEEN_WAITS = re.compile(
    "(?<!Mon)(?<!Tue)(?<!Wed)(?<!Thu)(?<!Fri)(?<!Sat)(?<!Sun)(?<!day),", re.IGNORECASE
)
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_BEFORE_PATH = re.compile(r"^([a-z][a-z0-9+.-]*:)?(//[^/?#]*)?", re.IGNORECASE)
_PERCENT_ENCODED = re.compile("%([0-7][0-9a-f])", re.IGNORECASE)
_LOGIN = re.compile(
    r"log[-_]?in(?!g)|sign[-_]?in(?!g)|auth(?!or(?!i[sz]))|(?<![a-z])sso(?![a-z])", re.IGNORECASE | re.ASCII
)


class AnswerError(ValueError):
    """An answer that gives no value, and what follows from it.

    `kind` is the same for the same error of different items, whose names a message may hold.
    `retry_after_seconds` is how long the source wants everybody to wait, where it said so.
    """

    def __init__(
        self,
        error_class: ErrorClass,
        message: str,
        *,
        kind: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.error_class = error_class
        self.kind = kind or message
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True)
class HttpAnswer:
    """A whole answer; the names of its headers are in lower case, several of one name joined by commas.

    `text` is empty where the body could not be read, which `unread` then explains: a head alone may say
    enough.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    unread: AnswerError | None = None

    def require_text(self) -> str:
        """Return the text; raise why there is none."""
        if self.unread is not None:
            raise self.unread
        if not self.text.strip():
            raise AnswerError(ErrorClass.TRANSIENT, "the answer is empty")
        return self.text


def is_page(answer: HttpAnswer) -> bool:
    """Tell whether the body is something else than JSON: a page of a firewall, a proxy or a web server."""
    if answer.unread is not None:
        return True
    text = answer.text.strip()
    if not text or "json" in answer.headers.get("content-type", "").lower():
        return False
    try:
        load_json(text, is_strict=False)
    except UnreadableDocumentError:
        return True
    except UnstorableDocumentError:
        return False
    return False


def is_login_redirect(answer: HttpAnswer) -> bool:
    """Tell whether the answer sends to a page where somebody is to sign in."""
    path = _BEFORE_PATH.sub("", answer.headers.get("location", "")).split("?")[0].split("#")[0]
    plain = _PERCENT_ENCODED.sub(lambda found: chr(int(found[1], 16)), path)
    return 300 <= answer.status < 400 and _LOGIN.search(plain) is not None


def classify_status(status: int) -> ErrorClass:
    """Return what a status that is no success means for what was asked for.

    401, 402, 403 and 407, which say nothing about it, are the caller's to look at first.
    """
    if status in MISSING_STATUSES:
        return ErrorClass.NOT_FOUND
    if status == 429:
        return ErrorClass.RATE_LIMITED
    if status in _OUR_REQUEST_STATUSES:
        return ErrorClass.DATA
    if status in _TRANSIENT_STATUSES or 500 <= status <= 599:
        return ErrorClass.TRANSIENT
    return ErrorClass.CONTRACT


def retry_after_seconds(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Return the seconds that a Retry-After asks for, 1 to 900; None when it names no time to come.

    It may be written in more ways than RFC 9110 knows: fractions are rounded up, of several the longest
    counts, dates may be ISO 8601, and numbers above 10^9 are moments, in seconds or milliseconds since 1970.
    Moments are meant by the clock that wrote them, which `Date` tells and which may be hours off from ours;
    `now` is the clock where there is no `Date`.
    """
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    now = _parse_date(headers.get("date", "")) or now
    longest = max(_parse_wait(part, now) for part in _BETWEEN_WAITS.split(text))
    return float(ceil(min(longest, LONGEST_STOP_SECONDS))) if longest > 0 else None


def _parse_wait(part: str, now: datetime) -> float:
    text = part.strip().strip('"').strip()
    if not _NUMBER.fullmatch(text):
        moment = _parse_date(text)
        return (moment - now).total_seconds() if moment else 0.0
    number = float(text)
    if number <= _MOMENTS_FROM:
        return number
    return (number / 1000 if number > _MILLISECONDS_FROM else number) - now.timestamp()


def _parse_date(text: str) -> datetime | None:
    try:
        moment = (
            datetime.fromisoformat(text) if _ISO_DATE.match(text.strip()) else parsedate_to_datetime(text)
        )
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
