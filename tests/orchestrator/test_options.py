"""What a command line asks for, as a value, and that value as a command line."""

from __future__ import annotations

import shlex

import pytest

from orchestrator.options import Options
from study.errors import ConfigError


def test_options_are_what_the_command_line_says() -> None:
    asked = ["a b.yaml", "--set", "recipe.epochs=1", "--set", "store=it's here", "--limit", "3"]
    options = Options.parse([*asked, "--calibrate-from", "s", "--dry-run"])
    expected = Options("a b.yaml", ("recipe.epochs=1", "store=it's here"), limit=3, dry_run=True, calibrate_from=("s",))
    assert options == expected
    assert Options.parse(["study.yaml"]) == Options("study.yaml")


def test_a_study_is_gone_on_with_by_what_decides_it_and_not_by_how_it_was_run() -> None:
    options = Options("a b.yaml", ("recipe.epochs=1", "store=it's here"), limit=3, profile=True, retry_failed=True)
    python, option, module, *arguments = shlex.split(options.command("--profile"))
    assert (python, option, module) == ("python", "-m", "orchestrator.sweep")
    assert Options.parse(arguments) == Options(options.config, options.overrides, 3, profile=True)


def test_a_limit_is_in_device_hours_or_in_money() -> None:
    ask = ["s.yaml", "--max-device-hours", "10", "--max-cost", "6"]
    assert Options.parse(ask[:3]).most_device_hours() == 10
    assert Options.parse([*ask, "--price", "2"]).most_device_hours() == 3
    assert Options.parse(["s.yaml", "--price", "2"]).most_device_hours() is None
    for wrong in (ask, [*ask, "--price", "0"], [*ask[:2], "nan"], [*ask[:2], "-1"], [*ask[:2], "inf"]):
        with pytest.raises(ConfigError, match="--max-"):
            Options.parse(wrong).most_device_hours()
    assert "--max" not in Options.parse(ask).command()


def test_what_a_run_says_that_ends_by_its_limit() -> None:
    """Who had asked for a limit in money was told hours alone."""
    hours = "this run has held 3.01 device hours, of"
    assert Options.parse(["s.yaml", "--max-device-hours", "3"]).reached(3.01) == f"{hours} 3 that it may"
    priced = ["s.yaml", "--max-cost", "6", "--price", "2"]
    at = f"{hours} 3 that it may; at 2 each that is 6.02"
    assert Options.parse(priced).reached(3.01) == f"{at}, of 6 that it may cost"
    assert Options.parse(["s.yaml", "--max-device-hours", "3", *priced[3:]]).reached(3.01) == at
