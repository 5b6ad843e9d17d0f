"""Lines of a page -> the edges of its table's columns and rows.

Belongs here: geometry of borders. What stands in a cell is `cells`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from innomaint_pipeline.domain.customers.drawn import Box, DrawnPage, Rule

_TOLERANCE = 1.0
# Below it two lines are one border: neither a row nor a column is so small.
_NARROWEST = 3.0


@dataclass(frozen=True, slots=True)
class Grid:
    """The edges of a table: `xs` ascending, `ys` descending; row 0 is the header."""

    xs: tuple[float, ...]
    ys: tuple[float, ...]

    def column_at(self, x: float) -> int | None:
        """Return the column over x."""
        index = bisect_right(self.xs, x) - 1
        return index if 0 <= index < len(self.xs) - 1 else None

    def row_at(self, y: float) -> int | None:
        """Return the row over y; 0 is the header."""
        index = len(self.ys) - 1 - bisect_right(self.ys[::-1], y)
        return index if 0 <= index < len(self.ys) - 1 else None


class GridError(Exception):
    """The lines of a page make no whole table.

    `lacking` are the columns, from 0, that lack a line, below the header row that is `header`.
    """

    def __init__(self, message: str, lacking: Sequence[int] = (), header: Grid | None = None) -> None:
        super().__init__(message)
        self.lacking = tuple(lacking)
        self.header = header


@dataclass(frozen=True, slots=True)
class _Line:
    """Pieces that lie on one line, put together."""

    at: float
    pieces: tuple[tuple[float, float], ...]

    def covers(self, start: float, end: float) -> bool:
        return any(a <= start + _TOLERANCE and b >= end - _TOLERANCE for a, b in self.pieces)


def find_grid(page: DrawnPage) -> Grid:
    """Return the grid of the page's table.

    The columns are those of the header's cells. A row's edge is a line under a whole cell, which must stand
    under every column. Raises `GridError` for anything else: merged cells, cells beside the table.
    """
    page_box = page.box
    horizontal = _put_together(
        it for it in page.horizontal if not _is_rim(it.at, page_box.bottom, page_box.top)
    )
    vertical = _put_together(it for it in page.vertical if not _is_rim(it.at, page_box.left, page_box.right))
    fills = [it for it in page.fills if not _covers_page(it, page_box)]
    if not horizontal:
        raise GridError("found no lines, expected the borders of a table")
    header = _find_header(horizontal[::-1], vertical, fills)
    xs = _find_columns(header, vertical, fills)
    ys = _find_rows(horizontal[::-1], xs, header)
    grid = Grid(xs, ys)
    _check_nothing_beside(grid, horizontal, vertical)
    _check_sides(grid, vertical)
    return grid


def _is_rim(at: float, low: float, high: float) -> bool:
    return abs(at - low) <= _TOLERANCE or abs(at - high) <= _TOLERANCE


def _covers_page(box: Box, page: Box) -> bool:
    return (
        box.left <= page.left + _TOLERANCE
        and box.right >= page.right - _TOLERANCE
        and box.bottom <= page.bottom + _TOLERANCE
        and box.top >= page.top - _TOLERANCE
    )


def _put_together(rules: Iterable[Rule]) -> list[_Line]:
    """Join what lies on one line (±1 pt), ascending."""
    lines: list[_Line] = []
    group: list[Rule] = []
    for rule in sorted(rules):
        if group and rule.at - group[0].at > _TOLERANCE:
            lines.append(_join(group))
            group = []
        group.append(rule)
    if group:
        lines.append(_join(group))
    return lines


def _join(rules: Sequence[Rule]) -> _Line:
    pieces: list[tuple[float, float]] = []
    for _, start, end in sorted(rules, key=lambda it: it.start):
        if pieces and start <= pieces[-1][1] + _TOLERANCE:
            pieces[-1] = (pieces[-1][0], max(pieces[-1][1], end))
        else:
            pieces.append((start, end))
    return _Line((rules[0].at + rules[-1].at) / 2, tuple(pieces))


def _find_header(descending: Sequence[_Line], vertical: Sequence[_Line], fills: Sequence[Box]) -> Box:
    """Return the band of the header: from the topmost line to the next of the same length."""
    top = descending[0]
    left, right = top.pieces[0][0], top.pieces[-1][1]
    for line in descending[1:]:
        if top.at - line.at > _NARROWEST and line.covers(left, right):
            band = Box(left, line.at, right, top.at)
            if len(_find_columns(band, vertical, fills)) > 1:
                return band
    raise GridError("found no header cells at the top of the table, expected one for each column")


def _find_columns(band: Box, vertical: Sequence[_Line], fills: Sequence[Box]) -> tuple[float, ...]:
    sides = [line.at for line in vertical if line.covers(band.bottom, band.top)]
    for fill in fills:
        if abs(fill.top - band.top) <= _TOLERANCE and abs(fill.bottom - band.bottom) <= _TOLERANCE:
            sides += (fill.left, fill.right)
    xs: list[float] = []
    for x in sorted(sides):
        if band.left - _TOLERANCE <= x <= band.right + _TOLERANCE and (not xs or x - xs[-1] > _NARROWEST):
            xs.append(x)
    return tuple(xs)


def _find_rows(descending: Sequence[_Line], xs: Sequence[float], header: Box) -> tuple[float, ...]:
    ys: list[float] = []
    for line in descending:
        is_under = [line.covers(left, right) for left, right in pairwise(xs)]
        if not any(is_under) or (ys and ys[-1] - line.at <= _NARROWEST):
            continue
        if not all(is_under):
            raise GridError(
                f"found no line under row {len(ys) - 1}, expected one under each of its cells, none merged",
                [index for index, it in enumerate(is_under) if not it],
                Grid(tuple(xs), (header.top, header.bottom)),
            )
        ys.append(line.at)
    if len(ys) < 2 or abs(ys[1] - header.bottom) > _TOLERANCE:
        raise GridError("found no row edges, expected one under the header")
    return tuple(ys)


def _check_nothing_beside(grid: Grid, horizontal: Sequence[_Line], vertical: Sequence[_Line]) -> None:
    left, right, top, bottom = grid.xs[0], grid.xs[-1], grid.ys[0], grid.ys[-1]
    for lines, low, high, start, end in (
        (horizontal, bottom, top, left, right),
        (vertical, left, right, bottom, top),
    ):
        for line in lines:
            is_beside = not low - 2 * _TOLERANCE <= line.at <= high + 2 * _TOLERANCE
            is_beyond = (
                line.pieces[0][0] < start - 2 * _TOLERANCE or line.pieces[-1][1] > end + 2 * _TOLERANCE
            )
            if is_beside or is_beyond:
                raise GridError("found lines beside the table, expected no cell outside of its grid")


def _check_sides(grid: Grid, vertical: Sequence[_Line]) -> None:
    """See that cells side by side are not merged, where rows have lines between their cells at all."""
    rows = list(pairwise(grid.ys[1:]))
    sides = {x: [line for line in vertical if abs(line.at - x) <= 2 * _TOLERANCE] for x in grid.xs[1:-1]}
    lacking = {
        (index, row)
        for index, lines in enumerate(sides.values(), start=1)
        for row, (top, bottom) in enumerate(rows, start=1)
        if not any(line.covers(bottom, top) for line in lines)
    }
    if lacking and len(lacking) < len(sides) * len(rows):
        index, row = min(lacking)
        raise GridError(
            f"found no line beside row {row}, expected one between all of its cells, none merged",
            (index - 1, index),
            Grid(grid.xs, grid.ys[:2]),
        )
