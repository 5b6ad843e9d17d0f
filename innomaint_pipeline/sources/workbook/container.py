"""Whether a file may be opened as a workbook at all (docs/how-it-works.md).

Belongs here: what is looked at before a reader parses a file: its kind, its size, encryption. What is inside
a zip is `workbook_zip.py`, reading it `workbook.py`.
"""

import mmap
import re
import stat
import struct
from pathlib import Path
from typing import BinaryIO

from innomaint_pipeline.errors import WorkbookError
from innomaint_pipeline.sources.workbook.zip_parts import DAMAGES, WorkbookBounds, check_zip, mebibytes

ZIP_SUFFIXES = frozenset({".xlsx", ".xlsm", ".ods"})
SUFFIXES = (".xlsx", ".xlsm", ".xls", ".ods", ".csv")

_ZIP_MAGIC = b"PK\x03\x04"
_OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED_STREAM = "EncryptedPackage".encode("utf-16-le")
# The start of a workbook stream (BOF, version 5 or 8, "workbook globals") in an .xls; the record that says it
# is encrypted follows at once, or after the write protection.
_XLS_GLOBALS = re.compile(rb"\x09\x08[\x08\x10]\x00\x00[\x05\x06]\x05\x00", re.DOTALL)
_XLS_WRITE_PROTECTION, _XLS_ENCRYPTION = 0x0086, 0x002F
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def check_workbook_file(path: Path, bounds: WorkbookBounds) -> None:
    """Refuse a file that is no workbook, is encrypted, or is more than `bounds` allow.

    Reads a zip once in full, so that sizes and checksums are what they are and not what its directory claims.
    Raises `WorkbookError` that names the file and the cause.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        raise WorkbookError(f"{path}: there is no such file; check the path of the workbook") from None
    except (OSError, ValueError) as error:
        raise WorkbookError(f"{path}: the workbook cannot be reached ({error})") from error
    if not stat.S_ISREG(status.st_mode):
        kind = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise WorkbookError(f"{path}: this is {kind}, expected a workbook ({', '.join(SUFFIXES)})")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise WorkbookError(
            f"{path.name}: '{path.suffix}' is no known kind of workbook, expected {', '.join(SUFFIXES)}; "
            "save the workbook as .xlsx"
        )
    if status.st_size == 0:
        raise WorkbookError(f"{path.name}: the file is empty (0 bytes)")
    if status.st_size > bounds.file_bytes:
        raise WorkbookError(
            f"{path.name}: the file has {mebibytes(status.st_size)}, at most {mebibytes(bounds.file_bytes)} "
            "are read; split the workbook or remove pictures from it"
        )
    try:
        with path.open("rb") as handle:
            _check_content(path.name, suffix, handle, bounds)
    except DAMAGES as error:
        raise WorkbookError(
            f"{path.name}: the file is damaged or incomplete ({error}); copy it again, or open and save it "
            "in Excel"
        ) from error
    except OSError as error:
        raise WorkbookError(f"{path.name}: the file cannot be read ({error}); is it open?") from error


def _check_content(name: str, suffix: str, handle: BinaryIO, bounds: WorkbookBounds) -> None:
    start = handle.read(8192)
    if start.startswith(_OLE_MAGIC):
        _check_ole(name, suffix, handle)
    elif start.startswith(_ZIP_MAGIC) and suffix in ZIP_SUFFIXES:
        check_zip(name, suffix, handle, bounds)
    elif (
        suffix != ".csv" or start.startswith(_ZIP_MAGIC) or (b"\0" in start and start[:2] not in _UTF16_MARKS)
    ):
        found = _describe(start)
        raise WorkbookError(
            f"{name}: the name says {suffix}, but the content is {found}; rename the file to what it is, "
            "or save it as .xlsx"
        )


def _describe(start: bytes) -> str:
    if start.startswith(_ZIP_MAGIC):
        return "a zip archive (an .xlsx or .ods workbook?)"
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<table")):
        return "a web page (HTML)"
    if text.startswith(b"<"):
        return "XML"
    return "binary data of another kind" if b"\0" in start else "plain text (a .csv file?)"


def _check_ole(name: str, suffix: str, handle: BinaryIO) -> None:
    with mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as content:
        is_encrypted = content.find(_ENCRYPTED_STREAM) >= 0 or _is_encrypted_xls(content)
    if is_encrypted:
        raise WorkbookError(f"{name}: the workbook is encrypted; save a copy without a password")
    if suffix != ".xls":
        raise WorkbookError(
            f"{name}: the name says {suffix}, but the content is an old Office document (an .xls workbook?); "
            "rename the file to what it is, or save it as .xlsx"
        )


def _is_encrypted_xls(content: mmap.mmap) -> bool:
    # The reader does not look, and would return whatever the encrypted bytes happen to spell.
    for found in _XLS_GLOBALS.finditer(content):
        position = found.start()
        for _ in range(3):
            header = content[position : position + 4]
            if len(header) < 4:
                break
            record, length = struct.unpack("<HH", header)
            if record == _XLS_ENCRYPTION:
                return True
            if position > found.start() and record != _XLS_WRITE_PROTECTION:
                break
            position += 4 + length
    return False
