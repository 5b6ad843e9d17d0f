"""Examples of every answer for the OpenAPI document, which derives each answer's fields from them."""

from __future__ import annotations

from typing import Any

_AT = "2026-06-20T10:00:00+00:00"
_ID = "Delhi Cantt Naraina_BP_01"
_BATCH = "batch_000001"
_RUN = "5b1d7c1e-0b0e-4c55-9c1b-0a2f6d2f9a11"
_URL = f"http://127.0.0.1:3000/runs/{_RUN}"

RESULT = {
    "total": 100,
    "success": 99,
    "failed": 1,
    "skipped": 0,
    "unchanged": 80,
    "errors": [f"{_ID}: not_found: Innomaint does not know the id (HTTP 404)"],
    "duration_ms": 21000,
}
_LAST_BATCH = {
    "id": 7,
    "sync_type": "api_sync",
    "status": "partial",
    "assets_synced": 99,
    "duration_ms": 21000,
    "synced_at": _AT,
    "batch_key": _BATCH,
    "run_id": _RUN,
    "total": 100,
    "failed": 1,
    "unchanged": 80,
    "skipped": 0,
}
STATUS = {
    "total_assets": 2957,
    "synced_assets": 2900,
    "failed_assets": 38,
    "never_synced": 19,
    "failed_by_class": {"not_found": 38},
    "last_sync_at": _AT,
    "last_batch": [_LAST_BATCH],
    "in_progress": [{"batch_key": _BATCH, "run_id": _RUN, "since": _AT, "total": 100, "done": 40}],
    "rate_per_second": 5.0,
    "eta_seconds": 20,
    "health": "healthy",
    "total_syncs": 30,
    "consecutive_failures": 0,
    "average_duration_ms": 21000,
    "refresh_minutes": 1440,
    "next_due_at": _AT,
}
METRICS = {
    "lastSyncTime": _AT,
    "lastResult": "partial",
    "totalSyncs": 30,
    "consecutiveFailures": 0,
    "averageDuration": 21000,
    "health": "healthy",
}
_REQUEST = {
    "id": 7,
    "address": "/api/admin/cmms/requests/7",
    "asked_by": "page",
    "asked_at": _AT,
    "what": "retry failed",
    "state": "running",
    "message": "0 of 2 batches done",
}
OVERVIEW = {
    "generated_at": _AT,
    "source": "live",
    "status": STATUS,
    "rate_limit_per_second": 5.0,
    "rate_now_limit_per_second": 3.5,
    "health": {"word": "healthy", "since": None, "reason": "The data are fresh.", "what_to_do": "nothing"},
    "eta": {"low_seconds": 12, "high_seconds": 45},
    "is_paused": False,
    "running": {
        "done": 40,
        "total": 100,
        "since": _AT,
        "batches": [
            {
                "batch_key": _BATCH,
                "done": 40,
                "total": 100,
                "run_id": _RUN,
                "since": _AT,
                "run_url": _URL,
                "started_by": "page",
            }
        ],
    },
    "requests": [{**_REQUEST, "total": 12, "success": None, "failed": None, "skipped": None}],
    "dagster_url": "http://127.0.0.1:3000",
    "tables": {"ic3_asset_master": 2957},
    "changed_at": _AT,
}
BATCH = {
    "batch_key": _BATCH,
    "total": 100,
    "synced": 99,
    "failed": 1,
    "never": 0,
    "retryable": 0,
    "due": 0,
    "state": "partial",
    "last_run": {
        "run_id": _RUN,
        "status": "partial",
        "synced_at": _AT,
        "duration_ms": 21000,
        "run_url": _URL,
    },
}
_ERROR = {
    "error_class": "not_found",
    "message": "Innomaint does not know the id (HTTP 404)",
}
BATCH_DETAIL = {
    **BATCH,
    "failures": [{"cmms_asset_id": _ID, **_ERROR, "last_attempt_at": _AT, "next_due_at": _AT}],
    "failures_total": 1,
    "runs": [
        {
            "run_id": _RUN,
            "status": "partial",
            "synced_at": _AT,
            "duration_ms": 21000,
            "total": 100,
            "assets_synced": 99,
            "unchanged": 80,
            "failed": 1,
            "skipped": 0,
            "run_url": _URL,
        }
    ],
}
BATCHES = {"batches": [BATCH]}
FAILURES = {
    "groups": [
        {
            "error_class": "not_found",
            "title": "38 not found in Innomaint",
            "count": 38,
            "is_retryable": False,
            "places": [{"location_name": "Khyala", "count": 31}],
            "places_total": 4,
            "first_seen_at": _AT,
            "last_attempt_at": _AT,
            "next_due_at": _AT,
            "what_to_do": "correct the asset id in the workbook, or create the asset in Innomaint",
            "messages": [{"message": _ERROR["message"], "count": 38}],
            "examples": [_ID],
        }
    ]
}
HISTORY = {
    "runs": [
        {
            "synced_at": _AT,
            "batch_key": _BATCH,
            "status": "partial",
            "duration_ms": 21000,
            "total": 100,
            "changed": 19,
            "unchanged": 80,
            "failed": 1,
        }
    ],
    "progress": [{"at": _AT, "synced": 2900}],
    "total_assets": 2957,
}
ASSETS = {
    "total": 1,
    "assets": [
        {
            "cmms_asset_id": _ID,
            "asset_name": "Booster pump 1",
            "location_name": "Naraina",
            "state": "synced",
            "error_class": None,
            "batch_key": _BATCH,
            "last_success_at": _AT,
        }
    ],
}
ASSET = {
    "cmms_asset_id": _ID,
    "asset_id": 1,
    "batch_key": _BATCH,
    "state": "synced",
    "error_class": None,
    "error_message": None,
    "consecutive_failures": 0,
    "last_attempt_at": _AT,
    "last_success_at": _AT,
    "next_due_at": _AT,
    "sync_version": 3,
    "what_to_do": None,
    "values": [
        {"group": "performance", "name": "mttr", "value": "00:08:30", "source": "innomaint", "as_of": _AT}
    ],
    "attempts": [
        {
            "synced_at": _AT,
            "sync_type": "api_sync",
            "status": "success",
            "error_class": None,
            "message": None,
            "http_status": None,
            "attempts": 1,
            "duration_ms": 800,
            "run_id": _RUN,
            "run_url": _URL,
        }
    ],
    "data_issues": [
        {
            "field": "performance.mttr",
            "raw_value": "soon",
            "reason": "no duration",
            "first_seen_at": _AT,
            "last_seen_at": _AT,
            "resolved_at": None,
        }
    ],
    "raw_answer": {"status": True},
    "fetched_at": _AT,
}
SYNCED = {"status": "synced", "cmms_asset_id": _ID, "traceability_id": 577833}
STORED = {
    "request_id": 7,
    "address": "/api/admin/cmms/requests/7",
    "state": "waiting",
    "message": "0 of 2 batches done",
}
REQUEST = {
    **_REQUEST,
    "finished_at": None,
    "result": None,
    "runs": [{"batch_key": _BATCH, "run_id": _RUN, "run_url": _URL}],
}
FREQUENCY = {"intervalMinutes": 60}
PAUSED = {"is_paused": True}
HEALTHY = {"status": "ok"}
ERROR = {"error": "there is no batch 'batch_000099': there are batch_000001 to batch_000030"}

_ERRORS = {
    400: "a parameter, the body or the host name is not usable",
    401: "the token or the session is missing or wrong",
    404: "unknown",
    413: "the body is too large",
    429: "too many wrong tokens",
    502: "Innomaint refused or failed, or the work could not be done",
    503: "the database cannot be reached or used",
}


def _schema(example: object) -> dict[str, Any]:
    """Return a schema that demands an object's fields; what stands in them may be null."""
    if isinstance(example, dict):
        return {
            "type": "object",
            "properties": {name: {} for name in example},
            "required": list(example),
        }
    return {}


def describe(example: object, *errors: int, status: int = 200, words: str = "done") -> dict[int | str, Any]:
    """Return the answers of an address: the good one with its example, and its errors beside the usual."""
    good = {"application/json": {"schema": _schema(example), "example": example}}
    bad = {"application/json": {"schema": _schema(ERROR), "example": ERROR}}
    answers: dict[int | str, Any] = {status: {"description": words, "content": good}}
    for code in sorted({400, 401, 413, 429, 503, *errors}):
        answers[code] = {"description": _ERRORS[code], "content": bad}
    return answers
