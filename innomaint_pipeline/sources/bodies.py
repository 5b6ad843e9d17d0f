"""The body of an HTTP answer: bytes -> text, within a bound, whatever its compression and charset.

Belongs here: what a server may do to the bytes of an answer. What the text means is the source's to judge.
"""

from __future__ import annotations

import codecs
import json
import re
import zlib
from collections.abc import AsyncIterator, Mapping
from functools import lru_cache

from innomaint_pipeline.domain.documents import UnreadableDocumentError, UnstorableDocumentError, load_json
from innomaint_pipeline.domain.http_answers import AnswerError, HttpAnswer
from innomaint_pipeline.domain.states import ErrorClass

_MEGABYTE = 1024 * 1024


async def read_bounded(chunks: AsyncIterator[bytes], limit: int) -> bytes:
    """Return a body, of one that is too large little more than `limit` bytes."""
    content = bytearray()
    async for chunk in chunks:
        content += chunk
        if len(content) > limit:
            break
    return bytes(content)


def read_answer(status: int, headers: dict[str, str], content: bytes, limit: int) -> HttpAnswer:
    """Return an answer with its text, or with why its body is none; `limit` bounds the bytes unpacked."""
    try:
        text = _read_text(content, headers, limit)
    except AnswerError as error:
        return HttpAnswer(status, headers, unread=error)
    return HttpAnswer(status, headers, text)


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
