"""A real browser, in which pages are looked at as people see them.

Where there is none the tests that need it fail, with what to do; who cannot have one leaves them out in so many words.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
LEFT_OUT = "WITHOUT_BROWSER"
OVERLAPS = """() => [...document.querySelectorAll(".chart")].flatMap((chart) => {
  const seen = [...chart.querySelectorAll("svg text")].filter((one) => one.textContent.trim() &&
    one.getAttribute("opacity") !== "0" && one.style.visibility !== "hidden" && !one.closest('[opacity="0"]'));
  const boxes = seen.map((one) => [one.textContent, one.getBoundingClientRect()]).filter(([, box]) => box.width);
  return boxes.flatMap(([text, a], at) => boxes.slice(at + 1).filter(([, b]) =>
    Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 &&
    Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3)
    .map(([other]) => chart.dataset.spec + ": " + text + " | " + other));
})"""  # texts of a figure that lie upon each other


def where() -> str:
    """The program: BROWSER_PATH, or the first of the NAMES that is installed."""
    found = os.environ.get("BROWSER_PATH") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None and os.environ.get(LEFT_OUT):
        pytest.skip(f"{LEFT_OUT} is set: no page was looked at in a browser, nor checked by axe-core")
    if found is None:
        pytest.fail(
            "no browser is here, so no page was checked: install chromium (apt-get install chromium), name one by "
            f"BROWSER_PATH, or leave these tests out by {LEFT_OUT}=1",
            pytrace=False,
        )
    return found


@contextmanager
def browser() -> Iterator[Browser]:
    """Start it; it asks nothing of a network."""
    program = where()
    quiet = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-gpu"]
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=quiet)
        try:
            yield started
        finally:
            started.close()
