"""Maximo's REST API: pages of object structures, counts, and the key's own user.

Belongs here: how a question is sent, and what is asked again: a page that fails at half its size, a moment
without its offset, a login page by asking who we are. What an answer means is `domain.maximo.answers`.

The key travels in its header alone. No cookie is sent, no redirect followed, no address of an answer used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Self
from urllib.parse import quote, urlencode

import httpx
from pydantic import SecretStr

from innomaint_pipeline.domain.documents import Document
from innomaint_pipeline.domain.http_answers import AnswerError, HttpAnswer
from innomaint_pipeline.domain.maximo.answers import (
    LOGIN_PAGE,
    Page,
    Refusal,
    StructureError,
    Trouble,
    judge_json,
    read_page,
    read_total,
    refuse_key,
)
from innomaint_pipeline.domain.maximo.questions import (
    SMALLEST_PAGE,
    Parameters,
    Question,
    any_parameters,
    count_parameters,
    page_parameters,
)
from innomaint_pipeline.domain.pacing import Pacing
from innomaint_pipeline.domain.states import ErrorClass
from innomaint_pipeline.redaction import redactor_of
from innomaint_pipeline.sources.http import HttpSession, RouteAdvice, secret_header
from innomaint_pipeline.sources.outcomes import Request, RequestFailure, RequestPolicy, RequestSuccess
from innomaint_pipeline.sources.route import DIRECT, Route

_ADVICE = RouteAdvice(
    certificate="where a company's own authority has signed it, INNOMAINT_CA_FILE takes that authority's "
    "certificate as a file in PEM form. No row was changed",
    proxy="look at INNOMAINT_PROXY_URL (where it is not set: HTTPS_PROXY and NO_PROXY), its address, user "
    "and password, then start again. No row was changed",
)
_TROUBLES = {
    ErrorClass.TRANSIENT: Trouble.TRANSIENT,
    ErrorClass.RATE_LIMITED: Trouble.RATE_LIMITED,
    ErrorClass.INTERNAL: Trouble.INTERNAL,
    ErrorClass.CONTRACT: Trouble.TRANSIENT,
}

BuildParameters = Callable[[Question], Parameters]


@dataclass(frozen=True)
class Answered:
    """A page, the question that was answered, the size at which it was, and that of the next page."""

    page: Page
    question: Question
    asked_size: int
    size: int


class MaximoClient:
    """Asks one Maximo, at the pace that `pacing` allows; use it as an async context manager.

    `policy.max_attempts` counts requests of the same size. Raises `AuthError` and `RouteError`, which
    concern all structures, `BreakerOpenError`, and `StructureError`.
    """

    def __init__(
        self,
        base_url: str,
        key: SecretStr,
        pacing: Pacing,
        policy: RequestPolicy,
        *,
        api_route: str = "api",
        route: Route = DIRECT,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._base = f"{base_url.rstrip('/')}/{api_route}"
        self._redact = redactor_of(key.get_secret_value())
        self._policy = policy
        self._sleep = sleep
        self._numbers = 0
        self._session = HttpSession(
            headers={"apikey": secret_header(key), "Accept": "application/json"},
            pacing=pacing,
            # A page that fails is asked for at another size, which makes another request of it.
            policy=replace(policy, max_attempts=1),
            advice=_ADVICE,
            route=route,
            transport=transport,
            sleep=sleep,
        )

    async def __aenter__(self) -> Self:
        await self._session.__aenter__()
        return self

    async def __aexit__(self, *details: object) -> None:
        await self._session.__aexit__(*details)

    async def fetch_page(
        self,
        question: Question,
        *,
        last: int | None,
        size: int,
        is_first: bool,
        without_offset: Callable[[Question], Question] | None = None,
    ) -> Answered:
        """Ask for the page behind the id `last`, at ever smaller sizes where it fails.

        A refusal of a question with a moment is answered by `without_offset`, the same question with moments
        that have none; only then is the size taken for the cause.
        """
        failures = 0
        refused = 0
        given, plain = question, without_offset
        while True:
            parameters = page_parameters(question, last=last, size=size, is_first=is_first)
            found = await self._ask(question.structure.name, parameters)
            if isinstance(found, Page):
                return Answered(found, question, size, max(SMALLEST_PAGE, refused // 2) if refused else size)
            if isinstance(found, Refusal):
                if plain is not None and question.has_dates and _is_of_query(found):
                    question, plain = plain(question), None
                    continue
                if found.trouble is not Trouble.DATA or refused or size <= SMALLEST_PAGE:
                    raise found.to_error()
                refused, size = size, SMALLEST_PAGE
                # It was not the moments alone.
                question, plain = given, without_offset
                continue
            if found.trouble is Trouble.RATE_LIMITED:
                raise found
            failures += 1
            if size <= SMALLEST_PAGE and failures >= self._policy.max_attempts:
                raise found
            wait = self._policy.retry_base_seconds * 2 ** min(failures - 1, 4)
            if size > SMALLEST_PAGE:
                size = max(SMALLEST_PAGE, size // 2)
                failures = 0 if size == SMALLEST_PAGE else failures
            await self._sleep(wait)

    async def fetch_any(self, question: Question) -> Page:
        """Ask for a few rows whatever their status."""
        return await self._insist_on_page(question.structure.name, any_parameters(question))

    async def count(self, question: Question, *, with_status: bool = True) -> int | None:
        """Return how many rows the server counts; None where it does not count."""
        parameters = count_parameters(question, with_status=with_status)
        found = await self._insist(f"os/{question.structure.name}", parameters)
        return read_total(found.value)

    async def whoami(self) -> dict[str, Any]:
        """Return what the server says of the key's own user."""
        found = (await self._insist("whoami", [("lean", "1")])).value
        return found if isinstance(found, dict) else {}

    async def ask_raw(self, path: str, parameters: Parameters) -> tuple[Any, HttpAnswer | None]:
        """Return what one request brings, a `Refusal` included, with the answer's head: for `probe`."""
        kept: list[HttpAnswer] = []
        found = await self._send(path, parameters, kept)
        if isinstance(found, StructureError):
            raise found
        return found.value if isinstance(found, Document) else found, kept[-1] if kept else None

    async def revoke_key(self) -> None:
        """End the key in use."""
        found = await self._send("apitoken/revoke", [], [], method="POST", base=self._oslc)
        if isinstance(found, StructureError):
            raise found
        if isinstance(found, Refusal):
            raise found.to_error()

    @property
    def _oslc(self) -> str:
        return self._base.rpartition("/")[0] + "/oslc"

    async def _ask(self, name: str, parameters: Parameters) -> Page | Refusal | StructureError:
        kept: list[HttpAnswer] = []
        found = await self._send(f"os/{name}", parameters, kept)
        if isinstance(found, (Refusal, StructureError)):
            return found
        return read_page(kept[-1], found)

    async def _insist_on_page(self, name: str, parameters: Parameters) -> Page:
        failures = 0
        while True:
            found = await self._ask(name, parameters)
            if isinstance(found, Page):
                return found
            failures = await self._wait_or_raise(found, failures)

    async def _insist(self, path: str, parameters: Parameters) -> Document:
        failures = 0
        while True:
            found = await self._send(path, parameters, [])
            if not isinstance(found, (Refusal, StructureError)):
                return found
            failures = await self._wait_or_raise(found, failures)

    async def _wait_or_raise(self, found: Refusal | StructureError, failures: int) -> int:
        if isinstance(found, Refusal):
            raise found.to_error()
        if failures + 1 >= self._policy.max_attempts or found.trouble is not Trouble.TRANSIENT:
            raise found
        await self._sleep(self._policy.retry_base_seconds * 2**failures)
        return failures + 1

    async def _send(
        self,
        path: str,
        parameters: Parameters,
        kept: list[HttpAnswer],
        *,
        method: str = "GET",
        base: str | None = None,
    ) -> Document | Refusal | StructureError:
        """Send one request; return its JSON, a `Refusal`, or the `StructureError` of what may pass."""
        self._numbers += 1
        login_pages: list[AnswerError] = []
        results: list[RequestSuccess | RequestFailure] = []

        def judge(answer: HttpAnswer, _: str) -> Any:
            kept.append(answer)
            try:
                return judge_json(answer, now=datetime.now(UTC), redact=self._redact)
            except AnswerError as error:
                if error.kind == LOGIN_PAGE:
                    login_pages.append(error)
                raise

        async def keep(_: str, result: RequestSuccess | RequestFailure) -> None:
            results.append(result)

        query = urlencode(parameters, quote_via=quote)
        # Each request is an item of its own, so that failures in a row count whatever page they are of.
        request = Request(f"{path} {self._numbers}", f"{base or self._base}/{path}?{query}", method)
        await self._session.ask_each([request], judge=judge, on_result=keep, is_bulk=False)
        (result,) = results
        if isinstance(result, RequestSuccess):
            return result.value
        if login_pages and path != "whoami":
            await self._tell_login_page(str(login_pages[0]))
        elif login_pages:
            raise refuse_key(f"{LOGIN_PAGE}: {login_pages[0]}")
        return StructureError(_TROUBLES.get(result.error_class, Trouble.DATA), result.message)

    async def _tell_login_page(self, sign: str) -> None:
        """Raise `AuthError` unless the server knows who we are: then the page was an outage."""
        found = await self._send("whoami", [("lean", "1")], [])
        if isinstance(found, Document) and not isinstance(found.value, dict):
            raise refuse_key(f"{LOGIN_PAGE}: {sign}")


def _is_of_query(refusal: Refusal) -> bool:
    """Tell a refusal of the query itself, neither of the key nor of a right."""
    return refusal.http_status == 400 and refusal.trouble in {Trouble.DATA, Trouble.CONTRACT}
