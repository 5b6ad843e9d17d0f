"""From settings to what `sync.maximo` works with: the client, and how to read.

Belongs here: what Dagster and the command line share. It imports no Dagster, which takes seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from innomaint_pipeline.addresses import is_loopback
from innomaint_pipeline.domain.maximo import SOURCE
from innomaint_pipeline.settings import Settings
from innomaint_pipeline.sources.outcomes import RequestPolicy
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.maximo.schema import require_schema
from innomaint_pipeline.store.pacing import SharedPacing
from innomaint_pipeline.store.settings import REFRESH_MINUTES, claim_origin, load_setting
from innomaint_pipeline.sync.maximo.reading import OpenClient, ReadSettings

if TYPE_CHECKING:
    from innomaint_pipeline.sources.maximo.client import MaximoClient


def client_opener(settings: Settings, database: Database) -> OpenClient:
    """Return what opens a client for one run.

    Raises `ConfigurationError` for a missing address or key, and for mixed data.
    """
    # Most commands and processes ask Maximo for nothing: they need no HTTP.
    from innomaint_pipeline.sources.maximo.client import MaximoClient  # noqa: PLC0415
    from innomaint_pipeline.sources.route import Route  # noqa: PLC0415

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
