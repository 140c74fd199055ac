"""The examples of other shapes from their files to their tables, one seed of each, twice through the data."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl
import pytest
from transformers import AutoTokenizer

from analysis.reading.study import Study, load_store
from analysis.tables.registry import TABLES, make_all
from examples.shapes import build
from orchestrator.prepare import Prepared
from tests.examples.test_shapes import FOLDER
from tests.support.alone import run_alone
from trainers.data import tokenise

LESS = ("seeds=[17]", "recipe.epochs=2", "recipe.learning_rate=3.0e-3", "scoring.limit=24")
EOS = "</s>"


@dataclass(frozen=True)
class Shape:
    """What an example is for. `learned` is what counts in the loss of its first row, or the end of that."""

    learned: str
    metrics: set[str]
    tables: set[str]
    gains: tuple[str, str, int] | None = None  # table and column in which an adapter gains on its own cell: where up is


GROUP = {f"acc@shapes_{kind}_{language}" for kind in build.KINDS for language in ("de", "en")}
ROUGE, WRITTEN = {"rougeL", "rouge1", "chrf", "exact_match"}, {"graded", "corpus", "generation", "wrong_language"}
ON_CELLS = {"matrix", "regime_summary"}
SHAPES = {
    "raw_text": Shape(
        f" ist eine Zahl.{EOS}", {"bits_per_byte", "acc"}, ON_CELLS | {"text_loss"}, ("text_loss", "difference", -1)
    ),
    "completions": Shape(f" Frankreich{EOS}", {"acc"}, ON_CELLS),
    "chat": Shape(f"Frankreich{EOS}", {"acc"}, ON_CELLS),
    "summaries": Shape(f" Land{EOS}", ROUGE, WRITTEN, ("graded", "delta", 1)),
    "few_shot": Shape(" Frankreich", {"acc"}, ON_CELLS, ("transfer", "delta", 1)),
    "group": Shape(" Frankreich", {"acc", *GROUP}, ON_CELLS | {"metrics"}, ("transfer", "delta", 1)),
}


@dataclass(frozen=True)
class Run:
    """An example that is done, and the tables of its report."""

    shape: Shape
    done: Prepared
    study: Study
    tables: Mapping[str, pl.DataFrame]


@pytest.fixture(scope="module", params=SHAPES)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    name, folder = str(request.param), tmp_path_factory.mktemp(str(request.param))
    keys = [*LESS, f"store={folder / 'store'}"]
    if name == "chat":
        build.write_chat_model(folder / "model")
        keys.append(f"models=[{{id: {folder / 'model'}, dtype: float32}}]")
    done = run_alone(FOLDER / f"{name}.yaml", *(part for key in keys for part in ("--set", key)))
    study = load_store(str(folder / "store"))
    made = {table: one.frame for table, one in make_all(TABLES, study).items() if one.frame is not None}
    return Run(SHAPES[name], done, study, made)


def test_what_the_example_is_for_is_learned(run: Run) -> None:
    survey, [model] = run.done.survey, run.done.plan.grid.models
    source, examples = next(iter(survey.examples.items()))
    recipe, tokenizer = run.done.config.recipe_of(source), AutoTokenizer.from_pretrained(model.path)
    row = tokenise(tokenizer, examples[:1], recipe.max_length, recipe.loss_on)[0]
    learned = tokenizer.decode([row.tokens[place] for place in row.places])
    assert learned.endswith(run.shape.learned)
    assert (len(row.places) == len(row.tokens) - 1) == (examples[0].format == "text")
    assert len(run.study.records) == len(survey.examples)
    for record in run.study.records:
        first, second = record.course.epochs
        assert second.train_loss < first.train_loss
        assert not record.course.learned_nothing


def test_every_subject_has_the_metrics_of_every_target(run: Run) -> None:
    grid, store = run.done.plan.grid, run.done.store
    scores = store.scores().to_pylist()
    assert {(row["subject_id"], row["target_task"], row["target_language"]) for row in scores} == {
        (part.subject, cell.task, cell.language) for part in grid.parts() for cell in grid.targets
    }
    assert {row["metric"] for row in scores} == run.shape.metrics
    assert all(math.isfinite(row["value"]) for row in scores)
    counts = Counter(row["score_id"] for row in store.items(["score_id"]).to_pylist())
    for row in scores:
        assert counts[row["score_id"]] >= row["n_items"] > 0
        assert "@" in row["metric"] or counts[row["score_id"]] == row["n_items"]


def test_the_report_has_the_tables_it_is_there_for(run: Run) -> None:
    assert [name for name in run.shape.tables if run.tables.get(name, pl.DataFrame()).is_empty()] == []
    if run.shape.gains is not None:
        table, column, up = run.shape.gains
        own = run.tables[table].filter(
            pl.col("source_task") == pl.col("target_task"), pl.col("source_language") == pl.col("target_language")
        )
        assert own.height == len(run.study.records)
        assert (own[column] * up > 0).all()
    if run.shape.metrics == ROUGE:
        assert "matrix" not in run.tables  # which is of accuracies alone
