"""Checks of targets, and the study without those that fail."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy import stats

from analysis.page import words
from analysis.reading.panels import Panel
from analysis.reading.study import Study
from analysis.statistics import health, significance
from analysis.tables import exclusion
from study.store.records import AdapterRecord
from tests.support.rows import record_of


def doubts(panel: Panel, study: Study, *others: Panel, records: list[AdapterRecord] | None = None) -> set[str]:
    found = health.health([panel, *others], study.units, records or [])
    mine = found.filter(pl.col("target_task") == panel.task, pl.col("target_language") == panel.language)
    return set(mine["check"])


def test_health_checks(study: Study) -> None:
    one, other = [p for p in study.panels if p.model == study.panels[0].model and p.task == study.panels[0].task][:2]
    right = np.ones_like(one.norm)
    good = replace(other, norm=right)
    half = np.tile(np.arange(len(one.docs)) % 4 == 0, (len(one.units), 1)).astype(np.float32)
    assert "base at chance" in doubts(replace(one, norm=half), study, good)
    nowhere = doubts(replace(one, norm=half), study, replace(other, norm=half))
    assert "base at chance" not in nowhere
    assert health.EVERYWHERE in nowhere
    assert health.EVERYWHERE in doubts(replace(one, norm=half), study)
    assert "base at chance" not in doubts(replace(one, norm=right), study, good)
    same = np.ones_like(one.pred)
    assert {"one option chosen", "identical predictions"} <= doubts(replace(one, pred=same), study)
    always_one = replace(one, pred=same, gold=np.ones_like(one.gold))
    assert {"one option chosen", "one option right"} <= doubts(always_one, study)
    assert {"one option right", "one option chosen"} <= doubts(replace(one, gold=0 * one.gold, pred=same), study)
    assert "one option right" not in doubts(one, study)
    own_texts = replace(always_one, classes=False)  # TruthfulQA's mc1: the first of the item's own texts is right
    assert not {"one option right", "one option chosen"} & doubts(own_texts, study)
    few = replace(one, docs=one.docs[:4], norm=right[:, :4], options=one.options[:4])
    assert "fewer items" in doubts(few, study, good)
    assert "fewer items" not in doubts(one, study, good)
    record = record_of("a", model=one.model, train_doc_hashes=[str(one.hashes[3])])
    assert "train/test overlap" in doubts(one, study, records=[record])


def test_chance_p_value_equals_scipy(study: Study) -> None:
    panel = study.panels[0]
    right = int(panel.norm[0].sum())
    expected = stats.binomtest(right, len(panel.docs), 0.25, alternative="greater").pvalue
    assert health._chance_p(panel) == pytest.approx(expected)


def test_questions_of_a_passage_are_not_as_many_proofs(study: Study) -> None:
    """Forty of a hundred right beside a chance of a quarter: sure, but not where whole passages of ten are right."""
    one = study.panels[0]
    right, zero = np.repeat([1.0, 0.0], [40, 60])[None].astype(np.float32), np.zeros(100, np.int64)
    bare = replace(one, docs=np.arange(100), norm=right, correct=right, gold=zero, options=zero + 4, metric="")
    p = {
        name: health._chance_p(replace(bare, group=group))
        for name, group in (("none", None), ("passages", np.arange(100) // 10), ("apart", np.arange(100)))
    }
    assert p["none"] == p["apart"] == pytest.approx(stats.binom.sf(39, 100, 0.25))
    assert p["passages"] == pytest.approx(stats.binom.sf(int(4 * 0.9) - 1, 9, 0.25))  # nine tell as ten of passages do
    assert p["none"] < health.ALPHA < p["passages"]


def test_a_metric_that_is_at_zero_or_the_same_for_all_is_doubted(study: Study) -> None:
    """Texts that are written have no options: 0 on every item is as low as it gets, and equal scores tell nothing."""
    one = study.panels[0]
    written = replace(one, metric="rouge1", pred=0 * one.pred - 1, gold=0 * one.gold - 1, options=0 * one.options)
    assert {health.ZERO, "identical scores"} <= doubts(replace(written, norm=0 * one.norm), study)
    assert not {health.ZERO, "identical scores"} & doubts(replace(written, norm=one.norm), study)
    assert health.ZERO not in doubts(replace(written, norm=one.norm - 1), study)  # bits lie below 0
    bare = replace(one, norm=np.nan * one.norm, correct=np.nan * one.norm, gold=one.gold * 0 + 1, pred=one.pred * 0)
    assert {health.EVERYWHERE, "one option chosen", "identical predictions"} <= doubts(bare, study)


def test_losses_where_nothing_can_be_harmed_are_marked(study: Study) -> None:
    """The base of one target is right in a quarter of four options: what is called worse there is told apart."""
    first = study.panels[0]
    half = first.norm.copy()
    half[0] = np.arange(len(first.docs)) % 4 == 0
    table = significance.significance(study.grids, [replace(first, norm=half), *study.panels[1:]])
    there = set(health.lowest(study.panels).rows())
    marked = set(table.filter("lowest").select("model", "target_task", "target_language").iter_rows())
    assert marked == there | {(first.model, first.task, first.language)}
    worse = table.with_columns(worse=pl.lit(True))
    found = significance.claimed(worse)
    assert 0 < found["lowest"] < found["worse"]
    sure = worse.with_columns(harmed=pl.lit(True))
    can_be = sure.filter(~pl.col("lowest"), pl.col("regime") != "MT-ML").height
    assert significance.claimed(sure)["harmed"] == can_be < found["worse"]
    assert f", {can_be:,} of the others by a point for certain," in words.claims(significance.claimed(sure))
    assert f"({found['lowest']:,} where the base is at chance or at 0, which cannot be harmed)" in words.claims(found)


def test_unhealthy_targets_can_be_taken_out(study: Study) -> None:
    found = pl.DataFrame(
        [(study.panels[0].model, study.panels[0].task, study.panels[0].language, "fewer items", 1.0, "")],
        schema=health.SCHEMA,
        orient="row",
    )
    kept = exclusion.healthy_rows(study.transfer, found)
    assert kept.height == study.transfer.height - study.transfer.height // len(study.panels)
    assert kept.columns == study.transfer.columns


def test_whether_overlap_was_looked_for_is_said(study: Study) -> None:
    listed, silent = record_of("a", model="m", train_doc_hashes=["x"]), record_of("b", model="m", train_doc_hashes=[])
    assert "not checked" in health.overlap_checked([silent])
    assert "every adapter" in health.overlap_checked([listed])
    assert "1 of 2 adapters" in health.overlap_checked([listed, silent])
    assert "not checked" in health.overlap_checked([])
