"""How the values of a customer list are written, and what they mean.

Belongs here: one function for each kind of column. A number is read by its column's kind, never by its looks.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import date
from decimal import Decimal

from innomaint_pipeline.domain.customers.cells import BLANKS, INVISIBLE
from innomaint_pipeline.domain.customers.columns import Kind
from innomaint_pipeline.domain.customers.lists import Value

_WHOLE = r"[0-9]{1,3}(?:\.[0-9]{3})+|[0-9]+"
_ID = re.compile(_WHOLE)
_INTEGER = re.compile(_WHOLE)
_MONEY = re.compile(rf"({_WHOLE}),([0-9]{{2}})")
_DATE = re.compile(r"([0-9]{2})/([0-9]{2})/([0-9]{4})")
_MINUS = str.maketrans("\N{MINUS SIGN}", "-")
_DROPPED = {ord(it): None for it in INVISIBLE} | {ord(it): " " for it in BLANKS}
_GREATEST_INTEGER = 2**31 - 1
_GREATEST_MONEY = Decimal("999999999999.99")


class UnreadableValueError(ValueError):
    """A text is no value of its column's kind; the message says what was expected, and quotes nothing."""


def clean_text(text: str) -> str:
    """Return a text in NFC, its runs of blanks as one blank, trimmed, without invisible characters."""
    return unicodedata.normalize("NFC", " ".join(text.translate(_DROPPED).split()))


def parse_id(text: str) -> str:
    """Return an id without its dots; never through a number, so that its zeros stay."""
    if not _ID.fullmatch(text):
        raise UnreadableValueError("expected digits with a dot every three, or with none")
    return text.replace(".", "")


def parse_value(text: str, kind: Kind) -> Value:
    """Return what a cleaned text means in a column of `kind`, None where it is empty.

    Raises `UnreadableValueError`, also for a number that is beyond its column.
    """
    if not text:
        return None
    if kind == "integer":
        number = parse_integer(text)
        if abs(number) > _GREATEST_INTEGER:
            raise UnreadableValueError(f"expected a number up to {_GREATEST_INTEGER}")
        return number
    if kind == "money":
        amount = parse_money(text)
        if abs(amount) > _GREATEST_MONEY:
            raise UnreadableValueError(f"expected an amount up to {_GREATEST_MONEY}")
        return amount
    if kind == "date":
        return _parse_date(text)
    return text


def parse_integer(text: str) -> int:
    """Return a whole number of any size."""
    digits, is_negative = _take_minus(text.translate(_MINUS))
    if not _INTEGER.fullmatch(digits):
        raise UnreadableValueError("expected a whole number like 1.234")
    number = int(digits.replace(".", ""))
    return -number if is_negative else number


def parse_money(text: str) -> Decimal:
    """Return an amount of any size, with two decimals; a zero has no sign."""
    digits, is_negative = _take_minus(text.translate(_MINUS))
    found = _MONEY.fullmatch(digits)
    if not found:
        raise UnreadableValueError("expected an amount like 1.234,56 \N{EURO SIGN}")
    amount = Decimal(f"{found[1].replace('.', '')}.{found[2]}")
    return -amount if is_negative and amount else amount


def _take_minus(text: str) -> tuple[str, bool]:
    """Return a number without its signs: a minus before, after, or parentheses; the sign of the euro."""
    bare = text.removesuffix("\N{EURO SIGN}").rstrip(" ")
    if bare.startswith("(") and bare.endswith(")"):
        return bare[1:-1].strip(" ").removesuffix("\N{EURO SIGN}").rstrip(" "), True
    if bare.startswith("-"):
        return bare[1:].lstrip(" "), True
    if bare.endswith("-"):
        return bare[:-1].rstrip(" ").removesuffix("\N{EURO SIGN}").rstrip(" "), True
    return bare, False


def _parse_date(text: str) -> date:
    found = _DATE.fullmatch(text)
    if found:
        day, month, year = map(int, found.groups())
        try:
            return date(year, month, day)
        except ValueError:
            pass
    raise UnreadableValueError("expected a date like 31/12/2025")
