"""The lease of a batch: one owner, an expiry on the database's clock, nothing to unlock by hand."""

from sqlalchemy import text

from innomaint_pipeline.domain.innomaint.batches import LEASES, lease_name
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.leases import (
    LEASE_SECONDS,
    RENEWAL_SECONDS,
    acquire_lease,
    find_leases,
    release_lease,
    renew_lease,
    report_progress,
)

BATCH = lease_name("batch_000001")


def acquire(database: Database, owner: str, *, seconds: float = LEASE_SECONDS, batch: str = BATCH) -> bool:
    with database.begin() as connection:
        return acquire_lease(connection, batch, owner, seconds=seconds)


def renew(database: Database, owner: str) -> bool:
    with database.begin() as connection:
        return renew_lease(connection, BATCH, owner)


def test_a_leased_batch_is_refused_to_a_second_owner(database: Database) -> None:
    assert acquire(database, "first")
    assert not acquire(database, "second")
    assert acquire(database, "second", batch="batch_000002")


def test_its_owner_takes_it_again_and_keeps_the_time_at_which_it_began(database: Database) -> None:
    acquire(database, "first")
    with database.begin() as connection:
        (before,) = find_leases(connection, LEASES)
    assert acquire(database, "first", seconds=60)
    with database.begin() as connection:
        (after,) = find_leases(connection, LEASES)
    assert after.acquired_at == before.acquired_at
    assert before.seconds_left <= LEASE_SECONDS < after.seconds_left <= 60


def test_an_expired_lease_goes_to_whoever_asks(database: Database) -> None:
    acquire(database, "first", seconds=-1)
    with database.begin() as connection:
        assert find_leases(connection, LEASES) == []
    assert acquire(database, "second")
    with database.begin() as connection:
        (lease,) = find_leases(connection, LEASES)
    assert (lease.resource, lease.owner, lease.total, lease.done) == (BATCH, "second", 0, 0)


def test_renewing_extends_a_lease_that_nobody_took(database: Database) -> None:
    acquire(database, "first", seconds=-1)
    assert renew(database, "first")
    assert not acquire(database, "second")


def test_a_lost_lease_cannot_be_renewed_or_released(database: Database) -> None:
    acquire(database, "first", seconds=-1)
    acquire(database, "second")
    assert not renew(database, "first")
    with database.begin() as connection:
        release_lease(connection, BATCH, "first")
        report_progress(connection, BATCH, "first", total=9, done=9)
        (lease,) = find_leases(connection, LEASES)
    assert (lease.owner, lease.total) == ("second", 0)


def test_a_released_lease_is_free(database: Database) -> None:
    acquire(database, "first")
    with database.begin() as connection:
        release_lease(connection, BATCH, "first")
    assert not renew(database, "first")
    assert acquire(database, "second")


def test_progress_is_seen_by_others(database: Database) -> None:
    acquire(database, "first")
    with database.begin() as connection:
        report_progress(connection, BATCH, "first", total=100, done=42)
    with database.begin() as connection:
        (lease,) = find_leases(connection, LEASES)
    assert (lease.total, lease.done) == (100, 42)


def test_a_lease_outlives_several_missed_renewals() -> None:
    assert 3 * RENEWAL_SECONDS < LEASE_SECONDS


def test_a_new_owner_does_not_inherit_the_progress_of_the_old(database: Database) -> None:
    acquire(database, "first", seconds=60)
    with database.begin() as connection:
        report_progress(connection, BATCH, "first", total=100, done=42)
        renew_lease(connection, BATCH, "first", seconds=-1)
    acquire(database, "second")
    with database.begin() as connection:
        (lease,) = find_leases(connection, LEASES)
    assert (lease.owner, lease.total, lease.done) == ("second", 0, 0)


def test_a_lease_of_a_dead_run_from_before_the_clock_was_set_back_holds_nobody(database: Database) -> None:
    with database.begin() as connection:
        assert acquire_lease(connection, "source/a", "dead")
        connection.execute(text("update innomaint_lease set expires_at = expires_at + interval '1 hour'"))
        assert find_leases(connection, "source/") == []
        assert acquire_lease(connection, "source/a", "next")
        assert [held.owner for held in find_leases(connection, "source/")] == ["next"]
        release_lease(connection, "source/a", "next")


def test_a_run_that_lives_keeps_its_lease_when_the_clock_is_set(database: Database) -> None:
    with database.begin() as connection:
        for hour in ("-1", "1"):
            assert acquire_lease(connection, "source/a", "alive")
            connection.execute(
                text(f"update innomaint_lease set expires_at = expires_at + interval '{hour} hour'")
            )
            assert renew_lease(connection, "source/a", "alive")
            assert not acquire_lease(connection, "source/a", "next")
        release_lease(connection, "source/a", "alive")
