"""A few CMMS assets synced now, in the process that was asked, without a Dagster run.

Through the shared clock like everybody, and under the leases of their batches where those are free; a batch
that a run works on does not make them wait. One pass of attempts: whoever asked sees what came of it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from innomaint_pipeline.domain.innomaint.selection import SINGLE_RUNS
from innomaint_pipeline.errors import DatabaseError, RunCancelledError, SourceRefusedError
from innomaint_pipeline.store.database import Database, find_now
from innomaint_pipeline.store.innomaint.asset_details import Outcome, load_outcome
from innomaint_pipeline.store.innomaint.outcome_log import log_outcomes
from innomaint_pipeline.store.innomaint.states import find_named_targets
from innomaint_pipeline.sync.holding import hold_lease
from innomaint_pipeline.sync.innomaint.batch import BatchRun, tell_refusals
from innomaint_pipeline.sync.innomaint.fetching import OpenClient, fetch_targets
from innomaint_pipeline.sync.innomaint.steps import arrived_enriched


@dataclass(frozen=True)
class SingleReport:
    """By id, the batch of each CMMS asset and what became of it, None where it was not asked for.

    `stopped_by` is why some were not.
    """

    batch_keys: Mapping[str, str]
    outcomes: Mapping[str, Outcome | None]
    stopped_by: SourceRefusedError | RunCancelledError | None = None

    def only_outcome(self) -> Outcome:
        """Return what became of the only one; raise what kept it from being asked for."""
        (outcome,) = self.outcomes.values()
        if outcome is not None:
            return outcome
        if self.stopped_by is not None:
            raise self.stopped_by
        (name,) = self.outcomes
        raise DatabaseError(f"{name!r} was taken out of the database while it was synced; import it again")


def sync_assets(
    database: Database,
    names: Mapping[str, Sequence[str]],
    open_client: OpenClient,
    timezone: ZoneInfo,
    *,
    refresh_minutes: int,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> SingleReport:
    """Fetch, enrich and log CMMS assets, named by batch, due or not.

    Never raises for a single one, nor for a source that refuses, nor when `is_cancelled`. Raises
    `DatabaseError`: what had arrived is stored, and enriched and logged by whoever works on the batch next.
    """
    run_id = f"{SINGLE_RUNS}{uuid.uuid4()}"
    runs = [BatchRun(database, key, run_id, refresh_minutes) for key in names]
    stopped_by = None

    def check() -> None:
        if is_cancelled():
            raise RunCancelledError("the program ends; what was stored is kept, ask once more for the rest")

    with ExitStack() as leases:
        for run in runs:
            leases.enter_context(hold_lease(run.claim, is_last_step=True))
        with database.begin() as connection:
            since = find_now(connection)
            targets = {
                run: find_named_targets(connection, run.batch_key, names[run.batch_key]) for run in runs
            }
        try:
            with ExitStack() as arriving:
                for run, chosen in targets.items():
                    ids = [target.asset_id for target in chosen]
                    arriving.enter_context(arrived_enriched(run, timezone, ids))
                # One pass for all of them, whichever batch it is told of.
                everyone = [target for chosen in targets.values() for target in chosen]
                fetch_targets(runs[0], everyone, open_client, check, is_bulk=False)
        except (SourceRefusedError, RunCancelledError) as error:
            stopped_by = error
        with database.begin() as connection:
            for run in runs:
                tell_refusals(log_outcomes(connection, run.batch_key, of_run_id=run_id), "ic3_sync_log")
            batch_keys = {name: key for key, group in names.items() for name in group}
            outcomes = {name: load_outcome(connection, name, since) for name in batch_keys}
    return SingleReport(batch_keys, outcomes, stopped_by)
