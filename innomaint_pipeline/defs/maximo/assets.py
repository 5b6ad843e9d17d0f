"""The assets of Maximo: for each structure one that fetches, and one for each of its tables.

Thin: a body calls `sync.maximo` and turns its report into metadata. Built from the declarations: no structure
is named here.
"""

import functools
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import dagster as dg
from pydantic import Field

from innomaint_pipeline.defs.account import asset_key, partitions_of, step_name
from innomaint_pipeline.defs.columns import column_schema
from innomaint_pipeline.defs.failures import explain_error, retry_wait_seconds, run_step
from innomaint_pipeline.defs.maximo.opening import client_opener, read_settings
from innomaint_pipeline.defs.recovery import RunsOfSource
from innomaint_pipeline.defs.resources import Ic3DatabaseResource
from innomaint_pipeline.defs.source import source_tags
from innomaint_pipeline.domain.maximo import SOURCE
from innomaint_pipeline.domain.maximo.declarations import STRUCTURES
from innomaint_pipeline.domain.maximo.structures import Structure
from innomaint_pipeline.settings import load_settings
from innomaint_pipeline.store.database import Database, find_now
from innomaint_pipeline.store.maximo.conditions import find_due
from innomaint_pipeline.store.maximo.overview import count_tables
from innomaint_pipeline.store.maximo.tables import maximo_metadata
from innomaint_pipeline.sync.maximo.reading import MaximoRun, Reading, ReadOptions
from innomaint_pipeline.sync.maximo.steps import (
    close_failed,
    fetch_structure,
    merge_structure,
    rebuild_structure,
)

OWNERS = ["team:data-engineering"]
SITES = partitions_of("maximo_sites")
_LEASED = "Another run works on this structure, or nothing waits: nothing was asked for, nothing was written."


class ReadConfig(dg.Config):
    """How to read; as it is: what changed, or all of it where that is due."""

    force_full: bool = Field(default=False, description="Read everything in scope, from the start.")
    accept_deletes: bool = Field(default=False, description="Mark as deleted what is gone, however much.")
    accept_drift: bool = Field(default=False, description="Accept new attributes; clear vanished ones.")
    since: str | None = Field(
        default=None, description="What changed from this time on (ISO 8601 with offset)."
    )
    only_due: bool = Field(default=False, description="Nothing where the next read is not due yet.")

    def options(self) -> ReadOptions:
        """Return the options; raise `ValueError` for a malformed time."""
        moment = datetime.fromisoformat(self.since) if self.since else None
        if moment is not None and moment.tzinfo is None:
            raise ValueError(
                f"since is {self.since!r}: expected a time with offset, like 2026-06-20T10:00+03:00"
            )
        is_full = self.force_full or self.accept_deletes or self.accept_drift
        return ReadOptions(is_full, moment, self.accept_deletes, self.accept_drift)


def fetch_key(structure: Structure) -> dg.AssetKey:
    """Return the key of the asset that fetches a structure."""
    return asset_key(SOURCE, structure.name)


def table_key(table: str) -> dg.AssetKey:
    """Return the key of the asset of a table."""
    return asset_key(SOURCE, table)


def _maximo_run(
    context: dg.AssetExecutionContext,
    database: Database,
    structure: Structure,
    options: ReadOptions | None = None,
) -> MaximoRun:
    run_id = context.run.run_id

    def is_cancelled() -> bool:
        run = context.instance.get_run_by_id(run_id)
        return run is not None and run.status in {dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED}

    return MaximoRun(
        database,
        structure,
        context.partition_key if structure.has_site else None,
        run_id,
        read_settings(load_settings(), database),
        options or ReadOptions(),
        is_cancelled,
        retry_wait_seconds(context),
    )


def _build_fetch(structure: Structure) -> dg.AssetsDefinition:
    @dg.asset(
        key=fetch_key(structure),
        partitions_def=SITES if structure.has_site else None,
        group_name=f"maximo_{structure.short}",
        owners=OWNERS,
        kinds={"python", "postgres"},
        description=f"Fetch: {structure.title} of Maximo, {structure.name}, into maximo.response. The tables "
        "stay as they are until all of it is there; a repeated step goes on behind the last page.",
        metadata=column_schema(f"{SOURCE}.response", maximo_metadata),
        output_required=False,
    )
    def fetch(
        context: dg.AssetExecutionContext, config: ReadConfig, ic3: Ic3DatabaseResource
    ) -> Iterator[dg.MaterializeResult]:
        """Ask Maximo for what is to be read."""
        with ic3.open() as database:
            run = _maximo_run(context, database, structure, config.options())
            if config.only_due:
                with database.begin() as connection:
                    if not find_due(
                        connection,
                        [run.place],
                        find_now(connection),
                        interval_minutes=run.settings.interval_minutes,
                    ):
                        context.log.info(f"{run.name} is not due yet: nothing was asked for.")
                        return

            def step() -> Reading | None:
                return fetch_structure(run, client_opener(load_settings(), database))

            reading = run_step(
                context,
                step,
                name=run.name,
                close=lambda error: close_failed(run, error),
                explain=functools.partial(explain_error, work="the read"),
            )
        if reading is None:
            context.log.info(_LEASED)
            return
        yield dg.MaterializeResult(
            metadata={
                "mode": reading.mode,
                "pages": reading.pages,
                "fetched": reading.fetched,
                "server_total": reading.total_after if reading.total_after is not None else "not asked",
                "notes": "; ".join(reading.notes) or "none",
            }
        )

    return fetch


def _build_merge(structure: Structure) -> dg.AssetsDefinition:
    names = [spec.name for spec in structure.tables()]

    @dg.multi_asset(
        name=f"maximo_merge_{structure.short}",
        specs=[
            dg.AssetSpec(
                table_key(spec.name),
                deps=[fetch_key(structure)],
                group_name=f"maximo_{structure.short}",
                owners=OWNERS,
                kinds={"python", "postgres"},
                description=f"{spec.comment}.",
                metadata=column_schema(f"{SOURCE}.{spec.name}", maximo_metadata),
                skippable=True,
            )
            for spec in structure.tables()
        ],
        partitions_def=SITES if structure.has_site else None,
        can_subset=True,
    )
    def merge(context: dg.AssetExecutionContext, ic3: Ic3DatabaseResource) -> Iterator[dg.MaterializeResult]:
        """Bring the tables to what was fetched, or build them anew where nothing was in this run."""
        chosen = {key.path[-1] for key in context.selected_asset_keys}
        selection = context.run.asset_selection
        has_fetch = not selection or fetch_key(structure) in selection
        with ic3.open() as database:
            run = _maximo_run(context, database, structure)

            def step() -> dict[str, Any] | None:
                return merge_structure(run) if has_fetch else rebuild_structure(run)

            row = run_step(
                context,
                step,
                name=run.name,
                close=lambda error: close_failed(run, error),
                explain=functools.partial(explain_error, work="the read"),
            )
            with database.begin() as connection:
                held = count_tables(connection)
        if row is None:
            context.log.info(_LEASED)
            return
        counted = {name: value for name, value in row.items() if isinstance(value, (int, str))}
        for name in names:
            if name in chosen:
                metadata: dict[str, Any] = {"dagster/row_count": held[name]}
                if name == structure.root.table.name:
                    metadata |= counted
                yield dg.MaterializeResult(asset_key=table_key(name), metadata=metadata)

    return merge


_STEPS = {structure.short: (_build_fetch(structure), _build_merge(structure)) for structure in STRUCTURES}
MAXIMO_ASSETS = [asset for steps in _STEPS.values() for asset in steps]


def _job(name: str, description: str, *, has_site: bool) -> Any:
    chosen = [
        asset
        for structure in STRUCTURES
        if structure.has_site is has_site
        for asset in _STEPS[structure.short]
    ]
    return dg.define_asset_job(
        name,
        selection=dg.AssetSelection.assets(*chosen),
        description=description,
        tags=source_tags(SOURCE),
    )


maximo_global = _job(
    "maximo_global", "Maximo's domains, persons and groups: fetch, then merge.", has_site=False
)
maximo_site = _job(
    "maximo_site",
    "Maximo's locations, assets, inventory and work orders of one site: fetch, then merge.",
    has_site=True,
)

MAXIMO_RUNS = RunsOfSource(
    job_names=frozenset({"maximo_global", "maximo_site"}),
    asset_keys=frozenset(key for asset in MAXIMO_ASSETS for key in asset.keys),
)
"""The runs that read Maximo, each under the leases of its structures."""


def read_run_config(structures: tuple[Structure, ...], config: dict[str, Any]) -> dict[str, Any]:
    """Return the run config by which these structures are fetched so."""
    return {"ops": {step_name(fetch_key(item)): {"config": config} for item in structures}}
