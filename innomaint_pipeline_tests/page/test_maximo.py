"""The cards of Maximo: shown where it is read, with the numbers of the tables, and a read is asked for."""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import dagster as dg
from playwright.sync_api import expect

from innomaint_pipeline.domain.maximo.declarations import STRUCTURES
from innomaint_pipeline.store.maximo.tables import TABLES
from innomaint_pipeline_tests.api.conftest import ADMIN_TOKEN
from innomaint_pipeline_tests.cli.conftest import INNOMAINT
from innomaint_pipeline_tests.defs.conftest import (
    _ephemeral_instance,
    bare_environment,
    instance,
    materializations,
)
from innomaint_pipeline_tests.defs.maximo.conftest import beside
from innomaint_pipeline_tests.defs.maximo.test_runs import run
from innomaint_pipeline_tests.maximo import Maximo, _maximo_process, maximo

__all__ = ["_ephemeral_instance", "_maximo_process", "bare_environment", "beside", "instance", "maximo"]


def test_the_cards_tell_the_numbers_of_the_tables_and_ask_for_a_read(visitor, maximo: Maximo):
    visitor.sign_in()
    expect(visitor.page.locator("#maximo")).to_be_hidden()
    maximo.sync("assets")

    expect(visitor.page.locator("#maximo-assets")).to_contain_text("success · 230 records")
    expect(visitor.page.locator("#maximo-domain")).to_contain_text("pending · 0 records · never read")
    assert visitor.page.locator(".maximo-cards li").count() == 6
    visitor.page.locator("#maximo-sync-all").click()
    expect(visitor.page.locator(".maximo-task").first).to_contain_text("pending, 0 %")
    expect(visitor.page.locator("#maximo-sync-all")).to_be_disabled()
    (row,) = maximo.rows("select kind, options ->> 'endpoint' as e from innomaint_request")
    assert row == {"kind": "maximo/read", "e": "all"}


def test_page_command_http_sql_and_dagster_tell_the_same_numbers(
    visitor, maximo: Maximo, beside: dg.DagsterInstance
):
    def run_jobs() -> dict[str, dict]:
        # In a thread: this one has the loop of the browser.
        ended = [run(beside, "maximo_global"), run(beside, "maximo_site")]
        for identifier in range(1001, 1116):
            maximo.world.remove("mxapiasset", identifier)
        ended.append(run(beside, "maximo_site", force_full=True))
        assert all(item.success for item in ended)
        return {name: found for item in ended for name, found in materializations(item).items()}

    with ThreadPoolExecutor(1) as thread:
        made = thread.submit(run_jobs).result()
    command = [INNOMAINT, "maximo", "status", "--json"]
    printed = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    visitor.sign_in()
    answered = visitor.page.evaluate(
        "token => fetch('/api/sync-status', {headers: {Authorization: `Bearer ${token}`}})"
        ".then(answer => answer.json())",
        ADMIN_TOKEN,
    )

    rows = {row["endpoint"]: row for row in maximo.rows("select * from maximo.sync_status")}
    assert list(rows) == ["domain", "peruser", "locations", "assets", "inventory", "wodetail", "ALL"]
    assert {name: row["status"] for name, row in rows.items() if row["status"] != "success"} == {
        "assets": "partial",
        "ALL": "partial",
    }
    assert "115 of 230 rows" in rows["assets"]["message"]
    counts = {name: maximo.value(f"select count(*) from maximo.{name}") for name in TABLES}
    for told in (printed, answered):
        for name, row in rows.items():
            shown = told["status"][name]
            assert (shown["status"], shown["record_count"], shown["message"]) == (
                row["status"],
                row["record_count"],
                row["message"],
            )
            assert datetime.fromisoformat(shown["last_sync"]) == row["last_sync"]
        assert told["tables"].items() >= counts.items()
        assert told["health"] == "degraded"
    assert {name: made[f"maximo/{name}"]["dagster/row_count"] for name in TABLES} == counts
    for structure in STRUCTURES:
        row = rows[structure.short]
        words = f"{row['status']} · {row['record_count']} records"
        expect(visitor.page.locator(f"#maximo-{structure.short}")).to_contain_text(words)
        newest = maximo.rows(
            "select fetched, server_total from maximo.sync_run where endpoint = :name"
            " order by id desc limit 1",
            name=structure.short,
        )[0]
        assert made[f"maximo/{structure.name}"]["fetched"] == newest["fetched"] == newest["server_total"]
    total = visitor.page.locator("#maximo .title-line p").inner_text()
    assert f"{sum(row['record_count'] for row in list(rows.values())[:-1]):,} records, ! degraded" in total
    expect(visitor.page.locator("#maximo-assets")).to_contain_text("115 of 230 rows")
