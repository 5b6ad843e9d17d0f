"""The arrival of a list: the newest file of a folder, copied under its hash, or why there is none.

Belongs here: `look`, behind which another way of arrival would be one function more. Looking and copying run
in a process of their own (`inbox_watcher`).
"""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import Process
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, ValidationError

from innomaint_pipeline.domain.customers.arrival import parse_creation_date, show_name
from innomaint_pipeline.errors import DiskFullError, SourceRefusedError, TransientSourceError
from innomaint_pipeline.sources.customers.bounded import end_processes, start_process
from innomaint_pipeline.sources.customers.inbox_watcher import Order

_WATCHER = "innomaint_pipeline.sources.customers.inbox_watcher"


@dataclass(frozen=True, slots=True)
class Export:
    """A list that has arrived.

    `path` is the private copy, named by `sha256`; `name` the file's in the inbox, escaped; `exported_at` the
    PDF's CreationDate, else `file_time`; `passed_over` the names of files whose time is ahead of the clock.
    """

    path: Path
    sha256: str
    exported_at: datetime
    name: str
    size: int
    file_time: datetime
    passed_over: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Nothing:
    """There is nothing to take."""

    reason: str


@dataclass(frozen=True, slots=True)
class TooLarge:
    """The newest file is larger than a list may be; it was neither hashed nor copied."""

    name: str
    size: int
    file_time: datetime


class StillGrowingError(TransientSourceError):
    """The newest file is not complete yet; looking again helps."""


@dataclass(frozen=True, slots=True)
class LookingBounds:
    """What looking may take: seconds by the clock in all; for a file's date processor time and memory, too.

    `settle_seconds` is how long size and time of a file must stay the same.
    """

    seconds: float = 60
    settle_seconds: float = 2
    cpu_seconds: int = 60
    memory_mb: int = 512


async def look(
    inbox: Path,
    copies: Path,
    *,
    max_bytes: int,
    timezone: ZoneInfo,
    is_chosen: bool = False,
    bounds: LookingBounds = LookingBounds(),
) -> Export | Nothing | TooLarge:
    """Look into the inbox, a folder or one file, and copy the newest list into the folder `copies`.

    A copy that is there already stays; the inbox is never changed. `is_chosen` takes a file that a person
    named as it is, without waiting for its end. Raises `StillGrowingError`, `TransientSourceError` where the
    inbox is absent, not readable or does not answer in time, `DiskFullError` where the copy cannot be
    written, and `SourceRefusedError` where a named file cannot be read; repeating helps in the first two
    cases.
    """
    order = Order(
        inbox=os.fsencode(inbox.absolute()).hex(),  # noqa: ASYNC240 # asks for the working folder alone
        copies=str(copies),
        is_chosen=is_chosen,
        most_bytes=max_bytes,
        settle_seconds=bounds.settle_seconds,
        cpu_seconds=bounds.cpu_seconds,
        memory_mb=bounds.memory_mb,
    )
    process = await start_process(_WATCHER, asdict(order))
    said: list[_Line] = []
    is_late = False
    try:
        async with asyncio.timeout(bounds.seconds):
            await _listen(process, said)
    except TimeoutError:
        is_late = True
    finally:
        await end_processes([process])
    if is_chosen and said and (refused := said[0].unreachable):
        raise SourceRefusedError(
            f"the file {show_name(str(inbox))} cannot be read ({refused.reason}): look whether it is there, "
            "and whether this program may read it"
        )
    reason = f"it did not answer within {bounds.seconds:g} s" if is_late else "looking into it was ended"
    return _understand(said, timezone, reason)


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Nothing(_Message):
    ahead: tuple[str, ...]


class _File(_Message):
    name: str
    size: int
    time: float
    ahead: tuple[str, ...]


class _Copied(_File):
    path: str
    sha256: str


class _Created(_Message):
    date: str | None


class _Reason(_Message):
    reason: str


class _Line(_Message):
    nothing: _Nothing | None = None
    too_large: _File | None = None
    export: _Copied | None = None
    created: _Created | None = None
    growing: _Reason | None = None
    full: _Reason | None = None
    unreachable: _Reason | None = None


async def _listen(process: Process, said: list[_Line]) -> None:
    if process.stdout is None:
        raise RuntimeError("the pipe of the process that looks into the inbox was not made")
    while line := await process.stdout.readline():
        try:
            said.append(_Line.model_validate_json(line))
        except ValidationError:
            return
    await process.wait()


def _understand(said: list[_Line], zone: ZoneInfo, reason: str) -> Export | Nothing | TooLarge:
    """Return what the process found; `reason` is why it said nothing, if it did not."""
    first = said[0] if said else _Line()
    if first.export:
        # Without a second line the file has ended its reader: its date is not known.
        date = said[1].created.date if len(said) > 1 and said[1].created else None
        return _build_export(first.export, date, zone)
    if first.nothing:
        return Nothing("there is no list in the inbox" + tell_ahead(first.nothing.ahead))
    if first.too_large:
        return TooLarge(first.too_large.name, first.too_large.size, _moment(first.too_large.time))
    if first.growing:
        raise StillGrowingError(first.growing.reason)
    if first.full:
        raise DiskFullError(
            f"the list cannot be copied ({first.full.reason}); make room where the program keeps its data"
        )
    reason = first.unreachable.reason if first.unreachable else reason
    raise TransientSourceError(
        f"the inbox cannot be read ({reason}); look whether it is there and mounted, and whether "
        "this program may read it"
    )


def _build_export(copied: _Copied, date: str | None, zone: ZoneInfo) -> Export:
    file_time = _moment(copied.time)
    created = parse_creation_date(date, zone, file_time) if date is not None else None
    return Export(
        path=Path(copied.path),
        sha256=copied.sha256,
        exported_at=created or file_time,
        name=copied.name,
        size=copied.size,
        file_time=file_time,
        passed_over=copied.ahead,
    )


def tell_ahead(names: tuple[str, ...]) -> str:
    """Return what to add to a reason where files were passed over."""
    return f"; passed over, for times ahead of the clock: {', '.join(names)}" if names else ""


def _moment(timestamp: float) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC)
