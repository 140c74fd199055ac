"""The documentation as a site: every page is in it, every link leads somewhere, nothing comes from elsewhere."""

from __future__ import annotations

import logging
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

from tests.support.pages import DOCS, pages
from tests.support.tiny_world import REPOSITORY

OUTSIDE = re.compile(
    r"<(?:link|script|img|iframe|source|video|object)\b[^>]*?\b(?:href|src|data)=[\"']?((?:https?:)?//[^\"'\s>]+)"
    r"|@import\s+(?:url\()?[\"']?((?:https?:)?//[^\"')]+)|url\([\"']?((?:https?:)?//[^\"')]+)"
)
HOOK = runpy.run_path(str(DOCS / "site.py"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does: its warnings are errors."""
    folder = tmp_path_factory.mktemp("site")
    build(load_config(str(REPOSITORY / "mkdocs.yml"), site_dir=str(folder)))
    return folder


def test_every_page_is_in_it(site: Path) -> None:
    named = set(re.findall(r": ([\w/]+\.md)$", (REPOSITORY / "mkdocs.yml").read_text(), re.MULTILINE))
    assert named == {*HOOK["ORIGINS"], *(page.name for page in DOCS.glob("*.md"))}
    assert {page.relative_to(REPOSITORY).as_posix() for page in pages() if page.parent != DOCS} == set(HOOK["PAGES"])
    for name in named:
        assert "<h1" in (site / name).with_suffix(".html").read_text(encoding="utf-8")
    assert (site / "search" / "search_index.json").stat().st_size > 100_000
    assert not list(site.rglob("*.py")) + list(site.glob("results"))


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for file in (*site.rglob("*.html"), *site.rglob("*.css")):
        assert OUTSIDE.search(file.read_text(encoding="utf-8")) is None, file
    assert 'class="mermaid"' not in "".join(file.read_text(encoding="utf-8") for file in site.glob("*.html"))


@pytest.mark.parametrize(
    "text",
    [
        '<link rel="x" href="https://fonts.example/a.css">',
        "<script src=//cdn.example/a.js>",
        "@import url(https://a/b)",
    ],
)
def test_what_is_loaded_from_elsewhere_would_be_seen(text: str) -> None:
    assert OUTSIDE.search(text)
    assert OUTSIDE.search('<a href="https://docs.pola.rs">polars</a>') is None


def test_links_work_among_the_files_and_on_the_site() -> None:
    linked = HOOK["linked"]
    assert linked("[a](docs/store.md#compaction)", "index.md", "README.md") == "[a](store.md#compaction)"
    assert linked("![a](docs/images/matrix.png)", "index.md", "README.md") == "![a](images/matrix.png)"
    assert linked("[a](../CHANGELOG.md)", "store.md", "docs/store.md") == "[a](changelog.md)"
    quickstart = "examples/quickstart/README.md"
    assert linked(f"[a](../../{quickstart})", "examples/compositions.md", "examples/compositions/README.md") == (
        "[a](quickstart.md)"
    )
    assert linked("[a](../study/cells.py)", "store.md", "docs/store.md") == "a"
    assert linked("[a](../study/none.py)", "store.md", "docs/store.md") == "[a](../study/none.py)"


@pytest.mark.parametrize("wrong", ["[a](none.md)", "[a](b.md#none)", "[a](../study/none.py)", "not in nav"])
def test_a_link_to_nothing_ends_the_build(wrong: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(f"# A\n\n{wrong}\n")
    (tmp_path / "docs" / "b.md").write_text("# B\n")
    ours: dict[str, Any] = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text())
    own = {"site_name": "a", "strict": True, "validation": ours["validation"], "plugins": []}
    own["nav"] = ["index.md"] if wrong == "not in nav" else ["index.md", "b.md"]
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(own))
    with caplog.at_level(logging.WARNING), pytest.raises(Abort):
        build(load_config(str(tmp_path / "mkdocs.yml")))


def test_tests_that_the_documentation_names_are_there() -> None:
    """`folder/test_file.py::test_name` below `tests/`; `::test_name` is one of the file named before."""
    named = 0
    for page in pages():
        file = ""
        for own, test in re.findall(r"`(?:tests/)?([\w/]*\.py)?::(test_\w+)`", page.read_text(encoding="utf-8")):
            file = own or file
            assert f"def {test}(" in (REPOSITORY / "tests" / file).read_text(encoding="utf-8"), f"{page.name}: {file}"
            named += 1
    assert named >= 20
