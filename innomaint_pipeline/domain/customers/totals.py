"""The control totals of a list: its Count and its sums, to the cent, against the rows that were read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from innomaint_pipeline.domain.customers.columns import COLUMNS, SUMMED
from innomaint_pipeline.domain.customers.drawn import Cell
from innomaint_pipeline.domain.customers.headers import SUM, HeaderNames
from innomaint_pipeline.domain.customers.lists import Finding
from innomaint_pipeline.domain.customers.records import KINDS, Record, read_text
from innomaint_pipeline.domain.customers.values import UnreadableValueError, parse_integer, parse_money

TOTALS_AGREE = "totals_agree"

_NAMED = 5  # of rows at fault, so many are named
_TITLES = {column.name: column.header for column in COLUMNS}


@dataclass(frozen=True, slots=True)
class Totals:
    """What the row of totals says: the number of customers, None if unreadable, and the readable sums."""

    count: int | None
    sums: Mapping[str, int | Decimal]


def check_totals(
    records: Sequence[Record], rows: Sequence[Record], names: HeaderNames
) -> tuple[Totals, Finding]:
    """Compare the row of totals, of which there is one at the end, with the customers above it."""
    printed = [it for it in records if it.count is not None]
    if len(printed) != 1 or printed[0] is not records[-1]:
        where = f" (pages {[it.page for it in printed[:_NAMED]]})" if printed else ""
        return Totals(None, {}), _judge(
            f"found {len(printed)} rows of totals{where}, expected one, as the last row of the last cycle",
            {"rows_of_totals": len(printed), "rows": len(rows)},
            passed=False,
        )
    last = printed[0]
    count = read_count(last.count or "")
    sums: dict[str, int | Decimal] = {}
    differences: list[str] = []
    for name in SUMMED:
        total = _read_sum(last.cells[name], name, names)
        found = _add_up(rows, name)
        if total is not None:
            sums[name] = total
        if total is None or found is None or total != found:
            differences.append(name)
    figures = {
        "rows": len(rows),
        "count": count,
        "differing": differences,
        "sums": {name: str(it) for name, it in sums.items()},
        "added": {name: str(_add_up(rows, name)) for name in differences},
    }
    told = []
    if not rows or count != len(rows):
        told.append(
            f"{len(rows)} rows, expected {'a readable Count' if count is None else count} and above 0"
        )
    told += [_tell_difference(name, sums.get(name), rows) for name in differences]
    if told:
        message = f"page {last.page}: found {'; '.join(told)}"
    else:
        message = f"{count} rows and {len(SUMMED)} sums agree"
    return Totals(count, sums), _judge(message, figures, passed=not told)


def _judge(message: str, figures: Mapping[str, object], *, passed: bool) -> Finding:
    return Finding(TOTALS_AGREE, passed=passed, message=message, figures=figures)


def read_count(text: str) -> int | None:
    """Return the Count as it is printed, None if it cannot be read."""
    try:
        return parse_integer(text)
    except UnreadableValueError:
        return None


def _read_sum(cell: Cell, name: str, names: HeaderNames) -> int | Decimal | None:
    text = names.read_total(read_text(cell), SUM)
    if text is None:
        return None
    try:
        return parse_money(text) if KINDS[name] == "money" else parse_integer(text)
    except UnreadableValueError:
        return None


def _add_up(rows: Sequence[Record], name: str) -> int | Decimal | None:
    """Return the sum of a column, None if a value of it cannot be read."""
    if any(it.row is not None and name not in it.row.values for it in rows):
        return None
    zero: int | Decimal = Decimal(0) if KINDS[name] == "money" else 0
    values = (it.row.values[name] for it in rows if it.row is not None)
    return sum((it for it in values if isinstance(it, int | Decimal)), zero)


def _tell_difference(name: str, total: int | Decimal | None, rows: Sequence[Record]) -> str:
    title = f"{_TITLES[name]!r} ({name})"
    if total is None:
        return f"no readable sum under {title}, expected one"
    unreadable = [it for it in rows if it.row is not None and name not in it.row.values]
    if unreadable:
        at = ", ".join(f"page {it.page} row {it.number}" for it in unreadable[:_NAMED])
        return f"{len(unreadable)} unreadable values under {title} (as on {at}), expected none"
    return f"{_add_up(rows, name)} as the sum of {title}, expected {total}"
