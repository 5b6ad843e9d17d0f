"""Carrying out what people asked the admin service for: `requested_syncs` (spec 04, "HTTP").

Thin: what becomes of a batch is `domain.requests`'s decision, from Dagster's runs, which carry the request's
id as a tag, and from the tables. Nothing is remembered between two looks: whatever is restarted in between,
the next look finds the same runs.
"""

import time
from collections.abc import Sequence
from dataclasses import replace

import dagster as dg

from innomaint_pipeline.defs.failures import find_stop
from innomaint_pipeline.defs.innomaint.assets import selection_run_config, sync_batch
from innomaint_pipeline.defs.innomaint.partitions import register_batches
from innomaint_pipeline.defs.recovery import find_batches_in_runs, report_lost_runs
from innomaint_pipeline.defs.resources import Ic3DatabaseResource
from innomaint_pipeline.domain.innomaint.launches import BATCHES_IN_FLIGHT
from innomaint_pipeline.domain.requests import RequestState, RunSeen, Step, Verdict, decide_batch
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.innomaint.batch_rows import find_row_statuses
from innomaint_pipeline.store.leases import find_leases
from innomaint_pipeline.store.requests import (
    AskedBatch,
    AskedRequest,
    close_request,
    find_open,
    note_look,
    save_progress,
)
from innomaint_pipeline.sync.innomaint.batch import Selection

REQUEST_TAG = "innomaint/request"
_PARTITION_TAG = "dagster/partition"
_REPEATED_TAG = "dagster/will_retry"
# A person waits: before what continuous sync has queued.
_PRIORITY = {"dagster/priority": "5"}
_BEAT_SECONDS = 3


@dg.sensor(
    job=sync_batch,
    name="requested_syncs",
    minimum_interval_seconds=_BEAT_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Carries out what people asked the admin service for: a run for each batch, three at a time for "
        "each request, again where a run was lost; also while continuous sync is paused."
    ),
)
def requested_syncs(
    context: dg.SensorEvaluationContext, ic3: Ic3DatabaseResource
) -> dg.SensorResult | dg.SkipReason:
    """Launch, follow and close the open requests."""
    with ic3.open() as database:
        with database.begin() as connection:
            note_look(connection)
            requests = find_open(connection)
        if not requests:
            return dg.SkipReason("no request is open")
        report_lost_runs(context.instance, database, now=time.time())
        register_batches(context.instance, database)
        look = _Look(context.instance, database)
        launches = [launch for request in requests for launch in look.follow(request)]
    words = f"{len(requests)} requests open, {len(launches)} runs launched"
    if not launches:
        return dg.SkipReason(words)
    context.log.info(words)
    return dg.SensorResult(run_requests=launches)


class _Look:
    """One look at the open requests; a batch is launched for one of them at a time."""

    def __init__(self, instance: dg.DagsterInstance, database: Database) -> None:
        self._instance = instance
        self._database = database
        self._holders = find_batches_in_runs(instance)
        with database.begin() as connection:
            self._holders |= {lease.batch_key: lease.owner for lease in find_leases(connection)}

    def follow(self, request: AskedRequest) -> list[dg.RunRequest]:
        """Note how far a request is, close it when it is done, and return the runs to launch."""
        runs = self._find_runs(request)
        verdicts = {batch.batch_key: self._decide(batch, runs[batch.batch_key]) for batch in request.batches}
        batches = [
            _as_decided(batch, verdicts[batch.batch_key], runs[batch.batch_key]) for batch in request.batches
        ]
        in_flight = sum(any(not run.is_finished for run in found) for found in runs.values())
        stop = next((verdict for verdict in verdicts.values() if verdict.stop_code is not None), None)
        request.stop_code = stop.stop_code if stop else None
        is_done = all(verdict.step is Step.CLOSE for verdict in verdicts.values())
        launch = []
        if stop is None:
            wanted = [key for key, verdict in verdicts.items() if verdict.step is Step.LAUNCH]
            launch = wanted[: max(BATCHES_IN_FLIGHT - in_flight, 0)]
        changed = [new for old, new in zip(request.batches, batches, strict=True) if new != old]
        request.batches = batches
        with self._database.begin() as connection:
            save_progress(
                connection,
                request.id,
                changed,
                state=RequestState.RUNNING
                if any(batch.run_ids for batch in batches)
                else RequestState.WAITING,
                message=None,
                stop_code=request.stop_code,
            )
            if is_done or (stop is not None and in_flight == 0):
                close_request(connection, request, message=_reason(verdicts, stop))
        self._holders |= dict.fromkeys(launch, "a run launched just now")
        return [self._launch(request, key, len(runs[key])) for key in launch]

    def _find_runs(self, request: AskedRequest) -> dict[str, list[RunSeen]]:
        """Return the runs made for a request by batch, oldest first, those that Dagster repeats included."""
        records = self._instance.get_run_records(
            filters=dg.RunsFilter(tags={REQUEST_TAG: str(request.id)}), ascending=True
        )
        with self._database.begin() as connection:
            rows = find_row_statuses(connection, [record.dagster_run.run_id for record in records])
        found: dict[str, list[RunSeen]] = {batch.batch_key: [] for batch in request.batches}
        for record in records:
            key = record.dagster_run.tags.get(_PARTITION_TAG, "")
            if key in found:
                found[key].append(self._see(record, rows.get(record.dagster_run.run_id)))
        return found

    def _see(self, record: dg.RunRecord, row_status: str | None) -> RunSeen:
        run = record.dagster_run
        seen = RunSeen(run.run_id, is_finished=run.is_finished, row_status=row_status)
        if not run.is_finished:
            return seen
        if run.status is dg.DagsterRunStatus.SUCCESS:
            return replace(seen, is_success=True)
        entries = self._instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
        events = [entry.dagster_event for entry in entries if entry.dagster_event is not None]
        stop_code, message, is_of_assets = find_stop(events)
        return replace(
            seen,
            is_ended_by_person=run.status is dg.DagsterRunStatus.CANCELED,
            is_repeated_by_dagster=run.tags.get(_REPEATED_TAG) == "true",
            ended_seconds_ago=time.time() - (record.end_time or 0.0),
            stop_code=stop_code,
            message=message,
            is_of_assets=is_of_assets,
        )

    def _decide(self, batch: AskedBatch, runs: Sequence[RunSeen]) -> Verdict:
        holder = self._holders.get(batch.batch_key)
        is_other = holder is not None and holder not in {run.run_id for run in runs}
        return decide_batch(runs, held_by=holder if is_other else None)

    @staticmethod
    def _launch(request: AskedRequest, batch_key: str, number: int) -> dg.RunRequest:
        names = next(batch.cmms_asset_ids for batch in request.batches if batch.batch_key == batch_key)
        return dg.RunRequest(
            # A daemon that dies after this look repeats it: the same run is not launched twice.
            run_key=f"request-{request.id}-{batch_key}-{number}",
            partition_key=batch_key,
            run_config=selection_run_config(Selection(names, request.asked_before)),
            tags={"innomaint/started_by": request.asked_by, REQUEST_TAG: str(request.id), **_PRIORITY},
        )


def _as_decided(batch: AskedBatch, verdict: Verdict, runs: Sequence[RunSeen]) -> AskedBatch:
    if verdict.step is Step.CLOSE:
        state = RequestState.DONE if verdict.is_good else RequestState.FAILED
    else:
        state = RequestState.RUNNING if runs and not runs[-1].is_finished else RequestState.WAITING
    return replace(batch, state=state, run_ids=tuple(run.run_id for run in runs), message=verdict.message)


def _reason(verdicts: dict[str, Verdict], stop: Verdict | None) -> str | None:
    """Return why a request failed, None when it did not."""
    if stop is not None:
        return stop.message
    bad = {key: verdict for key, verdict in verdicts.items() if not verdict.is_good}
    if not bad:
        return None
    key, first = next(iter(bad.items()))
    return f"{len(bad)} of {len(verdicts)} batches failed; {key}: {first.message}"
