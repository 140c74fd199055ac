"""Text of tasks, models and errors in the tables that a terminal shows."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from orchestrator.costs.estimate import Cost
from orchestrator.planning.standing import Standing, Tally
from orchestrator.progress.display import Display
from orchestrator.progress.tables import (
    PlainConsole,
    cost_table,
    estimated,
    failure_table,
    line,
    standing_table,
    table_of,
    warn,
)
from study.config.file import load
from study.store.records import FailureRecord
from tests.orchestrator.progress.test_numbers import progress
from tests.support.tiny_world import REPOSITORY

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


EXAMPLES = sorted(
    file
    for file in (REPOSITORY / "examples").glob("*/**/*.yaml")
    if "store:" in file.read_text(encoding="utf-8") and "tasks" not in file.parts
)
LONG = "meta-llama--Llama-3.2-1B-Instruct-abliterated-by-a-patient-person"
ADAPTERS, SCORES = Tally(1188, 12345, 132, 10_988), Tally(52_272, 1_234_567, 5_808, 4_834_836)


def written(*shown: object, terminal: bool = False) -> list[str]:
    """The lines of what a console of 80 columns is given."""
    out = PlainConsole(80, io.StringIO())
    out._force_terminal = terminal
    for one in shown:
        line(out, one) if isinstance(one, str) else out.print(one)
    assert isinstance(out.file, io.StringIO)
    return [line.rstrip() for line in out.file.getvalue().splitlines()]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_the_plans_tables_fit_80_columns_and_break_no_number(example: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the models of each shipped study, and one with a long name, at the published study's size and more."""
    monkeypatch.chdir(REPOSITORY)
    models = [*(model.called for model in load(example).models), LONG]
    standing = [Standing(model, ADAPTERS, SCORES) for model in models]
    cost = [Cost(model, 14_500_000, 531_000_000_000, 3.6e6, 3.6e9, 3600, "measured") for model in models]
    tables = standing_table(example.stem, standing, dict.fromkeys(models, 3.6e9)), cost_table(cost, 12.5)
    lines = written(*tables)
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    numbers = ("10,988", "1,234,567", "4,834,836", "1,000,000", "531,000", "1,001,001", "12,512,512.50")
    for number in numbers:
        assert text.count(f" {number} │") >= len(models) - 1, number
    named = "".join(row.split("│")[1].strip() for row in lines if row.startswith("│"))
    assert all(model in named for model in models)


def test_sentences_are_broken_between_words_on_a_terminal_and_not_at_all_in_a_pipe() -> None:
    told = list(
        estimated([Cost("m", 1, 1, 3600, 0, 0, "training measured on cpu in runs/one; scoring by FLOP model, CPU")])
    )
    assert written(*told) == [
        "estimated: 1.000 device hours, corrected by what is measured while it runs",
        "  of all models: training measured on cpu in runs/one; scoring by FLOP model, CPU",
    ]
    lines = written(*told, terminal=True)
    assert max(map(len, lines)) <= 80
    assert lines[-1] == "CPU"


def test_what_the_hours_go_by_is_told_once_for_models_that_are_alike() -> None:
    cost = [Cost(model, 1, 1, 1, 1, 1, basis) for model, basis in (("a", "seen"), ("b", "assumed"), ("c", "seen"))]
    assert list(estimated(cost))[1:] == ["  of a, c: seen", "  of b: assumed"]


def test_what_fails_alike_is_one_line_of_many(capsys: pytest.CaptureFixture[str]) -> None:
    said = "the gradient is not finite in step {}"
    alike = [FailureRecord(str(i), f"m/t/[l{i}]/1", "nan", said.format(i + 1), 1) for i in range(100)]
    other = FailureRecord("o", "m/t/[xx]/1", "bad_data", "no rows", 1)
    out = PlainConsole(80, io.StringIO())
    with Display(progress(), out) as display:
        for failure in (*alike, other):
            display.failure(failure)
    assert isinstance(out.file, io.StringIO)
    told = [line for line in out.file.getvalue().splitlines() if line.startswith("FAILED")]
    assert told[2:] == [
        "FAILED m/t/[l2]/1: nan: the gradient is not finite in step 3; more that fail alike are only counted",
        "FAILED m/t/[xx]/1: bad_data: no rows",
    ]
    table = "\n".join(written(failure_table([*alike, other])))
    assert "101 failed" in table
    assert "m/t/[l0]/1 and 99 more" in table
    assert "step 1 " in table
    assert "l1" not in table


@pytest.mark.parametrize("width", [40, 60, 80])
def test_nothing_is_cut_off_where_there_is_less_room(width: int) -> None:
    cost = [Cost("qwen-0.5b", 1_667_234_000_000_000, 531_000_000_000, 3.6e6, 3.6e9, 3600, "measured")]
    hours = table_of("model", "H100", "H200", "A100", "L40S", "B200", "MI300X", title="hours on one device")
    hours.add_row("qwen-0.5b", *["1,667,234"] * 6)
    for table, number in ((cost_table(cost, 12.5), "1,667,234,000"), (hours, "1,667,234")):
        out = PlainConsole(width, io.StringIO())
        out.print(table)
        assert isinstance(out.file, io.StringIO)
        lines = out.file.getvalue().splitlines()
        assert max(map(len, lines)) <= width
        rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│")]
        name, first = ("".join(row[of] for row in rows) for of in (0, 1))
        assert (name, first) == ("qwen-0.5b", number)
