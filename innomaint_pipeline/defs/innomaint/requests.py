"""Carrying out what people asked to be synced: a run for each batch."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from innomaint_pipeline.defs.innomaint.assets import BATCH_RUNS, sync_batch
from innomaint_pipeline.defs.innomaint.partitions import register_batches
from innomaint_pipeline.defs.innomaint.selection import selection_run_config
from innomaint_pipeline.defs.requests import RequestedWork, RunPlace
from innomaint_pipeline.domain.innomaint.batches import LEASES
from innomaint_pipeline.domain.innomaint.launches import BATCHES_IN_FLIGHT
from innomaint_pipeline.domain.innomaint.selection import SYNC_REQUESTS, is_due_only
from innomaint_pipeline.domain.requests import Outcome
from innomaint_pipeline.store.database import Connection, Database
from innomaint_pipeline.store.innomaint.batch_rows import find_row_statuses
from innomaint_pipeline.store.innomaint.selection import conclude_request
from innomaint_pipeline.store.leases import find_leases
from innomaint_pipeline.store.requests import OpenRequest, RequestPart
from innomaint_pipeline.sync.innomaint.batch import Selection


class _RequestedBatches:
    """A run of `sync_batch` for each batch of a selection."""

    kind = SYNC_REQUESTS
    jobs: Sequence[Any] = (sync_batch,)
    runs = BATCH_RUNS
    parts_at_once = BATCHES_IN_FLIGHT

    def prepare(self, instance: dg.DagsterInstance, database: Database) -> None:
        """Make every batch a partition."""
        register_batches(instance, database)

    def place_run(self, part: RequestPart) -> RunPlace:
        """Return the batch's partition, which has the name of the part."""
        return RunPlace(part.part, sync_batch.name)

    def build_run_config(self, request: OpenRequest, part: RequestPart) -> Mapping[str, Any]:
        """Return what the run of a batch asks for: everything not asked since, or what is due."""
        asked_before = None if is_due_only(request.options) else request.requested_at
        return selection_run_config(Selection(part.items, asked_before))

    def find_holders(self, connection: Connection) -> Mapping[str, str]:
        """Return the leased batches."""
        return {lease.key: lease.owner for lease in find_leases(connection, LEASES)}

    def find_row_statuses(self, connection: Connection, run_ids: Sequence[str]) -> Mapping[str, str]:
        """Return the status of each run's row in cmms_sync_log."""
        return find_row_statuses(connection, run_ids)

    def count_result(self, connection: Connection, request: OpenRequest) -> Outcome:
        """Return the JSON of sync, and what was left undone."""
        return conclude_request(connection, request)


REQUESTED_BATCHES: RequestedWork = _RequestedBatches()
"""What people asked to be synced."""
