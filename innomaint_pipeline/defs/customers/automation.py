"""What of the customer list runs by itself and on request, and what people are told."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from innomaint_pipeline.defs.account import own_runs
from innomaint_pipeline.defs.customers.assets import CUSTOMERS_RUNS, customers_sync, list_run_config
from innomaint_pipeline.defs.recovery import UNDER_WAY
from innomaint_pipeline.defs.requests import RequestedWork, RunPlace
from innomaint_pipeline.defs.resources import look_at_database
from innomaint_pipeline.domain.alerts import Condition
from innomaint_pipeline.domain.customers import SOURCE
from innomaint_pipeline.domain.customers.runs import (
    PART,
    SYNC_REQUESTS,
    Outcome,
    Trigger,
    judge_health,
    list_conditions,
)
from innomaint_pipeline.domain.health import Health
from innomaint_pipeline.domain.requests import Outcome as RequestOutcome
from innomaint_pipeline.settings import Settings, load_settings
from innomaint_pipeline.store.customers.runs import (
    find_lease,
    find_run_since,
    has_schema,
    load_facts,
    load_next_due,
    load_run,
    note_look,
)
from innomaint_pipeline.store.database import Connection, Database, find_now
from innomaint_pipeline.store.requests import OpenRequest, RequestPart, find_open
from innomaint_pipeline.store.settings import PAUSED, load_setting

_BEAT_SECONDS = 60


@dg.sensor(
    job=customers_sync,
    name="customers_due",
    minimum_interval_seconds=_BEAT_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Each minute it launches the reading of the customer list where the interval since the last start is "
        "over. It never touches the folder itself. Without CUSTOMERS_INBOX it does nothing."
    ),
)
def customers_due(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Launch what is due, without a run key: what failed must be launched again."""
    settings = load_settings()
    if settings.customers_inbox is None:
        return dg.SkipReason("CUSTOMERS_INBOX is not set: no customer list is read")
    with look_at_database() as database, database.begin() as connection:
        if not has_schema(connection):
            return dg.SkipReason("the database has no schema customers: run innomaint db upgrade")
        is_first = note_look(connection)
        if load_setting(connection, SOURCE, PAUSED):
            return dg.SkipReason("a person has paused it")
        due_at = load_next_due(connection, settings.customers_interval_minutes)
        is_due = due_at <= find_now(connection)
        is_held = find_lease(connection) is not None
    if not is_due or is_first:
        # The start of the program asks for a run itself, once everything is ready.
        words = "; the first look after a start or a sleep launches nothing" if is_first else ""
        return dg.SkipReason(f"the next run is due at {due_at.isoformat(timespec='seconds')}{words}")
    filters = own_runs(job_name=customers_sync.name, statuses=UNDER_WAY)
    if is_held or context.instance.get_runs(filters=filters, limit=1):
        return dg.SkipReason("a run is under way")
    return dg.RunRequest(
        run_config=list_run_config(trigger=Trigger.SCHEDULE.value, only_due=True),
        tags={"innomaint/started_by": "customers_due"},
    )


class _RequestedRun:
    """One run for a request, unless one that was under way has done what was asked for."""

    kind = SYNC_REQUESTS
    jobs: Sequence[Any] = (customers_sync,)
    runs = CUSTOMERS_RUNS
    parts_at_once = 1

    def prepare(self, instance: dg.DagsterInstance, database: Database) -> None:
        """Do nothing: the list has no partitions."""

    def place_run(self, part: RequestPart) -> RunPlace:
        """Return the job."""
        del part
        return RunPlace(None, customers_sync.name)

    def build_run_config(self, request: OpenRequest, part: RequestPart) -> Mapping[str, Any]:
        """Return why and since when the list is to be read."""
        del part
        return list_run_config(
            trigger=request.options.get("trigger", Trigger.MANUAL.value),
            asked_at=request.requested_at.isoformat(),
        )

    def find_holders(self, connection: Connection) -> Mapping[str, str]:
        """Return the run under way."""
        lease = find_lease(connection)
        return {PART: lease.owner} if lease else {}

    def find_row_statuses(self, connection: Connection, run_ids: Sequence[str]) -> Mapping[str, str]:
        """Return how each run has ended: by its own row, else by that of the run that did its work."""
        rows = {run_id: load_run(connection, run_id) for run_id in run_ids}
        found = {run_id: row["outcome"] for run_id, row in rows.items() if row and row["outcome"]}
        requests = find_open(connection, SYNC_REQUESTS)
        known = {run_id: request for request in requests for part in request.parts for run_id in part.run_ids}
        for run_id in run_ids:
            # One that no look has seen under way is of the newest request.
            request = known.get(run_id, requests[-1] if requests else None)
            other = find_run_since(connection, request.requested_at) if request else None
            if other is not None:
                found.setdefault(run_id, other["outcome"])
        return found

    def count_result(self, connection: Connection, request: OpenRequest) -> RequestOutcome:
        """Return which run did what was asked for, and how it ended."""
        row = find_run_since(connection, request.requested_at)
        if row is None:
            return RequestOutcome({}, "no run has ended since")
        is_bad = row["outcome"] in {Outcome.FAILED, Outcome.REJECTED, Outcome.CANCELLED}
        result = {"run_id": row["run_id"], "outcome": row["outcome"]}
        return RequestOutcome(result, row["error_message"] if is_bad else None)


REQUESTED_LISTS: RequestedWork = _RequestedRun()
"""The list, when the admin service or the start of the program asks for it."""


def load_customers_conditions(connection: Connection, settings: Settings) -> tuple[Health, list[Condition]]:
    """Return how the customer list is doing and what people are told; nothing where it is not read."""
    if settings.customers_inbox is None or not has_schema(connection):
        return Health.NOT_SET, []
    facts = load_facts(connection, settings.customers_interval_minutes)
    return judge_health(facts), list_conditions(facts)
