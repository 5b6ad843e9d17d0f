"""Batches, failures and single CMMS assets; also with ids and names that somebody made to do harm."""

import re
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from innomaint_pipeline.simulator.innomaint.faults import Status
from innomaint_pipeline_tests.conftest import FIRST_BATCH, Pipeline
from innomaint_pipeline_tests.page.conftest import Visitor

THIRD = "batch_000003"
HOSTILE = (
    "<script>document.title='taken'</script>",
    "<img src=x onerror=\"document.title='taken'\">",
    "\u202egnp.exe\u2066",
    "L" * 300,
    "a/b, c/../d?e=f&g#h%2F",
    "\"'`${document.title='taken'}",
)


@pytest.fixture
def synced(pipeline: Pipeline) -> Pipeline:
    """The first batch is synced but for three failures of two kinds, two of them in one place."""
    pipeline.execute(
        "update ic3_asset_master set location_name ="
        " case when report_seq_no <= 3 then 'Khyala' else 'Najafgarh' end"
    )
    for serial, status in ((1, 404), (2, 404), (4, 404), (3, 503)):
        pipeline.simulator.faults.always(pipeline.serials[serial], Status(status))
    pipeline.sync(pipeline.run("run-1"))
    return pipeline


def test_failures_stand_in_groups_that_lead_to_their_assets(visitor: Visitor, synced: Pipeline) -> None:
    visitor.sign_in()
    group = visitor.page.locator("[data-class=not_found]")
    expect(group.locator("h3")).to_contain_text(
        re.compile(r"3 not found in Innomaint, 2 of them in Khyala; failed since today at \d\d:\d\d")
    )
    expect(group).to_contain_text("What to do: correct the asset id in the workbook")
    expect(group).to_contain_text("A retry does not mend this; asked again in 7 days")
    expect(visitor.page.locator("[data-class=transient]")).to_contain_text("Worth retrying")
    group.get_by_role("link", name=synced.serials[2]).click()
    visitor.see("#view-title", synced.serials[2])
    visitor.see("#asset-state", "not found in Innomaint")
    visitor.page.go_back()
    visitor.see("#failure-groups")


def test_what_is_due_is_asked_again_now_not_in_the_past(visitor: Visitor, synced: Pipeline) -> None:
    synced.execute(
        "update innomaint_sync_state set next_due_at = now() - interval '4 s' where error_class = 'transient'"
    )
    visitor.sign_in()
    group = visitor.page.locator("[data-class=transient]")
    expect(group).to_contain_text("Worth retrying: asked again by itself now")


def test_a_batch_opens_as_a_panel_and_the_back_button_closes_it(visitor: Visitor, synced: Pipeline) -> None:
    visitor.sign_in()
    tile = visitor.page.locator(f"[data-batch={FIRST_BATCH}]")
    expect(tile).to_have_attribute("aria-label", f"{FIRST_BATCH}: partial, 2 of 6 synced, 4 failed")
    tile.click()
    panel = visitor.page.get_by_role("dialog", name=FIRST_BATCH)
    expect(panel).to_be_visible()
    expect(panel.get_by_role("table", name="Failures").locator("tbody tr")).to_have_count(4)
    expect(panel.get_by_role("table", name="Last runs").locator("tbody tr")).to_have_count(1)
    link = panel.get_by_role("link", name="Last run in Dagster")
    expect(link).to_have_attribute("href", re.compile(r"^http://127\.0\.0\.1:3000/runs/run-1$"))
    panel.get_by_role("link", name=synced.serials[3]).click()
    expect(panel).to_be_hidden()
    visitor.see("#view-title", synced.serials[3])
    visitor.page.go_back()
    expect(panel).to_be_visible()
    visitor.page.go_back()
    expect(panel).to_be_hidden()
    expect(tile).to_be_focused()


def test_a_batch_that_does_not_exist_says_so(visitor: Visitor) -> None:
    visitor.tolerated = [r"status of 404"]
    visitor.sign_in("#/batch/batch_000099")
    visitor.see("#panel", "there is no such batch")


@pytest.mark.usefixtures("synced")
def test_batches_are_shown_by_state(visitor: Visitor) -> None:
    visitor.sign_in()
    expect(visitor.page.locator("#grid [data-batch]")).to_have_count(2)
    chip = visitor.page.get_by_role("button", name="partial 1")
    chip.click()
    expect(visitor.page.locator("#grid [data-batch]")).to_have_count(1)
    expect(chip).to_have_attribute("aria-pressed", "true")
    chip.click()
    expect(visitor.page.locator("#grid [data-batch]")).to_have_count(2)


def test_an_assets_view_shows_all_that_is_known(visitor: Visitor, synced: Pipeline) -> None:
    serial = synced.serials[0]
    visitor.sign_in()
    visitor.page.get_by_label("Find a CMMS asset by id or name").fill(serial[3:].lower())
    visitor.press("Enter")
    visitor.see("#found", "1 asset found.")
    visitor.page.get_by_role("link", name=serial).click()
    expect(visitor.page.locator("#view-title")).to_be_focused()
    visitor.see("#asset-state", "synced")
    visitor.see("#next-due", "in 24 h")
    performance = visitor.page.get_by_role("table", name="performance")
    expect(
        performance.get_by_role(
            "row", name=re.compile("mttr 00:08:30 Innomaint, .* ago|mttr 00:08:30 Innomaint, just now")
        )
    ).to_be_visible()
    cost = visitor.page.get_by_role("table", name="work orders, all time").get_by_role(
        "row", name=re.compile("ticket cost")
    )
    expect(cost).to_contain_text("0.00")
    expect(visitor.page.get_by_role("table", name="Last attempts").locator("tbody tr")).to_have_count(2)
    visitor.see("#main, main", "Every value could be read.")
    assert visitor.page.locator("#raw pre").is_hidden()
    visitor.page.locator("#raw summary").click()
    expect(visitor.page.locator("#raw pre")).to_contain_text('"serialnumber": "Delhi Cantt Naraina_BP_01"')
    synced.resync("run-2")
    expect(visitor.page.get_by_role("table", name="Last attempts").locator("tbody tr")).to_have_count(3)
    expect(visitor.page.locator("#raw pre")).to_be_visible()


def test_a_value_that_could_not_be_read_is_shown(visitor: Visitor, synced: Pipeline) -> None:
    synced.execute(
        "insert into innomaint_data_issue (asset_id, field, raw_value, reason, first_seen_at, last_seen_at)"
        " select asset_id, 'mttr', '\"soon\"', 'no duration', now(), now() from ic3_asset_master"
        " where report_seq_no = 1"
    )
    visitor.sign_in(f"#/asset/{quote(synced.serials[0], safe='')}")
    row = visitor.page.get_by_role("table", name="Data issues").locator("tbody tr")
    expect(row).to_contain_text('"soon"')
    expect(row).to_contain_text("no duration")
    expect(row).to_contain_text("open")


def test_the_list_of_assets_is_filtered_and_goes_on(visitor: Visitor, synced: Pipeline) -> None:
    synced.import_serials([*synced.serials, *(f"Further {number:03d}" for number in range(60))], batch_size=6)
    visitor.sign_in()
    visitor.page.locator(".part-link").nth(2).click()
    visitor.see("#found", "66 assets found.")
    expect(visitor.page.locator("tbody tr")).to_have_count(50)
    visitor.page.get_by_role("button", name="Show more: 16 are left").click()
    expect(visitor.page.locator("tbody tr")).to_have_count(66)
    visitor.page.get_by_label("State").select_option("failed")
    visitor.see("#found", "4 assets found.")
    visitor.page.get_by_label("Why failed").select_option("not_found")
    visitor.see("#found", "3 assets found.")
    visitor.page.get_by_label("Find a CMMS asset by id or name").fill("%")
    visitor.press("Enter")
    visitor.see("#found", "No asset matches.")


def test_hostile_ids_and_names_are_text(visitor: Visitor, pipeline: Pipeline) -> None:
    name = HOSTILE[0] + HOSTILE[2]
    pipeline.import_serials(HOSTILE, batch_size=6, asset_name=name, location_name=HOSTILE[1])
    pipeline.sync(pipeline.run("run-1", batch_key=THIRD))
    visitor.page.set_viewport_size({"width": 375, "height": 800})
    visitor.tolerated = [r"status of 404"]
    visitor.sign_in()
    group = visitor.page.locator("[data-class=not_found]")
    expect(group.locator(".ids li")).to_have_count(len(HOSTILE))
    expect(group.locator("h3")).to_contain_text(HOSTILE[1])
    for place, hostile in enumerate(HOSTILE):
        link = group.locator(".ids a").nth(place)
        expect(link).to_have_text(hostile)
        link.click()
        visitor.see("#view-title", hostile)
        visitor.see("#asset-state", "not found in Innomaint")
        visitor.see(".asset-name", name)
        assert visitor.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        visitor.page.get_by_role("button", name="Sync this asset now").click()
        visitor.see("#asset-outcome", f"failed {hostile!r}: not_found")
        visitor.page.go_back()
    visitor.go(f"#/batch/{THIRD}")
    expect(visitor.page.locator("#panel tbody").first.locator("tr")).to_have_count(len(HOSTILE))
    assert visitor.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert "taken" not in visitor.page.title()
    assert visitor.page.locator("main script, main img, dialog script, dialog img").count() == 0
    asked = {
        row["name"]
        for row in pipeline.rows(
            "select serialnumber as name from ic3_sync_log where starts_with(run_id, 'single-')"
        )
    }
    assert asked == set(HOSTILE)
