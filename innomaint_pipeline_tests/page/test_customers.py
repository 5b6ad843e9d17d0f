"""The customer list on the page: a banner that counts, what changed, and a release by whoever looks."""

import asyncio
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from innomaint_pipeline.sync.customers.running import sync_list
from innomaint_pipeline_tests.conftest import Pipeline
from innomaint_pipeline_tests.customers import CANARY, Customers, changed, invent_rows
from innomaint_pipeline_tests.page.conftest import WAITS_MS

_PICTURES = os.environ.get("INNOMAINT_TEST_PICTURES")


@pytest.fixture
def customers(pipeline: Pipeline, tmp_path: Path) -> Customers:
    return Customers(pipeline.database, tmp_path / "copies")


def minutes_ago(count: int) -> datetime:
    return datetime.now(UTC) - timedelta(minutes=count)


def picture(visitor: Any, name: str) -> None:
    if _PICTURES:
        visitor.page.screenshot(path=f"{_PICTURES}/{name}.png", full_page=True)


def test_the_banner_counts_customers_and_a_refused_list_is_released(
    arrive: Callable[..., Any], customers: Customers
):
    rows = invent_rows(1452)
    customers.sync(rows, minutes_ago(20))
    # Who signs in does not wait until the page looks by itself.
    patient = arrive({**WAITS_MS, "idle": 600_000})
    patient.sign_in()
    patient.see("#customers-health", "healthy")
    visitor = arrive()
    visitor.page.add_init_script("globalThis.innomaintBannerAfterMs = 0;")
    visitor.sign_in()
    visitor.see("#customers-health", "healthy")
    banner = visitor.page.locator("#customers-banner")
    # Nothing shows when nothing changed.
    customers.sync(rows, minutes_ago(15))
    visitor.wait_for(lambda: visitor.page.locator("#customers-runs tbody tr").count() == 2)
    expect(banner).to_be_empty()

    rows[5] = changed(rows[5], city="Cantù")
    run = customers.run(rows, minutes_ago(10))

    async def read(export: Any, on_progress: Any) -> Any:
        # While it is read, the page is looked at.
        on_progress(1234, 1452)
        for _ in range(200):
            if seen:
                break
            await asyncio.sleep(0.05)
        return await run.read(export, on_progress)

    seen: list[bool] = []
    thread = threading.Thread(target=sync_list, args=(replace(run, read=read),))
    thread.start()
    expect(banner).to_contain_text("Aggiornamento automatico clienti in corso… 1.234 / 1.452 clienti")
    picture(visitor, "banner")
    seen.append(True)
    thread.join()
    expect(banner).to_have_text("Clienti aggiornati: 1 aggiornati.")
    picture(visitor, "history")

    refused = customers.sync(rows[:146], minutes_ago(5))
    visitor.see("#customers-health", "degraded")
    item = visitor.see("#customers-quarantine", "146 rows after 1452")
    expect(item).to_contain_text("What to do: look for a filter that was left on in the ERP")
    picture(visitor, "quarantine")
    sha = refused.row["sha256"][:12]
    visitor.page.locator(f"#reason-{sha}").fill("the ERP was cleaned")
    visitor.page.locator(f"#release-{sha}").click()
    visitor.see("#customers-health", "healthy")
    expect(visitor.page.locator("#customers-quarantine")).to_have_count(0)
    assert customers.states() == {"active": 146, "missing": 1306}
    assert customers.value("select released_by from customers.release") == "page"
    assert CANARY not in visitor.page.content()
    visitor.page.locator("#customers-pause").click()
    visitor.see("#customers-health", "paused")
