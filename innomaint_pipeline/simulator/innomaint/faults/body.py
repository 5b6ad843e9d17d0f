"""Faults of the body: a 200 that ends, whose bytes are no readable JSON, or are far too many or too deep.

Belongs here: what the client's reading and decoding must survive. Readable JSON with wrong content is
`contract`.
"""

import asyncio
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from innomaint_pipeline.simulator.innomaint.exchange import JSON_TYPE, Exchange, encode_json
from innomaint_pipeline.simulator.innomaint.faults.base import AlteredAnswer, Fault, register, require

_CHUNK_BYTES = 65_536
_MARK = "@@filling@@"
_HTML = (
    "<!DOCTYPE html><html><head><title>Maintenance</title></head><body>We will be back shortly.</body></html>"
)


@register
@dataclass(frozen=True, slots=True)
class Truncated(AlteredAnswer):
    """JSON that ends too early, after `share` of its bytes.

    Content-Length is that of the part, so that HTTP sees nothing wrong; with `is_length_too_large` it is that
    of the whole, and the connection is closed early.
    """

    kind: ClassVar[str] = "truncated"
    share: float = 0.5
    is_length_too_large: bool = False

    def __post_init__(self) -> None:
        require(self, is_met=0 <= self.share < 1, expectation="the share lies from 0 to below 1")

    async def _send(self, exchange: Exchange, body: bytes) -> None:
        part = body[: int(len(body) * self.share)]
        if not self.is_length_too_large:
            await exchange.reply(200, part)
            return
        await exchange.start(200, length=len(body))
        await exchange.write(part)
        await exchange.close()


@register
@dataclass(frozen=True, slots=True)
class Html(Fault):
    """An HTML page with 200, as proxies and maintenance pages send it."""

    kind: ClassVar[str] = "html"
    body: str = _HTML

    async def play(self, exchange: Exchange) -> None:
        """Send the page."""
        await exchange.reply(200, self.body.encode(), content_type="text/html; charset=utf-8")


@register
@dataclass(frozen=True, slots=True)
class EmptyBody(Fault):
    """A 200 with nothing in it."""

    kind: ClassVar[str] = "empty_body"

    async def play(self, exchange: Exchange) -> None:
        """Send nothing."""
        await exchange.reply(200, b"")


@register
@dataclass(frozen=True, slots=True)
class ByteOrderMark(AlteredAnswer):
    """The honest answer in UTF-8 behind a byte order mark."""

    kind: ClassVar[str] = "byte_order_mark"

    def _encode(self, value: Any) -> bytes:
        return b"\xef\xbb\xbf" + encode_json(value)


@register
@dataclass(frozen=True, slots=True)
class WrongCharset(AlteredAnswer):
    """The answer in the encoding `actual` while Content-Type claims `declared`; it holds an "é"."""

    kind: ClassVar[str] = "wrong_charset"
    declared: str = "utf-8"
    actual: str = "latin-1"

    def _alter(self, answer: dict[str, Any], exchange: Exchange) -> Any:
        del exchange
        answer["response"]["data"]["in_charge_person"] = "Société Pompière"
        return answer

    def _encode(self, value: Any) -> bytes:
        return encode_json(value).decode().encode(self.actual, errors="replace")

    async def _send(self, exchange: Exchange, body: bytes) -> None:
        await exchange.reply(200, body, content_type=f"{JSON_TYPE}; charset={self.declared}")


@dataclass(frozen=True, slots=True)
class _FilledAnswer(AlteredAnswer):
    """The honest answer with one more field in `data`, whose value is too long to be built in one piece."""

    def _alter(self, answer: dict[str, Any], exchange: Exchange) -> Any:
        del exchange
        answer["response"]["data"]["simulator_filling"] = _MARK
        return answer


@register
@dataclass(frozen=True, slots=True)
class HugeBody(_FilledAnswer):
    """Valid JSON of exactly `size_bytes`, or of the honest answer's size if that is more."""

    kind: ClassVar[str] = "huge_body"
    size_bytes: int = 6_000_000

    async def _send(self, exchange: Exchange, body: bytes) -> None:
        size = max(self.size_bytes, len(body) - len(_MARK))
        await exchange.start(200, length=size)
        for chunk in _fill(body, size):
            await exchange.write(chunk)
        await exchange.write(b"", more=False)


@register
@dataclass(frozen=True, slots=True)
class GzipBomb(_FilledAnswer):
    """Valid JSON of `size_bytes` once decompressed, a thousandth of it on the way."""

    kind: ClassVar[str] = "gzip_bomb"
    size_bytes: int = 50_000_000

    async def _send(self, exchange: Exchange, body: bytes) -> None:
        packed = await asyncio.to_thread(_compress, body, max(self.size_bytes, len(body) - len(_MARK)))
        await exchange.reply(200, packed, headers=((b"content-encoding", b"gzip"),))


@register
@dataclass(frozen=True, slots=True)
class DeepNesting(_FilledAnswer):
    """Valid JSON with a field that is `depth` lists deep."""

    kind: ClassVar[str] = "deep_nesting"
    depth: int = 100_000

    def _encode(self, value: Any) -> bytes:
        return encode_json(value).replace(f'"{_MARK}"'.encode(), b"[" * self.depth + b"]" * self.depth, 1)


def _fill(body: bytes, size: int) -> Iterator[bytes]:
    before, after = body.split(_MARK.encode(), 1)
    yield before
    missing = size - len(before) - len(after)
    chunk = b"x" * _CHUNK_BYTES
    while missing > 0:
        yield chunk[:missing]
        missing -= _CHUNK_BYTES
    yield after


def _compress(body: bytes, size: int) -> bytes:
    packer = zlib.compressobj(wbits=31)
    return b"".join(packer.compress(chunk) for chunk in _fill(body, size)) + packer.flush()
