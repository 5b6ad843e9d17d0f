"""Raw answers: innomaint_response (docs/how-it-works.md).

Belongs here: keeping and finding answers. They leave as JSON text, never through a float.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache

import simplejson
from sqlalchemy import (
    Connection,
    Integer,
    Text,
    TextClause,
    and_,
    any_,
    bindparam,
    cast,
    func,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, insert

from innomaint_pipeline.store.innomaint.tables import asset_master, response, sync_state
from innomaint_pipeline.store.rows import left_out, prepared, recordset, rows_parameter


@dataclass(frozen=True)
class NewAnswer:
    """An answer to store.

    `body_json` is text that jsonb accepts, `cleaning_issues` name what was removed from it.
    """

    asset_id: int
    body_json: str
    body_hash: str
    attempts: int
    duration_ms: int
    cleaning_issues: tuple[dict[str, str], ...] = ()


@dataclass(frozen=True)
class StoredAnswer:
    """A stored answer and the hash of the one that the tables hold (None before the first)."""

    asset_id: int
    cmms_asset_id: str
    body_json: str
    body_hash: str
    applied_hash: str | None
    fetched_at: datetime
    run_id: str | None
    attempts: int
    duration_ms: int
    cleaning_issues: tuple[dict[str, str], ...]
    consecutive_failures: int


_COLUMNS = ["asset_id", "body", "body_hash", "attempts", "duration_ms", "cleaning_issues"]


def _rows_with_bodies(answers: Sequence[NewAnswer]) -> str:
    # The body is JSON already: set in as it is, not encoded a second time.
    rows = []
    for item in answers:
        rest = {
            "asset_id": item.asset_id,
            "body_hash": item.body_hash,
            "attempts": item.attempts,
            "duration_ms": item.duration_ms,
            "cleaning_issues": list(item.cleaning_issues) or None,
        }
        rows.append(f'{simplejson.dumps(rest, ensure_ascii=False)[:-1]},"body":{item.body_json}}}')
    return f"[{','.join(rows)}]"


def save_answers(connection: Connection, answers: Sequence[NewAnswer], *, run_id: str | None) -> None:
    """Store answers in place of the earlier ones of the same CMMS assets, to be enriched (`is_pending`).

    Raises `RefusedRowError` where a trigger leaves one out.
    """
    stored = connection.execute(_save(), {"rows": _rows_with_bodies(answers), "run": run_id})
    if missing := {item.asset_id for item in answers}.difference(stored.scalars()):
        raise left_out(response, {"asset_id": min(missing)})


@cache
def _save() -> TextClause:
    given = recordset(response, _COLUMNS)
    run_id = cast(bindparam("run", type_=Text), Text)
    statement = insert(response).from_select(
        [*_COLUMNS, "fetched_at", "run_id", "is_pending"],
        select(*(given.c[name] for name in _COLUMNS), func.clock_timestamp(), run_id, true()).order_by(
            given.c.asset_id
        ),
    )
    names = [*_COLUMNS[1:], "fetched_at", "run_id", "is_pending"]
    return prepared(
        statement.on_conflict_do_update(
            index_elements=["asset_id"], set_={name: statement.excluded[name] for name in names}
        ).returning(response.c.asset_id)
    )


def load_answers(
    connection: Connection,
    batch_key: str,
    *,
    is_pending_only: bool,
    after_asset_id: int = 0,
    limit: int = 500,
    asset_ids: Sequence[int] | None = None,
) -> list[StoredAnswer]:
    """Return stored answers of a batch by asset_id, a page at a time; of these CMMS assets where given."""
    chosen = None if asset_ids is None else list(asset_ids)
    rows = connection.execute(
        _load(is_pending_only=is_pending_only),
        {"batch": batch_key, "chosen": chosen, "after": after_asset_id, "most": limit},
    )
    return [
        StoredAnswer(*row[:9], cleaning_issues=tuple(row[9] or ()), consecutive_failures=row[10])
        for row in rows.tuples()
    ]


@cache
def _load(*, is_pending_only: bool) -> TextClause:
    chosen = cast(bindparam("chosen"), ARRAY(Integer))
    return prepared(
        select(
            response.c.asset_id,
            asset_master.c.cmms_asset_id,
            cast(response.c.body, Text).label("body_json"),
            response.c.body_hash,
            sync_state.c.response_hash.label("applied_hash"),
            response.c.fetched_at,
            response.c.run_id,
            response.c.attempts,
            response.c.duration_ms,
            response.c.cleaning_issues,
            sync_state.c.consecutive_failures,
        )
        .join(sync_state, sync_state.c.asset_id == response.c.asset_id)
        .join(asset_master, asset_master.c.asset_id == response.c.asset_id)
        .where(
            sync_state.c.batch_key == bindparam("batch"),
            or_(chosen.is_(None), response.c.asset_id == any_(chosen)),
            response.c.asset_id > bindparam("after"),
            response.c.is_pending if is_pending_only else true(),
        )
        .order_by(response.c.asset_id)
        .limit(bindparam("most"))
    )


def lock_current(
    connection: Connection, fetched_at: Mapping[int, datetime], *, is_pending_only: bool
) -> set[int]:
    """Return the CMMS assets, by asset_id, whose stored answer is still the one that came at that time.

    They are locked until the transaction ends: a newer answer, or somebody else who applies this one, waits.
    """
    rows = [{"asset_id": key, "fetched_at": moment} for key, moment in fetched_at.items()]
    found = connection.execute(_lock_current(is_pending_only=is_pending_only), {"rows": rows_parameter(rows)})
    return set(found.scalars())


@cache
def _lock_current(*, is_pending_only: bool) -> TextClause:
    given = recordset(response, ["asset_id", "fetched_at"])
    return prepared(
        select(response.c.asset_id)
        .join(
            given,
            and_(given.c.asset_id == response.c.asset_id, given.c.fetched_at == response.c.fetched_at),
        )
        .where(response.c.is_pending if is_pending_only else true())
        .order_by(response.c.asset_id)
        .with_for_update(of=response)
    )


def mark_enriched(connection: Connection, asset_ids: Sequence[int]) -> set[int]:
    """Take answers off the list of those to be enriched; return those that a trigger keeps on it."""
    taken = connection.execute(_mark_enriched(), {"asset_ids": list(asset_ids)}).scalars().all()
    if len(taken) == len(asset_ids):
        return set()
    still = select(response.c.asset_id).where(response.c.asset_id.in_(list(asset_ids)), response.c.is_pending)
    return set(connection.execute(still).scalars())


@cache
def _mark_enriched() -> TextClause:
    return prepared(
        update(response)
        .where(
            response.c.asset_id == any_(cast(bindparam("asset_ids"), ARRAY(Integer))), response.c.is_pending
        )
        .values(is_pending=False)
        .returning(response.c.asset_id)
    )
