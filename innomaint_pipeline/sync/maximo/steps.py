"""The two steps of a structure, fetch and merge, each under its lease; and both as one.

Belongs here: holding the lease, and what an error of one structure means for the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from innomaint_pipeline.domain.maximo.answers import StructureError, Trouble
from innomaint_pipeline.errors import (
    AuthError,
    BreakerOpenError,
    ConfigurationError,
    RunCancelledError,
    SourceRefusedError,
)
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.maximo.states import load_state, save_own_site
from innomaint_pipeline.sync.holding import hold_lease
from innomaint_pipeline.sync.maximo.fetching import fetch
from innomaint_pipeline.sync.maximo.merging import ERROR, PARTIAL, SUCCESS, fail, merge, rebuild
from innomaint_pipeline.sync.maximo.reading import MaximoRun, OpenClient, Reading

LEASED = "leased"


def fetch_structure(run: MaximoRun, open_client: OpenClient) -> Reading | None:
    """Fetch a structure, as the first of two steps; None when another run holds it.

    Raises what `fetch` does; the row of a failed run is the caller's to write (`close_failed`).
    """
    with hold_lease(run.claim, is_last_step=False) as watch:
        return None if watch is None else fetch(run, open_client, watch)


def merge_structure(run: MaximoRun) -> dict[str, Any] | None:
    """Merge what was fetched, as the second step; None when another run holds it or nothing waits."""
    with hold_lease(run.claim, is_last_step=True) as watch:
        if watch is None:
            return None
        with run.database.begin() as connection:
            stored = load_state(connection, run.place).get("reading")
        reading = Reading(**stored) if stored else None
        if reading is None or not reading.is_complete:
            return None
        return merge(run, reading)


def close_failed(run: MaximoRun, error: BaseException) -> dict[str, Any]:
    """Write the row of a run that ends without a result, and return it."""
    return fail(run, class_of(error), str(error) or type(error).__name__)


def class_of(error: BaseException) -> str:
    """Return the class of an error, as `sync_run` names it."""
    if isinstance(error, StructureError):
        return error.trouble.value
    if isinstance(error, AuthError):
        return Trouble.AUTH.value
    if isinstance(error, SourceRefusedError):
        return Trouble.TRANSIENT.value
    if isinstance(error, RunCancelledError) or not isinstance(error, Exception):
        return "cancelled"
    return Trouble.INTERNAL.value


def sync_structure(run: MaximoRun, open_client: OpenClient) -> dict[str, Any]:
    """Fetch and merge a structure; return the row of its run, or one that says `leased`.

    An error of the structure ends in its row; what concerns everybody is raised after the row was written.
    """
    stopped: BaseException
    # What ends the run is raised behind the lease, which it gives back: its row tells how it ended.
    with hold_lease(run.claim, is_last_step=True) as watch:
        if watch is None:
            return leased_row(run)
        try:
            return merge(run, fetch(run, open_client, watch))
        except StructureError as error:
            return close_failed(run, error)
        except (SourceRefusedError, RunCancelledError, KeyboardInterrupt) as error:
            close_failed(run, error)
            stopped = error
    raise stopped


def leased_row(run: MaximoRun) -> dict[str, Any]:
    """Return the row of a run that found its structure held by another: no request, nothing written."""
    now = run.now()
    return {
        "run_id": run.run_id,
        "endpoint": run.structure.short,
        "site": run.site,
        "started_at": now,
        "finished_at": now,
        "status": LEASED,
        "message": "another run works on it: nothing was asked for",
    }


@dataclass
class SyncReport:
    """What a sync of several structures did; `stopped` is what ended it for all of them."""

    runs: list[dict[str, Any]] = field(default_factory=list)
    stopped: SourceRefusedError | None = None

    @property
    def status(self) -> str:
        """The worst of the runs' words."""
        words = {row["status"] for row in self.runs}
        if self.stopped is not None or ERROR in words:
            return ERROR
        return PARTIAL if PARTIAL in words else SUCCESS

    @property
    def exit_code(self) -> int:
        """The exit code of the command."""
        if self.stopped is not None:
            return self.stopped.exit_code
        return 0 if self.status == SUCCESS else 1


def sync_all(
    runs: Iterable[MaximoRun], open_client: OpenClient, on_row: Callable[[dict[str, Any]], None]
) -> SyncReport:
    """Sync one after the other; a failed one stops no other, what concerns everybody stops all."""
    report = SyncReport()
    for run in runs:
        try:
            row = sync_structure(run, open_client)
        except (AuthError, BreakerOpenError, SourceRefusedError) as error:
            report.stopped = error
            return report
        report.runs.append(row)
        on_row(row)
    return report


def rebuild_structure(run: MaximoRun) -> dict[str, int] | None:
    """Build the tables of a structure anew from stored answers; None when another run holds it."""
    with hold_lease(run.claim, is_last_step=True) as watch:
        return None if watch is None else rebuild(run)


def find_own_site(database: Database, open_client: OpenClient, run_id: str) -> str:
    """Return the site of the key's own user, and keep it: the one that is read where none is configured.

    Raises `ConfigurationError` where there is none.
    """

    async def ask() -> dict[str, Any]:
        async with open_client(run_id) as client:
            return await client.whoami()

    user = asyncio.run(ask())
    site = user.get("defaultSite") or user.get("insertSite")
    if not isinstance(site, str) or not site.strip():
        raise ConfigurationError(
            "no site is named, and the key's user has neither a default site nor an insert site: set "
            "MAXIMO_SITES, or give --site"
        )
    with database.begin() as connection:
        save_own_site(connection, site.strip())
    return site.strip()
