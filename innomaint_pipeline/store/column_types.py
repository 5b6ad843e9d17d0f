"""Which types of a column that is there hold every value of the declared one, and how others become it.

Belongs here: types alone, by the short names of PostgreSQL's catalogue. A `varchar(50)` or a `numeric(8, 2)`
holds what fits and refuses the rest aloud; what rounds, pads or compares otherwise gives back other values.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Date, DateTime, Double, Integer, Numeric, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from innomaint_pipeline.store.catalog import FoundColumn

_INTEGERS = ("int2", "int4", "int8", "numeric")
# Declared type -> the types that take and give back each of its values; subclasses first.
_FITTING = (
    (BigInteger, _INTEGERS),
    (Integer, _INTEGERS),
    (Double, ("float8",)),
    (Numeric, ("numeric",)),
    (Text, ("text", "varchar")),
    (DateTime, ("timestamptz", "timestamp")),
    (Date, ("date",)),
    (Boolean, ("bool",)),
    (JSONB, ("jsonb",)),
    (ARRAY, ("_text", "_varchar")),
)
_TEXTS = ("text", "varchar", "bpchar", "citext", "name", "char")
_NUMBERS = ("int2", "int4", "int8", "numeric", "float4", "float8", "money")
_FROM_TEXT = "nullif(btrim({key}::text), '')::{target}"
# Declared type, types that are there (None: any), and the expression that makes one of the other.
_CONVERSIONS = (
    (Text, None, "{key}::text"),
    (BigInteger, _TEXTS, _FROM_TEXT.replace("{target}", "bigint")),
    (Integer, _TEXTS, _FROM_TEXT.replace("{target}", "integer")),
    (Integer, ("bool",), "{key}::integer"),
    (BigInteger, _NUMBERS, "{key}::numeric::bigint"),
    (Integer, _NUMBERS, "{key}::numeric::integer"),
    (Numeric, _TEXTS, _FROM_TEXT.replace("{target}", "numeric")),
    (Numeric, _NUMBERS, "{key}::numeric"),
    (Date, _TEXTS, _FROM_TEXT.replace("{target}", "date")),
    (Date, ("timestamp", "timestamptz"), "{key}::date"),
    (DateTime, _TEXTS, _FROM_TEXT.replace("{target}", "timestamptz")),
    (DateTime, ("date",), "{key}::timestamp AT TIME ZONE 'UTC'"),
    (Boolean, _TEXTS, _FROM_TEXT.replace("{target}", "boolean")),
    (JSONB, _TEXTS, _FROM_TEXT.replace("{target}", "jsonb")),
    (JSONB, ("json",), "{key}::jsonb"),
)


def find_misfit(column: Column, actual: FoundColumn) -> str | None:
    """Return why a column cannot hold what the declared one does, None where it can."""
    fitting = next(names for kind, names in _FITTING if isinstance(column.type, kind))
    why = None
    if actual.is_enum:
        why = "it takes no other words than its own"
    elif actual.base_type == "bpchar":
        why = "it fills values up with blanks"
    elif actual.base_type not in fitting:
        why = ""
    elif not actual.is_deterministic:
        why = "by its collation different values are equal"
    elif column.identity is not None and actual.base_type == "int2":
        why = "it ends at 32767"
    elif actual.scale is not None and _is_rounding(column, actual.scale):
        why = "it rounds what is written there"
    if why is None:
        return None
    kind = "an enum, " if actual.is_enum else ""
    words = f"exists as {actual.shown_type}, {kind}expected {str(column.type).lower()}"
    return f"{words}: {why}" if why else words


def _is_rounding(column: Column, scale: int) -> bool:
    if isinstance(column.type, Integer):
        return scale < 0
    wanted = getattr(column.type, "scale", None)
    return wanted is None or scale < wanted


def convert(key: str, column: Column, actual: FoundColumn) -> str | None:
    """Return the expression that makes a column's values those of the declared type, None where none can."""
    base = "text" if actual.is_enum else actual.base_type
    for kind, bases, expression in _CONVERSIONS:
        if isinstance(column.type, kind) and (bases is None or base in bases):
            return expression.replace("{key}", key)
    return None


def write_type(actual: FoundColumn) -> str:
    """Return the type that a domain is made of, as a statement writes it."""
    return f"varchar({actual.length})" if actual.length else actual.base_type
