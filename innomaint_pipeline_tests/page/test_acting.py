"""What the buttons do, and what the page says of the outcome."""

import re
from collections.abc import Callable

from playwright.sync_api import expect

from innomaint_pipeline.domain.innomaint import SOURCE
from innomaint_pipeline.simulator.innomaint.faults import Status
from innomaint_pipeline.store.settings import PAUSED, load_refresh_minutes, load_setting
from innomaint_pipeline_tests.conftest import FIRST_BATCH, Pipeline
from innomaint_pipeline_tests.page.conftest import Visitor, carry_out

SECOND = "batch_000002"


def test_a_failure_is_retried_to_green(visitor: Visitor, pipeline: Pipeline) -> None:
    ailing = pipeline.serials[2]
    pipeline.simulator.faults.always(ailing, Status(503))
    pipeline.sync(pipeline.run("run-1"))
    visitor.sign_in()
    visitor.see("#failure-groups", ailing)
    tile = visitor.page.locator(f"[data-batch={FIRST_BATCH}]")
    expect(tile).to_have_attribute("data-state", "partial")
    pipeline.simulator.faults.clear()
    retry = visitor.page.get_by_role("button", name="Retry failed (1)")
    retry.click()
    expect(retry).to_be_disabled()
    visitor.see("#requests", re.compile("waiting.*Retry failed", re.DOTALL))
    carry_out(pipeline, "run-2")
    visitor.see("#requests", "1 synced")
    visitor.see("#announcements", "Retry failed: 1 synced")
    expect(tile).to_have_attribute("data-state", "complete")
    visitor.see(".failures", "No asset is failed")
    assert pipeline.state(ailing)["state"] == "synced"
    expect(visitor.page.get_by_role("button", name="Retry failed (0)")).to_be_disabled()


def test_sync_now_asks_for_what_is_due_and_for_nothing_else(visitor: Visitor, pipeline: Pipeline) -> None:
    pipeline.sync(pipeline.run("run-1"))
    pipeline.execute(
        "update innomaint_sync_state s set next_due_at = now() from ic3_asset_master m"
        " where m.asset_id = s.asset_id and m.cmms_asset_id = :serial",
        serial=pipeline.serials[0],
    )
    pipeline.simulator.faults.always(pipeline.serials[7], Status(404))
    pipeline.simulator.record.clear()
    visitor.sign_in()
    button = visitor.page.get_by_role("button", name="Sync now")
    button.dblclick()
    expect(button).to_be_disabled()
    visitor.see("#requests", "waiting")
    carry_out(pipeline, "run-2")
    visitor.see("#requests", "6 synced (1 unchanged), 1 failed: 1 not found in Innomaint")
    visitor.see("#requests .tone-partial", "partial")
    expect(button).to_be_enabled()
    asked = {start.serial for start in pipeline.simulator.record.starts}
    assert asked == {pipeline.serials[0], *pipeline.serials[6:]}
    assert pipeline.one("select count(*) as n from innomaint_request")["n"] == 1


def test_one_batch_is_synced_from_its_panel(visitor: Visitor, pipeline: Pipeline) -> None:
    visitor.sign_in(f"#/batch/{SECOND}")
    button = visitor.page.get_by_role("button", name="Sync this batch")
    button.focus()
    visitor.press("Enter")
    visitor.see("#batch-outcome", "waiting")
    expect(button).to_be_disabled()
    expect(button).to_be_focused()
    carry_out(pipeline, "run-1")
    visitor.see("#batch-outcome", "6 synced")
    visitor.see("#panel", "6 of 6")
    expect(button).to_be_focused()
    assert [row["batch_key"] for row in pipeline.rows("select batch_key from cmms_sync_log")] == [SECOND]


def test_one_asset_is_synced_from_its_view(visitor: Visitor, pipeline: Pipeline) -> None:
    serial = pipeline.serials[3]
    pipeline.simulator.faults.always(serial, Status(404))
    visitor.tolerated = [r"status of 404"]
    visitor.sign_in(f"#/asset/{serial.replace(' ', '%20')}")
    visitor.see("#asset-state", "never synced")
    visitor.page.get_by_role("button", name="Sync this asset now").click()
    visitor.see("#asset-outcome", re.compile("failed.*not_found"))
    visitor.see("#asset-state", "failed")
    pipeline.simulator.faults.clear()
    visitor.page.get_by_role("button", name="Sync this asset now").click()
    visitor.see("#asset-outcome .tone-complete", "done")
    visitor.see("#asset-state", "synced")
    assert pipeline.rows("select 1 from innomaint_request") == []


def test_nothing_due_is_said(visitor: Visitor, pipeline: Pipeline) -> None:
    for number, key in enumerate((FIRST_BATCH, SECOND)):
        pipeline.sync(pipeline.run(f"run-{number}", batch_key=key))
    visitor.sign_in()
    visitor.page.get_by_role("button", name="Sync now").click()
    visitor.see("#announcements", "Sync now: nothing was due")


def test_a_request_that_nobody_works_on_says_what_to_start(visitor: Visitor) -> None:
    visitor.sign_in()
    visitor.page.get_by_role("button", name="Sync now").click()
    visitor.see("#requests", "start it with innomaint up")
    visitor.page.reload()
    visitor.see("#requests", "what is due")


def test_continuous_sync_is_paused_and_resumed(visitor: Visitor, pipeline: Pipeline) -> None:
    visitor.sign_in()
    visitor.page.get_by_role("button", name="Pause").click()
    visitor.see("#health", "paused")
    visitor.see("#settings-message", "Paused")
    with pipeline.database.begin() as connection:
        assert load_setting(connection, SOURCE, PAUSED)
    visitor.page.get_by_role("button", name="Resume").click()
    visitor.see("#health", "unknown")
    with pipeline.database.begin() as connection:
        assert not load_setting(connection, SOURCE, PAUSED)


def test_the_refresh_interval_is_changed_within_its_bounds(visitor: Visitor, pipeline: Pipeline) -> None:
    visitor.sign_in()
    box = visitor.page.get_by_label("Refresh every")
    for wrong in ("4", "1441", "7.5", ""):
        box.fill(wrong)
        visitor.press("Enter")
        assert not box.evaluate("box => box.validity.valid"), wrong
    assert visitor.asked("/api/admin/sync/frequency") == 0
    box.fill("90")
    visitor.press("Enter")
    visitor.see("#settings-message", "Saved: every asset is refreshed after 1 h 30 min.")
    with pipeline.database.begin() as connection:
        assert load_refresh_minutes(connection, SOURCE, 1440) == 90
    visitor.see("#interval-help", "now 1 h 30 min")


def test_a_refusal_is_told_with_the_words_of_the_service(
    arrive: Callable[..., Visitor], pipeline: Pipeline
) -> None:
    visitor = arrive({"running": 120, "idle": 600_000, "ages": 60})
    visitor.tolerated = [r"status of 404"]
    visitor.sign_in(f"#/asset/{pipeline.serials[0].replace(' ', '%20')}")
    visitor.see("#asset-state", "never")
    pipeline.execute("delete from ic3_asset_master where report_seq_no = 1")
    visitor.page.get_by_role("button", name="Sync this asset now").click()
    visitor.see("#announcements", "not in the asset master")


def test_what_was_not_asked_for_is_amber_and_says_why(visitor: Visitor, pipeline: Pipeline) -> None:
    visitor.sign_in(f"#/batch/{SECOND}")
    visitor.page.get_by_role("button", name="Sync this batch").click()
    visitor.see("#batch-outcome", "waiting")
    pipeline.sync(pipeline.run("other", batch_key=SECOND))
    carry_out(pipeline, "run-1")
    visitor.see("#batch-outcome", "6 not asked for: another sync has asked for them meanwhile")
    visitor.see("#batch-outcome .tone-partial", "partial")


def test_a_press_that_nobody_heard_is_kept_and_offered_again(visitor: Visitor, pipeline: Pipeline) -> None:
    visitor.tolerated = [r"net::ERR"]
    visitor.sign_in()
    visitor.context.set_offline(True)
    visitor.page.get_by_role("button", name="Sync now").click()
    visitor.see("#requests", "offered again when the service is back")
    visitor.context.set_offline(False)
    expect(visitor.page.locator("#requests")).not_to_contain_text("cannot be reached")
    visitor.see("#requests", "not asked for yet")
    assert pipeline.rows("select 1 from innomaint_request") == []
    visitor.page.get_by_role("button", name="Ask now").click()
    visitor.see("#requests", "waiting")
    carry_out(pipeline, "run-1")
    visitor.see("#requests", "12 synced")
    assert pipeline.one("select count(*) as n from innomaint_request")["n"] == 1
