"""One batch in one run: who it is, what it may ask for, and the lease that makes it the only one (spec 03).

Belongs here: what the three steps fetch, enrich and settle share.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from innomaint_pipeline.errors import BreakerOpenError, DatabaseError, RunCancelledError
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
class Selection:
    """What a run asks for: by default the due CMMS assets of its batch.

    `cmms_asset_ids` narrows it to those named; `asked_before` widens it to every one not asked since that
    time.
    """

    cmms_asset_ids: tuple[str, ...] = ()
    asked_before: datetime | None = None


@dataclass(frozen=True)
class BatchRun:
    """One run of one batch.

    `run_id` owns the lease, renewed every `renewal_seconds`; `is_cancelled` is asked as often.
    """

    database: Database
    batch_key: str
    run_id: str
    refresh_minutes: int
    selection: Selection = field(default_factory=Selection)
    is_cancelled: Callable[[], bool] = lambda: False
    repeat_after_seconds: float | None = None
    renewal_seconds: float = RENEWAL_SECONDS


class LeaseWatch:
    """Renews a lease in the background and says when to stop."""

    def __init__(self, run: BatchRun) -> None:
        self._run = run
        self._ended = threading.Event()
        self.stop_reason: Exception | None = None
        self._thread = threading.Thread(target=self._renew, name=f"lease {run.batch_key}", daemon=True)

    def _renew(self) -> None:
        failures = 0.0
        while not self._ended.wait(self._run.renewal_seconds):
            try:
                with self._run.database.begin() as connection:
                    is_held = renew_lease(connection, self._run.batch_key, self._run.run_id)
                failures = 0
                if not is_held:
                    self.stop_reason = DatabaseError(
                        f"run {self._run.run_id} lost the lease of {self._run.batch_key}: it was out "
                        "of reach of the "
                        "database for too long, and another run may have taken over; run the batch again"
                    )
                    return
                if self._run.is_cancelled():
                    self.stop_reason = RunCancelledError(
                        f"{self._run.batch_key} was cancelled; what was stored is kept"
                    )
                    return
            except DatabaseError as error:
                failures += self._run.renewal_seconds
                logger.warning("the lease of %s could not be renewed: %s", self._run.batch_key, error)
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
def batch_lease(run: BatchRun, *, is_last_step: bool) -> Iterator[LeaseWatch | None]:
    """Hold the lease of the run's batch; yields None when another run works on it.

    A step that is not the run's last leaves the lease to the next one, which must come before it expires.
    After batch-wide trouble it is kept until the step is repeated, after any other error given up at once.
    """
    with run.database.begin() as connection:
        is_ours = acquire_lease(connection, run.batch_key, run.run_id)
    if not is_ours:
        yield None
        return
    watch = LeaseWatch(run)
    watch.start()
    keep_seconds = None if is_last_step else LEASE_SECONDS
    try:
        yield watch
    except (BreakerOpenError, DatabaseError):
        keep_seconds = 0.0 if run.repeat_after_seconds is None else run.repeat_after_seconds + LEASE_SECONDS
        raise
    except BaseException:
        keep_seconds = 0.0
        raise
    finally:
        watch.end()
        _pass_on(run, keep_seconds)


def _pass_on(run: BatchRun, keep_seconds: float | None) -> None:
    """Keep the lease so long, or end it; 0 leaves the row, expired, to tell when the failed run began."""
    try:
        with run.database.begin() as connection:
            if keep_seconds is None:
                release_lease(connection, run.batch_key, run.run_id)
            else:
                renew_lease(connection, run.batch_key, run.run_id, seconds=keep_seconds)
    except DatabaseError as error:
        # It expires by itself, and the error that matters is the one under way.
        logger.warning("the lease of %s could not be passed on: %s", run.batch_key, error)
