"""What units will take, by what stores have seen: made-up stores, whose figures can be told by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.costs.devices import SCORE, TRAIN, assumed, kind, stages
from orchestrator.costs.estimate import Cost, Estimates, costs, estimate
from orchestrator.costs.measured import measure, merged
from orchestrator.planning.grid import expand
from orchestrator.planning.plan import plan
from orchestrator.planning.spent import took_in
from orchestrator.planning.survey import Question, Survey
from orchestrator.progress.tables import cost_table, hours_of
from study.config import StudyConfig
from study.config.file import parse
from study.data.example import Example
from study.data.tasks import TaskLibrary
from study.flops import PEAK_FLOPS, UTILISATION
from study.identity import target_id
from study.models.resolve import Model
from study.store.layout import RECORD_FILE, STUDY_FILE
from study.store.store import Store
from study.units import AdapterUnit
from tests.support.rows import record_text

EXAMPLE = Example("p" * 36, " abc")  # 40 characters: 10 tokens where nobody knows better
CPU_FLOPS = UTILISATION * PEAK_FLOPS["CPU"]


def config_of(*overrides: str) -> StudyConfig:
    text = (
        "models: [{id: a}, {id: b}]\nlanguages: [en, de]\ntasks: [{name: arc, lm_eval: 'arc_{language}'}]\nseeds: [1]\n"
        "recipe: {epochs: 2, validation: {fraction: 0.0}}\n"
        "training: {resources_per_worker: {CPU: 1}}\nevaluators: {resources: {CPU: 1}}"
    )
    return parse(text, overrides)


def model(name: str, params: int = 1000, embedded: int = 200) -> Model:
    return Model(name, f"/nowhere/{name}", None, f"identity {name}", "float32", name, 1.0, params, False, (), embedded)


MODELS = [model("a"), model("b", params=2600)]  # 800 and 2,400 parameters outside the embeddings


def store_of(folder: Path, config: StudyConfig) -> Store:
    """An empty store of a study."""
    store = Store(str(folder))
    found = [{"name": m.name, "params": m.params, "embedded": m.embedded} for m in MODELS]
    store.write(STUDY_FILE, yaml.safe_dump({"config": config.model_dump(mode="json"), "models": found}).encode())
    return store


def train(store: Store, language: str, seconds: float, tokens: int, **more: Any) -> None:
    """Record an adapter of model a."""
    seen = {"tokens": {"useful": tokens, "padded": tokens}, "examples": {"train": tokens // 10, "validation": 0}}
    seen |= {"seconds": seconds, **more}
    record = record_text(f"{language}{seconds}", model="a", source=[f"arc/{language}"], **seen)
    store.write(f"adapters/a/arc/{language}/seed1-{language}{seconds}/{RECORD_FILE}", record)


def score(store: Store, language: str, seconds: float, items: int, **more: Any) -> None:
    """Add a score of model a's base."""
    row: dict[str, object] = {
        "score_id": f"{language}{seconds}", "adapter_id": None, "model": "a", "model_params": 1000, "source_task": None,
        "source_language": None, "source_size": None, "recipe": None, "epoch": None, "seed": None, "target_task": "arc",
        "target_language": language,
        "subject_id": "identity a", "target_id": f"{language} of {items}", "value": 0.5, "stderr": None,
        "n_items": items, "seconds": seconds, "tokens": items * 10, "device": "cpu", "engine": "",
        "base_compared": None, "day_fixed": None,
        "higher_is_better": None, "headline": None, "replicates": None, "written_at": datetime.now(UTC), **more,
    }  # fmt: skip
    store.append([], [{**row, "metric": metric} for metric in ("acc", "acc_norm")])


def estimated(config: StudyConfig, *stores: Store, examples: int = 20, items: int = 12) -> Estimates:
    sources, targets = config.source_list(), config.target_list()
    found = Survey(TaskLibrary.of(config))
    found.examples = dict.fromkeys(sources, (EXAMPLE,) * examples)
    found.sources = {source: [str(source)] for source in sources}
    found.targets = {cell: str(cell) for cell in targets}
    found.target_texts = {cell: [Question("x" * 40)] * items for cell in targets}
    found.target_items = dict.fromkeys(targets, items)
    grid = expand(config, MODELS, found.sources, found.targets)
    kinds = {stage: kind(resources) for stage, resources in stages(config).items()}
    return estimate(
        grid, found, config, merged(measure(store, kinds, took_in(store)) for store in stores), assumed(config, None)
    )


def test_what_was_measured_on_a_part_of_the_data_says_what_all_of_it_takes(tmp_path: Path) -> None:
    config, store = config_of(), store_of(tmp_path, config_of())
    train(store, "en", seconds=4, tokens=80)  # 8 examples, one epoch
    score(store, "en", seconds=2, items=8)
    found = estimated(config, store)
    assert found.train_tokens["a"]["arc/en"] == 400
    assert found.train_s["a"]["arc/en"] == pytest.approx(4 * 400 / 80)
    assert found.score_s["a"][0] == pytest.approx(2 * 12 / 8)
    equal = estimated(config, store, examples=4, items=8)
    assert (equal.train_s["a"]["arc/en"], equal.score_s["a"][0]) == (4, 2)


def test_a_target_that_was_scored_as_it_is_takes_what_it_took_whatever_else_was_asked_of_its_cell(
    tmp_path: Path,
) -> None:
    config, store = config_of(), store_of(tmp_path, config_of())
    score(store, "en", seconds=30, items=8)
    before = estimated(config, store).score_s["a"][0]
    assert before == pytest.approx(30 * 12 / 8)
    score(store, "en", seconds=2, items=12, target_id=target_id("arc/en", config.scoring))
    assert estimated(config, store).score_s["a"][0] == 2


def test_what_is_validated_on_counts_alike_in_what_is_planned_and_in_what_was_measured(tmp_path: Path) -> None:
    config, store = config_of("recipe.validation.fraction=0.2"), store_of(tmp_path, config_of())
    train(store, "en", seconds=4, tokens=80, examples={"train": 8, "validation": 2})
    found = estimated(config, store, examples=10)
    assert found.train_tokens["a"]["arc/en"] == 160  # of 10 examples 8 are learned from, twice
    assert found.read_tokens["a"]["arc/en"] == 200
    assert found.train_s["a"]["arc/en"] == pytest.approx(8)
    none = estimated(config_of(), store, examples=8)  # reading the two costs what learning from one does
    assert none.train_s["a"]["arc/en"] == pytest.approx(8 * 8 / 9)


def test_seconds_are_those_of_all_devices_whatever_a_trial_was_made_of(tmp_path: Path) -> None:
    store = store_of(tmp_path, config_of())
    train(store, "en", seconds=4, tokens=400, world_size=2)
    for workers in (1, 2, 4):
        config = config_of(f"training.workers_per_trial={workers}")
        found = estimated(config, store)
        assert found.train_s["a"]["arc/en"] == pytest.approx(8)
        gang = [AdapterUnit("id", "a", source, 1) for source in config.source_list()[:1]] * 3
        assert found.gang_s(gang) == pytest.approx(3 * 8 / workers)
        flops = estimated(config).train_s["a"]["arc/en"]
        assert flops == pytest.approx(4 * 800 * 400 / CPU_FLOPS)


@pytest.mark.parametrize(("amount", "devices"), [(0.25, 0.25), (1, 1), (2, 2)])
def test_a_device_that_is_shared_or_idle_counts_as_what_is_held_of_it(
    tmp_path: Path, amount: float, devices: float
) -> None:
    config = config_of("training.resources_per_worker={CPU: 4, GPU: 1}", f"evaluators.resources={{GPU: {amount}}}")
    store = store_of(tmp_path, config)
    score(store, "en", seconds=2, items=12, device="cuda:0")
    found = estimated(config, store)
    assert found.devices == {TRAIN: 1, SCORE: devices}
    assert found.score_s["a"][0] == pytest.approx(2 * devices)
    assert found.evaluator_s()["a"][0] == pytest.approx(2)
    # a store whose evaluators held a GPU each has seen what computing takes: a second GPU that idles is on top
    whole = store_of(tmp_path / "whole", config_of("evaluators.resources={GPU: 1}"))
    score(whole, "en", seconds=2, items=12, device="cuda:0")
    assert estimated(config, whole).score_s["a"][0] == pytest.approx(2 * max(1, devices))


def test_only_what_was_measured_on_the_kind_of_device_that_is_asked_for_counts(tmp_path: Path) -> None:
    store = store_of(tmp_path, config_of())
    train(store, "en", seconds=400, tokens=400)
    train(store, "en", seconds=4, tokens=400, device="NVIDIA H100 80GB HBM3")
    score(store, "en", seconds=2, items=12)
    mixed = estimated(config_of("training.resources_per_worker={GPU: 1}"), store)
    assert mixed.train_s["a"]["arc/en"] == pytest.approx(4)
    assert mixed.score_s["a"][0] == pytest.approx(2)
    assert f"training measured on NVIDIA H100 80GB HBM3 in {tmp_path}" in mixed.basis["a"]
    assert f"scoring measured on cpu in {tmp_path}" in mixed.basis["a"]
    gpus = estimated(config_of("evaluators.resources={GPU: 1}"), store)
    assert "scoring by FLOP model, H100" in gpus.basis["a"]
    assert gpus.train_s["a"]["arc/en"] == pytest.approx(400)


def test_stages_are_assumed_on_the_devices_that_they_ask_for() -> None:
    on_gpu = config_of("training.resources_per_worker={GPU: 1}")
    assert assumed(on_gpu, None) == {TRAIN: "H100", SCORE: "CPU"}
    assert assumed(on_gpu, "A100") == {TRAIN: "A100", SCORE: "CPU"}
    assert assumed(config_of(), "A100") == {TRAIN: "A100", SCORE: "A100"}


def test_models_that_nobody_has_seen_go_by_parameters_outside_the_embeddings(tmp_path: Path) -> None:
    store = store_of(tmp_path, config_of())
    train(store, "en", seconds=4, tokens=400)
    score(store, "de", seconds=2, items=12)
    found = estimated(config_of(), store)
    assert found.train_s["b"] == pytest.approx(dict.fromkeys(("arc/en", "arc/de"), 4 * 2400 / 800))
    assert found.score_s["b"] == pytest.approx([2 * 2400 / 800] * 2)
    assert "the speed of other models on cpu" in found.basis["b"]


def test_a_target_comes_from_the_first_store_that_has_seen_it(tmp_path: Path) -> None:
    own, other, third = (store_of(tmp_path / name, config_of()) for name in ("own", "other", "third"))
    score(own, "en", seconds=2, items=12)
    score(other, "en", seconds=50, items=12)
    score(other, "de", seconds=5, items=12)
    train(third, "de", seconds=4, tokens=400)
    found = estimated(config_of(), own, other, third)
    assert found.score_s["a"] == pytest.approx([2, 5])
    assert found.train_s["a"] == pytest.approx({"arc/en": 4, "arc/de": 4})
    basis = found.basis["a"]
    assert f"scoring measured on cpu in {own.uri} (1), measured on cpu in {other.uri} (1)" in basis
    assert f"training the model's speed on cpu in {third.uri} (1), measured on cpu in {third.uri} (1)" in basis


def test_it_is_said_where_tokens_are_guessed() -> None:
    assert "tokens guessed from characters" in estimated(config_of()).basis["a"]


def test_a_base_is_loaded_once_for_each_stage_that_has_something_to_do(tmp_path: Path) -> None:
    config = config_of("training.workers_per_trial=2")
    found = estimated(config)
    sources = {source: [str(source)] for source in config.source_list()}
    grid = expand(config, MODELS, sources, {cell: str(cell) for cell in config.target_list()})
    todo = plan(grid, {}, ())
    once = found.load_s["a"]
    assert [cost.load_s for cost in costs(todo, found)] == pytest.approx([3 * once, 3 * found.load_s["b"]])
    trained = plan(grid, {unit.adapter_id: unit.model for unit in grid.adapters}, ())
    (cost, _) = costs(trained, found)
    assert cost.load_s == pytest.approx(once)
    assert cost.hours * 3600 == pytest.approx(cost.score_s + once)


def test_costs_can_be_read_and_add_up() -> None:
    assert [hours_of(h) for h in (0, 1e-9, 0.0123, 9.5, 12.345, 1234.5)] == [
        "0.000", "< 0.001", "0.012", "9.500", "12.3", "1,234",
    ]  # fmt: skip
    some = [Cost(name, 10_000_000, 20_000_000, 3600.0 * 1000, 3600.0 * 200, 3600.0 * 34, "") for name in "ab"]
    rows = [list(column.cells) for column in cost_table(some, 2.0).columns]
    assert [column[-1] for column in rows] == ["all", "20.0", "40.0", "2,468", "68.0", "4,936.00"]
    assert len(rows[0]) == 3
    assert len(list(cost_table(some[:1], None).columns[0].cells)) == 1
