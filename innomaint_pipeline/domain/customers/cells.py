"""Letters of a page -> the text of each cell, put together by place.

Belongs here: which letters are a cell's, in which order, with which blanks. Where the cells are is `grid`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf

from innomaint_pipeline.domain.customers.drawn import (
    Cell,
    DrawnPage,
    DrawnText,
    Glyph,
    PageFault,
    TablePage,
    Unreadable,
)
from innomaint_pipeline.domain.customers.grid import Grid, GridError, find_grid

# All in sizes of the type, across in its width. The narrowest cells leave 0.44 between the texts of two
# neighbours, a justified blank is up to 0.35 wide.
_BLANK, _JUMP, _GOES_ON, _GOES_ON_OUTSIDE = 0.15, 0.4, 0.35, 1.0
_SAME_PLACE, _OVERLAP, _SAME_LINE = 0.15, 0.2, 0.5
_SAME_LETTER = 0.6  # of its own width
_MIDDLE_LOW, _MIDDLE_HIGH = 0.1, 0.4
_EDGE_POINTS, _CLIP_POINTS, _ROOM_POINTS = 0.5, 1.0, 1.5

_TOO_LONG = "the text is longer than its cell"
_ONE_OVER_ANOTHER = "two texts lie at one place"
_NO_UNICODE = "a letter has no Unicode mapping"

_NO_LETTER = re.compile("[\\x00-\\x1f\\ud800-\\udfff\\ue000-\\uf8ff\\ufffd-\\uffff\\U000f0000-\\U0010ffff]")

# White_Space of Unicode; the control characters among them are no letters (`is_letter`).
BLANKS = frozenset(
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029"
    "\u202f\u205f\u3000"
)
INVISIBLE = frozenset("\xad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff")

_Place = tuple[int, int]
_Letter = tuple[Glyph, DrawnText]


def is_letter(text: str) -> bool:
    """Tell whether a character is one: no control character, surrogate, private or no character at all."""
    return _NO_LETTER.search(text) is None


def read_page(number: int, page: DrawnPage) -> TablePage | PageFault:
    """Return the table of a page, whose number counts from 1, or why the page is not one whole table."""
    try:
        grid = find_grid(page)
        cells = _fill_cells(page, grid)
    except GridError as error:
        return PageFault(number, str(error), _read_headers(error, page))
    width = len(grid.xs) - 1
    rows = [
        tuple(cells[row, column].read() if (row, column) in cells else "" for column in range(width))
        for row in range(len(grid.ys) - 1)
    ]
    return TablePage(number, rows[0], tuple(round(y, 2) for y in grid.ys[1:]), tuple(rows[1:]))


def _read_headers(error: GridError, page: DrawnPage) -> tuple[str, ...]:
    """Return the headers of the columns that lack a line."""
    if error.header is None:
        return ()
    cells: dict[_Place, _Filling] = {}
    for text in page.texts:
        for glyph in text.glyphs:
            if _is_ink(glyph) and (place := _place_of(glyph, text.size, error.header)) is not None:
                cells.setdefault(place, _Filling()).glyphs.append((glyph, text))
    return tuple(put_together(cells[0, it].glyphs)[0] if (0, it) in cells else "" for it in error.lacking)


@dataclass(slots=True)
class _Run:
    """Letters of a text without a jump among them, from the left, and the cells that they reach."""

    text: DrawnText
    glyphs: list[Glyph]
    places: set[_Place] = field(default_factory=set)
    is_outside: bool = False
    is_too_long: bool = False


@dataclass(slots=True)
class _Filling:
    """What lies in a cell."""

    glyphs: list[_Letter] = field(default_factory=list)
    is_too_long: bool = False

    def read(self) -> Cell:
        text, reason = put_together(self.glyphs)
        if self.is_too_long:
            reason = _TOO_LONG
        return Unreadable(text, reason) if reason else text


def _fill_cells(page: DrawnPage, grid: Grid) -> dict[_Place, _Filling]:
    runs: list[_Run] = []
    for text in page.texts:
        found = list(_split_at_jumps(text))
        if found and text.oddity:
            raise GridError(f"found {text.oddity}, expected nothing but the table")
        for run in found:
            _place(run, grid)
        runs += found
    _mark_what_goes_on(runs, grid)
    return _gather(runs, grid)


def _gather(runs: Iterable[_Run], grid: Grid) -> dict[_Place, _Filling]:
    cells: dict[_Place, _Filling] = {}
    for run in runs:
        if not run.places:
            first = run.glyphs[0]
            raise GridError(
                f"found text outside the cells, {first.left:.0f} pt from the left, {first.base:.0f} pt up"
            )
        if run.text.is_white and any(row > 0 for row, _ in run.places):
            raise GridError("found white text below the header, expected nothing but the table")
        for place in run.places:
            cells.setdefault(place, _Filling()).is_too_long |= run.is_too_long
        if len(run.places) == 1:
            cells[next(iter(run.places))].glyphs += [(it, run.text) for it in run.glyphs]
            continue
        for glyph in run.glyphs:
            if (place := _place_of(glyph, run.text.size, grid)) in cells:
                cells[place].glyphs.append((glyph, run.text))
    return cells


def _is_ink(glyph: Glyph) -> bool:
    """Tell whether a letter leaves ink, or may."""
    return not glyph.is_readable or any(it not in INVISIBLE and not _is_space(it) for it in glyph.text)


def _is_space(text: str) -> bool:
    # A control character is no blank: it stands for a letter without a Unicode mapping.
    return text == " " or (text in BLANKS and text > " ")


def _split_at_jumps(text: DrawnText) -> Iterator[_Run]:
    """Yield the letters of a text, split where it jumps; a drawn blank is no jump, and in no run.

    A text without ink may lie anywhere: it has no runs.
    """
    jump, line = _JUMP * text.width, _SAME_PLACE * text.size
    run: list[Glyph] = []
    end = base = 0.0
    for glyph in sorted(text.glyphs, key=_reading_order):
        if run and (glyph.left - end > jump or abs(glyph.base - base) > line):
            if any(map(_is_ink, run)):
                yield _Run(text, run)
            run = []
        end = max(end, glyph.right) if run else glyph.right
        if not (glyph.is_readable and _is_space(glyph.text)):
            run.append(glyph)
            base = glyph.base
    if any(map(_is_ink, run)):
        yield _Run(text, run)


def _reading_order(glyph: Glyph) -> tuple[float, float]:
    return -round(glyph.base, 1), glyph.left


def _place_of(glyph: Glyph, size: float, grid: Grid) -> _Place | None:
    row = grid.row_at(glyph.base + (_MIDDLE_LOW + _MIDDLE_HIGH) / 2 * size)
    column = grid.column_at((glyph.left + glyph.right) / 2)
    return None if row is None or column is None else (row, column)


def _place(run: _Run, grid: Grid) -> None:
    """Find the cells that a run reaches, and whether it is too long for the one where it belongs."""
    size, clip = run.text.size, run.text.clip
    left, right = run.glyphs[0].left, max(it.right for it in run.glyphs)
    slack = min(_EDGE_POINTS, (right - left) / 4)
    first, last = grid.column_at(left + slack), grid.column_at(right - slack)
    base = run.glyphs[0].base
    rows = {grid.row_at(base + middle * size) for middle in (_MIDDLE_LOW, _MIDDLE_HIGH)}
    columns = (
        {first}
        if first == last
        else {
            grid.column_at(x)
            for glyph in run.glyphs
            for slack in (min(_EDGE_POINTS, (glyph.right - glyph.left) / 4),)
            for x in (glyph.left + slack, glyph.right - slack)
        }
    )
    run.places = {
        (row, column) for row in rows for column in columns if row is not None and column is not None
    }
    run.is_outside = None in rows or None in columns
    run.is_too_long = len(run.places) > 1 or (run.is_outside and bool(run.places))
    if clip is not None:
        middle = base + (_MIDDLE_LOW + _MIDDLE_HIGH) / 2 * size
        is_seen = (
            left >= clip.left - _CLIP_POINTS
            and right <= clip.right + _CLIP_POINTS
            and clip.bottom <= middle <= clip.top
        )
        run.is_too_long |= not is_seen


def _mark_what_goes_on(runs: Sequence[_Run], grid: Grid) -> None:
    """Mark texts that are drawn in pieces and go on beyond the edge of their cell without a jump."""
    in_order = sorted(runs, key=lambda it: _reading_order(it.glyphs[0]))
    for before, run in pairwise(in_order):
        if before.places == run.places and before.is_outside == run.is_outside:
            continue
        if _goes_on(before, run, grid) and (places := before.places | run.places):
            before.is_too_long = run.is_too_long = True
            before.places = set(places)
            run.places = set(places)


def _goes_on(before: _Run, run: _Run, grid: Grid) -> bool:
    last, first = before.glyphs[-1], run.glyphs[0]
    width = max(before.text.width, run.text.width)
    gap = first.left - last.right
    is_line = abs(last.base - first.base) <= _SAME_PLACE * max(before.text.size, run.text.size)
    if not is_line or gap < -_OVERLAP * width:
        return False
    if before.is_outside and not run.places:
        return gap <= _GOES_ON_OUTSIDE * width
    # Where a text of its own begins, there is room between it and the edge.
    is_at_edge = any(-_EDGE_POINTS <= first.left - x < _ROOM_POINTS for x in grid.xs)
    return gap <= _BLANK * width or (is_at_edge and gap <= _GOES_ON * width)


def put_together(letters: Iterable[_Letter]) -> tuple[str, str | None]:
    """Return the text of letters and of what they are drawn by, and why it cannot be told (None: it can).

    Lines go from the top, letters from the left; a gap of over 0.15 of the type size is a blank, and so is
    the end of a line. The same letter twice at one place counts once.
    """
    reason: str | None = None
    lines: list[list[_Letter]] = []
    for glyph, drawn in sorted(letters, key=lambda it: -it[0].base):
        if lines and lines[-1][0][0].base - glyph.base <= _SAME_LINE * drawn.size:
            lines[-1].append((glyph, drawn))
        else:
            lines.append([(glyph, drawn)])
    texts = []
    for line in lines:
        text, is_clear = _put_line_together(line)
        texts.append(text)
        if not is_clear:
            reason = _ONE_OVER_ANOTHER
    whole = " ".join(texts)
    if not is_letter(whole):
        whole = "".join(it if is_letter(it) else "\N{REPLACEMENT CHARACTER}" for it in whole)
        reason = reason or _NO_UNICODE
    elif not all(it.is_readable for line in lines for it, _ in line):
        reason = reason or _NO_UNICODE
    return whole, reason


def _put_line_together(line: Sequence[_Letter]) -> tuple[str, bool]:
    texts: list[str] = []
    spans: list[_Letter] = []
    marks = []
    end, is_clear = -inf, True
    for glyph, drawn in sorted(line, key=lambda it: it[0].left):
        if glyph.text > "\u02ff" and all(map(unicodedata.combining, glyph.text)):
            marks.append(glyph)
            end = max(end, glyph.right)
            continue
        if spans:
            if _is_same(spans, glyph, drawn):
                continue
            gap = glyph.left - end
            if gap < -_OVERLAP * drawn.width:
                is_clear = False
            elif gap > _BLANK * max(drawn.width, spans[-1][1].width):
                texts[-1] += " "
        texts.append(glyph.text)
        spans.append((glyph, drawn))
        end = max(end, glyph.right)
    for mark in marks:
        middle = (mark.left + mark.right) / 2
        nearest = min(
            range(len(spans)),
            key=lambda it: abs((spans[it][0].left + spans[it][0].right) / 2 - middle),
            default=None,
        )
        if nearest is None:
            texts.append(mark.text)
        else:
            blank = " " if texts[nearest].endswith(" ") else ""
            texts[nearest] = texts[nearest].rstrip(" ") + mark.text + blank
    return "".join(texts), is_clear


def _is_same(spans: Sequence[_Letter], glyph: Glyph, drawn: DrawnText) -> bool:
    """Tell whether a letter is drawn twice at one place: fat type, a shadow.

    Two of the same that follow each other lie as far apart as they are wide, however narrow that is.
    """
    apart = min(_SAME_PLACE * drawn.width, _SAME_LETTER * (glyph.right - glyph.left))
    return any(
        before.text == glyph.text
        and abs(before.left - glyph.left) <= apart
        and abs(before.base - glyph.base) <= _SAME_PLACE * drawn.size
        for before, _ in spans[-3:]
    )
