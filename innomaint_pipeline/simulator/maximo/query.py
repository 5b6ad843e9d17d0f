"""The query language of the simulated Maximo: conditions, selections, moments.

Belongs here: reading parameters as the server does. What it cannot parse raises `QueryError`; parameters that
it does not know are ignored in silence.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

_CONDITION = re.compile(r"\s*([\w.]+)\s*(>=|<=|!=|=|>|<| in )\s*(.+?)\s*", re.DOTALL)
_LITERAL = re.compile(r'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?', re.DOTALL)
_BETWEEN = re.compile(r"\s+and\s+(?=[\w.]+\s*(?:>=|<=|!=|=|>|<|\sin\s))")

Row = Mapping[str, Any]
Condition = Callable[[Row], bool]


class QueryError(ValueError):
    """A query that the server cannot parse: BMXAA8744E."""


class OffsetRefusedError(ValueError):
    """A moment with an offset, which this server does not take."""


def read_where(text: str, *, refuses_offsets: bool) -> Condition:
    """Return the condition that `oslc.where` states."""
    conditions = [_read_condition(part, refuses_offsets) for part in _BETWEEN.split(text) if part.strip()]
    return lambda row: all(condition(row) for condition in conditions)


def read_lower_bound(text: str, name: str) -> int | None:
    """Return the number above which `oslc.where` asks for ids, where it does."""
    found = re.search(rf"(?:^|\sand\s)\s*{name}>(\d+)\s*$", text)
    return None if found is None else int(found[1])


def _read_condition(text: str, refuses_offsets: bool) -> Condition:  # noqa: FBT001 # handed down
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise QueryError(text)
    name, sign, rest = found[1], found[2].strip(), found[3]
    if sign == "in":
        if not (rest.startswith("[") and rest.endswith("]")):
            raise QueryError(text)
        values = {_read_literal(item[0], refuses_offsets) for item in _LITERAL.finditer(rest)}
        return lambda row: _comparable(row.get(name)) in values
    if _LITERAL.fullmatch(rest) is None:
        raise QueryError(text)
    value = _read_literal(rest, refuses_offsets)
    return lambda row: _compare(_comparable(row.get(name)), sign, value)


def _read_literal(text: str, refuses_offsets: bool) -> Any:  # noqa: FBT001 # handed down
    if not text.startswith('"'):
        return float(text) if "." in text else int(text)
    plain = re.sub(r"\\(.)", r"\1", text[1:-1])
    moment = _read_moment(plain)
    if moment is None:
        return plain
    if refuses_offsets and re.search(r"(Z|[+-]\d\d:\d\d)$", plain):
        raise OffsetRefusedError(plain)
    return moment


def _read_moment(text: str) -> datetime | None:
    if not re.match(r"\d{4}-\d\d-\d\d", text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=LOCAL)).astimezone(UTC)


LOCAL = datetime.fromisoformat("2026-01-01T00:00:00+03:00").tzinfo
"""The offset in which the simulated installation writes its moments."""


def _comparable(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    return (_read_moment(value) or value) if isinstance(value, str) else value


def _compare(held: Any, sign: str, value: Any) -> bool:
    if sign == "!=":
        return held != value
    if held is None:
        return False
    if sign == "=":
        return held == value
    try:
        signs = {">": held > value, ">=": held >= value, "<": held < value, "<=": held <= value}
    except TypeError as error:
        raise QueryError(str(value)) from error
    return signs[sign]


Selection = dict[str, Any]
"""Names and children, each child a selection; "*" for every plain attribute."""


def read_select(text: str) -> Selection:
    """Return what `oslc.select` selects."""
    found, rest = _read_names(text, 0)
    if rest != len(text):
        raise QueryError(text)
    return found


def _read_names(text: str, position: int) -> tuple[Selection, int]:
    found: Selection = {}
    name = ""
    while position < len(text) and text[position] != "}":
        character = text[position]
        position += 1
        if character == "{":
            found[name], position = _read_names(text, position)
            if text[position : position + 1] != "}":
                raise QueryError(text)
            name, position = "", position + 1
        elif character == ",":
            if name:
                found[name] = None
            name = ""
        else:
            name += character
    if name:
        found[name] = None
    return found, position


def select(row: Row, selection: Selection, dropped: Callable[[str, Row], bool]) -> dict[str, Any]:
    """Return a row as selected; `dropped` tells which objects of a child are filtered out."""
    children = {name for name, value in row.items() if isinstance(value, list)}
    found = {
        name: value
        for name, value in row.items()
        if name not in children and ("*" in selection or name in selection or name.startswith("_"))
    }
    for name, inner in selection.items():
        if "." in name:
            outer, _, last = name.partition(".")
            held = row.get(outer)
            if isinstance(held, list) and held and last in held[0]:
                found[outer] = [{last: held[0][last]}]
        elif name in children and inner is not None:
            items = [select(item, inner, dropped) for item in row[name] if not dropped(name, item)]
            if items:
                found[name] = items
    return found
