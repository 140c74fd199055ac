"""Sizes are counted from the data that a config names; presets build on one another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from study import sizes
from study.cells import Cell, Source
from study.config.file import load
from study.data.example import Example
from study.data.sizes import read_sizes, sizes_file
from study.data.tasks import TaskLibrary
from study.data.turns import said
from study.errors import ConfigError
from tests.support.tiny_world import make_config, make_tasks


def test_sizes_are_the_tokens_that_are_read(tiny_model_dir: Path, tmp_path: Path) -> None:
    tasks = make_tasks(tmp_path / "tasks", ["next"], ["xx"])
    config = make_config(tmp_path, [tiny_model_dir], ["next"], ["xx"], tasks)
    assert sizes_file(config) is None
    assert sizes.main([str(config)]) == 0
    counted = read_sizes(tmp_path / "study.sizes.yaml")
    name = tiny_model_dir.name
    size = counted.cell(name, "next/xx")
    assert size is not None
    assert (size.items, size.examples) == (12, 24)
    tokenizer = Tokenizer.from_file(str(tiny_model_dir / "tokenizer.json"))
    examples = TaskLibrary.of(load(config)).examples(Cell("next", "xx"))
    assert size.train_tokens == sum(len(tokenizer.encode(e.prompt + e.answer)) for e in examples)
    texts = [f"xx: {i}, {i + 1}," + "".join(f" {i + k}" for k in (1, 2, 3)) for i in range(24, 36)]
    assert size.score_tokens == sum(len(tokenizer.encode(text)) for text in texts)
    apart = [f"xx: {i}, {i + 1}, {i + k}" for i in range(24, 36) for k in (1, 2, 3)]
    assert size.apart_tokens == sum(len(tokenizer.encode(text)) for text in apart)


def test_a_conversation_is_counted_by_what_is_said_in_it() -> None:
    turns = [{"role": "user", "content": "Two?"}, {"role": "assistant", "tool_calls": [{"name": "add"}]}]
    told = json.dumps({"messages": turns, "after": None})
    assert said(Example("", told, format="messages")) == 'Two?\n[{"name": "add"}]'
    assert said(Example("Two?", " 2")) == "Two? 2"


def test_a_task_can_say_where_its_loss_is_and_that_is_in_the_identity(tiny_model_dir: Path, tmp_path: Path) -> None:
    tasks = make_tasks(tmp_path / "tasks", ["next"], ["xx"])
    config = make_config(tmp_path, [tiny_model_dir], ["next"], ["xx"], tasks)
    source = Source.of([Cell("next", "xx")])
    plain, whole = (TaskLibrary.of(load(config, overrides)) for overrides in ([], ["tasks.0.train={loss_on: all}"]))
    assert {e.loss_on for e in whole.source_examples(source)} == {"all"}
    assert plain.example_fingerprints(source) != whole.example_fingerprints(source)


def test_a_config_can_build_on_another(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "models: [{id: m}]\nlanguages: [en]\nrecipe: {epochs: 5, lora: {r: 4}}\n"
        "tasks: [{name: t, lm_eval: 't_{language}'}]\n"
    )
    (tmp_path / "b.yaml").write_text("extends: a.yaml\nrecipe: {lora: {r: 8}}\n")
    config = load(tmp_path / "b.yaml")
    assert (config.recipe.epochs, config.recipe.lora.r) == (5, 8)
    (tmp_path / "a.yaml").write_text("extends: b.yaml\n")
    with pytest.raises(ConfigError, match="extends itself"):
        load(tmp_path / "b.yaml")


def test_options_of_one_token_are_read_off_their_prompt() -> None:
    items = [["ab", "x", "y"], ["ab", "xy", "z"], ["abcde"]]
    assert sizes._apart(lambda texts: [len(text) for text in texts], items) == 2 + (4 + 3) + 5
