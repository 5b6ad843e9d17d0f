"""Dagster's UI as a program sees it: the GraphQL that its buttons send."""

import json
import urllib.request
from collections.abc import Mapping
from typing import Any

ASSETS = (
    "innomaint_response",
    "ic3_building",
    "ic3_floor_master",
    "ic3_department_master",
    "ic3_asset_enrichment",
    "ic3_asset_performance",
    "ic3_workorder_summary",
    "cmms_sync_log",
)
_REPOSITORY = {"repositoryLocationName": "innomaint_pipeline", "repositoryName": "__repository__"}


class Ui:
    """The UI of one `innomaint up`."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/graphql"

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(self._url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            found = json.load(answer)
        assert "errors" not in found, found["errors"]
        return found["data"]

    def partitions(self, asset: str) -> dict[str, set[str]]:
        """Return an asset's partitions by state."""
        statuses = "failedPartitions materializedPartitions materializingPartitions unmaterializedPartitions"
        nodes = self.ask(
            "query($k: [AssetKeyInput!]) { assetNodes(assetKeys: $k) { assetPartitionStatuses { "
            f"... on DefaultPartitionStatuses {{ {statuses} }} }} }} }}",
            k=[{"path": [asset]}],
        )["assetNodes"]
        return {name: set(keys) for name, keys in nodes[0]["assetPartitionStatuses"].items()}

    def materialize(self, partition: str) -> str:
        """Launch a run of the job for one partition; return its id."""
        return self.launch("sync_batch", {"dagster/partition": partition})

    def launch(
        self, job: str, tags: Mapping[str, str] | None = None, config: Mapping[str, Any] | None = None
    ) -> str:
        """Launch a run of a job with a run config; return its id."""
        parameters = {
            "selector": {**_REPOSITORY, "jobName": job},
            "runConfigData": json.dumps(config or {}),
            "mode": "default",
            "executionMetadata": {
                "tags": [{"key": name, "value": value} for name, value in (tags or {}).items()]
            },
        }
        launched = self.ask(
            "mutation($p: ExecutionParams!) { launchRun(executionParams: $p) { __typename "
            "... on LaunchRunSuccess { run { runId } } ... on PythonError { message } "
            "... on RunConfigValidationInvalid { errors { message } } } }",
            p=parameters,
        )["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return launched["run"]["runId"]

    def backfill(self, partitions: set[str]) -> str:
        """Launch a backfill of all assets of the batch for some partitions; return its id."""
        parameters = {
            "assetSelection": [{"path": [name]} for name in ASSETS],
            "partitionNames": sorted(partitions),
            "tags": [],
        }
        launched = self.ask(
            "mutation($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) { __typename "
            "... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }",
            p=parameters,
        )["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        return launched["backfillId"]

    def backfill_status(self, backfill_id: str) -> str:
        return self.ask(
            "query($i: String!) { partitionBackfillOrError(backfillId: $i) "
            "{ ... on PartitionBackfill { status } } }",
            i=backfill_id,
        )["partitionBackfillOrError"]["status"]

    def runs(self, *statuses: str) -> list[dict[str, Any]]:
        return self.ask(
            "query($f: RunsFilter) { runsOrError(filter: $f, limit: 500) { ... on Runs { results "
            "{ runId status jobName tags { key value } } } } }",
            f={"statuses": list(statuses)} if statuses else {},
        )["runsOrError"]["results"]

    def terminate(self, run_id: str) -> None:
        ended = self.ask(
            "mutation($i: String!) { terminateRun(runId: $i) "
            "{ __typename ... on TerminateRunFailure { message } } }",
            i=run_id,
        )["terminateRun"]
        assert ended["__typename"] == "TerminateRunSuccess", ended
