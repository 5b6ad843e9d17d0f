"""The log of what became of CMMS assets: ic3_sync_log, written from their states (docs/how-it-works.md).

Belongs here: what is logged, and when. An outcome is logged once for each CMMS asset and run: a failure worth
retrying stays unlogged (`is_logged`) until the run's second pass has decided it, and a row that the database
refuses until it is taken.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache
from typing import NamedTuple

from sqlalchemy import (
    Connection,
    Integer,
    TextClause,
    any_,
    bindparam,
    case,
    cast,
    func,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from innomaint_pipeline.domain.states import RETRYABLE_CLASSES, SyncState
from innomaint_pipeline.store.innomaint.tables import asset_master, sync_log, sync_state
from innomaint_pipeline.store.rows import prepared, write_within

_LOGGED = ("error_message", "error_class", "http_status", "attempts", "duration_ms", "run_id")


def log_outcomes(
    connection: Connection,
    batch_key: str,
    *,
    run_id: str | None = None,
    of_run_id: str | None = None,
    is_final_only: bool = False,
) -> dict[str, str]:
    """Write the outcomes of a batch that are not yet in ic3_sync_log.

    With `run_id` only those of other runs (what a killed run left behind), with `of_run_id` those of this
    one; with `is_final_only` only those whose class is not worth retrying, since the run's second pass
    decides the others. Returns why rows were not written, by CMMS asset id: they stay to be written.
    """
    where = [
        sync_state.c.batch_key == batch_key,
        ~sync_state.c.is_logged,
        sync_state.c.state != SyncState.NEVER,
        sync_state.c.asset_id == asset_master.c.asset_id,
    ]
    if run_id is not None:
        where.append(sync_state.c.run_id.is_distinct_from(run_id))
    if of_run_id is not None:
        where.append(sync_state.c.run_id == of_run_id)
    if is_final_only:
        where.append(func.coalesce(sync_state.c.error_class.not_in(sorted(RETRYABLE_CLASSES)), True))
    unlogged = (
        update(sync_state)
        .values(is_logged=True)
        .where(*where)
        .returning(sync_state.c.asset_id, asset_master.c.cmms_asset_id)
    )
    return append_outcomes(connection, [LoggedAsset(*row) for row in connection.execute(unlogged)])


def count_unlogged(connection: Connection, run_ids: Sequence[str]) -> int:
    """Count the outcomes of runs that have ended whose rows ic3_sync_log has refused."""
    is_unlogged = sync_state.c.run_id.in_(list(run_ids)) & ~sync_state.c.is_logged
    return connection.execute(select(func.count()).where(is_unlogged)).scalar_one()


class LoggedAsset(NamedTuple):
    """A CMMS asset whose outcome, as its state tells it, is to be logged."""

    asset_id: int
    cmms_asset_id: str


def append_outcomes(connection: Connection, outcomes: Sequence[LoggedAsset]) -> dict[str, str]:
    """Append the rows of outcomes that are marked as logged; unmark, and return, those that are refused."""

    def write(part: Sequence[LoggedAsset]) -> Collection[LoggedAsset]:
        ids = {"asset_ids": [item.asset_id for item in part]}
        written = set(connection.execute(_insert_log(), ids).scalars())
        return [] if len(written) == len(part) else [it for it in part if it.cmms_asset_id not in written]

    refused = write_within(connection, outcomes, write) if outcomes else {}
    if refused:
        unwritten = sync_state.c.asset_id.in_([item.asset_id for item in refused])
        connection.execute(update(sync_state).where(unwritten).values(is_logged=False))
    return {item.cmms_asset_id: reason for item, reason in refused.items()}


@cache
def _insert_log() -> TextClause:
    is_synced = sync_state.c.state == literal_column("'synced'")
    row = {
        "serialnumber": asset_master.c.cmms_asset_id,
        "sync_type": literal_column("'api_sync'"),
        "status": case((is_synced, literal_column("'success'")), else_=literal_column("'error'")),
        "synced_at": sync_state.c.last_attempt_at,
        **{name: sync_state.c[name] for name in _LOGGED},
    }
    outcome = (
        select(*row.values())
        .join_from(sync_state, asset_master, asset_master.c.asset_id == sync_state.c.asset_id)
        .where(sync_state.c.asset_id == any_(cast(bindparam("asset_ids"), ARRAY(Integer))))
    )
    return prepared(insert(sync_log).from_select(list(row), outcome).returning(sync_log.c.serialnumber))
