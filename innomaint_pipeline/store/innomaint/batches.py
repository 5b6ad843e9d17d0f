"""How many CMMS assets are in which state, by batch: innomaint_batch_count, kept by triggers (revision 0002).

Belongs here: reading the counts, and comparing them with the states that they stand for. What is due can be
told from them wherever all CMMS assets of a batch and kind are due, or none; only the others are looked at.
CMMS assets without a batch are few, never due, and counted where they are.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Connection,
    Integer,
    Select,
    and_,
    cast,
    func,
    literal,
    or_,
    select,
    true,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Text

from innomaint_pipeline.domain.innomaint.batches import (
    BATCH_PREFIX,
    LastBatch,
    assign_batches,
    batch_number,
)
from innomaint_pipeline.domain.states import SyncState
from innomaint_pipeline.store.database import AdvisoryLock, take_lock
from innomaint_pipeline.store.innomaint.held_back import held_by_batch
from innomaint_pipeline.store.innomaint.tables import asset_master, batch_count, sync_state

_KIND = func.coalesce(sync_state.c.error_class, sync_state.c.state)
_HAS_DUE = batch_count.c.first_due_at <= func.now()
_ALL_DUE = batch_count.c.last_due_at <= func.now()


def count_by_kind(connection: Connection) -> dict[str, int]:
    """Return the CMMS assets by kind: `never`, `synced`, and the error class of failed ones."""
    without_batch = (
        select(_KIND.label("kind"), func.count().label("assets"))
        .where(sync_state.c.batch_key.is_(None))
        .group_by(_KIND)
    )
    every = union_all(select(batch_count.c.kind, batch_count.c.assets), without_batch).subquery()
    rows = connection.execute(
        select(every.c.kind, cast(func.sum(every.c.assets), BigInteger).label("assets"))
        .where(every.c.assets > 0)
        .group_by(every.c.kind)
        .order_by(every.c.kind)
    )
    return {row.kind: row.assets for row in rows}


def count_by_state(by_kind: Mapping[str, int]) -> dict[SyncState, int]:
    """Add kinds up to states."""
    never, synced = by_kind.get(SyncState.NEVER, 0), by_kind.get(SyncState.SYNCED, 0)
    failed = sum(by_kind.values()) - never - synced
    return {SyncState.NEVER: never, SyncState.SYNCED: synced, SyncState.FAILED: failed}


def select_failed(by_kind: Mapping[str, int]) -> dict[str, int]:
    """Return those kinds that are error classes of failed CMMS assets."""
    not_failed = {SyncState.NEVER, SyncState.SYNCED}
    return {kind: count for kind, count in by_kind.items() if kind not in not_failed}


def due_by_kind() -> CTE:
    """Return the relation of what is due: `batch_key`, `kind`, `assets`, and `oldest_due_at` of them.

    What is held back, because its state cannot be noted, is not among them.
    """
    whole = select(
        batch_count.c.batch_key,
        batch_count.c.kind,
        cast(batch_count.c.assets, BigInteger).label("assets"),
        batch_count.c.first_due_at.label("oldest_due_at"),
    ).where(_ALL_DUE)
    # Each by itself, so that the plan is a look at the index for each, whatever the statistics say.
    found = (
        select(func.count().label("assets"), func.min(sync_state.c.next_due_at).label("oldest_due_at"))
        .where(
            sync_state.c.batch_key == batch_count.c.batch_key,
            batch_count.c.kind == _KIND,
            sync_state.c.next_due_at <= func.now(),
        )
        .lateral("found")
    )
    partly = (
        select(batch_count.c.batch_key, batch_count.c.kind, found.c.assets, found.c.oldest_due_at)
        .join(found, true())
        .where(_HAS_DUE, ~_ALL_DUE)
    )
    every, held = union_all(whole, partly).subquery(), held_by_batch()
    left = every.c.assets - func.coalesce(held.c.assets, 0)
    return (
        select(every.c.batch_key, every.c.kind, left.label("assets"), every.c.oldest_due_at)
        .outerjoin(held, and_(held.c.batch_key == every.c.batch_key, held.c.kind == every.c.kind))
        .where(left > 0)
        .cte("due")
    )


def count_due(connection: Connection) -> int:
    """Return how many CMMS assets are due."""
    due = due_by_kind()
    return connection.execute(select(cast(func.coalesce(func.sum(due.c.assets), 0), BigInteger))).scalar_one()


def find_batch_keys(connection: Connection) -> list[str]:
    """Return every batch key in order."""
    keys = select(batch_count.c.batch_key).where(batch_count.c.assets > 0).distinct()
    return list(connection.execute(keys.order_by(batch_count.c.batch_key)).scalars())


def find_last_batch_key(connection: Connection) -> str | None:
    """Return the key of the newest batch, None when there is none."""
    return connection.execute(select(func.max(sync_state.c.batch_key))).scalar_one()


def find_last_batch(connection: Connection) -> LastBatch:
    """Return the newest batch and its size; number 0 when there is none."""
    last_key = find_last_batch_key(connection)
    if last_key is None:
        return LastBatch(0, 0)
    members = select(func.count()).select_from(sync_state).where(sync_state.c.batch_key == last_key)
    return LastBatch(batch_number(last_key), connection.execute(members).scalar_one())


def key_of_place(place: ColumnElement[int], last: LastBatch, batch_size: int) -> ColumnElement[str]:
    """Return the key that `assign_batches` gives the new CMMS asset at a place (from 1), in SQL."""
    first, taken = (
        (last.number, last.size) if last.number and last.size < batch_size else (last.number + 1, 0)
    )
    number = cast(cast(first, BigInteger) + (place - 1 + taken) // batch_size, Text)
    return literal(BATCH_PREFIX, Text) + func.lpad(number, func.greatest(func.length(number), 6), "0")


def count_members(connection: Connection) -> dict[str, int]:
    """Return the size of every batch, in the order of their keys."""
    rows = connection.execute(
        select(batch_count.c.batch_key, cast(func.sum(batch_count.c.assets), BigInteger).label("size"))
        .where(batch_count.c.assets > 0)
        .group_by(batch_count.c.batch_key)
        .order_by(batch_count.c.batch_key)
    )
    return {row.batch_key: row.size for row in rows}


def _miscounted() -> Select:
    """Select the batches whose counts are not what counting their states gives."""
    states = (
        select(
            sync_state.c.batch_key,
            _KIND.label("kind"),
            func.count().label("assets"),
            func.min(sync_state.c.next_due_at).label("first_due_at"),
            func.max(sync_state.c.next_due_at).label("last_due_at"),
        )
        .where(sync_state.c.batch_key.is_not(None))
        .group_by(sync_state.c.batch_key, _KIND)
        .subquery("states")
    )
    counted = batch_count
    differs = or_(
        *(
            counted.c[name].is_distinct_from(states.c[name])
            for name in ("assets", "first_due_at", "last_due_at")
        )
    )
    # A kind that no CMMS asset of the batch has is a row of none, or no row.
    is_empty = and_(func.coalesce(counted.c.assets, 0) == 0, states.c.assets.is_(None))
    joined = counted.join(
        states,
        and_(states.c.batch_key == counted.c.batch_key, states.c.kind == counted.c.kind),
        full=True,
    )
    key = func.coalesce(counted.c.batch_key, states.c.batch_key)
    return select(key.label("batch_key")).select_from(joined).where(differs, ~is_empty).distinct()


def find_miscounted(connection: Connection) -> list[str]:
    """Return the batches whose counts are not what counting their states gives; must be none."""
    return sorted(connection.execute(_miscounted()).scalars())


def correct_counts(connection: Connection) -> int:
    """Count the states of miscounted batches anew; return how many there were. Repeatable."""
    keys = find_miscounted(connection)
    if keys:
        connection.execute(
            select(func.innomaint_recount_batches(cast(literal(keys, ARRAY(Text)), ARRAY(Text))))
        )
    return len(keys)


def lock_imports(connection: Connection) -> None:
    """Let one import at a time run, until the transaction ends."""
    take_lock(connection, AdvisoryLock.IMPORT)


def _without_batch() -> Select[tuple[int]]:
    return (
        select(sync_state.c.asset_id)
        .join(asset_master, asset_master.c.asset_id == sync_state.c.asset_id)
        .where(sync_state.c.batch_key.is_(None), func.btrim(asset_master.c.cmms_asset_id) != "")
    )


def assign_new_batches(connection: Connection, batch_size: int) -> int:
    """Give each CMMS asset without a batch its own, for good; return how many there were.

    In report order, missing numbers last, then by asset_id. Repeatable, also for rows that another program
    inserted. Waits for an import under way only where there is one without a batch.
    """
    if not connection.execute(select(_without_batch().exists())).scalar_one():
        return 0
    lock_imports(connection)
    order = asset_master.c.report_seq_no.asc().nulls_last(), asset_master.c.asset_id
    without = connection.execute(_without_batch().order_by(*order)).scalars().all()
    if not without:
        return 0
    last = find_last_batch(connection)
    asset_ids, batch_keys = zip(*assign_batches(without, last, batch_size), strict=True)
    arrays = cast(asset_ids, ARRAY(Integer)), cast(batch_keys, ARRAY(Text))
    given = func.unnest(*arrays).table_valued("asset_id", "batch_key", name="given").render_derived()
    connection.execute(
        update(sync_state)
        .values(batch_key=given.c.batch_key)
        .where(sync_state.c.asset_id == given.c.asset_id)
    )
    return len(without)


def count_batches(connection: Connection) -> int:
    """Return how many batches there are."""
    return len(find_batch_keys(connection))


def finish_upgrade(connection: Connection, *, batch_size: int) -> list[str]:
    """Count the states anew where they are miscounted, and give each CMMS asset its batch.

    Return what was done, a sentence each.
    """
    done = []
    corrected = correct_counts(connection)
    if corrected:
        done.append(f"counted the states of {corrected} batches")
    assigned = assign_new_batches(connection, batch_size)
    if assigned:
        done.append(f"gave {assigned} assets their batch")
    return done
