"""A customer list as it was read: rows, control totals, and what the checks of the file alone found.

Belongs here: the types that pass between reading, checking and storing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

Value = str | int | Decimal | date | None


@dataclass(frozen=True, slots=True)
class ValueIssue:
    """A cell whose value cannot be read; `field` is a column's name, or the header of an unknown column.

    `raw_value` is personal: it belongs into the table of data issues and nowhere else.
    """

    field: str
    raw_value: str
    reason: str


@dataclass(frozen=True, slots=True)
class CustomerRow:
    """A customer of the list.

    `erp_id` is the id without dots, `erp_id_printed` as it stands in the list. `values` holds the 25 columns
    but the id; an unreadable value is absent there and present in `issues`. `extra` holds the filled cells of
    unknown columns by their header as printed.
    """

    erp_id: str
    erp_id_printed: str
    values: Mapping[str, Value]
    extra: Mapping[str, str] = field(default_factory=dict)
    issues: tuple[ValueIssue, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one blocking check.

    `message` says what was found, what was expected, and on which page; `figures` are values for JSON. No
    personal value stands in either.
    """

    check: str
    passed: bool
    message: str
    figures: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CustomerList:
    """What a file holds, and the findings of the checks that need the file alone.

    `rows` are all that are printed but the totals: where `ids_are_unique` failed, an id may stand twice or be
    empty. `count` and `sums` are the control totals as printed; `count` None: there is none. `cycle_pages` is
    how many pages a slice of rows takes. A file that cannot be parsed has no rows and a failed finding.
    """

    rows: tuple[CustomerRow, ...]
    count: int | None
    sums: Mapping[str, int | Decimal]
    pages: int
    cycle_pages: int
    unknown_headers: tuple[str, ...]
    findings: tuple[Finding, ...]
