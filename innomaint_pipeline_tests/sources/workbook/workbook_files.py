"""Writers of small workbook files for tests; the old binary formats by hand, for want of a package."""

import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import openpyxl

from innomaint_pipeline.domain.workbook.sheets import SheetRows
from innomaint_pipeline.sources.workbook.reading import BOUNDS, read_register_here
from innomaint_pipeline.sources.workbook.zip_parts import WorkbookBounds

_SECTOR = 512
_END_OF_CHAIN, _FREE, _FAT_SECTOR = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD
# Streams below this size live in a second, smaller allocation table; padding avoids it.
_SMALLEST_ORDINARY_STREAM = 4096


def write_xlsx(path: Path, sheets: Mapping[str, Sequence[Sequence[object]]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(list(row))
    book.save(path)
    return path


def read_sheet(
    path: Path,
    sheet: str | None = None,
    synonyms: Mapping[str, str] | None = None,
    bounds: WorkbookBounds = BOUNDS,
) -> SheetRows:
    """Read the one sheet that is the register, in this process."""
    named = [sheet] if sheet else []
    register = read_register_here(path, sheets=named, synonyms=synonyms or {}, bounds=bounds)
    (only,) = register.sheets
    return only


def repack(source: Path, target: Path, changes: Mapping[str, bytes | None]) -> Path:
    """Copy a zip with parts replaced, added, or (`None`) left out."""
    with zipfile.ZipFile(source) as archive:
        parts: dict[str, bytes | None] = {it.filename: archive.read(it) for it in archive.infolist()}
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**parts, **changes}.items():
            if content is not None:
                archive.writestr(name, content, zipfile.ZIP_STORED if name == "mimetype" else None)
    return target


def ods_of(path: Path, rows_xml: str, styles_xml: str = "") -> Path:
    """Write an .ods with one sheet, from the XML of its rows and of its automatic styles."""
    names = "".join(
        f' xmlns:{it}="urn:oasis:names:tc:opendocument:xmlns:{it}:1.0"'
        for it in ("office", "table", "text", "style")
    )
    names += ' xmlns:number="urn:oasis:names:tc:opendocument:xmlns:datastyle:1.0"'
    names += ' xmlns:calcext="urn:org:documentfoundation:names:experimental:calc:xmlns:calcext:1.0"'
    content = (
        f"<office:document-content{names}><office:automatic-styles>{styles_xml}</office:automatic-styles>"
        f'<office:body><office:spreadsheet><table:table table:name="Data">'
        f"{rows_xml}</table:table></office:spreadsheet></office:body></office:document-content>"
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet", zipfile.ZIP_STORED)
        archive.writestr("content.xml", content)
    return path


def ole_container(streams: Mapping[str, bytes]) -> bytes:
    """Build an OLE compound file (version 3) with up to three streams."""
    entries = [_directory_entry("Root Entry", kind=5, right=_FREE, child=1, start=_END_OF_CHAIN, size=0)]
    fat = [_FAT_SECTOR, _END_OF_CHAIN]
    body = b""
    for number, (name, content) in enumerate(streams.items(), 1):
        padded = content.ljust(_SMALLEST_ORDINARY_STREAM, b"\0")
        padded += b"\0" * (-len(padded) % _SECTOR)
        start, sectors = len(fat), len(padded) // _SECTOR
        right = number + 1 if number < len(streams) else _FREE
        entries.append(
            _directory_entry(name, kind=2, right=right, child=_FREE, start=start, size=len(padded))
        )
        fat += [*range(start + 1, start + sectors), _END_OF_CHAIN]
        body += padded
    assert len(entries) <= 4
    assert len(fat) <= _SECTOR // 4
    fat += [_FREE] * (_SECTOR // 4 - len(fat))
    header = bytes.fromhex("d0cf11e0a1b11ae1").ljust(24, b"\0") + struct.pack(
        "<HHHHH6xIIIIIIIII", 0x3E, 3, 0xFFFE, 9, 6, 0, 1, 1, 0, 4096, _END_OF_CHAIN, 0, _END_OF_CHAIN, 0
    )
    header += struct.pack("<109I", 0, *[_FREE] * 108)
    return header + struct.pack("<128I", *fat) + b"".join(entries).ljust(_SECTOR, b"\0") + body


def _directory_entry(name: str, *, kind: int, right: int, child: int, start: int, size: int) -> bytes:
    text = (name + "\0").encode("utf-16-le")
    links = struct.pack("<HBBIII", len(text), kind, 1, _FREE, right, child)
    return text.ljust(64, b"\0") + links + bytes(36) + struct.pack("<IQ", start, size)


def xls_workbook(
    sheet: str, rows: Sequence[Sequence[str | float | None]], *, is_protected: bool = False
) -> bytes:
    """Build an Excel 97 workbook (BIFF8) with one sheet of ASCII texts and numbers."""
    start = _record(0x0809, struct.pack("<HHHHII", 0x0600, 0x0005, 0, 0, 0, 0))
    if is_protected:
        start += _record(0x002F, struct.pack("<HHH", 0, 0x1234, 0x5678))
    name = struct.pack("<BB", len(sheet), 0) + sheet.encode("ascii")
    end = _record(0x000A, b"")
    sheet_offset = len(start) + 4 + 6 + len(name) + len(end)
    globals_part = start + _record(0x0085, struct.pack("<IBB", sheet_offset, 0, 0) + name) + end
    cells = b"".join(
        _xls_cell(row_number, column, value)
        for row_number, row in enumerate(rows)
        for column, value in enumerate(row)
        if value is not None
    )
    sheet_part = _record(0x0809, struct.pack("<HHHHII", 0x0600, 0x0010, 0, 0, 0, 0)) + cells + end
    return ole_container({"Workbook": globals_part + sheet_part})


def _xls_cell(row: int, column: int, value: str | float) -> bytes:
    place = struct.pack("<HHH", row, column, 0)
    if isinstance(value, str):
        return _record(0x0204, place + struct.pack("<HB", len(value), 0) + value.encode("ascii"))
    return _record(0x0203, place + struct.pack("<d", value))


def _record(number: int, content: bytes) -> bytes:
    return struct.pack("<HH", number, len(content)) + content
