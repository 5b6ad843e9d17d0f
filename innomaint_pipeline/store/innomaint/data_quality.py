"""How good the data is: numbers for people, none of which stops a sync."""

from __future__ import annotations

from sqlalchemy import Connection, and_, func, or_, select

from innomaint_pipeline.domain.states import RETRYABLE_CLASSES, ErrorClass, SyncState
from innomaint_pipeline.store.innomaint.tables import asset_master, asset_performance, data_issue, sync_state


def count_contradictions(connection: Connection) -> dict[str, int]:
    """Count answers that contradict themselves, by kind, and `compared`, how many have numbers."""
    performance = asset_performance.c
    uptime = performance.actual_seconds - performance.ticket_breakdown_seconds
    has_tickets = performance.total_ticket > 0
    repair = and_(
        has_tickets,
        performance.mttr_seconds * performance.total_ticket != performance.ticket_breakdown_seconds,
    )
    # The vendor rounds the quotient down to whole seconds.
    failures = and_(
        has_tickets,
        or_(
            performance.mtbf_seconds * performance.total_ticket > uptime,
            (performance.mtbf_seconds + 1) * performance.total_ticket <= uptime,
        ),
    )
    label = func.lower(performance.criticality_type_label).like("non%")
    criticality = and_(label, func.lower(asset_master.c.criticality).in_(["high", "critical"]))
    tickets = asset_master.c.ticketcount != performance.total_ticket
    row = connection.execute(
        select(
            func.count().label("compared"),
            func.count().filter(repair).label("mttr_times_tickets"),
            func.count().filter(failures).label("mtbf_times_tickets"),
            func.count().filter(criticality).label("criticality_against_label"),
            func.count().filter(tickets).label("ticketcount_against_total_ticket"),
        )
        .select_from(asset_performance)
        .join(asset_master, asset_master.c.asset_id == performance.asset_id)
    ).one()
    return dict(row._mapping)  # noqa: SLF001 # SQLAlchemy's public name


def count_data_issues(connection: Connection) -> dict[str, int]:
    """Count values that could not be read and still cannot, by field, the most frequent first."""
    rows = connection.execute(
        select(data_issue.c.field, func.count().label("issues"))
        .where(data_issue.c.resolved_at.is_(None))
        .group_by(data_issue.c.field)
        .order_by(func.count().desc(), data_issue.c.field)
        .limit(100)
    )
    return {row.field: row.issues for row in rows}


def count_not_found(connection: Connection) -> int:
    """Count the CMMS assets that Innomaint does not know."""
    return connection.execute(
        select(func.count()).select_from(sync_state).where(sync_state.c.error_class == ErrorClass.NOT_FOUND)
    ).scalar_one()


def find_unfinished_batches(connection: Connection) -> dict[str, int]:
    """Return the batches that still lack CMMS assets whose class is worth retrying, with how many."""
    rows = connection.execute(
        select(sync_state.c.batch_key, func.count().label("lacking"))
        .where(
            sync_state.c.state == SyncState.FAILED,
            sync_state.c.error_class.in_(sorted(RETRYABLE_CLASSES)),
            sync_state.c.batch_key.is_not(None),
        )
        .group_by(sync_state.c.batch_key)
        .order_by(sync_state.c.batch_key)
    )
    return {row.batch_key: row.lacking for row in rows}
