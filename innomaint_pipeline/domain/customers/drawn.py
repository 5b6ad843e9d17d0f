"""What is drawn on a page, as plain boxes and letters: no PDF is known here.

Belongs here: the types that pass between the reader of a PDF and the grid. Lengths are points, y grows
upwards.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class Box(NamedTuple):
    """A rectangle."""

    left: float
    bottom: float
    right: float
    top: float


class Rule(NamedTuple):
    """A straight line: at `at`, from `start` to `end`; across the page it is horizontal."""

    at: float
    start: float
    end: float


class Glyph(NamedTuple):
    """A drawn letter: its text, where it begins and where the next would, its base line.

    `is_readable` is False where no table turns its code into Unicode.
    """

    text: str
    left: float
    right: float
    base: float
    is_readable: bool


@dataclass(slots=True)
class DrawnText:
    """Letters that are drawn by one operator.

    `size` is that of the type, `width` the same across: less in type that is drawn narrower than its font.
    `oddity` says why it is no text of the table: it is slanted, invisible or in a layer. `clip` is the box
    outside of which nothing of it is seen.
    """

    size: float
    width: float
    clip: Box | None = None
    oddity: str | None = None
    is_white: bool = False
    glyphs: list[Glyph] = field(default_factory=list)


@dataclass(slots=True)
class DrawnPage:
    """A page: its box, its lines, its filled rectangles and its texts."""

    box: Box
    horizontal: list[Rule] = field(default_factory=list)
    vertical: list[Rule] = field(default_factory=list)
    fills: list[Box] = field(default_factory=list)
    texts: list[DrawnText] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A cell whose text cannot be told; `raw` is what was made out of it, and personal."""

    raw: str
    reason: str


Cell = str | Unreadable


@dataclass(frozen=True, slots=True)
class TablePage:
    """The table of a page: its header cells, the y of its row edges below the header, and its rows."""

    number: int
    headers: tuple[Cell, ...]
    edges: tuple[float, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True)
class PageFault:
    """Why a page is not one whole table.

    `lacking` are the headers of the columns that lack a line; `message` holds no text of the page.
    """

    number: int
    message: str
    lacking: tuple[str, ...] = ()
