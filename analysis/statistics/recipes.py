"""Is one recipe better than another? Paired: the same sources, targets, seeds and items under both.

A recipe is set beside another as adapters are beside the base: per seed and item the difference of the two adapters of
a source. So all rules of one cell and of means hold (`analysis/inference`): items are clusters, what seeds add is that
of the differences, Student's t. Every recipe is set beside each before it in the config. q-values are counted over all
pairs of recipes of a model, and a metric, per family and side, MT-ML apart (Benjamini and Hochberg 1995). What two
recipes have in common, one adapter for both, is no difference and not compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import polars as pl

from analysis.frames import CELL_WORDS, MODEL_WORDS, SOURCE, TARGET, Table, need
from analysis.inference.claims import LEVEL, q_values
from analysis.inference.items import Floats
from analysis.inference.means import means, one_sided, within_model
from analysis.reading.grids import ModelGrid, model_grids
from analysis.reading.recipes import Across
from analysis.reading.study import Study
from analysis.reading.transfer import with_regime
from analysis.statistics.combinations.reported import all_scales
from analysis.statistics.graded import Scale
from study.cells import REGIMES

FAMILIES = ("regime", "source", "cell")
SIDES = ("worse", "better")
_CELL = [*SOURCE, *TARGET]


def recipes(study: Study) -> pl.DataFrame:
    """One row per pair of recipes and regime, source or cell; NotComputable where there is but one recipe."""
    across = study.across
    need(across is not None, "the study has one recipe: `recipes` in its config asks for more")
    assert across is not None
    tables = [table for scale in all_scales(across.whole) for table in _compared(across, scale)]
    need(bool(tables), "no two recipes have adapters of one source and seed that were scored on one target")
    families = ["metric", "model", "family", pl.col("regime") == "MT-ML"]
    q = [
        pl.col(f"p_{side}").map_batches(_q_values, return_dtype=pl.Float64).over(families).alias(f"q_{side}")
        for side in SIDES
    ]
    table = pl.concat(tables).with_columns(q)
    called = [(pl.col(f"q_{side}") <= LEVEL).alias(side) for side in SIDES]
    order = pl.col("family").replace_strict({name: i for i, name in enumerate(FAMILIES)}, return_dtype=pl.Int64)
    return table.with_columns(called).select(*COLUMNS).sort("metric", order, "model", maintain_order=True)


def _q_values(p: pl.Series) -> pl.Series:
    return pl.Series(q_values(p.to_numpy()))


def _compared(across: Across, scale: Scale) -> Iterator[pl.DataFrame]:
    """Every pair of recipes on the targets of a metric, model by model."""
    joint = across.whole.joint
    for beside, recipe in combinations(across.adapters, 2):
        units, against = _paired(across, recipe, beside)
        sides = {
            name: {one.model: one for one in model_grids(scale.panels, some, scale.measure, joint)}
            for name, some in (("delta", units), ("delta_beside", _partners(across.whole.units, against)))
        }
        for one in model_grids(scale.panels, units, scale.measure, joint, against):
            labels = {"metric": scale.metric, "unit": scale.unit, "recipe": recipe, "beside": beside}
            of = {name: _aligned(one, made[one.model]) for name, made in sides.items()}
            yield _rows(one, of).with_columns(pl.lit(value).alias(name) for name, value in labels.items())


def _paired(across: Across, recipe: str, beside: str) -> tuple[pl.DataFrame, dict[int, int]]:
    """The bases' units and those of a recipe that have a partner: of the same source, seed and target, another."""
    units = across.whole.units
    trained = units.filter(pl.col("kind") == "trained", pl.col("seed").is_not_null())
    mine, theirs = (
        trained.filter(pl.col("adapter_id").is_in(list(across.adapters[name]))) for name in (recipe, beside)
    )
    key = ["model", *_CELL, "seed"]
    both = mine.join(theirs.select(*key, pl.col("unit").alias("other"), pl.col("adapter_id").alias("its")), on=key)
    both = both.filter(pl.col("adapter_id") != pl.col("its"))
    kept = units.filter((pl.col("kind") == "base") | pl.col("unit").is_in(both["unit"].to_list()))
    return kept, dict(both.select("unit", "other").iter_rows())


def _partners(units: pl.DataFrame, against: dict[int, int]) -> pl.DataFrame:
    return units.filter((pl.col("kind") == "base") | pl.col("unit").is_in(list(against.values())))


def _aligned(one: ModelGrid, other: ModelGrid) -> Floats:
    """Δ against the base on the cells of another grid, S × T."""
    row, column = {name: i for i, name in enumerate(other.sources)}, {n: i for i, n in enumerate(other.targets)}
    found = np.full(one.there.shape, np.nan)
    for i, source in enumerate(one.sources):
        for j, target in enumerate(one.targets):
            if source in row and target in column:
                found[i, j] = other.grid.delta[row[source], column[target]]
    return found


def _rows(one: ModelGrid, of: dict[str, Floats]) -> pl.DataFrame:
    """Of a model by regime, by source over its transfer cells, and cell by cell."""
    cells = with_regime(one.frame(), one.joint)
    away = cells.filter(pl.col("regime") != "MT-ML")
    regimes = [("all", away), *((name, cells.filter(pl.col("regime") == name)) for name in REGIMES)]
    by_regime = [(part, {"regime": name}) for name, part in regimes if part.height]
    by_source = [
        (part, {"source_task": str(task), "source_language": str(language), "regime": "all"})
        for (task, language), part in away.group_by(SOURCE, maintain_order=True)
    ]
    tables = [_means(one, of, by_regime, "regime"), _means(one, of, by_source, "source"), _cells(one, of, cells)]
    labelled = (table.with_columns(model=pl.lit(one.model), about=pl.lit(one.about)) for table in tables)
    return pl.concat(table.select(pl.col(name).cast(kind) for name, kind in _ROW.items()) for table in labelled)


def _cells(one: ModelGrid, of: dict[str, Floats], cells: pl.DataFrame) -> pl.DataFrame:
    at = cells["row"].to_numpy(), cells["column"].to_numpy()
    found = {
        **{name: values[at] for name, values in of.items()},
        "difference": one.grid.delta[at],
        **{name: getattr(one.cells, name)[at] for name in ("low", "high")},
        **{f"p_{side}": getattr(one.cells, side)[at] for side in SIDES},
    }
    columns = [pl.Series(name, values).fill_nan(None) for name, values in found.items()]
    return cells.with_columns(*columns, family=pl.lit("cell"), n_cells=pl.lit(1))


def _means(
    one: ModelGrid, of: dict[str, Floats], parts: list[tuple[pl.DataFrame, dict[str, str]]], family: str
) -> pl.DataFrame:
    """Means of parts of a model's cells; of a single cell it is that cell, pseudo-items and all."""
    if not parts:
        return pl.DataFrame(schema=_ROW)
    at = [(cells["row"].to_numpy(), cells["column"].to_numpy()) for cells, _ in parts]
    weights = np.zeros((len(parts), *one.there.shape))
    for weight, places in zip(weights, at, strict=True):
        weight[places] = 1 / len(places[0])
    found = within_model(means(one.grid, one.cells.seeds, weights))
    p = dict(zip(SIDES, one_sided(found), strict=True))
    rows = []
    for i, ((cells, names), places) in enumerate(zip(parts, at, strict=True)):
        row = {name: float(values[places].mean()) for name, values in of.items()}
        row |= {"difference": float(found.value[i]), "low": float(found.low[i]), "high": float(found.high[i])}
        row |= {f"p_{side}": float(p[side][i]) for side in SIDES}
        if cells.height == 1:
            row = {name: _cells(one, of, cells)[name].item() for name in row}
        rows.append({**dict.fromkeys(_ROW), **names, **row, "n_cells": cells.height, "family": family})
    return pl.DataFrame(rows, schema=_ROW).with_columns(pl.col(pl.Float64).fill_nan(None))


_ROW: dict[str, pl.DataType | type[pl.DataType]] = {
    "family": pl.String,
    "model": pl.String,
    **dict.fromkeys(_CELL, pl.String),
    "regime": pl.String,
    "n_cells": pl.Int64,
    **dict.fromkeys(("delta", "delta_beside", "difference", "low", "high", "p_worse", "p_better"), pl.Float64),
    "about": pl.String,
}
COLUMNS = {
    "recipe": "the recipe",
    "beside": "the recipe that it is set beside",
    "family": "regime, source (over its targets but its own cell), or cell",
    **MODEL_WORDS,
    **{name: f"{words}; null where all are taken together" for name, words in CELL_WORDS.items() if name != "regime"},
    "regime": "all (but MT-ML), MT-ML, MT-CL, CT-ML or CT-CL",
    "n_cells": "cells in it that both recipes have, with the same seeds",
    "metric": "accuracy, or the metric that items are graded by",
    "unit": "of Δ and its differences",
    "delta": "mean Δ of the recipe against the base",
    "delta_beside": "mean Δ of the other",
    "difference": "mean of what the recipe has more than the other, seed by seed on the same items",
    "low": "lower end of its 95 % interval over items and seeds",
    "high": "upper end",
    "p_worse": "one-sided p-value of: the recipe is not worse",
    "q_worse": "its q-value over all pairs of recipes in the family (MT-ML apart), the model and the metric",
    "worse": f"q_worse ≤ {LEVEL}",
    "p_better": "the same for gains",
    "q_better": "its q-value",
    "better": f"q_better ≤ {LEVEL}",
    "about": "what is claimed: of the source over seeds, or of these adapters where there is one seed",
}
TABLES = (
    Table[Study](
        "recipes",
        "Recipes beside one another",
        "cells that two recipes have with the same seeds, from their items",
        COLUMNS,
        recipes,
        how="Each recipe beside those before it in the config, on the same sources, targets, seeds and items. Worse "
        "and better are of the mean over the row’s cells; of the rows of a family called so at most one in twenty is "
        "expected to be called so wrongly.",
    ),
)
