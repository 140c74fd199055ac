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
