"""From a selection to the CMMS assets of each batch, and from the runs back to the result of the sync."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, func, or_, select

from innomaint_pipeline.domain.innomaint.answers import normalise_id
from innomaint_pipeline.domain.innomaint.batches import describe_unknown_batch
from innomaint_pipeline.domain.innomaint.selection import SYNC_REQUESTS, SyncOptions, SyncResult, is_due_only
from innomaint_pipeline.domain.innomaint.stops import describe_classes
from innomaint_pipeline.domain.requests import Outcome
from innomaint_pipeline.domain.states import RETRYABLE_CLASSES, SyncState
from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline.store.innomaint.batch_rows import find_early_end, find_row_statuses, sum_batch_rows
from innomaint_pipeline.store.innomaint.batches import count_members
from innomaint_pipeline.store.innomaint.due_batches import find_due_batches
from innomaint_pipeline.store.innomaint.states import count_run, find_failed
from innomaint_pipeline.store.innomaint.tables import asset_master, sync_state
from innomaint_pipeline.store.requests import OpenRequest, Wish


@dataclass(frozen=True)
class Plan:
    """Which CMMS assets of which batches; an empty list of names means the whole batch.

    `is_due_only`: the runs ask for what is due or worth retrying then, not for everything selected now.
    """

    total: int
    names: dict[str, list[str]]
    is_due_only: bool = False


def wish_for(options: SyncOptions, plan: Plan) -> Wish:
    """Return the request that asks for a selection."""
    empty = SyncResult().to_json()
    return Wish(SYNC_REQUESTS, options.to_json(), options.describe(), plan.total, plan.names, empty)


@dataclass(frozen=True)
class EarlierRun:
    """A run that did not end its batch's work: lost or interrupted, and followed by another one."""

    batch_key: str | None
    run_id: str
    cmms_asset_ids: tuple[str, ...]


def plan_sync(connection: Connection, options: SyncOptions) -> Plan:
    """Find the CMMS assets of a selection; raise `ConfigurationError` for unknown ones."""
    if options in {SyncOptions(), SyncOptions(is_due_only=True)}:
        demands = find_due_batches(connection)
        due = {item.batch_key: [] for item in demands}
        return Plan(sum(item.due for item in demands), due, is_due_only=True)
    members = count_members(connection)
    if options.everything:
        names: dict[str, list[str]] = {key: [] for key in members}
    elif options.partition_key is not None:
        if options.partition_key not in members:
            raise ConfigurationError(describe_unknown_batch(options.partition_key, list(members)))
        if options.is_due_only:
            needed = count_needed(connection, options.partition_key)
            return Plan(needed, {options.partition_key: []} if needed else {}, is_due_only=True)
        names = {options.partition_key: []}
    elif options.is_retry_failed:
        names = find_retryable(connection, limit=options.limit, offset=options.offset)
    elif options.cmms_asset_ids:
        names = _find_named(connection, options.cmms_asset_ids)
    else:
        names = find_slice(connection, limit=options.limit or 0, offset=options.offset)
    return Plan(sum(len(group) or members[key] for key, group in names.items()), names)


def _find_named(connection: Connection, cmms_asset_ids: Sequence[str]) -> dict[str, list[str]]:
    wanted = [normalise_id(name) for name in cmms_asset_ids]
    names = find_by_name(connection, wanted)
    unknown = sorted(set(wanted) - {name for group in names.values() for name in group})
    if unknown:
        raise ConfigurationError(
            f"not in the asset master: {', '.join(map(repr, unknown))}; check the spelling, "
            "or import the workbook that holds them"
        )
    return names


def count_sync(
    connection: Connection,
    plan: Plan,
    run_ids: Sequence[str],
    result: SyncResult,
    *,
    earlier: Sequence[EarlierRun] = (),
) -> None:
    """Fill in what became of the selection: from the batch rows of the runs that ended each batch's work.

    Of `earlier` runs, and of those whose row the database has refused, only what no later one has asked for
    again is added.
    """
    sums = sum_batch_rows(connection, run_ids)
    result.success, result.failed, result.unchanged = sums.success, sums.failed, sums.unchanged
    with_row = find_row_statuses(connection, run_ids)
    rowless = [EarlierRun(None, run_id, ()) for run_id in run_ids if run_id not in with_row]
    for run in (*earlier, *rowless):
        counts = count_run(connection, run.batch_key, run.run_id, run.cmms_asset_ids)
        result.success += counts.success
        result.failed += counts.failed
        result.unchanged += counts.unchanged
    everybody = [*(run.run_id for run in earlier), *run_ids]
    failed = [item for run_id in everybody for item in find_failed(connection, run_id=run_id)]
    # Settle also asks for failures of the batch that were not due yet.
    asked = result.success + result.failed
    result.total = max(plan.total, asked) if plan.is_due_only else plan.total
    result.errors = [str(item) for item in failed]
    result.failed_by_class = dict(Counter(item.error_class for item in failed))


def count_request(connection: Connection, request: OpenRequest) -> SyncResult:
    """Return what became of a request, all of whose runs have ended, from the tables."""
    plan = Plan(request.total, {}, is_due_only=is_due_only(request.options))
    last = [part.run_ids[-1] for part in request.parts if part.run_ids]
    earlier = [
        EarlierRun(part.part, run_id, part.items) for part in request.parts for run_id in part.run_ids[:-1]
    ]
    result = SyncResult()
    count_sync(connection, plan, last, result, earlier=earlier)
    return result


def conclude_request(connection: Connection, request: OpenRequest) -> Outcome:
    """Return the result of a request, and in words what is failed of it and why some were not asked for."""
    result = count_request(connection, request)
    parts = []
    if result.failed:
        parts.append(describe_classes(result.failed_by_class))
    if result.skipped > 0:
        run_ids = [run_id for part in request.parts for run_id in part.run_ids]
        why = find_early_end(connection, run_ids) or "another sync has asked for them meanwhile"
        parts.append(f"{result.skipped} not asked for: {why}")
    return Outcome(result.to_json(), "; ".join(parts) or None)


def _members() -> Select:
    return (
        select(sync_state.c.batch_key, asset_master.c.cmms_asset_id)
        .join(asset_master, asset_master.c.asset_id == sync_state.c.asset_id)
        .where(sync_state.c.batch_key.is_not(None))
        .order_by(asset_master.c.report_seq_no.asc().nulls_last(), asset_master.c.asset_id)
    )


def _by_batch(rows: Any) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for batch_key, cmms_asset_id in rows:
        grouped.setdefault(batch_key, []).append(cmms_asset_id)
    return grouped


def find_slice(connection: Connection, *, limit: int, offset: int) -> dict[str, list[str]]:
    """Return `limit` CMMS assets from position `offset` (from 0) in report order, by batch."""
    return _by_batch(connection.execute(_members().limit(limit).offset(offset)))


def find_by_name(connection: Connection, cmms_asset_ids: Sequence[str]) -> dict[str, list[str]]:
    """Return those of the named CMMS assets that are known, by batch."""
    return _by_batch(
        connection.execute(_members().where(asset_master.c.cmms_asset_id.in_(list(cmms_asset_ids))))
    )


def find_retryable(
    connection: Connection, *, limit: int | None = None, offset: int = 0
) -> dict[str, list[str]]:
    """Return the failed CMMS assets whose class is worth retrying, due or not, by batch.

    With `limit` so many of them from position `offset` (from 0) in report order.
    """
    query = _members().where(
        sync_state.c.state == SyncState.FAILED, sync_state.c.error_class.in_(sorted(RETRYABLE_CLASSES))
    )
    return _by_batch(connection.execute(query.limit(limit).offset(offset)))


def count_needed(connection: Connection, batch_key: str) -> int:
    """Return how many CMMS assets of a batch are due, or failed with a class worth retrying."""
    is_retryable = sync_state.c.error_class.in_(sorted(RETRYABLE_CLASSES))
    return connection.execute(
        select(func.count()).where(
            sync_state.c.batch_key == batch_key, or_(sync_state.c.next_due_at <= func.now(), is_retryable)
        )
    ).scalar_one()
