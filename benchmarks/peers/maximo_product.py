"""Ours: every asset of a simulated Maximo from the API to all tables, without Dagster, unthrottled."""

from __future__ import annotations

import json
import sys
import time

from pydantic import SecretStr

from innomaint_pipeline.domain.maximo.declarations import BY_SHORT_NAME
from innomaint_pipeline.sources.maximo.client import MaximoClient
from innomaint_pipeline.sources.outcomes import RequestPolicy
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.pacing import SharedPacing
from innomaint_pipeline.sync.maximo.reading import MaximoRun
from innomaint_pipeline.sync.maximo.steps import sync_structure


def load(base_url: str, database_url: str, key: str, site: str) -> int:
    """Read the assets of a site in full; return how many are new in the tables."""
    database = Database(database_url)

    def open_client(run_id: str) -> MaximoClient:
        pacing = SharedPacing(database, base_url, owner=run_id, rate_ms=0)
        return MaximoClient(base_url, SecretStr(key), pacing, RequestPolicy(timeout_seconds=120))

    row = sync_structure(MaximoRun(database, BY_SHORT_NAME["assets"], site, "measured"), open_client)
    database.close()
    if row["status"] != "success":
        raise RuntimeError(f"the read ended with {row}")
    return row["inserted"]


def main() -> None:
    """Load and print the result."""
    began = time.perf_counter()
    assets = load(*sys.argv[1:5])
    seconds = time.perf_counter() - began
    print(json.dumps({"assets": assets, "seconds": seconds, "cpu_seconds": time.process_time()}))


if __name__ == "__main__":
    main()
