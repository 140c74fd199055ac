"""Text of tasks, models and errors in the tables that a terminal shows."""

from __future__ import annotations

import io

import pytest

from orchestrator.progress.display import Display
from orchestrator.progress.tables import PlainConsole, failure_table, standing_table, warn
from study.store.records import FailureRecord
from tests.orchestrator.progress.test_numbers import progress

ATTACKS = ["[/INST]", "[red]x[/green]", "[link=http://evil]x[/link]", ":smile:", "\x1b[2J"]


@pytest.mark.parametrize("attack", ATTACKS)
def test_text_of_a_failure_is_shown_as_it_stands(attack: str) -> None:
    """`[/INST]`, which chat models write, ended `status` with a MarkupError; escape sequences were obeyed."""
    out = PlainConsole(200, io.StringIO())
    failure = FailureRecord("id", f"unit {attack}", "data", f"message {attack}", 1)
    with Display(progress(), out) as display:
        display.failure(failure)
    warn(out, attack)
    out.print(failure_table([failure]))
    out.print(standing_table(f"study {attack}", []))
    assert isinstance(out.file, io.StringIO)
    text, shown = out.file.getvalue(), attack.replace("\x1b", "\\x1b")
    assert text.count(shown) == 6
    assert "\x1b" not in text
