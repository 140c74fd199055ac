"""YAML that is too big, too deep, or a file that was not meant: one line each, which repeats nothing of the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from study.config.file import load, parse
from study.errors import ConfigError
from tests.study.config.test_keys import BASE, complaint

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 10)}]\n" for i in range(8)
)
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{i + 1}: &a{i + 1} [*a{i}]\n" for i in range(300))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("study: " + "[" * 5000, "nested more than 100 deep"),
        ("study: " + "{a: " * 5000, "nested more than 100 deep"),
        (LAUGHS, "aliases stand for more than"),
        (CHAIN, "aliases stand for more than"),
        ("study: &a [x, *a]", "refers to itself"),
        ("seeds: [" + "9" * 5000 + "]", "4300 digits"),
        ("study: 2026-13-45", "month must be in 1..12"),
        ("? [a]\n: b", "unhashable key"),
        ("study: !secret-tag x", "could not determine a constructor"),
    ],
)
def test_odd_yaml_is_told_in_a_line(text: str, says: str) -> None:
    """Each ended in a traceback, or in minutes of work."""
    error = complaint(text)
    assert says in error.problem
    assert "\n" not in error.problem
    assert "secret" not in error.problem


@pytest.mark.parametrize("override", ["seeds=[1000000000000000000000000000000]", "recipe.epochs=9223372036854775808"])
def test_a_number_that_no_column_holds_is_refused(override: str) -> None:
    assert "less than" in complaint(BASE, override).problem


def test_a_value_on_the_command_line_has_the_same_bounds() -> None:
    assert complaint(BASE, "seeds=" + "[" * 5000).key == "--set"


def test_many_seeds_and_cells_are_checked_at_once() -> None:
    """Each was compared with each: 20,000 seeds took 19 s, a list of so many targets minutes."""
    many = 5_000
    languages = [f"l{i}" for i in range(many)]
    text = (
        f"models: [{{id: a}}]\ntasks: [{{name: t, lm_eval: 't_{{language}}'}}]\nlanguages: [{', '.join(languages)}]\n"
    )
    text += f"seeds: {list(range(many))}\ntargets: [{', '.join(f't/{one}' for one in languages)}]\n"
    assert len(parse(text).target_list()) == many


@pytest.mark.parametrize(
    "content", ["hf_tokenOfSomebody", "root:x:0:0:hunter2:/root:/bin/sh", "password: hunter2\n", "- hunter2", "\xff"]
)
def test_extends_repeats_nothing_of_another_file(tmp_path: Path, content: str) -> None:
    """`extends: /home/other/.ray/auth_token` printed the file."""
    (tmp_path / "theirs").write_bytes(content.encode("latin-1"))
    (tmp_path / "study.yaml").write_text(f"extends: theirs\n{BASE}")
    with pytest.raises(ConfigError) as told:
        load(tmp_path / "study.yaml")
    assert "hunter2" not in str(told.value)
    assert "tokenOf" not in str(told.value)
