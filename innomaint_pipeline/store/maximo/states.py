"""How each structure stands at each site, and what its reads did: sync_state, sync_run, schema_drift, reject.

Belongs here: reading and writing these. What follows from them is decided in `domain.maximo.plans`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from innomaint_pipeline.domain.maximo import SOURCE
from innomaint_pipeline.domain.maximo.plans import Known
from innomaint_pipeline.domain.maximo.rows import Place as Attribute
from innomaint_pipeline.store.database import find_now
from innomaint_pipeline.store.maximo.responses import Place
from innomaint_pipeline.store.maximo.tables import RUN_COLUMNS, reject, schema_drift, sync_run, sync_state
from innomaint_pipeline.store.settings import load_setting, save_setting

NEW, VANISHED, TYPE = "new", "vanished", "type"
_OWN_SITE = "own_site"
_ASKED_AGAIN_AFTER = timedelta(days=1)


def _is_at(place: Place) -> Any:
    return and_(sync_state.c.endpoint == place.endpoint, sync_state.c.site == place.site)


def ensure_state(connection: Connection, place: Place) -> None:
    """Create the row of a structure at a site if it is missing."""
    connection.execute(insert(sync_state).values(**place.parameters()).on_conflict_do_nothing())


def load_state(connection: Connection, place: Place) -> dict[str, Any]:
    """Return the row of a structure at a site, empty where there is none."""
    row = connection.execute(select(sync_state).where(_is_at(place))).mappings().first()
    return dict(row) if row is not None else {}


def load_known(connection: Connection, place: Place) -> Known:
    """Return what decisions are made from."""
    row = load_state(connection, place)
    if not row:
        return Known()
    stamps = tuple((stamp, datetime.fromisoformat(at)) for stamp, at in row["rowstamps"] or ())
    return Known(
        watermark=row["watermark"],
        rowstamps=stamps,
        date_form=row["date_form"],
        words=None if row["words"] is None else tuple(row["words"]),
        full_due_at=row["full_due_at"],
        due_at=row["due_at"],
        booked_since=row["booked_since"],
        booked_offset=row["booked_offset"],
        restored_on=row["restored_on"],
    )


def save_state(connection: Connection, place: Place, **values: Any) -> None:
    """Change columns of the row of a structure at a site."""
    connection.execute(update(sync_state).where(_is_at(place)).values(**values))


def load_rejected(connection: Connection, place: Place) -> set[int]:
    """Return the roots of a structure at a site whose rejects are open."""
    statement = select(reject.c.row_id).where(
        reject.c.endpoint == place.endpoint, reject.c.site == place.site, reject.c.resolved_at.is_(None)
    )
    return set(connection.execute(statement).scalars())


def find_places(connection: Connection, endpoint: str | None = None) -> list[Place]:
    """Return the structures and sites that were ever read."""
    rows = connection.execute(
        select(sync_state.c.endpoint, sync_state.c.site).order_by(sync_state.c.endpoint, sync_state.c.site)
    )
    return [Place(*row) for row in rows if endpoint in {None, row.endpoint}]


def load_own_site(connection: Connection) -> tuple[str, bool] | None:
    """Return the site of the key's own user, and whether it was asked for within a day; None: never."""
    stored = load_setting(connection, SOURCE, _OWN_SITE)
    if stored is None:
        return None
    age = find_now(connection) - datetime.fromisoformat(stored["asked_at"])
    return stored["site"], timedelta() <= age < _ASKED_AGAIN_AFTER


def save_own_site(connection: Connection, site: str) -> None:
    """Keep the site of the key's own user: what reads by itself takes it where no site is configured."""
    asked_at = find_now(connection).isoformat()
    save_setting(connection, SOURCE, _OWN_SITE, {"site": site, "asked_at": asked_at})


def leave_turn(connection: Connection, sites: Sequence[str]) -> None:
    """Let reads of other sites than these be due no more: a person had them read once."""
    is_other = and_(sync_state.c.site != "", sync_state.c.site != func.all(list(sites)))
    connection.execute(
        update(sync_state).where(is_other, sync_state.c.due_at.is_not(None)).values(due_at=None)
    )


def save_run(connection: Connection, values: Mapping[str, Any]) -> dict[str, Any]:
    """Add the row of a read; return it."""
    columns = [sync_run.c[name] for name in RUN_COLUMNS]
    row = connection.execute(insert(sync_run).values(**values).returning(*columns)).mappings().one()
    return dict(row)


def load_words(connection: Connection, domain: str, internal_values: Sequence[str]) -> tuple[str, ...]:
    """Return the status words that stand for these internal values, as far as domains were synced."""
    rows = connection.execute(
        text(
            "SELECT DISTINCT value FROM maximo.domain_values WHERE domainid = :domain "
            "AND maxvalue = ANY(:values) AND value IS NOT NULL ORDER BY value"
        ),
        {"domain": domain, "values": list(internal_values)},
    )
    return tuple(rows.scalars())


def load_internal_values(connection: Connection, domain: str) -> list[str]:
    """Return the internal values of a domain."""
    rows = connection.execute(
        text(
            "SELECT DISTINCT maxvalue FROM maximo.domain_values WHERE domainid = :domain AND maxvalue <> ''"
        ),
        {"domain": domain},
    )
    return sorted(rows.scalars())


# drift


def add_drift(
    connection: Connection, place: Place, found: Iterable[tuple[str, str, str, str]], *, run_id: str
) -> int:
    """List drift, each kind of each attribute once while it is open; return how many lines are new.

    Each is path, attribute, kind, detail.
    """
    count = 0
    for path, attribute, kind, detail in found:
        values = {"path": path, "attribute": attribute, "kind": kind, "detail": detail, "run_id": run_id}
        statement = insert(schema_drift).values(**place.parameters(), **values).on_conflict_do_nothing()
        count += len(connection.execute(statement.returning(schema_drift.c.id)).all())
    return count


def load_vanished(connection: Connection, place: Place) -> set[Attribute]:
    """Return what has vanished and was not accepted: its stored values are kept."""
    rows = connection.execute(
        select(schema_drift.c.path, schema_drift.c.attribute).where(
            schema_drift.c.endpoint == place.endpoint,
            schema_drift.c.site == place.site,
            schema_drift.c.kind == VANISHED,
            schema_drift.c.resolved_at.is_(None),
        )
    )
    return {(row.path, row.attribute) for row in rows}


def resolve_drift(connection: Connection, place: Place, *, only: Iterable[Attribute] | None = None) -> None:
    """Close what is open: all of it, since a person accepted it, or vanished attributes that are back."""
    statement = (
        update(schema_drift)
        .values(resolved_at=func.now())
        .where(
            schema_drift.c.endpoint == place.endpoint,
            schema_drift.c.site == place.site,
            schema_drift.c.resolved_at.is_(None),
        )
    )
    if only is None:
        connection.execute(statement)
        return
    for path, attribute in only:
        connection.execute(
            statement.where(
                schema_drift.c.kind == VANISHED,
                schema_drift.c.path == path,
                schema_drift.c.attribute == attribute,
            )
        )


# rejects


def save_reject(connection: Connection, place: Place, row_id: int, reason: str, *, run_id: str) -> None:
    """Note that the database refuses a root."""
    statement = insert(reject).values(**place.parameters(), row_id=row_id, reason=reason, run_id=run_id)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["endpoint", "row_id"],
            index_where=reject.c.resolved_at.is_(None),
            set_={"reason": reason, "run_id": run_id, "found_at": func.now()},
        )
    )


def resolve_rejects(connection: Connection, place: Place, ids: Sequence[int]) -> None:
    """Note that roots could be stored, where they were rejected before."""
    connection.execute(
        update(reject)
        .values(resolved_at=func.now())
        .where(
            reject.c.endpoint == place.endpoint,
            reject.c.resolved_at.is_(None),
            reject.c.row_id == func.any(list(ids)),
        )
    )


def resolve_rejects_not_pending(connection: Connection, place: Place, *, but: Collection[int]) -> None:
    """Note that roots that were rejected before are not there any more: no answer of the read is theirs.

    Those of which the database refuses the answer, or that they are marked as deleted (`but`), stay open.
    """
    connection.execute(
        text(
            "UPDATE maximo.reject r SET resolved_at = now() WHERE r.endpoint = :endpoint AND r.site = :site "
            "AND r.resolved_at IS NULL AND r.row_id <> ALL(:but) AND NOT EXISTS (SELECT FROM "
            "maximo.response p WHERE p.endpoint = :endpoint AND p.site = :site AND p.id = r.row_id "
            "AND p.is_pending)"
        ),
        {**place.parameters(), "but": list(but)},
    )
