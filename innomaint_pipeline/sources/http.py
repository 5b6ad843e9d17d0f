"""One HTTP session to a rate-limited source: pacing, attempts, deadline, size bound, bytes -> text.

Belongs here: everything about asking politely that does not depend on which source it is. What an answer
means is the source's to judge; the pacing arrives as a callable object (`domain.pacing.Pacing`).
"""

from __future__ import annotations

import asyncio
import codecs
import json
import logging
import random
import re
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import anyio.lowlevel
import httpx
from pydantic import SecretStr

from innomaint_pipeline.domain.documents import UnreadableDocumentError, UnstorableDocumentError, load_json
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
from innomaint_pipeline.sources.outcomes import Request, RequestFailure, RequestPolicy, RequestSuccess
from innomaint_pipeline.sources.route import DIRECT, ClosedRouteError, Route, RouteTransport, host_of

logger = logging.getLogger(__name__)

RATE_LIMIT_REPEATS = 5
_JITTER_SHARE = 0.1
_MEGABYTE = 1024 * 1024

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
                    content = await _read_bounded(head.aiter_raw(), limit)
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
            return _read_answer(head, content, limit)
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


# bodies: bytes -> text


async def _read_bounded(chunks: AsyncIterator[bytes], limit: int) -> bytes:
    """Return a body, of one that is too large little more than `limit` bytes."""
    content = bytearray()
    async for chunk in chunks:
        content += chunk
        if len(content) > limit:
            break
    return bytes(content)


def _read_answer(head: httpx.Response, content: bytes, limit: int) -> HttpAnswer:
    headers = _headers_of(head)
    try:
        text = _read_text(content, headers, limit)
    except AnswerError as error:
        return HttpAnswer(head.status_code, headers, unread=error)
    return HttpAnswer(head.status_code, headers, text)


def _read_text(content: bytes, headers: Mapping[str, str], limit: int) -> str:
    _check_size(content, limit)
    unknown: str | None = None
    for coding in reversed(headers.get("content-encoding", "").lower().split(",")):
        name = coding.strip()
        if name in _WINDOW_BITS:
            content = _unpack(content, name, limit)
            _check_size(content, limit)
        elif name in _FOREIGN_CODINGS:
            raise AnswerError(
                ErrorClass.TRANSIENT,
                f"the answer is compressed as {name}, which was not asked for and is not understood",
            )
        elif name not in {"", "identity"}:
            unknown = name
    text = _decode(content, headers.get("content-type", ""))
    # A character set, or nothing, where a compression belongs: what is JSON all the same needs none undone.
    if unknown is not None and not _is_json(text):
        raise AnswerError(
            ErrorClass.TRANSIENT, f"the answer's Content-Encoding {unknown[:40]!r} is not understood"
        )
    return text


def _check_size(content: bytes, limit: int) -> None:
    if len(content) > limit:
        raise AnswerError(ErrorClass.CONTRACT, f"the answer is larger than {limit / _MEGABYTE:g} MB")


def _is_json(text: str) -> bool:
    try:
        load_json(text, is_strict=False)
    except UnreadableDocumentError:
        return False
    except UnstorableDocumentError:
        return True
    return True


_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
_WINDOW_BITS = {
    "gzip": (_GZIP_OR_ZLIB,),
    "x-gzip": (_GZIP_OR_ZLIB,),
    "deflate": (_GZIP_OR_ZLIB, -zlib.MAX_WBITS),
}
_FOREIGN_CODINGS = frozenset({"br", "zstd", "compress", "x-compress", "dcb", "dcz", "exi", "pack200-gzip"})
_UNPACKED_AT_ONCE_BYTES = 4096


def _unpack(content: bytes, coding: str, limit: int) -> bytes:
    """Return what a compressed body holds, all its members; of more than `limit` bytes the first `limit` + 1.

    No answer is asked for compressed; a server in between may compress it all the same, and 64 kB of it may
    hold 64 MB.
    """
    for window_bits in _WINDOW_BITS[coding]:
        try:
            return _unpack_members(content, window_bits, limit)
        except zlib.error:
            continue
    raise AnswerError(ErrorClass.TRANSIENT, f"the answer's compression ({coding}) is broken")


def _unpack_members(content: bytes, window_bits: int, limit: int) -> bytes:
    plain = bytearray()
    position = 0
    is_complete = True
    unpacker = zlib.decompressobj(window_bits)
    while position < len(content):
        part = content[position : position + _UNPACKED_AT_ONCE_BYTES]
        plain += unpacker.decompress(part, limit + 1 - len(plain))
        if len(plain) > limit:
            return bytes(plain)
        position += len(part) - len(unpacker.unused_data)
        is_complete = unpacker.eof
        if is_complete:
            unpacker = zlib.decompressobj(window_bits)
            while content[position : position + 1] == b"\0":  # padding
                position += 1
    if not is_complete:
        raise zlib.error("cut off")
    return bytes(plain)


# Text encodings of Python that no server means by a charset.
_NO_CHARSETS = frozenset({"idna", "punycode", "raw-unicode-escape", "unicode-escape", "undefined", "utf-7"})
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([^\s;,\"']+)", re.IGNORECASE)


def _decode(content: bytes, content_type: str) -> str:
    # JSON is UTF-8 unless its first bytes or its header say otherwise.
    told = json.detect_encoding(content)
    declared = _CHARSET.search(content_type)
    encodings = (told,)
    if told == "utf-8" and declared is not None:
        encodings = _encodings_of(declared[1].lower())
    for encoding in encodings:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise AnswerError(ErrorClass.TRANSIENT, f"the answer is no {encodings[0].upper()} text")


@lru_cache(maxsize=64)
def _encodings_of(charset: str) -> tuple[str, ...]:
    """Return what to decode a body with that declares this charset and has no sign of UTF-16 or UTF-32."""
    try:
        name = codecs.lookup(charset).name
        if name in _NO_CHARSETS or name.startswith("utf"):
            return ("utf-8",)
        is_ascii_below = bytes(range(128)).decode(name, "replace") == bytes(range(128)).decode("ascii")
        is_byte_a_character = len(bytes(range(128, 256)).decode(name, "replace")) == 128
    except (LookupError, ValueError):
        return ("utf-8",)
    # In a charset of single bytes nobody writes what happens to be UTF-8; servers declare one by default.
    return ("utf-8", name) if is_ascii_below and is_byte_a_character else (name, "utf-8")
