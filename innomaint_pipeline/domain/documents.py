"""JSON that comes from outside -> values that PostgreSQL can hold, and what had to be left out of them.

Belongs here: reading, cleaning and writing JSON, whatever source it is from. What its fields mean stands in
the package of its source.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import simplejson

DEEPEST_NESTING = 100
"""Levels of a document; PostgreSQL, and every later reader of a stored one, can walk that many."""

LONGEST_NUMBER_DIGITS = 1000
"""Digits of a fraction before or after its point: PostgreSQL keeps them, and Python reads them back."""

MOST_ISSUES = 200
"""Of one document that are named; one more counts the others."""

LONGEST_ISSUE_CHARACTERS = 500
"""Of a field's path, which is part of a key, and of a raw value that is shown."""

_UNSTORABLE_CHARACTER = re.compile("[\0\ud800-\udfff]")
_ESCAPED_ASCII = re.compile(r"\\(?:u00([2-7][0-9a-fA-F])|(.))", re.DOTALL)
_REMOVED = "held characters that cannot be stored; they were removed"
_ECHOED = "held the API token; it was replaced"
_UNESCAPED = "held control characters in texts that were not escaped; they were read as they are"
_TOO_LONG = "has too many digits to be stored; the field was left out"
_FURTHER = "as many further values had to be cleaned"
_HIDDEN = "another field's name is the same without characters that cannot be stored; that field was left out"


class UnreadableDocumentError(ValueError):
    """No JSON at all: truncated, a page of HTML, empty."""


class UnstorableDocumentError(ValueError):
    """JSON that no database can hold: nested too deeply, or a number of thousands of digits."""


@dataclass(frozen=True)
class DataIssue:
    """A single value that could not be read; `field` is its path, like `performance.mttr`."""

    field: str
    raw_value: str
    reason: str


@dataclass(frozen=True)
class Document:
    """A document that was read; `json_text` is valid for jsonb and holds `value`, decimals digit by digit."""

    value: Any
    json_text: str
    issues: tuple[DataIssue, ...] = ()


@dataclass(frozen=True)
class _Unstorable:
    """Stands in a document for a number that jsonb cannot hold."""

    text: str
    reason: str


def load_json(
    text: str,
    parse_constant: Callable[[str], Any] | None = None,
    parse_float: Callable[[str], Any] = Decimal,
    *,
    parse_int: Callable[[str], Any] | None = None,
    is_strict: bool = True,
) -> Any:
    """Read JSON with exact decimals; control characters may stand in texts when `is_strict` is false.

    Raises `UnreadableDocumentError` or `UnstorableDocumentError`.
    """
    try:
        return json.loads(
            text,
            parse_float=parse_float,
            parse_int=parse_int,
            parse_constant=parse_constant,
            strict=is_strict,
        )
    except json.JSONDecodeError as error:
        raise UnreadableDocumentError(
            f"the answer is no JSON ({error.msg} at character {error.pos})"
        ) from None
    except RecursionError:
        raise UnstorableDocumentError("the answer is nested too deeply") from None
    except ValueError:
        raise UnstorableDocumentError("the answer holds a number of thousands of digits") from None


def dump_json(value: Any, *, is_sorted: bool = False) -> str:
    """Write JSON, with sorted names if wanted; decimals become numbers of exactly the same digits."""
    return simplejson.dumps(
        value, use_decimal=True, ensure_ascii=False, separators=(",", ":"), sort_keys=is_sorted
    )


class _Reader:
    """Reads one document, setting apart the numbers that no database can hold."""

    def __init__(self, text: str, *, keeps_rest: bool) -> None:
        self.has_unstorable = False
        self._text = text
        self._keeps_rest = keeps_rest

    def read(self, *, is_strict: bool = True) -> Any:
        try:
            return self._load(None, is_strict=is_strict)
        except UnstorableDocumentError:
            if not self._keeps_rest:
                raise
            # A function of our own for each integer is slow: only where one has thousands of digits.
            return self._load(self._read_whole, is_strict=is_strict)

    def _load(self, parse_int: Callable[[str], Any] | None, *, is_strict: bool) -> Any:
        return load_json(
            self._text, self._read_constant, self._read_fraction, parse_int=parse_int, is_strict=is_strict
        )

    def _set_apart(self, text: str, reason: str) -> _Unstorable:
        self.has_unstorable = True
        return _Unstorable(text, reason)

    def _read_constant(self, name: str) -> _Unstorable:
        return self._set_apart(name, "is no number of JSON; the field was left out")

    def _read_fraction(self, digits: str) -> Decimal | _Unstorable:
        try:
            number = Decimal(digits)
        except InvalidOperation:  # an exponent of twenty digits
            number = None
        if number is not None and _is_storable(number):
            return number
        return self._set_apart(digits, _TOO_LONG)

    def _read_whole(self, digits: str) -> int | _Unstorable:
        return int(digits) if len(digits) <= LONGEST_NUMBER_DIGITS else self._set_apart(digits, _TOO_LONG)


def read_document(
    text: str, redact: Callable[[str], str] = str, *, root: str = "", keeps_rest: bool = False
) -> Document:
    """Read JSON, cleaned of what PostgreSQL cannot hold, each thing that was left out named by an issue.

    NUL characters and lone surrogates go out of texts and names, NaN, infinities and numbers of more than a
    thousand digits out of their objects; `redact` takes out a secret that was sent back. Where a cleaned name
    meets another field's, the field whose name was clean stays. Paths of issues begin below `root`. An
    integer of thousands of digits makes the document unstorable, unless `keeps_rest`: it then goes out, too.
    Raises `UnreadableDocumentError` or `UnstorableDocumentError`.
    """
    reader = _Reader(text, keeps_rest=keeps_rest)
    issues: list[DataIssue] = []
    try:
        value = reader.read()
    except UnreadableDocumentError as error:
        if "control character" not in str(error):
            raise
        value = reader.read(is_strict=False)
        issues.append(DataIssue("", "unescaped", _UNESCAPED))
    if text.count("{") + text.count("[") > DEEPEST_NESTING:
        _check_nesting(value)
    if isinstance(value, _Unstorable):
        raise UnstorableDocumentError("the answer is no value of JSON")
    # An escape of a NUL or of half a surrogate pair is, in strict JSON, the only way to them.
    lowered = text.lower() if "\\u" in text else ""
    plain = _plain(text)
    is_suspect = bool(
        issues
        or reader.has_unstorable
        or "\\u0000" in lowered
        or "\\ud" in lowered
        or redact(plain) != plain
        or _UNSTORABLE_CHARACTER.search(text)
    )
    if not is_suspect:
        return Document(value, text)
    cleaner = _Cleaner(redact, f".{root}" if root else "", issues)
    value = cleaner.clean(value, "")
    issues += cleaner.counted()
    # Written anew even if nothing was found: the first of two fields of one name still stands in the text.
    return Document(value, dump_json(value), tuple(issues))


def _plain(text: str) -> str:
    """Undo the escapes behind which printable ASCII can stand in JSON."""
    if "\\" not in text:
        return text
    return _ESCAPED_ASCII.sub(lambda found: chr(int(found[1], 16)) if found[1] else found[2], text)


def _is_storable(number: Decimal) -> bool:
    digits_before = number.adjusted() + 1
    digits_after = -int(number.as_tuple().exponent)
    return digits_before <= LONGEST_NUMBER_DIGITS and digits_after <= LONGEST_NUMBER_DIGITS


def _check_nesting(document: Any) -> None:
    level = [document]
    for _ in range(DEEPEST_NESTING):
        inner = (item.values() if isinstance(item, dict) else item for item in level)
        level = [item for items in inner for item in items if isinstance(item, (dict, list))]
        if not level:
            return
    raise UnstorableDocumentError(f"the answer is nested more than {DEEPEST_NESTING} levels deep")


@dataclass
class _Cleaner:
    """Cleans one document, noting what it takes out."""

    redact: Callable[[str], str]
    root: str
    issues: list[DataIssue]
    further: int = 0

    def clean(self, value: Any, path: str) -> Any:
        if isinstance(value, str):
            return self._clean_text(value, path)
        if isinstance(value, list):
            items = [self.clean(item, f"{path}[{index}]") for index, item in enumerate(value)]
            return [None if isinstance(item, _Unstorable) else item for item in items]
        if isinstance(value, dict):
            return self._clean_object(value, path)
        if isinstance(value, _Unstorable):
            self._note(path, value.text, value.reason)
        return value

    def _clean_text(self, value: str, path: str) -> str:
        text = _UNSTORABLE_CHARACTER.sub("", value)
        harmless = self.redact(text)
        if harmless != text:
            self._note(path, harmless, _ECHOED)
        elif text != value:
            self._note(path, ascii(value)[1:-1], _REMOVED)
        return harmless

    def _clean_object(self, value: dict[str, Any], path: str) -> dict[str, Any]:
        cleaned: dict[str, Any] = {}
        # Names that are clean come first, so that no other takes their place.
        for key, item in sorted(value.items(), key=lambda field: self._clean_name(field[0]) != field[0]):
            name = self._clean_name(key)
            content = self.clean(item, f"{path}.{name}")
            # Null would clear the stored value; an absent field keeps it.
            if isinstance(content, _Unstorable):
                continue
            shown = ascii(self.redact(key))[1:-1]
            if name == key:
                cleaned[name] = content
            elif name in value or name in cleaned:
                self._note(f"{path}.{name}", f"{shown}: {dump_json(content)}", _HIDDEN)
            else:
                cleaned[name] = content
                reason = f"the field's name {_REMOVED}" if shown == ascii(key)[1:-1] else _ECHOED
                self._note(f"{path}.{name}", shown, reason)
        return cleaned

    def _clean_name(self, name: str) -> str:
        return self.redact(_UNSTORABLE_CHARACTER.sub("", name))

    def counted(self) -> list[DataIssue]:
        """Return the issue that counts those that were not named."""
        return [DataIssue("(further)", str(self.further), _FURTHER)] if self.further else []

    def _note(self, path: str, raw_value: str, reason: str) -> None:
        if len(self.issues) >= MOST_ISSUES:
            self.further += 1
            return
        below = path.removeprefix(f"{self.root}.") if self.root else path
        field = below.removeprefix(".")
        self.issues.append(
            DataIssue(field[:LONGEST_ISSUE_CHARACTERS], raw_value[:LONGEST_ISSUE_CHARACTERS], reason)
        )
