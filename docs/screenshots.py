"""Pictures for the documentation, taken with headless Chromium.

    python docs/screenshots.py report runs/quickstart/report report-quickstart     the first screen, and that of a phone
    python docs/screenshots.py report FOLDER report-combinations --chapter combinations      a chapter of the page
    python docs/screenshots.py dashboard --address http://127.0.0.1:8265           the Ray dashboard, while a study runs

The dashboard wants the cluster's token; a browser keeps it in a cookie once it was typed in, and so does this one.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

IMAGES = Path(__file__).parent / "images"
DESK, PHONE, LONG, WIDE = (1440, 900), (390, 844), (1060, 1110), (1500, 900)
PAGES = {"actors": "#/actors"}
LOAD_MS, DRAW_MS = 6000, 1500  # the dashboard asks for its numbers after it has loaded; figures are drawn then, too


@contextmanager
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        program = shutil.which("chromium") or shutil.which("google-chrome")
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield started
        finally:
            started.close()


def page_of(started: Browser, size: tuple[int, int]) -> Page:
    return started.new_page(viewport={"width": size[0], "height": size[1]})


def report(folder: Path, name: str, chapter: str | None, out: Path) -> None:
    """The first screen on a desk and on a phone; of a `chapter` what a long window shows from its heading on."""
    with browser() as started:
        for size, kind in [(LONG, "")] if chapter else [(DESK, ""), (PHONE, "-phone")]:
            page = page_of(started, size)
            page.goto((folder / "index.html").resolve().as_uri() + (f"#{chapter}" if chapter else ""))
            page.wait_for_timeout(DRAW_MS)
            page.screenshot(path=out / f"{name}{kind}.png")


def dashboard(address: str, out: Path) -> None:
    token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", "~/.ray/auth_token")).expanduser().read_text()
    with browser() as started:
        page = page_of(started, WIDE)
        cookie = {"name": "ray-authentication-token", "value": token, "url": address}
        page.context.add_cookies([cookie])
        for name, place in PAGES.items():
            page.goto(f"{address}/{place}")
            page.wait_for_timeout(LOAD_MS)
            page.screenshot(path=out / f"dashboard-{name}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=IMAGES)
    kinds = parser.add_subparsers(required=True, dest="kind")
    of_report = kinds.add_parser("report")
    of_report.add_argument("folder", type=Path)
    of_report.add_argument("name")
    of_report.add_argument("--chapter")
    kinds.add_parser("dashboard").add_argument("--address", default="http://127.0.0.1:8265")
    options = parser.parse_args()
    if options.kind == "report":
        report(options.folder, options.name, options.chapter, options.out)
    else:
        dashboard(options.address.rstrip("/"), options.out)


if __name__ == "__main__":
    main()
