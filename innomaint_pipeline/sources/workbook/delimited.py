"""Delimited text (.csv, .tsv, .txt) -> the rows of its one sheet.

Belongs here: code pages, the delimiter, quoting, what ends such a file.
"""

import codecs
import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from innomaint_pipeline.domain.workbook.cells import Cell, is_blank
from innomaint_pipeline.domain.workbook.headers import explain_missing_id, find_header
from innomaint_pipeline.domain.workbook.sheets import SheetRows
from innomaint_pipeline.domain.workbook.synonyms import Match
from innomaint_pipeline.errors import WorkbookError
from innomaint_pipeline.sources.workbook.zip_parts import WorkbookBounds

_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
_ROWS_COMPARED = 2_000
_END_OF_FILE = "\x1a"
# The five bytes that Windows-1252 leaves open, as browsers read them.
_OPEN_BYTES = {0x81, 0x8D, 0x8F, 0x90, 0x9D}
_LARGEST_FIELD_CHARACTERS = 2**26


@dataclass(frozen=True, slots=True)
class _Table:
    """What a delimiter makes of the first rows: how good it is, and whether a fault ended it."""

    delimiter: str
    rows: list[list[str]]
    known_headers: int
    rows_as_wide: int
    has_fault: bool


def read_delimited(path: Path, workbook: str, name: str, match: Match, bounds: WorkbookBounds) -> SheetRows:
    """Read a text under the delimiter that makes the best table of it.

    That is the one with most known headers, then most rows as wide as the header. Every cell is a text.
    Raises `WorkbookError`.
    """
    text, notices = _read_text(path, workbook)
    text, end_notices = _before_end_of_file(text)
    csv.field_size_limit(_LARGEST_FIELD_CHARACTERS)
    tables = [_compare(text, delimiter, match) for delimiter in _DELIMITERS]
    best = max(tables, key=lambda it: (it.known_headers, not it.has_fault, it.rows_as_wide))
    if not best.known_headers and not best.has_fault:
        likeliest = max(tables, key=lambda it: max(map(len, it.rows), default=0))
        raise WorkbookError(
            f"{workbook}, sheet '{name}', read with the delimiters {', '.join(_DELIMITERS.values())}: "
            f"{explain_missing_id(likeliest.rows)}"
        )
    rows: list[list[Cell]] = []
    cells = 0
    for line_number, row in _rows(text, best.delimiter, workbook):
        cells += len(row)
        for cell in row:
            if len(cell) > bounds.cell_characters:
                raise WorkbookError(
                    f"{workbook}, line {line_number}: a field holds {len(cell):,} characters, at most "
                    f"{bounds.cell_characters:,} fit a cell of Excel; shorten it, or look for a quotation "
                    "mark that is not closed"
                )
        if cells > bounds.cells:
            raise WorkbookError(f"{workbook}: the file has more than {bounds.cells:,} cells; split it")
        rows.append([*row])
    header = find_header(rows, match)
    cut = _notice_of_a_cut(text, rows, len(rows[header.last])) if header else []
    return SheetRows(workbook, name, rows, is_delimited=True, notices=[*notices, *end_notices, *cut])


def _compare(text: str, delimiter: str, match: Match) -> _Table:
    rows: list[list[str]] = []
    has_fault = False
    try:
        rows.extend(row for _, row in islice(_rows(text, delimiter, ""), _ROWS_COMPARED))
    except WorkbookError:
        has_fault = True
    header = find_header(rows, match)
    if header is None:
        return _Table(delimiter, rows, 0, 0, has_fault)
    width = len(rows[header.last])
    as_wide = sum(len(row) == width for row in rows[header.last + 1 :])
    return _Table(delimiter, rows, len(header.known), as_wide, has_fault)


def _rows(text: str, delimiter: str, workbook: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of the last line and the fields of each row."""
    # Strict, because a quote that is never closed would otherwise swallow the rest of the file in silence.
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True
    )
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise WorkbookError(
            f"{workbook}, line {reader.line_num}: the line is no CSV ({error}); look for a quotation "
            "mark that is not closed or not doubled, or save the file as .xlsx"
        ) from error


def _read_text(path: Path, workbook: str) -> tuple[str, list[str]]:
    content = path.read_bytes()
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return content.decode("utf-16"), []
        except UnicodeDecodeError as error:
            raise WorkbookError(
                f"{workbook}: the text begins as UTF-16 and is none ({error.reason} at byte "
                f"{error.start:,}); copy the file again, or save it as CSV UTF-8"
            ) from error
    try:
        return content.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        text = "".join(
            piece.decode("cp1252", errors="strict") if not _OPEN_BYTES & set(piece) else _decode_open(piece)
            for piece in content.splitlines(keepends=True)
        )
        return text, [
            "the file is no UTF-8 and was read as Windows-1252: if names look wrong, save it as CSV UTF-8"
        ]


def _decode_open(piece: bytes) -> str:
    return "".join(chr(it) if it in _OPEN_BYTES else bytes([it]).decode("cp1252") for it in piece)


def _before_end_of_file(text: str) -> tuple[str, list[str]]:
    """Return what stands before Ctrl-Z, which ends a file of DOS."""
    kept, found, lost = text.partition(_END_OF_FILE)
    if not found or is_blank(lost.replace(_END_OF_FILE, "").replace("\0", "")):
        return kept, []
    lines = lost.count("\n") + 1
    return kept, [f"Ctrl-Z ends the file before its end: the {lines:,} lines behind it are not read"]


def _notice_of_a_cut(text: str, rows: list[list[Cell]], width: int) -> list[str]:
    if text.endswith(("\n", "\r")) or not rows or not 0 < len(rows[-1]) < width:
        return []
    told = (
        f"the last line has {len(rows[-1])} cells instead of {width} and no end: if the file was still being "
        "copied, import it again"
    )
    return [told]
