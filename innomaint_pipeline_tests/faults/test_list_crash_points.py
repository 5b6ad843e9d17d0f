"""A run of the customer list killed between any two stages: the next one ends as if nothing had happened."""

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from innomaint_pipeline.crash_points import CRASH_POINTS
from innomaint_pipeline_tests.customers import Customers, customers, invent_rows
from innomaint_pipeline_tests.faults.list_child import MOMENT, read_list

__all__ = ["customers"]

POINTS = [point for point in CRASH_POINTS if point.startswith("list: ")]
ROOT = Path(__file__).resolve().parents[2]
TABLES = {
    "customer": "select erp_id, name, city, contact_hash, state, missing_since from customers.customer",
    "change": "select erp_id, kind, fields from customers.change",
    "snapshot": "select sha256, status, held from customers.snapshot",
    "rows": "select sha256, count(*) from customers.snapshot_row group by 1",
}


def contents(customers: Customers) -> dict[str, list[str]]:
    return {
        name: sorted(str(sorted(row.items())) for row in customers.rows(query))
        for name, query in TABLES.items()
    }


def prepare(customers: Customers) -> None:
    customers.execute("truncate customers.customer, customers.change, customers.snapshot cascade")
    customers.execute("truncate customers.sync_run")
    customers.sync(invent_rows(39), MOMENT - timedelta(hours=1), content=b"%PDF-before")


def test_a_killed_run_changes_nothing_of_how_it_ends(customers: Customers, database_url: str):
    prepare(customers)
    undisturbed = read_list(customers.database, customers.folder)
    assert undisturbed is not None
    expected: Any = contents(customers)
    command = [sys.executable, "-m", "innomaint_pipeline_tests.faults.list_child"]
    for point in POINTS:
        prepare(customers)
        killed = subprocess.run(
            [*command, database_url, str(customers.folder), point], cwd=ROOT, check=False, env=os.environ
        )
        assert killed.returncode == -signal.SIGKILL, point
        # Its lease expires by itself.
        customers.execute("delete from innomaint_lease")

        report = read_list(customers.database, customers.folder)

        assert report is not None
        assert contents(customers) == expected, point
        outcomes = [
            row["outcome"] for row in customers.rows("select outcome from customers.sync_run order by id")
        ]
        if point == "list: run closed":
            assert outcomes == ["succeeded_changed", "succeeded_changed", "skipped"]
        else:
            assert outcomes == ["succeeded_changed", "failed", "succeeded_changed"], point
    assert len(POINTS) == 6


@pytest.mark.parametrize("point", ["list: customers written"])
def test_a_run_that_has_lost_its_lease_writes_nothing(point: str, customers: Customers, monkeypatch):
    from innomaint_pipeline import crash_points  # noqa: PLC0415 # its function is replaced
    from innomaint_pipeline.errors import DatabaseError  # noqa: PLC0415

    def lose(reached: str) -> None:
        if reached == point:
            customers.execute(
                "update innomaint_lease set owner = 'another', expires_at = now() + interval '20 s'"
            )

    monkeypatch.setattr(crash_points, "reach", lose)
    with pytest.raises(DatabaseError, match="lost its lease"):
        customers.sync(invent_rows(5), waits_seconds=())
    assert customers.states() == {}
