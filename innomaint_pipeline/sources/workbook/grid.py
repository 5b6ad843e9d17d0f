"""The cells of one sheet while it is read: where they stand, and how much they may be.

Belongs here: rows built cell by cell within bounds, whatever the format; numbers that are dates.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache

from innomaint_pipeline.domain.workbook.cells import Cell, UnknownCell, ZeroPaddedNumber
from innomaint_pipeline.domain.workbook.dates import EXCEL_DAY_THAT_NEVER_WAS
from innomaint_pipeline.domain.workbook.headers import HEADER_SEARCH_ROWS, column_letters
from innomaint_pipeline.domain.workbook.sheets import MergedCells, SheetRows, fill_merged
from innomaint_pipeline.sources.workbook.zip_parts import WorkbookBounds

_MERGED_RANGES = 200_000
_FIRST_DAY, _FIRST_DAY_1904 = datetime.fromisoformat("1899-12-30"), datetime.fromisoformat("1904-01-01")


class SheetTooLargeError(Exception):
    """A sheet that is more than the bounds allow; the message says where, and what to do."""


class Grid:
    """Rows of a sheet, put together cell by cell; rows and columns count from 0."""

    def __init__(self, bounds: WorkbookBounds) -> None:
        self._bounds = bounds
        self._rows: dict[int, list[Cell]] = {}
        self._last_row = self._last_column = -1
        self._characters = 0
        self.merged: list[MergedCells] = []

    def put(self, row: int, column: int, cell: Cell) -> None:
        """Put a cell that is not empty in its place."""
        if row > self._last_row or column > self._last_column:
            self.extend_to(row, column)
        if type(cell) is str:
            length = len(cell)
            self._characters += length
            if length > self._bounds.cell_characters or self._characters > self._bounds.sheet_characters:
                self._refuse_text(length, row, column)
        cells = self._rows.get(row)
        if cells is None:
            cells = self._rows[row] = []
        missing = column - len(cells)
        if missing < 0:
            cells[column] = cell
            return
        if missing:
            cells.extend([None] * missing)
        cells.append(cell)

    def extend_to(self, row: int, column: int) -> None:
        """Make the sheet reach to a cell; raises `SheetTooLargeError` where that is too far."""
        self._last_row = max(row, self._last_row)
        self._last_column = max(column, self._last_column)
        cells = (self._last_row + 1) * (self._last_column + 1)
        if cells > self._bounds.cells:
            raise SheetTooLargeError(
                f"its filled cells reach to row {self._last_row + 1:,} and column number "
                f"{self._last_column + 1:,}, a rectangle of {cells:,} cells, at most {self._bounds.cells:,} "
                "are read; clear the stray cells far below or right of the table"
            )

    def _refuse_text(self, length: int, row: int, column: int) -> None:
        if length > self._bounds.cell_characters:
            raise SheetTooLargeError(
                f"cell {column_letters(column)}{row + 1} holds {length:,} characters, at most "
                f"{self._bounds.cell_characters:,} fit a cell of Excel; shorten it"
            )
        raise SheetTooLargeError(
            f"its cells hold more than {self._bounds.sheet_characters:,} characters; split the sheet"
        )

    def merge(self, ranges: MergedCells) -> None:
        """Remember merged cells."""
        if len(self.merged) >= _MERGED_RANGES:
            raise SheetTooLargeError(f"it has more than {_MERGED_RANGES:,} merged cells; unmerge them")
        self.merged.append(ranges)

    def head(self) -> list[Sequence[Cell]]:
        """Return the rows among which a header is searched."""
        nothing: Sequence[Cell] = ()
        last = min(self._last_row + 1, HEADER_SEARCH_ROWS)
        return [self._rows.get(row, nothing) for row in range(last)]

    def sheet(
        self, workbook: str, name: str, *, is_1904: bool, is_visible: bool, notices: Sequence[str] = ()
    ) -> SheetRows:
        """Return the sheet, from its first row to the last filled one, merged cells filled downwards."""
        nothing: Sequence[Cell] = ()
        rows = [self._rows.get(row, nothing) for row in range(self._last_row + 1)]
        merged = tuple(self.merged)
        return SheetRows(
            workbook,
            name,
            fill_merged(rows, merged) if merged else rows,
            merged,
            is_1904=is_1904,
            is_visible=is_visible,
            notices=notices,
        )


_QUOTED = re.compile(r'"[^"]*"|\\.|[_*].')
_BRACKETS = re.compile(r"\[[^\]]*\]")
_ELAPSED = re.compile(r"\[(?:h+|m+|s+)\]", re.IGNORECASE)
_DATE_LETTERS = re.compile(r"[dmyhs]", re.IGNORECASE)
_ZERO_PADDED = re.compile(r"0[0\-\s/]*0(?![.0]*[#?])")

GENERAL, DATE, ELAPSED, ZERO_PADDED = "general", "date", "elapsed", "zero padded"


def kind_of_format(code: str) -> str:
    """Return what a number format makes of a number: GENERAL, DATE, ELAPSED or ZERO_PADDED."""
    bare = _QUOTED.sub("", code).split(";")[0]
    if _ELAPSED.search(bare):
        return ELAPSED
    bare = _BRACKETS.sub("", bare)
    if bare.strip().casefold() in ("general", "standard", "@", ""):
        return GENERAL
    if _DATE_LETTERS.search(bare):
        return DATE
    return ZERO_PADDED if _ZERO_PADDED.match(bare.strip().split(".")[0]) else GENERAL


@lru_cache(maxsize=2**16, typed=True)
def apply_format(number: float, kind: str, *, is_1904: bool) -> Cell:
    """Return the cell that a formatted number is."""
    if kind == ZERO_PADDED:
        return ZeroPaddedNumber(number)
    if kind == GENERAL:
        return number
    try:
        if kind == ELAPSED:
            return timedelta(milliseconds=round(number * 86_400_000))
        return date_of_serial(number, is_1904=is_1904)
    except OverflowError:
        return UnknownCell(f"the number {number!r} formatted as a date")


def date_of_serial(number: float, *, is_1904: bool) -> Cell:
    """Return the moment of a day count, a time of day below 1; an `UnknownCell` where there is none."""
    milliseconds = round(number * 86_400_000)
    if 0 <= number < 1 and milliseconds < 86_400_000:
        return (_FIRST_DAY + timedelta(milliseconds=milliseconds)).time()
    if number < 0:
        return UnknownCell(f"the number {number!r} formatted as a date")
    if not is_1904 and EXCEL_DAY_THAT_NEVER_WAS <= number < EXCEL_DAY_THAT_NEVER_WAS + 1:
        return UnknownCell("29 February 1900, a day that never was")
    first_day = _FIRST_DAY_1904 if is_1904 else _FIRST_DAY
    # 1900 was no leap year, but the 1900 system has its 29 February.
    shift = 1 if not is_1904 and number < EXCEL_DAY_THAT_NEVER_WAS else 0
    return first_day + timedelta(days=shift, milliseconds=milliseconds)
