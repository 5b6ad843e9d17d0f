"""The shape of the plans that must not grow with the asset master; no time is asserted."""

import re

import pytest

from benchmarks.queries import explain, fill, operations, set_moment
from innomaint_pipeline.domain.innomaint.progress import OUTCOMES_AT_MOST
from innomaint_pipeline.store.database import Database

SIZE = 20_000
# A row for each account, running batch or setting, a few for each batch; and the batch rows that are kept, of
# which an average is taken over all.
ALLOWED = {
    "innomaint_rate_limit",
    "innomaint_lease",
    "innomaint_setting",
    "innomaint_batch_count",
    "cmms_sync_log",
}


@pytest.fixture
def filled(database: Database) -> Database:
    fill(database, SIZE)
    return database


def scanned_whole(plans: list[str]) -> set[str]:
    return set(re.findall(r"Seq Scan on (\w+)", "\n".join(plans)))


def rows_read(plans: list[str]) -> int:
    """Return how many rows the scans of tables with a row for each CMMS asset gave."""
    scans = re.findall(
        r"Scan .*?(?:on|using) (?:ic3_asset_master|innomaint_sync_state|ix_innomaint_sync_state)\w*\b.*?"
        r"actual rows=([\d.]+) loops=(\d+)",
        "\n".join(plans),
    )
    assert scans, plans
    return sum(round(float(rows) * int(loops)) for rows, loops in scans)


@pytest.mark.parametrize(
    "moment",
    [
        "just imported",
        pytest.param("all but the missing due", marks=pytest.mark.leaves("synced_without_answer")),
        pytest.param("nothing due", marks=pytest.mark.leaves("synced_without_answer")),
    ],
)
def test_however_much_is_due_whole_batches_are_never_counted_row_by_row(
    filled: Database, moment: str
) -> None:
    set_moment(filled, moment)
    # The status reads the newest outcomes, for the pace.
    for name, most in (("sensor decision", 10), ("status", OUTCOMES_AT_MOST + 10)):
        plans = explain(filled, operations(filled)[name])
        assert rows_read(plans) < most, (name, plans)


@pytest.mark.parametrize("name", ["sensor decision", "status", "claim of due work"])
@pytest.mark.leaves("synced_without_answer")
def test_what_runs_all_the_time_scans_no_table_while_little_is_due(filled: Database, name: str) -> None:
    for moment in ("a hundredth due", "nothing due"):
        set_moment(filled, moment)
        plans = explain(filled, operations(filled)[name], is_analyzed=False)
        assert plans
        assert scanned_whole(plans) <= ALLOWED, (moment, plans)


def test_the_claim_of_a_batch_reads_its_rows_by_index_even_when_everything_is_due(filled: Database) -> None:
    set_moment(filled, "just imported")
    plans = "\n".join(explain(filled, operations(filled)["claim of due work"], is_analyzed=False))
    assert re.search(r"Index Cond: .*batch_key = 'batch_000003'", plans)
    assert scanned_whole([plans]) == set()


@pytest.mark.leaves("synced_without_answer")
def test_the_oldest_success_is_read_from_one_end_of_an_index(filled: Database) -> None:
    set_moment(filled, "nothing due")
    plans = explain(filled, operations(filled)["status"], is_analyzed=False)
    assert any("ix_innomaint_sync_state_success" in plan and "Limit" in plan for plan in plans)


@pytest.mark.leaves("synced_without_answer")
def test_a_missing_index_is_seen(filled: Database) -> None:
    set_moment(filled, "nothing due")
    with filled.begin() as connection:
        connection.exec_driver_sql("drop index ix_innomaint_sync_state_success")
    plans = explain(filled, operations(filled)["status"], is_analyzed=False)
    assert "innomaint_sync_state" in scanned_whole(plans)
