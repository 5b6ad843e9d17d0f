"""The rows of runs: opened when a run begins, closed truthfully, and what is read of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from innomaint_pipeline.domain.customers import SOURCE
from innomaint_pipeline.domain.customers.runs import (
    LOOK_GAP,
    SYNC_LEASE,
    WORKER_LOST,
    Outcome,
    RunSeen,
    SourceFacts,
    Stage,
    Trigger,
    next_due,
)
from innomaint_pipeline.store.customers.lists import find_last_accepted
from innomaint_pipeline.store.customers.tables import change, customers_metadata, sync_run
from innomaint_pipeline.store.database import find_now
from innomaint_pipeline.store.housekeeping import Retention
from innomaint_pipeline.store.leases import Lease, find_leases
from innomaint_pipeline.store.schemas import require_tables
from innomaint_pipeline.store.settings import (
    PAUSED,
    REFRESH_MINUTES,
    clear_setting,
    load_setting,
    save_setting,
)

RETENTIONS = (
    Retention(sync_run, sync_run.c.started_at, may_be_missing=True),
    Retention(change, change.c.changed_at, may_be_missing=True),
)
LOOKS = "looks"
"""Since when somebody looks regularly at what is due, and when he did last, as ISO texts."""
TOO_LARGE = "too_large"
"""The newest file that was too large to be read: its name, size and time."""
_RUNS_JUDGED = 50
_LOST_WORDS = (
    "the process of the run is gone: nothing of it was applied, unless its list is the last accepted one"
)


def has_schema(connection: Connection) -> bool:
    """Tell whether the database has the tables of the customer list."""
    return connection.execute(select(func.to_regclass(sync_run.fullname))).scalar_one() is not None


def require_schema(connection: Connection) -> None:
    """Raise `DatabaseError` where the tables of the customer list are missing."""
    require_tables(connection, customers_metadata)


def find_lease(connection: Connection) -> Lease | None:
    """Return the lease of the run under way, None while there is none."""
    return next(iter(find_leases(connection, SYNC_LEASE)), None)


def open_run(connection: Connection, run_id: str, trigger: Trigger) -> None:
    """Begin the row of a run, whose lease is held, and close those whose process is gone."""
    connection.execute(
        update(sync_run)
        .where(sync_run.c.outcome.is_(None), sync_run.c.run_id != run_id)
        .values(
            finished_at=func.clock_timestamp(),
            outcome=Outcome.FAILED,
            error_class=WORKER_LOST,
            error_message=_LOST_WORDS,
        )
    )
    connection.execute(
        insert(sync_run).values(
            run_id=run_id, trigger=trigger, started_at=func.clock_timestamp(), stage=Stage.RECEIVE
        )
    )


def note_attempt(connection: Connection, run_id: str, *, attempts: int) -> None:
    """Note that a run tries once more, from the start; one that was given up for lost is open again."""
    connection.execute(
        update(sync_run)
        .where(sync_run.c.run_id == run_id)
        .values(
            attempts=attempts,
            stage=Stage.RECEIVE,
            rows=None,
            sha256=None,
            finished_at=None,
            outcome=None,
            error_class=None,
            error_message=None,
        )
    )


def note_stage(
    connection: Connection, run_id: str, stage: Stage, stage_ms: Mapping[str, int], **values: Any
) -> None:
    """Note how far a run is, how long its stages took, and what is known of its list."""
    connection.execute(
        update(sync_run)
        .where(sync_run.c.run_id == run_id)
        .values(stage=stage, stage_ms=dict(stage_ms), **values)
    )


def close_run(connection: Connection, run_id: str, outcome: Outcome, **values: Any) -> dict[str, Any]:
    """Write how a run ended; `values` are other columns of its row. Return it, empty where it has none."""
    row = connection.execute(
        update(sync_run)
        .where(sync_run.c.run_id == run_id)
        .values(finished_at=func.clock_timestamp(), outcome=outcome, **values)
        .returning(sync_run)
    )
    return dict(row.mappings().first() or {})


def load_run(connection: Connection, run_id: str) -> dict[str, Any] | None:
    """Return the row of a run."""
    row = connection.execute(select(sync_run).where(sync_run.c.run_id == run_id)).mappings().first()
    return None if row is None else dict(row)


def find_run_since(connection: Connection, asked_at: datetime) -> dict[str, Any] | None:
    """Return the first run that has ended since, other than one that was lost or released something."""
    row = connection.execute(
        select(sync_run)
        .where(
            sync_run.c.finished_at >= asked_at,
            sync_run.c.error_class.is_distinct_from(WORKER_LOST),
            sync_run.c.trigger != Trigger.RELEASE,
        )
        .order_by(sync_run.c.id)
        .limit(1)
    )
    found = row.mappings().first()
    return None if found is None else dict(found)


def find_runs(connection: Connection, *, limit: int) -> list[dict[str, Any]]:
    """Return the newest runs, newest first."""
    rows = connection.execute(select(sync_run).order_by(sync_run.c.id.desc()).limit(limit))
    return [dict(row) for row in rows.mappings()]


def _see(row: Mapping[str, Any]) -> RunSeen:
    return RunSeen(
        row["run_id"],
        row["started_at"],
        row["finished_at"],
        None if row["outcome"] is None else Outcome(row["outcome"]),
        row["error_class"],
        row["error_message"],
        Trigger(row["trigger"]),
        row["sha256"],
    )


def load_interval(connection: Connection, start_minutes: int) -> timedelta:
    """Return the interval in force: the stored one, else that of the environment."""
    stored = load_setting(connection, SOURCE, REFRESH_MINUTES)
    return timedelta(minutes=start_minutes if stored is None else int(stored))


def load_next_due(connection: Connection, start_minutes: int, *, without: str | None = None) -> datetime:
    """Return when the next run is due by itself, told without the run that asks.

    A release is no look at the folder, and postpones nothing.
    """
    lease = find_lease(connection)
    runs = [
        _see(row)
        for row in find_runs(connection, limit=_RUNS_JUDGED)
        if row["trigger"] != Trigger.RELEASE and row["run_id"] != without
    ]
    now, interval = find_now(connection), load_interval(connection, start_minutes)
    current = next((run for run in runs if lease is not None and run.run_id == lease.owner), None)
    if current is not None:
        return current.started_at + interval
    return next_due(runs, interval, now)


def load_facts(connection: Connection, start_minutes: int, *, is_set: bool = True) -> SourceFacts:
    """Return what the health of the source is judged by; `is_set` where there is a folder to look into."""
    last = find_last_accepted(connection)
    looks = load_setting(connection, SOURCE, LOOKS)
    return SourceFacts(
        is_paused=bool(load_setting(connection, SOURCE, PAUSED)),
        runs=[_see(row) for row in find_runs(connection, limit=_RUNS_JUDGED)],
        accepted_at=None if last is None else last.exported_at,
        interval=load_interval(connection, start_minutes),
        judged_at=find_now(connection),
        awake_since=datetime.fromisoformat(looks["awake_since"]) if looks else None,
        held=len(last.held) if last else 0,
        held_sha256=last.sha256 if last else None,
        is_set=is_set,
    )


def note_look(connection: Connection) -> bool:
    """Note that somebody looks at what is due; tell whether it is the first look, or that after a gap."""
    now = find_now(connection)
    before = load_setting(connection, SOURCE, LOOKS)
    awake_since = now.isoformat()
    if before is not None and now - datetime.fromisoformat(before["looked_at"]) <= LOOK_GAP:
        awake_since = before["awake_since"]
    save_setting(connection, SOURCE, LOOKS, {"awake_since": awake_since, "looked_at": now.isoformat()})
    return awake_since == now.isoformat()


def change_interval(connection: Connection, start_minutes: int, minutes: int) -> datetime:
    """Store the interval; return when the next run is due by it."""
    save_setting(connection, SOURCE, REFRESH_MINUTES, minutes)
    return load_next_due(connection, start_minutes)


def forget_looks(connection: Connection) -> None:
    """Let the next look count as the first one: the program was started."""
    clear_setting(connection, SOURCE, LOOKS)


def is_start_run_wanted(connection: Connection, start_minutes: int) -> bool:
    """Tell whether a start asks for a run: no list was accepted yet, or the last one an interval ago."""
    last = find_last_accepted(connection)
    if last is None or last.accepted_at is None:
        return True
    return find_now(connection) - last.accepted_at > load_interval(connection, start_minutes)
