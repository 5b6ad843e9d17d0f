"""The answers about Innomaint, as models: names, types and an example of every field."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from innomaint_pipeline.api.models import (
    Answer,
    DagsterUrl,
    Flag,
    MaybeMoment,
    MaybeRunId,
    Moment,
    RunId,
    RunUrl,
    example_field,
)
from innomaint_pipeline.domain.health import Health
from innomaint_pipeline.domain.innomaint.batches import BatchState
from innomaint_pipeline.domain.innomaint.progress import BatchProgress
from innomaint_pipeline.domain.innomaint.stops import WHAT_HELPS, StopCause
from innomaint_pipeline.domain.requests import RequestState
from innomaint_pipeline.domain.states import (
    WHAT_TO_DO,
    ErrorClass,
    SyncState,
)

REQUESTS = "/api/admin/cmms/requests"

AssetId = Annotated[str, example_field("Delhi Cantt Naraina_BP_01")]
BatchKey = Annotated[str, example_field("batch_000001")]
MaybeBatchKey = Annotated[str | None, example_field("batch_000001")]
DurationMs = Annotated[int | None, example_field(21000)]
RunStatus = Annotated[
    str | None, example_field("partial", description="complete, partial, failed or cancelled")
]
Address = Annotated[
    str,
    example_field(f"{REQUESTS}/7", validation_alias="id"),
    BeforeValidator(lambda request_id: f"{REQUESTS}/{request_id}"),
]
RequestId = Annotated[int, example_field(7)]
Asker = Annotated[str, example_field("page", description="page, or admin service and an address")]
What = Annotated[str | None, example_field("retry failed", description="the selection in words")]
State = Annotated[RequestState, example_field(RequestState.RUNNING)]
Message = Annotated[str | None, example_field("0 of 2 batches done")]
Total = Annotated[int, example_field(100)]
Done = Annotated[int, example_field(40)]
MaybeTotal = Annotated[int | None, example_field(100)]
Changed = Annotated[int | None, example_field(19)]
Unchanged = Annotated[int | None, example_field(80)]
Failed = Annotated[int | None, example_field(1)]
Skipped = Annotated[int | None, example_field(0)]
HealthReason = Annotated[str, example_field("The data are fresh and all CMMS assets are synced.")]
HealthAdvice = Annotated[str, example_field("nothing")]
AssetState = Annotated[SyncState, example_field(SyncState.FAILED)]
Class = Annotated[ErrorClass, example_field(ErrorClass.NOT_FOUND)]
MaybeClass = Annotated[ErrorClass | None, example_field(ErrorClass.NOT_FOUND)]
StopReason = Annotated[
    str | None,
    example_field("1 not found in Innomaint", description="why it ended early or failed; else null"),
]
MaybeCause = Annotated[str | None, example_field(StopCause.ASSETS)]
Reason = Annotated[str | None, example_field("Innomaint does not know the id (HTTP 404)")]


FailedSince = Annotated[
    MaybeMoment, Field(description="when the first of these failures in a row was; null unless failed")
]
LastAnswerAt = Annotated[MaybeMoment, Field(description="when a good answer last came")]
LastChangeAt = Annotated[
    MaybeMoment, Field(description="when a good answer last came that differed from the one before")
]


class BatchRunAnswer(Answer):
    """A row of cmms_sync_log."""

    id: RequestId
    sync_type: Annotated[str, example_field("api_sync")]
    status: RunStatus
    assets_synced: Annotated[int | None, example_field(99)]
    duration_ms: DurationMs
    synced_at: Moment
    batch_key: MaybeBatchKey
    run_id: MaybeRunId
    total: MaybeTotal
    failed: Failed
    unchanged: Unchanged
    skipped: Skipped
    reason: StopReason
    cause: MaybeCause


class BatchInProgressAnswer(Answer):
    """A batch that a run works on; between two batches the next one, without a key and a run."""

    batch_key: MaybeBatchKey
    run_id: MaybeRunId
    since: Moment
    total: Total
    done: Done
    state: Annotated[BatchProgress, example_field(BatchProgress.RUNNING)]
    sync_since: Annotated[Moment, Field(description="of the whole sync that it belongs to")]
    sync_total: Annotated[int, example_field(300, description="CMMS assets of the whole sync")]
    sync_done: Annotated[int, example_field(140, description="of those, with a known outcome")]


class StatusAnswer(Answer):
    """How far the sync is: the JSON of `innomaint status`."""

    total_assets: Annotated[int, example_field(2957)]
    synced_assets: Annotated[int, example_field(2900)]
    failed_assets: Annotated[int, example_field(38)]
    never_synced: Annotated[int, example_field(19)]
    failed_by_class: Annotated[dict[str, int], example_field({"not_found": 38})]
    last_sync_at: MaybeMoment
    last_batch: tuple[BatchRunAnswer, ...]
    in_progress: tuple[BatchInProgressAnswer, ...]
    rate_per_second: Annotated[float, example_field(5.0)]
    eta_seconds: Annotated[int | None, example_field(20)]
    health: Annotated[Health, example_field(Health.HEALTHY)]
    total_syncs: Annotated[int, example_field(30)]
    consecutive_failures: Annotated[int, example_field(0)]
    average_duration_ms: DurationMs
    refresh_minutes: Annotated[int, example_field(1440)]
    next_due_at: MaybeMoment


class MetricsAnswer(Answer):
    """The sync in six fields."""

    lastSyncTime: MaybeMoment  # noqa: N815 # the names in the JSON
    lastResult: RunStatus  # noqa: N815
    totalSyncs: Annotated[int, example_field(30)]  # noqa: N815
    consecutiveFailures: Annotated[int, example_field(0)]  # noqa: N815
    averageDuration: DurationMs  # noqa: N815
    health: Annotated[Health, example_field(Health.HEALTHY)]


class HealthAnswer(Answer):
    """Health with its reason."""

    word: Annotated[Health, example_field(Health.HEALTHY)]
    since: MaybeMoment
    reason: HealthReason
    what_to_do: HealthAdvice


class TimeLeftAnswer(Answer):
    """The time to finish: the estimate, and a range around it."""

    seconds: Annotated[int, example_field(30)]
    low_seconds: Annotated[int, example_field(12)]
    high_seconds: Annotated[int, example_field(45)]


class RunningBatchAnswer(Answer):
    """A batch that a run works on, and who asked for it."""

    batch_key: BatchKey
    done: Done
    total: Total
    state: Annotated[BatchProgress, example_field(BatchProgress.RUNNING)]
    run_id: RunId
    since: Moment
    run_url: RunUrl
    started_by: Annotated[str | None, example_field("page")]


class RunningAnswer(Answer):
    """The sync under way."""

    done: Done
    total: Total
    since: Moment
    batches: tuple[RunningBatchAnswer, ...]


class RecentRequestAnswer(Answer):
    """A request that is open or was finished a moment ago."""

    id: RequestId
    asked_by: Asker
    what: What
    state: State
    total: MaybeTotal
    message: Message
    asked_at: Moment
    success: Annotated[int | None, example_field(99)]
    failed: Failed
    skipped: Skipped
    address: Address


class LastImportAnswer(Answer):
    """The last import of a workbook, and what it counted."""

    at: Moment
    workbook: Annotated[str, example_field("asset-master.xlsx")]
    rows: Annotated[int, example_field(2960)]
    inserted: Annotated[int, example_field(0)]
    updated: Annotated[int, example_field(7)]
    unchanged: Annotated[int, example_field(2950)]
    rejected: Annotated[int, example_field(3)]
    missing: Annotated[int, example_field(0)]


class OverviewAnswer(Answer):
    """What the page shows at a glance."""

    generated_at: Moment
    source: Annotated[str | None, example_field("live", description="live or simulated")]
    status: StatusAnswer
    rate_limit_per_second: Annotated[float | None, example_field(5.0)]
    rate_now_limit_per_second: Annotated[float | None, example_field(3.5)]
    health: HealthAnswer
    eta: TimeLeftAnswer | None
    is_paused: Flag
    running: RunningAnswer | None
    requests: tuple[RecentRequestAnswer, ...]
    dagster_url: DagsterUrl = None
    tables: Annotated[dict[str, int], example_field({"ic3_asset_master": 2957})]
    last_answer_at: LastAnswerAt
    last_change_at: LastChangeAt
    last_import: LastImportAnswer | None
    changed_at: MaybeMoment


class LastRunAnswer(Answer):
    """The newest run of a batch that has ended."""

    run_id: MaybeRunId
    status: RunStatus
    synced_at: Moment
    duration_ms: DurationMs
    reason: StopReason
    cause: MaybeCause
    what_to_do: Annotated[str | None, example_field(WHAT_HELPS[StopCause.ASSETS])]
    run_url: RunUrl


class BatchAnswer(Answer):
    """A batch at a glance."""

    batch_key: BatchKey
    total: Total
    synced: Annotated[int, example_field(99)]
    failed: Annotated[int, example_field(1)]
    never: Annotated[int, example_field(0)]
    retryable: Annotated[int, example_field(0)]
    due: Annotated[int, example_field(0)]
    state: Annotated[BatchState, example_field(BatchState.PARTIAL)]
    last_run: LastRunAnswer | None


class BatchesAnswer(Answer):
    """Every batch, in the order of the keys."""

    batches: tuple[BatchAnswer, ...]


class FailureAnswer(Answer):
    """A failed CMMS asset."""

    cmms_asset_id: AssetId
    error_class: Class
    message: Reason
    failed_since: FailedSince
    last_attempt_at: MaybeMoment
    next_due_at: Moment


class EndedRunAnswer(Answer):
    """A run of a batch that has ended."""

    run_id: MaybeRunId
    status: RunStatus
    synced_at: Moment
    duration_ms: DurationMs
    total: MaybeTotal
    assets_synced: Annotated[int | None, example_field(99)]
    unchanged: Unchanged
    failed: Failed
    skipped: Skipped
    reason: StopReason
    cause: MaybeCause
    run_url: RunUrl


class BatchDetailAnswer(BatchAnswer):
    """A batch with its failures and its last runs."""

    failures: tuple[FailureAnswer, ...]
    failures_total: Annotated[int, example_field(1)]
    runs: tuple[EndedRunAnswer, ...]


class PlaceCountAnswer(Answer):
    """How many of a group are in a place."""

    location_name: Annotated[str | None, example_field("Khyala")]
    count: Annotated[int, example_field(31)]


class MessageCountAnswer(Answer):
    """How many of a group have a message."""

    message: Reason
    count: Annotated[int, example_field(38)]


class FailureGroupAnswer(Answer):
    """The failed CMMS assets of one class."""

    error_class: Class
    title: Annotated[str, example_field("38 not found in Innomaint")]
    count: Annotated[int, example_field(38)]
    is_retryable: Flag
    places: tuple[PlaceCountAnswer, ...]
    places_total: Annotated[int, example_field(4)]
    failed_since: FailedSince
    last_attempt_at: MaybeMoment
    next_due_at: MaybeMoment
    what_to_do: Annotated[str, example_field(WHAT_TO_DO[ErrorClass.NOT_FOUND])]
    messages: tuple[MessageCountAnswer, ...]
    examples: Annotated[tuple[str, ...], example_field(["Delhi Cantt Naraina_BP_01"])]


class FailuresAnswer(Answer):
    """The failed CMMS assets in groups, the largest first."""

    groups: tuple[FailureGroupAnswer, ...]


class PastRunAnswer(Answer):
    """A batch run as the charts show it."""

    synced_at: Moment
    batch_key: MaybeBatchKey
    status: RunStatus
    duration_ms: DurationMs
    total: MaybeTotal
    changed: Changed
    unchanged: Unchanged
    failed: Failed


class ProgressPointAnswer(Answer):
    """How many CMMS assets had their last success by a moment."""

    at: Moment
    synced: Annotated[int, example_field(2900)]


class HistoryAnswer(Answer):
    """What the sync did over time."""

    runs: tuple[PastRunAnswer, ...]
    progress: tuple[ProgressPointAnswer, ...]
    total_assets: Annotated[int, example_field(2957)]


class ListedAssetAnswer(Answer):
    """A CMMS asset in a list."""

    cmms_asset_id: AssetId
    asset_name: Annotated[str | None, example_field("Booster pump 1")]
    location_name: Annotated[str | None, example_field("Naraina")]
    state: AssetState
    error_class: MaybeClass
    batch_key: MaybeBatchKey
    failed_since: FailedSince
    last_success_at: LastAnswerAt
    last_changed_at: LastChangeAt


class AssetsAnswer(Answer):
    """A page of the CMMS assets that match, and how many there are."""

    total: Annotated[int, example_field(1)]
    assets: tuple[ListedAssetAnswer, ...]


class AssetValueAnswer(Answer):
    """A value, where it comes from, and how old it is."""

    group: Annotated[str, example_field("performance")]
    name: Annotated[str, example_field("mttr")]
    value: Annotated[Any, example_field("00:08:30", description="of any type that JSON has")]
    source: Annotated[str, example_field("innomaint", description="excel or innomaint")]
    as_of: MaybeMoment


class AttemptAnswer(Answer):
    """An import or a sync of a CMMS asset."""

    synced_at: MaybeMoment
    sync_type: Annotated[str | None, example_field("api_sync", description="api_sync or excel_import")]
    status: Annotated[str | None, example_field("error", description="success or error")]
    error_class: Annotated[str | None, example_field("not_found")]
    http_status: Annotated[int | None, example_field(404)]
    attempts: Annotated[int | None, example_field(1)]
    duration_ms: Annotated[int | None, example_field(800)]
    run_id: MaybeRunId
    message: Reason
    run_url: Annotated[RunUrl, Field(validation_alias="dagster_run_id")]


class DataIssueAnswer(Answer):
    """A value that could not be read."""

    field: Annotated[str, example_field("performance.mttr")]
    raw_value: Annotated[str | None, example_field("soon")]
    reason: Annotated[str, example_field("no duration")]
    first_seen_at: Moment
    last_seen_at: Moment
    resolved_at: MaybeMoment


class AssetDetailAnswer(Answer):
    """Everything about one CMMS asset."""

    cmms_asset_id: AssetId
    asset_id: Annotated[int, example_field(1)]
    batch_key: MaybeBatchKey
    state: AssetState
    error_class: MaybeClass
    error_message: Reason
    consecutive_failures: Annotated[int, example_field(1)]
    failed_since: FailedSince
    last_attempt_at: MaybeMoment
    last_success_at: LastAnswerAt
    last_changed_at: LastChangeAt
    next_due_at: Moment
    sync_version: Annotated[int | None, example_field(3)]
    what_to_do: Annotated[str | None, example_field(WHAT_TO_DO[ErrorClass.NOT_FOUND])]
    values: tuple[AssetValueAnswer, ...]
    attempts: tuple[AttemptAnswer, ...]
    data_issues: tuple[DataIssueAnswer, ...]
    raw_answer: Annotated[Any, example_field({"status": True}, description="null where there is none")]
    fetched_at: MaybeMoment


class SyncResultAnswer(Answer):
    """The JSON of `innomaint sync`."""

    total: Total
    success: Annotated[int, example_field(99)]
    failed: Annotated[int, example_field(1)]
    skipped: Annotated[int, example_field(0)]
    unchanged: Annotated[int, example_field(80)]
    errors: Annotated[
        tuple[str, ...],
        example_field(["Delhi Cantt Naraina_BP_01: not_found: Innomaint does not know the id (HTTP 404)"]),
    ]
    duration_ms: Annotated[int, example_field(21000)]


class RequestRunAnswer(Answer):
    """A run that was made for a batch of a request."""

    batch_key: Annotated[BatchKey, Field(validation_alias="part")]
    run_id: RunId
    run_url: RunUrl


class RequestAnswer(Answer):
    """How far a request is, and its result."""

    id: RequestId
    address: Address
    asked_by: Asker
    asked_at: Moment
    finished_at: MaybeMoment
    what: What
    state: State
    message: Message
    result: SyncResultAnswer | None
    runs: tuple[RequestRunAnswer, ...]


class StoredAnswer(Answer):
    """A request that is stored, and where it reports."""

    request_id: Annotated[RequestId, Field(validation_alias="id")]
    address: Address
    state: State
    message: Message


class SyncedAnswer(Answer):
    """A CMMS asset that was synced now."""

    status: Annotated[str, example_field("synced")]
    cmms_asset_id: AssetId
    traceability_id: Annotated[int | None, example_field(577833)]


class PausedAnswer(Answer):
    """Whether continuous sync is paused."""

    is_paused: Flag
