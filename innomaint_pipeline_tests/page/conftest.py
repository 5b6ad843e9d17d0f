"""The page in a real browser, in front of the real service; every test also proves what no page may do."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    expect,
    sync_playwright,
)

from innomaint_pipeline.domain.innomaint.selection import SYNC_REQUESTS, is_due_only
from innomaint_pipeline.domain.requests import RequestState
from innomaint_pipeline.settings import Settings
from innomaint_pipeline.store.innomaint.selection import conclude_request
from innomaint_pipeline.store.requests import close_request, find_open, save_progress
from innomaint_pipeline.sync.innomaint.batch import Selection
from innomaint_pipeline_tests.api.conftest import ADMIN_TOKEN, Client, serving
from innomaint_pipeline_tests.api.conftest import pipeline as pipeline  # noqa: PLC0414 # a fixture
from innomaint_pipeline_tests.conftest import Pipeline

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_OPTIONS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
# A bound that only a hanging page reaches.
_LONG_MS = 30_000
WAITS_MS = {"running": 120, "idle": 120, "ages": 60}


def find_chromium() -> str:
    """Return where a Chromium is; fail with what to install where there is none."""
    given = os.environ.get("INNOMAINT_TEST_CHROMIUM")
    found = shutil.which(given) if given else next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        pytest.fail(
            f"the tests of the page need a browser, and there is none of {', '.join(_NAMES)} (or what "
            "INNOMAINT_TEST_CHROMIUM names): install the package chromium, or set that variable to the "
            "program of an installed Chromium or Chrome"
        )
    return found


# Not of the session: while Playwright is there, its event loop keeps other tests of the process from theirs.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=find_chromium(), args=_OPTIONS)
        yield launched
        launched.close()


@dataclass
class Wardrobe:
    """Contexts of the browser by their options; one that was given back remembers nobody.

    A new one for each visit would cost half a second of CPU: its processes, and an empty cache of code.
    """

    browser: Browser
    free: dict[str, list[BrowserContext]] = field(default_factory=dict)

    def take(self, options: dict[str, Any]) -> BrowserContext:
        if contexts := self.free.get(repr(options)):
            return contexts.pop()
        context = self.browser.new_context(**options)
        context.set_default_timeout(_LONG_MS)
        # Its process outlives the visits.
        context.new_page()
        return context

    def give_back(self, visitor: "Visitor") -> None:
        # A page that is open would ask once more, without its session.
        visitor.page.close()
        visitor.context.set_offline(False)
        visitor.context.clear_cookies()
        (left,) = visitor.context.pages
        of_devtools = visitor.context.new_cdp_session(left)
        origin = visitor.base.removesuffix("/sync")
        of_devtools.send("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"})
        of_devtools.detach()
        self.free.setdefault(repr(visitor.options), []).append(visitor.context)


@pytest.fixture(scope="package")
def wardrobe(browser: Browser) -> Wardrobe:
    return Wardrobe(browser)


@dataclass
class Visitor:
    """Somebody who looks at the page; `tolerated` are the console errors that a test provokes on purpose."""

    options: dict[str, Any]
    context: BrowserContext
    page: Page
    base: str
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    tolerated: list[str] = field(default_factory=list)

    def sign_in(self, route: str = "#/") -> None:
        """Come by the printed link, then go to a route."""
        self.page.goto(f"{self.base}#token={quote(ADMIN_TOKEN, safe='')}")
        expect(self.page.locator("#total")).to_be_visible()
        if route != "#/":
            self.go(route)

    def go(self, route: str) -> None:
        self.page.evaluate("route => { location.hash = route; }", route)

    def see(self, selector: str, text: str | re.Pattern[str] | None = None) -> Locator:
        """Wait until an element is there, with a text."""
        found = self.page.locator(selector)
        if text is None:
            expect(found.first).to_be_visible()
        else:
            expect(found).to_contain_text(text)
        return found

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def asked(self, path: str) -> int:
        """Count the requests for a path so far."""
        return sum(urlsplit(url).path == path for url in self.requests)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait, while the page goes on, until something holds."""
        for _ in range(_LONG_MS // 20):
            if condition():
                return
            self.page.wait_for_timeout(20)
        pytest.fail("waited in vain")

    def note(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{message.text} ({message.location.get('url')})")

    def check(self) -> None:
        """Assert that the page asked nobody but its service, and that the browser did not complain."""
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(self.base))
        assert {url for url in self.requests if not url.startswith((f"{origin}/", "data:"))} == set()
        assert not [url for url in self.requests if ADMIN_TOKEN in url]
        assert [
            text for text in self.complaints if not any(re.search(known, text) for known in self.tolerated)
        ] == []


@pytest.fixture
def service(pipeline: Pipeline) -> Iterator[Client]:
    """The admin service over twelve CMMS assets in two batches."""
    settings = Settings.model_construct(
        maximo_base_url="http://127.0.0.1:1/maximo", customers_inbox=Path("inbox")
    )
    with serving(pipeline.database, account=pipeline.simulator.url, settings=settings) as client:
        yield client


@pytest.fixture
def arrive(wardrobe: Wardrobe, service: Client) -> Iterator[Callable[..., Visitor]]:
    """Open the page, in a context that nobody else uses meanwhile; options are those of the context."""
    visitors: list[Visitor] = []

    def arriving(waits_ms: dict[str, int] = WAITS_MS, **options: Any) -> Visitor:
        options = {"reduced_motion": "reduce", "timezone_id": "Asia/Kolkata", **options}
        context = wardrobe.take(options)
        page = context.new_page()
        page.add_init_script(f"globalThis.innomaintPageWaitsMs = {json.dumps(waits_ms)};")
        visitor = Visitor(options, context, page, f"http://127.0.0.1:{service.port}/sync")
        page.on("request", lambda request: visitor.requests.append(request.url))
        page.on("console", visitor.note)
        page.on("pageerror", lambda error: visitor.complaints.append(f"uncaught: {error}"))
        visitors.append(visitor)
        return visitor

    expect.set_options(timeout=_LONG_MS)
    yield arriving
    for visitor in visitors:
        wardrobe.give_back(visitor)
        visitor.check()


@pytest.fixture
def visitor(arrive: Callable[..., Visitor]) -> Visitor:
    return arrive()


def carry_out(pipeline: Pipeline, run_id: str) -> None:
    """Carry out the open requests as Dagster's sensor does, without Dagster."""
    with pipeline.database.begin() as connection:
        requests = find_open(connection, SYNC_REQUESTS)
    assert requests
    for request in requests:
        for batch in request.parts:
            run = f"{run_id}-{batch.part}"
            asked_before = None if is_due_only(request.options) else request.requested_at
            selection = Selection(batch.items, asked_before)
            pipeline.sync(pipeline.run(run, batch_key=batch.part, selection=selection))
            batch.run_ids, batch.state = (run,), RequestState.DONE
        with pipeline.database.begin() as connection:
            save_progress(
                connection,
                request.id,
                request.parts,
                state=RequestState.RUNNING,
                message=None,
                stop_code=None,
            )
            outcome = conclude_request(connection, request)
            close_request(connection, request, message=None, outcome=outcome)
