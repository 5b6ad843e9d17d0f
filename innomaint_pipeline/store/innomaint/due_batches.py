"""The facts that continuous sync decides by (spec 03, "Continuous sync")."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, func, select

from innomaint_pipeline.domain.innomaint.launches import SyncFacts
from innomaint_pipeline.store.innomaint.batch_rows import PAUSED, load_setting
from innomaint_pipeline.store.innomaint.batches import count_by_kind
from innomaint_pipeline.store.innomaint.requests import find_urgent_batches
from innomaint_pipeline.store.innomaint.status import count_consecutive_failures
from innomaint_pipeline.store.leases import find_leases
from innomaint_pipeline.store.pacing import load_rate_state
from innomaint_pipeline.store.tables import batch_log, sync_state

_CANDIDATES = 50


def load_sync_facts(connection: Connection, *, account: str, batches_in_runs: Collection[str]) -> SyncFacts:
    """Return the facts; `batches_in_runs` are those with a Dagster run queued or under way."""
    rate = load_rate_state(connection, account)
    probe_in_seconds = None
    if rate is not None and rate[0].breaker_opened_at is not None:
        probe_in_seconds = max(rate[0].breaker_probe_at - rate[1], 0.0)
    since_last_batch = func.extract("epoch", func.clock_timestamp() - func.max(batch_log.c.synced_at))
    until_next_due = func.extract("epoch", func.min(sync_state.c.next_due_at) - func.clock_timestamp())
    leased = {lease.batch_key for lease in find_leases(connection)}
    in_flight = frozenset(leased | set(batches_in_runs))
    # Those in flight may be the most urgent ones, and no more are launched than have room beside them: a few
    # do, where ten thousand rows would take longer to carry over than to find.
    urgent = find_urgent_batches(connection, len(in_flight) + _CANDIDATES)
    return SyncFacts(
        total=sum(count_by_kind(connection).values()),
        demands=urgent.demands,
        due_elsewhere=urgent.due_elsewhere,
        in_flight=in_flight,
        is_paused=bool(load_setting(connection, PAUSED)),
        probe_in_seconds=probe_in_seconds,
        consecutive_failures=count_consecutive_failures(connection),
        seconds_since_failure=_number(connection.execute(select(since_last_batch)).scalar_one()),
        next_due_in_seconds=_number(
            connection.execute(select(until_next_due).where(sync_state.c.batch_key.is_not(None))).scalar_one()
        ),
    )


def _number(value: object) -> float | None:
    return None if value is None else float(str(value))
