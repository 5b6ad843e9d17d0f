"""Runs that Dagster believes to be under way although nobody works on them any more.

A killed worker cannot report its end, and Dagster's own launcher cannot ask it. Its lease does tell: every
run, whatever it does, holds one under its own id, renewed every few seconds while its process lives. The run
monitoring of Dagster asks for it, and ends a run that nobody renews, which frees its slot and lets Dagster
launch it once more.

Belongs here: the executor that holds the lease, the launcher that judges by it and says on the pages of the
assets what became of the run, and whose runs are whose.
"""

import functools
import logging
import os
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any, Literal

import dagster as dg
from dagster._core.definitions.assets.job.asset_job import IMPLICIT_ASSET_JOB_NAME
from dagster._core.execution.context.system import PlanOrchestrationContext
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.in_process import InProcessExecutor
from dagster._core.launcher.base import CheckRunHealthResult, RunLauncher, WorkerStatus
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher
from dagster._core.storage.tags import MAX_RETRIES_TAG
from dagster._utils import send_interrupt

from innomaint_pipeline.defs.account import ACCOUNT, account_of_run, own_runs
from innomaint_pipeline.defs.failures import PARTITION_TAG, Explanation, find_explanation, observe_missing
from innomaint_pipeline.defs.resources import Ic3DatabaseResource, open_database_of
from innomaint_pipeline.errors import ConfigurationError, DatabaseError
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.leases import (
    RENEWAL_SECONDS,
    RUN_LEASES,
    find_gone_owners,
    has_lease_beside,
    is_owner_alive,
    remove_leases,
)
from innomaint_pipeline.store.settings import note_begun, note_not_begun, require_account
from innomaint_pipeline.sync.holding import keep_lease

logger = logging.getLogger(__name__)

# A run without a lease may be about to begin or to end: so long after its last event it is neither.
_SILENCE_SECONDS = 30.0
# An expired lease is looked at twice: after the database or the machine stood still, the living renew first.
_SECOND_LOOK_SECONDS = RENEWAL_SECONDS + 1.0
_LOST = Explanation(
    "lost",
    "The process of this run is gone, killed or cut off from the database: it holds no lease on its work any "
    "more. What it had stored is kept; the next run asks only for the rest.",
    "nothing: the work is repeated by itself; if that is lost, too, see whether the database was away, and "
    "look at the memory of the machine",
)
REQUEST_TAG = "innomaint/request"
"""On a run that was made for a request: the request's id."""
UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
"""The statuses of runs that have not ended."""
_CANCELLED = {dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED}


@dataclass(frozen=True)
class RunsOfSource:
    """The runs of one source: those of its jobs, and those that materialize its assets in the UI."""

    job_names: frozenset[str]
    asset_keys: frozenset[dg.AssetKey]

    def includes(self, run: dg.DagsterRun) -> bool:
        """Tell whether a run is one of them."""
        if run.job_name in self.job_names:
            return True
        # What a person selects in the UI runs in Dagster's own job, whichever source it belongs to.
        chosen: Collection[dg.AssetKey] = run.asset_selection or ()
        return run.job_name == IMPLICIT_ASSET_JOB_NAME and not self.asset_keys.isdisjoint(chosen)


def find_partitions_in_runs(instance: dg.DagsterInstance, runs: RunsOfSource) -> dict[str, str]:
    """Return the partitions of a source with a run queued or under way, with the run's id."""
    found = instance.get_runs(filters=own_runs(statuses=UNDER_WAY))
    return {
        run.tags[PARTITION_TAG]: run.run_id
        for run in found
        if PARTITION_TAG in run.tags and runs.includes(run)
    }


RunCloser = Callable[[Database, dg.DagsterRun, Explanation], None]
"""Notes in the tables of its source why a run ended that could not do so itself; leaves others' alone."""


class LeasedExecutor(InProcessExecutor):
    """Executes the steps of a run in its process, which holds the run's lease meanwhile."""

    def __init__(self, *, renewal_seconds: float = RENEWAL_SECONDS) -> None:
        super().__init__(retries=RetryMode.ENABLED)
        self._renewal_seconds = renewal_seconds

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        """Execute the steps; where no database to hold a lease in is set, each step says so itself."""
        with ExitStack() as stack:
            database = None
            with suppress(ConfigurationError):
                database = stack.enter_context(Ic3DatabaseResource().open())
            if database is not None:
                _refuse_foreign(database)
                run_id = plan_context.run_id
                stack.push(functools.partial(_give_back, database, run_id))
                wish = _CancelWish(plan_context.instance, database, run_id)
                lease = keep_lease(
                    database,
                    RUN_LEASES + run_id,
                    run_id,
                    on_lost=_end_this_process,
                    on_renewed=wish.look,
                    renewal_seconds=self._renewal_seconds,
                )
                stack.enter_context(lease)
                _note_begun(database)
            yield from super().execute(plan_context, execution_plan)


class _CancelWish:
    """Reads whether somebody wishes a run to end that its launcher cannot reach, and interrupts it once."""

    def __init__(self, instance: dg.DagsterInstance, database: Database, run_id: str) -> None:
        self._instance = instance
        self._database = database
        self._run_id = run_id
        # The launcher of a single machine interrupts the process itself: a second interrupt would break off
        # how the step notes its end.
        self._is_awaited = isinstance(instance.run_launcher, LaunchElsewhere)

    def look(self) -> None:
        """Look once; what is out of reach is looked at again with the next renewal."""
        if not self._is_awaited:
            return
        try:
            run = self._instance.get_run_by_id(self._run_id)
            if run is None or run.status not in _CANCELLED or self._is_read_by_step():
                return
        except Exception as error:  # noqa: BLE001 # whatever Dagster's database raises, the lease is renewed
            logger.warning("whether run %s is to end could not be read: %s", self._run_id, error)
            return
        self._is_awaited = False
        send_interrupt()

    def _is_read_by_step(self) -> bool:
        """Tell whether the work is leased: its step reads the wish itself and ends between two requests."""
        with self._database.begin() as connection:
            return has_lease_beside(connection, RUN_LEASES + self._run_id, self._run_id)


def _refuse_foreign(database: Database) -> None:
    """Raise `ConfigurationError` for the database of another account, before a step asks for anything."""
    # One that is away is the steps' trouble, which are repeated.
    with suppress(DatabaseError), database.begin() as connection:
        require_account(connection, ACCOUNT)


def _give_back(database: Database, run_id: str, kind: type[BaseException] | None, *_: object) -> None:
    """End the leases of a run that cannot go on, as where Dagster's database takes none of its events."""
    if kind is None:
        return
    try:
        with database.begin() as connection:
            remove_leases(connection, run_id)
    except DatabaseError as error:
        # They expire by themselves.
        logger.warning("the leases of run %s could not be given back: %s", run_id, error)


def _note_begun(database: Database) -> None:
    try:
        with database.begin() as connection:
            note_begun(connection)
    except DatabaseError as error:
        # The next run notes it; what this one cannot reach, its steps say themselves.
        logger.warning("that runs begin could not be noted: %s", error)


def _end_this_process() -> None:
    """End at once: this run was reported as lost, as after a long halt, and another one may do its work."""
    sys.stderr.write("This run was reported as lost while its process stood still; the process ends.\n")
    sys.stderr.flush()
    os._exit(1)


@dg.executor(name="in_process")
def leased_executor(_: dg.InitExecutorContext) -> LeasedExecutor:
    """Execute all steps of a run in one process, under the run's lease."""
    return LeasedExecutor()


class LeaseJudge(RunLauncher):
    """What a launcher needs to tell whether the process of a run lives, wherever it runs: by the run's lease.

    Mixed into a launcher of Dagster's, before it. A run that is lost is not repeated by Dagster where
    somebody else does so, the request that it was made for or its source's sensor.
    """

    _second_look_seconds = _SECOND_LOOK_SECONDS

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._suspected_at: dict[str, float] = {}

    @property
    def supports_check_run_worker_health(self) -> Literal[True]:
        """Tell Dagster's run monitoring to ask."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Return whether anybody works on a run; the leases of one that is lost are removed."""
        with open_database_of(account_of_run(run)) as database:
            with database.begin() as connection:
                is_alive = is_owner_alive(connection, run.run_id)
            if is_alive or (is_alive is None and not self._is_silent(run.run_id)):
                self._suspected_at.pop(run.run_id, None)
                return CheckRunHealthResult(WorkerStatus.RUNNING)
            suspected_at = self._suspected_at.setdefault(run.run_id, time.monotonic())
            if time.monotonic() - suspected_at < self._second_look_seconds:
                return CheckRunHealthResult(WorkerStatus.RUNNING)
            del self._suspected_at[run.run_id]
            with database.begin() as connection:
                remove_leases(connection, run.run_id)
        self._leave_to_others(run)
        observe_missing(self._instance, run, _LOST.metadata())
        return CheckRunHealthResult(WorkerStatus.FAILED, _LOST.reason)

    def _leave_to_others(self, run: dg.DagsterRun) -> None:
        """Keep Dagster from repeating a run that its sensor or request repeats: one would find no work."""
        if PARTITION_TAG in run.tags or REQUEST_TAG in run.tags:
            self._instance.add_run_tags(run.run_id, {MAX_RETRIES_TAG: "0"})

    def _is_silent(self, run_id: str) -> bool:
        newest = self._instance.get_records_for_run(run_id, limit=1, ascending=False).records
        return not newest or time.time() - newest[0].event_log_entry.timestamp > _SILENCE_SECONDS


def tell_of_lost_runs(
    context: dg.SensorEvaluationContext, database: Database, closers: Sequence[RunCloser] = ()
) -> None:
    """Say what became of a run that had ended and could not give back its lease.

    A code server that lives reports a killed worker of its own at once, and nobody asks the launcher then:
    the pages of its assets are told here. A run that lost the database told them, but not the tables of its
    source: that is done by `closers`. Where no run was lost, Dagster's database is left alone.
    """
    with database.begin() as connection:
        gone = find_gone_owners(connection, RUN_LEASES)
    for run_id in gone:
        instance = context.instance
        run = instance.get_run_by_id(run_id)
        if run is not None and not run.is_finished:
            continue
        if run is not None and run.status is dg.DagsterRunStatus.FAILURE:
            told = find_explanation(instance, run_id)
            if told is None:
                observe_missing(instance, run, _LOST.metadata())
            else:
                for close in closers:
                    close(database, run, told)
        with database.begin() as connection:
            remove_leases(connection, run_id)


class LeasedRunLauncher(LeaseJudge, DefaultRunLauncher):
    """Dagster's launcher of a single machine: runs are children of the code server."""

    def __init__(self, inst_data: Any = None, *, second_look_seconds: float = _SECOND_LOOK_SECONDS) -> None:
        super().__init__(inst_data)
        self._second_look_seconds = second_look_seconds


class LaunchElsewhere(LeaseJudge):
    """What a launcher needs whose runs execute on other machines, besides their leases.

    Terminate goes through the database: a run reads the wish at the next renewal of its lease and ends in
    order, where killing its process would leave it started. A run that nobody begins is noted, so that people
    are told and no more are launched than one at a time.
    """

    def terminate(self, run_id: str) -> bool:
        """Ask a run to end."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        return True

    @property
    def supports_resume_run(self) -> Literal[False]:
        """Tell that a run is never resumed: another one goes on with what it has stored."""
        return False

    def get_run_worker_debug_info(self, run: dg.DagsterRun, *arguments: Any, **options: Any) -> str | None:
        """Return what is known of the worker of a run that the monitoring gives up; note one never begun."""
        self._note_not_begun(run)
        return super().get_run_worker_debug_info(run, *arguments, **options)

    def _note_not_begun(self, run: dg.DagsterRun) -> None:
        if run.status is dg.DagsterRunStatus.STARTING:
            self._leave_to_others(run)
            whose = account_of_run(run)
            with open_database_of(whose) as database, database.begin() as connection:
                note_not_begun(connection, run.run_id)
