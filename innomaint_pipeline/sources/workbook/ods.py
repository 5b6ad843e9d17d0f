"""OpenDocument spreadsheets (.ods), cell by cell.

Belongs here: the XML of a spreadsheet of OpenDocument. General readers drop the blanks, tabs and line breaks
inside a text, return nothing for an error, and know no merged cells.
"""

import math
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import BinaryIO
from xml.parsers import expat

from innomaint_pipeline.domain.workbook.cells import Cell, UnknownCell, ZeroPaddedNumber, unknown_from_text
from innomaint_pipeline.domain.workbook.sheets import MergedCells, SheetRows, UnreadSheet
from innomaint_pipeline.errors import WorkbookError
from innomaint_pipeline.sources.workbook.grid import Grid, SheetTooLargeError
from innomaint_pipeline.sources.workbook.zip_parts import WorkbookBounds, ZipParts

_MANIFEST, _CONTENT = "META-INF/manifest.xml", "content.xml"
_NAMESPACE = "urn:oasis:names:tc:opendocument:xmlns:{}:1.0 "
_OFFICE, _TABLE, _TEXT = (_NAMESPACE.format(it) for it in ("office", "table", "text"))
_STYLE, _NUMBER = _NAMESPACE.format("style"), _NAMESPACE.format("datastyle")
_CALC_TYPE = "urn:org:documentfoundation:names:experimental:calc:xmlns:calcext:1.0 value-type"
_CELLS = {_TABLE + "table-cell", _TABLE + "covered-table-cell"}
# What may stand inside a table and hold texts or tables of its own.
_SKIPPED = {
    *(_OFFICE + it for it in ("annotation", "annotation-end", "forms", "event-listeners")),
    *(_TABLE + it for it in ("tracked-changes", "shapes", "dde-links", "scenario", "detective")),
    *(_NAMESPACE.format("drawing") + it for it in ("frame", "custom-shape", "rect", "control", "a", "g")),
}
_MIDNIGHT = datetime.fromisoformat("1899-12-30")
_DURATION = re.compile(r"(-?)P(?:([0-9]+)D)?T(?:([0-9]+)H)?(?:([0-9]+)M)?(?:([0-9]+(?:[.,][0-9]+)?)S)?")


def read_ods(
    handle: BinaryIO, workbook: str, names: Sequence[str], bounds: WorkbookBounds
) -> Iterator[SheetRows | UnreadSheet]:
    """Yield the sheets in their order, those of `names` alone if any are given.

    A sheet that is too large is an `UnreadSheet`. Raises one of `DAMAGES`, and `WorkbookError` for an
    encrypted file.
    """
    parts = ZipParts(handle)
    if _MANIFEST in parts:
        _refuse_encrypted(parts, workbook)
    reader = _Reader(workbook, names, bounds)
    parts.parse(_CONTENT, reader.set_handlers, separator=" ")
    yield from reader.finished()


def _refuse_encrypted(parts: ZipParts, workbook: str) -> None:
    is_encrypted = False

    def start(tag: str, _: object) -> None:
        nonlocal is_encrypted
        is_encrypted = is_encrypted or tag.endswith("encryption-data")

    def set_handlers(parser: expat.XMLParserType) -> None:
        parser.StartElementHandler = start

    parts.parse(_MANIFEST, set_handlers)
    if is_encrypted:
        raise WorkbookError(f"{workbook}: the workbook is encrypted; save a copy without a password")


@dataclass(slots=True)
class _Sheet:
    name: str
    is_visible: bool
    grid: Grid
    reason: str | None = None
    head: Sequence[Sequence[Cell]] = ()
    row: int = 0
    column: int = 0
    # Default styles of cells by column: the first column behind each, and the style.
    ends: list[int] = field(default_factory=list)
    styles: list[str | None] = field(default_factory=list)


@dataclass(slots=True)
class _Reader:
    """Handlers that put the cells of each sheet into a grid, within its bounds."""

    workbook: str
    names: Sequence[str]
    bounds: WorkbookBounds
    sheets: list[_Sheet] = field(default_factory=list)
    hidden_styles: set[str] = field(default_factory=set)
    padded_formats: set[str] = field(default_factory=set)
    padded_styles: set[str] = field(default_factory=set)
    style: str = ""
    is_1904: bool = False
    sheet: _Sheet | None = None
    skipped: int = 0
    depth: int = 0
    cell: dict[str, str] | None = None
    # The cells of the row at hand: first column, how many times, what.
    row_cells: list[tuple[int, int, Cell]] = field(default_factory=list)
    row_merges: list[tuple[int, int, int]] = field(default_factory=list)
    row_repeats: int = 1
    row_style: str | None = None
    pieces: list[str] = field(default_factory=list)
    has_paragraph: bool = False
    is_in_paragraph: int = 0

    def set_handlers(self, parser: expat.XMLParserType) -> None:
        """Set the handlers of a parser."""
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._end
        parser.CharacterDataHandler = self._text

    def finished(self) -> Iterator[SheetRows | UnreadSheet]:
        """Yield what was read, once the whole part was parsed."""
        for sheet in self.sheets:
            if self.names and sheet.name not in self.names:
                continue
            if sheet.reason:
                yield UnreadSheet(sheet.name, sheet.reason, sheet.is_visible, sheet.head)
                continue
            yield sheet.grid.sheet(
                self.workbook, sheet.name, is_1904=self.is_1904, is_visible=sheet.is_visible
            )

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if self.skipped or tag in _SKIPPED:
            self.skipped += 1
        elif self.cell is not None:
            self._start_in_cell(tag, attributes)
        elif tag == _TABLE + "table":
            self._start_sheet(attributes)
        elif tag == _TABLE + "table-column":
            if self.sheet is not None:
                ends = self.sheet.ends
                ends.append((ends[-1] if ends else 0) + _count(attributes, "number-columns-repeated"))
                self.sheet.styles.append(attributes.get(_TABLE + "default-cell-style-name"))
        elif tag == _TABLE + "table-row":
            self.row_repeats = _count(attributes, "number-rows-repeated")
            self.row_style = attributes.get(_TABLE + "default-cell-style-name")
        elif tag in _CELLS:
            if self.sheet is not None:
                self.cell = attributes
        else:
            self._start_style(tag, attributes)

    def _start_style(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == _STYLE + "style":
            self.style = attributes.get(_STYLE + "name", "")
            if attributes.get(_STYLE + "data-style-name") in self.padded_formats:
                self.padded_styles.add(self.style)
        elif tag == _STYLE + "table-properties" and attributes.get(_TABLE + "display") == "false":
            self.hidden_styles.add(self.style)
        elif tag == _NUMBER + "number-style":
            self.style = attributes.get(_STYLE + "name", "")
        elif tag == _NUMBER + "number":
            digits = attributes.get(_NUMBER + "min-integer-digits", "")
            if digits.isdecimal() and int(digits) > 1:
                self.padded_formats.add(self.style)
        elif tag == _TABLE + "null-date":
            self.is_1904 = attributes.get(_TABLE + "date-value", "").startswith("1904")

    def _start_sheet(self, attributes: dict[str, str]) -> None:
        is_visible = attributes.get(_TABLE + "style-name") not in self.hidden_styles
        name = attributes.get(_TABLE + "name", f"Sheet{len(self.sheets) + 1}")
        self.sheet = _Sheet(name, is_visible, Grid(self.bounds))
        self.sheets.append(self.sheet)

    def _start_in_cell(self, tag: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        if tag == _TEXT + "p":
            if self.has_paragraph:
                self.pieces.append("\n")
            self.has_paragraph = True
            self.is_in_paragraph += 1
        elif tag == _TEXT + "s":
            count = attributes.get(_TEXT + "c", "1")
            self.pieces.append(
                " " * (min(int(count), self.bounds.cell_characters) if count.isdecimal() else 1)
            )
        elif tag in (_TEXT + "tab", _TEXT + "line-break"):
            self.pieces.append(" ")

    def _text(self, text: str) -> None:
        if self.is_in_paragraph and not self.skipped:
            self.pieces.append(text)

    def _end(self, tag: str) -> None:
        if self.skipped:
            self.skipped -= 1
        elif self.depth:
            self.depth -= 1
            self.is_in_paragraph -= tag == _TEXT + "p"
        elif tag in _CELLS:
            self._end_cell(is_covered=tag != _TABLE + "table-cell")
        elif tag == _TABLE + "table-row":
            self._end_row()
        elif tag == _TABLE + "table":
            self.sheet = None

    def _end_cell(self, *, is_covered: bool) -> None:
        attributes, sheet = self.cell, self.sheet
        self.cell = None
        text = "".join(self.pieces)
        self.pieces.clear()
        self.has_paragraph = False
        if attributes is None or sheet is None:
            return
        repeats = _count(attributes, "number-columns-repeated")
        columns, rows = (
            _count(attributes, "number-columns-spanned"),
            _count(attributes, "number-rows-spanned"),
        )
        if columns > 1 or rows > 1:
            self.row_merges.append((sheet.column, columns, rows))
        cell = None if is_covered else self._make_cell(attributes, text)
        if cell is not None:
            self.row_cells.append((sheet.column, repeats, cell))
        sheet.column += repeats

    def _end_row(self) -> None:
        sheet, cells, merges = self.sheet, self.row_cells, self.row_merges
        self.row_cells, self.row_merges = [], []
        if sheet is None:
            return
        sheet.column = 0
        first, repeats = sheet.row, self.row_repeats
        sheet.row += repeats
        if sheet.reason or (not cells and not merges):
            return
        try:
            for column, count, _ in cells:
                sheet.grid.extend_to(first + repeats - 1, column + count - 1)
            for row in range(first, first + repeats if cells else first):
                for column, count, cell in cells:
                    for at in range(column, column + count):
                        sheet.grid.put(row, at, cell)
            for column, columns, rows in merges:
                sheet.grid.merge(MergedCells(first, column, first + rows - 1, column + columns - 1))
        except SheetTooLargeError as error:
            sheet.reason, sheet.head = str(error), sheet.grid.head()
            sheet.grid = Grid(self.bounds)

    def _make_cell(  # noqa: PLR0911 # one for each type of a value
        self, attributes: dict[str, str], text: str
    ) -> Cell:
        kind = attributes.get(_OFFICE + "value-type")
        has_formula = _TABLE + "formula" in attributes
        if attributes.get(_CALC_TYPE) == "error":
            return UnknownCell(f"the error {text.strip() or 'without a name'}")
        if has_formula and (unknown := unknown_from_text(text)):
            return unknown
        if kind is None or kind == "void":
            if has_formula and not text:
                return UnknownCell("a formula that was never calculated")
            return text or None
        if kind == "string":
            return attributes.get(_OFFICE + "string-value", text) or None
        if kind in ("float", "percentage", "currency"):
            return self._number(attributes)
        if kind == "boolean":
            known = {"true": True, "false": False}
            value = attributes.get(_OFFICE + "boolean-value", "")
            return known.get(value, UnknownCell(f"the truth value '{value[:40]}'"))
        if kind in ("date", "time"):
            return _moment(attributes.get(f"{_OFFICE}{kind}-value", ""), kind)
        return UnknownCell(f"a value of the unknown type '{kind[:40]}'")

    def _number(self, attributes: dict[str, str]) -> Cell:
        value = attributes.get(_OFFICE + "value", "")
        try:
            number = float(value)
        except ValueError:
            return UnknownCell(f"the number '{value[:40]}'")
        if math.isnan(number) or "_" in value:
            return UnknownCell(f"the number '{value[:40]}'")
        if self._style_of_cell(attributes) in self.padded_styles:
            return ZeroPaddedNumber(number)
        return int(number) if number.is_integer() and abs(number) < 10**15 else number

    def _style_of_cell(self, attributes: dict[str, str]) -> str | None:
        """Return the style of the cell at hand: its own, else that of its row, else that of its column."""
        own = attributes.get(_TABLE + "style-name", self.row_style)
        if own is not None or self.sheet is None:
            return own
        place = bisect_right(self.sheet.ends, self.sheet.column)
        return self.sheet.styles[place] if place < len(self.sheet.styles) else None


def _count(attributes: dict[str, str], name: str) -> int:
    value = attributes.get(_TABLE + name, "1")
    return max(int(value), 1) if value.isdecimal() and len(value) < 10 else 1


def _moment(value: str, kind: str) -> Cell:
    if kind == "date":
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            return UnknownCell(f"the date '{value[:40]}'")
    match = _DURATION.fullmatch(value)
    if not match:
        return UnknownCell(f"the time '{value[:40]}'")
    days, hours, minutes = (int(match[at] or 0) for at in (2, 3, 4))
    try:
        length = timedelta(
            days=days, hours=hours, minutes=minutes, seconds=float((match[5] or "0").replace(",", "."))
        )
    except OverflowError:
        return UnknownCell(f"the time '{value[:40]}'")
    if match[1]:
        return -length
    return (_MIDNIGHT + length).time() if length < timedelta(days=1) else length
