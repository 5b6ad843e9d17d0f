"""One pass of requests over CMMS assets, its answers stored as they come (docs/how-it-works.md).

Belongs here: the loop between a client and the store. Which CMMS assets, and what follows, is decided by
`sync.innomaint.steps`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from innomaint_pipeline import crash_points
from innomaint_pipeline.domain.innomaint import SOURCE
from innomaint_pipeline.domain.innomaint.batches import lease_name
from innomaint_pipeline.domain.states import ErrorClass
from innomaint_pipeline.errors import AuthError, DatabaseError
from innomaint_pipeline.sources.outcomes import RequestFailure, RequestSuccess
from innomaint_pipeline.store.database import Connection, find_now
from innomaint_pipeline.store.innomaint.responses import NewAnswer, mark_enriched, save_answers
from innomaint_pipeline.store.innomaint.states import Failure, Target, clear_contract_errors, mark_failed
from innomaint_pipeline.store.leases import report_progress
from innomaint_pipeline.store.rows import write_splitting
from innomaint_pipeline.store.settings import AUTH_REFUSED_AT, clear_setting, save_setting
from innomaint_pipeline.sync.event_loop import run_in_thread
from innomaint_pipeline.sync.innomaint.batch import BatchRun, tell_refusals

if TYPE_CHECKING:
    from innomaint_pipeline.sources.innomaint import InnomaintClient

_FLUSH_SECONDS = 0.5
_FLUSH_ROWS = 100

OpenClient: TypeAlias = "Callable[[str], AbstractAsyncContextManager[InnomaintClient]]"
"""Opens a client whose requests are paced for the run of the given id."""


@dataclass
class PassReport:
    """What one pass did; `requests` counts every request sent."""

    asked: int = 0
    stored: int = 0
    failed: int = 0
    requests: int = 0
    duration_seconds: float = 0.0
    failed_by_class: dict[str, int] = field(default_factory=dict)


@dataclass
class _Recorder:
    """Collects results and writes them, many a statement."""

    run: BatchRun
    targets: dict[str, Target]
    report: PassReport
    answers: list[NewAnswer] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    also_transient: set[str] = field(default_factory=set)
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def record(self, cmms_asset_id: str, result: RequestSuccess | RequestFailure) -> None:
        target = self.targets[cmms_asset_id]
        self.report.asked += 1
        self.report.requests += result.attempts
        if isinstance(result, RequestSuccess):
            issues = tuple(
                {"field": issue.field, "raw_value": issue.raw_value, "reason": issue.reason}
                for issue in result.value.issues
            )
            self.answers.append(
                NewAnswer(
                    target.asset_id,
                    result.value.body_json,
                    result.value.body_hash,
                    result.attempts,
                    result.duration_ms,
                    issues,
                )
            )
        else:
            self.also_transient.update(result.also_transient)
            self.failures.append(
                Failure(
                    target,
                    result.error_class,
                    result.message,
                    result.http_status,
                    result.attempts,
                    result.duration_ms,
                )
            )
        if len(self.answers) + len(self.failures) >= _FLUSH_ROWS:
            await self.flush()

    async def flush(self) -> None:
        async with self.writing:
            answers, self.answers = self.answers, []
            failures, self.failures = self.failures, []
            if answers or failures:
                try:
                    await _to_its_end(asyncio.to_thread(self._write, answers, failures.copy()))
                except DatabaseError:
                    # The last flush tries once more: a lost connection need not cost what has arrived.
                    self.answers, self.failures = answers + self.answers, failures + self.failures
                    raise

    def _write(self, answers: Sequence[NewAnswer], failures: list[Failure]) -> None:
        crash_points.reach("store: answers at hand")
        by_asset = {target.asset_id: target for target in self.targets.values()}

        def refuse(answer: NewAnswer, reason: str) -> None:
            message = f"the database refuses the answer: {reason}"
            failures.append(
                Failure(
                    by_asset[answer.asset_id],
                    ErrorClass.DATA,
                    message,
                    200,
                    answer.attempts,
                    answer.duration_ms,
                )
            )

        def save(connection: Connection, chunk: Sequence[NewAnswer]) -> None:
            save_answers(connection, chunk, run_id=self.run.run_id)
            crash_points.reach("store: answers written")

        stored = write_splitting(self.run.database, answers, save, refuse)
        crash_points.reach("store: answers committed")
        with self.run.database.begin() as connection:
            if failures:
                # An older answer, left by a killed run, would make a success of the newer failure. Answers
                # are locked before states, by everybody.
                mark_enriched(connection, [failure.target.asset_id for failure in failures])
                refused = mark_failed(connection, failures, run_id=self.run.run_id)
                tell_refusals(refused, "innomaint_sync_state")
                clear_contract_errors(connection, self.also_transient)
            report_progress(
                connection,
                lease_name(self.run.batch_key),
                self.run.run_id,
                total=len(self.targets),
                done=self.report.asked,
            )
            if stored:
                # Whoever got an answer was let in, however the run ends.
                clear_setting(connection, SOURCE, AUTH_REFUSED_AT)
            crash_points.reach("store: failures written")
        crash_points.reach("store: failures committed")
        self.report.stored += stored
        self.report.failed += len(failures)
        for failure in failures:
            count = self.report.failed_by_class.get(failure.error_class, 0)
            self.report.failed_by_class[failure.error_class] = count + 1


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Await work to its end, even when cancelled: work that waits for a thread would be dropped unwritten."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        task.result()
        raise


def fetch_targets(
    run: BatchRun,
    targets: Sequence[Target],
    open_client: OpenClient,
    check: Callable[[], None],
    *,
    is_bulk: bool,
) -> PassReport:
    """Ask for each target and store what comes; an empty list of targets sends nothing.

    Never raises for a single CMMS asset. Raises `SourceRefusedError`, `DatabaseError`, and what `check`
    raises, which is asked now and then whether to go on; each after what had arrived was stored.
    """
    report = PassReport()
    if not targets:
        return report
    recorder = _Recorder(run, {target.cmms_asset_id: target for target in targets}, report)
    began = time.monotonic()
    if is_bulk:
        with run.database.begin() as connection:
            report_progress(connection, lease_name(run.batch_key), run.run_id, total=len(targets), done=0)
    try:
        run_in_thread(_ask_all(recorder, open_client, is_bulk=is_bulk), check)
    except AuthError:
        with run.database.begin() as connection:
            moment = find_now(connection).isoformat(timespec="seconds")
            save_setting(connection, SOURCE, AUTH_REFUSED_AT, moment)
        raise
    finally:
        report.duration_seconds = time.monotonic() - began
    return report


async def _ask_all(recorder: _Recorder, open_client: OpenClient, *, is_bulk: bool) -> None:
    async def flush_now_and_then() -> None:
        while True:
            await asyncio.sleep(_FLUSH_SECONDS)
            await recorder.flush()

    async def ask() -> None:
        async with open_client(recorder.run.run_id) as client:
            await client.fetch_details(recorder.targets, recorder.record, is_bulk=is_bulk)

    asking = asyncio.create_task(ask())
    flushing = asyncio.create_task(flush_now_and_then())
    try:
        await asyncio.wait({asking, flushing}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (asking, flushing):
            task.cancel()
        await asyncio.wait({asking, flushing})
        await recorder.flush()
    for task in (flushing, asking):
        if not task.cancelled():
            task.result()
