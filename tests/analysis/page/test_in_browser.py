"""The pages in a real browser: axe-core, both themes, a desk and a phone, print, the keyboard, what a figure shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.analysis.conftest import HOSTILE
from tests.support.browser import OVERLAPS, browser

pytestmark = pytest.mark.processes
DESK, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
HEAT = ("matrix", "language_matrix", "task_matrix")  # whose colours are the values, which are written or in the table
PATIENCE = 60_000  # ms, on a busy machine
MARKS = """() => [...document.querySelectorAll(".chart")].flatMap((chart) =>
  [...chart.querySelectorAll("svg g.role-mark:not(.mark-text):not(.mark-area) > path, " +
                             "svg g.role-mark:not(.mark-text):not(.mark-area) > line")].map((one) => {
    const how = getComputedStyle(one), alpha = Number(how.opacity);
    return [chart.dataset.spec.slice(5), how.fill, how.stroke, alpha * Number(how.fillOpacity),
            alpha * Number(how.strokeOpacity)];
  }))"""
TEXTS = """() => [...document.querySelectorAll(".chart")].flatMap((chart) => [...chart.querySelectorAll("svg text")]
  .filter((one) => one.textContent && one.getAttribute("opacity") !== "0")
  .map((one) => [chart.dataset.spec.slice(5), getComputedStyle(one).fill, one.textContent]))"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def pages(chromium: Browser, asked_report: Path) -> Any:
    """Opens a page of the report once for each way of seeing it, and waits until its figures are drawn."""
    opened: dict[tuple[str, str, int], Page] = {}

    def of(name: str, scheme: str = "light", size: dict[str, int] = DESK) -> Page:
        key = name, scheme, size["width"]
        if key not in opened:
            page = chromium.new_page(viewport=size, color_scheme=scheme)
            page.set_default_timeout(PATIENCE)
            page.troubles = []
            page.on("pageerror", lambda error: page.troubles.append(str(error)))
            page.on("dialog", lambda dialog: page.troubles.append(dialog.message))
            page.on("request", lambda one: page.troubles.append(one.url) if not _is_own(one.url) else None)
            page.goto((asked_report / name.partition("#")[0]).as_uri() + "".join(name.partition("#")[1:]))
            drawn = 'document.querySelectorAll("[data-spec]:not(:has(svg))").length === 0'
            page.wait_for_function(drawn)
            if name.startswith("items"):
                page.wait_for_selector("article")
            page.wait_for_timeout(300)  # names of figures are put apart a moment after they are drawn
            opened[key] = page
        return opened[key]

    return of


def _is_own(url: str) -> bool:
    return url.startswith(("file:", "data:", "blob:"))


def _luminance(colour: str) -> float | None:
    found = re.findall(r"[\d.]+", colour)
    if len(found) < 3 or (len(found) > 3 and float(found[3]) == 0):
        return None
    parts = [float(one) / 255 for one in found[:3]]
    r, g, b = (one / 12.92 if one <= 0.03928 else ((one + 0.055) / 1.055) ** 2.4 for one in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(colour: str, alpha: float = 1.0) -> float:
    """Of a colour on white (WCAG 2.2, relative luminance); 1 where there is none."""
    numbers = [float(one) for one in re.findall(r"[\d.]+", colour)][:3]
    mixed = ",".join(str(alpha * one + (1 - alpha) * 255) for one in numbers)
    found = _luminance(colour) if alpha == 1.0 else _luminance(f"rgb({mixed})")
    return 1.0 if found is None else 1.05 / (found + 0.05)


@pytest.mark.parametrize("name", ["index.html", "items.html#target=names/de&source=sums/en&model=tiny"])
@pytest.mark.parametrize(("scheme", "size"), [("light", DESK), ("dark", PHONE)], ids=["light-desk", "dark-phone"])
def test_axe_finds_nothing(name: str, scheme: str, size: dict[str, int], pages: Any) -> None:
    """All that is folded is unfolded first. The report stands beside another study."""
    page = pages(name, scheme, size)
    assert name.startswith("items") or page.locator("#compare").count() == 1
    page.evaluate("document.querySelectorAll('details').forEach((one) => one.open = true)")
    found = Axe().run(page).response["violations"]
    page.evaluate("document.querySelectorAll('details').forEach((one) => one.open = false)")
    assert [(one["id"], one["nodes"][0]["html"][:200], len(one["nodes"])) for one in found] == []
    assert page.troubles == []


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_no_label_lies_upon_another_and_nothing_is_wider_than_the_page(size: dict[str, int], pages: Any) -> None:
    page = pages("index.html", "light" if size is DESK else "dark", size)
    assert page.evaluate(OVERLAPS) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]


def test_what_lies_beyond_the_edge_is_told(pages: Any) -> None:
    told = """() => [...document.querySelectorAll(".scroll")].filter((one) => one.getClientRects().length).map(
      (one) => [one.scrollWidth > one.clientWidth + 1, getComputedStyle(one, "::before").content !== "none"])"""
    for page, some in ((pages("index.html", "dark", PHONE), True), (pages("index.html"), False)):
        every = page.evaluate(told)
        assert all(beyond == said for beyond, said in every)
        assert any(said for _, said in every) or not some


def test_marks_and_words_of_figures_stand_out_from_their_paper(pages: Any) -> None:
    """Figures stand on white in both themes."""
    for page in (pages("index.html"), pages("index.html", "dark", PHONE)):
        papers = page.evaluate(
            '[...document.querySelectorAll(".chart")].map((one) => getComputedStyle(one).backgroundColor)'
        )
        assert set(papers) == {"rgb(255, 255, 255)"}
    marks = [one for one in page.evaluate(MARKS) if one[0] not in HEAT]
    assert len(marks) > 30
    faint = {one[0]: one for one in marks if max(contrast(one[1], one[3]), contrast(one[2], one[4])) < 3}
    assert faint == {}
    words = [one for one in page.evaluate(TEXTS) if one[0] not in HEAT]
    assert [one for one in words if contrast(one[1]) < 4.5] == []


def test_a_figure_says_what_is_seen(pages: Any) -> None:
    page = pages("index.html")
    said = page.evaluate(
        '[...document.querySelectorAll("[role=img]")].map((one) =>'
        " document.getElementById(one.getAttribute('aria-labelledby')).textContent)"
    )
    assert len(said) > 8
    assert [one for one in said if len(re.findall(r"[+−]?\d+(?:\.\d+)?", one)) < 2] == []
    assert page.evaluate('document.querySelectorAll("table").length') == page.evaluate(
        'document.querySelectorAll("table > caption").length'
    )


def test_a_phone_shows_harm_without_scrolling(pages: Any) -> None:
    page = pages("index.html", "dark", PHONE)
    head = page.locator("table").first.locator("th", has_text="harm rate")
    box = head.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= PHONE["width"]


def test_print_shows_what_is_folded_and_keeps_figures_with_their_headings(pages: Any) -> None:
    page = pages("index.html", "dark", PHONE)
    page.emulate_media(media="print")
    try:
        seen = page.evaluate(
            """() => {
              const of = (what) => [...document.querySelectorAll(what)], how = (one) => getComputedStyle(one);
              return {
                folded: of("details > :not(summary)").filter((one) => !one.getClientRects().length).length,
                heads: of("h2, h3").every((one) => how(one).breakAfter === "avoid"),
                figures: of("figure").every((one) => how(one).breakInside === "avoid"),
                cut: of(".scroll").filter((one) => how(one).overflow !== "visible").length,
                paper: how(document.body).backgroundColor,
                ink: how(document.body).color,
              };
            }"""
        )
    finally:
        page.emulate_media(media="screen")
    assert seen == {
        **{"folded": 0, "heads": True, "figures": True, "cut": 0},
        **{"paper": "rgb(255, 255, 255)", "ink": "rgb(27, 31, 36)"},
    }


def test_the_keyboard_scrolls_sorts_and_opens_the_questions(chromium: Browser, asked_report: Path) -> None:
    page = chromium.new_page(viewport=DESK)
    page.set_default_timeout(PATIENCE)
    page.goto((asked_report / "index.html").as_uri())
    assert page.evaluate('[...document.querySelectorAll(".scroll")].filter((one) => one.tabIndex !== 0).length') == 0
    block = page.locator("details", has=page.locator("summary", has_text="Numbers: matrix"))
    block.locator("summary").first.focus()
    page.keyboard.press("Enter")
    button = block.locator("th button", has_text="delta")
    button.focus()
    page.keyboard.press("Space")
    assert button.locator("..").get_attribute("aria-sort") == "descending"
    values = block.locator("tbody td[data-value] a").all_text_contents()
    numbers = [float(one.replace("−", "-")) for one in values]
    assert numbers == sorted(numbers, reverse=True)
    link = block.locator("tbody a").last
    row = link.locator("xpath=ancestor::tr").locator("td").all_text_contents()
    link.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("article")
    said = page.locator("#status").text_content() or ""
    assert said.startswith(f"{row[0]} on {row[1]}, ")
    page.go_back()
    page.wait_for_selector(".chart[data-opens] svg .mark-rect path")
    page.locator(".chart[data-opens] svg .mark-rect path").nth(3).click(force=True)
    page.wait_for_selector("article")
    assert " gained and " in (page.locator("#status").text_content() or "")
    page.close()


def test_a_list_of_who_lost_a_question_is_called_whole_only_where_it_is(pages: Any) -> None:
    """Compositions are not among the sources that are counted, and do not make up for one that was not kept."""
    page = pages("items.html#target=names/de")
    of = """(lost) => changers(0, {model: "m", lost: [lost], gained: [0], cells: ["a/b", "mean"].map((source) => ({
      source, trained: source === "a/b", flips: [{q: 0, change: -1}]}))}).map((one) => one.textContent)"""
    others = "Lost, of what the study did not train, at least by mean"
    assert page.evaluate(of, 1) == ["Lost by a/b", others]
    assert page.evaluate(of, 2) == ["Lost by, among others, a/b", others]


def test_questions_are_filtered_and_text_from_data_stays_text(pages: Any) -> None:
    page = pages("items.html#target=names/de")
    articles, status = page.locator("article"), page.locator("#status")
    every = articles.count()
    assert f"{every} questions below" in (status.text_content() or "")
    said = page.locator("article > p.soft:nth-of-type(1)").all_text_contents()
    counts = [int(one) for text in said for one in re.findall(r"^Lost by (\d+)", text)]
    page.fill("#words", "alert(1)")
    if articles.count():  # the hostile question is among those that changed
        assert articles.first.locator("pre").text_content() == f"{HOSTILE} 0 in de"
    page.fill("#words", "")
    page.select_option("#side", "lost")
    page.fill("#least", str(max(counts)))
    assert 0 < articles.count() < every
    page.select_option("#side", "both")
    page.fill("#least", "0")
    page.select_option("#target", "sums/de")
    page.wait_for_function('document.getElementById("status").textContent.startsWith("sums/de")')
    assert "prompts were not kept" in (status.text_content() or "")
    assert articles.count() > 0
    assert page.troubles == []
