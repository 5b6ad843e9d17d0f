"""What an answer of Maximo means: a page of rows, a refusal, an outage, a login page, a broken contract.

Belongs here: judging answers. Messages name codes and counts, never what an answer holds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any

from innomaint_pipeline.domain.documents import (
    DataIssue,
    Document,
    UnreadableDocumentError,
    UnstorableDocumentError,
    read_document,
)
from innomaint_pipeline.domain.http_answers import AnswerError, HttpAnswer, retry_after_seconds
from innomaint_pipeline.domain.maximo.questions import Question
from innomaint_pipeline.domain.maximo.structures import Structure
from innomaint_pipeline.domain.maximo.values import read_rowstamp
from innomaint_pipeline.domain.states import ErrorClass
from innomaint_pipeline.errors import AuthError, InnomaintPipelineError

LOGIN_PAGE = "a login page came instead of JSON"
"""The kind of an answer that is a login page, or a page of somebody in between: whoami tells which."""

# The key is invalid, expired or revoked; it lacks the right to sign in.
_KEY_CODES = frozenset({"BMXAA9549E", "BMXAA0021E", "BMXAA7901E"})
_RIGHT_CODES = frozenset({"BMXAA9301E", "BMXAA0024E"})
_NOT_FOUND_CODE = "BMXAA8727E"
_NOT_PARSED_CODE = "BMXAA8744E"
_MEMBER = re.compile(r"member\[(\d+)\]\.")
_ADVICE = (
    "look at MAXIMO_API_KEY: whether it is complete, not expired and not revoked; innomaint maximo key "
    "create makes one where login is native. No row was changed"
)


class Trouble(StrEnum):
    """Why a structure was not synced."""

    AUTH = "auth"
    DATA = "data"
    CONTRACT = "contract"
    NOT_FOUND = "not_found"
    RATE_LIMITED = "rate_limited"
    TRANSIENT = "transient"
    INTERNAL = "internal"


class StructureError(InnomaintPipelineError):
    """A structure cannot be read; the others are. `trouble` is its class."""

    def __init__(self, trouble: Trouble, message: str) -> None:
        super().__init__(message)
        self.trouble = trouble


@dataclass(frozen=True)
class Refusal:
    """An answer that says no to the question; `code` is Maximo's."""

    trouble: Trouble
    code: str | None
    message: str
    http_status: int

    def to_error(self) -> StructureError:
        """Return what is raised where nothing else helps."""
        return StructureError(self.trouble, self.message)


@dataclass(frozen=True)
class Page:
    """A page: its rows as they came, whether more are announced, and what its head says.

    `issues` are the values that were left out of rows, since no database can hold them.
    """

    rows: tuple[dict[str, Any], ...]
    has_next: bool = False
    total: int | None = None
    maxrowstamp: int | None = None
    date: datetime | None = None
    issues: tuple[DataIssue, ...] = ()

    def wrong_rows(self) -> dict[int, str]:
        """Return the rows, by their place, that hold a value that no database can, each with why."""
        found: dict[int, str] = {}
        for issue in self.issues:
            place = _MEMBER.match(issue.field)
            if place is not None and int(place[1]) not in found:
                found[int(place[1])] = f"{issue.field[place.end() :]}: {issue.reason}"
        return found


def read_date(headers: Mapping[str, str]) -> datetime | None:
    """Return the moment at which the server answered, by its own clock."""
    try:
        return parsedate_to_datetime(headers.get("date", "")).astimezone(UTC)
    except (TypeError, ValueError):
        return None


def refuse_key(detail: str) -> AuthError:
    """Return the error that stops Maximo as a whole."""
    return AuthError(f"Maximo refuses the key ({detail}): {_ADVICE}")


def judge_json(
    answer: HttpAnswer, *, now: datetime, redact: Callable[[str], str] = str
) -> Document | Refusal:
    """Return the JSON of a good answer, cleaned, or a `Refusal`.

    Raises `AuthError` where the key is refused, `AnswerError` for what may pass, and for a login page with
    the kind `LOGIN_PAGE`.
    """
    if 300 <= answer.status < 400:
        raise AnswerError(
            ErrorClass.TRANSIENT, f"HTTP {answer.status} sends to another page", kind=LOGIN_PAGE
        )
    document = _read(answer, redact)
    value = document.value
    error = value.get("Error", value.get("oslc:Error")) if isinstance(value, dict) else None
    if isinstance(error, dict):
        return _refuse(answer, _text(error, "reasonCode"), _status(answer, error), now)
    if answer.status >= 400:
        return _refuse(answer, None, answer.status, now)
    return document


def _read(answer: HttpAnswer, redact: Callable[[str], str]) -> Document:
    is_good = answer.status < 400
    text = answer.text if not is_good else answer.require_text()
    try:
        return read_document(text, redact, keeps_rest=True)
    except UnreadableDocumentError as error:
        if answer.status in {401, 408, 429} or answer.status >= 500:
            return Document(None, "")
        if text.lstrip()[:1] == "<":
            if is_good:
                raise AnswerError(
                    ErrorClass.TRANSIENT, f"HTTP {answer.status} with a page of HTML", kind=LOGIN_PAGE
                ) from None
            raise AnswerError(
                ErrorClass.TRANSIENT,
                f"HTTP {answer.status} with a page of HTML, which is not from Maximo's API: somebody in "
                "between, or MAXIMO_BASE_URL leads elsewhere",
            ) from None
        if not is_good:
            return Document(None, "")
        raise AnswerError(ErrorClass.TRANSIENT, str(error)) from None
    except UnstorableDocumentError as error:
        raise AnswerError(ErrorClass.TRANSIENT, str(error)) from None


def _text(error: Mapping[str, Any], name: str) -> str | None:
    found = error.get(name, error.get(f"oslc:{name}", error.get(f"spi:{name}")))
    return str(found) if found is not None else None


def _status(answer: HttpAnswer, error: Mapping[str, Any]) -> int:
    if answer.status >= 400:
        return answer.status
    text = _text(error, "statusCode") or ""
    return int(text) if text.isdecimal() and 400 <= int(text) <= 599 else 400


def _refuse(answer: HttpAnswer, code: str | None, status: int, now: datetime) -> Refusal:
    shown = f"{code}, HTTP {answer.status}" if code else f"HTTP {answer.status}"
    if status == 401 or code in _KEY_CODES:
        raise refuse_key(shown)
    if code == _NOT_FOUND_CODE:
        return Refusal(Trouble.NOT_FOUND, code, f"Maximo does not hold it ({shown})", status)
    if code in _RIGHT_CODES or (code is None and status in {403, 404}) or status in {403, 404}:
        return Refusal(
            Trouble.AUTH,
            code,
            f"the key's user may not read it, or it is not there ({shown}): give its group the right READ on "
            "the object structure, or look at MAXIMO_API_ROUTE",
            status,
        )
    if code == _NOT_PARSED_CODE:
        return Refusal(Trouble.CONTRACT, code, f"Maximo cannot parse the query ({shown})", status)
    if status == 429:
        wait = retry_after_seconds(answer.headers, now=now)
        raise AnswerError(ErrorClass.RATE_LIMITED, "asked too often (429)", retry_after_seconds=wait)
    if status == 408 or status >= 500:
        wait = retry_after_seconds(answer.headers, now=now)
        raise AnswerError(ErrorClass.TRANSIENT, f"Maximo fails ({shown})", retry_after_seconds=wait)
    return Refusal(Trouble.DATA, code, f"Maximo refuses the query ({shown})", status)


def read_page(answer: HttpAnswer, document: Document) -> Page:
    """Return the page that the JSON of a good answer is; raises `StructureError` where it is none."""
    value = document.value
    members = value.get("member") if isinstance(value, dict) else None
    if not isinstance(members, list):
        names = value if isinstance(value, dict) else ()
        why = (
            "names come with prefixes, as if lean=1 were ignored"
            if any(":" in item for item in names)
            else ""
        )
        raise StructureError(
            Trouble.CONTRACT, f"the answer has no member{f': {why}' if why else ''}; is it Maximo's REST API?"
        )
    rows = tuple(item for item in members if isinstance(item, dict))
    if len(rows) != len(members):
        raise StructureError(Trouble.CONTRACT, "a row of the answer is no object")
    info = value.get("responseInfo")
    info = info if isinstance(info, dict) else {}
    return Page(
        rows,
        has_next=bool(info.get("nextPage")),
        total=read_total(value),
        maxrowstamp=read_rowstamp(answer.headers.get("maxrowstamp")),
        date=read_date(answer.headers),
        issues=document.issues,
    )


def read_total(value: Any) -> int | None:
    """Return how many rows the server says it holds, from an answer to a count or the first page."""
    if not isinstance(value, dict):
        return None
    info = value.get("responseInfo")
    found = value.get("totalCount", info.get("totalCount") if isinstance(info, dict) else None)
    return found if isinstance(found, int) and not isinstance(found, bool) and found >= 0 else None


def check_rows(question: Question, page: Page, *, last: int | None) -> list[int]:
    """Return the ids of a page's rows; raises `StructureError` unless each is what was asked for.

    Ids ascend above `last`, and the site is the one asked for: a server that ignores order or filter would
    else repeat and skip rows unseen.
    """
    structure = question.structure
    ids: list[int] = []
    for row in page.rows:
        identifier = row.get(structure.id)
        if isinstance(identifier, bool) or not isinstance(identifier, int):
            prefixed = any(name.endswith(f":{structure.id}") for name in row)
            why = "names come with prefixes, as if lean=1 were ignored" if prefixed else "it is missing"
            raise StructureError(Trouble.CONTRACT, f"a row has no number {structure.id}: {why}")
        before = ids[-1] if ids else last
        if before is not None and identifier <= before:
            raise StructureError(
                Trouble.CONTRACT,
                f"{structure.id} {identifier} came after {before}: the server ignores the order or the "
                "filter by id",
            )
        if question.site is not None and row.get("siteid") != question.site:
            raise StructureError(
                Trouble.CONTRACT, f"a row of another site than {question.site} came: the filter is ignored"
            )
        ids.append(identifier)
    return ids


def ignores_status(structure: Structure, page: Page) -> bool:
    """Tell whether a page of a full read shows that the server does not know internal values of a status."""
    scope = structure.status
    if scope is None:
        return False
    return any(
        not isinstance(row.get("status_maxvalue"), str) or not scope.includes(row["status_maxvalue"])
        for row in page.rows
    )
