"""`innomaint sync`: what each selection asks for, its JSON and its exit codes."""

import subprocess
import sys
import threading
import time
from collections import Counter
from typing import Any

import psycopg
import pytest

from innomaint_pipeline.domain.innomaint.batches import lease_name
from innomaint_pipeline.domain.innomaint.selection import AT_ONCE
from innomaint_pipeline.embedded.server import EmbeddedPostgres
from innomaint_pipeline.simulator.innomaint.faults import Status
from innomaint_pipeline.simulator.limit import build_fixed_latency
from innomaint_pipeline.store.connections import read_address
from innomaint_pipeline.store.leases import acquire_lease
from innomaint_pipeline_tests.cli.conftest import Cli
from innomaint_pipeline_tests.conftest import FIRST_BATCH, Pipeline

KEYS = ["total", "success", "failed", "skipped", "unchanged", "errors", "duration_ms"]
SECOND_BATCH = "batch_000002"


@pytest.fixture
def synced(connected: Cli, pipeline: Pipeline) -> Pipeline:
    """Both batches synced, nothing due, and the requests of it forgotten."""
    del connected
    for key in (FIRST_BATCH, SECOND_BATCH):
        pipeline.sync(pipeline.run(f"run-{key}", batch_key=key))
    pipeline.simulator.record.clear()
    return pipeline


def requested(pipeline: Pipeline) -> list[str | None]:
    return [start.serial for start in pipeline.simulator.record.starts]


def numbers(result: dict[str, Any]) -> tuple[int, ...]:
    """Return total, success, failed, skipped and unchanged, which must add up."""
    assert list(result) == KEYS
    assert result["total"] == result["success"] + result["failed"] + result["skipped"]
    assert result["unchanged"] <= result["success"]
    assert len(result["errors"]) == result["failed"]
    assert result["duration_ms"] > 0
    return tuple(result[name] for name in KEYS[:5])


def test_a_sync_takes_all_that_is_due_and_names_what_failed(connected: Cli, pipeline: Pipeline) -> None:
    missing, ailing = pipeline.serials[2], pipeline.serials[8]
    pipeline.simulator.faults.always(missing, Status(404)).always(ailing, Status(503))

    ended = connected("sync", "--json")

    assert ended.code == 1
    assert numbers(ended.json) == (12, 10, 2, 0, 0)
    assert sorted(ended.json["errors"]) == sorted(
        [
            f"{missing}: not_found: not found in Innomaint (HTTP 404)",
            f"{ailing}: transient: Innomaint failed (HTTP 503)",
        ]
    )
    assert f"{ailing}: transient: " in ended.err
    asked = Counter(requested(pipeline))
    assert asked == {**dict.fromkeys(pipeline.serials, 1), ailing: 6}

    pipeline.simulator.faults.clear()
    pipeline.simulator.record.clear()
    assert connected("sync", "--json").json["total"] == 0
    assert requested(pipeline) == []

    healed = connected("sync", "--retry-failed", "--json")
    assert healed.code == 0
    assert numbers(healed.json) == (1, 1, 0, 0, 0)
    assert requested(pipeline) == [ailing]


def test_a_sync_is_a_dagster_run_for_each_batch(connected: Cli, pipeline: Pipeline, dagster_url: str) -> None:
    assert connected("sync").code == 0

    runs = _rows(
        dagster_url,
        "select r.run_id, r.status, r.pipeline_name, jsonb_object_agg(t.key, t.value)"
        " from runs r join run_tags t using (run_id) group by 1, 2, 3",
    )
    assert {tags["dagster/partition"] for *_, tags in runs} == {FIRST_BATCH, SECOND_BATCH}
    for run_id, status, job, tags in runs:
        assert (status, job) == ("SUCCESS", "sync_batch")
        assert tags["innomaint/started_by"] == "command line"
        assert (
            pipeline.one("select count(*) as n from cmms_sync_log where run_id = :run", run=run_id)["n"] == 1
        )


def test_all_asks_for_every_asset_due_or_not(connected: Cli, synced: Pipeline) -> None:
    ended = connected("sync", "--all", "--json")

    assert ended.code == 0
    assert numbers(ended.json) == (12, 12, 0, 0, 12)
    assert Counter(requested(synced)) == Counter(synced.serials)


def test_a_slice_is_taken_in_report_order_across_batches(connected: Cli, synced: Pipeline) -> None:
    # The report may be in another order than the rows.
    synced.execute("update ic3_asset_master set report_seq_no = 100 - report_seq_no")
    in_report_order = synced.serials[::-1]

    ended = connected("sync", "--batch", "4", "--offset", "4", "--json")

    assert ended.code == 0
    assert numbers(ended.json) == (4, 4, 0, 0, 4)
    assert Counter(requested(synced)) == Counter(in_report_order[4:8])


def test_a_slice_beyond_the_end_is_empty(connected: Cli, synced: Pipeline) -> None:
    ended = connected("sync", "--batch", "4", "--offset", "12", "--json")

    assert ended.code == 0
    assert ended.json["total"] == 0
    assert requested(synced) == []


def test_a_partition_is_asked_for_whole_and_alone(connected: Cli, synced: Pipeline) -> None:
    ended = connected("sync", "--partition", SECOND_BATCH, "--json")

    assert ended.code == 0
    assert numbers(ended.json) == (6, 6, 0, 0, 6)
    assert Counter(requested(synced)) == Counter(synced.serials[6:])


def test_named_assets_are_asked_for_alone_each_once(connected: Cli, synced: Pipeline) -> None:
    wanted = [synced.serials[0], synced.serials[7]]

    ended = connected(
        "sync", "--asset", wanted[0], "--asset", wanted[1], "--asset", f" {wanted[1]} ", "--json"
    )

    assert ended.code == 0
    assert numbers(ended.json) == (2, 2, 0, 0, 2)
    assert Counter(requested(synced)) == Counter(wanted)


def test_a_few_assets_are_synced_at_once_without_a_run_and_dagster_is_told(
    connected: Cli, synced: Pipeline, dagster_url: str
) -> None:
    good, missing = synced.serials[0], synced.serials[7]
    synced.simulator.faults.always(missing, Status(404))

    ended = connected("sync", "--asset", good, "--asset", missing, "--json")

    assert ended.code == 1
    assert numbers(ended.json) == (2, 1, 1, 0, 1)
    assert ended.json["errors"] == [f"{missing}: not_found: not found in Innomaint (HTTP 404)"]
    assert _rows(dagster_url, "select 1 from runs") == []
    told = _rows(
        dagster_url,
        "select dagster_event_type, asset_key, partition from event_logs"
        " where asset_key like '%ic3_asset_enrichment%' order by partition",
    )
    assert told == [
        ("ASSET_MATERIALIZATION", '["ic3_asset_enrichment"]', FIRST_BATCH),
        ("ASSET_OBSERVATION", '["ic3_asset_enrichment"]', SECOND_BATCH),
    ]


def test_what_syncs_a_few_loads_neither_dagster_nor_the_service_nor_pandas_and_the_keeper_no_dagster() -> (
    None
):
    script = (
        "import sys, innomaint_pipeline.cli.innomaint.single; print(*sys.modules); "
        "import innomaint_pipeline.cli.up; print(*sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)

    by_few, by_keeper = (set(line.split()) for line in said.stdout.splitlines())
    assert "innomaint_pipeline.sync.innomaint.single" in by_few
    assert not {"dagster", "fastapi", "pandas"} & by_few
    assert "innomaint_pipeline.cli.up" in by_keeper
    assert not {"dagster", "pandas"} & by_keeper


def test_more_assets_than_a_few_are_dagster_runs(connected: Cli, synced: Pipeline, dagster_url: str) -> None:
    names = [argument for name in synced.serials[: AT_ONCE + 1] for argument in ("--asset", name)]

    assert connected("sync", *names).code == 0

    assert len(_rows(dagster_url, "select 1 from runs")) == 2


def test_a_refused_token_stops_a_few_at_once_with_the_json_of_sync(
    connected: Cli, pipeline: Pipeline
) -> None:
    pipeline.simulator.faults.always_everywhere(Status(401))

    ended = connected("sync", "--asset", pipeline.serials[0], "--json")

    assert ended.code == 3
    assert numbers(ended.json) == (1, 0, 0, 1, 0)
    assert "INNOMAINT_API_TOKEN" in ended.err
    assert pipeline.states()[pipeline.serials[0]] == ("never", None)


def test_an_asset_in_a_batch_with_other_failures_succeeds_by_itself(connected: Cli, synced: Pipeline) -> None:
    synced.execute(
        "update innomaint_sync_state set state = 'failed', error_class = 'transient' where asset_id = 3"
    )

    ended = connected("sync", "--asset", synced.serials[0], "--json")

    assert ended.code == 0
    assert numbers(ended.json) == (1, 1, 0, 0, 1)
    assert requested(synced) == [synced.serials[0]]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--partition", "batch_000009"], "batch_000009"),
        (["--partition", "nonsense"], "nonsense"),
        (["--partition", ""], "''"),
        (["--asset", "No such pump"], "No such pump"),
        (["--asset", ""], "''"),
    ],
)
def test_an_unknown_selection_exits_with_2_names_it_and_asks_for_nothing(
    connected: Cli, pipeline: Pipeline, options: list[str], named: str
) -> None:
    ended = connected("sync", *options, "--json")

    assert ended.code == 2
    assert named in ended.err
    assert ended.out == ""
    assert requested(pipeline) == []


def test_one_unknown_asset_among_known_ones_stops_the_command(connected: Cli, pipeline: Pipeline) -> None:
    ended = connected("sync", "--asset", pipeline.serials[0], "--asset", "No such pump")

    assert ended.code == 2
    assert requested(pipeline) == []


def test_retry_failed_takes_only_failures_worth_retrying_due_or_not(connected: Cli, synced: Pipeline) -> None:
    for asset_id, error_class in enumerate(
        ("transient", "rate_limited", "internal", "not_found", "contract", "data"), start=1
    ):
        synced.execute(
            "update innomaint_sync_state set state = 'failed', error_class = :kind,"
            " next_due_at = now() + interval '1 hour' where asset_id = :id",
            kind=error_class,
            id=asset_id,
        )

    ended = connected("sync", "--retry-failed", "--json")

    assert ended.code == 0
    assert numbers(ended.json)[:4] == (3, 3, 0, 0)
    assert Counter(requested(synced)) == Counter(synced.serials[:3])


def test_nothing_to_retry_asks_for_nothing(connected: Cli, synced: Pipeline) -> None:
    ended = connected("sync", "--retry-failed", "--json")

    assert (ended.code, ended.json["total"]) == (0, 0)
    assert requested(synced) == []


def test_a_refused_token_exits_with_3_and_marks_no_asset(connected: Cli, pipeline: Pipeline) -> None:
    pipeline.simulator.faults.always_everywhere(Status(401))

    ended = connected("sync", "--json")

    assert ended.code == 3
    assert numbers(ended.json) == (12, 0, 0, 12, 0)
    assert "refused the token (HTTP 401)" in ended.err
    assert "renew INNOMAINT_API_TOKEN" in ended.err
    assert set(pipeline.states().values()) == {("never", None)}
    assert {row["status"] for row in pipeline.rows("select status from cmms_sync_log")} == {"failed"}


def test_a_run_whose_row_the_database_refuses_says_so_and_is_not_repeated(
    connected: Cli, pipeline: Pipeline
) -> None:
    pipeline.execute(
        "create function refuse() returns trigger language plpgsql as"
        " $$ begin raise exception 'no rows today'; end $$"
    )
    pipeline.execute(
        "create trigger refuse before insert on cmms_sync_log for each row execute function refuse();"
        "create trigger refuse before insert on ic3_sync_log for each row"
        f" when (new.serialnumber = '{pipeline.serials[0]}') execute function refuse()"
    )

    ended = connected("sync", "--partition", FIRST_BATCH, "--json")

    assert ended.code == 0
    assert numbers(ended.json)[:4] == (6, 6, 0, 0)
    assert f"cmms_sync_log, each alone: '{FIRST_BATCH}': no rows today" in ended.err
    assert "refuses 1 rows of ic3_sync_log" in ended.err
    assert len(requested(pipeline)) == 6


def test_dagsters_database_that_refuses_in_mid_run_ends_it_with_4_and_loses_nothing(
    connected: Cli, postgres: EmbeddedPostgres, pipeline: Pipeline, dagster_url: str
) -> None:
    name = read_address(dagster_url)["dbname"]

    def refuse() -> None:
        while not len(pipeline.simulator.record):
            time.sleep(0.01)
        with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
            connection.execute(f"alter database {name} allow_connections false".encode())
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name]
            )

    pipeline.simulator.app.latency = build_fixed_latency(0.5)
    refusing = threading.Thread(target=refuse, daemon=True)
    refusing.start()
    try:
        ended = connected("sync", "--partition", FIRST_BATCH, "--json")
    finally:
        refusing.join()
        with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
            connection.execute(f"alter database {name} allow_connections true".encode())
        pipeline.simulator.app.latency = None

    assert ended.code == 4
    assert "Dagster's database" in ended.err
    assert name in ended.err
    assert pipeline.rows("select resource from innomaint_lease where expires_at > now()") == []
    assert pipeline.one("select count(*) from innomaint_response") == {"count": len(requested(pipeline))}
    again = connected("sync", "--partition", FIRST_BATCH, "--json")
    assert again.code == 0
    assert sorted(requested(pipeline)) == sorted(pipeline.serials[:6]), "nobody is asked for twice"
    assert set(pipeline.states().values()) == {("synced", None), ("never", None)}


def test_a_batch_that_another_run_works_on_is_waited_for(connected: Cli, pipeline: Pipeline) -> None:
    with pipeline.database.begin() as connection:
        assert acquire_lease(connection, lease_name(FIRST_BATCH), "a run that was killed", seconds=4)

    ended = connected("sync", "--partition", FIRST_BATCH, "--json")

    assert ended.code == 0
    assert numbers(ended.json)[:4] == (6, 6, 0, 0)


def test_the_vendors_example_stands_in_every_table_after_its_sync(connected: Cli, pipeline: Pipeline) -> None:
    serial = "Delhi Cantt Naraina_BP_01"
    assert pipeline.serials[0] == serial

    assert connected("sync", "--asset", serial).code == 0

    answer = pipeline.simulator.world.answer(serial)
    assert answer is not None
    data, work = answer["response"]["data"], answer["response"]["workorder_transactional"]
    master = pipeline.one("select * from ic3_asset_master where cmms_asset_id = :id", id=serial)
    assert (master["traceability_id"], master["building_id"], master["criticality"]) == (
        int(data["traceid"]),
        int(data["building_id"]),
        data["criticality"],
    )
    named = {"ic3_building": "building", "ic3_floor_master": "floor", "ic3_department_master": "department"}
    for table, kind in named.items():
        assert pipeline.one(f"select {kind}_id as id, {kind}_name as name from {table}") == {
            "id": int(data[f"{kind}_id"]),
            "name": data[f"{kind}_name"],
        }
    performance = pipeline.one("select * from ic3_asset_performance")
    assert performance["mttr"] == answer["response"]["performance"]["mttr"]
    assert performance["serialnumber"] == serial
    for row in pipeline.rows("select * from ic3_workorder_summary"):
        period = work[row["period_type"]]
        assert row["ticket_count"] == int(period["ticket_count"])
        assert f"{row['ticket_cost']}" == f"{float(period['ticket_cost'].replace(',', '')):.2f}"


def test_a_sync_in_a_process_of_its_own_prints_one_json_object_and_nothing_else(
    connected: Cli, pipeline: Pipeline
) -> None:
    del pipeline
    ended = connected.in_a_process("sync", "--partition", FIRST_BATCH, "--json")

    assert ended.code == 0
    assert numbers(ended.json)[:4] == (6, 6, 0, 0)
    assert "Traceback" not in ended.err
    assert "dagster" not in ended.err.lower()


def _rows(url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(query).fetchall()  # pyright: ignore[reportArgumentType, reportCallIssue]


def test_a_worker_that_cannot_start_is_told_at_once_and_its_request_is_kept(
    connected: Cli, pipeline: Pipeline
) -> None:
    connected.home.mkdir()
    (connected.home / "logs").write_text("where the folder of logs should be")

    ended = connected("sync", "--all", "--json")

    assert ended.code == 1
    assert "a worker process could not start: FileExistsError" in ended.err
    assert "is repeated" not in ended.err
    assert len(pipeline.simulator.record) == 0
    assert pipeline.one("select count(*) as n from innomaint_request where finished_at is null") == {"n": 1}
    (connected.home / "logs").unlink()
    again = connected("sync", "--all", "--json")
    assert again.code == 0
    assert "Taking up the same request" in again.err
