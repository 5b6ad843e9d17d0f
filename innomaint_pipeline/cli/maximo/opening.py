"""What the commands of Maximo share: options, runs, and the words of rows."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import click

from innomaint_pipeline.cli.output import say
from innomaint_pipeline.defs.maximo.opening import read_settings
from innomaint_pipeline.domain.maximo.declarations import BY_SHORT_NAME, EVERY, find_structures
from innomaint_pipeline.domain.maximo.structures import Structure
from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline.setting_types import check_site
from innomaint_pipeline.settings import Settings
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.maximo.schema import require_schema
from innomaint_pipeline.store.maximo.states import find_places, load_own_site
from innomaint_pipeline.sync.maximo.reading import MaximoRun, ReadOptions

endpoint_option = click.option(
    "--endpoint",
    "endpoints",
    multiple=True,
    type=click.Choice([*BY_SHORT_NAME, EVERY]),
    help="One structure; repeatable; default: all.",
)
site_option = click.option(
    "--site", "sites", multiple=True, help="One site; repeatable; default: MAXIMO_SITES."
)


def check_sites(sites: Sequence[str]) -> tuple[str, ...]:
    """Return the sites of options; raise `UsageError` for what is none."""
    try:
        return tuple(dict.fromkeys(check_site(site) for site in sites))
    except ValueError as error:
        raise click.UsageError(f"--site: {error}") from None


def tell_one_off(settings: Settings, database: Database, sites: Sequence[str]) -> None:
    """Say which of the given sites are read this once, since nothing reads them by itself."""
    kept: tuple[str, ...] = settings.maximo_sites
    if not kept:
        with database.begin() as connection:
            own = load_own_site(connection)
        kept = () if own is None else (own[0],)
    others = [site for site in sites if site not in kept]
    if others:
        words = f"{', '.join(kept)} alone is" if kept else "the site of the key's own user alone is"
        say(
            f"{', '.join(others)}: read this once. By itself {words} read; to keep other sites as well, name "
            "all of them in MAXIMO_SITES."
        )


def build_runs(
    settings: Settings,
    database: Database,
    endpoints: Sequence[str],
    sites: Sequence[str],
    options: ReadOptions | None = None,
) -> list[MaximoRun]:
    """Return a run for each structure and site, all of one id, in the order of syncing."""
    reads = read_settings(settings, database)
    run_id = f"maximo-{uuid.uuid4()}"
    return [
        MaximoRun(database, structure, site, run_id, reads, options or ReadOptions())
        for structure in find_structures(tuple(endpoints))
        for site in (sites if structure.has_site else (None,))
    ]


def stored_sites(database: Database, structures: Sequence[Structure]) -> tuple[str, ...]:
    """Return the sites that were ever read; raise `ConfigurationError` where none was but one is needed."""
    with database.begin() as connection:
        require_schema(connection)
        found = tuple(dict.fromkeys(place.site for place in find_places(connection) if place.site))
    if not found and all(structure.has_site for structure in structures):
        raise ConfigurationError("nothing was synced yet: run innomaint maximo sync first")
    return found


def describe_row(row: dict[str, Any]) -> str:
    """Return the row of a run as a line for people."""
    name = row["endpoint"] + (f" {row['site']}" if row.get("site") else "")
    if "fetched" not in row:
        return f"{name}: {row['status']}: {row['message']}"
    counts = ", ".join(
        f"{row[key]} {key.replace('_', ' ')}"
        for key in ("inserted", "updated", "unchanged", "out_of_scope", "deleted", "rejected", "placeholders")
        if row[key]
    )
    total = "" if row["server_total"] is None else f" of {row['server_total']}"
    words = f": {row['message']}" if row["message"] else ""
    return (
        f"{name}: {row['status']}, {row['mode']}, {row['fetched']}{total} rows ({counts or 'no row'}){words}"
    )
