"""Graded metrics: Student's t and Hall's transformation of it in plain scipy, units, thresholds, and older parts."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats

from analysis.frames import NotComputable
from analysis.page import distrust, headline
from analysis.reading.study import Study, load_store
from analysis.statistics import graded
from analysis.tables import exclusion
from analysis.tables.graded import compare_graded
from analysis.tables.registry import TABLES, make_all
from study.store import layout, schema
from study.store.store import Store
from tests.support.synth import Shape, unit_rows

MODEL = ("tiny-1B", 1.0)
CELLS = [("sum", "de"), ("sum", "en"), ("text", "de"), ("text", "en")]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Two tasks: ROUGE between 0 and 1, and bits per byte below 0; adapters trained on the first cell are worse."""
    shape, store = Shape(items=50), Store(str(tmp_path_factory.mktemp("graded")))
    rng = np.random.default_rng(4)
    for source, seed in ((None, None), *((cell, seed) for cell in CELLS for seed in (1, 2))):
        items, scores = [], []
        for target in CELLS:
            rows, found = unit_rows(shape, MODEL, source, seed, target)
            loss = 0.2 if source == CELLS[0] else 0.0
            for row in rows:
                share = float(np.clip(rng.beta(4, 3) - loss, 0, 1))
                grade = share if target[0] == "sum" else -np.exp(1 - share)
                metric = "rouge1" if target[0] == "sum" else "bits_per_byte"
                row |= {"correct": None, "correct_norm": None, "graded": grade, "graded_metric": metric}
                row |= {"pred": -1, "pred_norm": -1, "gold": -1}
            items += rows
            scores += [{**found[0], "metric": "any"}]
        store.append(items, scores)
    store.write("study.yaml", b"config: {study: graded, tasks: [{name: text, lm_eval: x, harm: 0.05}]}\n")
    return load_store(store.uri)


@pytest.fixture(scope="module")
def table(study: Study) -> pl.DataFrame:
    return graded.graded(study)


def test_metrics_have_their_own_unit_and_threshold(table: pl.DataFrame, study: Study) -> None:
    assert table.columns == list(graded.COLUMNS)
    assert table.height == 2 * len(CELLS) * 2
    units = dict(table.select("metric", "unit").unique().iter_rows())
    assert units == {"rouge1": "points", "bits_per_byte": "bits_per_byte"}
    assert dict(table.select("metric", "harm").unique().iter_rows()) == {"rouge1": 1.0, "bits_per_byte": 0.05}
    worse = table.filter("worse")
    assert set(worse.select("source_task", "source_language").iter_rows()) == {CELLS[0]}
    assert worse["metric"].n_unique() == 2
    assert not study.panels
    assert study.transfer.height == 0
    assert not study.excluded  # they are in a table of their own, not left out
    assert study.apart == ((4 * 2 * 4, "graded"),)


def test_one_cell_is_halls_t_of_its_items(table: pl.DataFrame, study: Study) -> None:
    """Seeds spread nothing here: all of the variance is that of the items."""
    panel = next(p for p in study.graded if (p.task, p.language) == ("sum", "en"))
    units = study.units[panel.units.tolist()].with_row_index("row")
    mine = units.filter(pl.col("source_task") == "text", pl.col("source_language") == "de")["row"].to_list()
    x = 100 * (panel.norm[mine].astype(float) - panel.norm[0]).mean(axis=0)
    row = table.filter(
        pl.col("source_task") == "text", pl.col("source_language") == "de", pl.col("target_language") == "en",
        pl.col("target_task") == "sum",
    ).row(0, named=True)  # fmt: skip
    n, typical = len(x), np.sqrt((x**2).mean())
    augmented = np.concatenate([x, [typical, -typical]])
    third = ((x - x.mean()) ** 3).sum() / n**3
    score, skew = row["delta"] * n / (n + 2) / row["se"], third / row["se"] ** 3
    assert row["delta"] == pytest.approx(x.mean(), rel=1e-5)
    assert row["se"] >= stats.sem(augmented) * (1 - 1e-6)
    bent = score + skew * score**2 / 3 + skew**2 * score**3 / 27 + skew / 6
    for p, tail in (("p_worse", stats.t.cdf), ("p_better", stats.t.sf)):
        low, high = sorted(tail(bent, df) for df in (2, 10 * n))  # few sources leave few degrees of freedom
        assert low - 1e-9 <= row[p] <= high + 1e-9


def test_the_name_of_a_metric_decides_its_unit_unless_a_mean_is_no_proportions(study: Study) -> None:
    """One item of 1.01 turned all of a metric from points into itself, and two studies had no cell in common then."""
    odd = [replace(panel, norm=panel.norm.copy()) for panel in study.graded]
    for panel in odd:
        if panel.metric == "rouge1":
            panel.norm[1, 0] = 1.01
    bonus = replace(study, graded=tuple(odd))
    units = dict(graded.graded(bonus).select("metric", "unit").unique().iter_rows())
    assert units == {"rouge1": "points", "bits_per_byte": "bits_per_byte"}
    assert compare_graded((study, bonus))["n"].to_list() == [8, 8]
    percent = [replace(panel, norm=100 * panel.norm) for panel in study.graded]
    assert set(graded.graded(replace(study, graded=tuple(percent)))["unit"]) == {"rouge1", "bits_per_byte"}
    with pytest.raises(NotComputable, match="in the same unit"):
        compare_graded((study, replace(study, graded=tuple(p for p in percent if p.metric == "rouge1"))))
    assert graded.size_of("macro_f1", [0.4]) == graded.size_of("rougeL,strict", [0.4]) == 100
    assert graded.size_of("chrf", [0.4]) == 1


def test_a_unit_that_shares_no_item_with_the_base_is_left_out_and_counted(tmp_path: Path) -> None:
    store, target = Store(str(tmp_path)), ("text", "en")
    for source, seed, docs in ((None, None, range(12)), (target, 1, range(12)), (("text", "de"), 1, range(50, 62))):
        items, scores = unit_rows(Shape(items=12), MODEL, source, seed, target)
        for row, doc in zip(items, docs, strict=True):
            row |= {"correct": None, "correct_norm": None, "graded": -1.5, "graded_metric": "bits_per_byte"}
            row |= {"pred": -1, "pred_norm": -1, "gold": -1, "doc_id": doc}
        store.append(items, scores)
    study = load_store(store.uri)
    assert study.apart == ((1, "graded"),)
    assert [n for n, why in study.excluded if "share no item" in why] == [1]


def test_health_sees_targets_without_an_accuracy_and_can_leave_them_out(study: Study) -> None:
    """Every check that needs no options: numbers of items, train examples among them, nothing to lose."""
    first, *others = study.graded
    short = replace(first, docs=first.docs[:9], norm=0 * first.norm[:, :9] if first.metric == "rouge1" else first.norm)
    doubted = replace(study, graded=(short, *others))
    found = make_all(TABLES, doubted)["health"].frame
    assert found is not None
    assert "fewer items" in set(found["check"])
    left = exclusion.without_unhealthy(doubted)
    assert len(left.graded) == len(study.graded) - 1
    assert any("score units of other metrics on 1 unhealthy" in why and n == 8 for n, why in left.excluded)
    assert not left.scores.join(left.units, on="unit").filter(
        pl.col("target_task") == first.task, pl.col("target_language") == first.language
    ).height  # fmt: skip
    assert graded.graded(left).height == graded.graded(study).height - len(CELLS)
    (before,), (after,) = study.apart, left.apart
    assert (before[1], after[1], before[0] - after[0]) == ("graded", "graded", 8)
    assert "there are no items" not in distrust.chapter(left, make_all(TABLES, left))
    page = distrust.chapter(study, make_all(TABLES, study))
    assert "were not checked one by one" not in page
    assert "tables of their own" in page


def test_claims_of_one_seed_say_so_with_unit_and_interval(study: Study) -> None:
    """A study without an accuracy has no transfer rows, and its claims are of these adapters all the same."""
    one = replace(study, units=study.units.filter(pl.col("seed").is_null() | (pl.col("seed") == 1)))
    lines = headline.lines(one, make_all(TABLES, one))
    assert "there is one seed, so claims are about these adapters" in lines[0]
    said = lines[-1]
    assert " cells of these adapters by bits_per_byte, " in said
    assert said.startswith("Graded metrics: ")
    assert re.search(r"by rouge1.* most of all sum/de on \w+/\w+, −[\d.]+ points \(95 % interval −[\d.]+ to −", said)
    several = headline.lines(study, make_all(TABLES, study))
    assert "of these adapters" not in several[-1]
    assert "one seed" not in several[0]


def test_parts_that_were_written_before_have_no_grades(tmp_path: Path) -> None:
    store, source = Store(str(tmp_path)), ("sum", "en")
    for subject, seed in ((None, None), (source, 1)):
        items, scores = unit_rows(Shape(items=12), MODEL, subject, seed, source)
        older = schema.table(schema.ITEMS, items).drop_columns(["graded", "graded_metric", "metrics"])
        store.add_part(layout.ITEMS, older)
        store.append([], scores)
    study = load_store(store.uri)
    assert study.transfer.height == 1
    with pytest.raises(NotComputable, match="accuracy"):
        graded.graded(study)


def test_two_studies_are_compared_metric_by_metric_on_the_cells_both_have(table: pl.DataFrame, study: Study) -> None:
    """The other has no unit of one source: its cells are left out, and means are those of what is left."""
    lost = study.units.filter(pl.col("source_task") == "text", pl.col("source_language") == "de")["unit"].unique()
    fewer = replace(study, units=study.units.filter(~pl.col("unit").is_in(lost.to_list())))
    both = compare_graded((study, fewer))
    left = table.filter(~((pl.col("source_task") == "text") & (pl.col("source_language") == "de")))
    assert both["target_task"].to_list() == ["text", "sum"]
    for row in both.iter_rows(named=True):
        own = left.filter(pl.col("metric") == row["metric"], pl.col("target_task") == row["target_task"])
        assert row["n"] == own.height == 6
        assert row["here"] == pytest.approx(own["delta"].mean(), abs=1e-9)
        assert row["difference"] == pytest.approx(0, abs=1e-9)
    apart = replace(study, units=study.units.with_columns(pl.lit("another-1B").alias("model")))
    assert set(compare_graded((study, apart))["n"]) == {8}  # models are averaged where the studies share none
    with pytest.raises(NotComputable, match="accuracy"):
        compare_graded((study, replace(study, graded=())))


def test_a_first_item_without_a_value_does_not_make_the_metric_an_accuracy(tmp_path: Path) -> None:
    """A rolling text of length 0 has neither a grade nor the name of one."""
    store, source = Store(str(tmp_path)), ("text", "en")
    for subject, seed in ((None, None), (source, 1)):
        items, scores = unit_rows(Shape(items=12), MODEL, subject, seed, source)
        for row in items:
            has = row["doc_id"] != 0
            row |= {"correct": None, "correct_norm": None, "pred": -1, "gold": -1}
            row |= {"graded": -1.5 if has else None, "graded_metric": "bits_per_byte" if has else None}
        store.append(items, scores)
    study = load_store(store.uri)
    assert not study.panels
    assert [panel.metric for panel in study.graded] == ["bits_per_byte"]
