"""A small customer list as plain PDF operators, which a test spoils before it is written.

`RawList(invent_customers(8))` draws every row of every column; `texts[row, name]` are the operators of a cell
(row 0 is the header, the last one the totals), `borders[row, name]` those of its frame, `more[name]` what is
added to the page of a column. All people are invented.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from innomaint_pipeline.domain.customers.assembling import assemble_list
from innomaint_pipeline.domain.customers.cells import read_page
from innomaint_pipeline.domain.customers.headers import build_header_names
from innomaint_pipeline.domain.customers.lists import CustomerList, Finding, ValueIssue
from innomaint_pipeline.simulator.customers.drawing import HEADERS, print_table
from innomaint_pipeline.simulator.customers.people import Customer
from innomaint_pipeline.sources.customers.pdf_pages import PdfPages
from innomaint_pipeline.sources.customers.reading import ParserBounds, read_list

SIZE, ROW, ADVANCE = 9.75, 13.5, 0.6 * 9.75
"""Of the type, of a row, and of every letter of the font F2, in points."""

NAMES = build_header_names({})
_PAGES = (
    ("erp_id", "account_num", "name"),
    ("vat_number", "pec", "sdi", "fiscal_code"),
    ("delivery_terms", "street", "postal_code", "city"),
    ("phone", "mobile", "url", "attention_to", "last_order_date"),
    ("actual_order_count", "actual_sales"),
    ("previous_order_count_1", "previous_sales_1"),
    ("previous_order_count_2", "previous_sales_2"),
    ("description", "type", "external_account_number"),
    ("our_account_number",),
)
_FONTS = {"F1": "Times-Roman", "F2": "Courier"}


def show(x: float, y: float, text: str, *, font: str = "F1", size: float = SIZE, before: str = "0 g") -> str:
    """Return the operators of a text."""
    return f"{before} BT /{font} {size} Tf 1 0 0 1 {x:.3f} {y:.3f} Tm <{text.encode('cp1252').hex()}> Tj ET"


def show_apart(x: float, y: float, parts: Sequence[str]) -> str:
    """Return texts of their own that touch each other; blanks are left out."""
    shown = []
    for part in parts:
        if part.strip():
            shown.append(show(x, y, part, font="F2"))
        x += ADVANCE * len(part)
    return " ".join(shown)


def frame(x: float, y: float, width: float, height: float) -> str:
    """Return the four thin rectangles around a cell."""
    lines = ((x - 0.25, y, 0.5, height), (x + width - 0.25, y, 0.5, height))
    lines += ((x, y - 0.25, width, 0.5), (x, y + height - 0.25, width, 0.5))
    return " ".join(f"0.66 g {a:.2f} {b:.2f} {c:.2f} {d:.2f} re f" for a, b, c, d in lines)


class RawList:
    """A list on nine pages, whose operators can be changed."""

    def __init__(self, customers: Sequence[Customer]) -> None:
        self.rows = [dict(HEADERS), *print_table(customers)]
        self._widths = {
            name: 12 + ADVANCE * max(16, *(len(row[name]) for row in self.rows[1:])) for name in HEADERS
        }
        self.texts: dict[tuple[int, str], str] = {}
        self.borders: dict[tuple[int, str], str] = {}
        self.more: dict[str, str] = {}
        self.first: str = ""
        self.fonts = {
            name: f"<</Type/Font/Subtype/Type1/BaseFont/{base}/Encoding/WinAnsiEncoding>>".encode()
            for name, base in _FONTS.items()
        }
        self.further: list[bytes] = []
        for row, cells in enumerate(self.rows):
            for name in HEADERS:
                x, y = self.place(row, name)
                fill = f"0.5 g {x} {y} {self.width(name)} {ROW} re f " if row == 0 else ""
                self.borders[row, name] = fill + frame(x, y, self.width(name), ROW)
                if cells[name]:
                    size = 3.0 if row == 0 else SIZE
                    self.texts[row, name] = show(
                        x + 2.15, y + 3.5, cells[name], size=size, before="1 g" if row == 0 else "0 g"
                    )

    def width(self, name: str) -> float:
        """Return the width of a column."""
        return self._widths[name]

    def place(self, row: int, name: str) -> tuple[float, float]:
        """Return the lower left corner of a cell."""
        page = next(it for it in _PAGES if name in it)
        x = 72 + sum(self.width(it) for it in page[: page.index(name)])
        return x, 720 - ROW * (row + 1)

    def at(self, row: int, name: str) -> tuple[float, float]:
        """Return where the text of a cell begins."""
        x, y = self.place(row, name)
        return x + 2.15, y + 3.5

    def page_of(self, name: str) -> int:
        """Return the number of a column's page, from 1."""
        return next(number for number, it in enumerate(_PAGES, start=1) if name in it)

    def build(self) -> bytes:
        """Return the PDF."""
        objects = [b"<</Type/Catalog/Pages 2 0 R>>", b"", *self.further]
        fonts = b""
        for name, body in self.fonts.items():
            objects.append(body)
            fonts += f"/{name} {len(objects)} 0 R".encode()
        kids = []
        for names in _PAGES:
            cells = [(row, name) for row in range(len(self.rows)) for name in names]
            parts = [self.first, *(self.borders.get(it, "") for it in cells)]
            parts += [self.texts.get(it, "") for it in cells] + [self.more.get(it, "") for it in names]
            packed = zlib.compress("\n".join(parts).encode("latin-1"))
            head = b"<</Filter/FlateDecode/Length %d>>\nstream\n" % len(packed)
            objects.append(head + packed + b"\nendstream")
            objects.append(
                b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 900 792]/Contents %d 0 R/Resources<</Font<<%b>>"
                b"/Properties<</MC0<</Type/OCG/Name(Layer)>>>>>>>>" % (len(objects), fonts)
            )
            kids.append(b"%d 0 R" % len(objects))
        objects[1] = b"<</Type/Pages/Count %d/Kids[%b]>>" % (len(kids), b" ".join(kids))
        return assemble_pdf(objects)


def assemble_pdf(objects: Sequence[bytes]) -> bytes:
    """Return a PDF of objects, the first of which is the catalog."""
    out, places = bytearray(b"%PDF-1.4\n"), []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    return bytes(out) + b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1,
        start,
    )


def read_here(path: Path, names: Mapping[str, Sequence[str]] | None = None) -> CustomerList:
    """Read a list in this process, without bounds: the test's own file."""
    pages = PdfPages(path)
    read = [read_page(number, pages.draw(number)) for number in range(1, pages.count + 1)]
    pages.close()
    return assemble_list(read, build_header_names(names or {}))


def read_apart(path: Path, bounds: ParserBounds | None = None) -> CustomerList:
    """Read a list as the program does."""
    return asyncio.run(read_list(path, bounds or ParserBounds(), NAMES))


def find_failed(content: CustomerList) -> list[Finding]:
    """Return the findings that failed."""
    return [it for it in content.findings if not it.passed]


def find_issues(content: CustomerList) -> dict[tuple[int, str], ValueIssue]:
    """Return the data issues, by row (1 is the first customer) and column."""
    return {
        (number, issue.field): issue
        for number, row in enumerate(content.rows, start=1)
        for issue in row.issues
    }
