"""Translated test sets beside their originals: planted differences are found, and no table of transfer has them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from analysis.frames import NotComputable
from analysis.page import files
from analysis.page.translations import said
from analysis.reading.panels import Panel
from analysis.reading.study import Study
from analysis.reading.transfer import transfer
from analysis.reading.translations import KIND, set_apart
from analysis.statistics.translations import COLUMNS, translated_tests
from study.cells import Cell
from tests.support.combined import World, study_of

MORE = 0.12  # what sources in English do on the translation beyond the original
STUDIES = 40


def effect(source: Cell, target: Cell) -> float:
    return MORE if source.language == "en" and target.task == "b" else 0.0


def read(world: World, of: str = "a", seed: int = 0) -> Study:
    """The study as it is read where task b is a translation."""
    whole = study_of(world, seed)
    config = {"tasks": [{"name": "a"}, {"name": "b", "translation_of": of}]}
    units = set_apart(whole.units, config)
    return replace(whole, config=config, units=units, transfer=transfer(units.filter(pl.col("kind") == "trained"), {}))


@pytest.fixture(scope="module")
def study() -> Study:
    return read(World(effect, items=1500, languages=("de", "en")))


def test_what_differs_on_a_translation_is_found(study: Study) -> None:
    table = translated_tests(study)
    assert table.columns == list(COLUMNS)
    assert table.height == 8
    assert set(table["target_task"]) == {"b"}
    assert (table["original"] == "a/" + table["target_language"]).all()
    english = table.filter(source_language="en")
    assert english["better"].all()
    assert not table["worse"].any()
    assert ((english["low"] < 100 * MORE) & (english["high"] > 100 * MORE)).all()
    assert not table.filter(source_language="de")["better"].any()
    np.testing.assert_allclose(table["difference"], table["delta"] - table["delta_original"], atol=1e-6)


def test_it_is_of_the_items_and_adapters_that_both_have(study: Study) -> None:
    """Against a few lines: an item that one side lacks is on neither, under whatever seed."""
    holes = np.random.default_rng(1)

    def torn(panel: Panel) -> Panel:
        kept = holes.random(len(panel.docs)) < 0.8
        norm = np.where(holes.random(panel.norm.shape) < 0.1, np.nan, panel.norm)
        norm[0] = panel.norm[0]
        return replace(panel, docs=panel.docs[kept], norm=norm[:, kept])

    some = replace(study, panels=tuple(torn(panel) for panel in study.panels))
    at = {(panel.task, panel.language): panel for panel in some.panels}
    adapters = dict(some.units.select("unit", "adapter_id").iter_rows())
    for row in translated_tests(some).iter_rows(named=True):
        mine, theirs = (at[task, row["target_language"]] for task in ("b", "a"))
        docs = np.intersect1d(mine.docs, theirs.docs)
        of = some.units.filter(
            pl.col("source_task") == row["source_task"], pl.col("source_language") == row["source_language"]
        )
        changed = []
        for adapter in of["adapter_id"].unique():
            both = []
            for panel in (mine, theirs):
                [at_row] = [i for i, unit in enumerate(panel.units.tolist()) if adapters[unit] == adapter]
                items = np.isin(panel.docs, docs)
                both.append((panel.norm[at_row] - panel.norm[0])[items])
            changed.append(np.nanmean(both[0] - both[1]))
        assert row["difference"] == pytest.approx(100 * np.mean(changed), abs=1e-4)
        assert row["n_items"] <= len(docs)


@pytest.mark.parametrize(("seeds", "sd"), [((1,), 0.0), ((1, 2, 3), 0.03)])
@pytest.mark.parametrize("more", [0.0, MORE])
def test_intervals_hold_the_truth_and_claims_are_seldom_wrong(seeds: tuple[int, ...], sd: float, more: float) -> None:
    """On simulated truth; what more worlds came to is in docs/calibration.md."""
    held, wrong = [], []
    for seed in range(STUDIES):
        world = World(
            lambda source, target: more * (effect(source, target) > 0),
            languages=("de", "en"), seeds=seeds, items=100, seed_sd=sd,
        )  # fmt: skip
        table = translated_tests(read(world, seed=seed))
        truth = 100 * more * (table["source_language"] == "en").cast(pl.Float64)
        held += ((table["low"] <= truth) & (truth <= table["high"])).to_list()
        called = table.filter("better").height + table.filter("worse").height
        false = table.filter(pl.lit(truth <= 0) & pl.col("better")).height + table.filter("worse").height
        wrong.append(false / max(1, called))
    assert 0.93 <= np.mean(held) <= 0.985
    assert np.mean(wrong) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / STUDIES)


def test_no_table_of_transfer_has_them(study: Study) -> None:
    assert set(study.transfer["target_task"]) == {"a"}
    assert set(study.units.filter(pl.col("kind") == KIND)["target_task"]) == {"b"}
    assert {target for grid in study.grids for target in grid.targets} == {("a", "de"), ("a", "en")}


def test_the_original_may_be_one_cell_and_has_to_be_there() -> None:
    table = translated_tests(read(World(effect, items=60, languages=("de", "en")), "a/en"))
    assert set(table["original"]) == {"a/en"}
    with pytest.raises(NotComputable, match="`translation_of` in the config says which"):
        translated_tests(study_of(World(effect, items=40)))
    with pytest.raises(NotComputable, match="on a translated target and on its original"):
        translated_tests(read(World(effect, items=40), "gone"))


@pytest.mark.usefixtures("no_figures")
def test_it_is_a_chapter_of_the_page(study: Study, tmp_path: Path) -> None:
    [english, german] = sorted(said(translated_tests(study)), key=lambda line: "b/de" in line)
    assert "on b/en and" in english
    assert "Of 4 sources 2 change more for the better on the translation beyond chance, 0 less" in german
    page = files.write(study, tmp_path).index.read_text(encoding="utf-8")
    assert '<h2 id="translated_tests">' in page
    assert 'href="#translated_tests">Translated tests' in page
