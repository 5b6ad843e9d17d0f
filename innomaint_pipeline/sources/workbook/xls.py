"""Excel's old binary workbooks (.xls): values by the fast reader, the rest from the records themselves.

Belongs here: what python-calamine returns, and what it keeps silent about: which blanks are errors, which
numbers are shown with leading zeros, and the date system.
"""

import mmap
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from python_calamine import CalamineError, SheetTypeEnum, SheetVisibleEnum

from innomaint_pipeline.domain.workbook.cells import Cell, UnknownCell, ZeroPaddedNumber
from innomaint_pipeline.domain.workbook.sheets import MergedCells, SheetRows, UnreadSheet
from innomaint_pipeline.errors import WorkbookError
from innomaint_pipeline.sources.workbook.grid import ZERO_PADDED, Grid, SheetTooLargeError, kind_of_format
from innomaint_pipeline.sources.workbook.zip_parts import WorkbookBounds

if TYPE_CHECKING:
    import pandas as pd

_BOF, _EOF, _BOUND_SHEET, _FORMAT, _XF, _DATE_MODE = 0x0809, 0x000A, 0x0085, 0x041E, 0x00E0, 0x0022
_BOOL_OR_ERROR, _FORMULA, _NUMBER, _RK, _MANY_RK = 0x0205, 0x0006, 0x0203, 0x027E, 0x00BD
_ERRORS = {0: "#NULL!", 7: "#DIV/0!", 15: "#REF!", 23: "#VALUE!", 29: "#NAME?", 36: "#NUM!", 42: "#N/A"}
# The start of a workbook stream (BOF, version 8, "workbook globals").
_GLOBALS = re.compile(rb"\x09\x08[\x08\x10]\x00\x00\x06\x05\x00", re.DOTALL)
_END_OF_CHAIN, _HEADER_BYTES = 0xFFFFFFFA, 512


def read_xls(
    path: Path, workbook: str, names: Sequence[str], bounds: WorkbookBounds
) -> Iterator[SheetRows | UnreadSheet]:
    """Yield the worksheets in their order, those of `names` alone if any are given."""
    # Half a second that other kinds of workbooks need not pay.
    import pandas as pd  # noqa: PLC0415

    try:
        with path.open("rb") as handle, pd.ExcelFile(handle, engine="calamine") as book:
            facts = _read_facts(path)
            for sheet in book.book.sheets_metadata:
                if sheet.typ == SheetTypeEnum.WorkSheet and (not names or sheet.name in names):
                    is_visible = sheet.visible == SheetVisibleEnum.Visible
                    yield _read_sheet(book, workbook, sheet.name, facts, bounds, is_visible=is_visible)
    except BaseException as error:
        if not isinstance(error, CalamineError | OSError | ValueError) and not _is_panic(error):
            raise
        raise WorkbookError(
            f"{workbook}: the workbook is damaged or no .xls workbook ({str(error)[:200]}); open and save it "
            "in Excel as .xlsx"
        ) from error


def _is_panic(error: BaseException) -> bool:
    # A panic of the reader's Rust code is no Exception, and its class cannot be imported.
    return type(error).__name__ == "PanicException"


def _read_sheet(
    book: "pd.ExcelFile",
    workbook: str,
    name: str,
    facts: "_Facts",
    bounds: WorkbookBounds,
    *,
    is_visible: bool,
) -> SheetRows | UnreadSheet:
    try:
        source = book.book.get_sheet_by_name(name)
    except CalamineError as error:
        return UnreadSheet(name, f"it is damaged ({error}); repair it in Excel", is_visible)
    grid = Grid(bounds)
    own = facts.sheets.get(name, _SheetFacts())
    try:
        for row, cells in enumerate(source.to_python(skip_empty_area=False)):
            for column, cell in enumerate(cells):
                if cell != "":
                    grid.put(row, column, _plain(cell, is_padded=(row, column) in own.padded))
        for (row, column), found in own.errors.items():
            grid.put(row, column, UnknownCell(f"the error {found}"))
        for (first_row, first_column), (last_row, last_column) in source.merged_cell_ranges or ():
            grid.merge(MergedCells(first_row, first_column, last_row, last_column))
    except SheetTooLargeError as error:
        return UnreadSheet(name, str(error), is_visible, grid.head())
    notices = () if facts.is_known else ("errors of formulas cannot be told from blank cells in this file",)
    return grid.sheet(workbook, name, is_1904=facts.is_1904, is_visible=is_visible, notices=notices)


def _plain(cell: Cell, *, is_padded: bool) -> Cell:
    if isinstance(cell, float):
        if is_padded:
            return ZeroPaddedNumber(cell)
        return int(cell) if cell.is_integer() and abs(cell) < 10**15 else cell
    return cell


@dataclass(slots=True)
class _SheetFacts:
    errors: dict[tuple[int, int], str] = field(default_factory=dict)
    padded: set[tuple[int, int]] = field(default_factory=set)


@dataclass(slots=True)
class _Facts:
    """What the records say beside the values; `is_known` is false where they could not be found."""

    sheets: dict[str, _SheetFacts] = field(default_factory=dict)
    is_1904: bool = False
    is_known: bool = True


def _read_facts(path: Path) -> _Facts:
    with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as content:
        try:
            stream = _find_stream(content)
            return _read_records(stream) if stream else _Facts(is_known=False)
        except (struct.error, IndexError, ValueError):
            return _Facts(is_known=False)


def _find_stream(content: mmap.mmap) -> bytes | None:
    """Return the workbook stream of an OLE compound file: its sectors, put in order."""
    sector_bytes = 1 << struct.unpack_from("<H", content, 30)[0]
    if sector_bytes not in (512, 4096):
        return None
    found = _GLOBALS.search(content)
    if found is None or found.start() % sector_bytes != _HEADER_BYTES % sector_bytes:
        return None

    def sector(number: int) -> bytes:
        start = (number + 1) * sector_bytes
        return content[start : start + sector_bytes]

    per_sector = sector_bytes // 4
    table_sectors = [it for it in struct.unpack_from("<109I", content, 76) if it < _END_OF_CHAIN]
    following, left = struct.unpack_from("<II", content, 68)
    while following < _END_OF_CHAIN and left:
        *more, following = struct.unpack(f"<{per_sector}I", sector(following))
        table_sectors += [it for it in more if it < _END_OF_CHAIN]
        left -= 1
    table = [entry for number in table_sectors for entry in struct.unpack(f"<{per_sector}I", sector(number))]
    pieces: list[bytes] = []
    at = found.start() // sector_bytes - 1
    while at < _END_OF_CHAIN and len(pieces) <= len(table):
        pieces.append(sector(at))
        at = table[at]
    return b"".join(pieces)


def _records(stream: bytes, position: int) -> Iterator[tuple[int, bytes]]:
    """Yield the records of one substream: from its BOF to its EOF."""
    depth = 0
    while position + 4 <= len(stream):
        number, length = struct.unpack_from("<HH", stream, position)
        yield number, stream[position + 4 : position + 4 + length]
        position += 4 + length
        depth += (number == _BOF) - (number == _EOF)
        if depth <= 0:
            return


def _read_records(stream: bytes) -> _Facts:
    facts = _Facts()
    codes: dict[int, str] = {}
    formats: list[int] = []
    offsets: dict[str, int] = {}
    for number, content in _records(stream, 0):
        if number == _DATE_MODE:
            facts.is_1904 = content[:2] == b"\x01\x00"
        elif number == _FORMAT:
            codes[struct.unpack_from("<H", content)[0]] = _text(content, 2, length_bytes=2)
        elif number == _XF:
            formats.append(struct.unpack_from("<H", content, 2)[0])
        elif number == _BOUND_SHEET:
            offsets[_text(content, 6, length_bytes=1)] = struct.unpack_from("<I", content)[0]
    padded = {at for at, it in enumerate(formats) if kind_of_format(codes.get(it, "")) == ZERO_PADDED}
    for name, offset in offsets.items():
        own = facts.sheets[name] = _SheetFacts()
        for number, content in _records(stream, offset):
            _read_cell_record(number, content, own, padded)
    return facts


def _read_cell_record(number: int, content: bytes, own: _SheetFacts, padded: set[int]) -> None:
    if number == _BOOL_OR_ERROR and content[7]:
        own.errors[struct.unpack_from("<HH", content)] = _ERRORS.get(content[6], f"number {content[6]}")
    elif number == _FORMULA and content[12:14] == b"\xff\xff" and content[6] == 2:
        own.errors[struct.unpack_from("<HH", content)] = _ERRORS.get(content[8], f"number {content[8]}")
    elif number in (_NUMBER, _RK) and padded:
        row, column, style = struct.unpack_from("<HHH", content)
        if style in padded:
            own.padded.add((row, column))
    elif number == _MANY_RK and padded:
        row, first = struct.unpack_from("<HH", content)
        for at in range((len(content) - 6) // 6):
            if struct.unpack_from("<H", content, 4 + 6 * at)[0] in padded:
                own.padded.add((row, first + at))


def _text(content: bytes, position: int, *, length_bytes: int) -> str:
    length = int.from_bytes(content[position : position + length_bytes], "little")
    is_wide = content[position + length_bytes] & 1
    start = position + length_bytes + 1
    if is_wide:
        return content[start : start + 2 * length].decode("utf-16-le", "replace")
    return content[start : start + length].decode("latin-1")
