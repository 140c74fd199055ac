"""Sizes are counted from the data that a config names; presets build on one another."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import pytest
import yaml
from tokenizers import Tokenizer

from evaluators.items.encoder import encoder_of
from evaluators.items.item import check_supported
from orchestrator.costs.outlook import outlook
from orchestrator.costs.tokens import counter_of, of_targets
from orchestrator.planning.survey import survey
from study import sizes
from study.cells import Cell, Source
from study.config.file import load
from study.data.example import Example
from study.data.sizes import CellSize, Sizes, read_sizes, sizes_file
from study.data.tasks import TaskLibrary
from study.data.turns import said
from study.errors import ConfigError
from study.flops import LORA_TRAINING
from study.models.resolve import resolve_all
from tests.support.tiny_world import make_config, make_tasks
from trainers.data import tokenise


def test_sizes_are_the_tokens_that_are_read(
    tiny_model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = make_tasks(tmp_path / "tasks", ["next"], ["xx"])
    config = make_config(tmp_path, [tiny_model_dir], ["next"], ["xx"], tasks)
    assert sizes_file(config) is None
    assert sizes.main([str(config), "--json"]) == 0
    counted, told = read_sizes(tmp_path / "study.sizes.yaml"), json.loads(capsys.readouterr().out)
    assert told.pop("written") == str(tmp_path / "study.sizes.yaml")
    assert Sizes.model_validate(told) == counted
    name = tiny_model_dir.name
    size = counted.cell(name, "next/xx")
    assert size is not None
    assert (size.items, size.examples) == (12, 24)
    tokenizer = Tokenizer.from_file(str(tiny_model_dir / "tokenizer.json"))
    examples = TaskLibrary.of(load(config)).examples(Cell("next", "xx"))
    assert size.train_tokens == sum(len(tokenizer.encode(e.prompt + e.answer)) for e in examples)
    prompts = [f"xx: {i}, {i + 1}," for i in range(24, 36)]
    options = [[len(tokenizer.encode(f" {i + k}", add_special_tokens=False)) for k in (1, 2, 3)] for i in range(24, 36)]
    assert max(map(max, options)) > 1, "one token each: nothing of them is read"
    before = [len(tokenizer.encode(prompt)) for prompt in prompts]
    assert size.apart_tokens == sum(3 * n + sum(each) - 3 for n, each in zip(before, options, strict=True))
    assert sum(before) < size.score_tokens < sum(before) + sum(map(sum, options))
    assert size.within is None


def test_items_that_a_lambda_is_chosen_on_are_counted_as_they_are(tiny_model_dir: Path, tmp_path: Path) -> None:
    """Those of a validation split of any size; where training holds them out they need not be counted."""
    tasks = make_tasks(tmp_path / "tasks", ["next", "other"], ["xx"])
    split = yaml.safe_load((tasks / "next_xx.yaml").read_text())
    files = split["dataset_kwargs"]["data_files"]
    files["own"] = str(tmp_path / "own.jsonl")
    rows = Path(files["test"]).read_text().replace("test", "own").replace("xx: ", "xx: so then ").splitlines()
    Path(files["own"]).write_text("\n".join(rows[:7]) + "\n")
    (tasks / "next_xx.yaml").write_text(yaml.safe_dump({**split, "validation_split": "own"}))
    terms = [{"source": "next/xx", "weight": "1-lambda"}, {"source": "other/xx", "weight": "lambda"}]
    free = {"name": "c", "method": "sum", "lambda": {"grid": [0, 0.5, 1], "protocol": "target"}, "terms": terms}
    config = make_config(tmp_path, [tiny_model_dir], ["next", "other"], ["xx"], tasks, compose=[free])
    counted, name = sizes.count(load(config)), tiny_model_dir.name
    own, held = (counted.cell(name, f"{task}/xx") for task in ("next", "other"))
    assert own is not None
    assert held is not None
    assert (own.chosen_items, held.chosen_items) == (7, 2)  # a tenth of 24 rows
    assert own.chosen_tokens is not None
    assert own.chosen_tokens / 7 > own.score_tokens / 12  # each is longer
    assert own.read_chosen(None, 0.1) == own.chosen_tokens
    assert own.read_chosen(3, 0.1) == round(own.chosen_tokens * 3 / 7)
    older = own.model_copy(update={"chosen_items": None, "chosen_tokens": None})
    assert older.read_chosen(None, 0.1) == round(own.score_tokens / 12 * 2)
    plain = sum(size.score_tokens for size in (own, held))
    on = sum(size.read_chosen(None, 0.1) for size in (own, held))
    (row,) = outlook(load(config), counted)
    assert row.score_tokens == (1 + 2 + 3) * plain + (1 + 3) * on  # base, sources, and three lambdas


TASKS = ("next", "other")
SHORT = {"bos": False, "max_length": 9}  # of the first task's examples


def test_sizes_and_plan_count_what_is_read(tiny_model_dir: Path, tmp_path: Path) -> None:
    """Beside what the evaluator encodes and the trainer learns: with the chat template, without BOS, cut."""
    tasks = make_tasks(tmp_path / "tasks", list(TASKS), ["xx"])
    chat = {"apply_chat_template": True, "system_prompt": "Count."}
    file = make_config(tmp_path, [tiny_model_dir], list(TASKS), ["xx"], tasks, scoring=chat)
    stated = yaml.safe_load(file.read_text())
    stated["tasks"][0]["train"], stated["tasks"][1]["scoring"] = SHORT, {"apply_chat_template": False}
    file.write_text(yaml.safe_dump(stated))
    config = load(file)
    library, (model,) = TaskLibrary.of(config), resolve_all(config)
    encoder, counter = encoder_of(model), counter_of(model)
    found = survey(config, library, check_supported, lambda _: None)
    counted, planned = sizes.count(config), dict(zip(found.targets, of_targets(counter, found), strict=True))
    for task in TASKS:
        cell = Cell(task, "xx")
        size = counted.cell(model.name, str(cell))
        assert size is not None
        read = 0
        instances = library.build_requests(cell, encoder.chat(library.scoring(cell)))
        for prompt, own in groupby(encoder.requests(instances), lambda one: one.tokens[: -one.n_scored]):
            options = [one.tokens[len(prompt) :] for one in own]
            read += len(prompt) + len({option[:n] for option in options for n in range(1, len(option))})
        assert size.score_tokens == read
        assert planned[cell] == pytest.approx(read, rel=0.03)  # of options a plain text begins with a space
        rows = tokenise(encoder.tokenizer, library.examples(cell), config.recipe.max_length, "answer")
        assert size.train_tokens == sum(len(row.tokens) for row in rows)
        assert any(row.truncated for row in rows) is (task == "next")
    plain = {**stated, "scoring": {}}
    file.write_text(yaml.safe_dump(plain))
    by_words = sizes.count(load(file)).cell(model.name, "next/xx")
    assert by_words is not None
    assert by_words.score_tokens * 1.2 < planned[Cell("next", "xx")]


def test_counting_keeps_the_cells_of_studies_that_build_on_this_one(tiny_model_dir: Path, tmp_path: Path) -> None:
    """They keep how sure they are; what is counted is exact."""
    tasks = make_tasks(tmp_path / "tasks", ["next"], ["xx", "yy"])
    file = make_config(tmp_path, [tiny_model_dir], ["next"], ["xx"], tasks)
    size, name = CellSize(items=7, score_tokens=70, examples=3, train_tokens=30), tiny_model_dir.name
    before = Sizes(
        notes=("ASSUMED",),
        params={name: 1, "other": 2},
        cells={"other": {"next/xx": size, "next/yy": size}},
        alike={name: "other"},
        within=1.25,
    )
    (tmp_path / "study.sizes.yaml").write_text(yaml.safe_dump(before.model_dump(mode="json")))
    assert sizes.main([str(file)]) == 0
    after = read_sizes(tmp_path / "study.sizes.yaml")
    mine, kept, other = after.cell(name, "next/xx"), after.cell(name, "next/yy"), after.cell("other", "next/xx")
    assert mine is not None
    assert mine.items == 12
    assert kept == other == size.model_copy(update={"within": 1.25})
    assert (after.within, after.params["other"], after.notes[-1]) == (1, 2, "ASSUMED")
    assert after.params[name] - after.embedded[name] == after.body(name) > 0
    longer = tmp_path / "longer.yaml"
    longer.write_text("extends: study.yaml\nlanguages: [xx, yy]\n")
    for config, within in ((file, 1), (longer, 1.25)):
        (row,) = outlook(load(config), read_sizes(sizes_file(config) or file))
        assert row.within == within
        assert row.train_flops == pytest.approx(row.train_tokens * after.body(name) * LORA_TRAINING)


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
    def tokens(texts: Sequence[str], special: bool) -> list[list[int]]:
        assert not special
        return [[ord(letter) for letter in text] for text in texts]

    items = [["ab", "x", "y"], ["ab", "xy", "xz", "v"], ["abcde"]]
    assert sizes._read(tokens, items, special=False) == (2 + (2 + 1) + 5, 2 + (3 + 3 + 2) + 5)
