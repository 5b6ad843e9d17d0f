"""Whether each content stream of a PDF unpacks to its end, of which pdfium says nothing.

Belongs here: what pikepdf and zlib can tell of a file. Runs in the bounded process alone.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pikepdf

_CHUNK_BYTES = 1 << 20
_TAIL_BYTES = 1024
_SHOWS_TEXT = re.compile(rb"T[jJ]\b|[)>]\s*['\"]")
_WRONG, _CUT = "wrong checksum", "cut or damaged"
_OTHER_STREAMS = {("/Subtype", "/Form"), ("/Type", "/CMap"), ("/Type", "/ObjStm")}


class NotWholeError(Exception):
    """A file is no whole PDF; the message says what was found and on which page."""


class NoPdfError(NotWholeError):
    """A file is no PDF at all."""


@dataclass(slots=True)
class StreamsReport:
    """How many packed streams there are, and the pages of those whose checksum alone is wrong (0: of all)."""

    packed: int = 0
    wrong_checksums: list[int] = field(default_factory=list)


def check_ends(path: Path) -> None:
    """Raise `NotWholeError` unless a file begins with `%PDF-` and has `%%EOF` in its last 1,024 bytes."""
    with path.open("rb") as file:
        if file.read(5) != b"%PDF-":
            raise NoPdfError("the file does not begin with %PDF-: it is no PDF")
        size = file.seek(0, 2)
        file.seek(max(0, size - _TAIL_BYTES))
        if b"%%EOF" not in file.read():
            raise NotWholeError(
                f"found no %%EOF in the last {_TAIL_BYTES} bytes: the file is cut or still being written"
            )


@contextmanager
def open_pdf(path: Path) -> Iterator[pikepdf.Pdf]:
    """Open a PDF; raise `NotWholeError` where it does not open, or is encrypted."""
    try:
        with pikepdf.open(path) as pdf:
            if pdf.is_encrypted:
                raise NotWholeError("the file is encrypted, expected one without a password")
            yield pdf
    except pikepdf.PasswordError:
        raise NotWholeError("the file is encrypted, expected one without a password") from None
    except pikepdf.PdfError:
        raise NotWholeError("the file does not open: its structure is damaged") from None


def check_streams(path: Path, *, pages: int, share: int, shares: int) -> StreamsReport:
    """Look at the streams of every `shares`-th page from `share` on; share 0 also at those of no page.

    `pages` is how many pdfium counts. Raises `NotWholeError` also for another number of pages, and for a
    stream that does not unpack to its last block.
    """
    with open_pdf(path) as pdf:
        if len(pdf.pages) != pages:
            raise NotWholeError(f"found {len(pdf.pages)} pages, expected the {pages} that the file counts")
        report = StreamsReport()
        for index in range(share, pages, shares):
            for stream in _content_streams(pdf.pages[index].obj):
                _look_at(stream, index + 1, report)
        if share == 0:
            _check_others(pdf, report)
        return report


def _content_streams(page: pikepdf.Object) -> Iterator[pikepdf.Stream]:
    contents = page.get("/Contents")
    for item in contents if isinstance(contents, pikepdf.Array) else [contents]:
        if isinstance(item, pikepdf.Stream):
            yield item


def _check_others(pdf: pikepdf.Pdf, report: StreamsReport) -> None:
    for item in pdf.objects:
        if isinstance(item, pikepdf.Dictionary) and isinstance(
            to_unicode := item.get("/ToUnicode"), pikepdf.Stream
        ):
            _look_at(to_unicode, 0, report)
        if not isinstance(item, pikepdf.Stream):
            continue
        if any(str(item.get(key)) == value for key, value in _OTHER_STREAMS):
            _look_at(item, 0, report)
        if item.get("/Subtype") == "/Form" and "/OC" in item and _SHOWS_TEXT.search(item.read_bytes()):
            raise NotWholeError("found text in a layer, expected nothing but the table")


def _look_at(stream: pikepdf.Stream, page: int, report: StreamsReport) -> None:
    where = f"page {page}: its content" if page else "a stream that pages share"
    filters = stream.get("/Filter")
    names = [
        str(it) for it in (filters if isinstance(filters, pikepdf.Array) else [filters]) if it is not None
    ]
    data = stream.read_raw_bytes()
    while names and names[0] in {"/ASCII85Decode", "/A85", "/ASCIIHexDecode", "/AHx"}:
        data = _decode_text(data, names.pop(0), where)
    if not names:
        return
    if names[0] not in {"/FlateDecode", "/Fl"}:
        try:
            stream.read_bytes()
        except pikepdf.PdfError:
            raise NotWholeError(f"{where} is {_CUT}") from None
        return
    report.packed += 1
    fault = find_fault(data)
    if fault == _WRONG:
        report.wrong_checksums.append(page)
    elif fault:
        raise NotWholeError(f"{where} is {fault}: it does not unpack to its last block")


def _decode_text(data: bytes, name: str, where: str) -> bytes:
    try:
        if name in {"/ASCII85Decode", "/A85"}:
            body, end, _ = data.strip().removeprefix(b"<~").partition(b"~>")
            decoded = base64.a85decode(body)
        else:
            body, end, _ = data.partition(b">")
            digits = b"".join(body.split())
            decoded = binascii.unhexlify(digits + b"0" * (len(digits) % 2))
    except ValueError:
        raise NotWholeError(f"{where} is {_CUT}") from None
    if not end:
        raise NotWholeError(f"{where} is {_CUT}: it has no end mark")
    return decoded


def find_fault(data: bytes) -> str | None:
    """Return what is wrong with zlib's data: nothing, the checksum alone, or more than that."""
    if _unpacks(zlib.decompressobj(), data):
        return None
    return _WRONG if _unpacks(zlib.decompressobj(-zlib.MAX_WBITS), data[2:]) else _CUT


def _unpacks(inflater: zlib._Decompress, data: bytes) -> bool:
    try:
        while data and not inflater.eof:
            inflater.decompress(data, _CHUNK_BYTES)
            data = inflater.unconsumed_tail
    except zlib.error:
        return False
    return inflater.eof
