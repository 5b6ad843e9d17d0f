"""`innomaint status`: the numbers of the tables, at once and without Dagster."""

import json
import re
import subprocess
import sys
from datetime import datetime

import pytest

from innomaint_pipeline.domain.innomaint.batches import lease_name
from innomaint_pipeline.simulator.innomaint.faults import Status
from innomaint_pipeline.store.leases import acquire_lease, report_progress
from innomaint_pipeline.store.tables import metadata
from innomaint_pipeline_tests.cli.conftest import Cli
from innomaint_pipeline_tests.conftest import FIRST_BATCH, Pipeline

KEYS = [
    "total_assets",
    "synced_assets",
    "failed_assets",
    "never_synced",
    "failed_by_class",
    "last_sync_at",
    "last_batch",
    "in_progress",
    "rate_per_second",
    "eta_seconds",
    "health",
    "total_syncs",
    "consecutive_failures",
    "average_duration_ms",
    "refresh_minutes",
    "next_due_at",
]
IMPORTED = """
import json, sys
from innomaint_pipeline.cli.main import main
try:
    main(["status", "--json"])
except SystemExit as ended:
    names = {name.partition(".")[0] for name in sys.modules}
    print(json.dumps({"code": ended.code, "modules": sorted(names)}), file=sys.stderr)
"""


def test_the_json_of_status_is_one_object_with_exactly_its_keys(connected: Cli, pipeline: Pipeline) -> None:
    del pipeline
    ended = connected("status", "--json")

    assert ended.code == 0
    assert list(ended.json) == KEYS
    assert ended.err == ""


def test_the_status_of_an_empty_database_is_unknown(connected: Cli, database: object) -> None:
    del database
    status = connected("status", "--json").json

    assert status["total_assets"] == 0
    assert status["health"] == "unknown"
    assert status["last_sync_at"] is status["average_duration_ms"] is status["next_due_at"] is None
    assert status["failed_by_class"] == {}
    assert status["last_batch"] == status["in_progress"] == []


def test_the_states_add_up_and_failures_are_counted_by_class(connected: Cli, pipeline: Pipeline) -> None:
    pipeline.simulator.faults.always(pipeline.serials[1], Status(404))
    pipeline.simulator.faults.always(pipeline.serials[2], Status(503))
    pipeline.sync(pipeline.run("run-1"))

    status = connected("status", "--json").json

    counts = [status[name] for name in ("synced_assets", "failed_assets", "never_synced", "total_assets")]
    assert counts == [4, 2, 6, 12]
    assert status["failed_by_class"] == {"not_found": 1, "transient": 1}
    assert status["total_syncs"] == 1
    (row,) = status["last_batch"]
    assert (row["batch_key"], row["status"], row["total"], row["assets_synced"], row["failed"]) == (
        FIRST_BATCH,
        "partial",
        6,
        4,
        2,
    )
    assert datetime.fromisoformat(status["last_sync_at"]).tzinfo is not None
    assert status["last_sync_at"] == row["synced_at"]


def test_the_five_newest_batches_are_shown_newest_first(connected: Cli, pipeline: Pipeline) -> None:
    for number in range(6):
        pipeline.sync(pipeline.run(f"run-{number}"))

    status = connected("status", "--json").json

    assert [row["run_id"] for row in status["last_batch"]] == [f"run-{number}" for number in (5, 4, 3, 2, 1)]
    assert status["total_syncs"] == 6


def test_a_batch_under_way_is_shown_with_its_progress(connected: Cli, pipeline: Pipeline) -> None:
    with pipeline.database.begin() as connection:
        acquire_lease(connection, lease_name(FIRST_BATCH), "run-1")
        report_progress(connection, lease_name(FIRST_BATCH), "run-1", total=6, done=2)

    (row,) = connected("status", "--json").json["in_progress"]

    assert (row["batch_key"], row["run_id"], row["total"], row["done"]) == (FIRST_BATCH, "run-1", 6, 2)


def test_people_read_the_status_on_standard_error(connected: Cli, pipeline: Pipeline) -> None:
    pipeline.simulator.faults.always(pipeline.serials[1], Status(404))
    pipeline.sync(pipeline.run("run-1"))

    ended = connected("status")

    assert ended.code == 0
    assert ended.out == ""
    for text in ("health:", "never synced", "not_found", "correct the asset id", FIRST_BATCH):
        assert text in ended.err, text


def row_versions(pipeline: Pipeline) -> dict[str, list[dict[str, object]]]:
    """Return which version of each row is there: writing a row makes another, even with the same values."""
    return {
        table.name: pipeline.rows(f'select ctid::text, xmin::text from "{table.name}"')
        for table in metadata.sorted_tables
    }


def test_status_makes_no_request_and_changes_no_row(connected: Cli, pipeline: Pipeline) -> None:
    before = row_versions(pipeline)

    connected("status", "--json")

    assert len(pipeline.simulator.record) == 0
    assert row_versions(pipeline) == before


@pytest.mark.usefixtures("pipeline")
def test_status_imports_neither_dagster_nor_pandas_nor_httpx(connected: Cli) -> None:
    del connected
    ended = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True)

    assert json.loads(ended.stdout)["total_assets"] == 12
    told = json.loads(ended.stderr)
    assert told["code"] == 0
    assert {"dagster", "dagster_shared", "pandas", "numpy", "httpx", "openpyxl"}.isdisjoint(told["modules"])
    assert "sqlalchemy" in told["modules"]


class Watched(KeyboardInterrupt):
    """The person who watches has seen enough."""


@pytest.fixture
def two_looks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let no time pass between two looks, and interrupt after the second."""
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 2:
            raise Watched

    monkeypatch.setattr("innomaint_pipeline.cli.innomaint.status.time.sleep", wait)
    return waited


def test_watching_without_a_terminal_prints_plain_blocks_with_groups_and_tables(
    connected: Cli, pipeline: Pipeline, two_looks: list[float]
) -> None:
    pipeline.simulator.faults.always(pipeline.serials[1], Status(404))
    pipeline.sync(pipeline.run("run-1"))

    ended = connected("status", "--watch")

    assert ended.code == 130
    assert two_looks == [5, 5]
    assert ended.out == ""
    assert ended.err.count("health:") == 2
    assert "1 not found in Innomaint" in ended.err
    assert re.search(r"ic3_asset_master +12\n", ended.err)
    assert not [sign for sign in ended.err if not sign.isprintable() and sign != "\n"]


@pytest.mark.usefixtures("two_looks", "pipeline")
def test_watching_as_json_prints_one_line_for_each_look(connected: Cli) -> None:
    ended = connected("status", "--watch", "--json")

    lines = [json.loads(line) for line in ended.out.splitlines()]
    assert [list(line) for line in lines] == [KEYS, KEYS]


def test_the_status_is_readable_at_80_columns_with_local_times_and_durations_in_words(
    connected: Cli, pipeline: Pipeline
) -> None:
    pipeline.sync(pipeline.run("first"))
    pipeline.execute(
        "update cmms_sync_log set duration_ms = 3723000, synced_at = '2026-06-20 10:00:05.123+00'"
    )
    pipeline.execute(
        "update innomaint_sync_state set last_success_at = '2026-06-20 10:00:05.123+00',"
        " last_changed_at = '2026-06-19 10:00:05.123+00'"
    )
    pipeline.execute(
        "update innomaint_sync_state set state = 'failed', error_class = 'not_found',"
        " failed_since = '2026-06-18 10:00:05.123+00' where asset_id = 1"
    )

    ended = connected.in_a_process("status", COLUMNS="80", TZ="Asia/Kolkata")

    assert ended.code == 0
    lines = ended.err.splitlines()
    assert max(map(len, lines)) <= 80
    (row,) = [line for line in lines if line.startswith("batch_000001")]
    assert row.split()[1:] == ["complete", "6", "6", "0", "0", "0", "1", "h", "02", "min"]
    words = " ".join(ended.err.split())
    assert "last sync 2026-06-20 15:30:05" in words
    assert "last answer 2026-06-20 15:30:05, last different one 2026-06-19 15:30:05" in words
    assert "not_found 1 2026-06-18 15:30:05 correct the asset id" in words
