"""A plain loop, as the replaced program was: one request, then one transaction with a statement per table.

It parses nothing beyond JSON and stores each section as it comes, so that it does less than the others.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import httpx
import psycopg

_TABLES = ("data", "performance", "workorder_upto", "workorder_last_year")


def load(api_url: str, database_url: str, serials: list[str]) -> int:
    """Ask for one CMMS asset after the other; return how many."""
    url = f"{api_url}/assetmanagement/getAssetIDDetailByAssetID"
    with psycopg.connect(database_url) as connection, httpx.Client(trust_env=False) as client:
        for table in _TABLES:
            connection.execute(f"create table plain_{table} (serial text primary key, body jsonb)")
        connection.commit()
        for serial in serials:
            answer = client.post(
                url, json={"serialnumber": serial}, headers={"Authorization": "Bearer invented"}
            )
            response = answer.raise_for_status().json()["response"]
            work = response["workorder_transactional"]
            sections = (response["data"], response["performance"], work["upto"], work["last_year"])
            for table, section in zip(_TABLES, sections, strict=True):
                connection.execute(
                    f"insert into plain_{table} values (%s, %s) on conflict (serial) do update "
                    "set body = excluded.body",
                    [serial, json.dumps(section)],
                )
            connection.commit()
    return len(serials)


def main() -> None:
    """Load and print the result."""
    api_url, database_url, serials_file = sys.argv[1:4]
    serials = json.loads(Path(serials_file).read_text(encoding="utf-8"))
    began = time.perf_counter()
    assets = load(api_url, database_url, serials)
    seconds = time.perf_counter() - began
    print(json.dumps({"assets": assets, "seconds": seconds, "cpu_seconds": time.process_time()}))


if __name__ == "__main__":
    main()
