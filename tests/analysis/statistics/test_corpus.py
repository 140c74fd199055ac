"""Metrics of all items together: paired draws, a planted loss, direction, and that no score vanishes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats

from analysis.advice.question import Question, answer
from analysis.page import distrust, files, headline
from analysis.reading.study import Study, load_store
from analysis.statistics import corpus, metrics
from analysis.statistics.graded import size_of
from analysis.tables import exclusion
from analysis.tables.graded import compare_corpus
from analysis.tables.registry import TABLES, make_all
from study.errors import ConfigError
from study.store.store import Store
from tests.support.rows import record_of
from tests.support.synth import Shape, unit_rows

MODEL = ("tiny-1B", 1.0)
CELLS = [("sum", "de"), ("sum", "en"), ("edit", "de"), ("edit", "en")]
SHAPE = Shape(items=40)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """BLEU on `sum`, TER (less is better) on `edit`; adapters trained on the first cell are much worse; and one target
    whose metric has neither items nor draws."""
    store = Store(str(tmp_path_factory.mktemp("corpus")))
    for source, seed in ((None, None), *((cell, seed) for cell in CELLS for seed in (1, 2))):
        items, scores = [], []
        for target in [*CELLS, ("odd", "en")]:
            rows, found = unit_rows(SHAPE, MODEL, source, seed, target)
            bad = 20.0 if source == CELLS[0] else 0.0
            rng = np.random.default_rng([len(target[0]), *target[1].encode(), seed or 0, *str(source).encode()])
            shared = np.random.default_rng(len(target[0])).normal(0, 3, 200)
            own = float(rng.normal(0, 1))
            value = 40 + own - bad if target[0] == "sum" else 40 - own + bad
            drawn = None if target[0] == "odd" else (value + shared + rng.normal(0, 1, 200)).tolist()
            metric = {"sum": "bleu", "edit": "ter", "odd": "mine"}[target[0]]
            items += [row | {"correct": None, "correct_norm": None, "pred": -1, "gold": -1} for row in rows]
            better = {"bleu": True, "ter": False, "mine": None}[metric]
            scores.append(found[0] | {"metric": metric, "value": value, "replicates": drawn, "headline": True,
                                      "higher_is_better": better})  # fmt: skip
        store.append(items, scores)
    store.write("study.yaml", b"config: {study: corpus, tasks: [{name: edit, lm_eval: x, harm: 5}]}\n")
    return load_store(store.uri)


def test_only_the_planted_source_is_worse_whatever_the_direction(study: Study) -> None:
    table = corpus.corpus(study)
    assert table.columns == list(corpus.COLUMNS)
    assert table.height == 2 * len(CELLS) * 2
    worse = table.filter("worse")
    assert set(worse.select("source_task", "source_language").iter_rows()) == {CELLS[0]}
    assert set(worse["metric"]) == {"bleu", "ter"}
    assert worse["harmed"].all()
    assert dict(table.select("metric", "harm").unique().iter_rows())["ter"] == 5
    assert set(table["unit"]) == {"bleu", "ter"}


def test_a_cell_is_the_paired_spread_of_its_draws_and_the_pooled_seeds(study: Study) -> None:
    row = corpus.corpus(study).filter(
        pl.col("source_task") == "edit", pl.col("source_language") == "en", pl.col("target_task") == "sum",
        pl.col("target_language") == "en",
    ).row(0, named=True)  # fmt: skip
    rows = study.scores.join(study.units, on="unit").filter(pl.col("metric") == "bleu")
    base = rows.filter(pl.col("adapter_id").is_null(), pl.col("target_language") == "en")
    mine = rows.filter(pl.col("source_task") == "edit", pl.col("source_language") == "en",
                       pl.col("target_language") == "en")  # fmt: skip
    drawn = np.array(mine["replicates"].to_list()).mean(axis=0) - np.array(base["replicates"][0])
    cells = rows.filter(pl.col("adapter_id").is_not_null()).group_by(
        "source_task", "source_language", "target_language"
    )
    seeds = cells.agg(pl.col("value").var())["value"].mean()
    assert row["delta"] == pytest.approx(mine["value"].mean() - base["value"][0])
    assert drawn.std(ddof=1) < row["se"] < np.sqrt(drawn.std(ddof=1) ** 2 + 2 * seeds)
    low, high = sorted(stats.t.cdf(row["delta"] / row["se"], df) for df in (0.5, 39))
    assert low < row["p_worse"] < high


def test_two_studies_are_compared_metric_by_metric(study: Study) -> None:
    found = compare_corpus((study, study))
    assert dict(zip(found["metric"], found["n"], strict=True)) == {"bleu": 8, "ter": 8}
    table = corpus.corpus(study)
    for row in found.to_dicts():
        assert row["here"] == pytest.approx(table.filter(metric=row["metric"])["delta"].mean())
        assert row["difference"] == 0


def test_advice_by_a_metric_of_all_items_is_what_was_measured_and_says_so(study: Study) -> None:
    found = answer(lambda: study, Question(target="sum/en"))
    assert "bleu, which all items together have and none by itself" in found.sentence
    table = corpus.corpus(study).filter(metric="bleu", target_language="en")
    assert found.table["delta"].to_list() == sorted(table["delta"], reverse=True)
    assert found.table["source"].to_list()[-1] == "sum/de"
    assert found.table["worse"].to_list() == [False, False, False, True]
    assert answer(lambda: study, Question(target="sum/en", model=MODEL[0])).table.equals(found.table)
    with pytest.raises(ConfigError, match="no target's metric has a value for each item"):
        answer(lambda: study, Question(budget=1))
    with pytest.raises(ConfigError, match="is no cell of the study that transfer is told of"):
        answer(lambda: study, Question(target="odd/en"))


def test_every_metric_is_in_a_table_and_says_where_its_claims_are(study: Study) -> None:
    table = metrics.metrics(study)
    assert table.columns == list(metrics.COLUMNS)
    assert table.height == 5 * len(CELLS)
    claims = dict(table.select("metric", "claims").unique().iter_rows())
    assert claims == {"bleu": "corpus", "ter": "corpus", "mine": "none"}
    assert dict(table.select("metric", "better").unique().iter_rows()) == {
        "bleu": "higher",
        "ter": "lower",
        "mine": None,
    }
    left_out = {why: n for n, why in study.excluded}
    assert study.apart == ((4 * 2 * 4, "corpus"),)
    assert left_out["score units that share no item with the base, or whose metric no item has: see `metrics`"] == 8
    assert not study.panels
    said = headline.lines(study, make_all(TABLES, study))
    told = "by ter, 2 can be called worse, 2 of them by what counts as harm for certain, and none better"
    assert any(told in line for line in said)


def _unit_of(metric: str, value: float, other: float) -> str:
    """The unit of a metric whose values are these on two targets."""
    return "points" if size_of(metric, [value, other]) == 100 else metric


def test_the_name_of_a_metric_decides_its_unit_for_the_whole_study() -> None:
    assert _unit_of("bleu", 0.3, 0.9) == "bleu"
    assert _unit_of("f1", 0.3, 0.9) == _unit_of("f1,strict", 0.3, 0.9).partition(",")[0] == "points"
    assert _unit_of("f1", 0.3, 60.0) == "f1"  # as SQuAD's, in percent


def test_what_the_table_drops_is_counted_by_its_reason(tmp_path: Path) -> None:
    """Of four targets one has no base, one a base without draws, one a base with other items."""
    store, rng = Store(str(tmp_path)), np.random.default_rng(3)
    for source, seed in ((None, None), (CELLS[0], 1)):
        for target, broken in zip(CELLS, ("", "base", "draws", "items"), strict=True):
            if source is None and broken == "base":
                continue
            drawn = None if source is None and broken == "draws" else rng.normal(40, 1, 200).tolist()
            items, found = unit_rows(SHAPE, MODEL, source, seed, target)
            told = {"metric": "bleu", "value": 40.0, "headline": True, "replicates": drawn}
            told["n_items"] = 39 if source is None and broken == "items" else 40
            blank = {"correct": None, "correct_norm": None, "pred": -1, "gold": -1}
            store.append([row | blank for row in items], [found[0] | told])
    study = load_store(store.uri)
    assert corpus.corpus(study).height == 1
    counts = {why: n for n, why in study.excluded}
    assert study.apart == ((1, "corpus"),)
    assert counts["score units without a base score on the same target: Δ is unknown"] == 1
    assert [n for why, n in counts.items() if "has no draws" in why or "another number of items" in why] == [1, 1]
    assert sum(counts.values()) == 3


def test_items_of_a_target_that_no_item_has_a_value_of_are_checked(study: Study) -> None:
    """They are asked and hashed as any others: train examples among them are found, and their numbers compared."""
    assert {(panel.task, panel.language) for panel in study.bare} == {*CELLS, ("odd", "en")}
    listed = record_of("a", model=MODEL[0], train_doc_hashes=[str(study.bare[0].hashes[3])])
    checked = replace(study, records=(listed,))
    found = make_all(TABLES, checked)["health"].frame
    assert found is not None
    assert found.filter(pl.col("check") == "train/test overlap").height == 1
    left = exclusion.without_unhealthy(checked)
    assert len(left.bare) == len(study.bare) - found.unique(["target_task", "target_language"]).height
    assert corpus.corpus(left).height < corpus.corpus(study).height
    assert dict(map(reversed, left.apart)) != dict(map(reversed, study.apart))
    unseen = replace(study, bare=study.bare[1:])
    assert "Of 1 target (each model counted) there are no items" in distrust.chapter(unseen, make_all(TABLES, unseen))


def test_an_interval_without_freedom_is_none(study: Study) -> None:
    """With next to no degrees of freedom it reached to 10^150."""
    about = corpus.corpus(study).select("target_task").head(2)
    of = {
        "delta": np.array([1.0, 1.0]),
        "se": np.array([0.1, 0.1]),
        "df": np.array([0.007, 5.0]),
        "n_seeds": np.ones(2),
    }
    made = corpus._claimed(about, of, dict.fromkeys(about["target_task"], 1.0))
    assert made["low"].is_null().to_list() == made["high"].is_null().to_list() == [True, False]


def test_without_an_accuracy_there_is_no_matrix(study: Study) -> None:
    made = make_all(TABLES, study)
    for name in ("matrix", "regime_summary"):
        assert made[name].frame is None
        assert "no adapter was scored on a target that has an accuracy" in made[name].reason


@pytest.mark.usefixtures("no_figures")
def test_without_an_accuracy_the_numbers_that_there_are_come_first(study: Study, tmp_path: Path) -> None:
    page = files.write(study, tmp_path).index.read_text(encoding="utf-8")
    more, folded, why = (
        page.index(one) for one in ('<h2 id="more">', "Chapters of accuracies", "Not computed, and why")
    )
    assert more < page.index("<h3>Metrics of the whole corpus</h3>") < why < folded < page.index(">Effect</h2>")
