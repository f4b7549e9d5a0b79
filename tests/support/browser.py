"""Debian's Chromium, driven by Playwright; what a page logs as an error, and what axe-core finds."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
"""The build without windows takes 0.6 of the processor time."""

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None,
    reason="chromium is not installed: apt-get install --no-install-recommends chromium-headless-shell",
)

ARGUMENTS = (
    "--use-fake-device-for-media-stream",  # a camera that shows a moving pattern
    "--use-fake-ui-for-media-stream",
    "--enable-precise-memory-info",
    "--js-flags=--expose-gc",
)


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser without a window, for as long as the block lasts."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield browser
        browser.close()


class Errors:
    """What pages report as errors: exceptions, refusals by the Content-Security-Policy, requests to other hosts."""

    def __init__(self, context: Any, origin: str) -> None:
        self.found: list[str] = []
        self._origin = origin
        context.on("weberror", lambda error: self.found.append(str(error.error)))
        context.on("console", self._logged)
        context.on("request", self._requested)

    def _logged(self, message: Any) -> None:
        # A refused picture or a lost connection is an error for Chromium's console, and a message for the user.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self.found.append(message.text)

    def _requested(self, request: Any) -> None:
        if not request.url.startswith((self._origin, "blob:")):
            self.found.append(f"request to {request.url}")


MakePage = Callable[..., Any]


@contextmanager
def pages(browser: Any, origin: str) -> Iterator[MakePage]:
    """A function that opens a path in a context of its own; at the end no page may have reported an error."""
    contexts: list[tuple[Any, Errors]] = []

    def open_page(path: str = "", *, width: int = 1100, height: int = 900, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        context.set_default_timeout(60_000)
        contexts.append((context, Errors(context, origin)))
        page = context.new_page()
        page.goto(origin + path)
        return page

    try:
        yield open_page
        assert [error for _, errors in contexts for error in errors.found] == []
    finally:
        for context, _ in contexts:
            context.close()


def violations(page: Any) -> Sequence[str]:
    """What axe-core finds in the page as it is now: rule and element."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe
    found = axe().run(page).response["violations"]
    return [f"{rule['id']}: {node['html'][:200]}" for rule in found for node in rule["nodes"]]


def until(page: Any, expression: str) -> None:
    """Return when ``expression`` is true in the page, whose policy forbids to evaluate text in it."""
    page.wait_for_function(f"() => {expression}")


def overflow(page: Any) -> int:
    """Pixels by which the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def tab_until(page: Any, selector: str, most: int = 60) -> None:
    """Press Tab until the element has the focus."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement?.matches(selector)", selector):
            return
    pytest.fail(f"{selector} is not reached by {most} times Tab")


SCREENSHOTS = os.environ.get("SCREENSHOTS")
"""A folder into which the tests write the screenshots that documents show, if it is set: SCREENSHOTS=docs."""


def screenshot(page: Any, name: str, *, after: float = 0.0) -> None:
    """Write what the window shows after so many seconds, with a face, as NAME.png with 64 colours, if asked for."""
    if SCREENSHOTS:
        page.wait_for_timeout(1000 * after)
        page.wait_for_selector("face-card .bars li")
        image = pytest.importorskip("PIL.Image")
        picture = image.open(io.BytesIO(page.screenshot())).convert("RGB")
        picture.quantize(64, dither=image.Dither.NONE).save(Path(SCREENSHOTS) / f"{name}.png", optimize=True)
