"""Whether a zipped workbook (.xlsx, .xlsm, .ods) is one, and what it unpacks to.

Belongs here: the parts of the zip, their true sizes and checksums, how far a sheet reaches. Never a cell's
content.
"""

import re
import struct
import zipfile
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO
from xml.parsers import expat

from innomaint_pipeline.errors import WorkbookError

# What a broken zip or broken XML in it raises.
DAMAGES = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    expat.ExpatError,
    EOFError,
    NotImplementedError,
    ValueError,
)

_MIB = 2**20
_ENCRYPTED_FLAG = 0x1
# Below this, even the highest ratio costs nothing.
_RATIO_COUNTS_FROM_BYTES = 16 * _MIB
_ODS_MANIFEST, _ODS_CONTENT = "META-INF/manifest.xml", "content.xml"
_WORKSHEET_PART = re.compile(r"xl/worksheets/[^/]+\.xml", re.IGNORECASE)
# A cell with content: `<c r="B7" ...>`, under any namespace prefix, but not the empty `<c r="B7" s="1"/>`.
_FILLED_CELL = re.compile(rb"""<(?:\w+:)?c\s(?:[^>]*?\s)?r=["']([A-Z]{1,3})([0-9]{1,7})["'][^>]*(?<!/)>""")
_LONGEST_CELL_TAG_BYTES = 512


@dataclass(frozen=True, slots=True)
class WorkbookBounds:
    """How much a workbook may be before it is refused.

    `cells` bounds the rectangle from A1 to the last filled cell of a sheet: readers allocate all of it at
    once, so one stray cell in the last row and column of an otherwise small sheet would take hundreds of
    gigabytes.
    """

    file_bytes: int = 200 * _MIB
    unpacked_bytes: int = 512 * _MIB
    zip_entries: int = 10_000
    zip_ratio: int = 250
    cells: int = 2**25


def check_zip(name: str, suffix: str, handle: BinaryIO, bounds: WorkbookBounds) -> None:
    """Refuse a zip that holds no workbook of this suffix, is encrypted, broken, or more than `bounds` allow.

    Reads every part once. Raises `WorkbookError`, or one of `DAMAGES`.
    """
    with zipfile.ZipFile(handle) as archive:
        entries = archive.infolist()
    if len(entries) > bounds.zip_entries:
        raise WorkbookError(f"{name}: it holds {len(entries)} parts, at most {bounds.zip_entries} are read")
    _check_kind(name, suffix, {_part(entry).lower() for entry in entries})
    unpacked = sum(entry.file_size for entry in entries)
    packed = sum(entry.compress_size for entry in entries)
    if unpacked > bounds.unpacked_bytes:
        raise WorkbookError(
            f"{name}: the file unpacks to {mebibytes(unpacked)}, at most {mebibytes(bounds.unpacked_bytes)} "
            "are read; split the workbook"
        )
    if unpacked > max(_RATIO_COUNTS_FROM_BYTES, bounds.zip_ratio * packed):
        raise WorkbookError(
            f"{name}: the file unpacks to more than {bounds.zip_ratio} times its size "
            f"({mebibytes(unpacked)}), which no real workbook does; open and save it in Excel if it is one"
        )
    for entry in sorted(entries, key=lambda entry: _part(entry) != _ODS_MANIFEST):
        if entry.flag_bits & _ENCRYPTED_FLAG:
            raise WorkbookError(f"{name}: the workbook is encrypted; save a copy without a password")
        part, chunks = _part(entry), _unpack(handle, entry)
        if part.lower().endswith((".xml", ".rels", ".rdf")):
            chunks = _without_document_type(part, chunks)
        if _WORKSHEET_PART.fullmatch(part):
            _check_extent(name, part, chunks, bounds)
        elif suffix == ".ods" and part in (_ODS_MANIFEST, _ODS_CONTENT):
            _check_ods_part(name, part, chunks)
        deque(chunks, maxlen=0)


def _without_document_type(part: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the pieces of an XML part; refuse a document type, with which entities would begin."""
    for number, chunk in enumerate(chunks):
        # It stands before the first element, in UTF-16 with a zero beside each letter.
        if number == 0 and b"<!DOCTYPE" in chunk.replace(b"\0", b""):
            raise zipfile.BadZipFile(f"part '{part}' declares a document type, which no workbook needs")
        yield chunk


def _check_ods_part(name: str, part: str, chunks: Iterator[bytes]) -> None:
    """Refuse an encrypted .ods, and XML over which the reader would never return: it misses the end of it."""
    parser = expat.ParserCreate()
    is_encrypted = False

    def see_start(tag: str, _: object) -> None:
        nonlocal is_encrypted
        is_encrypted = is_encrypted or (part == _ODS_MANIFEST and tag.endswith("encryption-data"))

    parser.StartElementHandler = see_start if part == _ODS_MANIFEST else None
    try:
        for chunk in chunks:
            parser.Parse(chunk)
        parser.Parse(b"", True)  # noqa: FBT003 - a positional-only parameter
    except LookupError as error:
        raise zipfile.BadZipFile(f"part '{part}' is in an unknown encoding: {error}") from error
    if is_encrypted:
        raise WorkbookError(f"{name}: the workbook is encrypted; save a copy without a password")


def _part(entry: zipfile.ZipInfo) -> str:
    # Some programs on Windows write their parts with backslashes or a leading slash.
    return entry.filename.replace("\\", "/").lstrip("/")


def _check_kind(name: str, suffix: str, parts: set[str]) -> None:
    if "xl/workbook.bin" in parts:
        kind, fitting = "a binary Excel workbook (.xlsb)", ()
    elif "[content_types].xml" in parts and any(part.startswith("xl/") for part in parts):
        kind, fitting = "an Excel workbook (.xlsx)", (".xlsx", ".xlsm")
    elif "content.xml" in parts and "mimetype" in parts:
        kind, fitting = "an OpenDocument file (.ods)", (".ods",)
    else:
        kind, fitting = "a zip archive that holds no workbook", ()
    if suffix not in fitting:
        raise WorkbookError(
            f"{name}: the name says {suffix}, but the content is {kind}; rename the file to what it is, "
            "or save it as .xlsx"
        )


def _unpack(handle: BinaryIO, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yield an entry's content in pieces, never more than its directory entry says.

    `zipfile` would stop silently at that size; other readers go on to the end of the packed data.
    """
    handle.seek(entry.header_offset)
    local_header = handle.read(30)
    name_length, extra_length = struct.unpack_from("<HH", local_header, 26)
    handle.seek(name_length + extra_length, 1)
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise zipfile.BadZipFile(f"part '{entry.filename}' has the packing {entry.compress_type}")
    inflater = zlib.decompressobj(-zlib.MAX_WBITS) if entry.compress_type == zipfile.ZIP_DEFLATED else None
    left, size, checksum = entry.compress_size, 0, 0
    pending = b""
    while True:
        if not pending and left:
            pending = handle.read(min(left, _MIB))
            if not pending:
                raise zipfile.BadZipFile(f"part '{entry.filename}' ends too early")
            left -= len(pending)
        if inflater is None:
            chunk, pending = pending, b""
        else:
            chunk = inflater.decompress(pending, _MIB)
            pending = inflater.unconsumed_tail
        if not chunk and not pending and not left:
            break
        size += len(chunk)
        checksum = zlib.crc32(chunk, checksum)
        if size > entry.file_size:
            raise zipfile.BadZipFile(f"part '{entry.filename}' is larger than the file's directory says")
        yield chunk
    if size != entry.file_size or checksum != entry.CRC:
        raise zipfile.BadZipFile(f"part '{entry.filename}' does not match its checksum")


def _check_extent(name: str, part: str, chunks: Iterator[bytes], bounds: WorkbookBounds) -> None:
    rest = b""
    last_row = last_column = 0
    for chunk in chunks:
        text = rest + chunk
        cells = _FILLED_CELL.findall(text)
        last_row = max([last_row, *(int(row) for row in {row for _, row in cells})])
        last_column = max(
            [last_column, *(_column_number(letters) for letters in {letters for letters, _ in cells})]
        )
        rest = text[-_LONGEST_CELL_TAG_BYTES:]
    if last_row * last_column > bounds.cells:
        raise WorkbookError(
            f"{name}, sheet in part {part}: its filled cells reach to row {last_row:,} and column number "
            f"{last_column:,}, a rectangle of {last_row * last_column:,} cells, at most {bounds.cells:,} "
            "are read; clear the stray cells far below or right of the table"
        )


def _column_number(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - ord("A") + 1
    return number


def mebibytes(size_bytes: int) -> str:
    """Write a size for a person."""
    return f"{size_bytes / _MIB:,.0f} MiB"
