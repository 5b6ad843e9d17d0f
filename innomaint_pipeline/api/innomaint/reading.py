"""What is read: status, overview, batches, failures, history, CMMS assets, requests."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query

from innomaint_pipeline.api import examples
from innomaint_pipeline.api.answers import AdminError, AdminJson
from innomaint_pipeline.api.examples import describe
from innomaint_pipeline.api.parts import (
    LONGEST_ID_CHARACTERS,
    Parts,
    PartsOf,
    check_text,
    refuse_unknown_parameters,
)
from innomaint_pipeline.domain.innomaint.answers import normalise_id
from innomaint_pipeline.domain.innomaint.selection import SYNC_REQUESTS, SyncResult
from innomaint_pipeline.domain.requests import describe_request
from innomaint_pipeline.domain.states import ErrorClass, SyncState
from innomaint_pipeline.store.database import Connection
from innomaint_pipeline.store.innomaint.asset_details import find_assets, load_asset
from innomaint_pipeline.store.innomaint.batch_details import load_batch, load_batches
from innomaint_pipeline.store.innomaint.failure_groups import load_failure_groups
from innomaint_pipeline.store.innomaint.history import load_history
from innomaint_pipeline.store.innomaint.overview import load_overview, run_url
from innomaint_pipeline.store.innomaint.status import load_status
from innomaint_pipeline.store.requests import load_request, seconds_since_look

router = APIRouter(dependencies=[Depends(refuse_unknown_parameters)], default_response_class=AdminJson)

REQUESTS = "/api/admin/cmms/requests"
_LARGEST_ID = 2**63 - 1


def read_status(parts: Parts) -> dict[str, Any]:
    """Return the JSON of status."""
    return load_status(
        parts.database,
        account=parts.account,
        refresh_start_minutes=parts.refresh_start_minutes,
        configured_rate_per_second=parts.configured_rate_per_second,
    )


@router.get("/api/admin/cmms/sync/status", responses=describe(examples.STATUS))
def get_status(parts: PartsOf) -> AdminJson:
    """Return how far the sync is: the JSON of `innomaint status`."""
    return AdminJson(read_status(parts))


@router.get("/api/sync/metrics", responses=describe(examples.METRICS))
def get_metrics(parts: PartsOf) -> AdminJson:
    """Return the sync in six fields."""
    status = read_status(parts)
    last = status["last_batch"][0]["status"] if status["last_batch"] else None
    return AdminJson(
        {
            "lastSyncTime": status["last_sync_at"],
            "lastResult": last,
            "totalSyncs": status["total_syncs"],
            "consecutiveFailures": status["consecutive_failures"],
            "averageDuration": status["average_duration_ms"],
            "health": status["health"],
        }
    )


@router.get("/api/sync/overview", responses=describe(examples.OVERVIEW))
def get_overview(parts: PartsOf) -> AdminJson:
    """Return what the page shows at a glance."""
    overview = load_overview(
        parts.database,
        account=parts.account,
        refresh_start_minutes=parts.refresh_start_minutes,
        configured_rate_per_second=parts.configured_rate_per_second,
        dagster_url=parts.dagster_url,
    )
    for request in overview["requests"]:
        request["address"] = f"{REQUESTS}/{request['id']}"
    return AdminJson(overview)


@router.get("/api/sync/batches", responses=describe(examples.BATCHES))
def get_batches(parts: PartsOf) -> AdminJson:
    """Return every batch in the order of the keys."""
    with parts.read() as connection:
        return AdminJson({"batches": load_batches(connection, dagster_url=parts.dagster_url)})


@router.get("/api/sync/batches/{batch_key}", responses=describe(examples.BATCH_DETAIL, 404))
def get_batch(
    parts: PartsOf, batch_key: Annotated[str, Path(examples=["batch_000001"], max_length=40)]
) -> AdminJson:
    """Return one batch with its failures and its last runs."""
    check_text(batch_key, "the batch", status=404)
    with parts.read() as connection:
        batch = load_batch(connection, batch_key, dagster_url=parts.dagster_url)
    if batch is None:
        raise AdminError(404, "there is no such batch; they are listed at /api/sync/batches")
    return AdminJson(batch)


@router.get("/api/sync/failures", responses=describe(examples.FAILURES))
def get_failures(parts: PartsOf) -> AdminJson:
    """Return the failed CMMS assets in groups, one for each class, the largest first."""
    with parts.read() as connection:
        return AdminJson({"groups": load_failure_groups(connection)})


@router.get("/api/sync/history", responses=describe(examples.HISTORY))
def get_history(parts: PartsOf, hours: Annotated[int, Query(ge=1, le=2160)] = 24) -> AdminJson:
    """Return the batch runs of the last hours and how many CMMS assets were synced when."""
    with parts.read() as connection:
        return AdminJson(load_history(connection, hours=hours))


@router.get("/api/sync/assets", responses=describe(examples.ASSETS))
def get_assets(  # noqa: PLR0917 # FastAPI passes them by name
    parts: PartsOf,
    query: Annotated[str | None, Query(max_length=200, description="a part of the id or the name")] = None,
    state: SyncState | None = None,
    error_class: ErrorClass | None = None,
    batch: Annotated[str | None, Query(max_length=40)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
) -> AdminJson:
    """Return a page of the CMMS assets that match, in report order."""
    for name, text in (("query", query), ("batch", batch)):
        check_text(text or "", name, status=400)
    with parts.read() as connection:
        found = find_assets(
            connection,
            query=query,
            state=state,
            error_class=error_class,
            batch_key=batch,
            limit=limit,
            offset=offset,
        )
    return AdminJson(found)


@router.get("/api/sync/assets/{cmms_asset_id:path}", responses=describe(examples.ASSET, 404))
def get_asset(
    parts: PartsOf,
    cmms_asset_id: Annotated[
        str, Path(examples=["Delhi Cantt Naraina_BP_01"], max_length=LONGEST_ID_CHARACTERS)
    ],
) -> AdminJson:
    """Return everything about one CMMS asset; its id may hold spaces, `/` and `,`."""
    check_text(cmms_asset_id, "the id", status=404)
    with parts.read() as connection:
        asset = load_asset(connection, normalise_id(cmms_asset_id), dagster_url=parts.dagster_url)
    if asset is None:
        raise AdminError(404, "there is no such CMMS asset in the asset master; search at /api/sync/assets")
    return AdminJson(asset)


@router.get(f"{REQUESTS}/{{request_id}}", responses=describe(examples.REQUEST, 404))
def get_request(
    parts: PartsOf, request_id: Annotated[int, Path(ge=1, le=_LARGEST_ID, examples=[7])]
) -> AdminJson:
    """Return how far a request is, and its result."""
    with parts.read() as connection:
        found = find_request(connection, request_id)
    if found is None:
        raise AdminError(404, "there is no such request; requests are kept for 90 days")
    shown = (
        *("id", "address", "asked_by", "asked_at", "finished_at", "what", "state", "message", "result"),
        "runs",
    )
    result = found["result"]
    # jsonb does not keep the order of the names.
    found["result"] = result and {name: result[name] for name in SyncResult().to_json()}
    found["runs"] = [
        {
            "batch_key": run["part"],
            "run_id": run["run_id"],
            "run_url": run_url(parts.dagster_url, run["run_id"]),
        }
        for run in found["runs"]
    ]
    return AdminJson({name: found[name] for name in shown})


def find_request(connection: Connection, request_id: int) -> dict[str, Any] | None:
    """Return a request with its address and, while it is open, how far it is; None when there is none."""
    found = load_request(connection, SYNC_REQUESTS, request_id)
    if found is None:
        return None
    found["address"] = f"{REQUESTS}/{request_id}"
    found["seconds_since_look"] = seconds_since_look(connection, SYNC_REQUESTS)
    if found["finished_at"] is None:
        found["message"] = describe_request(
            found["parts"], waits=found["waits"], seconds_since_look=found["seconds_since_look"]
        )
    return found
