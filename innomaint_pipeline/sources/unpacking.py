"""A compressed body -> its bytes, never more of them than a bound (docs/how-it-works.md).

No answer is asked for compressed; a server between us and the source may compress it all the same. The HTTP
library unpacks each piece whole that arrives, and one of 64 kB may hold 64 MB.
"""

from __future__ import annotations

import zlib

_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
_BARE = -zlib.MAX_WBITS
_WINDOW_BITS = {"gzip": (_GZIP_OR_ZLIB,), "x-gzip": (_GZIP_OR_ZLIB,), "deflate": (_GZIP_OR_ZLIB, _BARE)}


class BrokenCompressionError(ValueError):
    """Not what Content-Encoding says, cut off, or more than one compression."""


def unpack(content: bytes, encoding: str, limit: int) -> bytes:
    """Return what a body of this Content-Encoding holds; of more than `limit` bytes the first `limit` + 1."""
    name = encoding.strip().lower()
    if name in {"", "identity"}:
        return content
    for window_bits in _WINDOW_BITS.get(name, ()):
        unpacker = zlib.decompressobj(window_bits)
        try:
            plain = unpacker.decompress(content, limit + 1)
        except zlib.error:
            continue
        if len(plain) > limit or (unpacker.eof and not unpacker.unused_data):
            return plain
    raise BrokenCompressionError("the answer's compression is broken")
