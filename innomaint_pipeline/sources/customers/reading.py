"""A customer list as PDF -> its customers, read in bounded processes that share the pages.

Belongs here: how those processes are started and ended, what of their answers is believed, and what an end
without an answer means. What they do is `page_reader`.
"""

from __future__ import annotations

import asyncio
import signal
from asyncio.subprocess import Process
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Annotated, Any

import pypdfium2
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from innomaint_pipeline.domain.customers.assembling import assemble_list, count_customers, refuse_file
from innomaint_pipeline.domain.customers.drawn import Cell, PageFault, TablePage, Unreadable
from innomaint_pipeline.domain.customers.headers import HeaderNames
from innomaint_pipeline.domain.customers.lists import CustomerList
from innomaint_pipeline.errors import ReaderEndedError
from innomaint_pipeline.sources.customers.bounded import end_processes, kill_process, start_process

PARSER_VERSION = (
    f"1 (pypdfium2 {pypdfium2.PYPDFIUM_INFO}, pdfium {str(pypdfium2.PDFIUM_INFO).partition('@')[0]})"
)
"""Ours, and that of what reads PDF: another of either may read a list otherwise."""

_PROCESSES = 2
_WALL_CLOCK_TIMES = 5
_READER = "innomaint_pipeline.sources.customers.page_reader"
# The system, or a person, ended it. Any other signal is the file's work.
_FROM_OUTSIDE = {"SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"}
# How pdfium and the standard library of C++ end where there is no memory.
_WITHOUT_MEMORY = {"SIGABRT", "SIGTRAP", "SIGILL"}

OnProgress = Callable[[int, int | None], None]


@dataclass(frozen=True, slots=True)
class ParserBounds:
    """What reading a file may take.

    Processor time (of the wall clock five times that), memory and output count for each process.
    """

    cpu_seconds: int = 60
    memory_mb: int = 512
    pages: int = 5_000
    output_mb: int = 64


async def read_list(
    path: Path, bounds: ParserBounds, headers: HeaderNames, *, on_progress: OnProgress | None = None
) -> CustomerList:
    """Read a customer list, and check what the file alone can tell.

    `on_progress` is told how many customers are read, and the list's Count once it is known. A file that is
    no whole PDF, ends its reader or is beyond its bounds gives a list without rows whose `file_is_whole`
    failed; its figures name the `bound` (`time`, `memory`, `pages`, `output`), and `is_pdf` false where the
    file does not begin with `%PDF-`. `path` is absolute. Raises
    `ReaderEndedError` if a process was ended from outside, or the wall clock ran out: the file may be read
    again.
    """
    gathered = _Gathered(headers, on_progress)
    following: dict[Process, asyncio.Task[None]] = {}
    wall_clock = bounds.cpu_seconds * _WALL_CLOCK_TIMES
    try:
        for share in range(_PROCESSES):
            process = await start_process(_READER, _order(path, share, bounds))
            following[process] = asyncio.create_task(_follow(process, bounds, gathered))
        ended, running = await asyncio.wait(
            following.values(), timeout=wall_clock, return_when=asyncio.FIRST_EXCEPTION
        )
        raised = [error for it in ended if (error := it.exception())]
    finally:
        await _end(following)
    for error in sorted(raised, key=lambda it: isinstance(it, ReaderEndedError)):
        if isinstance(error, _RefusedError):
            return refuse_file(error.message, pages=gathered.pages or 0, **error.figures)
        raise error
    if running:
        raise ReaderEndedError(
            f"reading took over {wall_clock} s by the clock, though not {bounds.cpu_seconds} s of processor "
            "time: the machine is too busy, or its disk hangs"
        )
    return gathered.assemble()


class _RefusedError(Exception):
    """A process refused the file, or ended by it."""

    def __init__(self, message: str, bound: str | None = None, *, is_pdf: bool = True) -> None:
        super().__init__(message)
        self.message = message
        self.figures: dict[str, Any] = {} if bound is None else {"bound": bound}
        if not is_pdf:
            self.figures["is_pdf"] = False


def _order(path: Path, share: int, bounds: ParserBounds) -> dict[str, Any]:
    return {
        "path": str(path),
        "share": share,
        "shares": _PROCESSES,
        "most_pages": bounds.pages,
        "cpu_seconds": bounds.cpu_seconds,
        "memory_mb": bounds.memory_mb,
    }


async def _end(following: dict[Process, asyncio.Task[None]]) -> None:
    for process in following:
        kill_process(process)
    await asyncio.gather(*following.values(), return_exceptions=True)
    await end_processes(following)


async def _follow(process: Process, bounds: ParserBounds, gathered: _Gathered) -> None:
    """Take what a process says until it has ended; raise for an end without an answer."""
    if process.stdout is None:
        raise RuntimeError("the pipe of the reader's process was not made")
    said, is_done = 0.0, False
    while True:
        try:
            line = await process.stdout.readline()
        except ValueError:
            line, said = b"", inf
        said += len(line)
        if said > bounds.output_mb * 2**20:
            raise _RefusedError(f"its texts take more than {bounds.output_mb} MiB", "output")
        if not line:
            break
        is_done = gathered.take(line)
    code = await process.wait()
    if not is_done or code != 0:
        raise _judge_end(code, bounds)


def _judge_end(code: int, bounds: ParserBounds) -> Exception:
    name = f"exit code {code}"
    if code < 0:
        with suppress(ValueError):
            name = signal.Signals(-code).name
    if name in _FROM_OUTSIDE:
        return ReaderEndedError(
            f"the process that reads the list was ended from outside ({name}); it is read again"
        )
    if name == "SIGXCPU":
        return _RefusedError(f"reading it takes more than {bounds.cpu_seconds} s of processor time", "time")
    bound = "memory" if name in _WITHOUT_MEMORY else None
    return _RefusedError(f"it ended the process that reads it ({name}), within {bounds.memory_mb} MiB", bound)


# What the processes say


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


_Text = Annotated[str, Field(max_length=1_000_000)]
_Cell = _Text | Annotated[list[_Text], Field(min_length=2, max_length=2)]


class _Opened(_Message):
    pages: int = Field(ge=0)


class _Streams(_Message):
    packed: int = Field(ge=0)
    wrong_checksums: list[int]


class _Page(_Message):
    number: int = Field(ge=1)
    edges: list[float]
    headers: list[_Cell] = Field(min_length=1)
    rows: list[list[_Cell]]


class _Fault(_Message):
    number: int = Field(ge=1)
    message: _Text
    lacking: list[_Text]


class _Refused(_Message):
    message: _Text
    bound: str | None
    is_pdf: bool


class _End(_Message):
    pass


class _Line(_Message):
    opened: _Opened | None = None
    streams: _Streams | None = None
    page: _Page | None = None
    fault: _Fault | None = None
    refused: _Refused | None = None
    end: _End | None = None


@dataclass(slots=True)
class _Gathered:
    """What both processes have said so far."""

    headers: HeaderNames
    on_progress: OnProgress | None
    pages: int | None = None
    read: dict[int, TablePage | PageFault] = field(default_factory=dict)
    packed: int = 0
    wrong_checksums: list[int] = field(default_factory=list)
    customers: int = 0
    count: int | None = None

    def take(self, line: bytes) -> bool:
        """Take a line; True if it was the last one. Raises `_RefusedError` also for what no reader says."""
        try:
            said = _Line.model_validate_json(line)
        except ValidationError:
            raise _RefusedError("it made its reader say what no reader says") from None
        if said.refused:
            raise _RefusedError(said.refused.message, said.refused.bound, is_pdf=said.refused.is_pdf)
        if said.opened:
            self.pages = said.opened.pages
        if said.streams:
            self.packed += said.streams.packed
            self.wrong_checksums += said.streams.wrong_checksums
        if said.fault:
            self.read[said.fault.number] = PageFault(
                said.fault.number, said.fault.message, tuple(said.fault.lacking)
            )
        if said.page:
            self._take_page(said.page)
        return said.end is not None

    def _take_page(self, said: _Page) -> None:
        if len(said.edges) != len(said.rows) + 1 or any(len(it) != len(said.headers) for it in said.rows):
            raise _RefusedError("it made its reader say what no reader says")
        page = TablePage(
            said.number,
            tuple(map(_as_cell, said.headers)),
            tuple(said.edges),
            tuple(tuple(map(_as_cell, row)) for row in said.rows),
        )
        self.read[page.number] = page
        customers, count = count_customers(page, self.headers)
        self.customers += customers
        self.count = self.count if count is None else count
        if customers and self.on_progress:
            self.on_progress(self.customers, self.count)

    def assemble(self) -> CustomerList:
        """Return the list, once both processes have ended well."""
        if self.pages is None or sorted(self.read) != list(range(1, self.pages + 1)):
            return refuse_file("not every page of it was read", pages=self.pages or 0)
        # A producer most of whose checksums are wrong writes them wrongly; a few wrong ones are damage.
        if self.wrong_checksums and 2 * len(self.wrong_checksums) <= self.packed:
            pages = sorted(set(self.wrong_checksums))
            where = ", ".join(f"page {it}" if it else "a stream that pages share" for it in pages[:5])
            return refuse_file(
                f"{where}: its content is damaged: it unpacks to another checksum than its own",
                pages=self.pages,
                faulty_pages=pages[:5],
            )
        return assemble_list([self.read[it] for it in sorted(self.read)], self.headers)


def _as_cell(said: str | list[str]) -> Cell:
    return said if isinstance(said, str) else Unreadable(said[0], said[1])
