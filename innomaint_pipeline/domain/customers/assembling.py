"""Pages of a list -> its customers and control totals, with the checks that need the file alone.

Belongs here: cycles, the row of totals, and five of the blocking checks. What is
compared with an earlier list is `checks`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from innomaint_pipeline.domain.customers.columns import COLUMNS, SUMMED, Kind
from innomaint_pipeline.domain.customers.drawn import Cell, PageFault, TablePage, Unreadable
from innomaint_pipeline.domain.customers.headers import COUNT, SUM, HeaderNames
from innomaint_pipeline.domain.customers.lists import CustomerList, CustomerRow, Finding, Value, ValueIssue
from innomaint_pipeline.domain.customers.values import (
    UnreadableValueError,
    clean_text,
    parse_id,
    parse_integer,
    parse_money,
    parse_value,
)

IS_WHOLE = "file_is_whole"
HAS_HEADERS = "headers_are_complete"
IS_ALIGNED = "cycles_are_aligned"
TOTALS_AGREE = "totals_agree"
IDS_ARE_UNIQUE = "ids_are_unique"

_EDGE_TOLERANCE = 1.0
_NAMED = 5  # of pages or rows at fault, so many are named
_KINDS: Mapping[str, Kind] = {column.name: column.kind for column in COLUMNS}
_TITLES = {column.name: column.header for column in COLUMNS}


def refuse_file(message: str, *, pages: int = 0, **figures: object) -> CustomerList:
    """Return the list of a file that is not whole; it has no rows."""
    return CustomerList(
        (), None, {}, pages, 0, (), (Finding(IS_WHOLE, passed=False, message=message, figures=figures),)
    )


def assemble_list(pages: Sequence[TablePage | PageFault], names: HeaderNames) -> CustomerList:
    """Return the customers of a list's pages, in their order, and the findings of the checks.

    A check that fails so that nothing can be made of the rows is the last finding, and there are no rows.
    """
    faults = [it for it in pages if isinstance(it, PageFault)]
    tables = [it for it in pages if isinstance(it, TablePage)]
    if faults or not tables:
        told = "; ".join(_tell_fault(it, names) for it in faults[:_NAMED]) or "the file has no pages"
        return refuse_file(told, pages=len(pages), faulty_pages=[it.number for it in faults[:_NAMED]])
    findings = [_pass(IS_WHOLE, f"all {len(pages)} pages are whole tables", pages=len(pages))]
    cycles = _split_cycles(tables, names)
    findings.append(_check_headers(tables, cycles, names))
    if not findings[-1].passed:
        return _without_rows(pages, cycles, findings)
    findings.append(_check_alignment(cycles))
    if not findings[-1].passed:
        return _without_rows(pages, cycles, findings)
    layout = _lay_out(cycles[0], names)
    records = list(_read_records(cycles, layout, names))
    rows = [it for it in records if it.count is None]
    totals, agreeing = _check_totals(records, rows, names)
    findings.append(agreeing)
    findings.append(_check_ids(rows))
    return CustomerList(
        rows=tuple(it.row for it in rows if it.row is not None),
        count=totals.count,
        sums=totals.sums,
        pages=len(pages),
        cycle_pages=len(cycles[0]),
        unknown_headers=tuple(it.header for it in layout if it.name is None),
        findings=tuple(findings),
    )


def _tell_fault(fault: PageFault, names: HeaderNames) -> str:
    headers = [
        repr(header) if name else "an unknown one"
        for header, name in zip(fault.lacking, names.name_columns(fault.lacking), strict=True)
    ]
    where = f", column {' and '.join(headers)}" if headers else ""
    return f"page {fault.number}{where}: {fault.message}"


def count_customers(page: TablePage, names: HeaderNames) -> tuple[int, int | None]:
    """Return how many customers a page is the first to print, and the list's Count if it prints that."""
    if names.name_columns([_as_text(page.headers[0])]) != ["erp_id"]:
        return 0, None
    count = None
    if page.rows and (printed := names.read_total(_as_text(page.rows[-1][0]), COUNT)) is not None:
        count = _read_count(printed)
    return len(page.rows) - (count is not None), count


def _pass(check: str, message: str, **figures: object) -> Finding:
    return Finding(check, passed=True, message=message, figures=figures)


def _fail(check: str, message: str, **figures: object) -> Finding:
    return Finding(check, passed=False, message=message, figures=figures)


def _without_rows(
    pages: Sequence[object], cycles: Sequence[Sequence[TablePage]], findings: Sequence[Finding]
) -> CustomerList:
    return CustomerList((), None, {}, len(pages), len(cycles[0]) if cycles else 0, (), tuple(findings))


# cycles and headers

_Cycle = list[TablePage]


def _split_cycles(pages: Sequence[TablePage], names: HeaderNames) -> list[_Cycle]:
    """Begin a cycle at each page whose first header is the id's; pages before the first one are in none."""
    cycles: list[_Cycle] = []
    for page in pages:
        if names.name_columns([_as_text(page.headers[0])]) == ["erp_id"]:
            cycles.append([])
        if cycles:
            cycles[-1].append(page)
    return cycles


def _as_text(cell: Cell) -> str:
    """Return a cell's text, empty where it cannot be told."""
    return clean_text(cell) if isinstance(cell, str) else ""


def _headers_of(cycle: _Cycle) -> list[str]:
    return [_as_text(cell) for page in cycle for cell in page.headers]


def _check_headers(pages: Sequence[TablePage], cycles: Sequence[_Cycle], names: HeaderNames) -> Finding:
    for page in pages:
        if unreadable := [index + 1 for index, cell in enumerate(page.headers) if not _as_text(cell)]:
            return _fail(
                HAS_HEADERS,
                f"page {page.number}: the header of its column {unreadable[0]} cannot be read or is empty",
                page=page.number,
            )
    if not cycles or cycles[0][0] is not pages[0]:
        return _fail(
            HAS_HEADERS,
            f"page {pages[0].number}: the first page does not begin with the header {_TITLES['erp_id']!r}",
            page=pages[0].number,
        )
    for cycle in cycles:
        headers = _headers_of(cycle)
        found = names.name_columns(headers)
        where = f"pages {cycle[0].number} to {cycle[-1].number}"
        counts = Counter(it for it in found if it is not None)
        missing = [_TITLES[column.name] for column in COLUMNS if not counts[column.name]]
        counted = Counter(headers)
        allowed = Counter(header for header, name in zip(headers, found, strict=True) if name is not None)
        repeated = {header for header, times in counted.items() if times > max(allowed[header], 1)}
        twice = sorted(
            {_TITLES[name] for name, times in counts.items() if times > 1}
            | {header for header in repeated if allowed[header]}
        )
        # The texts of unknown ones are not told: where a header row is missing, they are a customer's.
        unknown_twice = sum(not allowed[header] for header in repeated)
        if missing or twice or unknown_twice:
            told = [f"{_list_some(missing)} missing"] if missing else []
            told += [f"{_list_some(twice)} too often"] if twice else []
            if unknown := found.count(None):
                more_than_once = f", {unknown_twice} of them more than once" if unknown_twice else ""
                told.append(f"{unknown} unknown{more_than_once}")
            return _fail(
                HAS_HEADERS,
                f"{where}: found {', '.join(told)}; expected each of the {len(COLUMNS)} headers once",
                missing=missing,
                too_often=twice,
                pages=[cycle[0].number, cycle[-1].number],
            )
        if [it.headers for it in cycle] != [it.headers for it in cycles[0]]:
            return _fail(
                HAS_HEADERS,
                f"{where}: found other headers or another order, expected those of the first "
                f"{len(cycles[0])} pages",
                pages=[cycle[0].number, cycle[-1].number],
            )
    return _pass(
        HAS_HEADERS,
        f"all {len(COLUMNS)} headers in each of {len(cycles)} cycles of {len(cycles[0])} pages",
        cycles=len(cycles),
        cycle_pages=len(cycles[0]),
    )


def _list_some(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _NAMED} more" if len(texts) > _NAMED else ""
    return ", ".join(map(repr, texts[:_NAMED])) + more


def _check_alignment(cycles: Sequence[_Cycle]) -> Finding:
    for cycle in cycles:
        first = cycle[0]
        for page in cycle[1:]:
            if len(page.rows) != len(first.rows):
                return _fail(
                    IS_ALIGNED,
                    f"page {page.number}: found {len(page.rows)} rows, expected {len(first.rows)} as on page "
                    f"{first.number}",
                    page=page.number,
                    rows=len(page.rows),
                    expected=len(first.rows),
                )
            for row, (found, expected) in enumerate(zip(page.edges, first.edges, strict=True)):
                if abs(found - expected) > _EDGE_TOLERANCE:
                    return _fail(
                        IS_ALIGNED,
                        f"page {page.number}: found the edge under row {row} at {found:.1f} pt, expected "
                        f"{expected:.1f} pt as on page {first.number}",
                        page=page.number,
                        row=row,
                    )
    rows = sum(len(cycle[0].rows) for cycle in cycles)
    return _pass(IS_ALIGNED, f"{rows} rows at the same edges on each page of a cycle", rows=rows)


# rows


@dataclass(frozen=True, slots=True)
class _Place:
    """A column of the list: on which page of a cycle, where on it, its header, its name if it is known."""

    page: int
    index: int
    header: str
    name: str | None


@dataclass(frozen=True, slots=True)
class _Record:
    """A printed row: a customer, or with `count` (as printed) the totals, whose cells are `cells`.

    `row` is None for the totals, its id is empty where it cannot be read; `problem` says what the row lacks.
    """

    page: int
    number: int
    cells: Mapping[str, Cell]
    count: str | None
    row: CustomerRow | None = None
    problem: str | None = None


def _lay_out(cycle: _Cycle, names: HeaderNames) -> list[_Place]:
    found = names.name_columns(_headers_of(cycle))
    places = [
        (page, index, _as_text(cell))
        for page, it in enumerate(cycle)
        for index, cell in enumerate(it.headers)
    ]
    return [_Place(*place, name) for place, name in zip(places, found, strict=True)]


def _read_records(
    cycles: Sequence[_Cycle], layout: Sequence[_Place], names: HeaderNames
) -> Iterator[_Record]:
    for cycle in cycles:
        for number in range(len(cycle[0].rows)):
            cells = {it.name or it.header: cycle[it.page].rows[number][it.index] for it in layout}
            page = cycle[0].number
            count = names.read_total(_as_text(cells["erp_id"]), COUNT)
            if count is not None:
                yield _Record(page, number + 1, cells, count)
            else:
                unknown = {it.header for it in layout if it.name is None}
                yield _read_customer(page, number + 1, cells, unknown)


def _read_customer(page: int, number: int, cells: Mapping[str, Cell], unknown: set[str]) -> _Record:
    values: dict[str, Value] = {}
    extra: dict[str, str] = {}
    issues = []
    erp_id, printed, problem = "", "", None
    for name, cell in cells.items():
        raw = cell.raw if isinstance(cell, Unreadable) else cell
        text = clean_text(raw)
        try:
            if isinstance(cell, Unreadable):
                raise UnreadableValueError(cell.reason)  # one way for both
            if name == "erp_id":
                printed = text
                erp_id = parse_id(text)
            elif name in unknown:
                extra |= {name: text} if text else {}
            else:
                values[name] = parse_value(text, _KINDS[name])
        except UnreadableValueError as error:
            if name == "erp_id":
                problem = f"its id cannot be read: {error}" if text else "its id is empty"
            else:
                issues.append(ValueIssue(name, text, str(error)))
    if problem is None and "name" in values and values["name"] is None:
        problem = "its name is empty"
    return _Record(
        page, number, cells, None, CustomerRow(erp_id, printed, values, extra, tuple(issues)), problem
    )


# totals and ids


@dataclass(frozen=True, slots=True)
class _Totals:
    count: int | None
    sums: Mapping[str, int | Decimal]


def _check_totals(
    records: Sequence[_Record], rows: Sequence[_Record], names: HeaderNames
) -> tuple[_Totals, Finding]:
    printed = [it for it in records if it.count is not None]
    if len(printed) != 1 or printed[0] is not records[-1]:
        where = f" (pages {[it.page for it in printed[:_NAMED]]})" if printed else ""
        return _Totals(None, {}), _fail(
            TOTALS_AGREE,
            f"found {len(printed)} rows of totals{where}, expected one, as the last row of the last cycle",
            rows_of_totals=len(printed),
            rows=len(rows),
        )
    last = printed[0]
    count = _read_count(last.count or "")
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
        return _Totals(count, sums), _fail(
            TOTALS_AGREE, f"page {last.page}: found {'; '.join(told)}", **figures
        )
    return _Totals(count, sums), _pass(TOTALS_AGREE, f"{count} rows and {len(SUMMED)} sums agree", **figures)


def _read_count(text: str) -> int | None:
    try:
        return parse_integer(text)
    except UnreadableValueError:
        return None


def _read_sum(cell: Cell, name: str, names: HeaderNames) -> int | Decimal | None:
    text = names.read_total(_as_text(cell), SUM)
    if text is None:
        return None
    try:
        return parse_money(text) if _KINDS[name] == "money" else parse_integer(text)
    except UnreadableValueError:
        return None


def _add_up(rows: Sequence[_Record], name: str) -> int | Decimal | None:
    """Return the sum of a column, None if a value of it cannot be read."""
    if any(it.row is not None and name not in it.row.values for it in rows):
        return None
    zero: int | Decimal = Decimal(0) if _KINDS[name] == "money" else 0
    values = (it.row.values[name] for it in rows if it.row is not None)
    return sum((it for it in values if isinstance(it, int | Decimal)), zero)


def _tell_difference(name: str, total: int | Decimal | None, rows: Sequence[_Record]) -> str:
    title = f"{_TITLES[name]!r} ({name})"
    if total is None:
        return f"no readable sum under {title}, expected one"
    unreadable = [it for it in rows if it.row is not None and name not in it.row.values]
    if unreadable:
        at = ", ".join(f"page {it.page} row {it.number}" for it in unreadable[:_NAMED])
        return f"{len(unreadable)} unreadable values under {title} (slice of {at}), expected none"
    return f"{_add_up(rows, name)} as the sum of {title}, expected {total}"


def _count_rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def _check_ids(rows: Sequence[_Record]) -> Finding:
    problems = [it for it in rows if it.problem is not None]
    if problems:
        told = "; ".join(f"page {it.page} row {it.number}: {it.problem}" for it in problems[:_NAMED])
        return _fail(
            IDS_ARE_UNIQUE,
            f"found {_count_rows(len(problems))} without a readable id or a name: {told}",
            rows_at_fault=len(problems),
        )
    counts = Counter(it.row.erp_id for it in rows if it.row is not None)
    twice = [it for it in rows if it.row is not None and counts[it.row.erp_id] > 1]
    if twice:
        told = ", ".join(f"page {it.page} row {it.number}" for it in twice[:_NAMED])
        return _fail(
            IDS_ARE_UNIQUE,
            f"found {len(twice)} rows that share an id with another ({told}), expected none",
            rows_at_fault=len(twice),
        )
    return _pass(IDS_ARE_UNIQUE, f"{len(rows)} ids, each once", ids=len(rows))
