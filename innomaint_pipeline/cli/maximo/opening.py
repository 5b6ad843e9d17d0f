"""What the commands of Maximo share: the client that the settings describe, runs, and the words of rows.

Belongs here: from settings to `sync.maximo`, without a command of its own.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import click

from innomaint_pipeline.addresses import is_loopback
from innomaint_pipeline.domain.maximo import SOURCE
from innomaint_pipeline.domain.maximo.declarations import BY_SHORT_NAME, EVERY, find_structures
from innomaint_pipeline.domain.maximo.structures import Structure
from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline.settings import Settings, check_site
from innomaint_pipeline.sources.maximo.client import MaximoClient
from innomaint_pipeline.sources.outcomes import RequestPolicy
from innomaint_pipeline.sources.route import Route
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.maximo.schema import require_schema
from innomaint_pipeline.store.maximo.states import find_places
from innomaint_pipeline.store.pacing import SharedPacing
from innomaint_pipeline.store.settings import REFRESH_MINUTES, claim_origin, load_setting
from innomaint_pipeline.sync.maximo.reading import MaximoRun, OpenClient, ReadOptions, ReadSettings

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
        return tuple(check_site(site) for site in sites)
    except ValueError as error:
        raise click.UsageError(f"--site: {error}") from None


def client_opener(settings: Settings, database: Database) -> OpenClient:
    """Return what opens a client for one run.

    Raises `ConfigurationError` for a missing address or key, and for mixed data.
    """
    url, key = settings.require_maximo()
    origin = "simulated" if is_loopback(urlsplit(url).hostname) else "live"
    with database.begin() as connection:
        require_schema(connection)
        claim_origin(connection, SOURCE, origin, address_variable="MAXIMO_BASE_URL")
    policy = RequestPolicy(
        max_in_flight=settings.maximo_max_in_flight,
        max_attempts=settings.maximo_max_attempts,
        retry_base_seconds=settings.maximo_retry_base_s,
        timeout_seconds=settings.maximo_timeout_s,
        answer_limit_bytes=int(settings.maximo_max_mb * 1024 * 1024),
    )
    route = Route(settings.ca_file, settings.maximo_proxy_url)

    def open_client(run_id: str) -> MaximoClient:
        pacing = SharedPacing(database, url, owner=run_id, rate_ms=settings.maximo_rate_ms)
        return MaximoClient(url, key, pacing, policy, api_route=settings.maximo_api_route, route=route)

    return open_client


def read_settings(settings: Settings, database: Database) -> ReadSettings:
    """Return the settings of reads; a stored interval overrides the environment's."""
    with database.begin() as connection:
        stored = load_setting(connection, SOURCE, REFRESH_MINUTES)
    return ReadSettings(
        overlap_seconds=settings.maximo_overlap_s,
        transaction_days=settings.maximo_transaction_days,
        max_delete_pct=settings.maximo_max_delete_pct,
        keeps_personal_data=settings.maximo_personal_data,
        page_size=settings.maximo_page_size,
        interval_minutes=settings.maximo_interval_minutes if stored is None else int(stored),
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
