"""Takes the pictures of the page for docs/, from the demonstration while it syncs.

Starts `innomaint up --demo` in a home of its own and a headless Chromium, and ends both.
"""

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import Page, expect, sync_playwright

DOCS = Path(__file__).resolve().parents[1] / "docs"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
LARGEST_BYTES = 300_000
# The vendor's own example, which the simulator serves as its first CMMS asset.
ASSET = "Delhi Cantt Naraina_BP_01"
_LONG_MS = 500_000
_STOP_SECONDS = 60
# A good part of the demonstration's CMMS assets: four digits.
_SYNCED = re.compile(r"^\d,\d\d\d$")


def find_free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def demonstration() -> Iterator[str]:
    """Yield the link that signs in to the page of a running demonstration."""
    home = Path(tempfile.mkdtemp(prefix="shot-"))
    port, token = find_free_port(), secrets.token_urlsafe(24)
    settings = {"INNOMAINT_HOME": str(home), "INNOMAINT_ADMIN_TOKEN": token}
    command = [sys.executable, "-m", "innomaint_pipeline.cli", "up", "--demo"]
    process = subprocess.Popen(
        [*command, "--port", str(find_free_port()), "--admin-port", str(port)],
        env=os.environ | settings,
        cwd=home,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("Ready:"):
                break
        else:
            sys.exit("innomaint up --demo has ended before it was ready")
        yield f"http://127.0.0.1:{port}/sync#token={token}"
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=_STOP_SECONDS)
        shutil.rmtree(home, ignore_errors=True)


def take(page: Page, name: str) -> None:
    """Store what the window shows; refuse a picture that is too large for a repository."""
    path = DOCS / name
    page.screenshot(path=path)
    if path.stat().st_size > LARGEST_BYTES:
        sys.exit(f"{path} has {path.stat().st_size} bytes, more than {LARGEST_BYTES}: show less")
    print(f"{path.relative_to(DOCS.parent)}: {path.stat().st_size // 1000} kB")


def main() -> None:
    """Take both pictures."""
    program = os.environ.get("INNOMAINT_TEST_CHROMIUM") or next(
        filter(None, map(shutil.which, BROWSERS)), None
    )
    if program is None:
        sys.exit(f"a browser is needed, one of {', '.join(BROWSERS)}: install the package chromium")
    expect.set_options(timeout=_LONG_MS)
    with demonstration() as link, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(
            viewport={"width": 1280, "height": 1010}, color_scheme="light", timezone_id="Asia/Kolkata"
        )
        page.set_default_timeout(_LONG_MS)
        # The demonstration is over within a minute: the usual waits would miss most of it.
        page.add_init_script("globalThis.innomaintPageWaitsMs = {running: 300, idle: 300};")
        page.goto(link)
        expect(page.locator("#count-synced")).to_have_text(_SYNCED)
        expect(page.locator("#banner")).to_contain_text("Syncing")
        take(page, "sync-page.png")
        page.evaluate("id => { location.hash = `#/asset/${id}`; }", quote(ASSET, safe=""))
        expect(page.locator("#asset-state")).to_contain_text("synced")
        take(page, "sync-asset.png")
        browser.close()


if __name__ == "__main__":
    main()
