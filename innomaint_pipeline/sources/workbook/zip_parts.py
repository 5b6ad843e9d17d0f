"""The parts of a zipped workbook (.xlsx, .xlsm, .ods): whether it is one, and their content, checked.

Belongs here: the parts of the zip, their true sizes and checksums, the parser of their XML. What the XML
means is `xlsx` and `ods`.
"""

import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
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

MIB = 2**20
_PIECE_BYTES = 2**18
_ENCRYPTED_FLAG = 0x1
# Below this, even the highest ratio costs nothing.
_RATIO_COUNTS_FROM_BYTES = 16 * MIB
_OPEN_DOCUMENTS = "application/vnd.oasis.opendocument."


@dataclass(frozen=True, slots=True)
class WorkbookBounds:
    """How much a workbook may be before it is refused.

    `cells` bounds the rectangle from A1 to the last filled cell of a sheet. `cell_characters` is Excel's own
    limit; `sheet_characters` counts a text as often as cells use it.
    """

    file_bytes: int = 200 * MIB
    unpacked_bytes: int = 512 * MIB
    zip_entries: int = 10_000
    zip_ratio: int = 250
    cells: int = 2**25
    cell_characters: int = 32_767
    sheet_characters: int = 2**29


class ZipParts:
    """The parts of an open zip, by names in lower case with slashes."""

    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle
        with zipfile.ZipFile(handle) as archive:
            self.entries = archive.infolist()
        # Some programs on Windows write their parts with backslashes or a leading slash.
        self._by_name = {it.filename.replace("\\", "/").lstrip("/").lower(): it for it in self.entries}

    def __contains__(self, part: str) -> bool:
        return part.lower() in self._by_name

    def names(self) -> set[str]:
        """Return the names of all parts."""
        return set(self._by_name)

    def unpack(self, part: str) -> Iterator[bytes]:
        """Yield a part's content in pieces, never more than its directory entry says.

        `zipfile` would stop silently at that size, and read what is encrypted or has another checksum.
        """
        entry = self._by_name.get(part.lower())
        if entry is None:
            raise zipfile.BadZipFile(f"there is no part '{part}'")
        return _unpack(self._handle, entry)

    def parse(self, part: str, setup: Callable[[expat.XMLParserType], None], *, separator: str = "") -> None:
        """Parse a part of XML; `setup` sets the handlers. With `separator`, names come with namespaces."""
        parser = expat.ParserCreate(namespace_separator=separator or None)
        parser.buffer_text = True
        parser.buffer_size = 2**16
        parser.StartDoctypeDeclHandler = _refuse_document_type
        setup(parser)
        try:
            for piece in self.unpack(part):
                parser.Parse(piece)
            parser.Parse(b"", True)  # noqa: FBT003 - a positional-only parameter
        except LookupError as error:
            raise zipfile.BadZipFile(f"part '{part}' is in an unknown encoding: {error}") from error


def _refuse_document_type(*_: object) -> None:
    raise zipfile.BadZipFile("it declares a document type, which no workbook needs")


def check_zip(name: str, suffix: str, handle: BinaryIO, bounds: WorkbookBounds) -> None:
    """Refuse a zip that holds no workbook of this suffix, is encrypted, broken, or more than `bounds` allow.

    Raises `WorkbookError`, or one of `DAMAGES`.
    """
    parts = ZipParts(handle)
    entries = parts.entries
    if len(entries) > bounds.zip_entries:
        raise WorkbookError(f"{name}: it holds {len(entries)} parts, at most {bounds.zip_entries} are read")
    _check_kind(name, suffix, parts)
    if any(entry.flag_bits & _ENCRYPTED_FLAG for entry in entries):
        raise WorkbookError(f"{name}: the workbook is encrypted; save a copy without a password")
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
    for part in sorted(parts.names()):
        if part.endswith((".xml", ".rels", ".rdf")):
            # It stands before the first element, in UTF-16 with a zero beside each letter.
            start = b"".join(islice(parts.unpack(part), 1))
            if b"<!DOCTYPE" in start.replace(b"\0", b""):
                raise zipfile.BadZipFile(f"part '{part}' declares a document type, which no workbook needs")


def _check_kind(name: str, suffix: str, parts: ZipParts) -> None:
    names = parts.names()
    fitting: tuple[str, ...] = ()
    if "xl/workbook.bin" in names:
        kind = "a binary Excel workbook (.xlsb)"
    elif "[content_types].xml" in names and any(it.startswith("word/") for it in names):
        kind = "a Word document (.docx)"
    elif "[content_types].xml" in names and any(it.startswith("ppt/") for it in names):
        kind = "a PowerPoint presentation (.pptx)"
    elif "[content_types].xml" in names and any(it.startswith("xl/") for it in names):
        kind, fitting = "an Excel workbook (.xlsx)", (".xlsx", ".xlsm")
    elif "content.xml" in names and "mimetype" in names:
        mimetype = b"".join(islice(parts.unpack("mimetype"), 1))[:100].decode("latin-1").strip()
        document = mimetype.removeprefix(_OPEN_DOCUMENTS)
        if document in ("spreadsheet", "spreadsheet-template"):
            kind, fitting = "an OpenDocument spreadsheet (.ods)", (".ods",)
        elif mimetype.startswith(_OPEN_DOCUMENTS):
            kind = f"an OpenDocument {document.split('-')[0]}, no spreadsheet"
        else:
            kind = f"an OpenDocument file of the unknown kind '{mimetype}', no spreadsheet"
    elif any(it.endswith(".iwa") for it in names):
        kind = "a spreadsheet of Apple Numbers"
    else:
        kind = "a zip archive that holds no workbook"
    if suffix not in fitting:
        step = (
            f"name it {fitting[0]}"
            if fitting
            else "open it in the program it comes from and save it as .xlsx"
        )
        raise WorkbookError(f"{name}: the name says {suffix}, but the content is {kind}; {step}")


def _unpack(handle: BinaryIO, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    handle.seek(entry.header_offset)
    local_header = handle.read(30)
    name_length, extra_length = struct.unpack_from("<HH", local_header, 26)
    position = entry.header_offset + 30 + name_length + extra_length
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise zipfile.BadZipFile(f"part '{entry.filename}' has the packing {entry.compress_type}")
    inflater = zlib.decompressobj(-zlib.MAX_WBITS) if entry.compress_type == zipfile.ZIP_DEFLATED else None
    left, size, checksum = entry.compress_size, 0, 0
    pending = b""
    while True:
        if not pending and left:
            handle.seek(position)
            pending = handle.read(min(left, _PIECE_BYTES))
            if not pending:
                raise zipfile.BadZipFile(f"part '{entry.filename}' ends too early")
            left -= len(pending)
            position += len(pending)
        if inflater is None:
            chunk, pending = pending, b""
        else:
            chunk = inflater.decompress(pending, _PIECE_BYTES)
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


def mebibytes(size_bytes: int) -> str:
    """Write a size for a person."""
    return f"{size_bytes / MIB:,.0f} MiB"
