"""The facts that Innomaint's health is judged by, and what people are told about it, from one snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, func, select

from innomaint_pipeline.domain.alerts import Condition
from innomaint_pipeline.domain.health import Health, HealthReport
from innomaint_pipeline.domain.innomaint import SOURCE
from innomaint_pipeline.domain.innomaint.batches import LEASES
from innomaint_pipeline.domain.innomaint.health import (
    STALE_AFTER_REFRESHES,
    HealthFacts,
    HealthMoments,
    explain_health,
    find_conditions,
)
from innomaint_pipeline.domain.pacing import RateState, SourceAccount
from innomaint_pipeline.domain.states import SyncState
from innomaint_pipeline.store.innomaint.batch_runs import (
    count_consecutive_failures,
    find_failing_since,
    find_last_stop,
)
from innomaint_pipeline.store.innomaint.batches import count_by_kind, count_by_state
from innomaint_pipeline.store.innomaint.held_back import find_held_back
from innomaint_pipeline.store.innomaint.tables import sync_state
from innomaint_pipeline.store.leases import UP_LEASE, find_leases
from innomaint_pipeline.store.pacing import load_rate_state
from innomaint_pipeline.store.settings import (
    AUTH_REFUSED_AT,
    PAUSED,
    SYNC_INTERVAL_SECONDS,
    find_not_begun,
    load_refresh_minutes,
    load_setting,
    stored_name,
)
from innomaint_pipeline.store.tables import setting


@dataclass(frozen=True)
class OldestSuccess:
    """The oldest good data: when it was fetched, and how long ago by the database's clock."""

    at: datetime
    age_seconds: float


def find_oldest_success(connection: Connection) -> OldestSuccess | None:
    """Return the oldest good data, None while there is none."""
    oldest = func.min(sync_state.c.last_success_at)
    at, age = connection.execute(select(oldest, func.extract("epoch", func.now() - oldest))).one()
    return None if at is None else OldestSuccess(at, float(age))


def load_health_facts(connection: Connection, account: SourceAccount) -> HealthFacts:
    """Return what health is judged by."""
    counts = count_by_state(count_by_kind(connection))
    rate = load_rate_state(connection, account.name)
    oldest = find_oldest_success(connection)
    stored_interval = load_setting(connection, SOURCE, SYNC_INTERVAL_SECONDS)
    interval = stored_interval or account.sync_interval_start_seconds
    return HealthFacts(
        total=sum(counts.values()),
        synced=counts[SyncState.SYNCED],
        failed=counts[SyncState.FAILED],
        oldest_success_seconds=None if oldest is None else oldest.age_seconds,
        refresh_minutes=load_refresh_minutes(connection, SOURCE, account.refresh_start_minutes),
        consecutive_failures=count_consecutive_failures(connection),
        is_breaker_open=rate is not None and rate[0].breaker_opened_at is not None,
        is_paused=bool(load_setting(connection, SOURCE, PAUSED)),
        is_token_refused=load_setting(connection, SOURCE, AUTH_REFUSED_AT) is not None,
        last_stop=find_last_stop(connection),
        probe_in_seconds=_probe_in_seconds(rate),
        has_no_worker=find_not_begun(connection) is not None,
        is_set=account.is_set,
        held_back=tuple(find_held_back(connection)),
        next_look_seconds=interval if find_leases(connection, UP_LEASE) else None,
        is_under_way=bool(find_leases(connection, LEASES)),
    )


def _probe_in_seconds(rate: tuple[RateState, float] | None) -> float | None:
    """Return how long until an open breaker may be tried, None while it is closed."""
    if rate is None or rate[0].breaker_opened_at is None:
        return None
    return max(rate[0].breaker_probe_at - rate[1], 0.0)


def load_health_report(connection: Connection, account: SourceAccount, facts: HealthFacts) -> HealthReport:
    """Return health with its reason, and since when, as far as the tables tell."""
    stamps = dict(connection.execute(select(setting.c.name, setting.c.updated_at)).tuples().all())
    rate = load_rate_state(connection, account.name)
    opened = rate[0].breaker_opened_at if rate is not None else None
    oldest = find_oldest_success(connection)
    refreshes = timedelta(minutes=STALE_AFTER_REFRESHES * facts.refresh_minutes)
    moments = HealthMoments(
        paused_at=stamps.get(stored_name(SOURCE, PAUSED)),
        breaker_opened_at=None if opened is None else datetime.fromtimestamp(opened, UTC),
        token_refused_at=stamps.get(stored_name(SOURCE, AUTH_REFUSED_AT)),
        failing_since=find_failing_since(connection),
        no_worker_since=find_not_begun(connection),
        stale_since=None if oldest is None else oldest.at + refreshes,
    )
    return explain_health(facts, moments)


def load_conditions(connection: Connection, account: SourceAccount) -> tuple[Health, list[Condition]]:
    """Return the word of health and Innomaint's conditions, good or bad."""
    facts = load_health_facts(connection, account)
    report = load_health_report(connection, account, facts)
    refused_at = load_setting(connection, SOURCE, AUTH_REFUSED_AT)
    return report.word, find_conditions(facts, report, refused_at=refused_at)
