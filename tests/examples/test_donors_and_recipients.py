"""The published study as a preset: its plan without a network, its tasks as lm-eval reads them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml

from orchestrator import sweep
from orchestrator.costs.outlook import outlook
from study.config.file import load
from study.data.sizes import read_sizes, sizes_file
from study.data.tasks import TaskLibrary
from tests.support.tiny_world import REPOSITORY
from trainers.data import split
from trainers.learning_rates import learning_rates

EXAMPLES = REPOSITORY / "examples"
PRESET = EXAMPLES / "donors_and_recipients" / "study.yaml"


def test_the_plan_of_the_published_study_needs_no_network(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(REPOSITORY)
    arguments = [str(PRESET), "--dry-run", "--set", "store=/nowhere/at/all"]
    assert sweep.main(arguments) == 0
    out = capsys.readouterr().out
    assert "1,188 adapters, 52,272 adapter scores, 396 base scores" in out
    for word in ("H100 hours", "H200 hours", "A100 hours", "ASSUMED", "hf download google/gemma-3-4b-it"):
        assert word in out, word
    assert "Llama-3.2-1B-Instruct" in out  # whole, although nobody's terminal is that wide
    assert "cost" not in out
    assert sweep.main([*arguments, "--price", "2.5", "--device", "A100"]) == 0
    priced = capsys.readouterr().out
    assert "cost on A100" in priced
    file = sizes_file(PRESET)
    assert file is not None
    rows = outlook(load(PRESET), read_sizes(file))
    train, score = (sum(getattr(row, part)("L40S") for row in rows) for part in ("train_hours", "score_hours"))
    assert f"L40S: {train:.3f} hours of training, {score:.1f} of scoring; " in out
    whole = sum(row.hours("L40S", "L40S") for row in rows)
    assert f"{whole * 2 / 3:.1f} to {whole * 2:,.0f} in all at 60% to 20% of the peak" in out
    assert all(row.hours("A100", "A100") == pytest.approx(row.hours("H100", "H100") * 989 / 312) for row in rows)
    assert f"{sum(row.hours('A100', 'A100') for row in rows) * 2.5:,.2f}" in priced
    on_two = ["--set", "evaluators={resources: {CPU: 1}}", "--device", "A100", "--price", "2.5"]
    assert sweep.main([*arguments, *on_two]) == 0
    priced = capsys.readouterr().out
    assert "cost on A100 and CPU" in priced
    assert f"{sum(row.hours('A100', 'CPU') for row in rows) * 2.5:,.2f}" in priced


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
    assert f"{whole.score_tokens:,}" in capsys.readouterr().out


def test_a_plan_by_sizes_says_when_it_could_not_ask_the_store(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(REPOSITORY)
    away = "store=s3://bucket/study?endpoint_override=http://127.0.0.1:9"
    assert sweep.main([str(PRESET), "--dry-run", "--set", away]) == 0
    out = capsys.readouterr().out
    assert "could not be asked" in out
    assert "as if nothing were done yet" in out
    assert sweep.main([str(PRESET), "--dry-run", "--set", "store=/nowhere/at/all"]) == 0
    assert "could not be asked" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "config",
    sorted([*EXAMPLES.glob("*/study.yaml"), *EXAMPLES.glob("*/v1_*.yaml"), *EXAMPLES.glob("*/ablations/*.yaml")]),
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
    assert [task.train.bos for task in config.tasks] == [False, False, False, True]
    assert [task.train.max_length for task in config.tasks] == [256, 512, 512, 128]
    assert [task.train.truncation for task in config.tasks] == ["left", "left", "left", "right"]
    for count, held_out, steps, warm_up in ((300, 30, 102, 11), (215, 22, 75, 8)):
        learn, out = split(count, config.recipe.validation)
        rates = learning_rates(config.recipe, math.ceil(len(learn) / config.recipe.batch_size) * config.recipe.epochs)
        assert (len(out), len(rates), rates.index(max(rates))) == (held_out, steps, warm_up)
        assert max(rates) == 5e-5


def test_full_fine_tuning_is_of_the_released_cells() -> None:
    config = load(PRESET.parent / "ablations" / "full.yaml")
    assert len(config.models) * len(config.source_list()) * len(config.target_list()) == 792
    assert config.seeds == (101,)
