"""Carrying out what people asked the admin service for, whatever kind of work it is.

Thin: what becomes of a part is `domain.requests`'s decision, from Dagster's runs, which carry the request's
id as a tag, and from the tables. Nothing is remembered between two looks: whatever is restarted in between,
the next look finds the same runs.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import dagster as dg
from dagster._core.events import RunFailureReason
from dagster._core.storage.tags import RUN_FAILURE_REASON_TAG

from innomaint_pipeline.defs.account import own_runs
from innomaint_pipeline.defs.failures import find_stop
from innomaint_pipeline.defs.recovery import REQUEST_TAG, RunsOfSource, find_partitions_in_runs
from innomaint_pipeline.defs.resources import look_at_database
from innomaint_pipeline.domain.requests import Outcome, RequestState, RunSeen, Step, Verdict, decide_part
from innomaint_pipeline.store.database import Connection, Database
from innomaint_pipeline.store.requests import (
    OpenRequest,
    RequestPart,
    close_request,
    find_open,
    note_look,
    save_progress,
)
from innomaint_pipeline.store.settings import find_not_begun

PART_TAG = "innomaint/request_part"
ROW_STATUS_TAG = "innomaint/row_status"
ROW_REFUSED_TAG = "innomaint/row_refused"
"""On a run whose row the database refused: what the row would say of its end, and why it was refused."""
_PARTITION_TAG = "dagster/partition"
_REPEATED_TAG = "dagster/will_retry"
# A person waits: before what goes on by itself.
_PRIORITY = {"dagster/priority": "5"}
_BEAT_SECONDS = 3


@dataclass(frozen=True)
class RunPlace:
    """Where the run of a part is launched: partition, job, assets (None: all)."""

    partition_key: str | None
    job_name: str
    asset_selection: Sequence[dg.AssetKey] | None = None


class RequestedWork(Protocol):
    """One kind of work that people ask for: how a part of it is run, and how its result is counted.

    `jobs` are those that its parts are run by; `parts_at_once` bounds the runs under way for one request.
    """

    kind: str
    jobs: Sequence[Any]
    runs: RunsOfSource
    parts_at_once: int

    def prepare(self, instance: dg.DagsterInstance, database: Database) -> None:
        """Make sure that every part has its partition."""
        ...

    def place_run(self, part: RequestPart) -> RunPlace:
        """Return where the run of a part is launched."""
        ...

    def build_run_config(self, request: OpenRequest, part: RequestPart) -> Mapping[str, Any]:
        """Return the run config of the run of a part."""
        ...

    def find_holders(self, connection: Connection) -> Mapping[str, str]:
        """Return the parts that are leased, with the run that holds each."""
        ...

    def find_row_statuses(self, connection: Connection, run_ids: Sequence[str]) -> Mapping[str, str]:
        """Return what each run that has ended has written of its end."""
        ...

    def count_result(self, connection: Connection, request: OpenRequest) -> Outcome:
        """Return the result of a request all of whose runs have ended."""
        ...


def build_requests_sensor(works: Sequence[RequestedWork]) -> dg.SensorDefinition:
    """Return the sensor that launches, follows and closes the open requests of every kind.

    One for all of them: a look costs the daemon and the code server far more than what it looks at.
    """

    @dg.sensor(
        jobs=[job for work in works for job in work.jobs],
        name="requested_work",
        minimum_interval_seconds=_BEAT_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Carries out what people asked the admin service for, of every source: a run for each part, "
            "three at a time for each request, again where a run was lost; also while a source is paused."
        ),
    )
    def follow_requests(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        launches: list[dg.RunRequest] = []
        is_any_open = False
        with look_at_database() as database:
            for work in works:
                with database.begin() as connection:
                    note_look(connection, work.kind)
                    requests = find_open(connection, work.kind)
                if not requests:
                    continue
                is_any_open = True
                work.prepare(context.instance, database)
                look = _Look(context.instance, database, work)
                found = [launch for request in requests for launch in look.follow(request)]
                context.log.info(f"{work.kind}: {len(requests)} requests open, {len(found)} runs launched")
                launches += found
        if not launches:
            words = "nothing is to be launched for the open requests" if is_any_open else "no request is open"
            return dg.SkipReason(words)
        return dg.SensorResult(run_requests=launches)

    return follow_requests


class _Look:
    """One look at the open requests; a part is launched for one of them at a time."""

    def __init__(self, instance: dg.DagsterInstance, database: Database, work: RequestedWork) -> None:
        self._instance = instance
        self._database = database
        self._work = work
        self._holders = find_partitions_in_runs(instance, work.runs)
        with database.begin() as connection:
            self._holders |= work.find_holders(connection)
            self._has_no_worker = find_not_begun(connection) is not None

    def follow(self, request: OpenRequest) -> list[dg.RunRequest]:
        """Note how far a request is, close it when it is done, and return the runs to launch."""
        runs = self._find_runs(request)
        verdicts = {part.part: self._decide(part, runs[part.part]) for part in request.parts}
        parts = [_as_decided(part, verdicts[part.part], runs[part.part]) for part in request.parts]
        in_flight = sum(any(not run.is_finished for run in found) for found in runs.values())
        stop = next((verdict for verdict in verdicts.values() if verdict.stop_code is not None), None)
        request.stop_code = stop.stop_code if stop else None
        is_done = all(verdict.step is Step.CLOSE for verdict in verdicts.values())
        launch: list[RequestPart] = []
        if stop is None:
            wanted = [part for part in parts if verdicts[part.part].step is Step.LAUNCH]
            room = self._work.parts_at_once - in_flight
            if self._has_no_worker:
                # One run waits for a worker, whoever launched it.
                room = 1 - len(self._holders)
            launch = wanted[: max(room, 0)]
        changed = [new for old, new in zip(request.parts, parts, strict=True) if new != old]
        request.parts = parts
        with self._database.begin() as connection:
            save_progress(
                connection,
                request.id,
                changed,
                state=RequestState.RUNNING if any(part.run_ids for part in parts) else RequestState.WAITING,
                message=None,
                stop_code=request.stop_code,
            )
            if is_done or (stop is not None and in_flight == 0):
                outcome = self._work.count_result(connection, request)
                close_request(connection, request, message=_reason(verdicts, stop), outcome=outcome)
        self._holders |= {part.part: "a run launched just now" for part in launch}
        return [self._launch(request, part, len(runs[part.part])) for part in launch]

    def _find_runs(self, request: OpenRequest) -> dict[str, list[RunSeen]]:
        """Return the runs made for a request by part, oldest first, those that Dagster repeats included."""
        records = self._instance.get_run_records(
            filters=own_runs(tags={REQUEST_TAG: str(request.id)}), ascending=True
        )
        with self._database.begin() as connection:
            run_ids = [record.dagster_run.run_id for record in records]
            rows = self._work.find_row_statuses(connection, run_ids)
        found: dict[str, list[RunSeen]] = {part.part: [] for part in request.parts}
        for record in records:
            tags = record.dagster_run.tags
            # Runs of an older version have the name of their part as their partition alone.
            key = tags.get(PART_TAG, tags.get(_PARTITION_TAG, ""))
            if key in found:
                found[key].append(self._see(record, rows.get(record.dagster_run.run_id)))
        return found

    def _see(self, record: dg.RunRecord, row_status: str | None) -> RunSeen:
        run = record.dagster_run
        row_status = row_status or run.tags.get(ROW_STATUS_TAG)
        seen = RunSeen(run.run_id, is_finished=run.is_finished, row_status=row_status)
        if not run.is_finished:
            return seen
        if run.status is dg.DagsterRunStatus.SUCCESS:
            return replace(seen, is_success=True)
        entries = self._instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
        events = [entry.dagster_event for entry in entries if entry.dagster_event is not None]
        stop_code, message, is_of_items = find_stop(events)
        return replace(
            seen,
            is_ended_by_person=run.status is dg.DagsterRunStatus.CANCELED,
            is_repeated_by_dagster=run.tags.get(_REPEATED_TAG) == "true",
            is_never_begun=run.tags.get(RUN_FAILURE_REASON_TAG) == RunFailureReason.START_TIMEOUT.value,
            ended_seconds_ago=time.time() - (record.end_time or 0.0),
            stop_code=stop_code,
            message=message,
            is_of_items=is_of_items,
        )

    def _decide(self, part: RequestPart, runs: Sequence[RunSeen]) -> Verdict:
        holder = self._holders.get(part.part)
        is_other = holder is not None and holder not in {run.run_id for run in runs}
        return decide_part(runs, held_by=holder if is_other else None)

    def _launch(self, request: OpenRequest, part: RequestPart, number: int) -> dg.RunRequest:
        place = self._work.place_run(part)
        return dg.RunRequest(
            # A daemon that dies after this look repeats it: the same run is not launched twice.
            run_key=f"request-{request.id}-{part.part}-{number}",
            job_name=place.job_name,
            partition_key=place.partition_key,
            asset_selection=place.asset_selection,
            run_config=dict(self._work.build_run_config(request, part)),
            tags={
                "innomaint/started_by": request.asked_by,
                REQUEST_TAG: str(request.id),
                PART_TAG: part.part,
                **_PRIORITY,
            },
        )


def _as_decided(part: RequestPart, verdict: Verdict, runs: Sequence[RunSeen]) -> RequestPart:
    if verdict.step is Step.CLOSE:
        state = RequestState.DONE if verdict.is_good else RequestState.FAILED
    else:
        state = RequestState.RUNNING if runs and not runs[-1].is_finished else RequestState.WAITING
    return replace(part, state=state, run_ids=tuple(run.run_id for run in runs), message=verdict.message)


def _reason(verdicts: dict[str, Verdict], stop: Verdict | None) -> str | None:
    """Return why a request failed, None when it did not."""
    if stop is not None:
        return stop.message
    bad = {key: verdict for key, verdict in verdicts.items() if not verdict.is_good}
    if not bad:
        return None
    key, first = next(iter(bad.items()))
    return f"{len(bad)} of {len(verdicts)} batches failed; {key}: {first.message}"
