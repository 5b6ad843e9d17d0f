"""Which run works on what: innomaint_lease.

A lease is a row under the name of a resource, `source/key`, with an owner and an expiry, renewed while its
owner lives, so that a killed run's lease ends by itself and nobody unlocks anything by hand. Every run also
holds one under its own id, whatever it does. Time is the database's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, case, delete, func, not_, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from innomaint_pipeline.store.tables import lease

RUN_LEASES = "run/"
"""What the lease of a run itself is named after; its key is the run's id."""
UP_LEASE = "up/daemon"
"""What innomaint up holds while it runs on these databases."""
LEASE_SECONDS = 30.0
RENEWAL_SECONDS = 7.0
# A lease is kept until a step is repeated, and a little longer; one that lasts longer was taken before the
# clock was set back.
LONGEST_LEASE_SECONDS = LEASE_SECONDS + 30.0


@dataclass(frozen=True)
class Lease:
    """A live lease; `total` and `done` count the units of work of the run's current pass."""

    resource: str
    owner: str
    acquired_at: datetime
    seconds_left: float
    total: int
    done: int

    @property
    def key(self) -> str:
        """The resource without its source: batch_000001."""
        return self.resource.partition("/")[2]


def _expiry(seconds: float) -> object:
    return func.clock_timestamp() + func.make_interval(0, 0, 0, 0, 0, 0, seconds)


def _is_live() -> ColumnElement[bool]:
    longest = func.make_interval(0, 0, 0, 0, 0, 0, LONGEST_LEASE_SECONDS)
    moment = func.clock_timestamp()
    return lease.c.expires_at.between(moment, moment + longest)


def acquire_lease(
    connection: Connection, resource: str, owner: str, *, seconds: float = LEASE_SECONDS
) -> bool:
    """Take or renew the lease of a resource; False when another run holds it.

    An owner that comes back (a later step, a repeated one) keeps the time at which it began and its
    progress.
    """
    statement = insert(lease).values(
        resource=resource, owner=owner, acquired_at=func.clock_timestamp(), expires_at=_expiry(seconds)
    )
    is_own = lease.c.owner == owner
    taken = connection.execute(
        statement.on_conflict_do_update(
            index_elements=["resource"],
            set_={
                "owner": owner,
                "acquired_at": case((is_own, lease.c.acquired_at), else_=func.clock_timestamp()),
                "expires_at": _expiry(seconds),
                "total": case((is_own, lease.c.total), else_=0),
                "done": case((is_own, lease.c.done), else_=0),
            },
            where=or_(is_own, not_(_is_live())),
        ).returning(lease.c.resource)
    )
    return taken.first() is not None


def renew_lease(connection: Connection, resource: str, owner: str, *, seconds: float = LEASE_SECONDS) -> bool:
    """Extend an owned lease; False when it was lost to another run or removed."""
    renewed = connection.execute(
        update(lease)
        .values(expires_at=_expiry(seconds))
        .where(lease.c.resource == resource, lease.c.owner == owner)
        .returning(lease.c.resource)
    )
    return renewed.first() is not None


def forget_expired(connection: Connection, prefix: str) -> None:
    """Delete the expired leases whose names begin so: those of owners that come under a new name each."""
    connection.execute(
        delete(lease).where(
            lease.c.resource.startswith(prefix, autoescape=True),
            lease.c.expires_at < func.clock_timestamp(),
        )
    )


def release_lease(connection: Connection, resource: str, owner: str) -> None:
    """End an owned lease."""
    connection.execute(delete(lease).where(lease.c.resource == resource, lease.c.owner == owner))


def delete_expired_leases(connection: Connection) -> int:
    """Delete the leases of owners that have been gone for a day; return how many."""
    long_ago = func.clock_timestamp() - func.make_interval(0, 0, 0, 1)
    deleted = connection.execute(
        delete(lease).where(lease.c.expires_at < long_ago).returning(lease.c.resource)
    )
    return len(deleted.all())


def report_progress(connection: Connection, resource: str, owner: str, *, total: int, done: int) -> None:
    """Note how far the owner's current pass is."""
    connection.execute(
        update(lease)
        .values(total=total, done=done)
        .where(
            lease.c.resource == resource,
            lease.c.owner == owner,
            func.row(lease.c.total, lease.c.done) != func.row(total, done),
        )
    )


def is_owner_alive(connection: Connection, owner: str) -> bool | None:
    """Tell whether any lease of an owner is live; None when it has none at all."""
    return connection.execute(select(func.bool_or(_is_live())).where(lease.c.owner == owner)).scalar_one()


def has_lease_beside(connection: Connection, resource: str, owner: str) -> bool:
    """Tell whether an owner has, or had and did not release, a lease on anything but this resource."""
    found = select(lease.c.resource).where(lease.c.owner == owner, lease.c.resource != resource)
    return connection.execute(found.limit(1)).first() is not None


def find_gone_owners(connection: Connection, prefix: str) -> list[str]:
    """Return the owners of leases whose names begin so, none of whose leases is live."""
    rows = connection.execute(
        select(lease.c.owner)
        .group_by(lease.c.owner)
        .having(func.bool_or(lease.c.resource.startswith(prefix, autoescape=True)), ~func.bool_or(_is_live()))
        .order_by(lease.c.owner)
    )
    return list(rows.scalars())


def remove_leases(connection: Connection, owner: str) -> None:
    """End every lease of an owner that is gone; one that lives after all finds that it has none any more."""
    connection.execute(delete(lease).where(lease.c.owner == owner))


def find_leases(connection: Connection, prefix: str) -> list[Lease]:
    """Return the leases that have not expired and whose names begin so, by name."""
    seconds_left = func.extract("epoch", lease.c.expires_at - func.clock_timestamp())
    rows = connection.execute(
        select(
            lease.c.resource,
            lease.c.owner,
            lease.c.acquired_at,
            seconds_left,
            lease.c.total,
            lease.c.done,
        )
        .where(lease.c.resource.startswith(prefix, autoescape=True), _is_live())
        .order_by(lease.c.resource)
    )
    return [Lease(key, owner, at, float(left), total, done) for key, owner, at, left, total, done in rows]
