"""Whether a file may be opened as a workbook at all.

Belongs here: what is looked at before a reader parses a file: its kind, its size, encryption. What is inside
a zip is `zip_parts`.
"""

import codecs
import mmap
import os
import re
import stat
import struct
from pathlib import Path
from typing import BinaryIO

from innomaint_pipeline.errors import WorkbookError
from innomaint_pipeline.sources.workbook.zip_parts import DAMAGES, WorkbookBounds, check_zip, mebibytes

TEXT_SUFFIXES = frozenset({".csv", ".tsv", ".txt"})
SUFFIXES = (".xlsx", ".xlsm", ".xls", ".ods", ".csv", ".tsv", ".txt")

_ZIP_MAGIC = b"PK\x03\x04"
_OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED_STREAM = "EncryptedPackage".encode("utf-16-le")
_WORKBOOK_STREAMS = tuple(name.encode("utf-16-le") for name in ("Workbook", "Book"))
_WORD_STREAM = "WordDocument".encode("utf-16-le")
# The start of a workbook stream (BOF, version 5 or 8, "workbook globals") in an .xls; the record that says it
# is encrypted follows at once, or after the write protection.
_XLS_GLOBALS = re.compile(rb"\x09\x08[\x08\x10]\x00\x00[\x05\x06]\x05\x00", re.DOTALL)
_XLS_WRITE_PROTECTION, _XLS_ENCRYPTION = 0x0086, 0x002F
_UTF32_MARKS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_OWNER_FILE_PREFIXES, _LONGEST_OWNER_FILE_BYTES = ("~$", ".~lock."), 200
_LIKELY_SHARE_OF_ZEROS = 0.3
_FEWEST_TELLING_BYTES = 16
_PLAIN_TEXT, _UTF16_TEXT = "plain text (a .csv file?)", "text in UTF-16 (saved as Unicode text?)"

_SAVE_AS_XLSX = "open it in Excel or LibreOffice and save it as .xlsx"


def show_name(path: Path) -> str:
    """Return a file's name as Unicode; bytes that are none become replacement characters."""
    return os.fsencode(path.name).decode("utf-8", "replace")


def show_path(path: Path) -> str:
    """Return a file's path as Unicode; bytes that are none become replacement characters."""
    return os.fsencode(path).decode("utf-8", "replace")


def check_workbook_file(path: Path, bounds: WorkbookBounds) -> None:
    """Refuse a file that is no workbook, is encrypted, or is more than `bounds` allow.

    Raises `WorkbookError` that names the file and the cause.
    """
    name = show_name(path)
    try:
        status = path.stat()
    except FileNotFoundError:
        raise WorkbookError(
            f"{show_path(path)}: there is no such file; check the path of the workbook"
        ) from None
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or error
        raise WorkbookError(f"{show_path(path)}: the workbook cannot be reached ({cause})") from error
    if not stat.S_ISREG(status.st_mode):
        kind = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise WorkbookError(f"{show_path(path)}: this is {kind}, expected a workbook ({', '.join(SUFFIXES)})")
    if name.startswith(_OWNER_FILE_PREFIXES) and status.st_size <= _LONGEST_OWNER_FILE_BYTES:
        owned = name.removeprefix("~$").removeprefix(".~lock.").removesuffix("#")
        raise WorkbookError(
            f"{name}: this is the lock file that Office keeps while '{owned}' is open; import '{owned}'"
        )
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        shown = os.fsencode(suffix).decode("utf-8", "replace")
        raise WorkbookError(
            f"{name}: '{shown}' is no known kind of workbook, expected {', '.join(SUFFIXES)}; save the "
            "workbook as .xlsx"
        )
    if status.st_size == 0:
        raise WorkbookError(f"{name}: the file is empty (0 bytes); copy it again")
    if status.st_size > bounds.file_bytes:
        raise WorkbookError(
            f"{name}: the file has {mebibytes(status.st_size)}, at most {mebibytes(bounds.file_bytes)} are "
            "read; split the workbook or remove pictures from it"
        )
    try:
        with path.open("rb") as handle:
            _check_content(name, suffix, handle, bounds)
    except DAMAGES as error:
        raise WorkbookError(
            f"{name}: the file is damaged or incomplete ({error}); copy it again, or open and save it "
            "in Excel"
        ) from error
    except OSError as error:
        raise WorkbookError(
            f"{name}: the file cannot be read ({error.strerror or error}); close it where it is open, and "
            "check who may read it"
        ) from error


def _check_content(name: str, suffix: str, handle: BinaryIO, bounds: WorkbookBounds) -> None:
    start = handle.read(8192)
    if start.startswith(_OLE_MAGIC):
        _check_ole(name, suffix, handle)
    elif start.startswith(_ZIP_MAGIC):
        check_zip(name, suffix, handle, bounds)
    else:
        found, step = describe_content(start)
        is_text = found in (_PLAIN_TEXT, _UTF16_TEXT)
        if suffix not in TEXT_SUFFIXES:
            raise WorkbookError(f"{name}: the name says {suffix}, but the content is {found}; {step}")
        if not is_text:
            raise WorkbookError(f"{name}: this is no delimited text: the content is {found}; {step}")


def describe_content(start: bytes) -> tuple[str, str]:
    """Return what a file is by its first bytes, and a step that helps."""
    marked = _describe_unicode(start)
    if marked:
        return marked
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    kinds = (
        ((b"<!doctype html", b"<html", b"<table", b"<head", b"<meta"), "a web page (HTML)", _SAVE_AS_XLSX),
        ((b"mime-version:", b"from: ", b"content-type:"), "a web archive (MHTML)", _SAVE_AS_XLSX),
        ((b"<",), "XML", _SAVE_AS_XLSX),
        (
            (b"version https://git-lfs",),
            "a pointer of git-lfs, not the file itself",
            "fetch the file with 'git lfs pull'",
        ),
        ((b"%pdf-",), "a PDF document", "ask for the workbook it was printed from"),
        ((b"{\\rtf",), "a document in RTF", "copy its table into a workbook and save it as .xlsx"),
        ((b"id;p",), "a SYLK file", _SAVE_AS_XLSX),
        ((b"\x1f\x8b", b"7z\xbc\xaf", b"rar!"), "a packed archive", "unpack it and import what is in it"),
        ((b"\t\x00", b"\t\x02", b"\t\x04"), "a workbook of Excel before 5", _SAVE_AS_XLSX),
    )
    for beginnings, kind, step in kinds:
        if (start if beginnings[0][:1] == b"\t" else text).startswith(beginnings):
            return kind, step
    if b"\0" in start:
        if not start.strip(b"\0"):
            return "nothing but zeros", "copy the file again"
        return "binary data of another kind", "export the register from its program as .xlsx or .csv"
    return _PLAIN_TEXT, "rename it to .csv, or save it as .xlsx"


def _describe_unicode(start: bytes) -> tuple[str, str] | None:
    if start.startswith(_UTF32_MARKS):
        return "characters in UTF-32", "save it as CSV UTF-8, or as .xlsx"
    if start.startswith(_UTF16_MARKS):
        return (
            _UTF16_TEXT,
            "rename it to .txt, or open it in Excel and save it as .xlsx",
        )
    for zeros, other in ((start[1::2], start[::2]), (start[::2], start[1::2])):
        is_likely = zeros.count(0) > _LIKELY_SHARE_OF_ZEROS * len(zeros) and 0 not in other
        if is_likely and len(start) >= _FEWEST_TELLING_BYTES:
            return "UTF-16 text without the mark that says so", "save it as CSV UTF-8, or as .xlsx"
    return None


def _check_ole(name: str, suffix: str, handle: BinaryIO) -> None:
    with mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as content:
        is_encrypted = content.find(_ENCRYPTED_STREAM) >= 0 or _is_encrypted_xls(content)
        is_word = content.find(_WORD_STREAM) >= 0
        is_workbook = not is_word and any(content.find(it) >= 0 for it in _WORKBOOK_STREAMS)
    if is_encrypted:
        raise WorkbookError(f"{name}: the workbook is encrypted; save a copy without a password")
    if suffix != ".xls":
        step = "rename it to .xls, or save it as .xlsx" if is_workbook else "save its table as .xlsx"
        raise WorkbookError(
            f"{name}: the name says {suffix}, but the content is an old Office document"
            f"{' (an .xls workbook)' if is_workbook else ''}; {step}"
        )
    if is_word:
        raise WorkbookError(
            f"{name}: the name says .xls, but the content is a Word document; copy its table into a "
            "workbook and save it as .xlsx"
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
