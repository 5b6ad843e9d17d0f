"""The last answer for each root: maximo.response.

Belongs here: keeping what a read fetched apart, as pending, until its rows are in the tables, so that what
the tables can be built from is always one whole read. A pending answer that is as before holds no body.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, delete, select, text
from sqlalchemy.types import Text

from innomaint_pipeline.domain.documents import load_json
from innomaint_pipeline.domain.maximo.structures import Structure
from innomaint_pipeline.store.maximo.tables import response
from innomaint_pipeline.store.rows import rows_parameter, write_within

_PAGE_ROWS = 500


@dataclass(frozen=True)
class Place:
    """A structure at a site; `site` is empty where it has none."""

    endpoint: str
    site: str

    def parameters(self) -> dict[str, str]:
        """Return both as parameters of a statement."""
        return {"endpoint": self.endpoint, "site": self.site}


# The hash is of what is stored: names in another order, or 1E-7 for 0.0000001, are no other answer.
_SAVE = text("""
INSERT INTO maximo.response (endpoint, site, id, is_pending, body, body_hash)
SELECT :endpoint, :site, given.id, true,
    CASE WHEN held.body_hash IS NOT DISTINCT FROM given.body_hash THEN NULL ELSE given.body END,
    given.body_hash
FROM (
    SELECT id, body, encode(sha256(convert_to(body::text, 'UTF8')), 'hex') AS body_hash
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS parsed (id bigint, body jsonb)
) AS given
LEFT JOIN maximo.response held ON held.endpoint = :endpoint AND held.site = :site AND held.id = given.id
    AND NOT held.is_pending
ON CONFLICT (endpoint, site, id, is_pending) DO UPDATE
    SET body = excluded.body, body_hash = excluded.body_hash, fetched_at = now()
RETURNING id
""").bindparams(bindparam("rows", type_=Text))

# Without statistics of a new table, PostgreSQL would join all of both for each page: the bodies of those that
# are as before are looked up by id instead.
_PAGE = text("""
SELECT id, body::text AS body FROM maximo.response
WHERE endpoint = :endpoint AND site = :site AND is_pending = :is_pending AND id > :last
ORDER BY id LIMIT :most
""")


def save_pending(
    connection: Connection, place: Place, bodies: Mapping[int, Mapping[str, Any]]
) -> dict[int, str]:
    """Keep the answers of a page, by id, until they are merged; return those that the database refuses."""

    def save(ids: Sequence[int]) -> Collection[int]:
        rows = [{"id": identifier, "body": bodies[identifier]} for identifier in ids]
        saved = connection.execute(_SAVE, {**place.parameters(), "rows": rows_parameter(rows)})
        return set(ids).difference(saved.scalars())

    return write_within(connection, list(bodies), save) if bodies else {}


def load_bodies(connection: Connection, place: Place, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Return the answers of these ids: the pending one where there is one, else the held one."""
    statement = text(
        "SELECT DISTINCT ON (id) id, body::text AS body FROM maximo.response "
        "WHERE endpoint = :endpoint AND site = :site AND id = ANY(:ids) AND body IS NOT NULL "
        "ORDER BY id, is_pending DESC"
    )
    rows = connection.execute(statement, {**place.parameters(), "ids": list(ids)})
    return {row.id: load_json(row.body) for row in rows}


def iterate_bodies(
    connection: Connection, place: Place, *, is_pending: bool, size: int = _PAGE_ROWS
) -> Iterator[list[dict[str, Any]]]:
    """Yield answers in the order of their ids, some at a time: the pending ones, or those that are held."""
    last = -(2**63)
    while True:
        parameters = {**place.parameters(), "is_pending": is_pending, "last": last, "most": size}
        rows = connection.execute(_PAGE, parameters).all()
        if not rows:
            return
        last = rows[-1].id
        as_before = load_bodies(connection, place, [row.id for row in rows if row.body is None])
        found = (load_json(row.body) if row.body is not None else as_before.get(row.id) for row in rows)
        yield [body for body in found if body is not None]


def drop_pending(connection: Connection, place: Place) -> None:
    """Forget the answers of a read that is not gone on with."""
    connection.execute(
        delete(response).where(
            response.c.endpoint == place.endpoint, response.c.site == place.site, response.c.is_pending
        )
    )


def settle_pending(connection: Connection, place: Place, structure: Structure) -> None:
    """Make the pending answers those that are held, now that their rows are in the tables.

    Of what is not stored, since it is out of scope, no answer is kept; of what is rejected, it is.
    """
    parameters = place.parameters()
    connection.execute(
        text(f"""
            DELETE FROM maximo.response p
            WHERE p.endpoint = :endpoint AND p.site = :site AND p.is_pending
                AND NOT EXISTS (
                    SELECT FROM maximo."{structure.root.table.name}" t WHERE t."{structure.id}" = p.id
                )
                AND NOT EXISTS (
                    SELECT FROM maximo.reject r
                    WHERE r.endpoint = :endpoint AND r.row_id = p.id AND r.resolved_at IS NULL
                )
        """),  # noqa: S608 # declared names
        parameters,
    )
    connection.execute(
        text("""
            DELETE FROM maximo.response WHERE endpoint = :endpoint AND site = :site AND NOT is_pending
                AND id = ANY(ARRAY(
                    SELECT id FROM maximo.response
                    WHERE endpoint = :endpoint AND site = :site AND is_pending AND body IS NOT NULL
                ))
        """),
        parameters,
    )
    connection.execute(
        text(
            "DELETE FROM maximo.response WHERE endpoint = :endpoint AND site = :site AND is_pending "
            "AND body IS NULL"
        ),
        parameters,
    )
    connection.execute(
        text(
            "UPDATE maximo.response SET is_pending = false WHERE endpoint = :endpoint AND site = :site "
            "AND is_pending"
        ),
        parameters,
    )


def find_new_ids(connection: Connection, place: Place, structure: Structure | None) -> list[int]:
    """Return the pending ids: all of them, or those that the root's table does not hold."""
    where = "p.endpoint = :endpoint AND p.site = :site AND p.is_pending"
    if structure is not None:
        table = f'maximo."{structure.root.table.name}"'
        where += f' AND NOT EXISTS (SELECT FROM {table} t WHERE t."{structure.id}" = p.id)'
    statement = text(f"SELECT p.id FROM maximo.response p WHERE {where} ORDER BY p.id")  # noqa: S608
    return list(connection.execute(statement, place.parameters()).scalars())


def find_pending_ids(connection: Connection, place: Place, after: int | None, upto: int | None) -> list[int]:
    """Return the pending ids above `after`, up to and with `upto`; without a bound where that is None."""
    bounds = [response.c.id > after] if after is not None else []
    bounds += [response.c.id <= upto] if upto is not None else []
    is_there = (response.c.endpoint == place.endpoint) & (response.c.site == place.site)
    statement = select(response.c.id).where(is_there, response.c.is_pending, *bounds)
    return list(connection.execute(statement).scalars())
