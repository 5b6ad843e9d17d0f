"""Letters of a page -> the text of each cell, put together by place (spec 06, Text of a cell).

Belongs here: which letters are a cell's, in which order, with which blanks. Where the cells are is `grid`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from innomaint_pipeline.domain.customers.drawn import (
    Box,
    Cell,
    DrawnPage,
    DrawnText,
    Glyph,
    PageFault,
    TablePage,
    Unreadable,
)
from innomaint_pipeline.domain.customers.grid import Grid, GridError, find_grid

# All in sizes of the type. The narrowest cells leave 0.44 between the texts of two neighbours, and a justified
# blank is up to 0.35 wide.
_BLANK, _JUMP, _GOES_ON = 0.15, 0.4, 0.35
_SAME_PLACE, _OVERLAP, _SAME_LINE = 0.15, 0.2, 0.5
_MIDDLE_LOW, _MIDDLE_HIGH = 0.1, 0.4
_EDGE_POINTS, _CLIP_POINTS = 0.5, 1.0

_TOO_LONG = "the text is longer than its cell"
_ONE_OVER_ANOTHER = "two texts lie at one place"
_NO_UNICODE = "a letter has no Unicode mapping"

# White_Space of Unicode; the control characters among them are no letters (`is_letter`).
BLANKS = frozenset(
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029"
    "\u202f\u205f\u3000"
)
INVISIBLE = frozenset("\xad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff")

_Place = tuple[int, int]


def is_letter(text: str) -> bool:
    """Tell whether a character is one: no control character, surrogate, private or no character at all."""
    return all(
        " " <= it
        and not "\ud800" <= it <= "\udfff"
        and not "\ufffd" <= it <= "\uffff"
        and unicodedata.category(it) != "Co"
        for it in text
    )


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
            if not is_blank(glyph) and (place := _place_of(glyph, text.size, error.header)) is not None:
                cells.setdefault(place, _Filling()).glyphs.append((glyph, text.size))
    return tuple(put_together(cells[0, it].glyphs)[0] if (0, it) in cells else "" for it in error.lacking)


@dataclass(slots=True)
class _Run:
    """Letters of a text without a jump among them, and what can be told of where they lie."""

    text: DrawnText
    glyphs: list[Glyph]
    places: set[_Place] = field(default_factory=set)
    is_outside: bool = False
    is_too_long: bool = False


@dataclass(slots=True)
class _Filling:
    """What lies in a cell."""

    glyphs: list[tuple[Glyph, float]] = field(default_factory=list)
    is_too_long: bool = False

    def read(self) -> Cell:
        text, reason = put_together(self.glyphs)
        if self.is_too_long:
            reason = _TOO_LONG
        return Unreadable(text, reason) if reason else text


def _fill_cells(page: DrawnPage, grid: Grid) -> dict[_Place, _Filling]:
    runs = []
    for text in page.texts:
        # A text that is blank may lie anywhere.
        if any(not is_blank(it) for it in text.glyphs):
            if text.oddity:
                raise GridError(f"found {text.oddity}, expected nothing but the table")
            runs += [_place(it, grid) for it in _split_at_jumps(text)]
    _join_what_goes_on(runs)
    cells: dict[_Place, _Filling] = {}
    for run in runs:
        if not run.places:
            raise GridError(f"found text outside the cells{_describe(run)}, expected none around the table")
        if run.text.is_white and any(row > 0 for row, _ in run.places):
            raise GridError("found white text below the header, expected nothing but the table")
        for place in run.places:
            filling = cells.setdefault(place, _Filling())
            filling.is_too_long |= run.is_too_long
        for glyph in run.glyphs:
            if (place := _place_of(glyph, run.text.size, grid)) is not None:
                cells[place].glyphs.append((glyph, run.text.size))
    return cells


def _describe(run: _Run) -> str:
    return f" at {run.glyphs[0].left:.0f}, {run.glyphs[0].base:.0f} pt"


def is_blank(glyph: Glyph) -> bool:
    """Tell whether a letter leaves no ink."""
    return glyph.is_readable and all(it in BLANKS and " " <= it or it in INVISIBLE for it in glyph.text)


def _split_at_jumps(text: DrawnText) -> Iterator[_Run]:
    """Yield the runs of a text, in which a drawn blank is no jump; runs of blanks are left out."""
    size = text.size
    run: list[Glyph] = []
    end = 0.0
    for glyph in sorted(text.glyphs, key=lambda it: (-round(it.base, 1), it.left)):
        if run and (glyph.left - end > _JUMP * size or abs(glyph.base - run[-1].base) > _SAME_PLACE * size):
            yield from _keep_inked(text, run)
            run = []
        end = glyph.right if not run else max(end, glyph.right)
        run.append(glyph)
    yield from _keep_inked(text, run)


def _keep_inked(text: DrawnText, glyphs: Sequence[Glyph]) -> Iterator[_Run]:
    if inked := [it for it in glyphs if not is_blank(it)]:
        yield _Run(text, inked)


def _place_of(glyph: Glyph, size: float, grid: Grid) -> _Place | None:
    row = grid.row_at(glyph.base + (_MIDDLE_LOW + _MIDDLE_HIGH) / 2 * size)
    column = grid.column_at((glyph.left + glyph.right) / 2)
    return None if row is None or column is None else (row, column)


def _place(run: _Run, grid: Grid) -> _Run:
    size, clip = run.text.size, run.text.clip
    for glyph in run.glyphs:
        slack = min(_EDGE_POINTS, (glyph.right - glyph.left) / 4)
        columns = {grid.column_at(glyph.left + slack), grid.column_at(glyph.right - slack)}
        rows = {grid.row_at(glyph.base + middle * size) for middle in (_MIDDLE_LOW, _MIDDLE_HIGH)}
        run.places |= {
            (row, column) for row in rows for column in columns if row is not None and column is not None
        }
        run.is_outside |= None in rows or None in columns
        run.is_too_long |= clip is not None and _is_outside(glyph, size, clip)
    run.is_too_long |= len(run.places) > 1 or (run.is_outside and bool(run.places))
    return run


def _is_outside(glyph: Glyph, size: float, clip: Box) -> bool:
    middle = glyph.base + (_MIDDLE_LOW + _MIDDLE_HIGH) / 2 * size
    return (
        glyph.left < clip.left - _CLIP_POINTS
        or glyph.right > clip.right + _CLIP_POINTS
        or not clip.bottom <= middle <= clip.top
    )


def _join_what_goes_on(runs: Sequence[_Run]) -> None:
    """Find texts that are drawn in pieces and go on beyond the edge of their cell without a jump."""
    previous: _Run | None = None
    for run in sorted(runs, key=lambda it: (-round(it.glyphs[0].base), it.glyphs[0].left)):
        if previous is not None and _goes_on(previous, run):
            places = previous.places | run.places
            if len(places) > 1 or previous.is_outside or run.is_outside:
                if places and (previous.places != run.places or previous.is_outside != run.is_outside):
                    previous.is_too_long = run.is_too_long = True
                    previous.places, run.places = set(places), set(places)
        previous = run


def _goes_on(previous: _Run, run: _Run) -> bool:
    last, first = previous.glyphs[-1], run.glyphs[0]
    size = max(previous.text.size, run.text.size)
    return abs(last.base - first.base) <= _SAME_PLACE * size and (
        -_OVERLAP * size <= first.left - last.right <= _GOES_ON * size
    )


def put_together(glyphs: Iterable[tuple[Glyph, float]]) -> tuple[str, str | None]:
    """Return the text of letters with their type sizes, and why it cannot be told (None: it can).

    Lines go from the top, letters from the left; a gap of over 0.15 of the type size is a blank, and so is the
    end of a line. The same letter twice at one place counts once.
    """
    reason: str | None = None
    lines: list[list[tuple[Glyph, float]]] = []
    for glyph, size in sorted(glyphs, key=lambda it: -it[0].base):
        if lines and lines[-1][0][0].base - glyph.base <= _SAME_LINE * size:
            lines[-1].append((glyph, size))
        else:
            lines.append([(glyph, size)])
    texts = []
    for line in lines:
        text, is_clear = _put_line_together(line)
        texts.append(text)
        if not is_clear:
            reason = _ONE_OVER_ANOTHER
    whole = " ".join(texts)
    if any(not it.is_readable or not is_letter(it.text) for line in lines for it, _ in line):
        reason = reason or _NO_UNICODE
    return "".join(it if is_letter(it) else "\N{REPLACEMENT CHARACTER}" for it in whole), reason


def _put_line_together(line: Sequence[tuple[Glyph, float]]) -> tuple[str, bool]:
    kept: list[list[object]] = []
    texts: list[str] = []
    spans: list[tuple[Glyph, float]] = []
    marks = []
    end, is_clear = 0.0, True
    for glyph, size in sorted(line, key=lambda it: it[0].left):
        if all(unicodedata.combining(it) for it in glyph.text):
            marks.append(glyph)
            continue
        if spans:
            if _is_same(spans, glyph, size):
                continue
            gap = glyph.left - end
            if gap < -_OVERLAP * size:
                is_clear = False
            elif gap > _BLANK * max(size, spans[-1][1]):
                texts[-1] += " "
        texts.append(glyph.text)
        spans.append((glyph, size))
        end = max(end, glyph.right) if len(spans) > 1 else glyph.right
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


def _is_same(spans: Sequence[tuple[Glyph, float]], glyph: Glyph, size: float) -> bool:
    """Tell whether a letter is drawn twice at one place: fat type, a shadow."""
    return any(
        before.text == glyph.text
        and abs(before.left - glyph.left) <= _SAME_PLACE * size
        and abs(before.base - glyph.base) <= _SAME_PLACE * size
        for before, _ in spans[-3:]
    )
