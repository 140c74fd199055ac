"""When does harm begin? Every epoch of training scored, beside the base, as `recipe.score_epochs: all` asks for.

A row is a source on a target after an epoch, or the mean over the cells of a regime after it. All rules are those of
`significance` and `groups`: items are clusters, seeds are pooled over the sources and epochs of a model. q-values are
over all cells and all epochs of a model and metric, cells of MT-ML a family beside, and means likewise (Benjamini and
Hochberg 1995): so an epoch that is called the first is no epoch picked among many. What the kept epoch scores is what
its adapter does.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from analysis.frames import CELL_WORDS, HARM_PP, MODEL_WORDS, SOURCE, TARGET, Table, need
from analysis.inference.claims import LEVEL, q_values
from analysis.inference.means import means, one_sided, within_model
from analysis.reading.grids import ModelGrid, model_grids
from analysis.reading.study import Study
from analysis.reading.transfer import with_regime
from analysis.statistics.combinations.reported import all_scales
from analysis.statistics.graded import Scale

CLAIMS = {"worse": "worse", "harmed": "sure"}  # column to the p-value that it rests on
FAMILIES = ("regime", "cell")
_CELL = ["model", *SOURCE, "sample", *TARGET]


def epochs(study: Study) -> pl.DataFrame:
    """One row per regime or cell, and epoch; NotComputable where single epochs were not scored."""
    units = _by_epoch(study)
    need(units.height > 0, "single epochs were not scored: recipe.score_epochs asks for all of them")
    tables = [
        _model(one, scale).with_columns(metric=pl.lit(scale.metric), unit=pl.lit(scale.unit))
        for scale in all_scales(study)
        for one in model_grids(scale.panels, units, scale.measure, study.joint)
    ]
    need(bool(tables), "no epoch was scored on a target that its base was scored on")
    family = ["metric", "model", "family", pl.col("regime") == "MT-ML"]
    q = [pl.col(f"p_{claim}").map_batches(_q_values, pl.Float64).over(family).alias(f"q_{claim}") for claim in CLAIMS]
    table = pl.concat(tables).with_columns(q)
    table = table.with_columns((pl.col(f"q_{claim}") <= LEVEL).alias(claim) for claim in CLAIMS)
    at = ["metric", "family", "regime", *_CELL]
    first = pl.col("epoch").filter("harmed").min().over(at).alias("first_harm")
    table = table.with_columns(first).join(
        _seen(study, units), on=["model", *SOURCE, "sample", "epoch"], how="left", nulls_equal=True
    )
    order = pl.col("family").replace_strict({name: i for i, name in enumerate(FAMILIES)}, return_dtype=pl.Int64)
    return table.select(*COLUMNS).sort("metric", order, *_CELL, "regime", "epoch", maintain_order=True)


def _q_values(p: pl.Series) -> pl.Series:
    return pl.Series(q_values(p.to_numpy()))


def _by_epoch(study: Study) -> pl.DataFrame:
    """The bases' units and those of adapters all of whose epochs are scored, `source_task` as task@sample@epoch."""
    if not study.units.width:
        return pl.DataFrame()
    shown = study.units.filter(pl.col("kind") == "epoch")
    best = [(record.adapter_id, record.course.best_epoch) for record in study.records if record.course.best_epoch]
    kept = pl.DataFrame(best, schema={"adapter_id": pl.String, "epoch": pl.Int64}, orient="row")
    key = ["model", *SOURCE, "source_size", "seed"]
    whole = study.units.filter(pl.col("kind").is_in(["trained", "sample"])).drop("epoch")
    whole = whole.join(shown.select(key).unique(), on=key, how="semi", nulls_equal=True)
    whole = whole.join(kept, on="adapter_id", how="inner").select(study.units.columns)
    size = pl.col("source_size").cast(pl.String).fill_null("")
    label = pl.concat_str("source_task", size, pl.col("epoch").cast(pl.String), separator="@")
    every = pl.concat([shown, whole]).with_columns(label.alias("source_task"), pl.lit("trained").alias("kind"))
    bases = study.units.filter(pl.col("kind") == "base")
    return pl.concat([every, bases]) if shown.height else shown


def _named(frame: pl.DataFrame) -> pl.DataFrame:
    """Take `sample` and `epoch` off the label again."""
    parts = pl.col("source_task").str.split("@")  # a stage has one of its own before these
    size = pl.when(parts.list.get(-2) != "").then(parts.list.get(-2)).cast(pl.Int64)
    task = parts.list.head(parts.list.len() - 2).list.join("@")
    return frame.with_columns(
        task.alias("source_task"), size.alias("sample"), parts.list.last().cast(pl.Int64).alias("epoch")
    )


def _model(one: ModelGrid, scale: Scale) -> pl.DataFrame:
    cells = with_regime(_named(one.frame()), one.joint)
    at = cells["row"].to_numpy(), cells["column"].to_numpy()
    values = {"delta": one.grid.delta, "low": one.cells.low, "high": one.cells.high}
    values |= {f"p_{claim}": getattr(one.cells, name) for claim, name in CLAIMS.items()}
    counts = {"n_items": one.grid.n_items, "n_seeds": one.grid.n_seeds}
    by_cell = cells.with_columns(
        *(pl.Series(name, of[at]) for name, of in (values | counts).items()),
        family=pl.lit("cell"),
        n_cells=pl.lit(1, pl.Int64),
    )
    found = [by_cell, *_by_regime(one, cells, scale)]
    return pl.concat(found, how="diagonal").with_columns(
        pl.col(pl.Float64).fill_nan(None), about=pl.lit(one.about), model=pl.lit(one.model)
    )


def _by_regime(one: ModelGrid, cells: pl.DataFrame, scale: Scale) -> Iterator[pl.DataFrame]:
    """The mean over all cells of a regime after each epoch; a source is in no mean past its last one."""
    from scipy.stats import t

    away = cells.filter(pl.col("regime") != "MT-ML").with_columns(regime=pl.lit("all"))
    parts = list(pl.concat([away, cells]).group_by("regime", "epoch", maintain_order=True))
    weights = np.zeros((len(parts), *one.there.shape))
    for weight, (_, part) in zip(weights, parts, strict=True):
        weight[part["row"].to_numpy(), part["column"].to_numpy()] = 1 / part.height
    mean = within_model(means(one.grid, one.cells.seeds, weights))
    worse = one_sided(mean)[0]
    for i, ((regime, epoch), part) in enumerate(parts):
        harm = np.mean([scale.measure.harm.get(task, HARM_PP) for task in part["target_task"]])
        row = {"delta": mean.value[i], "low": mean.low[i], "high": mean.high[i], "p_worse": worse[i]}
        row["p_harmed"] = float(t.cdf((mean.value[i] - harm) / mean.se[i], mean.df[i])) if mean.se[i] > 0 else np.nan
        named = {"family": "regime", "regime": str(regime), "epoch": epoch, "n_cells": part.height}
        yield pl.DataFrame([{**named, **{name: float(value) for name, value in row.items()}}])


def _seen(study: Study, units: pl.DataFrame) -> pl.DataFrame:
    """Steps and tokens until the end of each epoch, the mean over seeds, and for how many of these it was kept."""
    mine = _named(units.filter(pl.col("kind") == "trained")).select("model", *SOURCE, "sample", "seed").unique()
    kinds = study.units.filter(pl.col("kind").is_in(["trained", "sample"]))
    of = kinds.select("adapter_id", "model", *SOURCE, pl.col("source_size").alias("sample"), "seed").unique()
    rows = [
        (record.adapter_id, epoch.epoch, epoch.steps, epoch.tokens, epoch.epoch == record.course.best_epoch)
        for record in study.records
        for epoch in record.course.epochs
    ]
    schema = {"adapter_id": pl.String, "epoch": pl.Int64, "steps": pl.Int64, "tokens": pl.Int64, "kept": pl.Boolean}
    told = pl.DataFrame(rows, schema=schema, orient="row").join(of, on="adapter_id", how="inner")
    told = told.join(mine, on=["model", *SOURCE, "sample", "seed"], how="semi", nulls_equal=True)
    mean = [pl.col(name).mean().round().cast(pl.Int64) for name in ("steps", "tokens")]
    return told.group_by("model", *SOURCE, "sample", "epoch").agg(*mean, pl.col("kept").sum().cast(pl.Int64))


COLUMNS = {
    "family": "regime (the mean over its cells), or cell",
    **MODEL_WORDS,
    **{name: f"{words}; null where all are taken together" for name, words in CELL_WORDS.items() if name != "regime"},
    "regime": "MT-ML, MT-CL, CT-ML or CT-CL; all is all but MT-ML",
    "sample": "examples in the sample that was trained on; null where it was all of them",
    "metric": "accuracy, or the metric that items are graded by",
    "unit": "of Δ",
    "epoch": "epoch of training after which it was scored",
    "steps": "optimiser steps until then, the mean over seeds",
    "tokens": "tokens trained on until then, the mean over seeds",
    "kept": "for how many seeds it is the epoch that was kept",
    "n_cells": "cells in it",
    "delta": "Δ against the base after that epoch",
    "low": "lower end of its 95 % interval over items and seeds",
    "high": "upper end",
    "p_worse": "one-sided p-value of: Δ is not below 0",
    "q_worse": "its q-value over all cells, or means, and epochs of the model (MT-ML is a family of its own)",
    "worse": f"q_worse ≤ {LEVEL}",
    "p_harmed": "one-sided p-value of a loss smaller than what counts as harm (−1 pp)",
    "q_harmed": "its q-value, likewise",
    "harmed": f"harmed for certain: q_harmed ≤ {LEVEL}",
    "first_harm": "the first epoch after which it is harmed for certain; null where it never is",
    "about": "what is claimed: of the source over seeds, or of this adapter where there is one seed",
    "n_items": "items that adapter and base share under some seed",
    "n_seeds": "seeds",
}
TABLES = (
    Table[Study](
        "epochs",
        "When harm begins",
        "cells of adapters all of whose epochs were scored, from their items",
        COLUMNS,
        epochs,
    ),
)
