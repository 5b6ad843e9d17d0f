"""Bringing the customers to what a list says, in one transaction; and releasing what the guards held.

Belongs here: writing customers, changes, data issues and the state of the list. What a list changes is
decided in `domain.customers.delta`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, case, func, insert, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert

from innomaint_pipeline.domain.customers.checks import (
    NEWER,
    Guards,
    check_newer,
    is_releasable,
)
from innomaint_pipeline.domain.customers.delta import (
    FIELDS,
    HASH_VERSION,
    ChangeKind,
    CustomerWrite,
    Delta,
    State,
    StoredCustomer,
    compute_delta,
)
from innomaint_pipeline.domain.customers.lists import CustomerRow
from innomaint_pipeline.domain.customers.runs import SYNC_LEASE, Outcome, Stage, Trigger
from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline.store.customers.lists import (
    KnownList,
    clear_held,
    find_last_accepted,
    find_list,
    load_rows,
    mark_accepted,
)
from innomaint_pipeline.store.customers.runs import close_run, load_interval, open_run
from innomaint_pipeline.store.customers.tables import (
    ACCEPTED,
    QUARANTINED,
    RELEASED,
    change,
    customer,
    data_issue,
    release,
)
from innomaint_pipeline.store.database import Database, find_now
from innomaint_pipeline.store.leases import acquire_lease, release_lease

_ROWS_A_STATEMENT = 250


class ReleaseError(ConfigurationError):
    """What a person wants to release cannot be released; nothing was changed."""


class BusyError(ReleaseError):
    """A run is under way: what it accepts would decide what may be released."""


def load_customers(connection: Connection) -> dict[str, StoredCustomer]:
    """Return every customer that the tables hold, deleted ones as well, by id."""
    return {
        row["erp_id"]: StoredCustomer(
            {name: row[name] for name in FIELDS},
            row["extra"],
            row["contact_hash"],
            row["analytics_hash"],
            row["hash_version"],
            State(row["state"]),
            row["missing_since"],
        )
        for row in connection.execute(select(customer)).mappings()
    }


def find_unknown(connection: Connection, erp_ids: Sequence[str]) -> set[str]:
    """Return those ids that no customer has had yet."""
    known = select(customer.c.erp_id).where(customer.c.erp_id.in_(erp_ids))
    return set(erp_ids).difference(connection.execute(known).scalars())


def plan_list(
    connection: Connection, rows: Sequence[CustomerRow], exported_at: datetime, guards: Guards
) -> Delta:
    """Return what a list would change; writes nothing."""
    return compute_delta(
        load_customers(connection),
        rows,
        exported_at=exported_at,
        interval=load_interval(connection, guards.interval_minutes),
        max_remove_pct=guards.max_remove_pct,
    )


def apply_list(
    connection: Connection,
    sha256: str,
    rows: Sequence[CustomerRow],
    exported_at: datetime,
    guards: Guards,
    *,
    run_id: str,
    status: str = ACCEPTED,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Delta:
    """Bring the customers to a list that is stored already, and make it the last accepted one.

    `on_progress` is told how many customers of the list are dealt with.
    """
    delta = plan_list(connection, rows, exported_at, guards)
    _write_customers(connection, delta, run_id, on_progress)
    _mark(connection, delta.missing, run_id, state=State.MISSING, missing_since=exported_at)
    _mark(connection, delta.deleted, run_id, state=State.DELETED, deleted_at=func.clock_timestamp())
    _write_changes(connection, delta, run_id)
    _write_issues(connection, rows)
    mark_accepted(connection, sha256, status=status, held=delta.held)
    return delta


def _row_of(write: CustomerWrite) -> dict[str, Any]:
    return {
        "erp_id": write.row.erp_id,
        "erp_id_printed": write.row.erp_id_printed,
        **write.values,
        "extra": dict(write.extra),
        "contact_hash": write.contact_hash,
        "analytics_hash": write.analytics_hash,
        "hash_version": HASH_VERSION,
        "state": State.ACTIVE,
        "missing_since": None,
        "deleted_at": None,
    }


def _write_customers(
    connection: Connection, delta: Delta, run_id: str, on_progress: Callable[[int], None]
) -> None:
    writes = [*delta.new, *delta.updated, *delta.restored]
    done = delta.rows - len(writes)
    on_progress(done)
    statement = upsert(customer)
    for start in range(0, len(writes), _ROWS_A_STATEMENT):
        part = writes[start : start + _ROWS_A_STATEMENT]
        rows = [{**_row_of(write), "updated_run_id": run_id} for write in part]
        columns = {name: statement.excluded[name] for name in rows[0] if name != "erp_id"}
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["erp_id"], set_={**columns, "updated_at": func.clock_timestamp()}
            ),
            rows,
        )
        done += len(part)
        on_progress(done)
    for write in delta.rehashed:
        connection.execute(
            update(customer)
            .where(customer.c.erp_id == write.row.erp_id)
            .values(
                contact_hash=write.contact_hash,
                analytics_hash=write.analytics_hash,
                hash_version=HASH_VERSION,
            )
        )


def _mark(connection: Connection, ids: Sequence[str], run_id: str, **values: Any) -> None:
    if ids:
        connection.execute(
            update(customer)
            .where(customer.c.erp_id == func.any(list(ids)))
            .values(updated_at=func.clock_timestamp(), updated_run_id=run_id, **values)
        )


def _write_changes(connection: Connection, delta: Delta, run_id: str) -> None:
    rows: list[dict[str, Any]] = []

    def add(kind: ChangeKind, erp_id: str, fields: Sequence[str] = ()) -> None:
        rows.append({"run_id": run_id, "erp_id": erp_id, "kind": kind, "fields": list(fields)})

    for kind, writes in (
        (ChangeKind.NEW, delta.new),
        (ChangeKind.UPDATED, delta.updated),
        (ChangeKind.RESTORED, delta.restored),
    ):
        for write in writes:
            add(kind, write.row.erp_id, write.fields)
    for kind, ids in ((ChangeKind.MISSING, delta.missing), (ChangeKind.DELETED, delta.deleted)):
        for erp_id in ids:
            add(kind, erp_id)
    if rows:
        connection.execute(insert(change), rows)


def _write_issues(connection: Connection, rows: Sequence[CustomerRow]) -> None:
    """Note the values of a list that cannot be read; those that can be read again are resolved."""
    now = find_now(connection)
    found = {
        (row.erp_id, issue.field): {
            "erp_id": row.erp_id,
            "field": issue.field,
            "raw_value": issue.raw_value,
            "reason": issue.reason,
            "first_seen_at": now,
            "last_seen_at": now,
            "resolved_at": None,
        }
        for row in rows
        for issue in row.issues
    }
    ids = [row.erp_id for row in rows]
    is_open = data_issue.c.resolved_at.is_(None) & (data_issue.c.erp_id == func.any(ids))
    if found:
        is_open &= tuple_(data_issue.c.erp_id, data_issue.c.field).not_in(list(found))
    connection.execute(update(data_issue).where(is_open).values(resolved_at=now))
    if found:
        statement = upsert(data_issue)
        new = statement.excluded
        # One that had been resolved is seen anew.
        is_open = data_issue.c.resolved_at.is_(None)
        since = case((is_open, data_issue.c.first_seen_at), else_=new.first_seen_at)
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["erp_id", "field"],
                set_={
                    "raw_value": new.raw_value,
                    "reason": new.reason,
                    "first_seen_at": since,
                    "last_seen_at": new.last_seen_at,
                    "resolved_at": None,
                },
            ),
            list(found.values()),
        )


def release_list(
    database: Database, sha256: str, reason: str, released_by: str, guards: Guards
) -> dict[str, Any]:
    """Apply a refused list, or the removals that the newest accepted one holds, on a person's word.

    One transaction: the audit, the changes and the run's row, which is returned, under the lease of runs.
    Raises `ReleaseError` for what cannot be released, `BusyError` while a run is under way.
    """
    if not reason.strip():
        raise ReleaseError("the reason is blank: say why this list is right, for whoever asks later")
    run_id = f"release-{uuid.uuid4()}"
    with database.begin() as connection:
        if not acquire_lease(connection, SYNC_LEASE, run_id):
            raise BusyError("a sync is under way: release it when that has ended")
        known = _find_releasable(connection, sha256)
        open_run(connection, run_id, Trigger.RELEASE)
        if known.status == QUARANTINED:
            figures: dict[str, Any] = {"failed": list(known.failed.values())}
            counts, outcome = _apply_refused(connection, known, guards, run_id)
        else:
            figures = {"held": len(known.held)}
            counts, outcome = _apply_held(connection, known, run_id)
        connection.execute(
            insert(release).values(
                sha256=sha256,
                released_by=released_by,
                reason=reason.strip(),
                figures=figures,
                run_id=run_id,
            )
        )
        row = close_run(connection, run_id, outcome, sha256=sha256, stage=Stage.DONE, **counts)
        release_lease(connection, SYNC_LEASE, run_id)
    return row


def _find_releasable(connection: Connection, sha256: str) -> KnownList:
    known = find_list(connection, sha256)
    if known is None:
        raise ReleaseError(
            "there is no list of this hash: innomaint customers quarantine tells which can be released"
        )
    last = find_last_accepted(connection)
    if known.status != QUARANTINED:
        if not known.held:
            raise ReleaseError("this list is accepted or released already, and no removal of it waits")
        if last is None or last.sha256 != sha256:
            raise ReleaseError("a newer list was accepted since: it alone decides which removals wait")
        return known
    hard = [name for name in known.failed if not is_releasable([name])]
    if hard or not known.failed:
        raise ReleaseError(f"{', '.join(hard)} failed, which nobody can release: export the list again")
    newer = check_newer(known.exported_at, last.exported_at if last else None, find_now(connection))
    if not newer.passed:
        raise ReleaseError(f"{NEWER} fails now: {newer.message}")
    return known


def _apply_refused(
    connection: Connection, known: KnownList, guards: Guards, run_id: str
) -> tuple[dict[str, int], Outcome]:
    rows = load_rows(connection, known.sha256)
    if not rows:
        raise ReleaseError("the rows of this list are not kept any more: export the list again")
    delta = apply_list(
        connection, known.sha256, rows, known.exported_at, guards, run_id=run_id, status=RELEASED
    )
    return delta.counts(), Outcome.CHANGED if delta.is_changed else Outcome.UNCHANGED


def _apply_held(connection: Connection, known: KnownList, run_id: str) -> tuple[dict[str, int], Outcome]:
    """Delete the customers that wait, as far as they are missing still."""
    rows = load_rows(connection, known.sha256)
    missing = (customer.c.erp_id == func.any(list(known.held))) & (customer.c.state == State.MISSING)
    ids = sorted(connection.execute(select(customer.c.erp_id).where(missing)).scalars())
    delta = Delta(len(rows), unchanged=len(rows), deleted=ids)
    _mark(connection, ids, run_id, state=State.DELETED, deleted_at=func.clock_timestamp())
    _write_changes(connection, delta, run_id)
    clear_held(connection, known.sha256)
    return delta.counts(), Outcome.CHANGED if ids else Outcome.UNCHANGED
