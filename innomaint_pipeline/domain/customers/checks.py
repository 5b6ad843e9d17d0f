"""The blocking checks that compare a list with what it follows, and which of all a person may release.

Belongs here: pure functions from a list and the last accepted one to findings. The checks of the file alone
are made where it is read. Messages and figures hold counts, shares, columns and times, no customer's value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from innomaint_pipeline.domain.customers.columns import COLUMNS
from innomaint_pipeline.domain.customers.delta import contact_hash, merge_extra, merge_values
from innomaint_pipeline.domain.customers.lists import CustomerRow, Finding

OF_THE_FILE = (
    "file_is_whole",
    "headers_are_complete",
    "cycles_are_aligned",
    "totals_agree",
    "ids_are_unique",
)
NEWER = "snapshot_is_newer"
RELEASABLE = (
    "list_has_not_shrunk",
    "columns_are_filled",
    "changes_are_plausible",
    "rows_belong_together",
)
"""What a person may know better than the program; nothing else can be released."""
CHECKS = (*OF_THE_FILE, NEWER, *RELEASABLE)

DESCRIPTIONS = {
    "file_is_whole": "The file is a whole PDF within the bounds of reading.",
    "headers_are_complete": "Every cycle has each of the 26 headers, and is like the first.",
    "cycles_are_aligned": "Each page of a cycle has as many rows, at the same heights.",
    "totals_agree": "There is one totals row, and count and sums equal those of the rows.",
    "ids_are_unique": "Every row has an id and a name, and no id stands twice.",
    NEWER: "The list was exported after the last accepted one, and not in the future.",
    "list_has_not_shrunk": "Not many rows fewer than in the last accepted list.",
    "columns_are_filled": "No column is much emptier than in the last accepted list.",
    "changes_are_plausible": "At most about half of the customers have other contact data than before.",
    "rows_belong_together": "The columns of a row agree with each other, as far as they repeat themselves.",
}

WHAT_TO_DO = {
    "file_is_whole": "export the list again: this file is damaged, cut short, or no customer list",
    "headers_are_complete": "export the list again where pages are missing; else look at the columns of the "
    "export in the ERP; another language is named in CUSTOMERS_HEADERS",
    "cycles_are_aligned": "export the list again: pages are missing or exchanged",
    "totals_agree": "export the list again: rows are missing or doubled, or a number was printed wrongly",
    "ids_are_unique": "look at the customers in the ERP: an id is missing, doubled or malformed",
    NEWER: "nothing, where an older list was put there; else look at the clock of the ERP",
    "list_has_not_shrunk": "look for a filter that was left on in the ERP; release the list only if so many "
    "customers were really removed",
    "columns_are_filled": "look at the columns of the export in the ERP; release the list only if they were "
    "really emptied",
    "changes_are_plausible": "compare a few customers with the ERP; release the list only if so many were "
    "really changed",
    "rows_belong_together": "compare a few customers with the ERP; release the list only if the account "
    "numbers are really so",
}

FUTURE_TOLERANCE = timedelta(minutes=10)
_LEAST_ROWS = 3
_NAMED_ROWS = 5
_MAX_FALL_POINTS = 20.0
_COMPARABLE_PCT = 20.0
_EXCEPTIONS_PCT = 1.0


@dataclass(frozen=True, slots=True)
class Guards:
    """The percentages of the settings, and the interval, by which a list is judged and applied."""

    max_drop_pct: float = 5
    max_change_pct: float = 50
    max_remove_pct: float = 0.5
    interval_minutes: int = 30


@dataclass(frozen=True, slots=True)
class AcceptedList:
    """The last accepted list: when it was exported, its rows by id, and the filled share of each column."""

    exported_at: datetime
    rows: Mapping[str, CustomerRow]
    fill_shares: Mapping[str, float]


def compute_fill_shares(rows: Sequence[CustomerRow]) -> dict[str, float]:
    """Return for each column the share of rows, 0 to 1, whose cell is filled, readable or not."""
    if not rows:
        return {}
    counts = dict.fromkeys((column.name for column in COLUMNS), 0)
    for row in rows:
        counts["erp_id"] += 1
        unreadable = {issue.field for issue in row.issues}
        for name in counts.keys() - {"erp_id"}:
            counts[name] += row.values.get(name) is not None or name in unreadable
    return {name: round(count / len(rows), 6) for name, count in counts.items()}


def refuse_unnamed(places: Sequence[int]) -> Finding:
    """Return the finding about new customers, by their rows in the list from 1, whose name cannot be read."""
    named = ", ".join(map(str, places[:_NAMED_ROWS]))
    return Finding(
        "ids_are_unique",
        passed=False,
        message=f"found {len(places)} new customers without a readable name (rows {named} of the list), "
        "expected a name in each row",
        figures={"rows_at_fault": len(places)},
    )


def check_newer(exported_at: datetime, before: datetime | None, now: datetime) -> Finding:
    """Check that a list is newer than the last accepted one, and that its time is not ahead of the clock."""
    figures: dict[str, object] = {"exported_at": exported_at.isoformat(), "compared": before is not None}
    if exported_at > now + FUTURE_TOLERANCE:
        # Rounded up, so that what is refused never reads as what is allowed.
        ahead = -((now - exported_at) // timedelta(minutes=1))
        return Finding(
            NEWER,
            passed=False,
            message=f"the list was exported at {exported_at.isoformat()}, {ahead} minutes ahead of the "
            "clock; at most 10 are expected",
            figures=figures,
        )
    if before is None:
        return Finding(NEWER, passed=True, message="there is no accepted list yet", figures=figures)
    figures["last_exported_at"] = before.isoformat()
    passed = exported_at > before
    words = "after" if passed else "not after"
    return Finding(
        NEWER,
        passed,
        f"the list was exported at {exported_at.isoformat()}, {words} the last accepted one of "
        f"{before.isoformat()}",
        figures,
    )


def compare(rows: Sequence[CustomerRow], before: AcceptedList | None, guards: Guards) -> tuple[Finding, ...]:
    """Return the findings of the releasable checks, in their order; the first list has nothing to compare."""
    return (
        _check_shrunk(len(rows), before, guards),
        _check_filled(rows, before),
        _check_changes(rows, before, guards),
        _check_rows(rows),
    )


def _uncompared(check: str, message: str = "there is no accepted list to compare with") -> Finding:
    return Finding(check, passed=True, message=message, figures={"compared": False})


def _check_shrunk(rows: int, before: AcceptedList | None, guards: Guards) -> Finding:
    name = "list_has_not_shrunk"
    if before is None:
        return _uncompared(name)
    known = len(before.rows)
    allowed = max(_LEAST_ROWS, known * guards.max_drop_pct / 100)
    lost = known - rows
    return Finding(
        name,
        lost <= allowed,
        f"{rows} rows after {known} in the last accepted list; at most {int(allowed)} fewer are expected",
        {"compared": True, "rows": rows, "rows_before": known, "max_fewer": int(allowed)},
    )


def _check_filled(rows: Sequence[CustomerRow], before: AcceptedList | None) -> Finding:
    name = "columns_are_filled"
    if before is None:
        return _uncompared(name)
    known = len(before.rows)
    if abs(len(rows) - known) > known * _COMPARABLE_PCT / 100:
        return _uncompared(name, f"{len(rows)} rows after {known}: too many more or fewer to compare columns")
    shares = compute_fill_shares(rows)
    fallen = {
        column: (share, shares.get(column, 0.0))
        for column, share in before.fill_shares.items()
        if (share - shares.get(column, 0.0)) * 100 > _MAX_FALL_POINTS + 1e-6
    }
    listed = "; ".join(f"{column} from {was:.1%} to {now:.1%}" for column, (was, now) in fallen.items())
    return Finding(
        name,
        not fallen,
        f"the filled share has fallen by over {_MAX_FALL_POINTS:.0f} points: {listed}"
        if fallen
        else "no column's filled share has fallen by over 20 points",
        {
            "compared": True,
            "fallen": {column: {"before": was, "now": now} for column, (was, now) in fallen.items()},
        },
    )


def _check_changes(rows: Sequence[CustomerRow], before: AcceptedList | None, guards: Guards) -> Finding:
    name = "changes_are_plausible"
    if before is None:
        return _uncompared(name)
    changed = sum(_is_changed(before.rows[row.erp_id], row) for row in rows if row.erp_id in before.rows)
    share = 100 * changed / len(rows) if rows else 0.0
    return Finding(
        name,
        share <= guards.max_change_pct,
        f"{changed} of {len(rows)} rows ({share:.1f} %) are known customers with other contact data; at most "
        f"{guards.max_change_pct:g} % are expected",
        {"compared": True, "changed": changed, "rows": len(rows), "max_pct": guards.max_change_pct},
    )


def _is_changed(before: CustomerRow, now: CustomerRow) -> bool:
    values, extra = merge_values(now, before.values), merge_extra(now, before.extra)
    return contact_hash(values, extra) != contact_hash(before.values, before.extra)


def _check_rows(rows: Sequence[CustomerRow]) -> Finding:
    allowed = max(_LEAST_ROWS, len(rows) * _EXCEPTIONS_PCT / 100)
    other_number = _count(row.values.get("external_account_number") != row.erp_id for row in rows)
    other_profile = _count(
        (row.values.get("account_num") is not None) != (row.values.get("type") == "Debitor") for row in rows
    )
    return Finding(
        "rows_belong_together",
        other_number <= allowed and other_profile <= allowed,
        f"in {other_number} of {len(rows)} rows NUMERO DI CONTO ESTERNO is not the id; in {other_profile} "
        f"PROFILO CLIENTE is not filled exactly where TYPE is Debitor; at most {int(allowed)} each expected",
        {
            "rows": len(rows),
            "other_number": other_number,
            "other_profile": other_profile,
            "max": int(allowed),
        },
    )


def _count(flags: Iterable[bool]) -> int:
    return sum(flags)


def is_releasable(failed: Iterable[str]) -> bool:
    """Tell whether a person may release a list that these checks refused: at least one, and no other."""
    names = set(failed)
    return bool(names) and names <= set(RELEASABLE)
