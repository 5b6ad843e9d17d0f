"""What is told of the customer list: status, metrics, runs, quarantine, as their JSON.

Belongs here: reading the tables into the documents that command line, HTTP and page share. No value of a
customer is in any of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, func, select

from innomaint_pipeline.domain.customers.checks import is_releasable
from innomaint_pipeline.domain.customers.delta import (
    State,
    analytics_hash,
    contact_hash,
    merge_extra,
    merge_values,
)
from innomaint_pipeline.domain.customers.runs import (
    SUCCEEDED,
    SYNC_REQUESTS,
    Outcome,
    SourceFacts,
    Stage,
    describe_outcome,
    judge_health,
)
from innomaint_pipeline.domain.requests import LOOK_IS_LATE_SECONDS
from innomaint_pipeline.store.customers.applying import load_customers
from innomaint_pipeline.store.customers.lists import find_last_accepted, find_quarantine, load_rows
from innomaint_pipeline.store.customers.runs import (
    find_lease,
    find_run_since,
    find_runs,
    load_facts,
    load_next_due,
    load_run,
)
from innomaint_pipeline.store.customers.tables import QUARANTINED, customer, snapshot, sync_run
from innomaint_pipeline.store.requests import find_open, seconds_since_look

_METRICS_OVER = timedelta(days=7)
_STAGE_WORDS = {
    Stage.RECEIVE: "looking for the newest list",
    Stage.PARSE: "reading the list",
    Stage.CHECK: "checking the list",
    Stage.APPLY: "applying what changed",
    Stage.DONE: "done",
}
_ENDED_BADLY = {Outcome.FAILED, Outcome.REJECTED, Outcome.CANCELLED}
_IS_RUN = sync_run.c.outcome.is_not(None) & (sync_run.c.outcome != Outcome.SKIPPED)


def describe_run(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of a run as its JSON."""
    return {
        "runId": row["run_id"],
        "trigger": row["trigger"],
        "startedAt": row["started_at"],
        "finishedAt": row["finished_at"],
        "outcome": row["outcome"],
        "errorClass": row["error_class"],
        "errorMessage": row["error_message"],
        "attempts": row["attempts"],
        "sha256": row["sha256"],
        **{
            name: row[name]
            for name in ("rows", "new", "updated", "unchanged", "missing", "deleted", "restored", "rehashed")
        },
        "stageMs": row["stage_ms"] or {},
    }


def describe_result(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return how a run ended, as the metrics tell it."""
    is_good = row["outcome"] in SUCCEEDED
    if row.get("started_at") and row.get("finished_at"):
        duration = round((row["finished_at"] - row["started_at"]).total_seconds() * 1000)
    else:
        duration = sum((row["stage_ms"] or {}).values())
    return {
        "success": is_good,
        "outcome": row["outcome"],
        "customersProcessed": row["rows"] or 0,
        "newCustomers": row["new"] or 0,
        "updatedCustomers": row["updated"] or 0,
        "unchangedCustomers": row["unchanged"] or 0,
        "deletedCustomers": row["deleted"] or 0,
        "restoredCustomers": row["restored"] or 0,
        "duration": duration,
        "error": None if is_good else row["error_message"],
    }


def describe_answer(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a person who asked for a run is answered when it has ended."""
    return {**describe_result(row), "runId": row["run_id"], "message": describe_outcome(row)}


def load_status(connection: Connection, start_minutes: int, *, is_set: bool) -> dict[str, Any]:
    """Return how the customer list stands: the run under way, asked for, or the last one; age, health."""
    facts = load_facts(connection, start_minutes, is_set=is_set)
    lease = find_lease(connection)
    row = load_run(connection, lease.owner) if lease else None
    is_running = lease is not None and row is not None and row["outcome"] is None
    is_awaited = not is_running and _is_run_awaited(connection)
    newest = find_runs(connection, limit=2)
    last = next((item for item in newest if item["outcome"] is not None), None)
    total = done = None
    if is_running and lease is not None and row is not None:
        stage, words = row["stage"], _STAGE_WORDS[Stage(row["stage"])]
        total, done = lease.total or None, lease.done
        if row["attempts"] > 1:
            words += f", attempt {row['attempts']}"
        status, run_id, started_at = "syncing", row["run_id"], row["started_at"]
    elif is_awaited:
        status, stage, words, run_id, started_at = (
            "syncing",
            Stage.RECEIVE,
            "asked for; it begins within seconds",
            None,
            None,
        )
    elif last is not None:
        status = "error" if last["outcome"] in _ENDED_BADLY else "completed"
        stage, words, run_id, started_at = Stage.DONE, describe_outcome(last), last["run_id"], None
        total = done = last["rows"] or None
    else:
        status, stage, words, run_id, started_at = "idle", None, "no run yet", None, None
    age = None if facts.accepted_at is None else (facts.judged_at - facts.accepted_at).total_seconds()
    return {
        "inProgress": is_running or is_awaited,
        "runId": run_id,
        "status": status,
        "stage": stage,
        "current": done or 0,
        "total": total,
        "message": words,
        "startedAt": started_at,
        "lastRun": None if last is None else describe_run(last),
        "lastSyncTime": _find_last_success(connection),
        "dataAgeSeconds": None if age is None else max(round(age), 0),
        "totalCustomersInDb": _count_customers(connection),
        "intervalMinutes": facts.interval // timedelta(minutes=1),
        "nextDueAt": None if facts.is_paused or not is_set else load_next_due(connection, start_minutes),
        "health": judge_health(facts),
    }


def _is_run_awaited(connection: Connection) -> bool:
    """Tell whether a run was asked for that has not begun, where somebody looks for what is asked for."""
    look = seconds_since_look(connection, SYNC_REQUESTS)
    if look is None or look > LOOK_IS_LATE_SECONDS:
        return False
    requests = find_open(connection, SYNC_REQUESTS)
    return any(find_run_since(connection, request.requested_at) is None for request in requests)


def _count_customers(connection: Connection) -> int:
    """Count those that are served: the missing ones as well."""
    statement = select(func.count()).where(customer.c.state != State.DELETED)
    return connection.execute(statement).scalar_one()


def _find_last_success(connection: Connection) -> Any:
    statement = select(func.max(sync_run.c.finished_at)).where(sync_run.c.outcome.in_(SUCCEEDED))
    return connection.execute(statement).scalar_one()


def load_metrics(connection: Connection, start_minutes: int, *, is_set: bool) -> dict[str, Any]:
    """Return the metrics; runs that found nothing to read are none, shares are of the last seven days."""
    facts = load_facts(connection, start_minutes, is_set=is_set)
    last = connection.execute(select(sync_run).where(_IS_RUN).order_by(sync_run.c.id.desc()).limit(1))
    newest = last.mappings().first()
    seconds = func.extract("epoch", sync_run.c.finished_at - sync_run.c.started_at)
    is_good = sync_run.c.outcome.in_(SUCCEEDED)
    total, average = connection.execute(
        select(func.count().filter(_IS_RUN), func.avg(seconds * 1000).filter(is_good)).select_from(sync_run)
    ).one()
    return {
        "lastSyncTime": _find_last_success(connection),
        "lastResult": None if newest is None else describe_result(dict(newest)),
        "totalSyncs": total,
        "consecutiveFailures": facts.failures,
        "averageDuration": None if average is None else round(average),
        **_load_shares(connection, facts),
        "health": judge_health(facts),
    }


def _load_shares(connection: Connection, facts: SourceFacts) -> dict[str, float | None]:
    is_bad = sync_run.c.outcome.in_((Outcome.FAILED, Outcome.REJECTED))
    counted = sync_run.c.outcome.in_((*SUCCEEDED, Outcome.FAILED, Outcome.REJECTED))
    runs, bad, rows, unchanged = connection.execute(
        select(
            func.count().filter(counted),
            func.count().filter(is_bad),
            func.sum(sync_run.c.rows).filter(sync_run.c.outcome.in_(SUCCEEDED)),
            func.sum(sync_run.c.unchanged).filter(sync_run.c.outcome.in_(SUCCEEDED)),
        ).where(sync_run.c.started_at > facts.judged_at - _METRICS_OVER)
    ).one()
    return {
        "errorRate": round(bad / runs, 4) if runs else None,
        "unchangedShare": round(unchanged / rows, 4) if rows else None,
    }


def load_quarantine(connection: Connection, *, keep_days: int) -> list[dict[str, Any]]:
    """Return what waits for a person as its JSON; `held` counts the removals of an accepted list.

    A refused list that a newer accepted one has overtaken cannot be released any more.
    """
    last = find_last_accepted(connection)
    found = []
    for row in find_quarantine(connection, keep_days=keep_days):
        failed = [item for item in row["checks"] if not item["passed"]]
        is_refused = row["status"] == QUARANTINED
        is_overtaken = last is not None and row["exported_at"] <= last.exported_at
        found.append(
            {
                "sha256": row["sha256"],
                "exportedAt": row["exported_at"],
                "receivedAt": row["received_at"],
                "rows": row["rows"],
                "failedChecks": [
                    {"check": item["check"], "message": item["message"], "figures": item["figures"]}
                    for item in failed
                ],
                "releasable": not is_refused
                or (is_releasable(item["check"] for item in failed) and not is_overtaken),
                "held": len(row["held"] or ()),
            }
        )
    return found


def count_rows(connection: Connection) -> dict[str, int]:
    """Return how many customers there are by state, and lists by status."""
    counts = dict.fromkeys(State, 0)
    states = select(customer.c.state, func.count()).group_by(customer.c.state)
    counts |= {State(state): count for state, count in connection.execute(states).tuples()}
    lists = select(snapshot.c.status, func.count()).group_by(snapshot.c.status)
    return {**counts, **dict(connection.execute(lists).tuples().all())}


def count_differences(connection: Connection) -> dict[str, int]:
    """Return how many customers differ from the last accepted list: by presence, and by their hashes.

    Compared are the hashes that the rows of the list give, with unreadable values as they are stored.
    """
    last = find_last_accepted(connection)
    if last is None:
        return {"absent": 0, "additional": 0, "different": 0}
    stored = load_customers(connection)
    rows = load_rows(connection, last.sha256)
    active = {erp_id for erp_id, item in stored.items() if item.state is State.ACTIVE}
    ids = {row.erp_id for row in rows}
    different = 0
    for row in rows:
        item = stored.get(row.erp_id)
        if item is not None:
            values = merge_values(row, item.values)
            extra = merge_extra(row, item.extra)
            given = (contact_hash(values, extra), analytics_hash(values))
            held = (contact_hash(item.values, item.extra), analytics_hash(item.values))
            different += given != held
    return {"absent": len(ids - active), "additional": len(active - ids), "different": different}
