"""Single values as the vendor writes them -> typed values.

Belongs here: one function per kind of value. Each takes a JSON value (numbers with a fraction as `Decimal`)
that is neither absent nor null and returns the typed value, None where a blank means none, or raises
`ValueError` whose message completes the sentence "the value ...".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache, wraps
from typing import Any
from zoneinfo import ZoneInfo

INT32 = 2**31 - 1
INT64 = 2**63 - 1
_MONEY_LIMIT = Decimal(10) ** 12  # numeric(14,2)
_LONGEST_NUMBER = 40
_MOST_PERCENTAGE_DECIMALS = 30
# In threes, or as in India in twos, the last group of three: 12,50 is neither, and no group begins with 0.
_GROUPED = re.compile(r"[+-]?(?!0)(\d{1,3}(,\d{3})+|\d{1,2}(,\d{2})*,\d{3})(\.\d+)?", re.ASCII)
_DURATION = re.compile(r"(\d{1,9}):([0-5]\d):([0-5]\d)", re.ASCII)
_LOCAL_TIME = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4}) (\d{1,2}):(\d{2})(?::(\d{2}))?", re.ASCII)

# Marks of format, controls and separators; letters that fonts draw as nothing.
_UNSEEN = frozenset({"Cf", "Cc", "Zs", "Zl", "Zp"})
_FILLERS = frozenset("\u115f\u1160\u3164\uffa0\u034f\u2800") | frozenset(map(chr, range(0xFE00, 0xFE10)))

_REMEMBERED_TEXTS = 4096

Parser = Callable[[object], Any]


def remembering(parse: Parser) -> Parser:
    """Return the same parser, which keeps what it made of the latest texts.

    Millions of answers repeat few of them (`"0"`, `"0.00"`, `"100"`). Only texts: 1, 1.0 and true are equal
    to Python, and not to a parser.
    """
    known = lru_cache(maxsize=_REMEMBERED_TEXTS)(parse)

    @wraps(parse)
    def read(value: object) -> Any:
        return known(value) if type(value) is str else parse(value)

    return read


def _trim(text: str) -> str:
    """Take blanks off both ends; what is made of blanks and marks that nobody sees is empty."""
    trimmed = text.strip()
    if trimmed.isascii() and trimmed.isprintable():
        return trimmed
    is_seen = any(
        unicodedata.category(character) not in _UNSEEN and character not in _FILLERS for character in trimmed
    )
    return trimmed if is_seen else ""


def _decimal(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, (str, int, Decimal)):
        raise ValueError(f"is {_kind(value)}, not a number")  # noqa: TRY004 # every refusal is a ValueError
    if isinstance(value, Decimal):
        return value
    if isinstance(value, int):
        return Decimal(value)
    text = _trim(value)
    if not text:
        return None
    # Thousands separators occur, in the Indian grouping (12,34,567) too.
    plain = text.replace(",", "") if _GROUPED.fullmatch(text) else text
    if len(plain) > _LONGEST_NUMBER or not plain.isascii() or "_" in plain:
        raise ValueError("is no number")
    try:
        number = Decimal(plain)
    except InvalidOperation:
        raise ValueError("is no number") from None
    if not number.is_finite():
        raise ValueError("is no finite number")
    return number


def _kind(value: object) -> str:
    return {bool: "true or false", list: "a list", dict: "an object"}.get(type(value), type(value).__name__)


def parse_integer(limit: int) -> Parser:
    """Return a parser of whole numbers up to `limit`; `5`, `"5"`, `"1,234"` and `5.0` are read, true is 1."""

    def parse(value: object) -> int | None:
        if type(value) is int and -limit - 1 <= value <= limit:
            return value
        number = Decimal(int(value)) if isinstance(value, bool) else _decimal(value)
        if number is None:
            return None
        # Compared before it is converted: int(Decimal("1e999999999")) would not end.
        if not -limit - 1 <= number <= limit:
            raise ValueError(f"does not fit: the column holds whole numbers up to {limit}")
        if number != int(number):
            raise ValueError("is no whole number")
        return int(number)

    return remembering(parse)


_parse_int64 = parse_integer(INT64)


def parse_id(value: object) -> int | None:
    """Read a vendor's id; 0 means none, and so does false."""
    if value is True:
        raise ValueError("is true, not an id")
    return _parse_int64(value) or None


def parse_text(value: object) -> str | None:
    """Read a text; blank means none; a number is written out."""
    if type(value) is str:
        return _trim(value) or None
    if isinstance(value, bool) or not isinstance(value, (str, int, Decimal)):
        raise ValueError(f"is {_kind(value)}, not a text")  # noqa: TRY004 # every refusal is a ValueError
    return (_trim(value) if isinstance(value, str) else str(value)) or None


def parse_money(value: object) -> Decimal | None:
    """Read an exact amount of at most two decimals for numeric(14,2)."""
    number = _decimal(value)
    if number is None:
        return None
    if not -_MONEY_LIMIT < number < _MONEY_LIMIT:
        raise ValueError("does not fit: the column holds amounts below 1000000000000")
    cents = number.quantize(Decimal("0.01"))
    if cents != number:
        raise ValueError("has more than two decimals")
    return cents


def parse_duration_seconds(value: object) -> int | None:
    """Read `H+:MM:SS`, hours far above 24 included, as seconds; a zero alone is zero."""
    text = parse_text(value)
    if text is None:
        return None
    if text in {"0", "0.0", "0.00"}:
        return 0
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError("is no duration like 8526:06:43")
    hours, minutes, seconds = (int(part) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds


def parse_percentage(value: object) -> Decimal | None:
    """Read a percentage from 0 to 100; a percent sign may follow."""
    number = _decimal(_trim(value).removesuffix("%") if isinstance(value, str) else value)
    if number is not None and not 0 <= number <= 100:
        raise ValueError("is no percentage from 0 to 100")
    # 1e-99999 lies between 0 and 100 too, and is more than PostgreSQL's numeric can hold.
    if number is not None and int(number.as_tuple().exponent) < -_MOST_PERCENTAGE_DECIMALS:
        raise ValueError(f"has more than {_MOST_PERCENTAGE_DECIMALS} decimals")
    return number


def parse_local_time(timezone: ZoneInfo) -> Parser:
    """Return a parser of `DD/MM/YYYY HH:MM` in the vendor's time zone, giving UTC."""

    def parse(value: object) -> datetime | None:
        text = parse_text(value)
        if text is None:
            return None
        match = _LOCAL_TIME.fullmatch(text)
        if match is None:
            raise ValueError("is no time like 09/07/2024 16:59 (day first)")
        day, month, year, hour, minute, second = (int(part or 0) for part in match.groups())
        try:
            return datetime(year, month, day, hour, minute, second, tzinfo=timezone).astimezone(UTC)
        except (ValueError, OverflowError):
            raise ValueError("is no date of the calendar (day first)") from None

    return parse


def parse_utc_time(timezone: ZoneInfo) -> Parser:
    """Return a parser of `2026-03-19 04:21:46+00`, giving UTC; without an offset, vendor's local time."""

    def parse(value: object) -> datetime | None:
        text = parse_text(value)
        if text is None:
            return None
        try:
            moment = datetime.fromisoformat(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=timezone)).astimezone(UTC)
        except (ValueError, OverflowError):
            raise ValueError("is no time like 2026-03-19 04:21:46+00") from None

    return parse
