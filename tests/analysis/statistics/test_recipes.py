"""Recipes beside one another: on worlds of known truth, by hand on one cell, and never as seeds of one another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy import stats

from analysis.frames import NotComputable
from analysis.inference.claims import q_values
from analysis.reading.panels import Panel
from analysis.reading.recipes import Across
from analysis.reading.study import Study
from analysis.statistics.recipes import recipes
from bench.calibration.worlds import World, draw

MODEL = "known-1B"


def two_recipes(world: World, seed: int, lost: float = 0.0) -> Study:
    """Adapters of a world, the first half of each source's seeds by recipe a, the others by b; of what task t0 teaches,
    b loses a share of what is right on t1."""
    drawn, rng = draw(world, seed), np.random.default_rng(seed)
    half, source = world.seeds // 2, drawn.source[0]
    names = ["a" if adapter % world.seeds < half else "b" for adapter in range(len(source))]
    rows: list[dict[str, object]] = []
    panels = []
    for cell, column in zip(world.cells, drawn.columns[0], strict=True):
        gained, down = ((column.difference == way).any(axis=0) for way in (100, -100))
        base = np.where(down, True, np.where(gained, False, rng.random(column.difference.shape[1]) < 0.5))
        right = np.vstack([base, base + column.difference / 100]).astype(np.float32)
        for adapter, name in enumerate(names):
            if name == "b" and world.cells[source[adapter]][0] == "t0" and cell[0] == "t1":
                right[adapter + 1][rng.random(len(base)) < lost] = 0.0
        units = np.arange(len(rows), len(rows) + len(right))
        for adapter in range(-1, len(source)):
            task, language = world.cells[source[adapter]] if adapter >= 0 else (None, None)
            rows.append({
                "adapter_id": f"{adapter}" if adapter >= 0 else None, "model": MODEL, "source_task": task,
                "source_language": language, "source_size": None, "target_task": cell[0], "target_language": cell[1],
                "seed": adapter % half if adapter >= 0 else None, "kind": "trained" if adapter >= 0 else "base",
            })  # fmt: skip
        count = len(base)
        panels.append(Panel(
            MODEL, *cell, units, np.arange(count), "", right, right, np.zeros(right.shape, np.int16),
            np.zeros(count, np.int64), np.full(count, 4), tuple(map(str, range(count))),
        ))  # fmt: skip
    frame = pl.DataFrame(rows, infer_schema_length=None).with_row_index("unit").cast({"unit": pl.Int64})
    whole = Study("known", "", pl.DataFrame(), units=frame, panels=tuple(panels))
    of = {name: frozenset(str(i) for i, one in enumerate(names) if one == name) for name in "ab"}
    return replace(whole, across=Across(whole, of, {}))


def cells(table: pl.DataFrame) -> pl.DataFrame:
    return table.filter(pl.col("family") == "cell")


@pytest.mark.parametrize(("seeds", "sd"), [(2, 0.0), (6, 0.03)])  # of one seed each it is the adapters that differ
def test_recipes_that_do_the_same_are_rarely_told_apart(seeds: int, sd: float) -> None:
    world = World("null", tasks=2, languages=2, items=(60,), seeds=seeds, seed_sd=sd)
    tables = [recipes(two_recipes(world, seed)) for seed in range(20)]
    for family in ("regime", "source", "cell"):
        parts = [table.filter(pl.col("family") == family) for table in tables]
        wrong = np.mean([bool(part["worse"].any() or part["better"].any()) for part in parts])
        assert wrong <= 0.2, family  # of two families at .05 each; 20 draws of .1 are below this 19 times of 20
    held = np.concatenate([((one["low"] <= 0) & (one["high"] >= 0)).to_numpy() for one in map(cells, tables)])
    assert held.mean() >= 0.93


def test_what_a_recipe_costs_is_found_where_it_is() -> None:
    world = World("null", tasks=3, languages=3, items=(400,), seeds=6, discordance=(0.05, 0.1))
    table = recipes(two_recipes(world, 1, lost=0.4))
    worse = cells(table).filter("worse")
    assert worse.filter((pl.col("source_task") != "t0") | (pl.col("target_task") != "t1")).height <= 1
    assert worse.height >= 8
    assert set(table.filter(pl.col("family") == "source", pl.col("worse"))["source_task"]) == {"t0"}
    assert table.select("recipe", "beside").unique().rows() == [("b", "a")]
    assert np.allclose(table["difference"], table["delta"] - table["delta_beside"])


def test_one_seed_of_a_cell_is_a_paired_test_of_the_two_adapters() -> None:
    study = two_recipes(World("null", tasks=1, languages=2, items=(40,), seeds=2), 3)
    assert study.across is not None
    row = cells(recipes(study)).row(1, named=True)
    panel = next(one for one in study.panels if one.language == row["target_language"])
    first = 2 * ("l0", "l1").index(row["source_language"])
    difference = 100 * (panel.norm[first + 2] - panel.norm[first + 1]).astype(float)
    assert row["difference"] == pytest.approx(difference.mean())
    size = np.sqrt((difference[difference != 0] ** 2).mean())
    told = stats.ttest_1samp([*difference, size, -size], 0, alternative="less")
    assert row["p_worse"] == pytest.approx(told.pvalue, rel=1e-6)
    assert row["about"] == "this adapter"


def test_q_values_of_the_sources_own_cells_are_a_family_of_their_own() -> None:
    table = recipes(two_recipes(World("null", tasks=2, languages=2, items=(60,), seeds=4), 5, lost=0.2))
    for name in ("regime", "cell"):
        for own in (True, False):
            part = table.filter(pl.col("family") == name, (pl.col("regime") == "MT-ML") == own)
            assert part["q_worse"].to_list() == pytest.approx(q_values(part["p_worse"].to_numpy()).tolist())


def test_an_adapter_of_both_recipes_is_not_compared_with_itself() -> None:
    study = two_recipes(World("null", tasks=1, languages=2, items=(40,), seeds=2), 3)
    assert study.across is not None
    shared = replace(study.across, adapters={name: frozenset("02") for name in "ab"})
    with pytest.raises(NotComputable, match="no two recipes"):
        recipes(replace(study, across=shared))
    with pytest.raises(NotComputable, match="one recipe"):
        recipes(shared.whole)
