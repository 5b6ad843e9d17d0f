"""The three steps of a batch run: fetch, enrich, settle (docs/how-it-works.md).

Belongs here: what one run does, without Dagster: it takes a source and a store and returns reports. Each step
is repeatable; a run whose batch another run works on does nothing and says so (`is_leased_elsewhere`).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from innomaint_pipeline import crash_points
from innomaint_pipeline.domain.documents import DataIssue, load_json
from innomaint_pipeline.domain.innomaint.batches import lease_name
from innomaint_pipeline.domain.innomaint.detail import parse_detail
from innomaint_pipeline.domain.innomaint.stops import Stop, StopCause, describe_failures, describe_stop
from innomaint_pipeline.domain.states import ErrorClass
from innomaint_pipeline.errors import BreakerOpenError, DatabaseError, RefusedRowError, SelectionError
from innomaint_pipeline.store.database import Connection, find_now
from innomaint_pipeline.store.innomaint.batch_rows import save_batch_row
from innomaint_pipeline.store.innomaint.enriched import (
    ENRICHED_TABLES,
    ParsedAnswer,
    count_rows,
    stamp_synced,
    write_details,
    write_volatile,
)
from innomaint_pipeline.store.innomaint.misfits import save_issues, save_unknown_fields
from innomaint_pipeline.store.innomaint.outcome_log import log_outcomes
from innomaint_pipeline.store.innomaint.responses import (
    StoredAnswer,
    load_answers,
    lock_current,
    mark_enriched,
)
from innomaint_pipeline.store.innomaint.states import (
    FailedAsset,
    Failure,
    RunCounts,
    Target,
    count_batch,
    count_failed,
    count_run,
    find_failed,
    find_left_over,
    find_strangers,
    find_targets,
    has_failed,
    mark_failed,
    mark_synced,
)
from innomaint_pipeline.store.leases import release_lease
from innomaint_pipeline.store.rows import write_splitting
from innomaint_pipeline.sync.holding import hold_lease
from innomaint_pipeline.sync.innomaint.batch import BatchRun, tell_refusals
from innomaint_pipeline.sync.innomaint.fetching import OpenClient, PassReport, fetch_targets

logger = logging.getLogger(__name__)

_PAGE_ROWS = 500
_SHOWN_STRANGERS = 10


@dataclass
class EnrichReport:
    """What enriching did; `success` includes `unchanged`.

    By table: `rows_written`, and `rows_held`, how many rows belong to the batch's CMMS assets now. `unlogged`
    says, by CMMS asset id, why ic3_sync_log lacks their rows; the batch's next run writes them.
    """

    success: int = 0
    unchanged: int = 0
    failed: int = 0
    data_issues: int = 0
    rows_written: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ENRICHED_TABLES, 0))
    rows_held: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ENRICHED_TABLES, 0))
    new_unknown_fields: list[str] = field(default_factory=list)
    unlogged: dict[str, str] = field(default_factory=dict)
    is_leased_elsewhere: bool = False


@dataclass(frozen=True)
class FetchReport:
    """What fetching did: of `selected` CMMS assets of the batch `passed` tells about those asked for."""

    selected: int
    passed: PassReport
    is_leased_elsewhere: bool = False


@dataclass(frozen=True)
class SettleReport:
    """The end of a batch run.

    `remaining` are the batch's failed CMMS assets whose class is worth retrying: while there are any, the
    batch has not succeeded. `stop` is what the batch's row says of why it is not complete. `unlogged` is what
    the database refuses of ic3_sync_log, by CMMS asset id, `row_refused` why it refuses the batch's row.
    """

    total: int
    counts: RunCounts
    status: str
    second_pass: PassReport
    remaining: tuple[FailedAsset, ...]
    is_leased_elsewhere: bool = False
    stop: Stop | None = None
    unlogged: Mapping[str, str] = field(default_factory=dict)
    row_refused: str | None = None

    @property
    def skipped(self) -> int:
        """CMMS assets of the selection that were not asked for."""
        return max(self.total - self.counts.success - self.counts.failed, 0)


NOTHING = RunCounts(0, 0, 0)


def fetch_batch(
    run: BatchRun, open_client: OpenClient, timezone: ZoneInfo, *, is_last_step: bool
) -> FetchReport:
    """Ask for the batch's CMMS assets of the selection and store the raw answers.

    Never fails for single CMMS assets. Raises `SourceRefusedError`, `DatabaseError`, `RunCancelledError`:
    what had arrived is stored and, where the database is there, enriched; the step may be repeated. Raises
    `SelectionError` where the batch, or a CMMS asset of the selection in it, is not there.
    """
    _refuse_strangers(run)
    with hold_lease(run.claim, is_last_step=is_last_step) as watch:
        if watch is None:
            return FetchReport(0, PassReport(), is_leased_elsewhere=True)
        crash_points.reach("fetch: lease taken")
        with run.database.begin() as connection:
            tell_refusals(log_outcomes(connection, run.batch_key, run_id=run.run_id), "ic3_sync_log")
            selected = count_batch(connection, run.batch_key, run.selection.cmms_asset_ids)
            targets = find_targets(
                connection,
                run.batch_key,
                run_id=run.run_id,
                cmms_asset_ids=run.selection.cmms_asset_ids,
                asked_before=run.selection.asked_before,
            )
        crash_points.reach("fetch: targets found")
        with _enriched_when_stopped(run, timezone):
            passed = fetch_targets(run, targets, open_client, watch.check, is_bulk=True)
        with run.database.begin() as connection:
            unlogged = log_outcomes(connection, run.batch_key, is_final_only=not is_last_step)
            tell_refusals(unlogged, "ic3_sync_log")
        crash_points.reach("fetch: failures logged")
        return FetchReport(selected, passed)


def _refuse_strangers(run: BatchRun) -> None:
    """Raise `SelectionError` for a batch without a CMMS asset and for ids that are not of the batch."""
    names = run.selection.cmms_asset_ids
    with run.database.begin() as connection:
        is_there = count_batch(connection, run.batch_key, None) > 0
        strangers = find_strangers(connection, run.batch_key, names) if is_there and names else {}
    if not is_there:
        raise SelectionError(
            f"no CMMS asset is in batch {run.batch_key!r}: batches are named like batch_000001, and "
            "innomaint sync asks for all of them"
        )
    if strangers:
        shown = [f"{name!r} is {f'in {batch}' if batch else 'unknown'}" for name, batch in strangers.items()]
        more = f" and {len(shown) - _SHOWN_STRANGERS} more" if len(shown) > _SHOWN_STRANGERS else ""
        raise SelectionError(
            f"{len(shown)} of the {len(names)} CMMS assets asked for are not in {run.batch_key}: "
            f"{', '.join(shown[:_SHOWN_STRANGERS])}{more}. Nothing was asked for; correct the ids, or let "
            "innomaint sync --asset find their batches"
        )


@contextmanager
def arrived_enriched(run: BatchRun, timezone: ZoneInfo, asset_ids: Sequence[int]) -> Iterator[None]:
    """Enrich the stored answers of these CMMS assets after the block, however it ends."""
    with _enriched_when_stopped(run, timezone, asset_ids):
        yield
    _enrich_pending(run, timezone, EnrichReport(), asset_ids)


@contextmanager
def _enriched_when_stopped(
    run: BatchRun, timezone: ZoneInfo, asset_ids: Sequence[int] | None = None
) -> Iterator[None]:
    """Enrich what has arrived when the source or a person ends the block: nobody may come back soon."""
    try:
        yield
    except DatabaseError:
        raise
    except BaseException:
        try:
            _enrich_pending(run, timezone, EnrichReport(), asset_ids)
        except DatabaseError as error:
            # The answers are stored, and the error that matters is the one under way.
            logger.warning("%s: what has arrived is not enriched yet: %s", run.batch_key, error)
        raise


def enrich_batch(
    run: BatchRun,
    timezone: ZoneInfo,
    *,
    tables: Collection[str] = ENRICHED_TABLES,
    is_rebuild: bool,
    is_last_step: bool,
) -> EnrichReport:
    """Write the IC3 tables from stored answers, without a request.

    Answers not yet enriched are applied whole, each CMMS asset with its state, when all tables are chosen.
    `is_rebuild` writes the chosen tables once more from every stored answer of the batch; states stay as they
    are. Raises `SelectionError` where the batch is not there.
    """
    _refuse_strangers(run)
    with hold_lease(run.claim, is_last_step=is_last_step) as watch:
        if watch is None:
            return EnrichReport(is_leased_elsewhere=True)
        report = EnrichReport()
        if set(tables) == set(ENRICHED_TABLES):
            _enrich_pending(run, timezone, report)
        if is_rebuild:
            _rebuild(run, timezone, tables, report)
        with run.database.begin() as connection:
            if is_last_step:
                log_outcomes(connection, run.batch_key)
            report.rows_held = count_rows(connection, run.batch_key)
        return report


def _parse(answer: StoredAnswer, timezone: ZoneInfo) -> ParsedAnswer:
    detail = parse_detail(load_json(answer.body_json), timezone)
    cleaned = (DataIssue(**issue) for issue in answer.cleaning_issues)
    return ParsedAnswer(
        asset_id=answer.asset_id,
        cmms_asset_id=answer.cmms_asset_id,
        detail=detail,
        issues=(*cleaned, *detail.issues),
        body_hash=answer.body_hash,
        is_changed=answer.body_hash != answer.applied_hash,
        fetched_at=answer.fetched_at,
        run_id=answer.run_id,
        attempts=answer.attempts,
        duration_ms=answer.duration_ms,
        consecutive_failures=answer.consecutive_failures,
    )


def _enrich_pending(
    run: BatchRun, timezone: ZoneInfo, report: EnrichReport, asset_ids: Sequence[int] | None = None
) -> None:
    """Apply the stored answers of the batch, or of these CMMS assets of it, that are not enriched yet."""
    after = 0
    while True:
        with run.database.begin() as connection:
            page = load_answers(
                connection,
                run.batch_key,
                is_pending_only=True,
                after_asset_id=after,
                limit=_PAGE_ROWS,
                asset_ids=asset_ids,
            )
        if not page:
            return
        after = page[-1].asset_id
        failures: list[Failure] = []
        parsed: list[ParsedAnswer] = []
        for answer in page:
            try:
                parsed.append(_parse(answer, timezone))
            except Exception as error:  # our own fault with one answer must not stop the others
                logger.exception("enriching %r failed", answer.cmms_asset_id)
                failures.append(
                    _failure(answer, ErrorClass.INTERNAL, f"enriching failed: {type(error).__name__}")
                )

        def refuse(item: ParsedAnswer, reason: str, failures: list[Failure] = failures) -> None:
            message = f"the database refuses a value: {reason}"
            failures.append(_failure(item, ErrorClass.DATA, message))

        write_splitting(
            run.database, parsed, lambda connection, chunk: _apply(connection, chunk, run, report), refuse
        )
        crash_points.reach("enrich: committed")
        if failures:
            fetched_at = {answer.asset_id: answer.fetched_at for answer in page}
            with run.database.begin() as connection:
                given = {item.target.asset_id: fetched_at[item.target.asset_id] for item in failures}
                current = lock_current(connection, given, is_pending_only=True)
                failures = [item for item in failures if item.target.asset_id in current]
                refused = tell_refusals(
                    mark_failed(connection, failures, run_id=run.run_id), "innomaint_sync_state"
                )
                mark_enriched(connection, sorted(current))
            crash_points.reach("enrich: refusals committed")
            report.failed += len(failures) - len(refused)
        if len(page) < _PAGE_ROWS:
            return


def _failure(answer: StoredAnswer | ParsedAnswer, error_class: ErrorClass, message: str) -> Failure:
    target = Target(answer.asset_id, answer.cmms_asset_id, answer.consecutive_failures)
    return Failure(target, error_class, message, None, answer.attempts, answer.duration_ms)


def _still_current(
    connection: Connection, answers: Collection[ParsedAnswer], *, is_pending_only: bool
) -> list[ParsedAnswer]:
    """Return, locked, the answers that no newer one has replaced: a run and a sync at once may meet."""
    given = {item.asset_id: item.fetched_at for item in answers}
    current = lock_current(connection, given, is_pending_only=is_pending_only)
    return [item for item in answers if item.asset_id in current]


def _apply(
    connection: Connection, answers: Collection[ParsedAnswer], run: BatchRun, report: EnrichReport
) -> None:
    """Write everything of these CMMS assets in one transaction: all of each, or nothing."""
    answers = _still_current(connection, answers, is_pending_only=True)
    if not answers:
        return
    changed = [item for item in answers if item.is_changed]
    unchanged = [item for item in answers if not item.is_changed]
    written = write_details(connection, changed) if changed else {}
    if unchanged:
        count = write_volatile(connection, unchanged)
        written["ic3_asset_performance"] = written.get("ic3_asset_performance", 0) + count
    crash_points.reach("enrich: details written")
    stamp_synced(connection, answers)
    unlogged = mark_synced(
        connection,
        [
            {
                "asset_id": item.asset_id,
                "last_success_at": item.fetched_at,
                "response_hash": item.body_hash,
                "is_unchanged": not item.is_changed,
                "attempts": item.attempts,
                "duration_ms": item.duration_ms,
            }
            for item in answers
        ],
        run_id=run.run_id,
        refresh_minutes=run.refresh_minutes,
    )
    if mark_enriched(connection, [item.asset_id for item in answers]):
        reason = "a trigger of innomaint_response left out a row without an error"
        raise RefusedRowError(reason, reason=reason, is_certain=False)
    issues = save_issues(connection, changed, is_seen_again=True) if changed else 0
    issues += save_issues(connection, unchanged, is_seen_again=False) if unchanged else 0
    unknown = save_unknown_fields(connection, changed)
    crash_points.reach("enrich: states written")
    # Counted last: a transaction that fails raises before this.
    report.unlogged |= unlogged
    report.success += len(answers)
    report.unchanged += len(unchanged)
    report.data_issues += issues
    report.new_unknown_fields += unknown
    for table, count in written.items():
        report.rows_written[table] += count


def _rebuild(run: BatchRun, timezone: ZoneInfo, tables: Collection[str], report: EnrichReport) -> None:
    after = 0
    while True:
        with run.database.begin() as connection:
            page = load_answers(
                connection, run.batch_key, is_pending_only=False, after_asset_id=after, limit=_PAGE_ROWS
            )
        if not page:
            return
        after = page[-1].asset_id
        parsed: list[ParsedAnswer] = []
        for answer in page:
            try:
                parsed.append(_parse(answer, timezone))
            except Exception:  # our own fault with one answer must not stop the others
                logger.exception("rebuilding %r failed", answer.cmms_asset_id)
                report.failed += 1

        def write(connection: Connection, chunk: Collection[ParsedAnswer]) -> None:
            current = _still_current(connection, chunk, is_pending_only=False)
            for table, count in write_details(connection, current, tables).items():
                report.rows_written[table] += count

        def refuse(item: ParsedAnswer, reason: str) -> None:
            logger.warning(
                "%r was not rebuilt: the database refuses a value: %s",
                item.cmms_asset_id,
                reason,
            )
            report.failed += 1

        write_splitting(run.database, parsed, write, refuse)
        if len(page) < _PAGE_ROWS:
            return


def settle_batch(run: BatchRun, open_client: OpenClient, timezone: ZoneInfo) -> SettleReport:
    """Ask once more for what is left with a class worth retrying, enrich it, and write the batch's row.

    Asks for nothing while the breaker is open. The caller fails the batch when `remaining` is not empty.
    Raises `AuthError`, `RouteError`, `DatabaseError`, `RunCancelledError`; `SelectionError` as fetch does.
    """
    _refuse_strangers(run)
    with hold_lease(run.claim, is_last_step=True) as watch:
        if watch is None:
            return SettleReport(0, NOTHING, "", PassReport(), (), is_leased_elsewhere=True)
        names = run.selection.cmms_asset_ids
        with run.database.begin() as connection:
            left_over = find_left_over(connection, run.batch_key, run_id=run.run_id, cmms_asset_ids=names)
        crash_points.reach("settle: targets found")
        second_pass = PassReport()
        outage: BreakerOpenError | None = None
        try:
            with _enriched_when_stopped(run, timezone):
                second_pass = fetch_targets(run, left_over, open_client, watch.check, is_bulk=False)
        except BreakerOpenError as error:
            outage = error
            logger.warning("%s: %s", run.batch_key, error)
        crash_points.reach("settle: second pass stored")
        _enrich_pending(run, timezone, EnrichReport())
        crash_points.reach("settle: second pass enriched")
        with run.database.begin() as connection:
            remaining = tuple(find_failed(connection, batch_key=run.batch_key, is_retryable_only=True))
        closed = _close(run, has_remaining=bool(remaining), outage=outage)
        crash_points.reach("settle: batch row committed")
        return SettleReport(
            closed.total,
            closed.counts,
            closed.status,
            second_pass,
            remaining,
            stop=closed.stop,
            unlogged=closed.unlogged,
            row_refused=closed.row_refused,
        )


def close_failed_batch(run: BatchRun, error: BaseException) -> None:
    """Write the row of a batch run that ends unsettled, `failed` or `cancelled`, and end its lease."""
    _close(run, has_remaining=True, ended_by=error)


@dataclass(frozen=True)
class _Closed:
    """What the row of a batch run says."""

    total: int
    counts: RunCounts
    status: str
    stop: Stop | None
    unlogged: Mapping[str, str]
    row_refused: str | None


def _close(
    run: BatchRun,
    *,
    has_remaining: bool,
    outage: BreakerOpenError | None = None,
    ended_by: BaseException | None = None,
) -> _Closed:
    """Write the row: of a run that `ended_by` stopped, or of a settled one, be it during an `outage`."""
    with run.database.begin() as connection:
        unlogged = tell_refusals(log_outcomes(connection, run.batch_key), "ic3_sync_log")
        total = count_batch(connection, run.batch_key, run.selection.cmms_asset_ids)
        counts = count_run(connection, run.batch_key, run.run_id, run.selection.cmms_asset_ids)
        error = ended_by or outage
        if error is not None:
            stop = describe_stop(error, now=find_now(connection))
        else:
            stop = describe_failures(count_failed(connection, run.batch_key))
        if ended_by is not None:
            status = "cancelled" if stop and stop.cause is StopCause.CANCELLED else "failed"
        elif has_remaining and not counts.success and (outage or counts.failed == total):
            # A few that keep failing, asked for alone, are no failed batch: the others of it are synced.
            status = "failed"
        else:
            # Also of a run that had nothing to ask: the row tells of the batch.
            status = "partial" if has_failed(connection, run.batch_key) else "complete"
        row_refused = save_batch_row(
            connection,
            batch_key=run.batch_key,
            run_id=run.run_id,
            status=status,
            total=total,
            counts=counts,
            stop=stop if status != "complete" else None,
        )
        # With the row, so that at no moment a finished run holds its batch: a kill between would.
        release_lease(connection, lease_name(run.batch_key), run.run_id)
    if row_refused is not None:
        tell_refusals({run.batch_key: row_refused}, "cmms_sync_log")
    return _Closed(total, counts, status, stop if status != "complete" else None, unlogged, row_refused)
