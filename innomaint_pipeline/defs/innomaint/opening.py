"""Access to Innomaint as the settings say, for Dagster's resource and for what runs without Dagster."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from innomaint_pipeline.addresses import is_loopback
from innomaint_pipeline.domain.innomaint import SOURCE
from innomaint_pipeline.settings import Settings
from innomaint_pipeline.sources.outcomes import RequestPolicy
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.pacing import SharedPacing
from innomaint_pipeline.store.settings import claim_origin
from innomaint_pipeline.sync.innomaint.fetching import OpenClient

if TYPE_CHECKING:
    from innomaint_pipeline.sources.innomaint import InnomaintClient


def client_opener(settings: Settings, database: Database) -> OpenClient:
    """Return what opens a client for one run.

    Raise `ConfigurationError` for a missing token or mixed data.
    """
    # Most processes that load the definitions ask for nothing: they need no HTTP.
    from innomaint_pipeline.sources.innomaint import InnomaintClient  # noqa: PLC0415
    from innomaint_pipeline.sources.route import Route  # noqa: PLC0415

    token = settings.require_token()
    is_simulated = is_loopback(urlsplit(settings.innomaint_api_url).hostname)
    with database.begin() as connection:
        origin = "simulated" if is_simulated else "live"
        claim_origin(connection, SOURCE, origin, address_variable="INNOMAINT_API_URL")
    policy = RequestPolicy(
        max_in_flight=settings.innomaint_max_in_flight,
        max_attempts=settings.innomaint_max_attempts,
        retry_base_seconds=settings.innomaint_retry_base_s,
        timeout_seconds=settings.innomaint_timeout_s,
    )
    route = Route(settings.ca_file, settings.proxy_url)

    def open_client(run_id: str) -> InnomaintClient:
        pacing = SharedPacing(
            database, settings.innomaint_api_url, owner=run_id, rate_ms=settings.innomaint_rate_ms
        )
        return InnomaintClient(settings.innomaint_api_url, token, pacing, policy, route=route)

    return open_client
