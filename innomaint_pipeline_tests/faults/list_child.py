"""A run of the customer list that is killed at a point: the address, the folder, the point."""

import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from innomaint_pipeline import crash_points
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.sync.customers.running import RunReport, sync_list
from innomaint_pipeline_tests.customers import Customers, changed, invent_rows, without

MOMENT = datetime(2026, 6, 20, 10, tzinfo=UTC)


def read_list(database: Database, folder: Path) -> RunReport | None:
    """Read a list of which one customer is new, one changed, one gone; a run of its own each time."""
    rows = without(
        [changed(row, city="Forlì") if n == 5 else row for n, row in enumerate(invent_rows(40))], 3
    )
    run = Customers(database, folder).run(rows, MOMENT, content=b"%PDF-the same", run_id=f"run-{os.getpid()}")
    return sync_list(run)


if __name__ == "__main__":
    url, folder, point = sys.argv[1:]

    def reach(reached: str) -> None:
        if reached == point:
            os.kill(os.getpid(), signal.SIGKILL)

    crash_points.reach = reach
    read_list(Database(url), Path(folder))
