"""The published study as a preset: its plan without a network, its tasks as lm-eval reads them."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from orchestrator import sweep
from orchestrator.costs.outlook import outlook
from study.config.assumed import assumptions
from study.config.file import load
from study.config.tuning import Lora
from study.data.held_out import split
from study.data.sizes import read_sizes, sizes_file
from study.data.tasks import TaskLibrary
from study.errors import ConfigError
from tests.support.published import FOLDERS, REVISIONS
from tests.support.tiny_world import REPOSITORY
from trainers.learning_rates import learning_rates

EXAMPLES = REPOSITORY / "examples"
PRESET = EXAMPLES / "donors_and_recipients" / "study.yaml"


def last_headings(printed: str) -> str:
    """Those of the last columns of tables, whose lines stand below one another."""
    lines = [line.strip().strip("┃").split("┃")[-1].strip() for line in printed.splitlines() if "┃" in line]
    return " ".join(filter(None, lines))


def test_the_plan_of_the_published_study_needs_no_network(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(REPOSITORY)
    arguments = [str(PRESET), "--dry-run", "--set", "store=/nowhere/at/all"]
    assert sweep.main(arguments) == 0
    out = capsys.readouterr().out
    assert "1,188 adapters, 52,272 adapter scores, 396 base scores" in out
    told = ("hours on one device", "H100", "H200", "A100", "ASSUMED, NOT COUNTED", "hf download google/gemma-3-4b-it")
    for word in told:
        assert word in out, word
    assert "│ Llama-3.2-1B-Instruct │" in out
    assert max(len(line) for line in out.splitlines() if line.startswith("│")) <= 80
    assert "cost" not in out
    assert sweep.main([*arguments, "--price", "2.5", "--device", "A100", "--json"]) == 0
    printed = capsys.readouterr()
    told, priced = json.loads(printed.out), printed.err
    assert sum(model["adapters"] for model in told["models"]) == 1_188
    assert "cost on A100" in last_headings(priced)
    file = sizes_file(PRESET)
    assert file is not None
    rows = outlook(load(PRESET), read_sizes(file))
    train, score = (sum(getattr(row, part)("L40S") for row in rows) for part in ("train_hours", "score_hours"))
    longest = sum(row.padded_flops for row in rows) / (0.2 * 362e12) / 3600
    assert train * 2.5 < longest
    ranges = f"{train * 2 / 3 / 1.25:.3f} to {train * 2 * 1.25:.3f}", f"{score * 2 / 3 / 1.25:.1f} to {score * 2.5:.0f}"
    assert f"L40S: {ranges[0]} hours of training, {ranges[1]} of scoring" in out
    assert all(row.hours("A100", "A100") == pytest.approx(row.hours("H100", "H100") * 989 / 312) for row in rows)
    assert f"{sum(row.hours('A100', 'A100') for row in rows) * 2.5:,.2f}" in priced
    on_two = ["--set", "evaluators={resources: {CPU: 1}}", "--device", "A100", "--price", "2.5"]
    assert sweep.main([*arguments, *on_two]) == 0
    priced = capsys.readouterr().out
    assert "cost on A100 and CPU" in last_headings(priced)
    assert f"{sum(row.hours('A100', 'CPU') for row in rows) * 2.5:,.2f}" in priced


ALIGNED = [f"Dr4kl3s/{name}" for name in FOLDERS.values()]
ORIGINAL = [f"{name} --revision {revision}" for name, revision in REVISIONS.items()]
SETS = {
    "study.yaml": ALIGNED,
    "ablations/full.yaml": ALIGNED,  # scored on all
    "upstream.yaml": ORIGINAL,
    "v1_languages.yaml": [*ALIGNED, *(ORIGINAL[i] for i in (0, 1, 2, 4))],
}


LACKING = {
    "arc_challenge": "ja, ko, sw, tr, yo",
    "global_mmlu": "nl, tr, uk",
    "hellaswag": "ja, ko, sw, tr, yo",
    "truthfulqa": "ja, ko, sw, tr, yo",
}


@pytest.mark.parametrize("name", SETS)
def test_the_sets_to_fetch_are_those_of_the_tasks_planned(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At the revisions that the tasks read; manifests that are not there yet are told, and the plan is made."""
    monkeypatch.chdir(REPOSITORY)
    config = PRESET.parent / name
    plan = [str(config), "--dry-run", "--set", "store=/nowhere/at/all"]
    assert sweep.main(plan) == 0
    out = capsys.readouterr().out
    asked = re.findall(r"^  hf download (\S+/\S+(?: --revision \S+)?) --repo-type dataset$", out, re.MULTILINE)
    assert sorted(asked) == sorted(SETS[name])
    assert f"python -m study.sizes {config}" in out
    lacking = dict(re.findall(r"^no such cells: (\w+) in (.*)$", out, re.MULTILINE))
    assert lacking == (LACKING if name == "v1_languages.yaml" else {})
    assert ("train.manifest = " in out) is (name == "upstream.yaml")
    one = ["--set", "sources=[arc_challenge/ar]", "--set", "targets=[arc_challenge/en]"]
    assert sweep.main([*plan, *one, "--set", f"models.0.revision={'a' * 40}"]) == 0
    out = capsys.readouterr().out
    assert out.count("--repo-type dataset") == 1
    assert out.count(f"--revision {'a' * 40} --exclude") == 1


def test_the_plan_by_sizes_keeps_to_limits_and_counts_adapters_that_exist(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(REPOSITORY)
    given = "adapters=[{name: mine, model: Qwen/Qwen2.5-0.5B-Instruct, path: /nowhere}]"
    file = sizes_file(PRESET)
    assert file is not None
    sizes = read_sizes(file)
    whole, limited, more = (
        {row.model: row for row in outlook(load(PRESET, overrides, limit), sizes)}["Qwen2.5-0.5B-Instruct"]
        for overrides, limit in (([], None), ([], 40), ([given], None))
    )
    assert limited.score_tokens == pytest.approx(whole.score_tokens / 10, rel=1e-3)  # of 400 items each
    assert limited.train_tokens < whole.train_tokens / 5
    assert limited.score_flops == pytest.approx(whole.score_flops / 10, rel=1e-3)
    assert limited.train_flops < whole.train_flops / 5
    assert more.adapter_scores == whole.adapter_scores + 44
    assert more.score_tokens == whole.score_tokens * 134 // 133
    assert (more.adapters, more.train_tokens) == (whole.adapters, whole.train_tokens)
    assert sweep.main([str(PRESET), "--dry-run", "--limit", "1000000", "--set", "store=/nowhere/at/all"]) == 0
    assert f" {whole.score_tokens / 1e6:,.1f} " in capsys.readouterr().out


def test_a_plan_by_sizes_says_when_it_could_not_ask_the_store(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(REPOSITORY)
    away = "store=s3://bucket/study?endpoint_override=http://127.0.0.1:9"
    assert sweep.main([str(PRESET), "--dry-run", "--set", away]) == 0
    out = capsys.readouterr().out
    assert "could not be asked" in out
    assert "as if nothing were done yet" in out
    assert "by study.sizes.yaml alone: no model, adapter or data was looked at" in out
    assert sweep.main([str(PRESET), "--dry-run", "--set", "store=/nowhere/at/all"]) == 0
    assert "could not be asked" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "config",
    sorted(
        [
            *EXAMPLES.glob("*/study.yaml"),
            *EXAMPLES.glob("*/v1_*.yaml"),
            *EXAMPLES.glob("*/upstream.yaml"),
            *EXAMPLES.glob("*/ablations/*.yaml"),
            EXAMPLES / "compositions" / "language_task_arithmetic.yaml",
        ]
    ),
    ids=lambda path: path.relative_to(EXAMPLES).as_posix(),
)
def test_every_preset_is_a_config(config: Path) -> None:
    assert load(config).source_list()


def test_its_44_tasks_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    config = load(PRESET)
    library, tasks = TaskLibrary.of(config), PRESET.parent / "tasks"
    library.check(config.cells())
    named = {str(config.task(cell.task).lm_eval_name(cell.language)) for cell in config.cells()}
    assert named == {file.stem for file in tasks.glob("[!_]*.yaml")}
    assert len(named) == 44
    for cell in config.cells():
        name = str(config.task(cell.task).lm_eval_name(cell.language))
        stated = yaml.safe_load((tasks / f"{name}.yaml").read_text())
        base = f"_{name.partition('_' + cell.language)[0]}.yaml"
        assert stated == {"include": base, "task": name, "dataset_name": cell.language}


def test_its_recipe_is_the_released_one() -> None:
    """300 examples hold out 30 and take 102 steps, 215 hold out 22 and take 75."""
    config = load(PRESET)
    modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    assert config.recipe.lora == Lora(r=32, alpha=64, dropout=0, modules=tuple(modules))
    by_trainer = {"schedule": "linear", "warmup_ratio": 0.1, "weight_decay": 0, "max_grad_norm": 1}
    assert config.recipe.model_dump(include=set(by_trainer)) == by_trainer
    assert (config.recipe.epochs, config.recipe.batch_size, config.recipe.validation.mean) == (3, 8, "batch")
    assert (config.scoring.num_fewshot, config.scoring.apply_chat_template) == (0, True)
    assert [task.train.bos for task in config.tasks] == [False, False, False, True]
    assert [task.train.max_length for task in config.tasks] == [256, 512, 512, 128]
    assert [task.train.truncation for task in config.tasks] == ["left", "left", "left", "right"]
    for count, held_out, steps, warm_up in ((300, 30, 102, 11), (215, 22, 75, 8)):
        learn, out = split(count, config.recipe.validation)
        rates = learning_rates(config.recipe, math.ceil(len(learn) / config.recipe.batch_size) * config.recipe.epochs)
        assert (len(out), len(rates), rates.index(max(rates))) == (held_out, steps, warm_up)
        assert max(rates) == 5e-5


def test_its_ranks_are_the_released_ones() -> None:
    config = load(PRESET.parent / "ablations" / "ranks.yaml")
    found = {name: (recipe.lora.r, recipe.lora.alpha) for name, recipe in config.trained_by.items() if recipe.lora}
    assert found == {"rank_32": (32, 64), "rank_64": (64, 128), "rank_128": (128, 256)}


def test_full_fine_tuning_is_of_the_released_cells() -> None:
    config = load(PRESET.parent / "ablations" / "full.yaml")
    assert len(config.models) * len(config.source_list()) * len(config.target_list()) == 792
    assert config.seeds == (101,)


def test_what_the_release_does_not_say_is_marked_and_is_in_no_identity() -> None:
    file = PRESET.parent / "ablations" / "full.yaml"
    config = load(file)
    assert "recipe.learning_rate = 1e-05: not released, ours" in assumptions(config.model_dump())
    frankly, silently = (one.recipe.model_dump() for one in (config, load(file, ["assumed={}"])))
    assert frankly == silently
    assert not assumptions(load(PRESET).model_dump())


def test_what_is_assumed_is_a_key() -> None:
    with pytest.raises(ConfigError, match=r"recipe\.learning_rat.*is no key of the config"):
        load(PRESET, ["assumed={recipe.learning_rat: ours}"])


def test_most_that_training_reads_is_each_example_at_its_greatest_length() -> None:
    """Whatever the tokenizer: 300 of 256, 215 of 512, 300 of 512, 300 of 128 tokens; 11 languages, 3 seeds, epochs."""
    file = sizes_file(PRESET)
    assert file is not None
    for row in outlook(load(PRESET), read_sizes(file)):
        assert row.padded == 9 * 4_167_680
        assert row.train_tokens < row.padded
        most = row.padded_flops / (0.2 * 989e12) / 3600
        assert row.train_range("H100")[1] <= most
        far_off = replace(row, within=100.0)
        assert far_off.train_range("H100")[1] == most
        assert far_off.score_range("H100")[1] == pytest.approx(row.score_range("H100")[1] * 80)


DOCUMENTED = (
    "study.yaml",
    "ablations/ranks.yaml",
    "ablations/full.yaml",
    "v1_languages.yaml",
)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_the_hours_in_the_docs_are_what_the_command_prints(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(REPOSITORY)
    config = PRESET.parent / name
    assert sweep.main([str(config), "--dry-run", "--set", "store=/nowhere/at/all"]) == 0
    out = capsys.readouterr().out
    hours = dict(re.findall(r"^(\w+): (\S+ to \S+ hours of training, \S+ to \S+) of scoring$", out, re.MULTILINE))
    cells = [hours[device].replace(" hours of training,", ";") for device in ("H100", "A100", "L40S")]
    saved = re.search(r"greatest length: (\S+) times .* with its prompt: (\S+) times", out)
    assert saved is not None
    row = f"| `{name}` | {' | '.join(cells)} | {saved[1]}, {saved[2]} |"
    assert row in (REPOSITORY / "docs" / "published_study.md").read_text().splitlines()
