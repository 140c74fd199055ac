"""Learning curves against means and paired tests by hand, of a store with samples that learn less."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from scipy import stats

from analysis.frames import HARM_PP, NotComputable
from analysis.inference.cells import cells
from analysis.inference.items import Column, grid
from analysis.inference.means import means, one_sided, within_model
from analysis.reading.study import Study, load_store
from analysis.statistics.samples.curves import _of_one, learning_curve
from tests.support.synth import Shape, unit_rows, write_store

SHAPE = Shape(seeds=(1,), items=30, normed=False)
SIZES = {5: 0.35, 50: 0.6}  # how much of what all rows teach a sample does
CELLS = [(task, language) for task in SHAPE.tasks for language in SHAPE.languages]


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Of `names` there are samples in every language, of `numbers` none; some items are as under the base."""
    store = write_store(tmp_path_factory.mktemp("curves") / "store", SHAPE, grid=False)
    model = SHAPE.models[0]
    for size, share in SIZES.items():
        for source in CELLS[:3]:
            items, scores = [], []
            for target in CELLS:
                base, _ = unit_rows(SHAPE, model, None, None, target)
                rows, more = unit_rows(SHAPE, model, source, 1000 + size, target)
                kept = np.random.default_rng(size).random(len(rows)) < share
                for row, untouched, learned in zip(rows, base, kept, strict=True):
                    row["correct"] = row["correct"] if learned else untouched["correct"]
                for row in (*rows, *more):
                    row |= {"seed": 1, "source_size": size}
                items, scores = items + rows, scores + more
            store.append(items, scores)
    return load_store(str(store.uri))


def right(study: Study, source: tuple[str, str], size: int | None, target: tuple[str, str]) -> np.ndarray:
    """Right or wrong of every item, in percent."""
    unit = study.units.filter(
        pl.col("source_task") == source[0],
        pl.col("source_language") == source[1],
        pl.col("source_size").eq_missing(size),
        pl.struct("target_task", "target_language")
        == dict(zip(("target_task", "target_language"), target, strict=True)),
    )["unit"][0]
    panel = next(one for one in study.panels if (one.task, one.language) == target)
    return 100.0 * panel.correct[list(panel.units).index(unit)].astype(float)


def test_steps_of_a_cell_are_paired_tests_of_its_items(sampled: Study) -> None:
    own = pl.col("of") == "source", pl.col("regime") == "MT-ML", pl.col("source_language") == "de"
    rows = learning_curve(sampled).filter(*own).to_dicts()
    assert [row["sample"] for row in rows] == [5, 50, None]
    assert (rows[0]["step"], rows[0]["p_better"]) == (None, None)
    cell = ("names", "de")
    some = [right(sampled, cell, size, cell) for size in (5, 50, None)]
    for row, (before, now) in zip(rows[1:], pairwise(some), strict=True):
        y, n = now - before, len(now)
        error = np.std([*y, 100, -100], ddof=1) / (n + 2) ** 0.5
        ends = y.mean() + np.array([-1, 1]) * stats.t.ppf(0.975, n + 1) * error
        assert row["step"] == pytest.approx(y.mean(), abs=1e-4)
        assert (row["step_low"], row["step_high"]) == pytest.approx(tuple(ends), rel=1e-4)
        assert row["p_worse"] == pytest.approx(stats.t.cdf(y.mean() / error, n + 1), abs=1e-4)


def test_a_sample_that_changes_nothing_is_not_known_for_certain(sampled: Study) -> None:
    """Two sizes with the same answers: no interval has a width of 0, and a point of one cell is that cell's."""
    cell = ("names", "de")
    panels = []
    for panel in sampled.panels:
        ours = sampled.units[panel.units.tolist()].with_row_index("row").filter(pl.col("source_task") == "names")
        same = panel.norm.copy()
        same[ours["row"].to_numpy()] = panel.norm[0]
        panels.append(replace(panel, norm=same))
    study = replace(sampled, panels=tuple(panels))
    rows = learning_curve(study).filter(of="source", regime="MT-ML", source_language="de").to_dicts()
    for row in rows:
        assert row["low"] < 0 < row["high"]
        assert row["step"] is None or row["step_low"] < 0 < row["step_high"]
    (grid,) = study.grids
    at = grid.sources.index(cell), grid.targets.index(cell)
    assert (rows[-1]["low"], rows[-1]["high"]) == pytest.approx((grid.cells.low[at], grid.cells.high[at]), rel=0.05)


def test_a_tasks_curve_is_of_languages_that_have_all_sizes(sampled: Study) -> None:
    few = (pl.col("source_size") == 50) & (pl.col("source_language") != "de")
    study = replace(
        sampled, units=sampled.units.with_columns(pl.when(few).then(None).otherwise("score").alias("score"))
    )
    table = learning_curve(study).filter(of="task", regime="MT-ML")
    assert table["sample"].to_list() == [5, 50, None]
    assert set(table["n_cells"]) == {1}
    own = learning_curve(study).filter(of="source", regime="MT-ML", source_language="de")
    assert table["mean"].to_list() == pytest.approx(own["mean"].to_list())


@pytest.mark.parametrize(("n", "seeds"), [(20, 1), (100, 1), (100, 3)])
def test_steps_without_an_effect_are_rarely_claimed(n: int, seeds: int) -> None:
    """Simulated: two sizes that answer alike but for noise, 960 steps of one cell each and 80 of twelve."""
    sources, targets = 160, 12
    rng = np.random.default_rng(n + seeds)
    columns = []
    for _ in range(targets):
        hard = rng.random(n) < 0.5
        changed = rng.random((sources * seeds, n)) < 0.2
        difference = np.where(changed, np.where(hard, 100.0, -100.0) * rng.choice([-1, 1], (sources * seeds, n)), 0.0)
        columns.append(Column(difference.astype(np.float32), np.arange(sources * seeds), np.arange(n)))
    made = grid(columns, np.repeat(np.arange(sources), seeds), n)
    spread = cells(made, HARM_PP).seeds
    ones = np.zeros((sources // 2 * targets, sources, targets))
    for i, (pair, t) in enumerate((pair, t) for pair in range(sources // 2) for t in range(targets)):
        ones[i, 2 * pair, t], ones[i, 2 * pair + 1, t] = 1, -1
    sole = tuple(np.array([_of_one(made, one) for one in ones]).T)
    twelve = ones.reshape(sources // 2, targets, sources, targets).mean(axis=1)
    for steps, own, most in ((ones, sole, 0.065), (twelve, None, 0.13)):
        worse, better = one_sided(within_model(means(made, spread, steps, own)))
        assert (worse < 0.05).mean() < most
        assert (better < 0.05).mean() < most


def test_points_are_means_over_cells_and_families_have_their_own_q(sampled: Study) -> None:
    table = learning_curve(sampled)
    assert set(table["source_task"]) == {"names"}  # no curve without samples
    whole = table.filter(pl.col("sample").is_null())
    plain = sampled.transfer.filter(pl.col("source_task") == "names").group_by("regime").agg(pl.col("delta").mean())
    both = whole.filter(pl.col("of") == "task").join(plain, on="regime")
    assert both.height == 4
    np.testing.assert_allclose(both["mean"], both["delta"], atol=1e-4)
    for _, part in table.drop_nulls("step").group_by("of"):
        np.testing.assert_allclose(part["q_better"], stats.false_discovery_control(part["p_better"]))


def test_samples_are_in_no_other_table_and_counted(sampled: Study) -> None:
    assert sampled.transfer.height == 36
    assert (36, "learning_curve") in sampled.apart
    assert {name for one in sampled.grids for name, _ in one.sources} == {"names", "numbers"}
    without = replace(sampled, units=sampled.units.filter(pl.col("kind") != "sample"))
    with pytest.raises(NotComputable, match="asks for some"):
        learning_curve(without)
