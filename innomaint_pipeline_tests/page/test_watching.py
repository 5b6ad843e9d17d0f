"""How far the sync is, as the page tells it while it happens."""

import re
from collections.abc import Callable

from playwright.sync_api import expect

from innomaint_pipeline.domain.innomaint.launches import LaunchesToCome
from innomaint_pipeline.simulator.innomaint.faults import Status
from innomaint_pipeline.store.innomaint.progress import note_round
from innomaint_pipeline_tests.api.conftest import serving
from innomaint_pipeline_tests.conftest import FIRST_BATCH, Pipeline
from innomaint_pipeline_tests.page.conftest import Visitor

OVERVIEW = "/api/sync/overview"
SECOND = "batch_000002"


def count_changes(visitor: Visitor) -> None:
    """Count from now on what changes in the document."""
    visitor.page.evaluate(
        """() => {
            globalThis.changes = [];
            new MutationObserver((found) => changes.push(...found.map((one) => one.target.nodeName)))
              .observe(document.body,
                {subtree: true, childList: true, attributes: true, characterData: true});
        }"""
    )


def test_a_sync_is_watched_from_start_to_end(visitor: Visitor, pipeline: Pipeline) -> None:
    visitor.sign_in()
    visitor.see("#count-never", "12")
    assert visitor.page.locator("#banner").inner_text() == ""
    with pipeline.database.begin() as connection:
        note_round(connection, LaunchesToCome(), looks_every_seconds=30)
    run = pipeline.run("run-1")
    pipeline.fetch(run)
    visitor.see("#banner [role=status]", re.compile(r"Syncing: 6 of 12 asked for in 1 batch"))
    visitor.see("#banner", f"{FIRST_BATCH} 6/6")
    expect(visitor.page.locator(f"[data-batch={FIRST_BATCH}]")).to_have_attribute("data-state", "running")
    pipeline.enrich(run)
    visitor.see("#count-synced", "6")
    pipeline.settle(run)
    visitor.see(
        "#banner [role=status]",
        re.compile(r"Syncing: 6 of 12 asked for, started .*; the next batch is about to start"),
    )
    expect(visitor.page.locator(f"[data-batch={FIRST_BATCH}]")).to_have_attribute("data-state", "complete")
    bar = visitor.page.locator(".bar")
    expect(bar).to_have_attribute("aria-label", "6 synced + 0 failed + 6 never synced = 12 assets")
    pipeline.sync(pipeline.run("run-2", batch_key=SECOND))
    expect(visitor.page.locator("#banner")).to_be_empty()
    visitor.see("#announcements", "The sync has ended: 12 of 12 assets synced, 0 failed.")


def test_the_parts_of_the_bar_are_as_wide_as_the_numbers(visitor: Visitor, pipeline: Pipeline) -> None:
    pipeline.simulator.faults.always(pipeline.serials[1], Status(404))
    pipeline.sync(pipeline.run("run-1"))
    visitor.sign_in()
    widths = visitor.page.locator(".bar .part").evaluate_all(
        "parts => parts.map((part) => part.getBoundingClientRect().width)"
    )
    assert len(widths) == 3
    assert [round(12 * width / sum(widths)) for width in widths] == [5, 1, 6]


def test_nothing_moves_while_nothing_changes(visitor: Visitor, pipeline: Pipeline) -> None:
    for number, batch in enumerate((FIRST_BATCH, SECOND)):
        pipeline.sync(pipeline.run(f"run-{number}", batch_key=batch))
    # The measured rate falls by itself.
    pipeline.execute("delete from innomaint_rate_limit")
    visitor.sign_in()
    visitor.see("#failures-title")
    visitor.see("#chart-progress svg")
    loaded = visitor.asked("/api/sync/batches")
    count_changes(visitor)
    looks = visitor.asked(OVERVIEW)
    visitor.wait_for(lambda: visitor.asked(OVERVIEW) >= looks + 5)
    changed = set(visitor.page.evaluate("changes"))
    assert changed <= {"TIME", "#text"}, changed
    assert visitor.asked("/api/sync/batches") == loaded


def test_what_is_due_is_counted_again_by_the_clock(visitor: Visitor, pipeline: Pipeline) -> None:
    for number, key in enumerate((FIRST_BATCH, SECOND)):
        pipeline.sync(pipeline.run(f"run-{number}", batch_key=key))
    visitor.sign_in()
    visitor.page.evaluate(f"location.hash = '#/batch/{FIRST_BATCH}'")
    due = visitor.page.locator("dt", has_text="Due now").locator("xpath=following-sibling::dd")
    expect(due).to_have_text("0")
    # Nothing is written when the moment comes, and nothing has changed by which one could see it.
    pipeline.execute(
        "update innomaint_sync_state set next_due_at = clock_timestamp() + interval '1 second'"
        " where asset_id in (select min(asset_id) from innomaint_sync_state where batch_key = :batch)",
        batch=FIRST_BATCH,
    )
    expect(due).to_have_text("1")


def test_typed_text_and_focus_survive_a_change(visitor: Visitor, pipeline: Pipeline) -> None:
    visitor.sign_in()
    visitor.page.get_by_label("Refresh every").fill("77")
    pipeline.sync(pipeline.run("run-1"))
    visitor.see("#count-synced", "6")
    expect(visitor.page.get_by_label("Refresh every")).to_have_value("77")
    expect(visitor.page.get_by_label("Refresh every")).to_be_focused()


def set_hidden(visitor: Visitor, *, is_hidden: bool) -> None:
    """Hide the tab as the browser tells a page; a headless one has no other tab to show."""
    visitor.page.evaluate(
        """(isHidden) => {
            Object.defineProperty(document, "hidden", {value: isHidden, configurable: true});
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        is_hidden,
    )


def test_a_hidden_tab_asks_nothing_and_catches_up_when_shown(visitor: Visitor, pipeline: Pipeline) -> None:
    visitor.sign_in()
    set_hidden(visitor, is_hidden=True)
    visitor.page.wait_for_timeout(200)  # a look that was under way ends
    looks = visitor.asked(OVERVIEW)
    pipeline.sync(pipeline.run("run-1"))
    visitor.page.wait_for_timeout(400)
    assert visitor.asked(OVERVIEW) == looks
    set_hidden(visitor, is_hidden=False)
    visitor.see("#count-synced", "6")


def test_it_looks_more_often_while_a_sync_runs(arrive: Callable[..., Visitor], pipeline: Pipeline) -> None:
    visitor = arrive({"running": 120, "idle": 600_000, "ages": 60})
    visitor.sign_in()
    pipeline.fetch(pipeline.run("run-1"))
    looks = visitor.asked(OVERVIEW)
    visitor.page.wait_for_timeout(300)
    assert visitor.asked(OVERVIEW) == looks
    visitor.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    visitor.see("#banner", "Syncing")
    visitor.wait_for(lambda: visitor.asked(OVERVIEW) >= looks + 4)


def test_a_service_that_is_away_is_told_with_the_age_of_the_numbers(
    visitor: Visitor, pipeline: Pipeline
) -> None:
    visitor.tolerated = [r"net::ERR"]
    visitor.sign_in()
    visitor.see("#count-never", "12")
    visitor.context.set_offline(True)
    visitor.see(
        "#notice", re.compile(r"The service cannot be reached since \d\d:\d\d\. The numbers below are from")
    )
    visitor.see("#count-never", "12")
    pipeline.sync(pipeline.run("run-1"))
    visitor.context.set_offline(False)
    expect(visitor.page.locator("#notice")).to_be_empty()
    visitor.see("#count-synced", "6")


def test_a_service_that_was_restarted_is_found_again(
    arrive: Callable[..., Visitor], pipeline: Pipeline
) -> None:
    with serving(pipeline.database) as doomed:
        visitor = arrive()
        visitor.base = f"http://127.0.0.1:{doomed.port}/sync"
        visitor.tolerated = [r"net::ERR"]
        visitor.sign_in()
    visitor.see("#notice", "The service cannot be reached")
    with serving(pipeline.database, port=doomed.port):
        expect(visitor.page.locator("#notice")).to_be_empty()
        visitor.see("#count-never", "12")
        visitor.page.goto("about:blank")


def test_an_error_of_the_service_is_shown_with_its_words(visitor: Visitor, pipeline: Pipeline) -> None:
    visitor.tolerated = [r"status of 50\d"]
    visitor.sign_in()
    pipeline.execute("alter table cmms_sync_log rename to hidden_log")
    visitor.see("#notice", "The service answers with an error")
    visitor.see("#count-never", "12")
    pipeline.execute("alter table hidden_log rename to cmms_sync_log")
    expect(visitor.page.locator("#notice")).to_be_empty()


def test_rate_time_left_and_health_are_told_in_words(visitor: Visitor, pipeline: Pipeline) -> None:
    visitor.sign_in()
    visitor.see("#rate", "limit 5.0 / s")
    visitor.see("#health", "unknown")
    pipeline.fetch(pipeline.run("run-1"))
    visitor.see("#time-left", re.compile(r"(\d+ to \d+ s|about \d+ s)0 assets left to ask for"))
    pipeline.execute(
        "update innomaint_rate_limit set reduced_rate = 3.5, reduced_at = extract(epoch from now())"
    )
    visitor.see("#rate", "slowed to 3.5 / s after a 429, limit 5.0 / s")


def test_charts_show_the_runs_and_say_them_as_tables(visitor: Visitor, pipeline: Pipeline) -> None:
    pipeline.simulator.faults.always(pipeline.serials[1], Status(404))
    pipeline.sync(pipeline.run("run-1"))
    pipeline.resync("run-2")
    visitor.sign_in()
    visitor.see("#chart-changes", "5 unchanged, 5 changed, 2 failed in 2 batch runs.")
    assert visitor.page.locator("#chart-changes svg rect").count() == 3
    assert visitor.page.locator("#chart-duration svg .dot").count() == 2
    for name, rows in (("changes", 1), ("duration", 2)):
        chart = visitor.page.locator(f"#chart-{name}")
        chart.locator("summary").click()
        expect(chart.locator("tbody tr")).to_have_count(rows)
    visitor.page.get_by_label("The last").select_option("hour")
    visitor.see("#chart-duration", "Half of 2 batch runs")
    visitor.wait_for(
        lambda: any("hours=1" in url.split("&") or url.endswith("hours=1") for url in visitor.requests)
    )
