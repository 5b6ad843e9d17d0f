"""Which run works on which batch: innomaint_batch_lease (spec 03, "A batch run").

A lease is a row with an owner and an expiry, renewed while its owner lives, so that a killed run's lease ends
by itself and nobody unlocks anything by hand. Time is the database's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, case, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from innomaint_pipeline.store.tables import batch_lease

LEASE_SECONDS = 30.0
RENEWAL_SECONDS = 7.0


@dataclass(frozen=True)
class Lease:
    """A live lease; `total` and `done` count the CMMS assets of the run's current pass."""

    batch_key: str
    owner: str
    acquired_at: datetime
    seconds_left: float
    total: int
    done: int


def _expiry(seconds: float) -> object:
    return func.clock_timestamp() + func.make_interval(0, 0, 0, 0, 0, 0, seconds)


def acquire_lease(
    connection: Connection, batch_key: str, owner: str, *, seconds: float = LEASE_SECONDS
) -> bool:
    """Take or renew the lease of a batch; False when another run holds it.

    An owner that comes back (a later step, a repeated one) keeps the time at which it began and its
    progress.
    """
    statement = insert(batch_lease).values(
        batch_key=batch_key, owner=owner, acquired_at=func.clock_timestamp(), expires_at=_expiry(seconds)
    )
    is_own = batch_lease.c.owner == owner
    taken = connection.execute(
        statement.on_conflict_do_update(
            index_elements=["batch_key"],
            set_={
                "owner": owner,
                "acquired_at": case((is_own, batch_lease.c.acquired_at), else_=func.clock_timestamp()),
                "expires_at": _expiry(seconds),
                "total": case((is_own, batch_lease.c.total), else_=0),
                "done": case((is_own, batch_lease.c.done), else_=0),
            },
            where=or_(is_own, batch_lease.c.expires_at < func.clock_timestamp()),
        ).returning(batch_lease.c.batch_key)
    )
    return taken.first() is not None


def renew_lease(
    connection: Connection, batch_key: str, owner: str, *, seconds: float = LEASE_SECONDS
) -> bool:
    """Extend an owned lease; False when it was lost to another run or removed."""
    renewed = connection.execute(
        update(batch_lease)
        .values(expires_at=_expiry(seconds))
        .where(batch_lease.c.batch_key == batch_key, batch_lease.c.owner == owner)
        .returning(batch_lease.c.batch_key)
    )
    return renewed.first() is not None


def release_lease(connection: Connection, batch_key: str, owner: str) -> None:
    """End an owned lease."""
    connection.execute(
        delete(batch_lease).where(batch_lease.c.batch_key == batch_key, batch_lease.c.owner == owner)
    )


def report_progress(connection: Connection, batch_key: str, owner: str, *, total: int, done: int) -> None:
    """Note how far the owner's current pass is."""
    connection.execute(
        update(batch_lease)
        .values(total=total, done=done)
        .where(batch_lease.c.batch_key == batch_key, batch_lease.c.owner == owner)
    )


def find_lease_owners(connection: Connection) -> dict[str, bool]:
    """Return the owner of each lease that was not given up, and whether the lease is still live."""
    is_live = batch_lease.c.expires_at >= func.clock_timestamp()
    rows = connection.execute(
        select(batch_lease.c.owner, func.bool_or(is_live)).group_by(batch_lease.c.owner)
    )
    return {owner: live for owner, live in rows}  # noqa: C416 # rows are no tuples to a type checker


def find_leases(connection: Connection) -> list[Lease]:
    """Return the leases that have not expired, by batch."""
    seconds_left = func.extract("epoch", batch_lease.c.expires_at - func.clock_timestamp())
    rows = connection.execute(
        select(
            batch_lease.c.batch_key,
            batch_lease.c.owner,
            batch_lease.c.acquired_at,
            seconds_left,
            batch_lease.c.total,
            batch_lease.c.done,
        )
        .where(batch_lease.c.expires_at >= func.clock_timestamp())
        .order_by(batch_lease.c.batch_key)
    )
    return [Lease(key, owner, at, float(left), total, done) for key, owner, at, left, total, done in rows]
