"""dlt: its REST source on a simulated Maximo, asset after asset by keyset, merged into the same PostgreSQL.

It sends the very requests that ours sends for its pages, and makes tables of the children by itself. Runs in
an environment of its own (requirements.txt of the benchmarks); imports nothing of the product.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from http.cookiejar import DefaultCookiePolicy

import dlt
from dlt.sources.helpers.requests import Session
from dlt.sources.helpers.rest_client.paginators import BasePaginator
from dlt.sources.rest_api import rest_api_source

from benchmarks.peers.dlt_pipeline import build_credentials

_SIZE = 500


class KeysetPaginator(BasePaginator):
    """Asks for the rows behind the last id, until a page is not full."""

    def __init__(self, scope: str) -> None:
        super().__init__()
        self._scope = scope
        self._last = 0

    def update_state(self, response, data=None):  # noqa: ARG002 # dlt's own signature
        rows = data or []
        self._has_next_page = len(rows) == _SIZE
        if rows:
            self._last = rows[-1]["assetuid"]

    def update_request(self, request):
        request.params["oslc.where"] = f"{self._scope} and assetuid>{self._last}"


def build_source(base_url: str, key: str, site: str):
    """Return the assets of a site, in full."""
    scope = f'siteid="{site}"'
    session = Session()
    # Maximo sets a session on every answer, and refuses a key that comes together with it.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return rest_api_source(
        {
            "client": {
                "base_url": f"{base_url}/api/",
                "session": session,
                "auth": {"type": "api_key", "name": "apikey", "api_key": key, "location": "header"},
            },
            "resources": [
                {
                    "name": "assets",
                    "primary_key": "assetuid",
                    "write_disposition": "merge",
                    "endpoint": {
                        "path": "os/mxapiasset",
                        "data_selector": "member",
                        "paginator": KeysetPaginator(scope),
                        "params": {
                            "lean": "1",
                            "ignorecollectionref": "1",
                            "internalvalues": "1",
                            # Doubled braces are braces to dlt.
                            "oslc.select": "*,assetmeter{{*}},assetspec{{*}},doclinks{{*}}",
                            "oslc.where": scope,
                            "domaininternalwhere": "status=OPERATING",
                            "oslc.orderBy": "+assetuid",
                            "oslc.pageSize": str(_SIZE),
                        },
                    },
                }
            ],
        }
    )


def main() -> None:
    """Load and print the result."""
    base_url, database_url, key, site = sys.argv[1:5]
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        pipeline = dlt.pipeline(
            "peer",
            pipelines_dir=folder,
            destination=dlt.destinations.postgres(credentials=build_credentials(database_url)),
            dataset_name="peer",
        )
        pipeline.run(build_source(base_url, key, site))
        seconds = time.perf_counter() - began
        assets = pipeline.last_trace.last_normalize_info.row_counts["assets"]
    print(json.dumps({"assets": assets, "seconds": seconds, "cpu_seconds": time.process_time()}))


if __name__ == "__main__":
    main()
