"""What to expect of every source on every target, by one metric: measured, or predicted where it was not tried.

Measured cells answer with what to expect of them once they have been picked for their Δ (`analysis/inference/
shrinkage.py`): the highest of many noisy numbers is high partly by luck, and as it stands flatters the first by points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from analysis.frames import HARM_PP, SOURCE, TARGET, cell
from analysis.inference.items import Floats
from analysis.inference.noise import Noise, averaged, noise
from analysis.inference.seeds import at_cells
from analysis.inference.shrinkage import expected, measured
from analysis.reading.grids import ModelGrid
from analysis.statistics.significance import significance

SHARED = 0.5  # share of a target's noise that its cells have in common, where no items tell; the quickstart's is 0.47
SAME = 1e-9  # of Δ
Ends = Sequence[Sequence[tuple[str, ...]]]  # sources and targets, each by task and language
LEAST = 3  # sources, and targets, from which what to expect can be learned


def expectations(
    transfer: pl.DataFrame,
    grids: Sequence[ModelGrid],
    predicted: pl.DataFrame | None,
    harm: Mapping[str, float] | None = None,
) -> pl.DataFrame:
    """`source, target, regime, delta, expected, sd, low, high, measured, n_models, harm, shown` of what is known.

    `delta` is the mean over models as it was measured, `expected` is shrunk where its noise is known. The interval is
    where the Δ of these models lies with 95 % probability (of a new measurement, where none was made), `harm` the
    chance that it is a loss that counts: at least that which `harm` has of the task, where it is not the usual one;
    `shown` the share of models in which that is certain, null where no items tell.
    """
    rows = transfer.filter(pl.col("delta").is_not_null())
    table = rows.group_by(*SOURCE, *TARGET, "regime").agg(pl.col("delta").mean(), pl.len().alias("n_models"))
    table = table.sort(*SOURCE, *TARGET).with_columns(pl.col("n_models").cast(pl.Int64), pl.lit(True).alias("measured"))
    axes, of = _noise(table, rows, grids)
    at = pl.col("target_task").replace_strict(dict(harm or {}), default=HARM_PP, return_dtype=pl.Float64)
    table = shrunk(table.with_columns(at.alias("harm_at")), axes, of)
    if predicted is not None:
        least = None if of is None else _left_in_doubt(of, grids, axes)
        unseen = _no_surer(predicted.filter(pl.col("delta").is_null()), axes[1], least)
        unseen = unseen.with_columns(pl.lit(False).alias("measured"), at.alias("harm_at"))
        table = pl.concat([table, unseen], how="diagonal_relaxed")
    ends = [(pl.col("expected") + z * pl.col("sd")).alias(name) for name, z in (("low", -1.96), ("high", 1.96))]
    names = [cell(*SOURCE).alias("source"), cell(*TARGET).alias("target")]
    columns = [*names, "regime", "delta", "expected", "sd", "low", "high", "measured", "n_models", "harm"]
    known = table.with_columns(*ends, _chance_of_harm()).select(columns)
    return known.join(_shown(grids), on=["source", "target"], how="left").sort("source", "target")


def _shown(grids: Sequence[ModelGrid]) -> pl.DataFrame:
    """`source, target, shown`: in which share of models it is certain that a pair loses what counts."""
    if not grids:
        return pl.DataFrame(schema={"source": pl.String, "target": pl.String, "shown": pl.Float64})
    named = significance(grids).select(cell(*SOURCE).alias("source"), cell(*TARGET).alias("target"), "harmed")
    return named.group_by("source", "target").agg(pl.col("harmed").mean().alias("shown"))


def _chance_of_harm() -> pl.Expr:
    """Of what was measured as the posterior has it; of a prediction by a normal; 0 or 1 where no noise is known."""
    from scipy.special import ndtr

    score = (pl.col("harm_at") - pl.col("expected")) / pl.col("sd")
    tail = score.map_batches(lambda z: pl.Series(ndtr(z.to_numpy())), return_dtype=pl.Float64)
    certain = (pl.col("expected") <= pl.col("harm_at")).cast(pl.Float64)
    return pl.coalesce("harmed", pl.when(pl.col("sd") > 0).then(tail).otherwise(certain)).alias("harm")


def _noise(table: pl.DataFrame, rows: pl.DataFrame, grids: Sequence[ModelGrid]) -> tuple[Ends, Noise | None]:
    """The sources and targets of a table, and the noise of every pair of them; None where it is not known."""
    ends = [sorted(set(table.select(end).iter_rows())) for end in (SOURCE, TARGET)]
    return ends, _noise_of_items(grids, ends) if grids else _noise_of_seeds(rows, ends)


def _no_surer(unseen: pl.DataFrame, targets: Sequence[tuple[str, ...]], least: Floats | None) -> pl.DataFrame:
    """Predictions whose variances are at least those that a measurement on their target would leave in doubt.

    The model of the grid takes what is left of Δ for noise, and may find none of it in few cells.
    """
    if least is None or not unseen.height:
        return unseen
    at = [targets.index(name) if name in targets else -1 for name in unseen.select(TARGET).iter_rows()]
    sd = np.sqrt(np.append(least, 0.0)[at])
    return unseen.with_columns(pl.max_horizontal("sd", pl.Series(sd)).alias("sd"))


def _left_in_doubt(of: Noise, grids: Sequence[ModelGrid], ends: Ends) -> Floats:
    """Of each target the variance of a measurement's Δ, a mean over sources.

    Where no item of a target has changed its noise is next to none: cells by themselves have pseudo-items.
    """
    least = _over_sources(of.own + of.shared + of.seeds)
    if not grids:
        return least
    alone = []
    for one in grids:
        seeds = np.nan_to_num(at_cells(one.cells.seeds, one.grid.n_seeds).variance)
        alone.append(_placed(one, ends, (one.grid.delta, one.grid.items, np.zeros(seeds.shape), seeds)))
    whole = averaged([delta for delta, *_ in alone], [Noise(*parts) for _, *parts in alone])[1]
    return np.maximum(least, _over_sources(whole.own + whole.seeds))


def _over_sources(variance: Floats) -> Floats:
    known = np.isfinite(variance)
    return np.asarray(np.where(known, variance, 0.0).sum(axis=0) / known.sum(axis=0).clip(1))


def shrunk(table: pl.DataFrame, ends: Ends, of: Noise | None) -> pl.DataFrame:
    """`table` (a row per pair) with `expected, sd, harmed`, of the posterior; Δ and nulls where no noise is known."""
    at = [
        [names.index(name) for name in table.select(end).iter_rows()]
        for names, end in zip(ends, (SOURCE, TARGET), strict=True)
    ]
    shape = (len(ends[0]), len(ends[1]))
    if of is None or min(shape) < LEAST or np.ptp(table["delta"].to_numpy()) < SAME:
        unknown = (pl.lit(None, pl.Float64).alias(name) for name in ("sd", "harmed"))
        return table.with_columns(pl.col("delta").alias("expected"), *unknown)
    delta, regime = np.full(shape, np.nan), np.zeros(shape, np.int64)
    delta[at[0], at[1]] = table["delta"].to_numpy()
    regime[at[0], at[1]] = table["regime"].rank("dense").to_numpy() - 1
    there, harm = ~np.isnan(delta), np.full(shape, np.nan)
    harm[at[0], at[1]] = table["harm_at"].to_numpy()
    found = expected(measured(delta, regime, of), harm[there])
    placed = np.full((3, *shape), np.nan)
    placed[:, there] = found.mean, found.sd, found.harmed
    names = ("expected", "sd", "harmed")
    return table.with_columns(pl.Series(name, one[at[0], at[1]]) for name, one in zip(names, placed, strict=True))


def _placed(one: ModelGrid, ends: Ends, parts: Sequence[Floats]) -> list[Floats]:
    """Arrays of a model's sources and targets on common axes; NaN elsewhere."""
    place = np.ix_([ends[0].index(name) for name in one.sources], [ends[1].index(name) for name in one.targets])
    whole = [np.full((len(ends[0]), len(ends[1])), np.nan) for _ in parts]
    for into, part in zip(whole, parts, strict=True):
        into[place] = part
    return whole


def _noise_of_items(grids: Sequence[ModelGrid], ends: Ends) -> Noise:
    """From the items and seeds of every model, on common axes, averaged over models."""
    deltas, noises = [], []
    for one in grids:
        own = noise(one.grid, one.cells.seeds)
        delta, *parts = _placed(one, ends, (one.grid.delta, own.own, own.shared, own.seeds))
        deltas.append(delta)
        noises.append(Noise(*parts))
    return averaged(deltas, noises)[1]


def _noise_of_seeds(rows: pl.DataFrame, ends: Sequence[Sequence[tuple[str, ...]]]) -> Noise | None:
    """From standard errors over seeds that drew their items anew: then the base's score varies over them, too.

    Averaged over the sources of a target; targets whose items stayed are taken to be as noisy as the others. None where
    items stayed everywhere, for then nothing tells what they add.
    """
    fresh = rows.filter(pl.col("score_norm_base_std") > 0, pl.col("delta_se") > 0)
    if not fresh.height:
        return None
    errors = fresh.group_by(TARGET).agg((pl.col("delta_se") ** 2).mean() / pl.col("model").n_unique())
    by_target = dict(zip(errors.select(TARGET).iter_rows(), errors.to_series(2), strict=True))
    middle = float(np.mean(list(by_target.values())))
    total = np.broadcast_to([by_target.get(name, middle) for name in ends[1]], (len(ends[0]), len(ends[1])))
    return Noise((1 - SHARED) * total, SHARED * total, np.zeros(total.shape))
