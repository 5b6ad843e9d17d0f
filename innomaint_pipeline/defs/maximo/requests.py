"""Carrying out what people asked to be read of Maximo: a run for each structure and site."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from innomaint_pipeline.defs.maximo.assets import (
    MAXIMO_RUNS,
    SITES,
    fetch_key,
    maximo_global,
    maximo_site,
    read_run_config,
    table_key,
)
from innomaint_pipeline.defs.requests import RequestedWork, RunPlace
from innomaint_pipeline.domain.maximo import SOURCE
from innomaint_pipeline.domain.maximo.requests import READ_REQUESTS, describe_run, read_part
from innomaint_pipeline.domain.requests import Outcome
from innomaint_pipeline.store.database import Connection, Database
from innomaint_pipeline.store.leases import find_leases
from innomaint_pipeline.store.maximo.requests import find_run_rows
from innomaint_pipeline.store.requests import OpenRequest, RequestPart, find_open

_READS_AT_ONCE = 3


class _RequestedReads:
    """A run for each structure and site of a request."""

    kind = READ_REQUESTS
    jobs: Sequence[Any] = (maximo_global, maximo_site)
    runs = MAXIMO_RUNS
    parts_at_once = _READS_AT_ONCE

    def prepare(self, instance: dg.DagsterInstance, database: Database) -> None:
        """Make every site of a request a partition."""
        with database.begin() as connection:
            requests = find_open(connection, READ_REQUESTS)
        sites = {read_part(part.part)[1] for request in requests for part in request.parts} - {None}
        name = str(SITES.name)
        missing = [
            site for site in sorted(filter(None, sites)) if not instance.has_dynamic_partition(name, site)
        ]
        if missing:
            instance.add_dynamic_partitions(name, missing)

    def place_run(self, part: RequestPart) -> RunPlace:
        """Return the job, the site, and the assets of one structure."""
        structure, site = read_part(part.part)
        job = maximo_global if site is None else maximo_site
        keys = [fetch_key(structure), *(table_key(spec.name) for spec in structure.tables())]
        return RunPlace(site, job.name, keys)

    def build_run_config(self, request: OpenRequest, part: RequestPart) -> Mapping[str, Any]:
        """Return how the structure is read."""
        structure, _ = read_part(part.part)
        return read_run_config((structure,), {"force_full": bool(request.options.get("force_full"))})

    def find_holders(self, connection: Connection) -> Mapping[str, str]:
        """Return the structures and sites that are leased."""
        return {lease.key: lease.owner for lease in find_leases(connection, f"{SOURCE}/")}

    def find_row_statuses(self, connection: Connection, run_ids: Sequence[str]) -> Mapping[str, str]:
        """Return the status of each run's row in sync_run."""
        return {row["run_id"]: row["status"] for row in find_run_rows(connection, run_ids)}

    def count_result(self, connection: Connection, request: OpenRequest) -> Outcome:
        """Return the rows of all runs, as far as they tell of counts, and what is wrong with them."""
        run_ids = [run_id for part in request.parts for run_id in part.run_ids]
        rows = find_run_rows(connection, run_ids)
        names = ("run_id", "endpoint", "site", "status", "fetched")
        undone = [describe_run(row)["text"] for row in rows if row["status"] != "success"]
        return Outcome(
            {"runs": [{name: row[name] for name in names} for row in rows]}, "; ".join(undone) or None
        )


REQUESTED_READS: RequestedWork = _RequestedReads()
"""What people asked to be read of Maximo."""
