"""dlt: its REST client, eight requests at once, merged by serial number into the same PostgreSQL.

Runs in an environment of its own (requirements.txt of the benchmarks); imports nothing of the product.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

os.environ |= {
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "ERROR",
    "EXTRACT__WORKERS": "8",
    "EXTRACT__MAX_PARALLEL_ITEMS": "64",
}

import dlt
from dlt.destinations.impl.postgres.configuration import PostgresCredentials
from dlt.sources.helpers.rest_client import RESTClient
from dlt.sources.helpers.rest_client.auth import BearerTokenAuth


def build_source(api_url: str, serials: list[str]):
    """Return serial numbers, and the transformer that asks for each of them."""
    client = RESTClient(base_url=api_url, auth=BearerTokenAuth("invented"))

    @dlt.resource(name="serials", selected=False)
    def list_serials():
        yield from serials

    @dlt.transformer(
        data_from=list_serials,
        name="asset_detail",
        primary_key="serialnumber",
        write_disposition="merge",
        parallelized=True,
    )
    def asset_detail(serial):
        answer = client.post("assetmanagement/getAssetIDDetailByAssetID", json={"serialnumber": serial})
        answer.raise_for_status()
        yield {"serialnumber": serial, **answer.json()["response"]}

    return asset_detail


def build_credentials(database_url: str) -> PostgresCredentials:
    """Return an address as dlt takes it: it wants a password and a host, and passes the query on."""
    parts = urlsplit(database_url)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    credentials = PostgresCredentials()
    credentials.database = parts.path.lstrip("/")
    credentials.username = parts.username
    credentials.password = "unused"
    credentials.host = parts.hostname or "localhost"
    credentials.port = int(query.pop("port", parts.port or 5432))
    credentials.query = query
    return credentials


def main() -> None:
    """Load and print the result."""
    api_url, database_url, serials_file = sys.argv[1:4]
    serials = json.loads(Path(serials_file).read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        pipeline = dlt.pipeline(
            "peer",
            pipelines_dir=folder,
            destination=dlt.destinations.postgres(credentials=build_credentials(database_url)),
            dataset_name="peer",
        )
        pipeline.run(build_source(api_url, serials))
        seconds = time.perf_counter() - began
        assets = pipeline.last_trace.last_normalize_info.row_counts["asset_detail"]
    print(json.dumps({"assets": assets, "seconds": seconds, "cpu_seconds": time.process_time()}))


if __name__ == "__main__":
    main()
