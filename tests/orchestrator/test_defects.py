"""Studies with one defect each: a dry run says it in a line with key, value and fix, and exits with 2."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import save

from orchestrator.sweep import main
from tests.support.tiny_world import make_config, make_tasks

Study = dict[str, Any]


@pytest.fixture
def study(tmp_path: Path, tiny_model_dir: Path) -> Path:
    """A study of one task in two languages, with a model of its own."""
    shutil.copytree(tiny_model_dir, tmp_path / "model")
    tasks = make_tasks(tmp_path / "tasks", ["seq"], ["xx", "yy"], train=12, test=6)
    return make_config(tmp_path, [tmp_path / "model"], ["seq"], ["xx", "yy"], tasks)


def config(change: Callable[[Study], object]) -> Callable[[Path], None]:
    return lambda folder: _change(folder / "study.yaml", yaml.safe_load, yaml.safe_dump, change)


def model(name: str, change: Callable[[Study], object]) -> Callable[[Path], None]:
    return lambda folder: _change(folder / "model" / name, json.loads, json.dumps, change)


def task(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: _change(
        folder / "tasks" / "seq_xx.yaml", yaml.safe_load, yaml.safe_dump, lambda told: told.update(changes)
    )


def rows(split: str, change: Callable[[list[Study]], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        file = folder / "tasks" / f"seq_xx_{split}.jsonl"
        told = [json.loads(line) for line in file.read_text().splitlines()]
        change(told)
        file.write_text("".join(json.dumps(row) + "\n" for row in told))

    return damage


def adapter(**changes: Any) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / "lora").mkdir()
        (folder / "lora" / "adapter_model.safetensors").write_bytes(save({"a": np.zeros(1)}))
        told = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, **changes}
        (folder / "lora" / "adapter_config.json").write_text(json.dumps(told))
        given = [{"name": "l", "model": "model", "path": str(folder / "lora")}]
        config(lambda told: told.update(adapters=given))(folder)

    return damage


def manifest(text: str | None) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        if text is not None:
            (folder / "rows.csv").write_text(text)
        config(lambda told: told["tasks"][0].update(train={"manifest": str(folder / "rows.csv")}))(folder)

    return damage


def no_chat_template(folder: Path) -> None:
    (folder / "model" / "chat_template.jinja").unlink(missing_ok=True)
    model("tokenizer_config.json", lambda told: told.pop("chat_template", None))(folder)
    config(lambda told: told.update(scoring={"apply_chat_template": True}))(folder)


def _change(
    file: Path, read: Callable[[str], Study], write: Callable[[Study], str], change: Callable[[Study], object]
) -> None:
    told = read(file.read_text())
    change(told)
    file.write_text(write(told))


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "yaml": (
        lambda folder: (folder / "study.yaml").open("a").write("seeds: [1\n") and None,
        "study.yaml': is not valid",
    ),
    "a cell twice in a source": (
        config(lambda told: told.update(sources=[["seq/xx", "seq/xx"]])),
        "sources, in seq/xx+seq/xx = 'seq/xx': is listed more than once",
    ),
    "no manifest": (manifest(None), "tasks[seq].train.manifest = "),
    "a language": (config(lambda told: told.update(languages=["xx", "yx"])), "no task 'seq_yx' (language 'yx')"),
    "no model folder": (
        config(lambda told: told["models"][0].update(id="models/none/here")),
        "models[0].id = 'models/none/here': no such folder",
    ),
    "a chat template": (no_chat_template, "the tokenizer of model has no chat template"),
    "a store": (lambda folder: (folder / "store").write_text("") and None, "store': is a file, not a folder"),
    "a kind of model": (
        model("config.json", lambda told: told.update(model_type="lamma")),
        "its model_type is 'lamma'",
    ),
    "a system prompt": (
        config(lambda told: told.update(scoring={"system_prompt": "x"})),
        "scoring.system_prompt = 'x'",
    ),
    "a library": (
        model("config.json", lambda told: told.update(quantization_config={"quant_method": "gptq"})),
        "library gptqmodel is not installed",
    ),
    "an encoder": (model("config.json", lambda told: told.update(is_encoder_decoder=True)), "no causal language model"),
    "a small embedding": (model("config.json", lambda told: told.update(vocab_size=100)), "its embedding has 100 rows"),
    "a module": (
        config(lambda told: told["recipe"]["lora"].update(modules=["q_proj", "w_proj"])),
        "recipe.lora.modules = 'w_proj': model has no such module",
    ),
    "an adapter's alpha": (adapter(lora_alpha=None), "lora_alpha is null, not a number"),
    "an adapter's rank": (adapter(r="4"), 'r is "4", not a whole number'),
    "an adapter's kind": (adapter(peft_type="POLY"), "peft_type is POLY"),
}
BROKEN: dict[str, tuple[Callable[[Path], None], tuple[str, ...], str]] = {  # with the roles that it breaks
    "a gold that is a text": (
        rows("test", lambda told: [row.update(answer=str(row["answer"])) for row in told]),
        ("source", "target"),  # a column has one type in all splits
        "the answer '0' is none of its 3 options",
    ),
    "a null option": (
        rows("train", lambda told: told[3]["options"].__setitem__(1, None)),
        ("source",),
        "seq/xx: row 3 (id 'train3') to learn: option 1 is null, not a text",
    ),
    "an empty split": (rows("test", lambda told: told.clear()), ("source", "target"), "its split 'test' has no rows"),
    "a name": (task(doc_to_target="anwser"), ("source", "target"), "doc_to_target: 'anwser' is no column"),
    "a column": (task(doc_to_text="{{text}}"), ("source", "target"), "columns are id, question, options, answer"),
    "ids twice": (manifest("split,id\ntrain,train1\ntrain,train1\n"), ("source", "source"), "more than once: 1"),
    "hidden labels": (
        rows("test", lambda told: [row.update(answer=-1) for row in told]),
        ("target",),
        "the labels of all 6 rows of its split are hidden",
    ),
}


@pytest.mark.parametrize("defect", REFUSED)
def test_a_study_that_cannot_be_is_refused(defect: str, study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage, says = REFUSED[defect]
    damage(study.parent)
    for arguments in (["--dry-run"], []):
        assert main([str(study), *arguments]) == 2
        told = capsys.readouterr().err
        assert says in told
        problem, fix = told.splitlines()
        assert problem.startswith("error: ")
        assert fix.startswith("  fix: ")
    assert not (study.parent / "store" / "study.yaml").exists()


@pytest.mark.parametrize("defect", BROKEN)
def test_a_broken_cell_is_told_by_a_dry_run(defect: str, study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage, roles, says = BROKEN[defect]
    damage(study.parent)
    code = main([str(study), "--dry-run"])
    told = capsys.readouterr()
    assert code == 2, told
    lines = [line for line in (told.out + told.err).splitlines() if "BROKEN" in line or "error" in line]
    assert len(lines) in (1, len(roles))
    assert all(says in line for line in lines)
    assert not (study.parent / "store").exists()


def test_a_study_of_which_nothing_is_left_is_not_started(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for language in ("xx", "yy"):
        (study.parent / "tasks" / f"seq_{language}_test.jsonl").write_text(
            '{"id": "x", "question": "?", "options": ["a"], "answer": 1}\n'
        )
    assert main([str(study)]) == 2
    told = capsys.readouterr().err
    assert (
        "error: targets = 'seq/xx': no target of the study can be used: seq/xx: row 0 (id 'x') to score: the answer 1"
        in told
    )
    assert "(and 1 more like it)" in told
    assert not (study.parent / "store" / "study.yaml").exists()


def test_gpus_are_not_asked_of_a_machine_that_has_none(
    study: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "local")
    config(lambda told: told["training"].update(resources_per_worker={"GPU": 99}))(study.parent)
    (study.parent / "tasks" / "seq_xx_test.jsonl").write_text("")  # which is not looked at
    assert main([str(study)]) == 2
    assert (
        "training.resources_per_worker = \"{'GPU': 99.0}\": needs 99 GPUs, and this machine has"
        in capsys.readouterr().err
    )


def test_what_a_plan_knows_of_its_data_is_told(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task(doc_to_text="{{question}}")(study.parent)
    rows("train", lambda told: told[2].update(answer=-1))(study.parent)
    rows("test", lambda told: told[1].update(answer=-1))(study.parent)
    rows("test", lambda told: told[2].update(question=None))(study.parent)
    rows("train", lambda told: [row.update(question=None) for row in told[4:6]])(study.parent)
    config(lambda told: told["recipe"].update(batch_size=16, epochs=1))(study.parent)
    assert main([str(study), "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "seq/xx, train rows: 1 are left out" in told
    assert "seq/xx, test rows: 1 are left out" in told
    assert "seq/xx, train rows: 2 prompts hold a null" in told
    assert "seq/xx, test rows: 1 prompts hold a null" in told
    assert "seq/yy, train rows" not in told
    assert "too short to learn: 2 sources end within their warm-up, e.g. seq/xx at step 1" in told
