"""What is read: status, overview, batches, failures, history, CMMS assets, requests, words."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query

from innomaint_pipeline.api.answers import AdminError, AdminJson, describe
from innomaint_pipeline.api.innomaint.models import (
    REQUESTS,
    AssetDetailAnswer,
    AssetsAnswer,
    BatchDetailAnswer,
    BatchesAnswer,
    FailuresAnswer,
    HistoryAnswer,
    MetricsAnswer,
    OverviewAnswer,
    RequestAnswer,
    StatusAnswer,
)
from innomaint_pipeline.api.innomaint.words import WORDS, WordsAnswer
from innomaint_pipeline.api.models import DAGSTER_URL, Answer
from innomaint_pipeline.api.parts import (
    LONGEST_ID_CHARACTERS,
    Parts,
    PartsOf,
    check_text,
    refuse_unknown_parameters,
)
from innomaint_pipeline.domain.innomaint.answers import normalise_id
from innomaint_pipeline.domain.innomaint.selection import SYNC_REQUESTS
from innomaint_pipeline.domain.states import ErrorClass, SyncState
from innomaint_pipeline.store.innomaint.asset_details import find_assets, load_asset
from innomaint_pipeline.store.innomaint.batch_details import load_batch, load_batches
from innomaint_pipeline.store.innomaint.batch_runs import load_history
from innomaint_pipeline.store.innomaint.failure_groups import load_failure_groups
from innomaint_pipeline.store.innomaint.overview import load_overview
from innomaint_pipeline.store.innomaint.status import load_status
from innomaint_pipeline.store.requests import load_request

router = APIRouter(dependencies=[Depends(refuse_unknown_parameters)], default_response_class=AdminJson)

_LARGEST_ID = 2**63 - 1


def _answer(parts: Parts, model: type[Answer], found: object) -> AdminJson:
    return AdminJson(model.model_validate(found, context={DAGSTER_URL: parts.dagster_url}))


@router.get("/api/admin/cmms/sync/status", responses=describe(StatusAnswer))
def get_status(parts: PartsOf) -> AdminJson:
    """Return how far the sync is: the JSON of `innomaint status`."""
    with parts.read() as connection:
        return _answer(parts, StatusAnswer, load_status(connection, parts.account))


@router.get("/api/sync/metrics", responses=describe(MetricsAnswer))
def get_metrics(parts: PartsOf) -> AdminJson:
    """Return the sync in six fields."""
    with parts.read() as connection:
        status = load_status(connection, parts.account)
    return AdminJson(
        MetricsAnswer(
            lastSyncTime=status.last_sync_at,
            lastResult=status.last_batch[0].status if status.last_batch else None,
            totalSyncs=status.total_syncs,
            consecutiveFailures=status.consecutive_failures,
            averageDuration=status.average_duration_ms,
            health=status.health,
        )
    )


@router.get("/api/sync/overview", responses=describe(OverviewAnswer))
def get_overview(parts: PartsOf) -> AdminJson:
    """Return what the page shows at a glance."""
    with parts.read() as connection:
        return _answer(parts, OverviewAnswer, load_overview(connection, parts.account))


@router.get("/api/sync/batches", responses=describe(BatchesAnswer))
def get_batches(parts: PartsOf) -> AdminJson:
    """Return every batch in the order of the keys."""
    with parts.read() as connection:
        return _answer(parts, BatchesAnswer, {"batches": load_batches(connection)})


@router.get("/api/sync/batches/{batch_key}", responses=describe(BatchDetailAnswer, 404))
def get_batch(
    parts: PartsOf, batch_key: Annotated[str, Path(examples=["batch_000001"], max_length=40)]
) -> AdminJson:
    """Return one batch with its failures and its last runs."""
    check_text(batch_key, "the batch", status=404)
    with parts.read() as connection:
        batch = load_batch(connection, batch_key)
    if batch is None:
        raise AdminError(404, "there is no such batch; they are listed at /api/sync/batches")
    return _answer(parts, BatchDetailAnswer, batch)


@router.get("/api/sync/failures", responses=describe(FailuresAnswer))
def get_failures(parts: PartsOf) -> AdminJson:
    """Return the failed CMMS assets in groups, one for each class, the largest first."""
    with parts.read() as connection:
        return _answer(parts, FailuresAnswer, {"groups": load_failure_groups(connection)})


@router.get("/api/sync/history", responses=describe(HistoryAnswer))
def get_history(parts: PartsOf, hours: Annotated[int, Query(ge=1, le=2160)] = 24) -> AdminJson:
    """Return the batch runs of the last hours and how many CMMS assets were synced when."""
    with parts.read() as connection:
        return _answer(parts, HistoryAnswer, load_history(connection, hours=hours))


@router.get("/api/sync/assets", responses=describe(AssetsAnswer))
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
    return _answer(parts, AssetsAnswer, found)


@router.get("/api/sync/assets/{cmms_asset_id:path}", responses=describe(AssetDetailAnswer, 404))
def get_asset(
    parts: PartsOf,
    cmms_asset_id: Annotated[
        str, Path(examples=["Delhi Cantt Naraina_BP_01"], max_length=LONGEST_ID_CHARACTERS)
    ],
) -> AdminJson:
    """Return everything about one CMMS asset; its id may hold spaces, `/` and `,`."""
    check_text(cmms_asset_id, "the id", status=404)
    with parts.read() as connection:
        asset = load_asset(connection, normalise_id(cmms_asset_id))
    if asset is None:
        raise AdminError(404, "there is no such CMMS asset in the asset master; search at /api/sync/assets")
    return _answer(parts, AssetDetailAnswer, asset)


@router.get(f"{REQUESTS}/{{request_id}}", responses=describe(RequestAnswer, 404))
def get_request(
    parts: PartsOf, request_id: Annotated[int, Path(ge=1, le=_LARGEST_ID, examples=[7])]
) -> AdminJson:
    """Return how far a request is, and its result."""
    with parts.read() as connection:
        found = load_request(connection, SYNC_REQUESTS, request_id)
    if found is None:
        raise AdminError(404, "there is no such request; requests are kept for 90 days")
    return _answer(parts, RequestAnswer, found)


@router.get("/api/sync/words", responses=describe(WordsAnswer))
def get_words() -> AdminJson:
    """Return the words for states and error classes, with what to do about each class."""
    return AdminJson(WORDS)
