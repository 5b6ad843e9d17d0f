"""One run of the customer list: receive, parse, check, apply, done.

Belongs here: the order of the stages under one lease, what is tried again, and how the run is closed. How a
file arrives and is read is handed in; what is decided stands in `domain.customers`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from innomaint_pipeline import crash_points
from innomaint_pipeline.domain.customers import SOURCE
from innomaint_pipeline.domain.customers.checks import Guards
from innomaint_pipeline.domain.customers.lists import CustomerList, Finding
from innomaint_pipeline.domain.customers.runs import (
    RETRY_WAITS_SECONDS,
    SYNC_LEASE,
    Outcome,
    Stage,
    Trigger,
)
from innomaint_pipeline.errors import (
    ConfigurationError,
    DatabaseError,
    InnomaintPipelineError,
    TransientSourceError,
)
from innomaint_pipeline.sources.customers.inbox import (
    Export,
    Nothing,
    StillGrowingError,
    TooLarge,
    tell_ahead,
)
from innomaint_pipeline.store.customers.applying import apply_list
from innomaint_pipeline.store.customers.lists import clean_up, find_list, save_list
from innomaint_pipeline.store.customers.runs import (
    TOO_LARGE,
    close_run,
    find_run_since,
    load_next_due,
    load_run,
    note_attempt,
    note_stage,
    open_run,
)
from innomaint_pipeline.store.database import Connection, Database, find_now
from innomaint_pipeline.store.leases import release_lease, renew_lease, report_progress
from innomaint_pipeline.store.settings import load_setting, save_setting
from innomaint_pipeline.sync.customers.judging import (
    check_list,
    class_of,
    describe_failed,
    describe_known,
    exit_code_of,
    find_oversize,
    is_transient,
    name_rejection,
)
from innomaint_pipeline.sync.event_loop import run_in_thread
from innomaint_pipeline.sync.holding import Claim, LeaseWatch, hold_lease

logger = logging.getLogger(__name__)

_PROGRESS_SECONDS = 0.5
_PRIVATE = 0o700

Arrival = Export | Nothing | TooLarge
Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Kept:
    """Where copies of lists are kept, and for how many days they, and deleted customers, are."""

    folder: Path
    days: int = 30
    deleted_days: int = 365


@dataclass(frozen=True)
class ListRun:
    """What a run works with.

    `fetch` copies the newest list into a folder and returns it, or why there is none; `read` reads a copy. A
    run that `asked_at` names reports one that ended since instead of beginning; with `is_due_only` it begins
    only where the next one is due. `is_chosen`: a person named the file. `waits_seconds` lie between
    attempts.
    """

    database: Database
    run_id: str
    trigger: Trigger
    fetch: Callable[[Path], Coroutine[Any, Any, Arrival]]
    read: Callable[[Export, Progress], Coroutine[Any, Any, CustomerList]]
    guards: Guards
    kept: Kept
    parser_version: str
    asked_at: datetime | None = None
    is_due_only: bool = False
    is_chosen: bool = False
    is_cancelled: Callable[[], bool] = lambda: False
    waits_seconds: tuple[float, ...] = RETRY_WAITS_SECONDS
    wait: Callable[[float], None] = time.sleep

    def with_options(
        self, asked_at: datetime | None, is_cancelled: Callable[[], bool], *, is_due_only: bool = False
    ) -> ListRun:
        """Return the run as somebody asked for it."""
        return replace(self, asked_at=asked_at, is_cancelled=is_cancelled, is_due_only=is_due_only)


@dataclass(frozen=True)
class RunReport:
    """The row of a run, what its checks found, and the figures of its list as far as it was read.

    `is_joined`: the row is that of another run, which did what was asked for.
    """

    row: dict[str, Any]
    findings: tuple[Finding, ...] = ()
    figures: dict[str, Any] = field(default_factory=dict)
    is_joined: bool = False

    @property
    def outcome(self) -> Outcome:
        """How the run ended."""
        return Outcome(self.row["outcome"])

    @property
    def exit_code(self) -> int:
        """The exit code of the command."""
        return exit_code_of(self.row)


def sync_list(run: ListRun) -> RunReport | None:
    """Read the newest list and apply what changed; None where another run works, or nothing is due.

    Raises what ended a failed run, after its row was closed: four attempts for what may pass by itself.
    """
    for number, wait in enumerate((*run.waits_seconds, None), start=1):
        try:
            return _hold(run, number, wait)
        except (TransientSourceError, DatabaseError) as error:
            if wait is None or not is_transient(error):
                raise
            logger.warning("the customer list is tried again in %g s: %s", wait, error)
            _pause(run, wait)
    raise AssertionError("the last attempt has no wait behind it")


def _pause(run: ListRun, seconds: float) -> None:
    try:
        run.wait(seconds)
    except BaseException as error:
        _close_failed(run, error)
        _give_up_lease(run)
        raise


def _give_up_lease(run: ListRun) -> None:
    """End the lease that was kept for the next attempt, so that nobody waits until it expires."""
    try:
        with run.database.begin() as connection:
            release_lease(connection, SYNC_LEASE, run.run_id)
    except DatabaseError as error:
        logger.warning("the lease of the customer list could not be given back: %s", error)


def _hold(run: ListRun, number: int, wait: float | None) -> RunReport | None:
    claim = Claim(run.database, SYNC_LEASE, run.run_id, run.is_cancelled, repeat_after_seconds=wait)
    with hold_lease(claim, is_last_step=True) as watch:
        if watch is None:
            return None
        attempt = _Attempt(run, watch)
        try:
            if attempt.is_known():
                attempt.repeat(number)
            else:
                found = attempt.begin()
                if not attempt.has_begun:
                    return found
            return attempt.carry_out()
        except BaseException as error:
            if wait is None or not isinstance(error, Exception) or not is_transient(error):
                report = _close_failed(run, error)
                if isinstance(error, StillGrowingError) and report is not None:
                    return report
            raise
        finally:
            _clean_up(run)


def _close_failed(run: ListRun, error: BaseException) -> RunReport | None:
    """Write how a run ended without a result; a database that is away leaves the row to the next run."""
    word = class_of(error)
    outcome = Outcome.CANCELLED if word == "cancelled" else Outcome.FAILED
    message = str(error) if isinstance(error, InnomaintPipelineError) else type(error).__name__
    if outcome is Outcome.CANCELLED:
        message = "ended by a person or a signal; nothing of the list was applied"
    if isinstance(error, StillGrowingError):
        outcome, word = Outcome.SKIPPED, None
    try:
        with run.database.begin() as connection:
            row = close_run(connection, run.run_id, outcome, error_class=word, error_message=message)
    except DatabaseError as second:
        logger.warning("how the run ended could not be written: %s", second)
        return None
    return RunReport(row) if row else None


def _clean_up(run: ListRun) -> None:
    try:
        with run.database.begin() as connection:
            clean_up(connection, keep_days=run.kept.days, keep_deleted_days=run.kept.deleted_days)
        delete_old_copies(run.kept, now=time.time())
    except (DatabaseError, OSError) as error:
        logger.warning("what is kept no longer could not be deleted: %s", error)


def delete_old_copies(kept: Kept, *, now: float) -> None:
    """Delete the copies of lists, and what a killed run left behind, that are older than they are kept."""
    if not kept.folder.is_dir():
        return
    for path in kept.folder.iterdir():
        if path.is_file() and path.stat().st_ctime < now - kept.days * 86_400:
            path.unlink(missing_ok=True)


def is_expired(received_at: datetime, kept: Kept) -> bool:
    """Tell whether a list was read so long ago that its copy is not kept any more."""
    return received_at < datetime.now(UTC) - timedelta(days=kept.days)


def await_result(
    work: Callable[[], Coroutine[Any, Any, Any]], check: Callable[[], None] = lambda: None
) -> Any:
    """Return the result of a coroutine, which what `check` raises ends, as an interrupt does."""
    found: list[Any] = []

    async def collect() -> None:
        found.append(await work())

    run_in_thread(collect(), check)
    return found[0]


def make_private(folder: Path) -> None:
    """Make the folder of copies, which its owner alone may read."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=_PRIVATE)
        folder.chmod(_PRIVATE)
    except OSError as error:
        raise ConfigurationError(
            f"the folder {folder}, for copies of customer lists, cannot be made or kept private "
            f"({error.strerror}): it must be this user's own, below INNOMAINT_HOME"
        ) from None


class _Attempt:
    """One attempt of a run, under its lease."""

    def __init__(self, run: ListRun, watch: LeaseWatch) -> None:
        self._run = run
        self._watch = watch
        self._stage_ms: dict[str, int] = {}
        self._reported_at = 0.0
        self.has_begun = False

    def is_known(self) -> bool:
        """Tell whether the row of the run has begun; another run may have closed it since."""
        with self._run.database.begin() as connection:
            return load_run(connection, self._run.run_id) is not None

    def begin(self) -> RunReport | None:
        """Begin the row of the run, unless another has done what was asked for, or nothing is due."""
        run = self._run
        with run.database.begin() as connection:
            other = find_run_since(connection, run.asked_at) if run.asked_at else None
            if other is not None:
                return RunReport(other, is_joined=True)
            if run.is_due_only:
                due = load_next_due(connection, run.guards.interval_minutes, without=run.run_id)
                if due > find_now(connection):
                    return None
            open_run(connection, run.run_id, run.trigger)
        self.has_begun = True
        crash_points.reach("list: run opened")
        return None

    def repeat(self, number: int) -> None:
        """Note that the run tries again."""
        with self._run.database.begin() as connection:
            note_attempt(connection, self._run.run_id, attempts=number)
        self.has_begun = True

    @contextmanager
    def _stage(self, stage: Stage, **values: Any) -> Iterator[None]:
        self._watch.check()
        with self._run.database.begin() as connection:
            note_stage(connection, self._run.run_id, stage, self._stage_ms, **values)
        began = time.monotonic()
        try:
            yield
        finally:
            self._stage_ms[stage] = round((time.monotonic() - began) * 1000)

    def carry_out(self) -> RunReport:
        """Receive, parse, check and apply; return the closed row."""
        run = self._run
        with self._stage(Stage.RECEIVE):
            make_private(run.kept.folder)
            arrival = await_result(lambda: run.fetch(run.kept.folder), self._watch.check)
        crash_points.reach("list: file copied")
        if isinstance(arrival, Nothing):
            return self._skip(arrival.reason)
        if isinstance(arrival, TooLarge):
            return self._refuse_size(arrival)
        if arrival.passed_over:
            logger.warning("%s is read%s", arrival.name, tell_ahead(arrival.passed_over))
        with run.database.begin() as connection:
            known = find_list(connection, arrival.sha256)
        if known is not None and not (run.is_chosen and known.is_refused_for_bounds):
            if is_expired(known.received_at, run.kept):
                # Its file still lies in the inbox; how long a copy is kept is told by when it was read.
                arrival.path.unlink(missing_ok=True)
            return self._skip(describe_known(arrival, known), sha256=arrival.sha256)
        with self._stage(Stage.PARSE, sha256=arrival.sha256):
            content = await_result(lambda: run.read(arrival, self._report), self._watch.check)
        crash_points.reach("list: file read")
        with self._stage(Stage.CHECK, rows=len(content.rows)):
            self._report(0, content.count)
            findings = check_list(run.database, arrival, content, run.guards)
        crash_points.reach("list: checks made")
        if not all(item.passed for item in findings):
            return self._reject(arrival, content, findings)
        with self._stage(Stage.APPLY):
            return self._apply(arrival, content, findings)

    def _report(self, done: int, total: int | None) -> None:
        """Note how many customers are dealt with, twice a second at most."""
        now = time.monotonic()
        if now - self._reported_at < _PROGRESS_SECONDS and done != total:
            return
        self._reported_at = now
        with self._run.database.begin() as connection:
            report_progress(connection, SYNC_LEASE, self._run.run_id, total=total or 0, done=done)

    def _skip(self, reason: str, **values: Any) -> RunReport:
        with self._run.database.begin() as connection:
            row = self._close(connection, Outcome.SKIPPED, error_message=reason, **values)
        return _ended(row)

    def _close(self, connection: Connection, outcome: Outcome, **values: Any) -> dict[str, Any]:
        """Close the run's row in the transaction of what it has done, and return it."""
        given = {"stage": Stage.DONE, "stage_ms": self._stage_ms, **values}
        return close_run(connection, self._run.run_id, outcome, **given)

    def _refuse_size(self, found: TooLarge) -> RunReport:
        """Reject a file that is too large, once: it has no hash by which it could be known again."""
        seen = {"name": found.name, "size": found.size, "time": found.file_time.isoformat()}
        finding = find_oversize(found)
        with self._run.database.begin() as connection:
            is_known = load_setting(connection, SOURCE, TOO_LARGE) == seen
            save_setting(connection, SOURCE, TOO_LARGE, seen)
        if is_known:
            return self._skip(finding.message)
        with self._run.database.begin() as connection:
            row = self._close(
                connection,
                Outcome.REJECTED,
                error_class=finding.check,
                error_message=describe_failed((finding,)),
            )
        return _ended(row, (finding,))

    def _reject(self, export: Export, content: CustomerList, findings: tuple[Finding, ...]) -> RunReport:
        """Put the list into quarantine and close the run."""
        failed = tuple(item for item in findings if not item.passed)
        with self._run.database.begin() as connection:
            self._save(connection, export, content, findings, is_accepted=False)
            row = self._close(
                connection,
                Outcome.REJECTED,
                error_class=name_rejection(export, failed),
                error_message=describe_failed(failed),
            )
        return _ended(row, findings, _figures(export, content))

    def _apply(self, export: Export, content: CustomerList, findings: tuple[Finding, ...]) -> RunReport:
        """Apply the list and close the run in one transaction: both are there, or neither."""
        run, began = self._run, time.monotonic()
        with run.database.begin() as connection:
            self._save(connection, export, content, findings, is_accepted=True)
            delta = apply_list(
                connection,
                export.sha256,
                content.rows,
                export.exported_at,
                run.guards,
                run_id=run.run_id,
                on_progress=lambda done: self._report(done, content.count),
            )
            crash_points.reach("list: customers written")
            # At the end: whoever reports progress, or renews the lease, would wait for this transaction.
            if not renew_lease(connection, SYNC_LEASE, run.run_id):
                raise DatabaseError("the run has lost its lease: another one may have taken over")
            outcome = Outcome.CHANGED if delta.is_changed else Outcome.UNCHANGED
            self._stage_ms[Stage.APPLY] = round((time.monotonic() - began) * 1000)
            row = self._close(connection, outcome, **delta.counts())
        return _ended(row, findings, {**_figures(export, content), "held": len(delta.held)})

    def _save(
        self,
        connection: Connection,
        export: Export,
        content: CustomerList,
        findings: tuple[Finding, ...],
        *,
        is_accepted: bool,
    ) -> None:
        save_list(
            connection,
            export.sha256,
            export.exported_at,
            content,
            findings,
            parser_version=self._run.parser_version,
            is_accepted=is_accepted,
        )


def _ended(
    row: dict[str, Any], findings: tuple[Finding, ...] = (), figures: dict[str, Any] | None = None
) -> RunReport:
    crash_points.reach("list: run closed")
    return RunReport(row, findings, figures or {})


def _figures(export: Export, content: CustomerList) -> dict[str, Any]:
    return {
        "sha256": export.sha256,
        "exported_at": export.exported_at.isoformat(),
        "count": content.count,
        "rows": len(content.rows),
        "pages": content.pages,
        "cycle_pages": content.cycle_pages,
        "sums": {name: float(value) for name, value in content.sums.items()},
        "unknown_headers": list(content.unknown_headers),
    }
