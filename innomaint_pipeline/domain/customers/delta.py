"""What a list changes: the hashes of a row, and what each customer becomes.

Belongs here: pure decisions from the stored customers and the rows of a list. Guards are not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from innomaint_pipeline.domain.customers.columns import ANALYTICS, CONTACT
from innomaint_pipeline.domain.customers.lists import CustomerRow, Value

HASH_VERSION = 1
"""Raised with each change of what is hashed, or how: rows of another version are hashed anew, silently."""
FIELDS = (*CONTACT, *ANALYTICS)
_LEAST_REMOVALS = 5


class State(StrEnum):
    """What a customer is; `missing` is still served."""

    ACTIVE = "active"
    MISSING = "missing"
    DELETED = "deleted"


class ChangeKind(StrEnum):
    """What a run did to a customer."""

    NEW = "new"
    UPDATED = "updated"
    MISSING = "missing"
    DELETED = "deleted"
    RESTORED = "restored"


@dataclass(frozen=True, slots=True)
class StoredCustomer:
    """A customer as the table holds him."""

    values: Mapping[str, Value]
    extra: Mapping[str, str]
    contact_hash: str
    analytics_hash: str
    hash_version: int
    state: State
    missing_since: datetime | None


@dataclass(frozen=True, slots=True)
class CustomerWrite:
    """A customer to write: all of his values, and the fields that differ from the stored ones."""

    row: CustomerRow
    values: Mapping[str, Value]
    extra: Mapping[str, str]
    contact_hash: str
    analytics_hash: str
    fields: tuple[str, ...] = ()


@dataclass
class Delta:
    """What a list changes; ids are those of customers that are not in it."""

    rows: int
    new: list[CustomerWrite] = field(default_factory=list)
    updated: list[CustomerWrite] = field(default_factory=list)
    restored: list[CustomerWrite] = field(default_factory=list)
    rehashed: list[CustomerWrite] = field(default_factory=list)
    unchanged: int = 0
    missing: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)

    @property
    def is_changed(self) -> bool:
        """Tell whether any customer changes."""
        return bool(self.new or self.updated or self.restored or self.missing or self.deleted)

    def counts(self) -> dict[str, int]:
        """Return the counts of the run's row; `unchanged` includes those whose hashes alone are new."""
        return {
            "rows": self.rows,
            "new": len(self.new),
            "updated": len(self.updated),
            "unchanged": self.unchanged + len(self.rehashed),
            "missing": len(self.missing),
            "deleted": len(self.deleted),
            "restored": len(self.restored),
            "rehashed": len(self.rehashed),
        }


def _canonical(value: Value) -> str | int | None:
    if isinstance(value, Decimal):
        # A zero has no sign, and two decimals are written, whatever the number of digits it came with.
        return f"{value or abs(value):.2f}"
    return value.isoformat() if isinstance(value, date) else value


def _hash(document: Mapping[str, object]) -> str:
    text = json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def contact_hash(values: Mapping[str, Value], extra: Mapping[str, str]) -> str:
    """Return the hash of who a customer is; it covers the columns that are unknown here."""
    return _hash({**{name: _canonical(values.get(name)) for name in CONTACT}, "extra": dict(extra)})


def analytics_hash(values: Mapping[str, Value]) -> str:
    """Return the hash of a customer's order figures."""
    return _hash({name: _canonical(values.get(name)) for name in ANALYTICS})


def merge_values(row: CustomerRow, stored: Mapping[str, Value]) -> dict[str, Value]:
    """Return the values of a row; where one could not be read, the stored one stays."""
    return {name: row.values[name] if name in row.values else stored.get(name) for name in FIELDS}


def merge_extra(row: CustomerRow, stored: Mapping[str, str]) -> dict[str, str]:
    """Return the unknown columns of a row; where one could not be read, the stored value stays."""
    unreadable = {issue.field for issue in row.issues}
    return {**{header: text for header, text in stored.items() if header in unreadable}, **row.extra}


def compute_delta(
    stored: Mapping[str, StoredCustomer],
    rows: Sequence[CustomerRow],
    *,
    exported_at: datetime,
    interval: timedelta,
    max_remove_pct: float,
) -> Delta:
    """Return what a list does to the stored customers, keyed by id.

    A customer that is gone is `missing` at first, deleted when he is gone from a later list that was exported
    at least an interval afterwards; where that concerns too many at once, none is, and they are held.
    """
    delta = Delta(len(rows))
    for row in rows:
        _place(delta, stored.get(row.erp_id), row)
    present = {row.erp_id for row in rows}
    gone: list[str] = []
    for erp_id, customer in stored.items():
        if erp_id in present or customer.state is State.DELETED:
            continue
        if customer.state is State.ACTIVE or customer.missing_since is None:
            delta.missing.append(erp_id)
        elif exported_at >= customer.missing_since + interval:
            gone.append(erp_id)
    is_much = len(gone) > max(_LEAST_REMOVALS, len(rows) * max_remove_pct / 100)
    (delta.held if is_much else delta.deleted).extend(sorted(gone))
    delta.missing.sort()
    return delta


def _place(delta: Delta, stored: StoredCustomer | None, row: CustomerRow) -> None:
    if stored is None:
        delta.new.append(_write(row, {}, {}))
        return
    write = _write(row, stored.values, stored.extra)
    is_current = stored.hash_version == HASH_VERSION
    before = (
        stored.contact_hash if is_current else contact_hash(stored.values, stored.extra),
        stored.analytics_hash if is_current else analytics_hash(stored.values),
    )
    is_same = before == (write.contact_hash, write.analytics_hash)
    if stored.state is not State.ACTIVE:
        delta.restored.append(_name_fields(write, stored))
    elif not is_same:
        delta.updated.append(_name_fields(write, stored))
    elif not is_current:
        delta.rehashed.append(write)
    else:
        delta.unchanged += 1


def _write(
    row: CustomerRow, stored_values: Mapping[str, Value], stored_extra: Mapping[str, str]
) -> CustomerWrite:
    values, extra = merge_values(row, stored_values), merge_extra(row, stored_extra)
    return CustomerWrite(row, values, extra, contact_hash(values, extra), analytics_hash(values))


def _name_fields(write: CustomerWrite, stored: StoredCustomer) -> CustomerWrite:
    fields = [
        name for name in FIELDS if _canonical(write.values[name]) != _canonical(stored.values.get(name))
    ]
    if dict(write.extra) != dict(stored.extra):
        fields.append("extra")
    return replace(write, fields=tuple(fields))
