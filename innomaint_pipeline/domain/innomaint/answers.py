"""The text of an answer -> JSON that is the asked CMMS asset's (docs/how-it-works.md).

Belongs here: reading and cleaning JSON, the contract that an answer must keep, and its hash. What the fields
mean stands in `domain.innomaint.detail`.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal, InvalidOperation
from typing import Any

import simplejson

VOLATILE_FIELDS = ("mtbf", "availability", "total_actual_hrs")
"""Fields of `performance` that change with the clock alone."""

DEEPEST_NESTING = 100
"""Levels of an answer; PostgreSQL, and every later reader of a stored answer, can walk that many."""

LONGEST_NUMBER_DIGITS = 1000
"""Digits of a fraction before or after its point: PostgreSQL keeps them, and Python reads them back."""

LONGEST_ISSUE_CHARACTERS = 500
"""Of a field's path, which is part of a key, and of a raw value that is shown."""

_UNSTORABLE_CHARACTER = re.compile("[\0\ud800-\udfff]")
_ESCAPED_ASCII = re.compile(r"\\(?:u00([2-7][0-9a-fA-F])|(.))", re.DOTALL)
_ECHOED = "held the API token; it was replaced"
_EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)


class UnreadableAnswerError(ValueError):
    """No JSON at all (truncated, HTML, empty): a transient error."""


class ContractViolationError(ValueError):
    """JSON, but not the detail of the asked CMMS asset: a contract error."""


@dataclass(frozen=True)
class DataIssue:
    """A single value that could not be read; `field` is its path, like `performance.mttr`."""

    field: str
    raw_value: str
    reason: str


@dataclass(frozen=True)
class CheckedAnswer:
    """An answer that keeps the contract.

    `body_json` is the text to store, valid for jsonb: the text as received, or, where it may have held what
    PostgreSQL cannot store, the cleaned JSON. `body_hash` ignores the volatile fields.
    """

    body_json: str
    body_hash: str
    issues: tuple[DataIssue, ...] = field(default=())


def normalise_id(text: str) -> str:
    """Trim and apply Unicode NFC: two ids are the same when this is the same."""
    return unicodedata.normalize("NFC", text.strip())


def load_json(
    text: str,
    parse_constant: Callable[[str], Any] | None = None,
    parse_float: Callable[[str], Any] = Decimal,
) -> Any:
    """Read JSON with exact decimals; raise `UnreadableAnswerError` or `ContractViolationError`."""
    try:
        return json.loads(text, parse_float=parse_float, parse_constant=parse_constant)
    except json.JSONDecodeError as error:
        raise UnreadableAnswerError(f"the answer is no JSON ({error.msg} at character {error.pos})") from None
    except RecursionError:
        raise ContractViolationError("the answer is nested too deeply") from None
    except ValueError:
        raise ContractViolationError("the answer holds a number of thousands of digits") from None


def dump_json(value: Any) -> str:
    """Write JSON; decimals become numbers of exactly the same digits."""
    return simplejson.dumps(value, use_decimal=True, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True)
class _Unstorable:
    """Stands in a document for a number that jsonb cannot hold."""

    text: str
    reason: str


def _clean_text(value: str, path: str, issues: list[DataIssue], redact: Callable[[str], str]) -> str:
    text = _UNSTORABLE_CHARACTER.sub("", value)
    harmless = redact(text)
    if harmless != text:
        issues.append(_issue(path, harmless, _ECHOED))
    elif text != value:
        reason = "held characters that cannot be stored; they were removed"
        issues.append(_issue(path, ascii(value)[1:-1], reason))
    return harmless


def _clean(value: Any, path: str, issues: list[DataIssue], redact: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return _clean_text(value, path, issues, redact)
    if isinstance(value, list):
        items = [_clean(item, f"{path}[{index}]", issues, redact) for index, item in enumerate(value)]
        return [None if isinstance(item, _Unstorable) else item for item in items]
    if isinstance(value, dict):
        cleaned: dict[str, Any] = {}
        for key, item in value.items():
            text = _UNSTORABLE_CHARACTER.sub("", key)
            name = redact(text)
            if name != text:
                issues.append(_issue(f"{path}.{name}", name, _ECHOED))
            elif name != key:
                reason = "the field's name held characters that cannot be stored; they were removed"
                issues.append(_issue(f"{path}.{name}", ascii(key)[1:-1], reason))
            content = _clean(item, f"{path}.{name}", issues, redact)
            # Null would clear the stored value; an absent field keeps it.
            if not isinstance(content, _Unstorable):
                cleaned[name] = content
        return cleaned
    if isinstance(value, _Unstorable):
        issues.append(_issue(path, value.text, value.reason))
    return value


def _issue(path: str, raw_value: str, reason: str) -> DataIssue:
    field_path = path.removeprefix(".").removeprefix("response.")
    return DataIssue(field_path[:LONGEST_ISSUE_CHARACTERS], raw_value[:LONGEST_ISSUE_CHARACTERS], reason)


def _check_nesting(answer: Any) -> None:
    level = [answer]
    for _ in range(DEEPEST_NESTING):
        inner = (item.values() if isinstance(item, dict) else item for item in level)
        level = [item for items in inner for item in items if isinstance(item, (dict, list))]
        if not level:
            return
    raise ContractViolationError(f"the answer is nested more than {DEEPEST_NESTING} levels deep")


def _is_true(value: object) -> bool:
    return value not in (False, 0, None) and str(value).strip().lower() not in {"false", "0", ""}


def _is_200(value: object) -> bool:
    return str(value).strip() == "200"


def _check_contract(answer: Any, cmms_asset_id: str) -> None:
    if not isinstance(answer, dict):
        raise ContractViolationError(f"the answer is {_shape(answer)}, expected an object")
    if "status" in answer and not _is_true(answer["status"]):
        raise ContractViolationError(f"the answer says status {str(answer['status'])[:20]!r}, expected true")
    if "response_code" in answer and not _is_200(answer["response_code"]):
        raise ContractViolationError(
            f"the answer says response_code {str(answer['response_code'])[:20]!r}, expected 200"
        )
    response = answer.get("response")
    if not isinstance(response, dict):
        raise ContractViolationError(f"response is {_shape(response)}, expected an object")
    data = response.get("data")
    if not isinstance(data, dict) or not data:
        raise ContractViolationError(
            f"response.data is {_shape(data)}, expected an object with the asset's fields"
        )
    answered = data.get("serialnumber")
    if not isinstance(answered, (str, int)) or isinstance(answered, bool):
        raise ContractViolationError(
            f"response.data.serialnumber is {_shape(answered)}: whose answer this is, is unknown"
        )
    if normalise_id(str(answered)) != normalise_id(cmms_asset_id):
        raise ContractViolationError(
            f"asked for {cmms_asset_id!r}, the answer is for {str(answered)[:200]!r}"
        )


def _shape(value: object) -> str:
    if value is None:
        return "null or absent"
    if isinstance(value, _Unstorable):
        return "no value of JSON"
    if isinstance(value, (list, dict)):
        return ("a list" if isinstance(value, list) else "an object") + (
            " without content" if not value else ""
        )
    return f"a {type(value).__name__}"


def hash_answer(answer: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the canonical JSON without the volatile fields."""
    response = answer["response"]
    performance = response.get("performance")
    if isinstance(performance, dict):
        steady = {name: value for name, value in performance.items() if name not in VOLATILE_FIELDS}
        answer = {**answer, "response": {**response, "performance": steady}}
    canonical = json.dumps(answer, sort_keys=True, separators=(",", ":"), default=_canonical_number)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _canonical_number(value: object) -> int | str:
    if isinstance(value, Decimal):
        # Bounded by `check_answer`: the integer ends.
        if value == value.to_integral_value():
            return int(value)
        # No cleaned text holds a NUL: the number 1.5 differs from the text "1.5".
        return f"\0{value.normalize(_EXACT)}"
    raise TypeError(f"{type(value).__name__} is no JSON value")


def _plain(text: str) -> str:
    """Undo the escapes behind which printable ASCII can stand in JSON."""
    if "\\" not in text:
        return text
    return _ESCAPED_ASCII.sub(lambda found: chr(int(found[1], 16)) if found[1] else found[2], text)


def check_answer(text: str, cmms_asset_id: str, redact: Callable[[str], str] = str) -> CheckedAnswer:
    """Check that a text is the detail of the asked CMMS asset.

    Raises `UnreadableAnswerError` (repeat) or `ContractViolationError` (do not). NUL characters, lone
    surrogates, NaN, infinities and numbers of more than a thousand digits are cleaned away, each with a data
    issue; so is what `redact` changes, a token sent back. Never compares by anything but trim and NFC.
    """
    unstorable: list[_Unstorable] = []

    def read_constant(name: str) -> _Unstorable:
        unstorable.append(_Unstorable(name, "is no number of JSON; the field was left out"))
        return unstorable[-1]

    def read_fraction(digits: str) -> Decimal | _Unstorable:
        try:
            number = Decimal(digits)
        except InvalidOperation:  # an exponent of twenty digits
            number = None
        if number is not None and _is_storable(number):
            return number
        unstorable.append(_Unstorable(digits, "has too many digits to be stored; the field was left out"))
        return unstorable[-1]

    issues: list[DataIssue] = []
    if _UNSTORABLE_CHARACTER.search(text):
        reason = "the answer held NUL characters or halves of surrogate pairs; they were removed"
        issues.append(DataIssue("", "unescaped", reason))
        text = _UNSTORABLE_CHARACTER.sub("", text)
    answer = load_json(text, read_constant, read_fraction)
    if text.count("{") + text.count("[") > DEEPEST_NESTING:
        _check_nesting(answer)
    # A backslash-u of a NUL or of half a surrogate pair is the only other way to a character jsonb refuses.
    lowered = text.lower() if "\\u" in text else ""
    is_suspect = bool(unstorable) or "\\u0000" in lowered or "\\ud" in lowered
    plain = _plain(text)
    is_suspect = is_suspect or redact(plain) != plain
    if is_suspect:
        answer = _clean(answer, "", issues, redact)
    _check_contract(answer, cmms_asset_id)
    # Written anew even if nothing was found: the first of two fields of one name still stands in the text.
    return CheckedAnswer(dump_json(answer) if is_suspect else text, hash_answer(answer), tuple(issues))


def _is_storable(number: Decimal) -> bool:
    digits_before = number.adjusted() + 1
    digits_after = -int(number.as_tuple().exponent)
    return digits_before <= LONGEST_NUMBER_DIGITS and digits_after <= LONGEST_NUMBER_DIGITS
