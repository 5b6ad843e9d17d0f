"""Rows of an asset master that are no assets: totals, page lines, headings, headers and column numbers.

Belongs here: what tells such a row from a CMMS asset. Ids that say that there is none (`NA`) are `cells`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from innomaint_pipeline.domain.workbook.cells import Cell, CellError, has_digit, is_blank, trim
from innomaint_pipeline.domain.workbook.headers import Header, is_repeated_header
from innomaint_pipeline.domain.workbook.sheets import MergedCells

_COUNTED = (
    r"(?:\s+(?:no\.?|nos\.?|number|count|qty|quantity|of|assets?|equipments?|items?|records?|rows?|units?))*"
)
_TOTAL = re.compile(
    rf"\W*(?:(?:grand|sub|overall|net|page|running)[\s_-]*)?totals?{_COUNTED}\s*(?:[:=\s-]\s*[\d.,]*)?\W*"
    r"|(?:sum|count)\s*[:=]\s*[\d.,]*",
    re.IGNORECASE,
)
_PAGE = re.compile(r"\W*page\s*(?:no\.?|number)?\s*[:#]?\s*-?\d+\s*(?:(?:of|/)\s*-?\d+)?\W*", re.IGNORECASE)
_END = re.compile(
    r"\W*end\s+of\s+(?:the\s+)?(?:report|list|file|data|table|document|sheet)\W*", re.IGNORECASE
)
_COLUMN_NUMBER = re.compile(r"[(\[]?\s*([0-9]{1,5})\s*[)\].]?")
# Of the ids of real assets so many have a digit that one without, and with nothing beside it, is a heading.
_SHARE_WITH_DIGIT = 0.9
_HEADINGS_PER_ASSET = 2


@dataclass(frozen=True, slots=True)
class LoneId:
    """A row whose id is its only cell; `is_wide` if it is merged across columns."""

    row_number: int
    cmms_asset_id: str
    is_wide: bool


def refuse_no_asset(row: Sequence[Cell], row_number: int, header: Header) -> None:
    """Raise `CellError` for a row that is a header again, column numbers, a total or a page line."""
    if is_repeated_header(row, header):
        raise CellError(f"the row repeats the header of row {header.row_number}")
    if row_number == header.row_number + 1 and _numbers_columns(row, header):
        raise CellError("the row numbers the columns")
    cell = row[header.id_position] if header.id_position < len(row) else None
    if not isinstance(cell, str):
        return
    text = trim(cell)
    if _TOTAL.fullmatch(text):
        raise CellError(f"the row is a total, no asset: '{text[:60]}'")
    if _PAGE.fullmatch(text) or _END.fullmatch(text):
        raise CellError(f"the row is a line of the printed report, no asset: '{text[:60]}'")


def read_lone_id(
    row: Sequence[Cell], row_number: int, cmms_asset_id: str, header: Header, merged: Sequence[MergedCells]
) -> LoneId | None:
    """Return the id of a row in which it is the only cell that is not blank, else `None`."""
    position = header.id_position
    if any(at != position and not is_blank(cell) for at, cell in enumerate(row)):
        return None
    is_wide = any(
        it.first_row <= row_number - 1 <= it.last_row and it.first_column <= position < it.last_column
        for it in merged
    )
    return LoneId(row_number, cmms_asset_id, is_wide=is_wide)


def find_headings(lone_ids: Sequence[LoneId], ids: Mapping[int, str], header: Header) -> Mapping[int, str]:
    """Return why rows with nothing but an id are headings of sections; both mappings are by row number."""
    if len(header.labels) - len(header.blank) < 2:
        return {}
    lone = {it.row_number for it in lone_ids}
    others = [cmms_asset_id for row_number, cmms_asset_id in ids.items() if row_number not in lone]
    with_digit = sum(map(has_digit, others))
    reasons = {
        it.row_number: f"the row is the heading of a section, no asset: '{it.cmms_asset_id[:60]}' is merged "
        "across columns"
        for it in lone_ids
        if it.is_wide
    }
    without = [it for it in lone_ids if not has_digit(it.cmms_asset_id)]
    if (
        with_digit
        and with_digit >= _SHARE_WITH_DIGIT * len(others)
        and (len(without) <= _HEADINGS_PER_ASSET * len(others))
    ):
        reasons |= {
            it.row_number: "the row is the heading of a section or a remark, no asset: "
            f"'{it.cmms_asset_id[:60]}' stands alone and has no digit, as other ids have"
            for it in without
            if it.row_number not in reasons
        }
    return reasons


def _numbers_columns(row: Sequence[Cell], header: Header) -> bool:
    filled = {at: cell for at, cell in enumerate(row) if not is_blank(cell)}
    if len(filled) < 2 or not set(filled) >= {
        at for at in range(len(header.labels)) if at not in header.blank
    }:
        return False
    # "1, 2" below "Sr No, Asset ID" is a row.
    if len(filled) == 2 and "report_seq_no" in header.columns.values():
        return False
    numbers = [_column_number(cell) for cell in filled.values()]
    return numbers == list(range(1, len(numbers) + 1))


def _column_number(cell: Cell) -> int | None:
    if isinstance(cell, str):
        match = _COLUMN_NUMBER.fullmatch(trim(cell))
        return int(match[1]) if match else None
    return int(cell) if isinstance(cell, int | float) and cell == cell // 1 else None
