"""A real headless Chromium, and the page that the demo made."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
SCREENSHOTS = ROOT / "build" / "screenshots"
sys.path.insert(0, str(ROOT / "tests" / "unit"))  # the made-up results that the unit tests share

_ARGUMENTS = [
    "--no-sandbox",  # the tests may run as root
    "--disable-gpu",
    "--enable-unsafe-swiftshader",  # WebGL by the processor
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.fail("no chromium found; on Debian: apt-get install chromium")
    with sync_playwright() as playwright:
        # Playwright gives each launch a new, empty profile folder.
        running = playwright.chromium.launch(executable_path=chromium, args=_ARGUMENTS)
        yield running
        running.close()


@dataclass
class Visit:
    """An open page, and what it complained of or asked the network for."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def open_method(self, label: str) -> None:
        """Click a method's name in the table of results and wait for its views."""
        self.page.locator("table.results").get_by_role("link", name=label, exact=True).click()
        self.page.wait_for_selector("details.method[open][data-ready]", timeout=60_000)


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visit]]:
    contexts = []

    def opened(path: Path, size: str = "desktop", scheme: str = "light") -> Visit:
        width, height = SIZES[size]
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        found = Visit(context.new_page())
        found.page.on("console", lambda said: said.type == "error" and found.complaints.append(said.text))
        found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
        found.page.on("request", lambda request: found.requests.append(request.url))
        found.page.goto(path.as_uri())
        found.page.wait_for_selector("html[data-ready]", timeout=60_000)
        return found

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def demo() -> Path:
    """The page that `make demo` wrote; `make test-browser` makes it first."""
    page = RESULTS / "report" / "index.html"
    if not page.is_file():
        pytest.fail(f"{page}: no such file; run `make test-browser`, which makes the demo first")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    return page
