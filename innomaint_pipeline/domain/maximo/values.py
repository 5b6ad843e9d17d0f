"""A value of Maximo's JSON -> the value of a column, by the column's kind.

Belongs here: reading single values. A value of another type than the column's raises `WrongTypeError`; blank
texts, empty lists and empty objects are null.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any

from innomaint_pipeline.domain.maximo.structures import Kind

_LARGEST = 2**63 - 1
_LINKS = frozenset({"href", "localref", "about", "_imagelibref", "_id"})
_COLLECTION = "_collectionref"
_WHOLE = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_NUMBER = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?\s*", re.ASCII)


class WrongTypeError(ValueError):
    """A value whose type is not that of its column."""


def is_link(name: str) -> bool:
    """Tell whether an attribute is a link, which says where something is and nothing of it."""
    return name in _LINKS or name.endswith(_COLLECTION)


def is_absent(value: Any) -> bool:
    """Tell whether a value says nothing: null, a blank text, an empty list or object.

    Nor does an object of links alone, or one around an empty list.
    """
    if isinstance(value, str):
        return not value or value.isspace()
    if isinstance(value, dict):
        return all(is_link(name) or (name == "member" and is_absent(item)) for name, item in value.items())
    return value is None or (isinstance(value, list) and not value)


def type_of(value: Any) -> str:
    """Return the type of a value of JSON, as it is told to people."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, Decimal)):
        return "number"
    return {str: "text", list: "list", dict: "object"}.get(type(value), "null")


def _read_text(value: Any) -> str:
    if not isinstance(value, str):
        raise WrongTypeError
    return value


def _read_integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise WrongTypeError
    if value != int(value) or abs(int(value)) > _LARGEST:
        raise WrongTypeError
    return int(value)


def _read_numeric(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise WrongTypeError
    return Decimal(value)


def _read_boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise WrongTypeError
    return value


def parse_moment(value: Any) -> datetime:
    """Return a date-time with its offset; raises `WrongTypeError` for anything else."""
    if not isinstance(value, str):
        raise WrongTypeError
    try:
        moment = datetime.fromisoformat(value.strip())
    except ValueError:
        raise WrongTypeError from None
    if moment.tzinfo is None:
        raise WrongTypeError
    return moment


def _read_moment(value: Any) -> str:
    return parse_moment(value).isoformat()


def _read_date(value: Any) -> str:
    if not isinstance(value, str):
        raise WrongTypeError
    try:
        return date.fromisoformat(value.strip()[:10]).isoformat()
    except ValueError:
        raise WrongTypeError from None


def _read_clock(value: Any) -> str:
    if not isinstance(value, str):
        raise WrongTypeError
    clock = value.strip().partition("T")[2] or value.strip()
    try:
        return time.fromisoformat(clock).replace(tzinfo=None).isoformat()
    except ValueError:
        raise WrongTypeError from None


def canonical_number(value: Any) -> str:
    """Return a number as the shortest text that is exactly it: 1.0 -> 1, 1E+2 -> 100."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = Decimal(value.strip())
    number = _read_numeric(value)
    text = f"{number:f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


def _read_reading(value: Any) -> Decimal | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, Decimal)):
        return Decimal(value)
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        try:
            return Decimal(value.strip())
        except InvalidOperation:
            return None
    return None


READERS: dict[Kind, Callable[[Any], Any]] = {
    Kind.TEXT: _read_text,
    Kind.INTEGER: _read_integer,
    Kind.NUMERIC: _read_numeric,
    Kind.BOOLEAN: _read_boolean,
    Kind.MOMENT: _read_moment,
    Kind.DATE: _read_date,
    Kind.CLOCK: _read_clock,
    Kind.NUMBER_TEXT: canonical_number,
    Kind.READING: _read_reading,
}


def read_rowstamp(value: Any) -> int | None:
    """Return a row stamp, a number of up to 64 bits that comes as text; None for anything else."""
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        value = int(value.strip())
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _LARGEST:
        return None
    return value
