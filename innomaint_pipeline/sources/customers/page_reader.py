"""The bounded process that reads a share of a list's pages, and writes them to standard output.

Belongs here: its bounds, its end with its parent, its order of work. One line of JSON for each page, see
`reading`, which starts it. A stranger's file may end it at any moment.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from innomaint_pipeline.domain.customers.cells import read_page
from innomaint_pipeline.domain.customers.drawn import Cell, PageFault, TablePage, Unreadable
from innomaint_pipeline.sources.customers.pdf_pages import PdfError, PdfPages
from innomaint_pipeline.sources.customers.streams import NotWholeError, check_ends, check_streams

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Order:
    """What a process is asked for: every `shares`-th page beginning with `share`, from 0, within its bounds."""

    path: str
    share: int
    shares: int
    cpu_seconds: int
    memory_mb: int
    most_pages: int
    parent: int


def main() -> None:
    """Read what the argument, an `Order` as JSON, asks for."""
    order = Order(**json.loads(sys.argv[1]))
    out = sys.stdout
    _end_with_parent(order.parent)
    _limit_itself(order)
    try:
        _read(order, out)
    except NotWholeError as error:
        _say(out, "refused", {"message": str(error), "bound": None})
    except MemoryError:
        _say(
            out,
            "refused",
            {"message": f"it takes more than {order.memory_mb} MiB of memory", "bound": "memory"},
        )
    except Exception as error:  # noqa: BLE001 # whatever a stranger's file does, it is refused
        # No text of the error: it may quote the file.
        _say(
            out,
            "refused",
            {"message": f"reading it failed ({type(error).__name__} {_place_of(error)})", "bound": None},
        )


def _read(order: Order, out: TextIO) -> None:
    path = Path(order.path)
    check_ends(path)
    try:
        pages = PdfPages(path)
    except PdfError as error:
        # What pdfium refuses, pikepdf may name: a password.
        check_streams(path, pages=0, share=0, shares=1)
        raise NotWholeError(str(error)) from None
    if pages.count > order.most_pages:
        message = f"found {pages.count} pages, expected at most {order.most_pages}"
        _say(out, "refused", {"message": message, "bound": "pages"})
        return
    _say(out, "opened", {"pages": pages.count})
    report = check_streams(path, pages=pages.count, share=order.share, shares=order.shares)
    _say(out, "streams", asdict(report))
    for number in range(order.share + 1, pages.count + 1, order.shares):
        try:
            page = read_page(number, pages.draw(number))
        except PdfError as error:
            page = PageFault(number, str(error))
        if isinstance(page, TablePage):
            _say(out, "page", _as_json(page))
        else:
            _say(out, "fault", asdict(page))
    pages.close()
    _say(out, "end", {})


def _as_json(page: TablePage) -> dict[str, object]:
    return {
        "number": page.number,
        "edges": page.edges,
        "headers": [_cell_as_json(it) for it in page.headers],
        "rows": [[_cell_as_json(it) for it in row] for row in page.rows],
    }


def _cell_as_json(cell: Cell) -> str | list[str]:
    return [cell.raw, cell.reason] if isinstance(cell, Unreadable) else cell


def _say(out: TextIO, kind: str, content: object) -> None:
    out.write(json.dumps({kind: content}, separators=(",", ":")) + "\n")
    out.flush()


def _place_of(error: BaseException) -> str:
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f"at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "nowhere"


def _limit_itself(order: Order) -> None:
    try:
        import resource  # noqa: PLC0415 # not on Windows
    except ImportError:
        return
    for kind, limit in (
        (resource.RLIMIT_AS, order.memory_mb * 2**20),
        (resource.RLIMIT_CPU, order.cpu_seconds),
        (resource.RLIMIT_CORE, 0),
    ):
        soft, hard = resource.getrlimit(kind)
        known = [it for it in (soft, hard, limit) if it != resource.RLIM_INFINITY]
        # The hard limit stays: beyond the soft one of processor time the system sends SIGXCPU, whose meaning
        # is known, beyond the hard one SIGKILL.
        with suppress(ValueError, OSError):
            resource.setrlimit(kind, (min(known), hard))


def _end_with_parent(parent: int) -> None:
    """End when the parent does, also where it is killed: Linux tells it, elsewhere the closed pipe does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
    threading.stack_size(256 * 1024)
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    with suppress(OSError):
        os.read(0, 1)
    os._exit(1)
