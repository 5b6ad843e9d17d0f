"""By keyboard, with a screen reader, on a phone, in dark and in light."""

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import expect

import innomaint_pipeline
from innomaint_pipeline.simulator.innomaint.faults import Status
from innomaint_pipeline_tests.conftest import FIRST_BATCH, Pipeline
from innomaint_pipeline_tests.customers import Customers, invent_rows
from innomaint_pipeline_tests.page.conftest import Visitor

STATIC = Path(innomaint_pipeline.__file__).parent / "api" / "static"
READABLE, VISIBLE = 4.5, 3.0
TONES = ("complete", "failed", "partial", "never", "running")
# Text, what is behind it, and the least contrast.
PAIRS = [
    *((ink, behind, READABLE) for ink in ("ink", "muted", "accent") for behind in ("card", "paper")),
    *((tone, f"{tone}-soft", READABLE) for tone in TONES),
    *((tone, behind, READABLE) for tone in TONES for behind in ("card", "paper")),
    ("on-accent", "accent", READABLE),
    ("ink", "never-soft", READABLE),
    ("field", "card", VISIBLE),
    ("focus", "card", VISIBLE),
    ("focus", "paper", VISIBLE),
]
NAMELESS = """
[...document.querySelectorAll(
  "a, button, input, select, summary, progress, svg[role=img], table, dialog[open]")]
  .filter((element) => element.checkVisibility() && !element.closest("[aria-hidden=true]"))
  .filter((element) => !(
    element.getAttribute("aria-label")
    || [...(element.labels ?? [])].map((label) => label.textContent.trim()).join("")
    || document.getElementById(element.getAttribute("aria-labelledby"))?.textContent.trim()
    || element.querySelector("caption")?.textContent.trim()
    || (["A", "BUTTON", "SUMMARY"].includes(element.nodeName) && element.textContent.trim())))
  .map((element) => element.outerHTML.slice(0, 120))
"""
HEADINGS = """
[...document.querySelectorAll("main h1, main h2, main h3")].filter((element) => element.checkVisibility())
  .map((element) => Number(element.nodeName[1]))
"""
FOCUSED = """
(() => {
  const element = document.activeElement;
  const style = getComputedStyle(element);
  const isSeen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  return [element.textContent.trim() || element.id, isSeen];
})()
"""


@pytest.fixture
def failing(pipeline: Pipeline) -> Pipeline:
    """The first batch is synced but for two failures."""
    for serial, status in ((1, 404), (2, 503)):
        pipeline.simulator.faults.always(pipeline.serials[serial], Status(status))
    pipeline.sync(pipeline.run("run-1"))
    return pipeline


def luminance(colour: str) -> float:
    """Return the relative luminance of `#rrggbb`, as WCAG 2 defines it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_contrast_is_computed_as_the_standard_says() -> None:
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read_on_what_is_behind_it(arrive: Callable[..., Visitor], scheme: str) -> None:
    visitor = arrive(color_scheme=scheme)
    visitor.page.goto(visitor.base)
    names = sorted({name for one, other, _ in PAIRS for name in (one, other)})
    palette = visitor.page.evaluate(
        """(names) => names.map((name) =>
            getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim())""",
        names,
    )
    colours = dict(zip(names, palette, strict=True))
    assert (luminance(colours["paper"]) > 0.5) == (scheme == "light")
    weak = {
        (one, other): round(contrast(colours[one], colours[other]), 2)
        for one, other, least in PAIRS
        if contrast(colours[one], colours[other]) < least
    }
    assert weak == {}


def test_every_colour_of_the_style_sheets_is_one_of_the_palette() -> None:
    for name in ("page.css", "parts.css"):
        assert (
            re.findall(r"#[0-9a-fA-F]{3,8}\b|\brgba?\((?!0 0 0 / )", (STATIC / name).read_text("utf-8")) == []
        )


def routes(pipeline: Pipeline) -> list[str]:
    asset = pipeline.serials[1].replace(" ", "%20")
    return [
        "#/",
        "#/assets?state=failed",
        f"#/asset/{asset}",
        f"#/asset/{pipeline.serials[0].replace(' ', '%20')}",
        f"#/batch/{FIRST_BATCH}",
    ]


def show(visitor: Visitor, route: str) -> None:
    visitor.go(route)
    shown = {"#/": "#grid", "#/assets": "#found", "#/asset": "#asset-state", "#/batch": "#panel tbody"}
    visitor.see(shown["#/" if route == "#/" else "/".join(re.split(r"[/?]", route)[:2])])


def test_everything_has_a_name_and_headings_go_down_step_by_step(visitor: Visitor, failing: Pipeline) -> None:
    visitor.page.goto(visitor.base)
    assert visitor.page.evaluate(NAMELESS) == []
    visitor.sign_in()
    for route in routes(failing):
        show(visitor, route)
        assert visitor.page.evaluate(NAMELESS) == [], route
        levels = visitor.page.evaluate(HEADINGS)
        assert levels[0] == 1, route
        assert levels.count(1) == 1, route
        assert all(later - earlier <= 1 for earlier, later in pairwise(levels)), levels
    for role in ("banner", "main", "search", "navigation", "contentinfo"):
        assert visitor.page.get_by_role(role, include_hidden=True).count() == 1, role
    assert visitor.page.locator("html").get_attribute("lang") == "en"
    assert visitor.page.locator("[style]:not([style*='--share'])").count() == 0


# What a finger meets that is smaller than 40 px either way.
SMALL = """[...document.querySelectorAll("a[href], button, summary, input, select, textarea")]
    .map((one) => [one, one.getBoundingClientRect()])
    .filter(([one, box]) => one.tabIndex >= 0 && box.width > 0 && (box.width < 40 || box.height < 40))
    .map(([one, box]) => `${one.tagName} ${one.textContent.trim()}: ${box.width} x ${box.height}`)"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_everything_without_scrolling_sideways_and_large_enough_for_a_finger(
    arrive: Callable[..., Visitor], failing: Pipeline, scheme: str, tmp_path: Path
) -> None:
    Customers(failing.database, tmp_path).sync(invent_rows(3))
    visitor = arrive(viewport={"width": 375, "height": 740}, color_scheme=scheme, has_touch=True)
    visitor.sign_in()
    visitor.see("#customers-runs", "changed")
    for route in routes(failing):
        show(visitor, route)
        visitor.page.evaluate(
            "document.querySelectorAll('details').forEach((details) => { details.open = true; })"
        )
        wide = visitor.page.evaluate(
            """[document.documentElement, document.querySelector("dialog")]
                .map((one) => one.scrollWidth - one.clientWidth)"""
        )
        assert wide == [0, 0], route
        assert visitor.page.evaluate(SMALL) == [], route


def test_the_keyboard_alone_reaches_and_does_everything(visitor: Visitor, failing: Pipeline) -> None:
    visitor.sign_in()
    visitor.page.evaluate("document.activeElement.blur()")
    names = []
    while not names or not names[-1].startswith("1"):  # the tile of the first batch
        visitor.press("Tab")
        name, is_seen = visitor.page.evaluate(FOCUSED)
        assert is_seen, name
        names.append(name)
        assert len(names) < 60, names
    order = [
        "Skip to the content",
        "Innomaint sync",
        "query",
        "Find",
        "Dagster ↗",
        "Sign out",
        "Sync now",
        "Pause",
        "interval",
        "Save",
    ]
    places = [names.index(name) for name in order]
    assert places == sorted(places), names
    assert failing.serials[1] in names
    visitor.press("Enter")
    panel = visitor.page.get_by_role("dialog", name=FIRST_BATCH)
    expect(panel).to_be_visible()
    expect(visitor.page.locator("#panel-title")).to_be_focused()
    for _ in range(20):
        visitor.press("Tab")
        assert visitor.page.evaluate(
            "document.activeElement === document.body || document.activeElement.closest('dialog') !== null"
        )
    visitor.press("Escape")
    expect(panel).to_be_hidden()
    expect(visitor.page.locator(f"[data-batch={FIRST_BATCH}]")).to_be_focused()
    expect(visitor.page).to_have_url(re.compile("#/$"))


def test_the_skip_link_leads_past_the_head(visitor: Visitor) -> None:
    visitor.sign_in()
    visitor.page.evaluate("document.activeElement.blur()")
    visitor.press("Tab", "Enter")
    expect(visitor.page.locator("#content")).to_be_focused()


def test_nothing_moves_for_who_wants_no_motion(arrive: Callable[..., Visitor], pipeline: Pipeline) -> None:
    pipeline.fetch(pipeline.run("run-1"))
    still, lively = arrive(reduced_motion="reduce"), arrive(reduced_motion="no-preference")
    for visitor, count in ((still, 0), (lively, 1)):
        visitor.sign_in()
        visitor.see("#banner", "Syncing")
        assert visitor.page.evaluate("document.getAnimations().length") == count
