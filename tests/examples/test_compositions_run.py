"""The example of compositions from its file to its tables, cut to what takes seconds: every method, run twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from analysis.reading.study import load_store
from analysis.tables.registry import TABLES, make_all
from study.config.file import load
from study.data.tasks import TaskLibrary
from study.store import composed
from study.store.store import Store
from tests.support.rows import done_scores
from tests.support.tiny_world import sweep

PRESET = Path("examples/compositions/study.yaml")
MODEL = "examples/quickstart/polyglot-nano"
LEARNED = ("digest/en", "digest/fr", "territory/de", "territory/en", "prose/de", "prose/en", "prose/fr")
LEFT_OUT = ("digest/de", "digest/es")  # of terms: their adapters are not trained here
MADE = ("compositions", "lambda_curve", "additivity", "geometry", "generation")


def smaller() -> list[str]:
    """Every combination of the preset, of fewer parts, languages and lambdas; training once through."""
    preset: dict[str, Any] = yaml.safe_load(PRESET.read_text(encoding="utf-8"))
    for one in preset["compose"]:
        one["terms"] = [term for term in one["terms"] if term["source"] not in LEFT_OUT]
        if isinstance(one.get("lambda"), dict):
            one["for"], one["lambda"]["grid"] = {"language": ["de", "fr"]}, one["lambda"]["grid"][:2]
        elif "for" in one:
            one["for"] = {"language": ["de"]}
        if "weights" in one:
            one["weights"]["search"] |= {"examples": 4, "budget": 4}
    text = preset["texts"][0] | {"limit": 24, "recipe": {"epochs": 1}}
    lists = {"sources": LEARNED, "targets": ["digest/de", "digest/en", "digest/fr"], "texts": [text]}
    options = [f"{key}={json.dumps(value)}" for key, value in (lists | {"compose": preset["compose"]}).items()]
    options += ["recipe.epochs=1", "recipe.batch_size=4", "scoring.limit=8"]
    options += ["training.gang_size=8", "evaluators={resources: {CPU: 1}, max: 1}"]
    return [part for option in options for part in ("--set", option)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The folder of the study's store, done, and the options by which it was run."""
    folder = tmp_path_factory.mktemp("compositions") / "store"
    options = ["--set", f"store={folder}", *smaller()]
    done = sweep(PRESET, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, options


def test_every_method_is_composed_and_scored_and_a_second_run_does_nothing(run: tuple[Path, list[str]]) -> None:
    store, options = Store(str(run[0])), run[1]
    config = load(PRESET)
    made = composed.records(store)
    assert {name.partition("[")[0] for name in (one.name for one in made.values())} == {c.name for c in config.compose}
    assert all(record.norm is None or record.norm > 0 for record in made.values())
    assert len(store.records()) == len(LEARNED)
    before = done_scores(store)
    again = sweep(PRESET, *options)
    assert again.returncode == 0
    assert "nothing to do" in again.stdout
    assert done_scores(store) == before


def test_the_report_has_their_tables_with_a_lambda_chosen_on_other_languages(run: tuple[Path, list[str]]) -> None:
    store, study = Store(str(run[0])), load_store(str(run[0]))
    frames = {name: made.frame for name, made in make_all(TABLES, study).items() if name in MADE}
    assert [name for name, frame in frames.items() if frame is None] == []
    table, curve = frames["compositions"], frames["lambda_curve"]
    assert table is not None
    assert curve is not None
    named = {one.name for one in composed.records(store).values()}
    assert set(table["name"]) == named
    chosen = table.filter(pl.col("protocol") == "other_languages")
    assert chosen["lambda"].null_count() == 0
    assert curve.filter("chosen").height == chosen.height
    assert set(table.filter(pl.col("claim") == "few-shot")["name"]) == {"search[de]"}


def test_a_source_of_one_epoch_ends_its_answers_itself(run: tuple[Path, list[str]]) -> None:
    """Its examples end with EOS; of one whose examples do not, no answer ends before the task's limit."""
    store = Store(str(run[0]))
    config = load(PRESET)
    [record] = [one for one in store.records().values() if one.source == ("digest/en",)]
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    requests = TaskLibrary.of(config).build_requests(config.cell("targets", "digest/en"))
    tokenizer.padding_side = "left"
    prompts = tokenizer([request.args[0] for request in requests], return_tensors="pt", padding=True)
    limit = requests[0].args[1]["max_gen_toks"]
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(MODEL), str(run[0] / record.folder))
    whole = model.generate(**prompts, max_new_tokens=limit, do_sample=False, pad_token_id=tokenizer.pad_token_id)
    ended = (whole[:, prompts["input_ids"].shape[1] :] == tokenizer.eos_token_id).any(dim=1)
    assert len(ended) == 100
    assert int(ended.sum()) >= 95
