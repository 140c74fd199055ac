"""What a terminal would obey is shown instead. Before, text of a task or a model reached the screen as it was."""

from __future__ import annotations

import ast
import json
import subprocess
import sys

import pytest

from study.plain import plain, say, tell
from tests.test_house import FILES, name, tree


@pytest.mark.parametrize(
    "attack",
    [
        "\x1b[2J\x1b[H",  # clears the screen
        "\x1b]0;title\x07",  # names the window
        "\x1b]8;;http://evil\x1b\\text",  # a link that says something else
        "\x9b31m",  # the same as ESC [ in eight bits
        "fine\rgone",  # writes over the line
        "gpj.\u202eexe",  # turned round
        "a\u2028b",
        "\ud800",
    ],
)
def test_nothing_that_a_terminal_obeys_is_left(attack: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = plain(attack)
    assert shown.isprintable()
    shown.encode()
    say(f"error: {attack}")
    assert capsys.readouterr().out == f"error: {shown}\n"
    tell({"name": attack})
    told = capsys.readouterr().out
    assert told.replace("\n", "").isprintable()
    assert json.loads(told) == {"name": attack}


def test_what_is_no_number_is_null(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON has no word for it: a cost or an advice that had one ended in a traceback."""
    tell({"cost": float("inf"), "rows": [{"delta": float("nan"), "n": 3}, (1.5, -float("inf"))]})
    assert json.loads(capsys.readouterr().out) == {"cost": None, "rows": [{"delta": None, "n": 3}, [1.5, None]]}


def test_what_people_write_stays_as_it_is() -> None:
    text = "[/INST] :smile: ελληνικά हिन्दी عربى 👩‍👩‍👧 a\tb\nc"
    assert plain(text) == text


@pytest.mark.processes
def test_a_command_whose_reader_has_gone_goes_on() -> None:
    """As beside `| head`: it ended in a traceback, before it had done what it is for."""
    code = "import sys; from study.plain import say, tell; [say('word') for _ in range(99999)]; tell([1]); sys.exit(3)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"word\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 3


def test_nothing_else_prints() -> None:
    """Of commands that people read: `say` and a console that asks `plain` are the only ways to a terminal."""
    calls = {
        name(file)
        for file in FILES
        for node in ast.walk(tree(file))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("print", "Console")
    }
    assert calls == {"study/plain.py"}
