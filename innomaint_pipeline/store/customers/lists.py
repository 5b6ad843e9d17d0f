"""The lists that were read: accepted, quarantined, released; and their rows, as long as they are kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from innomaint_pipeline.domain.customers.checks import AcceptedList, compute_fill_shares
from innomaint_pipeline.domain.customers.columns import COLUMNS
from innomaint_pipeline.domain.customers.delta import State
from innomaint_pipeline.domain.customers.lists import (
    CustomerList,
    CustomerRow,
    Finding,
    Value,
    ValueIssue,
)
from innomaint_pipeline.store.customers.tables import (
    ACCEPTED,
    QUARANTINED,
    RELEASED,
    customer,
    data_issue,
    snapshot,
    snapshot_row,
)

_KINDS = {column.name: column.kind for column in COLUMNS}
_IS_ACCEPTED = snapshot.c.status.in_((ACCEPTED, RELEASED))
_NEWEST_FIRST = (snapshot.c.exported_at.desc(), snapshot.c.accepted_at.desc())
# A hash that is older than this would be refused as not newer, too.
_KNOWN_DAYS = 365


@dataclass(frozen=True, slots=True)
class KnownList:
    """A list that was read before."""

    sha256: str
    exported_at: datetime
    received_at: datetime
    accepted_at: datetime | None
    status: str
    checks: Sequence[Mapping[str, Any]]
    held: tuple[str, ...]

    @property
    def failed(self) -> dict[str, Mapping[str, Any]]:
        """The checks that it did not pass, by name."""
        return {item["check"]: item for item in self.checks if not item["passed"]}

    @property
    def is_refused_for_bounds(self) -> bool:
        """Whether nothing but the bounds of reading stood against it."""
        failed = self.failed
        return (
            self.status == QUARANTINED
            and bool(failed)
            and all(name == "file_is_whole" and item["figures"].get("bound") for name, item in failed.items())
        )


def _known(row: Any) -> KnownList | None:
    if row is None:
        return None
    return KnownList(
        row.sha256,
        row.exported_at,
        row.received_at,
        row.accepted_at,
        row.status,
        row.checks,
        tuple(row.held or ()),
    )


def find_list(connection: Connection, sha256: str) -> KnownList | None:
    """Return the list of a hash, None where it was never read."""
    return _known(connection.execute(select(snapshot).where(snapshot.c.sha256 == sha256)).first())


def find_last_accepted(connection: Connection) -> KnownList | None:
    """Return the list that was accepted or released last, by when it was exported."""
    statement = select(snapshot).where(_IS_ACCEPTED).order_by(*_NEWEST_FIRST).limit(1)
    return _known(connection.execute(statement).first())


def load_accepted(connection: Connection) -> AcceptedList | None:
    """Return the last accepted list with its rows, as the guards compare with it."""
    last = find_last_accepted(connection)
    if last is None:
        return None
    shares = select(snapshot.c.fill_shares).where(snapshot.c.sha256 == last.sha256)
    rows = load_rows(connection, last.sha256)
    return AcceptedList(
        last.exported_at, {row.erp_id: row for row in rows}, connection.execute(shares).scalar_one()
    )


def save_list(
    connection: Connection,
    sha256: str,
    exported_at: datetime,
    content: CustomerList,
    findings: Sequence[Finding],
    *,
    parser_version: str,
    is_accepted: bool,
) -> None:
    """Store what was read: the list's figures, what the checks found, its rows.

    One that was quarantined before, and is read again, is replaced.
    """
    values = {
        "exported_at": exported_at,
        "received_at": func.clock_timestamp(),
        "accepted_at": func.clock_timestamp() if is_accepted else None,
        "rows": len(content.rows),
        "pages": content.pages,
        "cycle_pages": content.cycle_pages,
        "totals": {
            "count": content.count,
            "sums": {name: _plain(value) for name, value in content.sums.items()},
        },
        "fill_shares": compute_fill_shares(content.rows),
        "checks": [
            {
                "check": item.check,
                "passed": item.passed,
                "message": item.message,
                "figures": dict(item.figures),
            }
            for item in findings
        ],
        "status": ACCEPTED if is_accepted else QUARANTINED,
        "held": None,
        "parser_version": parser_version,
    }
    statement = upsert(snapshot).values(sha256=sha256, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["sha256"], set_=values))
    connection.execute(delete(snapshot_row).where(snapshot_row.c.sha256 == sha256))
    if content.rows:
        connection.execute(insert(snapshot_row), [*_rows_of(sha256, content.rows)])


def _rows_of(sha256: str, rows: Iterable[CustomerRow]) -> Iterable[dict[str, Any]]:
    for position, row in enumerate(rows, start=1):
        yield {
            "sha256": sha256,
            "position": position,
            "erp_id": row.erp_id,
            "erp_id_printed": row.erp_id_printed,
            "cells": {name: _plain(value) for name, value in row.values.items()},
            "extra": dict(row.extra),
            "issues": [asdict(issue) for issue in row.issues],
        }


def _plain(value: Value) -> str | int | None:
    if isinstance(value, Decimal):
        return str(value)
    return value.isoformat() if isinstance(value, date) else value


def _typed(name: str, value: Any) -> Value:
    if value is None:
        return None
    kind = _KINDS[name]
    if kind == "money":
        return Decimal(value)
    return date.fromisoformat(value) if kind == "date" else value


def load_rows(connection: Connection, sha256: str) -> list[CustomerRow]:
    """Return the kept rows of a list, in its order; none where they are gone."""
    found = connection.execute(
        select(snapshot_row).where(snapshot_row.c.sha256 == sha256).order_by(snapshot_row.c.position)
    )
    return [
        CustomerRow(
            row.erp_id,
            row.erp_id_printed,
            {name: _typed(name, value) for name, value in row.cells.items()},
            row.extra,
            tuple(ValueIssue(**issue) for issue in row.issues),
        )
        for row in found
    ]


def mark_accepted(connection: Connection, sha256: str, *, status: str, held: Sequence[str]) -> None:
    """Note that a list was applied, and the removals that wait; rows of lists accepted before go.

    What an earlier list held back is judged by this one.
    """
    connection.execute(
        update(snapshot)
        .where(snapshot.c.sha256 == sha256)
        .values(
            status=status,
            accepted_at=func.coalesce(snapshot.c.accepted_at, func.clock_timestamp()),
            held=list(held) or None,
        )
    )
    others = select(snapshot.c.sha256).where(_IS_ACCEPTED, snapshot.c.sha256 != sha256)
    connection.execute(delete(snapshot_row).where(snapshot_row.c.sha256.in_(others)))
    connection.execute(
        update(snapshot).where(snapshot.c.sha256 != sha256, snapshot.c.held.is_not(None)).values(held=None)
    )


def clear_held(connection: Connection, sha256: str) -> None:
    """Forget the removals of a list that waited: they were released."""
    connection.execute(update(snapshot).where(snapshot.c.sha256 == sha256).values(held=None))


def find_quarantine(connection: Connection, *, keep_days: int) -> list[dict[str, Any]]:
    """Return what waits for a person, newest first: refused lists that are kept, and held removals."""
    is_kept = snapshot.c.received_at > func.clock_timestamp() - _days(keep_days)
    rows = connection.execute(
        select(snapshot)
        .where(((snapshot.c.status == QUARANTINED) & is_kept) | snapshot.c.held.is_not(None))
        .order_by(snapshot.c.received_at.desc())
    )
    return [dict(row) for row in rows.mappings()]


def count_waiting(connection: Connection, *, keep_days: int) -> dict[str, int]:
    """Return how many refused lists no later accepted one has settled, and how many removals are held."""
    last = find_last_accepted(connection)
    found = find_quarantine(connection, keep_days=keep_days)
    waiting = [
        row
        for row in found
        if row["status"] == QUARANTINED
        and (last is None or last.accepted_at is None or row["received_at"] > last.accepted_at)
    ]
    return {"quarantined": len(waiting), "held": sum(len(row["held"] or ()) for row in found)}


def clean_up(connection: Connection, *, keep_days: int, keep_deleted_days: int) -> None:
    """Delete what is kept no longer: personal rows of quarantined lists, and customers deleted long ago."""
    now = func.clock_timestamp()
    expired = select(snapshot.c.sha256).where(
        snapshot.c.status == QUARANTINED, snapshot.c.received_at < now - _days(keep_days)
    )
    connection.execute(delete(snapshot_row).where(snapshot_row.c.sha256.in_(expired)))
    connection.execute(delete(data_issue).where(data_issue.c.resolved_at < now - _days(keep_days)))
    purged = connection.execute(
        delete(customer)
        .where(customer.c.state == State.DELETED, customer.c.deleted_at < now - _days(keep_deleted_days))
        .returning(customer.c.erp_id)
    ).scalars()
    connection.execute(delete(data_issue).where(data_issue.c.erp_id == func.any(list(purged))))
    last = find_last_accepted(connection)
    connection.execute(
        delete(snapshot).where(
            snapshot.c.received_at < now - _days(max(_KNOWN_DAYS, keep_days)),
            snapshot.c.sha256 != (last.sha256 if last else ""),
        )
    )


def _days(count: int) -> Any:
    return func.make_interval(0, 0, 0, count)
