"""One HTTP session to a rate-limited source: pacing, attempts, deadline, size bound, status -> error.

See docs/how-it-works.md.

Belongs here: everything about asking politely that does not depend on which source it is. The pacing arrives
as a callable object (`domain.pacing.Pacing`): nothing here knows where it is kept.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Self

import anyio
import anyio.lowlevel
import httpx
from pydantic import SecretStr

from innomaint_pipeline.domain.innomaint.answers import (
    ContractViolationError,
    UnreadableAnswerError,
    dump_json,
)
from innomaint_pipeline.domain.pacing import LONGEST_STOP_SECONDS, Pacing, Permit
from innomaint_pipeline.domain.states import ErrorClass
from innomaint_pipeline.errors import AuthError, BreakerOpenError, ConfigurationError
from innomaint_pipeline.redaction import redact, remember_secret
from innomaint_pipeline.sources.outcomes import Request, RequestFailure, RequestPolicy, RequestSuccess
from innomaint_pipeline.sources.route import DIRECT, Route, open_connection
from innomaint_pipeline.sources.unpacking import BrokenCompressionError, unpack

logger = logging.getLogger(__name__)

ANSWER_LIMIT_BYTES = 5 * 1024 * 1024
RATE_LIMIT_REPEATS = 5
_JITTER_SHARE = 0.1
_TRANSIENT_STATUSES = frozenset({408, 500, 502, 503, 504})
_OUR_REQUEST_STATUSES = frozenset({400, 405, 413, 422})


class _AttemptError(Exception):
    """One attempt failed; `retry_after_seconds` belongs to a 429."""

    def __init__(
        self,
        error_class: ErrorClass,
        message: str,
        http_status: int | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.error_class = error_class
        self.message = message
        self.http_status = http_status
        self.retry_after_seconds = retry_after_seconds


def parse_retry_after(value: str | None, *, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header asks for, 0 to 900; None when it names no time.

    `now` is the sender's clock. A date in the past asks for no particular time.
    """
    if value is None or not value.strip():
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), LONGEST_STOP_SECONDS)
    moment = _parse_date(text)
    if moment is None:
        return None
    seconds = (moment - now).total_seconds()
    return min(seconds, LONGEST_STOP_SECONDS) if seconds > 0 else None


def _parse_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _senders_now(answer: httpx.Response) -> datetime:
    # A date of Retry-After is meant by the clock that wrote it, which may be hours off from ours.
    return _parse_date(answer.headers.get("Date", "")) or datetime.now(UTC)


class HttpSession:
    """One client for one run; use it as an async context manager.

    Never follows a redirect, so that the token is never sent on; takes no proxy and no credentials from the
    environment.
    """

    def __init__(
        self,
        *,
        token: SecretStr,
        pacing: Pacing,
        policy: RequestPolicy,
        route: Route = DIRECT,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._pacing = pacing
        self._policy = policy
        self._sleep = sleep
        self._in_flight = asyncio.Semaphore(policy.max_in_flight)
        self._spare_starts = 0
        self._disturbances = 0
        secret = token.get_secret_value()
        if not secret or not all("!" <= character <= "~" for character in secret):
            # The HTTP library would name the header, value and all, in its own message.
            raise ConfigurationError(
                "the API token must be printable ASCII without spaces inside; it is not shown here"
            )
        remember_secret(secret)
        self._headers = httpx.Headers(
            {
                "Authorization": f"Bearer {secret}",
                "Content-Type": "application/json",
                "Accept": "*/*",
                "Accept-Encoding": "identity",
                "User-Agent": f"python-httpx/{httpx.__version__}",
            }
        )
        phases = ("connect", "read", "write", "pool")
        self._extensions = {"timeout": dict.fromkeys(phases, policy.timeout_seconds)}
        # A connection for each place in flight, without httpx's client around them, which looks at every
        # connection for every request.
        self._connections = [transport or open_connection(route) for _ in range(policy.max_in_flight)]
        self._idle_connections = list(self._connections)

    async def __aenter__(self) -> Self:
        # The client's network library loads its backend at its first use: now, not after a slot was granted.
        await anyio.lowlevel.checkpoint()
        return self

    async def __aexit__(self, *_: object) -> None:
        for connection in self._connections:
            await connection.aclose()

    async def post_each(
        self,
        url: str,
        requests: Iterable[Request],
        *,
        read: Callable[[str, str], Any],
        on_result: Callable[[str, RequestSuccess | RequestFailure], Awaitable[None]],
        is_bulk: bool,
    ) -> None:
        """Ask for every item, several at once, and hand each result over as soon as it is there.

        `read(text, item)` turns an answer's text into a value or raises `UnreadableAnswerError` (repeat) or
        `ContractViolationError` (do not). One item never stops another. What concerns everybody is raised:
        `AuthError` at once; `BreakerOpenError` when the requests under way have ended; whatever the pacing
        raises.
        """
        closed: BreakerOpenError | None = None
        address = httpx.URL(url)
        try:
            async with asyncio.TaskGroup() as group:
                for request in requests:
                    await self._in_flight.acquire()
                    try:
                        permit = await self._may_start(is_bulk=is_bulk)
                    except BreakerOpenError as error:
                        self._in_flight.release()
                        closed = error
                        break
                    except BaseException:
                        self._in_flight.release()
                        raise
                    first_attempt_ended = asyncio.Event()
                    group.create_task(
                        self._ask(address, request, read=read, on_result=on_result, ended=first_attempt_ended)
                    )
                    if permit.is_probe:
                        # Whether the source is back must be known before the next request.
                        await first_attempt_ended.wait()
                if is_bulk:
                    await self._pacing.end_bulk()
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        if closed is not None:
            raise closed

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
        self,
        url: httpx.URL,
        request: Request,
        *,
        read: Callable[[str, str], Any],
        on_result: Callable[[str, RequestSuccess | RequestFailure], Awaitable[None]],
        ended: asyncio.Event,
    ) -> None:
        """Finish an item whose first request may start now, on a place in flight that is taken already."""
        started_at = time.monotonic()
        count = refusals = 0
        while True:
            try:
                outcome = await self._attempt(url, request, read)
            finally:
                self._in_flight.release()
                ended.set()
            count += 1
            duration_ms = round((time.monotonic() - started_at) * 1000)
            if not isinstance(outcome, _AttemptError):
                await on_result(request.item, RequestSuccess(outcome[0], count, duration_ms))
                return
            failure = RequestFailure(
                outcome.error_class, outcome.message, outcome.http_status, count, duration_ms
            )
            is_refusal = outcome.error_class is ErrorClass.RATE_LIMITED
            refusals += is_refusal
            attempts = count - refusals
            is_over = refusals > RATE_LIMIT_REPEATS or attempts >= self._policy.max_attempts
            if is_over or not (is_refusal or outcome.error_class is ErrorClass.TRANSIENT):
                await on_result(request.item, failure)
                return
            if not is_refusal:
                wait = self._policy.retry_base_seconds * 2 ** (attempts - 1)
                await self._sleep(wait * (1 + random.uniform(0, _JITTER_SHARE)))  # noqa: S311 # spreads load only
            await self._in_flight.acquire()
            try:
                await self._may_start(is_bulk=False)
            except BreakerOpenError:
                self._in_flight.release()
                await on_result(request.item, failure)
                return
            except BaseException:
                self._in_flight.release()
                raise

    async def _attempt(
        self, url: httpx.URL, request: Request, read: Callable[[str, str], Any]
    ) -> tuple[Any] | _AttemptError:
        started_at = time.monotonic()
        try:
            value = _read(read, await self._answer_text(url, request.body), request.item)
        except _AttemptError as error:
            failure = error
        else:
            await self._pacing.succeeded()
            return (value,)
        if failure.error_class in {ErrorClass.RATE_LIMITED, ErrorClass.TRANSIENT}:
            self._spare_starts = 0
            self._disturbances += 1
        if failure.error_class is ErrorClass.RATE_LIMITED:
            await self._pacing.rate_limited(failure.retry_after_seconds, started_at=started_at)
        elif failure.error_class is ErrorClass.TRANSIENT:
            await self._pacing.failed(request.item)
        else:
            await self._pacing.succeeded()
        return failure

    async def _answer_text(self, url: httpx.URL, body: Mapping[str, Any]) -> str:
        request = httpx.Request(
            "POST", url, headers=self._headers, content=dump_json(body), extensions=self._extensions
        )
        connection = self._idle_connections.pop()
        try:
            # httpx's own timeouts restart with every byte; this one is wall-clock time for the whole attempt.
            async with asyncio.timeout(self._policy.timeout_seconds):
                answer = await connection.handle_async_request(request)
                try:
                    _raise_for_status(answer)
                    content = await _read_bounded(answer.aiter_raw())
                    return _decode(_unpack(content, answer.headers.get("Content-Encoding")))
                finally:
                    await answer.aclose()
        except TimeoutError:
            raise _AttemptError(
                ErrorClass.TRANSIENT, f"no complete answer within {self._policy.timeout_seconds:g} s"
            ) from None
        except httpx.TransportError as error:
            # The message of a transport error names host and cause, never headers.
            cause = redact(str(error)) or type(error).__name__
            raise _AttemptError(ErrorClass.TRANSIENT, f"no answer: {cause[:200]}") from None
        finally:
            self._idle_connections.append(connection)


def _read(read: Callable[[str, str], Any], text: str, item: str) -> Any:
    try:
        return read(text, item)
    except UnreadableAnswerError as error:
        raise _AttemptError(ErrorClass.TRANSIENT, str(error), 200) from None
    except ContractViolationError as error:
        raise _AttemptError(ErrorClass.CONTRACT, str(error), 200) from None
    except Exception as error:  # our own fault with this one answer must not stop the others
        logger.exception("reading the answer for %r failed", item)
        raise _AttemptError(
            ErrorClass.INTERNAL, f"reading the answer failed: {type(error).__name__}", 200
        ) from None


async def _read_bounded(chunks: AsyncIterator[bytes]) -> bytes:
    content = bytearray()
    async for chunk in chunks:
        content += chunk
        _check_size(content)
    return bytes(content)


def _unpack(content: bytes, encoding: str | None) -> bytes:
    if encoding is None:
        return content
    try:
        plain = unpack(content, encoding, ANSWER_LIMIT_BYTES)
    except BrokenCompressionError as error:
        raise _AttemptError(ErrorClass.TRANSIENT, str(error), 200) from None
    _check_size(plain)
    return plain


def _check_size(content: bytes | bytearray) -> None:
    if len(content) > ANSWER_LIMIT_BYTES:
        raise _AttemptError(
            ErrorClass.CONTRACT, f"the answer is larger than {ANSWER_LIMIT_BYTES // 1024 // 1024} MB", 200
        )


def _decode(content: bytes) -> str:
    if not content.strip():
        raise _AttemptError(ErrorClass.TRANSIENT, "the answer is empty", 200)
    try:
        # JSON is UTF-8 whatever the header claims; a byte order mark may stand before it.
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _AttemptError(ErrorClass.TRANSIENT, "the answer is no UTF-8 text", 200) from None


def _raise_for_status(answer: httpx.Response) -> None:
    status = answer.status_code
    if status == 200:
        return
    if status in {401, 403}:
        raise AuthError(
            f"Innomaint refused the token (HTTP {status}): renew INNOMAINT_API_TOKEN, in the environment or "
            "in .env, then start again. No asset was marked as failed"
        )
    if status == 429:
        wait = parse_retry_after(answer.headers.get("Retry-After"), now=_senders_now(answer))
        raise _AttemptError(ErrorClass.RATE_LIMITED, "too many requests (HTTP 429)", status, wait)
    if status == 404:
        raise _AttemptError(ErrorClass.NOT_FOUND, "not found in Innomaint (HTTP 404)", status)
    if status in _OUR_REQUEST_STATUSES:
        raise _AttemptError(
            ErrorClass.DATA, f"Innomaint refused the request for this asset (HTTP {status})", status
        )
    if 300 <= status < 400:
        raise _AttemptError(ErrorClass.CONTRACT, f"a redirect (HTTP {status}) was not followed", status)
    if status in _TRANSIENT_STATUSES or status >= 500:
        raise _AttemptError(ErrorClass.TRANSIENT, f"Innomaint failed (HTTP {status})", status)
    raise _AttemptError(ErrorClass.CONTRACT, f"unexpected HTTP {status}", status)
