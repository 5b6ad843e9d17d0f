"""Which rows of a sheet are the header, and which of its columns is which column of the asset master.

Belongs here: finding and reading the header. What the text of a header means is `synonyms`, what a cell below
it means `cells`, what a row means `register`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from innomaint_pipeline.domain.workbook.cells import Cell, has_digit, is_blank, parse_text
from innomaint_pipeline.domain.workbook.sheets import MergedCells
from innomaint_pipeline.domain.workbook.synonyms import ATTRIBUTES_COLUMN, ID_COLUMN, Match, normalize_header

HEADER_SEARCH_ROWS = 50

_ROWS_COUNTED_BELOW = 1_000
_LONGEST_GROUP_CHARACTERS = 60
_NAMED_RIVALS = 10
# A header that is repeated may be spaced out, but not that far.
_LONGEST_REPETITION = 4


@dataclass(frozen=True, slots=True)
class HeaderRows:
    """Where the header of a sheet stands (rows from 0) and what it says.

    `first` is above `last` where a row of groups stands over their parts. `texts` are the headers by column,
    groups and parts joined. `known` are the columns of the master that they mean.
    """

    first: int
    last: int
    texts: Sequence[str]
    known: frozenset[str]
    meanings: Mapping[int, tuple[int, str]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a sheet, `row_number` (from 1) its last row.

    `labels` has one unique, non-empty text per column of the sheet, from column A on, the columns beyond the
    header's last cell included. `columns` maps positions (from 0) to columns of the master; `blank` holds the
    positions without a header text.
    """

    row_number: int
    labels: Sequence[str]
    columns: Mapping[int, str]
    id_position: int
    blank: frozenset[int]
    notices: Sequence[str]


def find_header(
    rows: Sequence[Sequence[Cell]], match: Match, merged: Sequence[MergedCells] = ()
) -> HeaderRows | None:
    """Find the header among the first rows of a sheet, `None` if none of them has an id header.

    It is the one with most known columns; of equals the one above more rows that look like data, then the
    first.
    """
    candidates = [
        candidate
        for last in range(min(len(rows), HEADER_SEARCH_ROWS))
        for candidate in _read_candidates(rows, last, match, merged)
        if ID_COLUMN in candidate.known
    ]
    if not candidates:
        return None
    most = max(len(candidate.known) for candidate in candidates)
    best = [candidate for candidate in candidates if len(candidate.known) == most]
    return max(best, key=lambda it: (_count_data_rows(rows, it, best), -it.last, it.last - it.first))


def find_headers_above(
    rows: Sequence[Sequence[Cell]], header: HeaderRows, match: Match
) -> list[tuple[HeaderRows, int]]:
    """Return other headers with an id above the chosen one, each with its rows that look like data."""
    above = [
        candidate
        for last in range(header.first)
        for candidate in _read_candidates(rows, last, match, ())
        if ID_COLUMN in candidate.known and candidate.first == candidate.last
    ]
    counted = [(it, _count_data_rows(rows, it, [*above, header])) for it in above]
    return [(it, count) for it, count in counted if count]


def _read_candidates(
    rows: Sequence[Sequence[Cell]], last: int, match: Match, merged: Sequence[MergedCells]
) -> list[HeaderRows]:
    parts = _row_texts(rows[last])
    if not any(parts):
        return []
    single = _build_candidate(last, last, parts, match)
    # A truth value is a value: such a row is no part of a header, however few of its cells are filled.
    if not last or any(map(_is_truth_value, (*rows[last - 1], *rows[last]))):
        return [single]
    groups = _row_texts(rows[last - 1])
    spans = _group_spans(groups, parts, last - 1, merged)
    if not spans or not _is_group_row(groups, parts, spans, match):
        return [single]
    joined = [""] * max(len(groups), len(parts))
    for at in range(len(joined)):
        part = parts[at] if at < len(parts) else ""
        joined[at] = _join(spans.get(at, ""), part, match)
    return [single, _build_candidate(last - 1, last, joined, match)]


def _is_truth_value(cell: Cell) -> bool:
    # A delimited file has but texts.
    return isinstance(cell, bool) or (isinstance(cell, str) and cell.strip().casefold() in {"true", "false"})


def _build_candidate(first: int, last: int, texts: Sequence[str], match: Match) -> HeaderRows:
    parameters = _find_parameters(texts)
    meanings = {
        at: found
        for at, text in enumerate(texts)
        if text and at not in parameters and (found := match(text)) and found[1] != ATTRIBUTES_COLUMN
    }
    return HeaderRows(first, last, texts, frozenset(column for _, column in meanings.values()), meanings)


def _row_texts(row: Sequence[Cell]) -> list[str]:
    # A number is a header as well ("2024"), but never a known one.
    return ["" if is_blank(cell) else _header_text(cell) for cell in row]


def _find_parameters(texts: Sequence[str]) -> set[int]:
    """Return where a text such as `Site:` names the value beside it; headers that all end so are headers."""
    if all(text.endswith(":") for text in texts if text):
        return set()
    return {
        at
        for at, text in enumerate(texts)
        if text.endswith(":") or any(it.startswith((":", "=")) for it in texts[at + 1 : at + 2])
    }


def _group_spans(
    groups: Sequence[str], parts: Sequence[str], row: int, merged: Sequence[MergedCells]
) -> dict[int, str]:
    """Return the group above each column: merged over it, or to its left with nothing between."""
    ranges = {
        at: (it.first_column, it.last_column)
        for it in merged
        if it.first_row <= row <= it.last_row and it.last_column - it.first_column < max(len(parts), 1)
        for at in range(it.first_column, it.last_column + 1)
    }
    spans: dict[int, str] = {}
    current, until = "", -1
    for at in range(max(len(groups), len(parts))):
        text = groups[at] if at < len(groups) else ""
        if text:
            first, last = ranges.get(at, (at, -1))
            current, until = text, last if last > first else -1
        elif until >= 0 and at > until:
            current = ""
        if current:
            spans[at] = current
    return spans


def _is_group_row(
    groups: Sequence[str], parts: Sequence[str], spans: Mapping[int, str], match: Match
) -> bool:
    """Tell groups above their parts from a title, a legend or a block of parameters above a header."""
    filled = [at for at, text in enumerate(groups) if text]
    texts = [groups[at] for at in filled]
    if any(
        text.endswith(":") or len(text) > _LONGEST_GROUP_CHARACTERS or has_digit(text)
        for text in [*texts, *(part for part in parts if part)]
    ):
        return False
    above = {at for at in filled if _is_id(groups[at], match)}
    below = {
        at
        for at, part in enumerate(parts)
        if part and (_is_id(part, match) or (at in spans and _is_id(f"{spans[at]} {part}", match)))
    }
    # Each part stands under a group; what has no part is a header by itself.
    under = [at for at, part in enumerate(parts) if part and at in spans and spans[at] != part]
    spread = [at for at in under if not (at < len(groups) and groups[at])]
    if not spread:
        return False
    if above and not below:
        # The ids' header has nothing below it, and nothing has a part that stands beside all groups.
        return all(at in spans for at, part in enumerate(parts) if part) and not any(
            at < len(parts) and parts[at] and parts[at] != groups[at] for at in above
        )
    if not below or (above and above != below):
        return False
    if len(filled) > 1:
        return True
    # A lone text is a title, unless it begins right of the first column and ends before the last.
    return filled[0] not in (0, *below) and spans.get(len(parts) - 1, "") == ""


def _is_id(text: str, match: Match) -> bool:
    found = match(text)
    return found is not None and found[1] == ID_COLUMN


def _join(group: str, part: str, match: Match) -> str:
    if not part or not group or group == part:
        return part or group
    joined = f"{group} {part}"
    return joined if match(joined) or not match(part) else part


def _count_data_rows(rows: Sequence[Sequence[Cell]], header: HeaderRows, others: Sequence[HeaderRows]) -> int:
    """Count the rows from a header to the next other one that have an id and no cell without a header."""
    position = find_id_position(rows, header)
    columns = {at: column for at, (_, column) in header.meanings.items()}
    end = min(
        (
            it.first
            for it in others
            if it.first > header.last and columns != {at: column for at, (_, column) in it.meanings.items()}
        ),
        default=len(rows),
    )
    headed = {at for at, text in enumerate(header.texts) if text}
    return sum(
        position < len(row)
        and not is_blank(row[position])
        and all(at in headed for at, cell in enumerate(row) if not is_blank(cell))
        for row in islice(rows, header.last + 1, min(end, header.last + 1 + _ROWS_COUNTED_BELOW))
    )


def explain_missing_id(rows: Sequence[Sequence[Cell]]) -> str:
    """Say that no id column was found, what the likeliest header row holds instead, and what to do."""
    likeliest: list[str] = []
    for row in rows[:HEADER_SEARCH_ROWS]:
        texts = [cell for cell in row if isinstance(cell, str) and not is_blank(cell)]
        likeliest = max(likeliest, texts, key=len)
    there = ", ".join(f"'{_header_text(text)[:40]}'" for text in likeliest[:20])
    return (
        f"no id column in the first {HEADER_SEARCH_ROWS} rows, expected a header such as 'CMMS Asset ID', "
        f"'Asset ID' or 'Serial Number' (the likeliest header row has {there or 'no text'}). Rename the "
        f"header in the workbook, or send it to {ID_COLUMN} in a mapping file"
    )


def read_header(rows: Sequence[Sequence[Cell]], found: HeaderRows, *, width: int) -> Header:
    """Read the header of a sheet whose longest row has `width` cells.

    Two headers for one column: the explicitly mapped one wins, then the column's own name, then, for ids, the
    better rank, then the first; a column that is wholly blank gives way to a filled one. A notice names the
    other.
    """
    texts = [found.texts[at] if at < len(found.texts) else "" for at in range(width)]
    labels = _unique(text or f"column_{column_letters(position)}" for position, text in enumerate(texts))
    rivals: dict[str, list[tuple[int, int]]] = {}
    for position, (rank, column) in found.meanings.items():
        rivals.setdefault(column, []).append((rank, position))
    columns: dict[int, str] = {}
    notices: list[str] = []
    for column, ranked in rivals.items():
        if len(ranked) == 1:
            columns[ranked[0][1]] = column
            continue
        filled = _find_filled(rows, found.last + 1, [position for _, position in ranked])
        winner = _find_winner(ranked, filled)
        columns[winner] = column
        notices += [
            f"'{labels[winner]}' and '{labels[position]}' (column {column_letters(position)}) both mean "
            f"{column}: the first named is used, the other is kept in {ATTRIBUTES_COLUMN}"
            for _, position in islice(sorted(ranked, key=lambda it: it[1]), _NAMED_RIVALS)
            if position != winner and position in filled
        ]
    blank = frozenset(position for position, text in enumerate(texts) if not text)
    id_position = next(at for at, column in columns.items() if column == ID_COLUMN)
    return Header(found.last + 1, labels, dict(sorted(columns.items())), id_position, blank, notices)


def find_id_position(rows: Sequence[Sequence[Cell]], found: HeaderRows) -> int:
    """Return where the id column of a header with one stands: the best rank that holds anything."""
    ranked = [(rank, at) for at, (rank, column) in found.meanings.items() if column == ID_COLUMN]
    if len(ranked) == 1:
        return ranked[0][1]
    return _find_winner(ranked, _find_filled(rows, found.last + 1, [at for _, at in ranked]))


def _find_winner(ranked: Sequence[tuple[int, int]], filled: set[int]) -> int:
    return min(ranked, key=lambda it: (it[1] not in filled, it))[1]


def _find_filled(rows: Sequence[Sequence[Cell]], first_row: int, positions: Sequence[int]) -> set[int]:
    """Return those of the columns that hold anything from a row on."""
    filled: set[int] = set()
    missing = set(positions)
    for row in islice(rows, first_row, None):
        found = {at for at in missing if at < len(row) and not is_blank(row[at])}
        filled |= found
        missing -= found
        if not missing:
            break
    return filled


def is_repeated_header(row: Sequence[Cell], header: Header) -> bool:
    """Tell whether a row says the header again, as at each page of a printed report, page numbers apart."""
    position = header.id_position
    cell = row[position] if position < len(row) else None
    if not is_blank(cell):
        return _says(cell, header.labels[position])
    return all(is_blank(cell) or _says(cell, header.labels[at]) for at, cell in enumerate(row))


def _says(cell: Cell, label: str) -> bool:
    if not isinstance(cell, str) or len(cell) > _LONGEST_REPETITION * len(label):
        return False
    return cell == label or normalize_header(cell) == normalize_header(label)


def column_letters(position: int) -> str:
    """Name a column as a spreadsheet does: 0 is A, 26 is AA."""
    letters = ""
    position += 1
    while position:
        position, rest = divmod(position - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def _header_text(cell: Cell) -> str:
    return " ".join((parse_text(cell) or "").split())


def _unique(texts: Iterable[str]) -> list[str]:
    taken: set[str] = set()
    counts: dict[str, int] = {}
    unique: list[str] = []
    for text in texts:
        label, count = text, counts.get(text, 1)
        while label in taken:
            count += 1
            label = f"{text} ({count})"
        # Remembered, so that thousands of equal headers do not count from two each time.
        counts[text] = count
        taken.add(label)
        unique.append(label)
    return unique
