"""Excel's zipped workbooks (.xlsx, .xlsm), cell by cell.

Belongs here: the XML of a spreadsheet of Office Open XML. General readers return nothing for an error and
for a formula that was never calculated, refuse a whole sheet for one cell they do not know, and drop the
formats.
"""

import math
import posixpath
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import BinaryIO
from urllib.parse import unquote
from xml.parsers import expat

from innomaint_pipeline.domain.workbook.cells import Cell, UnknownCell
from innomaint_pipeline.domain.workbook.sheets import MergedCells, SheetRows, UnreadSheet
from innomaint_pipeline.sources.workbook.grid import (
    GENERAL,
    Grid,
    SheetTooLargeError,
    apply_format,
    kind_of_format,
)
from innomaint_pipeline.sources.workbook.zip_parts import WorkbookBounds, ZipParts

_OFFICE_DOCUMENT, _WORKSHEET = "/officedocument", "/worksheet"
_SHARED_STRINGS, _STYLES = "/sharedstrings", "/styles"
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")
_REFERENCE = re.compile(r"\$?([A-Za-z]{1,3})\$?([0-9]{1,7})")
_RANGE = re.compile(r"\$?([A-Za-z]{1,3})\$?([0-9]{1,7})(?::\$?([A-Za-z]{1,3})\$?([0-9]{1,7}))?")
_LAST_ROW, _LAST_COLUMN = 1_048_576, 16_384
_DIGITS_OF_AN_INTEGER = 15
# The formats that a file need not spell out; dates and times.
_BUILT_IN_DATES = (*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59))
_BUILT_IN_ELAPSED = 46


def read_xlsx(
    handle: BinaryIO, workbook: str, names: Sequence[str], bounds: WorkbookBounds
) -> Iterator[SheetRows | UnreadSheet]:
    """Yield the worksheets in their order, those of `names` alone if any are given.

    A sheet that cannot be read is an `UnreadSheet`. Raises one of `DAMAGES` for what concerns every sheet.
    """
    parts = ZipParts(handle)
    book = _read_book(parts)
    strings: list[str] | None = None
    for name, is_visible, part in book.sheets:
        if names and name not in names:
            continue
        if strings is None:
            strings = _read_strings(parts, book.strings_part) if book.strings_part else []
        if part not in parts:
            yield UnreadSheet(name, "the file lacks it; open and save the workbook in Excel", is_visible)
            continue
        reader = _SheetReader(strings, book.formats, bounds, is_1904=book.is_1904)
        try:
            parts.parse(part, reader.set_handlers)
        except SheetTooLargeError as error:
            yield UnreadSheet(name, str(error), is_visible, reader.grid.head())
            continue
        except expat.ExpatError as error:
            reason = f"it is damaged ({error}); copy the file again, or open and save it in Excel"
            yield UnreadSheet(name, reason, is_visible, reader.grid.head())
            continue
        yield reader.grid.sheet(workbook, name, is_1904=book.is_1904, is_visible=is_visible)


@dataclass(slots=True)
class _Book:
    sheets: list[tuple[str, bool, str]] = field(default_factory=list)
    formats: list[str] = field(default_factory=list)
    strings_part: str | None = None
    is_1904: bool = False


def _local(name: str) -> str:
    return name.rpartition(":")[2]


def _read_relations(parts: ZipParts, source: str) -> dict[str, tuple[str, str]]:
    """Return what a part refers to: the kind (in lower case) and the part, by id."""
    folder, name = posixpath.split(source)
    relations: dict[str, tuple[str, str]] = {}

    def start(tag: str, attributes: dict[str, str]) -> None:
        if _local(tag) == "Relationship" and attributes.get("TargetMode", "").lower() != "external":
            target = unquote(attributes.get("Target", "")).replace("\\", "/")
            path = posixpath.normpath(posixpath.join("/" + folder, target)).lstrip("/")
            relations[attributes.get("Id", "")] = (attributes.get("Type", "").lower(), path)

    part = posixpath.join(folder, "_rels", f"{name}.rels")
    if part in parts:
        parts.parse(part, partial(_set_start, start=start))
    return relations


def _set_start(parser: expat.XMLParserType, start: Callable[[str, dict[str, str]], None]) -> None:
    parser.StartElementHandler = start


def _read_book(parts: ZipParts) -> _Book:
    book = _Book()
    documents = (
        path for kind, path in _read_relations(parts, "").values() if kind.endswith(_OFFICE_DOCUMENT)
    )
    part = next(documents, "xl/workbook.xml")
    relations = _read_relations(parts, part)

    def start(tag: str, attributes: dict[str, str]) -> None:
        match _local(tag):
            case "workbookPr":
                book.is_1904 = attributes.get("date1904", "").lower() in ("1", "true", "on")
            case "sheet":
                relation = next((value for key, value in attributes.items() if key.endswith(":id")), "")
                kind, target = relations.get(relation, ("", ""))
                if kind.endswith(_WORKSHEET) and target:
                    is_visible = attributes.get("state", "visible").lower() == "visible"
                    book.sheets.append((attributes.get("name", ""), is_visible, target))

    parts.parse(part, partial(_set_start, start=start))
    for kind, target in relations.values():
        if kind.endswith(_SHARED_STRINGS) and target in parts:
            book.strings_part = target
        elif kind.endswith(_STYLES) and target in parts:
            book.formats = _read_formats(parts, target)
    return book


def _read_formats(parts: ZipParts, part: str) -> list[str]:
    """Return what each cell format makes of a number."""
    codes = dict.fromkeys(_BUILT_IN_DATES, "d") | {_BUILT_IN_ELAPSED: "[h]"}
    formats: list[str] = []
    is_in_cells = False

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal is_in_cells
        name = _local(tag)
        if name == "numFmt" and attributes.get("numFmtId", "").isdigit():
            codes[int(attributes["numFmtId"])] = attributes.get("formatCode", "")
        elif name == "cellXfs":
            is_in_cells = True
        elif name == "xf" and is_in_cells:
            number = attributes.get("numFmtId", "0")
            formats.append(kind_of_format(codes.get(int(number), "")) if number.isdigit() else GENERAL)

    def end(tag: str) -> None:
        nonlocal is_in_cells
        is_in_cells = is_in_cells and _local(tag) != "cellXfs"

    def set_handlers(parser: expat.XMLParserType) -> None:
        parser.StartElementHandler, parser.EndElementHandler = start, end

    parts.parse(part, set_handlers)
    return formats


def _read_strings(parts: ZipParts, part: str) -> list[str]:  # noqa: C901 # handlers that share what they saw
    strings: list[str] = []
    pieces: list[str] = []
    is_text, phonetic = False, 0

    def start(tag: str, _: dict[str, str]) -> None:
        nonlocal is_text, phonetic
        name = _local(tag)
        if name == "t":
            is_text = not phonetic
        elif name == "rPh":
            phonetic += 1

    def end(tag: str) -> None:
        nonlocal is_text, phonetic
        name = _local(tag)
        if name == "t":
            is_text = False
        elif name == "rPh":
            phonetic -= 1
        elif name == "si":
            strings.append(_unescaped("".join(pieces)))
            pieces.clear()

    def text(piece: str) -> None:
        if is_text:
            pieces.append(piece)

    def set_handlers(parser: expat.XMLParserType) -> None:
        parser.StartElementHandler, parser.EndElementHandler = start, end
        parser.CharacterDataHandler = text

    parts.parse(part, set_handlers)
    return strings


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text) if "_x" in text else text


_OTHER, _ROW, _CELL, _VALUE, _FORMULA, _PHONETIC, _MERGE = range(7)
_ELEMENTS = {
    "row": _ROW, "c": _CELL, "v": _VALUE, "t": _VALUE, "f": _FORMULA, "rPh": _PHONETIC, "mergeCell": _MERGE,
}  # fmt: skip


class _SheetReader:
    """Handlers that put the cells of a worksheet into a grid, within its bounds."""

    def __init__(
        self, strings: Sequence[str], formats: Sequence[str], bounds: WorkbookBounds, *, is_1904: bool
    ) -> None:
        self.grid = Grid(bounds)
        self._strings, self._formats, self._is_1904 = strings, formats, is_1904

    def set_handlers(  # noqa: C901, PLR0915 # handlers that share what they saw
        self, parser: expat.XMLParserType
    ) -> None:
        """Set the handlers of a parser; closures, for they run ten million times for a large sheet."""
        grid, make_cell, put = self.grid, self._make_cell, self.grid.put
        elements: dict[str, int] = {}
        letters: dict[str, int] = {}
        pieces: list[str] = []
        join, clear = "".join, pieces.clear
        attributes_of_cell: dict[str, str] = {}
        row, next_column, row_text, row_digits = -1, 0, "", 0
        has_formula = has_value = False
        text, phonetic = "", 0

        def start(tag: str, attributes: dict[str, str]) -> None:
            nonlocal has_formula, has_value, text, attributes_of_cell
            element = elements.get(tag)
            if element == _CELL:
                attributes_of_cell = attributes
                has_formula = has_value = False
                text = ""
            elif element == _VALUE:
                has_value = True
                # What stood before is a formula, or white space between elements.
                clear()
            elif element != _OTHER:
                start_rarer(tag, attributes)

        def start_rarer(tag: str, attributes: dict[str, str]) -> None:
            nonlocal row, next_column, row_text, row_digits, has_formula, phonetic
            element = elements.get(tag)
            if element is None:
                elements[tag] = _ELEMENTS.get(_local(tag), _OTHER)
                start(tag, attributes)
            elif element == _ROW:
                given = attributes.get("r", "").strip()
                row = int(given) - 1 if given.isdecimal() and 0 < int(given) <= _LAST_ROW else row + 1
                next_column, row_text = 0, str(row + 1)
                row_digits = len(row_text)
            elif element == _FORMULA:
                has_formula = True
            elif element == _PHONETIC:
                phonetic += 1
            elif element == _MERGE and (merged := _parse_range(attributes.get("ref", ""))):
                grid.merge(merged)

        def end(tag: str) -> None:
            nonlocal next_column, text, phonetic
            element = elements[tag]
            if element == _CELL:
                at_row, column = row, next_column
                if reference := attributes_of_cell.get("r"):
                    name = reference[:-row_digits]
                    if name in letters and reference[-row_digits:] == row_text:
                        column = letters[name]
                    else:
                        at_row, column = _parse_reference(reference, row, next_column)
                        if at_row == row and name.isalpha() and name.isascii():
                            letters[name] = column
                next_column = column + 1
                if has_value or has_formula:
                    cell = make_cell(attributes_of_cell, text, has_formula=has_formula, has_value=has_value)
                    if cell is not None:
                        put(at_row, column, cell)
            elif element == _VALUE:
                if not phonetic:
                    text += join(pieces)
            elif element == _PHONETIC:
                phonetic -= 1

        parser.StartElementHandler, parser.EndElementHandler = start, end
        parser.CharacterDataHandler = pieces.append

    def _make_cell(  # noqa: PLR0911 # one for each type of a value
        self, attributes: dict[str, str], text: str, *, has_formula: bool, has_value: bool
    ) -> Cell:
        kind = attributes.get("t", "n")
        if kind == "s":
            return self._shared_string(text)
        if kind in ("str", "inlineStr"):
            if has_formula and not has_value:
                return UnknownCell("a formula that was never calculated")
            return (_unescaped(text) if "_x" in text else text) or None
        if kind == "e":
            return UnknownCell(f"the error {text.strip() or 'without a name'}")
        if not text.strip():
            return UnknownCell("a formula that was never calculated") if has_formula else None
        if kind == "n":
            return self._number(text, attributes.get("s"))
        if kind == "b":
            known = {"1": True, "true": True, "0": False, "false": False}
            return known.get(text.strip().lower(), UnknownCell(f"the truth value '{text[:40]}'"))
        if kind == "d":
            try:
                return datetime.fromisoformat(text.strip())
            except ValueError:
                return UnknownCell(f"the date '{text[:40]}'")
        return UnknownCell(f"a value of the unknown type '{kind[:40]}'")

    def _shared_string(self, text: str) -> Cell:
        try:
            number = int(text)
            if number >= 0:
                return self._strings[number] or None
        except (ValueError, IndexError):
            pass
        return UnknownCell(f"the text number '{text[:40]}', which the file lacks")

    def _number(self, text: str, style: str | None) -> Cell:
        number: int | float
        if text.isdecimal() and text.isascii() and len(text) <= _DIGITS_OF_AN_INTEGER:
            number = int(text)
        else:
            try:
                number = float(text)
            except ValueError:
                return UnknownCell(f"the number '{text[:40]}'")
            if math.isnan(number) or "_" in text:
                return UnknownCell(f"the number '{text[:40]}'")
            if number.is_integer() and abs(number) < 10**_DIGITS_OF_AN_INTEGER:
                number = int(number)
        if style is None or style == "0":
            return number
        try:
            kind = self._formats[int(style)]
        except (ValueError, IndexError):
            return number
        return number if kind == GENERAL else apply_format(number, kind, is_1904=self._is_1904)


def _parse_reference(reference: str, row: int, column: int) -> tuple[int, int]:
    """Return row and column from 0; those expected where the text names no cell of a sheet."""
    match = _REFERENCE.fullmatch(reference.strip())
    if not match:
        return row, column
    at_row, at_column = int(match[2]) - 1, _column_number(match[1])
    if not 0 <= at_row < _LAST_ROW or at_column >= _LAST_COLUMN:
        return row, column
    return at_row, at_column


def _parse_range(text: str) -> MergedCells | None:
    match = _RANGE.fullmatch(text.strip())
    if not match:
        return None
    first_column, first_row = _column_number(match[1]), int(match[2]) - 1
    last_column, last_row = _column_number(match[3] or match[1]), int(match[4] or match[2]) - 1
    if not 0 <= first_row <= last_row < _LAST_ROW or not first_column <= last_column < _LAST_COLUMN:
        return None
    return MergedCells(first_row, first_column, last_row, last_column)


def _column_number(letters: str) -> int:
    number = 0
    for letter in letters.upper():
        number = number * 26 + ord(letter) - ord("A") + 1
    return number - 1
