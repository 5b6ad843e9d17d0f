"""A lease held while work goes on: taken, renewed in the background, passed on or given back.

Belongs here: holding any resource by its name, and the lease by which a run shows that it lives. What the
work is, is its source's.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from innomaint_pipeline.errors import (
    BreakerOpenError,
    DatabaseError,
    DiskFullError,
    RefusedRowError,
    RunCancelledError,
    TransientSourceError,
)
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.leases import (
    LEASE_SECONDS,
    RENEWAL_SECONDS,
    acquire_lease,
    release_lease,
    renew_lease,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Claim:
    """What a run wants to hold: the lease of `resource`, for `owner`, renewed every `renewal_seconds`.

    `is_cancelled` is asked as often as the lease is renewed. `repeat_after_seconds` is how long after
    trouble of everybody's the step is repeated, None when it is not.
    """

    database: Database
    resource: str
    owner: str
    is_cancelled: Callable[[], bool] = lambda: False
    repeat_after_seconds: float | None = None
    renewal_seconds: float = RENEWAL_SECONDS


class LeaseWatch:
    """Renews a lease in the background and says when to stop."""

    def __init__(self, claim: Claim) -> None:
        self._claim = claim
        self._ended = threading.Event()
        self.stop_reason: Exception | None = None
        self._thread = threading.Thread(target=self._renew, name=f"lease {claim.resource}", daemon=True)

    def _renew(self) -> None:
        claim = self._claim
        failures = 0.0
        while not self._ended.wait(claim.renewal_seconds):
            try:
                with claim.database.begin() as connection:
                    is_held = renew_lease(connection, claim.resource, claim.owner)
                failures = 0
                if not is_held:
                    self.stop_reason = DatabaseError(
                        f"run {claim.owner} lost the lease of {claim.resource}: it was out of reach of the "
                        "database for too long, and another run may have taken over; run it again"
                    )
                    return
                if claim.is_cancelled():
                    self.stop_reason = RunCancelledError(
                        f"{claim.resource} was cancelled; what was stored is kept"
                    )
                    return
            except DatabaseError as error:
                failures += claim.renewal_seconds
                logger.warning("the lease of %s could not be renewed: %s", claim.resource, error)
                if failures >= LEASE_SECONDS:
                    self.stop_reason = error
                    return

    def start(self) -> None:
        """Begin to renew."""
        self._thread.start()

    def end(self) -> None:
        """Stop renewing; returns when no renewal is under way."""
        self._ended.set()
        self._thread.join()

    def check(self) -> None:
        """Raise why the run must stop, if it must."""
        if self.stop_reason is not None:
            raise self.stop_reason


@contextmanager
def hold_lease(claim: Claim, *, is_last_step: bool) -> Iterator[LeaseWatch | None]:
    """Hold the lease of a resource; yields None when another run works on it.

    A step that is not the run's last leaves the lease to the next one, which must come before it expires.
    After trouble of everybody's it is kept until the step is repeated, after any other error given up at
    once.
    """
    with claim.database.begin() as connection:
        is_ours = acquire_lease(connection, claim.resource, claim.owner)
    if not is_ours:
        yield None
        return
    watch = LeaseWatch(claim)
    watch.start()
    keep_seconds = None if is_last_step else LEASE_SECONDS
    try:
        yield watch
    except (BreakerOpenError, DatabaseError, TransientSourceError) as error:
        is_final = isinstance(error, (RefusedRowError, DiskFullError))
        wait = None if is_final else claim.repeat_after_seconds
        keep_seconds = 0.0 if wait is None else wait + LEASE_SECONDS
        raise
    except BaseException:
        keep_seconds = 0.0
        raise
    finally:
        watch.end()
        _pass_on(claim, keep_seconds)


def _pass_on(claim: Claim, keep_seconds: float | None) -> None:
    """Keep the lease so long, or end it; 0 leaves the row, expired, to tell when the failed run began."""
    try:
        with claim.database.begin() as connection:
            if keep_seconds is None:
                release_lease(connection, claim.resource, claim.owner)
            else:
                renew_lease(connection, claim.resource, claim.owner, seconds=keep_seconds)
    except DatabaseError as error:
        # It expires by itself, and the error that matters is the one under way.
        logger.warning("the lease of %s could not be passed on: %s", claim.resource, error)


@contextmanager
def keep_lease(
    database: Database,
    resource: str,
    owner: str,
    *,
    on_lost: Callable[[], None],
    on_renewed: Callable[[], None] = lambda: None,
    renewal_seconds: float = RENEWAL_SECONDS,
) -> Iterator[None]:
    """Show that an owner lives, by a lease that is taken and renewed in the background, for the block.

    A database that is out of reach is asked again at each renewal. `on_lost` is called, in a thread, when the
    lease was removed or taken by another one, `on_renewed` there after each renewal; it must not raise.
    """
    ended = threading.Event()

    def keep() -> None:
        is_held = False
        while True:
            try:
                is_renewal = is_held
                with database.begin() as connection:
                    take = renew_lease if is_held else acquire_lease
                    is_held = take(connection, resource, owner)
                if not is_held:
                    on_lost()
                    return
                if is_renewal:
                    on_renewed()
            except DatabaseError as error:
                logger.warning("the lease of %s could not be renewed: %s", resource, error)
            if ended.wait(renewal_seconds):
                return

    thread = threading.Thread(target=keep, name=f"lease {resource}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        try:
            with database.begin() as connection:
                release_lease(connection, resource, owner)
        except DatabaseError as error:
            # It expires by itself.
            logger.warning("the lease of %s could not be given back: %s", resource, error)
