"""Ours: batch after batch through fetch, enrich and settle, without Dagster, unthrottled."""

from __future__ import annotations

import json
import sys
import time
from zoneinfo import ZoneInfo

from pydantic import SecretStr

from innomaint_pipeline.sources.innomaint import InnomaintClient
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.innomaint.batches import find_batch_keys
from innomaint_pipeline.store.pacing import SharedPacing
from innomaint_pipeline.sync.innomaint.batch import BatchRun
from innomaint_pipeline.sync.innomaint.steps import enrich_batch, fetch_batch, settle_batch

ZONE = ZoneInfo("Asia/Kolkata")


def load(api_url: str, database_url: str) -> int:
    """Sync what is due; return how many CMMS assets."""
    database = Database(database_url)

    def open_client(run_id: str) -> InnomaintClient:
        pacing = SharedPacing(database, api_url, owner=run_id, rate_ms=0)
        return InnomaintClient(api_url, SecretStr("invented"), pacing)

    success = 0
    with database.begin() as connection:
        keys = find_batch_keys(connection)
    for key in keys:
        run = BatchRun(database, key, f"run-{key}-{time.time()}", 1440)
        fetch_batch(run, open_client, ZONE, is_last_step=False)
        enrich_batch(run, ZONE, is_rebuild=False, is_last_step=False)
        success += settle_batch(run, open_client, ZONE).counts.success
    database.close()
    return success


def main() -> None:
    """Load and print the result."""
    api_url, database_url, _ = sys.argv[1:4]
    began = time.perf_counter()
    assets = load(api_url, database_url)
    seconds = time.perf_counter() - began
    print(json.dumps({"assets": assets, "seconds": seconds, "cpu_seconds": time.process_time()}))


if __name__ == "__main__":
    main()
