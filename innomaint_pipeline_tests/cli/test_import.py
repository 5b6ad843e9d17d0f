"""`innomaint import`: its JSON, its exit codes, and what it leaves behind."""

import os
from pathlib import Path
from typing import Any

import psycopg
import pytest

from innomaint_pipeline.simulator.innomaint.workbook import write_sample_workbook
from innomaint_pipeline.simulator.innomaint.world import World
from innomaint_pipeline_tests.cli.conftest import Cli
from innomaint_pipeline_tests.conftest import Pipeline
from innomaint_pipeline_tests.sources.workbook.workbook_files import write_xlsx

COUNTS = ["rows", "inserted", "updated", "unchanged", "rejected", "missing", "batches"]
KEYS = [*COUNTS, "sheets", "header_row", "columns", "attributes", "notices", "issues"]


def counts(ended: Any) -> list[int]:
    return [ended.json[name] for name in COUNTS]


@pytest.fixture
def workbook() -> Path:
    path = Path("master.xlsx")
    write_sample_workbook(World(12), path)
    return path


def count(url: str, query: str) -> Any:
    with psycopg.connect(url) as connection:
        row = connection.execute(query).fetchone()  # pyright: ignore[reportArgumentType, reportCallIssue]
        assert row is not None
        return row[0]


def assets_in(url: str) -> int:
    return count(url, "select count(*) from ic3_asset_master")


@pytest.fixture
def _connected(connected: Cli, workbook: Path, database: object) -> None:
    """Order matters: the workbook is written in the command's own folder."""
    del connected, workbook, database


pytestmark = pytest.mark.usefixtures("_connected")


def test_the_json_of_an_import_is_one_object_with_exactly_its_keys(connected: Cli) -> None:
    ended = connected("import", "master.xlsx", "--json")

    assert ended.code == 0
    assert list(ended.json) == KEYS
    assert counts(ended) == [12, 12, 0, 0, 0, 0, 2]
    assert ended.json["sheets"] == ["Asset Master"]
    assert ended.json["header_row"] == 3
    assert ended.json["columns"]["Asset ID"] == "cmms_asset_id"
    assert ended.json["attributes"] == ["Warranty Upto", "Remarks", "GPS"]
    assert (ended.json["notices"], ended.json["issues"]) == ([], 0)


def test_without_json_standard_output_stays_empty_and_people_read_the_counts(connected: Cli) -> None:
    ended = connected("import", "master.xlsx")

    assert ended.code == 0
    assert ended.out == ""
    assert "inserted" in ended.err
    assert "12" in ended.err


def test_an_import_needs_no_token(connected: Cli) -> None:
    del os.environ["INNOMAINT_API_TOKEN"]

    assert connected("import", "master.xlsx").code == 0


def test_a_second_import_changes_nothing(connected: Cli) -> None:
    connected("import", "master.xlsx")

    assert counts(connected("import", "master.xlsx", "--json")) == [12, 0, 0, 12, 0, 0, 2]


def test_assets_that_the_workbook_no_longer_holds_are_kept_and_counted(
    connected: Cli, database_url: str
) -> None:
    connected("import", "master.xlsx")
    Path("one.csv").write_text("Asset ID,Make\nP-1,KSB\n")

    ended = connected("import", "one.csv", "--json")

    assert (ended.json["missing"], ended.json["inserted"], ended.json["batches"]) == (12, 1, 3)
    assert assets_in(database_url) == 13


def test_an_import_is_shown_in_dagster_with_its_partitions(connected: Cli, dagster_url: str) -> None:
    connected("import", "master.xlsx")

    assert count(dagster_url, "select array_agg(partition order by 1) from dynamic_partitions") == [
        "batch_000001",
        "batch_000002",
    ]
    made = "select count(*) from event_logs where dagster_event_type = 'ASSET_MATERIALIZATION'"
    assert count(dagster_url, made + " and asset_key = '[\"ic3_asset_master\"]'") == 1


def test_a_dry_run_counts_and_changes_nothing(connected: Cli, database_url: str, dagster_url: str) -> None:
    Path("bad.csv").write_text("Asset ID,Make\nP-1,KSB\n,KSB\n")

    for name, values in (("master.xlsx", [12, 12, 0, 0, 0, 0, 2]), ("bad.csv", [2, 1, 0, 0, 1, 0, 1])):
        ended = connected("import", name, "--dry-run", "--json")
        assert ended.code == 0
        assert "nothing was changed" in ended.err
        assert counts(ended) == values

    for table in ("ic3_asset_master", "innomaint_sync_state", "innomaint_import_reject", "ic3_sync_log"):
        assert count(database_url, f"select count(*) from {table}") == 0, table
    assert count(dagster_url, "select count(*) from dynamic_partitions") == 0
    assert count(dagster_url, "select count(*) from event_logs") == 0


def test_some_rejected_rows_exit_with_0_and_are_explained(connected: Cli, database_url: str) -> None:
    Path("some.csv").write_text("Asset ID,Make\nP-1,KSB\n,KSB\nP-1,again\n")

    ended = connected("import", "some.csv", "--json")

    assert ended.code == 0
    assert (ended.json["rows"], ended.json["inserted"], ended.json["rejected"]) == (3, 1, 2)
    assert ended.err.count("rejected (1): ") == 2
    assert count(database_url, "select count(*) from innomaint_import_reject") == 2


def test_when_every_row_is_rejected_the_import_exits_with_1(connected: Cli, database_url: str) -> None:
    Path("bad.csv").write_text("Asset ID,Make\n,KSB\n,KSB\n")

    ended = connected("import", "bad.csv", "--json")

    assert ended.code == 1
    assert (ended.json["rows"], ended.json["rejected"]) == (2, 2)
    assert assets_in(database_url) == 0


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("missing.xlsx", None),
        ("broken.xlsx", b"PK\x03\x04 and then nothing of a workbook"),
        ("text.xlsx", b"no workbook at all"),
        ("no-id.csv", b"Make,Model\nKSB,A\n"),
        ("letter.docx", b"Dear all"),
    ],
)
def test_an_unreadable_workbook_exits_with_2_names_the_file_and_changes_nothing(
    connected: Cli, database_url: str, name: str, content: bytes | None
) -> None:
    if content is not None:
        Path(name).write_bytes(content)

    ended = connected("import", name, "--json")

    assert ended.code == 2
    assert name in ended.err
    assert ended.out == ""
    assert "Traceback" not in ended.err
    assert assets_in(database_url) == 0


def test_an_unknown_sheet_exits_with_2_and_names_those_there_are(connected: Cli) -> None:
    ended = connected("import", "master.xlsx", "--sheet", "Pumps")

    assert ended.code == 2
    assert "Pumps" in ended.err
    assert "Asset Master" in ended.err


def test_people_are_told_what_was_read_and_what_was_not(connected: Cli) -> None:
    connected("import", "master.xlsx")
    Path("odd.csv").write_text(
        "Asset ID,Mfr,Installation Date,Asset Name\nP-1,KSB,soon,#N/A\nTotal,,,1\nP-2,x,,y\n"
    )
    for options in (["--dry-run"], []):
        ended = connected("import", "odd.csv", "--json", *options)
        for words in (
            "odd.csv: sheet 'odd', header in row 1",
            "'Asset ID' -> cmms_asset_id",
            "kept as attributes: Mfr",
            "notice: an error or a formula",
            "odd!D2",
            "rejected (1): the row is a total, no asset: 'Total' [odd, row 3]",
            "P-1: 'Installation Date' (C2): 'soon' is no date",
            "missing, in the database and not in the workbook: Delhi Cantt Naraina_BP_01, ",
        ):
            assert words in ended.err, words
        assert (ended.json["issues"], ended.json["missing"]) == (1, 12)


def test_several_sheets_can_be_named(connected: Cli) -> None:
    head = ["Asset ID", "Make"]
    write_xlsx(
        Path("two.xlsx"), {"A": [head, ["P-1", "x"]], "B": [head, ["P-2", "x"]], "C": [head, ["P-3", "x"]]}
    )
    ended = connected("import", "two.xlsx", "--sheet", "C", "--sheet", "A", "--json")
    assert (ended.json["sheets"], ended.json["inserted"]) == (["C", "A"], 2)


def test_a_sheet_can_be_named(connected: Cli) -> None:
    assert connected("import", "master.xlsx", "--sheet", "Asset Master", "--json").json["inserted"] == 12


def test_a_mapping_file_adds_headers(connected: Cli, database_url: str) -> None:
    Path("odd.csv").write_text("Pump tag,Maker's plate\nP-1,KSB\n")
    Path("mapping.json").write_text('{"Pump tag": "cmms_asset_id", "Maker\'s plate": "make"}')

    refused = connected("import", "odd.csv")
    ended = connected("import", "odd.csv", "--mapping", "mapping.json", "--json")

    assert refused.code == 2
    assert ended.code == 0
    assert count(database_url, "select make from ic3_asset_master where cmms_asset_id = 'P-1'") == "KSB"


@pytest.mark.parametrize("content", [None, "{", '{"Pump tag": "no_column"}'])
def test_a_mapping_file_that_cannot_be_used_exits_with_2_and_is_named(
    connected: Cli, content: str | None
) -> None:
    if content is not None:
        Path("mapping.json").write_text(content)

    ended = connected("import", "master.xlsx", "--mapping", "mapping.json")

    assert ended.code == 2
    assert "mapping.json" in ended.err


def test_a_refused_import_leaves_the_old_state(connected: Cli, pipeline: Pipeline, database_url: str) -> None:
    before = pipeline.rows("select * from ic3_asset_master order by asset_id")
    Path("text.xlsx").write_text("no workbook at all")

    connected("import", "text.xlsx")

    assert pipeline.rows("select * from ic3_asset_master order by asset_id") == before
    assert assets_in(database_url) == 12
