"""What an answer of Innomaint means: the detail of the asked CMMS asset, or one of the errors.

Belongs here: the table of errors, the contract that a good answer keeps, and its hash. What the fields mean
stands in `domain.innomaint.detail`, what every HTTP answer says in `domain.http_answers`.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from typing import Any

from innomaint_pipeline.domain.documents import (
    DataIssue,
    UnreadableDocumentError,
    UnstorableDocumentError,
    read_document,
)
from innomaint_pipeline.domain.http_answers import (
    GOOD_STATUSES,
    MISSING_STATUSES,
    ROUTE_STATUSES,
    AnswerError,
    HttpAnswer,
    classify_status,
    is_login_redirect,
    is_page,
    retry_after_seconds,
)
from innomaint_pipeline.domain.states import ErrorClass
from innomaint_pipeline.errors import AuthError, RouteError

VOLATILE_FIELDS = ("mtbf", "availability", "total_actual_hrs")
"""Fields of `performance` that change with the clock alone."""

_EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)
_GOOD_WORDS = frozenset({"true", "success", "ok", "1"})
_ASSET_SECTIONS = frozenset({"data", "performance", "workorder_transactional"})
_MOST_WORDS = 2000

# What the vendor's words mean where no code tells; the first that fits counts.
_TOKEN_WORDS = re.compile(
    r"unauthenticated|unauthori[sz]ed|not (logged in|authenticated|authori[sz]ed)"
    r"|\btoken\b.{0,40}\b(expired|invalid|not valid|missing|revoked)"
    r"|\b(expired|invalid|missing)\b.{0,20}\btoken\b",
    re.DOTALL,
)
_VERDICTS = (
    (ErrorClass.RATE_LIMITED, re.compile(r"too many requests|rate[ -]?limit|throttl")),
    (ErrorClass.NOT_FOUND, re.compile(r"not found|\bno data\b|\bno such\b|do(es)?( not|n.?t) exist")),
    (ErrorClass.TRANSIENT, re.compile(r"maintenance|try(ing)? (it )?again (later|in)|temporarily")),
)


@dataclass(frozen=True)
class CheckedAnswer:
    """An answer that keeps the contract.

    `body_json` is the text to store, valid for jsonb: the text as received, or, where it may have held what
    PostgreSQL cannot store, the cleaned JSON. `body_hash` ignores the volatile fields.
    """

    body_json: str
    body_hash: str
    issues: tuple[DataIssue, ...] = ()


def normalise_id(text: str) -> str:
    """Trim and apply Unicode NFC: two ids are the same when this is the same."""
    return unicodedata.normalize("NFC", text.strip())


def judge_answer(
    answer: HttpAnswer, cmms_asset_id: str, *, now: datetime, redact: Callable[[str], str] = str
) -> CheckedAnswer:
    """Return the detail of the asked CMMS asset, or raise what the answer means instead.

    `AnswerError` concerns this one asset or attempt; `AuthError` and `RouteError` concern everybody. `now` is
    our clock, for a Retry-After of an answer without `Date`.
    """
    wait = retry_after_seconds(answer.headers, now=now)
    if answer.status not in GOOD_STATUSES:
        raise _error_of_answer(answer, wait)
    try:
        return check_answer(answer.require_text(), cmms_asset_id, redact)
    except AnswerError as error:
        if wait is None or error.error_class not in {ErrorClass.RATE_LIMITED, ErrorClass.TRANSIENT}:
            raise
        raise AnswerError(error.error_class, str(error), kind=error.kind, retry_after_seconds=wait) from None


def _error_of_answer(answer: HttpAnswer, wait: float | None) -> Exception:
    status = answer.status
    if is_login_redirect(answer):
        return _token_refused(f"HTTP {status} to a login page")
    if status in {403, *MISSING_STATUSES} and is_page(answer):
        cause = (
            "a firewall or proxy in between, no verdict on the token"
            if status == 403
            else "INNOMAINT_API_URL is wrong or the site is being changed, no verdict on the asset"
        )
        return AnswerError(
            ErrorClass.TRANSIENT,
            f"a page instead of an answer (HTTP {status}): {cause}",
            retry_after_seconds=wait,
        )
    return _error_of_status(status, f"HTTP {status}", wait)


def _error_of_status(status: int, shown: str, wait: float | None = None) -> Exception:
    """Return what a status means, be it of HTTP or told inside an answer; `shown` names it."""
    if status in {401, 403}:
        return _token_refused(shown)
    if status in ROUTE_STATUSES:
        return RouteError(
            f"the way to Innomaint is closed ({shown}): a proxy or gateway asks for a login or a payment; "
            "look at INNOMAINT_PROXY_URL and INNOMAINT_API_URL, then start again. No asset was marked as "
            "failed"
        )
    if 300 <= status < 400:
        return AnswerError(ErrorClass.CONTRACT, f"a redirect ({shown}) was not followed")
    words = {
        ErrorClass.NOT_FOUND: f"not found in Innomaint ({shown})",
        ErrorClass.RATE_LIMITED: f"too many requests ({shown})",
        ErrorClass.DATA: f"Innomaint refused the request for this asset ({shown})",
        ErrorClass.TRANSIENT: f"Innomaint failed ({shown})",
    }
    error_class = classify_status(status)
    return AnswerError(error_class, words.get(error_class, f"unexpected {shown}"), retry_after_seconds=wait)


def _token_refused(shown: str) -> AuthError:
    return AuthError(
        f"Innomaint refused the token ({shown}): renew INNOMAINT_API_TOKEN, in the environment or in .env, "
        "then start again. No asset was marked as failed"
    )


def check_answer(text: str, cmms_asset_id: str, redact: Callable[[str], str] = str) -> CheckedAnswer:
    """Check that the text of a good answer is the detail of the asked CMMS asset.

    Raises `AnswerError`; `AuthError` and `RouteError` where it tells of everybody's trouble. What PostgreSQL
    cannot store is cleaned away with a data issue; so is what `redact` changes, a token sent back. Never
    compares ids by anything but trim and NFC.
    """
    try:
        document = read_document(text, redact, root="response")
    except UnreadableDocumentError as error:
        raise AnswerError(ErrorClass.TRANSIENT, str(error)) from None
    except UnstorableDocumentError as error:
        raise AnswerError(ErrorClass.CONTRACT, str(error)) from None
    _check_contract(document.value, cmms_asset_id)
    return CheckedAnswer(document.json_text, hash_answer(document.value), document.issues)


def _check_contract(answer: Any, cmms_asset_id: str) -> None:
    if not isinstance(answer, dict):
        raise _violation(f"the answer is {_shape(answer)}, expected an object")
    _check_status(answer)
    response = answer.get("response")
    if not isinstance(response, dict):
        raise _violation(f"response is {_shape(response)}, expected an object")
    data = response.get("data")
    if not isinstance(data, dict) or not data:
        raise _violation(f"response.data is {_shape(data)}, expected an object with the asset's fields")
    answered = data.get("serialnumber")
    if not isinstance(answered, (str, int)) or isinstance(answered, bool):
        raise _violation(
            f"response.data.serialnumber is {_shape(answered)}: whose answer this is, is unknown"
        )
    if normalise_id(str(answered)) != normalise_id(cmms_asset_id):
        raise _violation(
            f"asked for {cmms_asset_id!r}, the answer is for {str(answered)[:200]!r}",
            kind="the answer is for another asset",
        )


def _violation(message: str, *, kind: str | None = None) -> AnswerError:
    return AnswerError(ErrorClass.CONTRACT, message, kind=kind)


def _check_status(answer: Mapping[str, Any]) -> None:
    """Raise what an answer means that says, inside a good HTTP status, that it is none."""
    code = _read_code(answer.get("response_code"))
    is_refused = "status" in answer and not _is_true(answer["status"])
    has_good_code = code is None or code in GOOD_STATUSES
    # Without any of the vendor's own fields it is the word of a framework or a gateway.
    is_foreign = not answer.keys() & {"status", "response_code", "response"}
    if not is_refused and not is_foreign and has_good_code:
        return
    if isinstance(code, int) and not has_good_code and 100 <= code <= 599:
        raise _error_of_status(code, f"response_code {code}")
    words = " ".join(_words_of(answer))[:_MOST_WORDS].lower()
    if _TOKEN_WORDS.search(words):
        raise _token_refused("in words, inside an HTTP 200")
    for error_class, pattern in _VERDICTS:
        found = pattern.search(words)
        if found:
            raise AnswerError(error_class, f"Innomaint says {found[0]!r} inside an HTTP 200")
    if is_refused:
        raise _violation(f"the answer says status {str(answer['status'])[:20]!r}, expected true")
    if not has_good_code:
        shown = str(answer["response_code"])[:20]
        raise _violation(f"the answer says response_code {shown!r}, expected 200")


def _is_true(value: object) -> bool:
    return value is True or (
        isinstance(value, (int, Decimal, str))
        and (value == 1 or str(value).strip().lower() in _GOOD_WORDS)
        and value is not False
    )


def _read_code(value: object) -> int | str | None:
    """Return a code as a whole number where it is one, as its text else; None where there is none."""
    if value is None:
        return None
    text = str(value).strip()
    number = re.fullmatch(r"(\d{1,9})(\.0*)?", text, re.ASCII)
    return int(number[1]) if number else text


def _words_of(value: object) -> Iterator[str]:
    """Yield the texts of an answer that are not the asset's own."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, item in value.items():
            if name not in _ASSET_SECTIONS:
                yield from _words_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from _words_of(item)


def _shape(value: object) -> str:
    if value is None:
        return "null or absent"
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
        # Bounded by `read_document`: the integer ends.
        if value == value.to_integral_value():
            return int(value)
        # No cleaned text holds a NUL: the number 1.5 differs from the text "1.5".
        return f"\0{value.normalize(_EXACT)}"
    raise TypeError(f"{type(value).__name__} is no JSON value")
