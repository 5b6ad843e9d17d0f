"""Pages of a list -> its customers and control totals, with the checks that need the file alone.

Belongs here: what makes a file whole, and four of the blocking checks. Its rows are read by `records`, its
totals compared by `totals`; what is compared with an earlier list is `checks`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from innomaint_pipeline.domain.customers.columns import COLUMNS
from innomaint_pipeline.domain.customers.drawn import PageFault, TablePage
from innomaint_pipeline.domain.customers.headers import COUNT, HeaderNames
from innomaint_pipeline.domain.customers.lists import CustomerList, Finding
from innomaint_pipeline.domain.customers.records import (
    Cycle,
    Record,
    headers_of,
    lay_out,
    read_records,
    read_text,
    split_cycles,
)
from innomaint_pipeline.domain.customers.totals import check_totals, read_count

IS_WHOLE = "file_is_whole"
HAS_HEADERS = "headers_are_complete"
IS_ALIGNED = "cycles_are_aligned"
IDS_ARE_UNIQUE = "ids_are_unique"

_EDGE_TOLERANCE = 1.0
_NAMED = 5  # of pages or rows at fault, so many are named
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
    cycles = split_cycles(tables, names)
    findings.append(_check_headers(tables, cycles, names))
    if not findings[-1].passed:
        return _without_rows(pages, cycles, findings)
    findings.append(_check_alignment(cycles))
    if not findings[-1].passed:
        return _without_rows(pages, cycles, findings)
    layout = lay_out(cycles[0], names)
    records = list(read_records(cycles, layout, names))
    rows = [it for it in records if it.count is None]
    totals, agreeing = check_totals(records, rows, names)
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
    if names.name_columns([read_text(page.headers[0])]) != ["erp_id"]:
        return 0, None
    count = None
    if page.rows and (printed := names.read_total(read_text(page.rows[-1][0]), COUNT)) is not None:
        count = read_count(printed)
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


def _check_headers(pages: Sequence[TablePage], cycles: Sequence[Cycle], names: HeaderNames) -> Finding:
    for page in pages:
        if unreadable := [index + 1 for index, cell in enumerate(page.headers) if not read_text(cell)]:
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
        headers = headers_of(cycle)
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


def _check_alignment(cycles: Sequence[Cycle]) -> Finding:
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


# ids


def _count_rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def _check_ids(rows: Sequence[Record]) -> Finding:
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
