"""One HTTP session to a rate-limited source: pacing, attempts, deadline.

Belongs here: everything about asking politely that does not depend on which source it is. What an answer
means is the source's to judge, the text of its bytes `sources.bodies`'s; the pacing arrives as a callable
object (`domain.pacing.Pacing`).
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import anyio.lowlevel
import httpx
from pydantic import SecretStr

from innomaint_pipeline.domain.http_answers import GOOD_STATUSES, ROUTE_STATUSES, AnswerError, HttpAnswer
from innomaint_pipeline.domain.pacing import Pacing, Permit
from innomaint_pipeline.domain.states import ErrorClass
from innomaint_pipeline.errors import (
    BreakerOpenError,
    ConfigurationError,
    RouteError,
    SourceRefusedError,
)
from innomaint_pipeline.redaction import redact, remember_secret
from innomaint_pipeline.sources.bodies import read_answer, read_bounded
from innomaint_pipeline.sources.outcomes import Request, RequestFailure, RequestPolicy, RequestSuccess
from innomaint_pipeline.sources.route import DIRECT, ClosedRouteError, Route, RouteTransport, host_of

logger = logging.getLogger(__name__)

RATE_LIMIT_REPEATS = 5
_JITTER_SHARE = 0.1

Judge = Callable[[HttpAnswer, str], Any]
"""Turns the answer for an item into a value, or raises.

`AnswerError` concerns this item; an error that stops everybody is a `SourceRefusedError`.
"""
OnResult = Callable[[str, RequestSuccess | RequestFailure], Awaitable[None]]


@dataclass(frozen=True)
class RouteAdvice:
    """What a person can do about a certificate that is not trusted, or a proxy: sentences of the source."""

    certificate: str
    proxy: str


@dataclass(frozen=True)
class _Failure:
    """One attempt that failed; `closed` where the way was, `http_status` where the host answered."""

    error: AnswerError
    http_status: int | None = None
    closed: ClosedRouteError | None = None
    also_transient: tuple[str, ...] = ()
    is_final: bool = False

    @property
    def is_refusal(self) -> bool:
        return self.error.error_class is ErrorClass.RATE_LIMITED

    @property
    def is_repeatable(self) -> bool:
        return not self.is_final and self.error.error_class in {
            ErrorClass.RATE_LIMITED,
            ErrorClass.TRANSIENT,
        }


class HttpSession:
    """One client for one run; use it as an async context manager.

    `headers` go with every request. Never follows a redirect, so that a secret is never sent on; takes no
    cookies, no proxy and no credentials from anywhere but its arguments.
    """

    def __init__(
        self,
        *,
        headers: Mapping[str, str | SecretStr],
        pacing: Pacing,
        policy: RequestPolicy,
        advice: RouteAdvice,
        route: Route = DIRECT,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._pacing = pacing
        self._policy = policy
        self._advice = advice
        self._via = f" through the proxy {route.proxy}" if route.proxy else ""
        self._sleep = sleep
        self._in_flight = asyncio.Semaphore(policy.max_in_flight)
        self._spare_starts = 0
        self._disturbances = 0
        self._headers = {
            "Accept-Encoding": "identity",
            "Connection": "close",
            "User-Agent": f"python-httpx/{httpx.__version__}",
            **headers,
        }
        self._extensions = {"timeout": {"connect": policy.timeout_seconds}}
        self._transport = transport or RouteTransport(route, most_connections=policy.max_in_flight)

    async def __aenter__(self) -> Self:
        # The client's network library loads its backend at its first use: now, not after a slot was granted.
        await anyio.lowlevel.checkpoint()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._transport.aclose()

    async def ask_each(
        self, requests: Iterable[Request], *, judge: Judge, on_result: OnResult, is_bulk: bool
    ) -> None:
        """Ask for every item, several at once, and hand each result over as soon as it is there.

        One item never stops another. What concerns everybody is raised: a refused token or a closed way at
        once; `BreakerOpenError` when the requests under way have ended; whatever the pacing raises.
        """
        stopped: BreakerOpenError | None = None
        try:
            async with asyncio.TaskGroup() as group:
                for request in requests:
                    await self._in_flight.acquire()
                    try:
                        permit = await self._may_start(is_bulk=is_bulk)
                    except BreakerOpenError as error:
                        self._in_flight.release()
                        stopped = error
                        break
                    except BaseException:
                        self._in_flight.release()
                        raise
                    first_attempt_ended = asyncio.Event()
                    group.create_task(
                        self._ask(request, judge=judge, on_result=on_result, ended=first_attempt_ended)
                    )
                    if permit.is_probe:
                        # Whether the source is back must be known before the next request.
                        await first_attempt_ended.wait()
                if is_bulk:
                    await self._pacing.end_bulk()
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        if stopped is not None:
            raise stopped

    async def _may_start(self, *, is_bulk: bool) -> Permit:
        if self._spare_starts > 0:
            self._spare_starts -= 1
            return Permit()
        before = self._disturbances
        permit = await self._pacing.start(is_bulk=is_bulk)
        # Starts granted before a refusal or failure came in are not used after it.
        self._spare_starts = permit.starts - 1 if before == self._disturbances else 0
        return permit

    async def _ask(
        self, request: Request, *, judge: Judge, on_result: OnResult, ended: asyncio.Event
    ) -> None:
        """Finish an item whose first request may start now, on a place in flight that is taken already."""
        started_at = time.monotonic()
        count = refusals = 0
        while True:
            try:
                outcome = await self._attempt(request, judge)
            finally:
                self._in_flight.release()
                ended.set()
            count += 1
            duration_ms = round((time.monotonic() - started_at) * 1000)
            if not isinstance(outcome, _Failure):
                await on_result(request.item, RequestSuccess(outcome[0], count, duration_ms))
                return
            refusals += outcome.is_refusal
            attempts = count - refusals
            is_over = refusals > RATE_LIMIT_REPEATS or attempts >= self._policy.max_attempts
            if not is_over and outcome.is_repeatable:
                if not outcome.is_refusal:
                    wait = self._policy.retry_base_seconds * 2 ** (attempts - 1)
                    await self._sleep(wait * (1 + random.uniform(0, _JITTER_SHARE)))  # noqa: S311 # spreads load
                await self._in_flight.acquire()
                try:
                    await self._may_start(is_bulk=False)
                    continue
                except BreakerOpenError:
                    self._in_flight.release()
                except BaseException:
                    self._in_flight.release()
                    raise
            if outcome.closed is not None:
                raise self._closed(outcome.closed)
            failure = RequestFailure(
                outcome.error.error_class,
                str(outcome.error),
                outcome.http_status,
                count,
                duration_ms,
                outcome.also_transient,
            )
            await on_result(request.item, failure)
            return

    def _closed(self, error: ClosedRouteError) -> RouteError:
        advice = self._advice.proxy if error.is_proxy else self._advice.certificate
        return RouteError(f"{redact(str(error))}: {advice}")

    def _closed_by_answer(self, request: Request, status: int) -> ClosedRouteError:
        wish = "a payment" if status == 402 else "a login"
        return ClosedRouteError(
            f"somebody on the way to {host_of(_parse_url(request.url))}{self._via} asks for {wish} "
            f"(HTTP {status})",
            is_proxy=True,
        )

    async def _attempt(self, request: Request, judge: Judge) -> tuple[Any] | _Failure:
        started_at = time.monotonic()
        status: int | None = None
        try:
            answer = await self._exchange(request)
            status = answer.status
            if status in ROUTE_STATUSES:
                raise self._closed_by_answer(request, status)
            value = judge(answer, request.item)
        except AnswerError as error:
            return await self._report(request.item, _Failure(error, status), started_at)
        except SourceRefusedError:
            raise
        except ClosedRouteError as error:
            if not error.is_passing:
                raise self._closed(error) from None
            return _Failure(AnswerError(ErrorClass.TRANSIENT, str(error)), closed=error)
        except Exception as error:  # our own fault with this one answer must not stop the others
            logger.exception("reading the answer for %r failed", request.item)
            message = f"reading the answer failed: {type(error).__name__}"
            return await self._report(
                request.item, _Failure(AnswerError(ErrorClass.INTERNAL, message), status), started_at
            )
        await self._pacing.succeeded()
        return (value,)

    async def _report(self, item: str, failure: _Failure, started_at: float) -> _Failure:
        """Tell the pacing of a failure, and return what it makes of it."""
        error = failure.error
        is_disturbing = error.error_class in {ErrorClass.RATE_LIMITED, ErrorClass.TRANSIENT}
        if error.error_class is ErrorClass.CONTRACT:
            fellows = await self._pacing.broke_contract(item, error.kind)
            if fellows is not None:
                is_disturbing = True
                error = AnswerError(ErrorClass.TRANSIENT, str(error))
                failure = _Failure(error, failure.http_status, also_transient=fellows, is_final=True)
        elif error.error_class is ErrorClass.TRANSIENT:
            await self._pacing.failed(item)
        elif error.error_class is not ErrorClass.RATE_LIMITED:
            await self._pacing.succeeded()
        if is_disturbing:
            self._spare_starts = 0
            self._disturbances += 1
        if failure.is_refusal or error.retry_after_seconds is not None:
            await self._pacing.rate_limited(error.retry_after_seconds, started_at=started_at)
        return failure

    async def _exchange(self, request: Request) -> HttpAnswer:
        """Send a request and return the whole answer.

        Raises `AnswerError` when there is none, and `ClosedRouteError`.
        """
        head: httpx.Response | None = None
        limit = self._policy.answer_limit_bytes
        try:
            # httpx's own timeouts restart with every byte; this one is wall-clock time for the whole attempt.
            async with asyncio.timeout(self._policy.timeout_seconds):
                head = await self._transport.handle_async_request(self._build(request))
                try:
                    content = await read_bounded(head.aiter_raw(), limit)
                finally:
                    await head.aclose()
        except ClosedRouteError:
            raise
        except TimeoutError:
            seconds = f"{self._policy.timeout_seconds:g}"
            error = AnswerError(ErrorClass.TRANSIENT, f"no complete answer within {seconds} s{self._via}")
        except Exception as cause:  # noqa: BLE001 # no error of a library may leave an attempt unclassified
            # These messages name host and cause, never headers.
            text = redact(str(cause)) or type(cause).__name__
            error = AnswerError(ErrorClass.TRANSIENT, f"no answer{self._via}: {text[:200]}")
        else:
            return read_answer(head.status_code, _headers_of(head), content, limit)
        if head is None or head.status_code in GOOD_STATUSES:
            raise error
        # Of a refusal the head says enough.
        return HttpAnswer(head.status_code, _headers_of(head), unread=error)

    def _build(self, request: Request) -> httpx.Request:
        headers = {
            name: value.get_secret_value() if isinstance(value, SecretStr) else value
            for name, value in {**self._headers, **request.headers}.items()
        }
        return httpx.Request(
            request.method,
            _parse_url(request.url),
            headers=headers,
            content=request.body,
            extensions=self._extensions,
        )


def secret_header(secret: SecretStr, *, scheme: str = "") -> SecretStr:
    """Return the value of a header that holds a secret, and keep the secret out of every later text.

    Raises `ConfigurationError` where no header can hold it, without showing it.
    """
    value = secret.get_secret_value()
    if not value or not all("!" <= character <= "~" for character in value):
        # The HTTP library would name the header, value and all, in its own message.
        raise ConfigurationError(
            "the API token must be printable ASCII without spaces inside; it is not shown here"
        )
    remember_secret(value)
    return SecretStr(f"{scheme} {value}".lstrip())


@lru_cache(maxsize=64)
def _parse_url(url: str) -> httpx.URL:
    return httpx.URL(url)


def _headers_of(head: httpx.Response) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in head.headers.multi_items():
        lowered = name.lower()
        found[lowered] = f"{found[lowered]}, {value}" if lowered in found else value
    return found
