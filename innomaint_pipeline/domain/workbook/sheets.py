"""One sheet of a workbook as read: its cells in rows, before anything is made of them.

Belongs here: what every reader returns. Which sheets are the register is `choice`, what rows mean `register`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from innomaint_pipeline.domain.workbook.cells import Cell, is_blank


@dataclass(frozen=True, slots=True)
class MergedCells:
    """A rectangle of merged cells; rows and columns from 0, the last ones included."""

    first_row: int
    first_column: int
    last_row: int
    last_column: int


@dataclass(frozen=True, slots=True)
class SheetRows:
    """One sheet as read: `rows[0]` is its row 1, `rows[0][0]` its cell A1; rows may differ in length.

    Merged cells are filled downwards (`fill_merged`). `notices` are what was seen while reading it. In a
    delimited text a row that is wider than the header was torn apart.
    """

    workbook: str
    sheet: str
    rows: Sequence[Sequence[Cell]]
    merged: Sequence[MergedCells] = ()
    is_1904: bool = False
    is_delimited: bool = False
    is_visible: bool = True
    notices: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class UnreadSheet:
    """A sheet that could not be read, and why; `head` are those of its first rows that were."""

    sheet: str
    reason: str
    is_visible: bool = True
    head: Sequence[Sequence[Cell]] = ()


def fill_merged(rows: Sequence[Sequence[Cell]], merged: Sequence[MergedCells]) -> list[list[Cell]]:
    """Return rows in which merged cells count for every row they cover, in their first column alone."""
    filled = list(map(list, rows))
    last_filled: dict[int, int] = {}
    for it in sorted(merged, key=lambda it: (it.first_column, it.first_row)):
        # Rectangles do not overlap in a sound file; in a hostile one they would cost rows times rectangles.
        first = max(it.first_row + 1, last_filled.get(it.first_column, -1) + 1)
        last = min(it.last_row, len(filled) - 1)
        if it.first_row >= len(filled) or last < first:
            continue
        last_filled[it.first_column] = last
        source = filled[it.first_row]
        cell = source[it.first_column] if it.first_column < len(source) else None
        if is_blank(cell):
            continue
        for row in filled[first : last + 1]:
            row.extend([None] * (it.first_column + 1 - len(row)))
            row[it.first_column] = cell
    return filled
