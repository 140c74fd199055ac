"""Pages of the reference that have something from the code have it as the code is now."""

from __future__ import annotations

import runpy

import pytest

from tests.support.pages import DOCS

MADE = runpy.run_path(str(DOCS / "reference.py"))


@pytest.mark.parametrize("page", ["config.md", "commands.md", "schema.md", "report_columns.md", "architecture.md"])
def test_the_page_is_current(page: str) -> None:
    assert (DOCS / page).read_text(encoding="utf-8") == MADE["pages"]()[page], "python docs/reference.py"


def test_every_command_speaks_to_programs() -> None:
    assert [made().prog for made in MADE["COMMANDS"] if "--json" not in made().format_help()] == []


def test_a_key_without_a_row_is_told_and_so_is_a_row_without_a_key() -> None:
    page = (DOCS / "config.md").read_text(encoding="utf-8")
    row = next(line for line in page.splitlines() if line.startswith("| `recipe.epochs` "))
    with pytest.raises(ValueError, match=r"no row of recipe\.epochs$"):
        MADE["config"](page.replace(row, ""))
    with pytest.raises(ValueError, match=r"a row of recipe\.epoch,"):
        MADE["config"](page.replace(row, row.replace("epochs", "epoch", 1)))
    changed = page.replace(row, row.replace("`3`", "`4`"))
    assert changed != page
    assert MADE["config"](changed) == page
