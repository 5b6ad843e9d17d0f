"""The process that looks into the inbox and copies what it finds: a dead network share hangs it, nobody else.

Belongs here: reading names, times and bytes. What they mean is `domain.customers.arrival`; what the process
says is for `inbox`, which starts it.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import stat
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import pypdfium2.raw as pdfium

from innomaint_pipeline.domain.customers.arrival import (
    TAIL_BYTES,
    InboxFile,
    choose_newest,
    may_be_growing,
    may_be_list,
    show_name,
)
from innomaint_pipeline.sources.customers.bounded import limit_itself, say, take_order

_CHUNK_BYTES = 1 << 20
_LONGEST_DATE_BYTES = 256
_FULL_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}


@dataclass(frozen=True, slots=True)
class Order:
    """Where to look (as bytes in hexadecimal: names need not be UTF-8), where copies go, and the bounds.

    `is_chosen`: a person named this file; it is taken as it is.
    """

    inbox: str
    copies: str
    is_chosen: bool
    most_bytes: int
    settle_seconds: float
    cpu_seconds: int
    memory_mb: int


class _GrowingError(Exception):
    """The file is not complete yet."""


def main() -> None:
    """Look once, copy what is new, and say so."""
    order = Order(**take_order())
    try:
        _look(order)
    except _GrowingError as error:
        say("growing", {"reason": str(error)})
    except OSError as error:
        kind = "full" if error.errno in _FULL_DISK else "unreachable"
        say(kind, {"reason": error.strerror or type(error).__name__})


def _look(order: Order) -> None:
    inbox = Path(os.fsdecode(bytes.fromhex(order.inbox)))
    now = datetime.now(UTC)
    # The inbox itself may be a link, a file in it may not.
    if stat.S_ISDIR(inbox.stat().st_mode) and not order.is_chosen:
        choice = choose_newest(_list_files(inbox), now)
        newest, ahead = choice.newest, choice.ahead
        path = inbox / newest.name if newest else inbox
    else:
        status = inbox.stat()
        if not stat.S_ISREG(status.st_mode):
            raise FileNotFoundError(errno.ENOENT, "it is no regular file")
        path, newest, ahead = inbox, _describe(inbox.name, status), ()
        if not order.is_chosen and not (choice := choose_newest([newest], now)).newest:
            newest, ahead = None, choice.ahead
    if newest is None:
        say("nothing", {"ahead": ahead})
        return
    about = {
        "name": show_name(newest.name),
        "size": newest.size,
        "time": newest.file_time.timestamp(),
        "ahead": ahead,
    }
    if newest.size > order.most_bytes:
        say("too_large", about)
        return
    with path.open("rb") as file:
        if not order.is_chosen:
            _see_settled(file, newest, order)
        copy, digest = _copy(file, newest, Path(order.copies))
    say("export", about | {"path": str(copy), "sha256": digest})
    # Whatever the file does to pdfium, the copy is told.
    limit_itself(cpu_seconds=order.cpu_seconds, memory_mb=order.memory_mb)
    say("created", {"date": _read_creation_date(copy)})


def _list_files(folder: Path) -> list[InboxFile]:
    files = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if may_be_list(entry.name):
                # One that went in between is not there.
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode):
                        files.append(_describe(entry.name, status))
    return files


def _describe(name: str, status: os.stat_result) -> InboxFile:
    return InboxFile(name, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))


def _is_as_before(file: BinaryIO, before: InboxFile) -> bool:
    return _describe(before.name, os.fstat(file.fileno())) == before


def _see_settled(file: BinaryIO, newest: InboxFile, order: Order) -> None:
    """Raise `_GrowingError` unless size and time stay the same and the end of a PDF is there.

    A file is made at its full size, or empty, before its content comes; once its time is old enough, it is
    taken as it is, and refused for what it is.
    """
    name = show_name(newest.name)
    time.sleep(order.settle_seconds)
    if not _is_as_before(file, newest):
        raise _GrowingError(f"{name} is still growing")
    file.seek(max(0, newest.size - TAIL_BYTES))
    is_ended = b"%%EOF" in file.read(TAIL_BYTES)
    file.seek(0)
    if not is_ended and may_be_growing(newest.file_time, datetime.now(UTC)):
        raise _GrowingError(f"{name} does not end in %%EOF yet")


def _copy(file: BinaryIO, newest: InboxFile, copies: Path) -> tuple[Path, str]:
    """Copy the open file under its hash; the copy is what is hashed, kept and read.

    One that is there already stays, with its age: by that it is deleted.
    """
    copies.mkdir(mode=0o700, parents=True, exist_ok=True)
    copies.chmod(0o700)
    digest = hashlib.sha256()
    handle, name = tempfile.mkstemp(prefix="copy-", suffix=".tmp", dir=copies)
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as target:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
                target.write(chunk)
                if target.tell() > newest.size:
                    break
            target.flush()
            os.fsync(target.fileno())
        if not _is_as_before(file, newest):
            raise _GrowingError(f"{show_name(newest.name)} changed while it was copied")
        copy = copies / f"{digest.hexdigest()}.pdf"
        if not copy.exists() or copy.stat().st_size != newest.size:
            part.replace(copy)
    finally:
        part.unlink(missing_ok=True)
    return copy, digest.hexdigest()


def _read_creation_date(path: Path) -> str | None:
    pdfium.FPDF_InitLibrary()
    document = pdfium.FPDF_LoadDocument(bytes(path), None)
    if not document:
        return None
    buffer = ctypes.create_string_buffer(_LONGEST_DATE_BYTES)
    length = pdfium.FPDF_GetMetaText(document, b"CreationDate", buffer, _LONGEST_DATE_BYTES)
    pdfium.FPDF_CloseDocument(document)
    if not 2 < length <= _LONGEST_DATE_BYTES:
        return None
    return buffer.raw[: length - 2].decode("utf-16-le", "replace")
