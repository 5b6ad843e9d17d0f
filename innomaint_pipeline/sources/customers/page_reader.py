"""The bounded process that reads a share of a list's pages, and writes them to standard output.

Belongs here: its order of work. One line of JSON for each page, see `reading`, which starts it. A stranger's
file may end it at any moment.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from innomaint_pipeline.domain.customers.cells import read_page
from innomaint_pipeline.domain.customers.drawn import Cell, PageFault, TablePage, Unreadable
from innomaint_pipeline.sources.customers.bounded import limit_itself, say, take_order
from innomaint_pipeline.sources.customers.pdf_pages import PdfError, PdfPages
from innomaint_pipeline.sources.customers.streams import (
    NoPdfError,
    NotWholeError,
    check_ends,
    check_streams,
    open_pdf,
)


def main() -> None:
    """Read what the order asks for, and say it; whatever goes wrong with the file refuses it."""
    order = take_order()
    memory_mb = order.pop("memory_mb")
    limit_itself(cpu_seconds=order.pop("cpu_seconds"), memory_mb=memory_mb)
    try:
        _read(Path(order.pop("path")), **order)
    except NotWholeError as error:
        _refuse(str(error), is_pdf=not isinstance(error, NoPdfError))
    except MemoryError:
        _refuse(f"reading it takes more than {memory_mb} MiB of memory", bound="memory")
    except Exception as error:  # noqa: BLE001 # whatever a stranger's file does, it is refused
        # No text of the error: it may quote the file.
        _refuse(f"reading it failed ({type(error).__name__} {_place_of(error)})")


def _read(path: Path, *, share: int, shares: int, most_pages: int) -> None:
    """Read every `shares`-th page from `share` on; the last one first, which tells the Count."""
    check_ends(path)
    try:
        pages = PdfPages(path)
    except PdfError as error:
        # What pdfium refuses, pikepdf may name: a password.
        with open_pdf(path):
            raise NotWholeError(str(error)) from None
    if pages.count > most_pages:
        _refuse(f"found {pages.count} pages, expected at most {most_pages}", bound="pages")
        return
    say("opened", {"pages": pages.count})
    say("streams", asdict(check_streams(path, pages=pages.count, share=share, shares=shares)))
    for number in reversed(range(share + 1, pages.count + 1, shares)):
        try:
            page = read_page(number, pages.draw(number))
        except PdfError as error:
            page = PageFault(number, str(error))
        if isinstance(page, TablePage):
            say("page", _as_json(page))
        else:
            say("fault", asdict(page))
    pages.close()
    say("end", {})


def _refuse(message: str, *, bound: str | None = None, is_pdf: bool = True) -> None:
    say("refused", {"message": message, "bound": bound, "is_pdf": is_pdf})


def _as_json(page: TablePage) -> dict[str, object]:
    return {
        "number": page.number,
        "edges": page.edges,
        "headers": [_cell_as_json(it) for it in page.headers],
        "rows": [[_cell_as_json(it) for it in row] for row in page.rows],
    }


def _cell_as_json(cell: Cell) -> str | list[str]:
    return [cell.raw, cell.reason] if isinstance(cell, Unreadable) else cell


def _place_of(error: BaseException) -> str:
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f"at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "nowhere"
