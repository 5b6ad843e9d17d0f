"""Which sheets of a workbook are the asset master.

Belongs here: every sheet as read in, those that are imported out, and what is to be said of the others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from innomaint_pipeline.domain.workbook.cells import CellError, is_blank, parse_id
from innomaint_pipeline.domain.workbook.columns import build_matcher
from innomaint_pipeline.domain.workbook.headers import (
    HeaderRows,
    explain_missing_id,
    find_header,
    read_header,
)
from innomaint_pipeline.domain.workbook.no_assets import (
    LoneId,
    find_headings,
    read_lone_id,
    refuse_no_asset,
)
from innomaint_pipeline.domain.workbook.sheets import SheetRows, UnreadSheet
from innomaint_pipeline.errors import WorkbookError

# More of a sheet's ids than this share in other sheets make it an older copy of them.
_SHARE_OF_A_COPY = 0.1


@dataclass(frozen=True, slots=True)
class _Headed:
    sheet: SheetRows
    header: HeaderRows


@dataclass(frozen=True, slots=True)
class _Content:
    """The ids of a sheet's assets, and whether there is any row below its header."""

    ids: frozenset[str]
    has_rows: bool


def choose_sheets(
    workbook: str,
    sheets: Sequence[SheetRows | UnreadSheet],
    *,
    names: Sequence[str] = (),
    synonyms: Mapping[str, str],
) -> tuple[list[SheetRows], list[str]]:
    """Return the sheets that are one register, in their order, and notices of those that are not read.

    Of the visible sheets it is the one whose header knows most columns, of equals the one with more rows,
    then the first; with it those with the same known columns, unless they are older copies. Hidden ones count
    where no visible one has an id column. `names` says it instead. Raises `WorkbookError` if there is none.
    """
    if names:
        return _choose_named(workbook, sheets, names), []
    match = build_matcher(synonyms)
    unread = [it for it in sheets if isinstance(it, UnreadSheet)]
    headed = [
        _Headed(it, header)
        for it in sheets
        if isinstance(it, SheetRows) and (header := find_header(it.rows, match, it.merged))
    ]
    visible = [it for it in headed if it.sheet.is_visible]
    eligible = visible or headed
    if not eligible:
        raise WorkbookError(f"{workbook}: {_explain_none(sheets)}")
    most = max(len(it.header.known) for it in eligible)
    best = [it for it in eligible if len(it.header.known) == most]
    # To read the ids takes time, and of one sheet nothing depends on them.
    contents = {it.sheet.sheet: _read_content(it) for it in best} if len(best) > 1 else {}
    chosen = max(best, key=lambda it: len(contents[it.sheet.sheet].ids)) if contents else best[0]
    for it in unread:
        header = find_header(it.head, match)
        if it.is_visible and header and len(header.known) >= len(chosen.header.known):
            # It is the register, or a part of it: the others alone would be a wrong one.
            raise WorkbookError(f"{workbook}, sheet '{it.sheet}': {it.reason}")
    notices = (
        [] if visible else [f"sheet '{chosen.sheet.sheet}' is hidden; no visible sheet has an id column"]
    )
    parts = [it for it in best if it.header.known == chosen.header.known]
    read, copies = _without_copies(chosen, parts, contents)
    notices += copies
    notices += [
        f"sheet '{it.sheet.sheet}' has an id column, too, and is not read: "
        + ("it is hidden" if it not in eligible else "its headers are not those of the register")
        for it in headed
        if it not in parts
    ]
    notices += [f"sheet '{it.sheet}' is not read: {it.reason}" for it in unread]
    return [it.sheet for it in read], notices


def _without_copies(
    chosen: _Headed, parts: Sequence[_Headed], contents: Mapping[str, _Content]
) -> tuple[list[_Headed], list[str]]:
    """Return the parts of a register that are no older copies of others, in their order, and notices."""
    if len(parts) == 1:
        return [chosen], []
    notices: list[str] = []
    seen = set(contents[chosen.sheet.sheet].ids)
    read: list[_Headed] = []
    for it in parts:
        content = contents[it.sheet.sheet]
        common = len(content.ids & seen)
        if it is chosen:
            read.append(it)
        elif common > _SHARE_OF_A_COPY * len(content.ids):
            notices.append(
                f"sheet '{it.sheet.sheet}' is not read: {common:,} of its {len(content.ids):,} ids stand in "
                "other sheets, as in an older copy; name the sheets to read if it is none"
            )
        elif content.has_rows:
            seen |= content.ids
            read.append(it)
    return read, notices


def _choose_named(
    workbook: str, sheets: Sequence[SheetRows | UnreadSheet], names: Sequence[str]
) -> list[SheetRows]:
    by_name = {it.sheet: it for it in sheets}
    chosen: list[SheetRows] = []
    for name in dict.fromkeys(names):
        sheet = by_name[name]
        if isinstance(sheet, UnreadSheet):
            raise WorkbookError(f"{workbook}, sheet '{name}': {sheet.reason}")
        if not sheet.rows:
            raise WorkbookError(f"{workbook}: sheet '{name}': it holds no data")
        chosen.append(sheet)
    return chosen


def _read_content(headed: _Headed) -> _Content:
    rows, found = headed.sheet.rows, headed.header
    header = read_header(rows, found, width=max(map(len, rows[found.first :])))
    ids: dict[int, str] = {}
    lone_ids: list[LoneId] = []
    has_rows = False
    for row_number, row in enumerate(rows[header.row_number :], header.row_number + 1):
        if all(map(is_blank, row)):
            continue
        has_rows = True
        try:
            refuse_no_asset(row, row_number, header)
            ids[row_number] = parse_id(row[header.id_position] if header.id_position < len(row) else None)
        except CellError:
            continue
        if lone := read_lone_id(row, row_number, ids[row_number], header, headed.sheet.merged):
            lone_ids.append(lone)
    headings = find_headings(lone_ids, ids, header)
    return _Content(frozenset(it for row_number, it in ids.items() if row_number not in headings), has_rows)


def _explain_none(sheets: Sequence[SheetRows | UnreadSheet]) -> str:
    if not sheets:
        return "the workbook has no worksheet"
    return "; ".join(
        f"sheet '{it.sheet}': {it.reason}"
        if isinstance(it, UnreadSheet)
        else f"sheet '{it.sheet}': {explain_missing_id(it.rows) if it.rows else 'it holds no data'}"
        for it in sheets
    )
