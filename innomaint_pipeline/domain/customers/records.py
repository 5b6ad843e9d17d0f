"""Pages of a list -> cycles -> printed rows: what each column of each row says.

Belongs here: which pages belong together, where on them a column stands, and reading a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from innomaint_pipeline.domain.customers.columns import COLUMNS, Kind
from innomaint_pipeline.domain.customers.drawn import Cell, TablePage, Unreadable
from innomaint_pipeline.domain.customers.headers import COUNT, HeaderNames
from innomaint_pipeline.domain.customers.lists import CustomerRow, Value, ValueIssue
from innomaint_pipeline.domain.customers.values import UnreadableValueError, clean_text, parse_id, parse_value

KINDS: Mapping[str, Kind] = {column.name: column.kind for column in COLUMNS}

Cycle = list[TablePage]
"""The pages, in their order, that print the same slice of rows."""


def split_cycles(pages: Sequence[TablePage], names: HeaderNames) -> list[Cycle]:
    """Begin a cycle at each page whose first header is the id's; pages before the first one are in none."""
    cycles: list[Cycle] = []
    for page in pages:
        if names.name_columns([read_text(page.headers[0])]) == ["erp_id"]:
            cycles.append([])
        if cycles:
            cycles[-1].append(page)
    return cycles


def read_text(cell: Cell) -> str:
    """Return a cell's text, empty where it cannot be told."""
    return clean_text(cell) if isinstance(cell, str) else ""


def headers_of(cycle: Cycle) -> list[str]:
    """Return the headers of a cycle, from left to right."""
    return [read_text(cell) for page in cycle for cell in page.headers]


@dataclass(frozen=True, slots=True)
class Place:
    """A column of the list: on which page of a cycle, where on it, its header, its name if it is known."""

    page: int
    index: int
    header: str
    name: str | None


@dataclass(frozen=True, slots=True)
class Record:
    """A printed row: a customer, or with `count` (as printed) the totals, whose cells are `cells`.

    `row` is None for the totals, its id is empty where it cannot be read; `problem` says what the row lacks.
    """

    page: int
    number: int
    cells: Mapping[str, Cell]
    count: str | None
    row: CustomerRow | None = None
    problem: str | None = None


def lay_out(cycle: Cycle, names: HeaderNames) -> list[Place]:
    """Return the columns of a list, as one of its cycles has them."""
    found = names.name_columns(headers_of(cycle))
    places = [
        (page, index, read_text(cell))
        for page, it in enumerate(cycle)
        for index, cell in enumerate(it.headers)
    ]
    return [Place(*place, name) for place, name in zip(places, found, strict=True)]


def read_records(cycles: Sequence[Cycle], layout: Sequence[Place], names: HeaderNames) -> Iterator[Record]:
    """Yield the printed rows in their order, those of totals included."""
    for cycle in cycles:
        for number in range(len(cycle[0].rows)):
            cells = {it.name or it.header: cycle[it.page].rows[number][it.index] for it in layout}
            page = cycle[0].number
            count = names.read_total(read_text(cells["erp_id"]), COUNT)
            if count is not None:
                yield Record(page, number + 1, cells, count)
            else:
                unknown = {it.header for it in layout if it.name is None}
                yield _read_customer(page, number + 1, cells, unknown)


def _read_customer(page: int, number: int, cells: Mapping[str, Cell], unknown: set[str]) -> Record:
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
                values[name] = parse_value(text, KINDS[name])
        except UnreadableValueError as error:
            if name == "erp_id":
                problem = f"its id cannot be read: {error}" if text else "its id is empty"
            else:
                issues.append(ValueIssue(name, text, str(error)))
    if problem is None and "name" in values and values["name"] is None:
        problem = "its name is empty"
    return Record(
        page, number, cells, None, CustomerRow(erp_id, printed, values, extra, tuple(issues)), problem
    )
