"""What Δ would a source give a target that was not tried? A mixed model of the grid, and what to try next.

Δ(s, t), averaged over models, is a mean plus independent random effects of the source cell, the target cell, the pair
of tasks, the pair of languages, the regime, how a target reacts to a task, how a task reacts to a source, and how far
apart the languages are (quartiles of URIEL's distance, by same and other task; of further distances, where they help:
the error of leaving each source out tells, `left_out_error`). Variances by REML (`reml`); predictions are best
linear unbiased (Henderson 1975), their variance is that of the effects given the data plus the residual's.
An effect never seen keeps its prior: mean 0 and the variance of its kind, so doubt grows where nothing was tried.
Effects are those of sources of one cell: a stage, or a source of several, is predicted by them and tells nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from analysis.frames import SOURCE, TARGET, NotComputable, need
from analysis.reading.study import OF_SEVERAL
from analysis.reading.transfer import Joint, with_regime
from analysis.statistics.languages import uriel
from analysis.statistics.languages.distances import Distances
from analysis.statistics.variance.reml import Codes, Fit, blocks, fit

Array = npt.NDArray[np.float64]
PAIR = [*SOURCE, *TARGET]
FACTORS: dict[str, tuple[str, ...]] = {
    "source": ("source_task", "source_language"),
    "target": ("target_task", "target_language"),
    "tasks": ("source_task", "target_task"),
    "languages": ("source_language", "target_language"),
    "regime": ("regime",),
    "task on target": ("source_task", "target_task", "target_language"),
    "source on task": ("source_task", "source_language", "target_task"),
    "distance": ("apart", "same_task"),
}
BEYOND = "apart: "  # before the name of a distance, which a user may have called as an effect or a column
Cell = tuple[str, str]


@dataclass(frozen=True)
class Grid:
    """Every (source, target) pair considered, the levels of its effects, and which pairs were measured."""

    pairs: pl.DataFrame  # P rows of source…, target…, delta (null where not measured)
    levels: Codes  # P × K: index of each pair's level of each factor, over all factors
    factor: Codes  # Q: factor of each level
    names: tuple[str, ...]  # K


@dataclass(frozen=True)
class Model:
    """A fitted grid: mean, effects and their covariance given the data."""

    grid: Grid
    at: Fit
    effects: Array  # Q
    covariance: Array  # Q × Q

    def predict(self) -> pl.DataFrame:
        """The pairs with `expected, sd, low, high`: sd of a new measurement, 95 % interval."""
        levels = self.grid.levels
        expected = self.at.mean + self.effects[levels].sum(axis=1)
        sd = np.sqrt(_pair_variance(self.covariance, levels) + self.at.residual)
        return self.grid.pairs.with_columns(
            pl.Series("expected", expected),
            pl.Series("sd", sd),
            pl.Series("low", expected - 1.96 * sd),
            pl.Series("high", expected + 1.96 * sd),
        )


def grid(
    transfer: pl.DataFrame,
    sources: Sequence[Cell] = (),
    factors: Sequence[str] = tuple(FACTORS),
    joint: Joint | None = None,
    apart: Distances | None = None,
) -> Grid:
    """Pairs of every source (measured ones and `sources`) with every target; Δ averaged over models.

    Each distance of `apart` beyond those of types is a further effect, as theirs is.
    """
    measured = transfer.filter(pl.col("delta").is_not_null()).group_by(PAIR).agg(pl.col("delta").mean())
    told = measured.filter(~OF_SEVERAL).height
    need(told >= 10, f"{told} measured cells are too few for a model of the grid")
    all_sources = pl.concat(
        [measured.select(SOURCE), pl.DataFrame(list(sources), schema=SOURCE, orient="row")]
    ).unique()
    pairs = all_sources.join(measured.select(TARGET).unique(), how="cross").join(measured, on=PAIR, how="left")
    pairs = _features(pairs.sort(PAIR), joint)
    more: dict[str, Array] = {}
    if apart is not None:
        more = {BEYOND + name: far for name, far in apart.known.items() if name not in uriel.FEATURES}
        pairs = pairs.with_columns(_bins(pairs, apart.languages, far).alias(name) for name, far in more.items())
    factors, made_of = (*factors, *more), FACTORS | {name: (name, "same_task") for name in more}
    columns, factor, width = [], [], 0
    for k, name in enumerate(factors):
        codes = pairs.select(pl.struct(made_of[name]).rank("dense")).to_series().to_numpy().astype(np.int64) - 1
        size = int(codes.max()) + 1
        columns.append(codes + width)
        factor += [k] * size
        width += size
    return Grid(pairs.select(*PAIR, "regime", "delta"), np.column_stack(columns), np.array(factor), tuple(factors))


def _features(pairs: pl.DataFrame, joint: Joint | None) -> pl.DataFrame:
    """Add regime, same_task and apart: quartile of the mean URIEL distance, `same` or `unknown`."""
    languages = sorted(set(pairs["source_language"]) | set(pairs["target_language"]))
    apart = np.mean([uriel.distances(languages, feature) for feature in uriel.FEATURES], axis=0)
    same = pl.col("regime").str.starts_with("MT").alias("same_task")
    return with_regime(pairs, joint).with_columns(_bins(pairs, languages, apart).alias("apart"), same)


def _bins(pairs: pl.DataFrame, languages: Sequence[str], apart: Array) -> pl.Series:
    """Of each pair the quartile of its languages' distance, `same` or `unknown`."""
    known = apart[~np.isnan(apart) & ~np.eye(len(languages), dtype=bool)]
    cuts = np.quantile(known, [0.25, 0.5, 0.75]) if len(known) else np.zeros(3)
    at = {name: i for i, name in enumerate(languages)}

    def bin_of(a: str, b: str) -> str:
        far = apart[at[a], at[b]]
        return "same" if a == b else "unknown" if np.isnan(far) else f"q{np.searchsorted(cuts, far)}"

    return pl.Series([bin_of(a, b) for a, b in pairs.select("source_language", "target_language").iter_rows()])


def _told(made: Grid) -> Codes:
    """The pairs of single sources that were measured."""
    return np.flatnonzero(made.pairs.select(pl.col("delta").is_not_null() & ~OF_SEVERAL).to_series().to_numpy())


def measured_sources(made: Grid) -> int:
    """How many single sources tell anything."""
    return made.pairs.filter(pl.col("delta").is_not_null() & ~OF_SEVERAL).select(SOURCE).n_unique()


def fit_grid(made: Grid) -> Model:
    """Fit the variances on the measured pairs of single sources and condition every effect on them."""
    from threadpoolctl import threadpool_limits

    measured = _told(made)
    y = made.pairs["delta"].to_numpy()[measured]
    if np.ptp(y) < 1e-9:
        raise NotComputable("every Δ is the same, there is nothing to predict")
    codes = [made.levels[measured, k] for k in range(len(made.names))]
    with threadpool_limits(1):
        at = fit(blocks(codes), y, len(codes))
    covariance = _covariance(made, measured, at)
    totals = np.bincount(made.levels[measured].ravel(), np.repeat(y - at.mean, len(codes)), minlength=len(made.factor))
    return Model(made, at, covariance @ totals / at.residual, covariance)


def left_out_error(model: Model) -> float:
    """Root mean squared error of the Δ of each source as all others predict it, variances kept as they are.

    With P = V⁻¹ − V⁻¹1(1ᵀV⁻¹1)⁻¹1ᵀV⁻¹ the error of a left-out block B is P_BB⁻¹ (Py)_B, the mean estimated anew; V⁻¹
    by Woodbury's identity, as in `reml`. There must be two sources.
    """
    pairs, at, levels, measured = model.grid.pairs, model.at, model.grid.levels, _told(model.grid)
    y, size = pairs["delta"].to_numpy()[measured], len(model.grid.factor)
    gamma = at.components[model.grid.factor] / at.residual
    design = np.zeros((len(measured), size))
    design[np.arange(len(measured))[:, None], levels[measured]] = 1.0
    inner = gamma[:, None] * np.linalg.inv(np.eye(size) + (design.T @ design) * gamma)  # V⁻¹ = I − Z inner Zᵀ
    ones = 1.0 - design @ (inner @ design.sum(axis=0))
    py = y - design @ (inner @ (design.T @ y))
    py -= ones * (ones @ y) / ones.sum()
    names = pairs.select(SOURCE).rows()
    sources = [names[row] for row in measured.tolist()]
    squares = 0.0
    for name in sorted(set(sources)):
        here = np.flatnonzero([one == name for one in sources])
        block = np.eye(len(here)) - design[here] @ inner @ design[here].T
        block -= np.outer(ones[here], ones[here]) / ones.sum()
        squares += float((np.linalg.solve(block, py[here]) ** 2).sum())
    return float(np.sqrt(squares / len(measured)))


def _covariance(made: Grid, measured: Codes, at: Fit) -> Array:
    """Covariance of the effects given measurements of those pairs: σ² Γ (I + MΓ)⁻¹."""
    design = np.zeros((len(measured), len(made.factor)))
    design[np.arange(len(measured))[:, None], made.levels[measured]] = 1.0
    gamma = at.components[made.factor] / at.residual
    inner = np.eye(len(gamma)) + (design.T @ design) * gamma
    covariance: Array = at.residual * gamma[:, None] * np.linalg.inv(inner)
    return (covariance + covariance.T) / 2


def _pair_variance(covariance: Array, levels: Codes) -> Array:
    return np.asarray(covariance[levels[:, :, None], levels[:, None, :]].sum(axis=(1, 2)))


def next_sources(model: Model, budget: int) -> pl.DataFrame:
    """`step, source_task, source_language, sd_before, sd_after`: sources to train next, one after the other.

    Each is the one whose scores on all targets would shrink the mean predictive variance of the grid's unmeasured
    pairs most, given those before it (greedy; the variance does not depend on scores not yet seen).
    """
    pairs, at = model.grid.pairs, model.at
    measured = pairs["delta"].is_not_null().to_numpy().copy()
    open_pairs = np.flatnonzero(~measured)
    names = pairs.select(SOURCE).rows()
    rows_of: dict[tuple[str, ...], list[int]] = {}
    for row in open_pairs.tolist():
        rows_of.setdefault(names[row], []).append(row)
    whole = {name: rows for name, rows in rows_of.items() if not measured[[n == name for n in names]].any()}
    need(bool(whole), "every source cell of the grid is trained already")
    covariance, steps = model.covariance, []
    for step in range(1, min(budget, len(whole)) + 1):
        before = _mean_sd(covariance, model.grid.levels[open_pairs], at.residual)
        tried = {name: _condition(covariance, model.grid.levels[rows], at.residual) for name, rows in whole.items()}
        scores = {name: _pair_variance(c, model.grid.levels[open_pairs]).sum() for name, c in tried.items()}
        best = min(sorted(scores), key=lambda name: scores[name])
        covariance = tried[best]
        steps.append((step, *best, before, _mean_sd(covariance, model.grid.levels[open_pairs], at.residual)))
        del whole[best]
    columns = ["step", *SOURCE, "sd_before", "sd_after"]
    return pl.DataFrame(steps, schema=columns, orient="row")


def _condition(covariance: Array, levels: Codes, residual: float) -> Array:
    """Covariance of the effects after measuring pairs with these levels."""
    reach = covariance[:, levels].sum(axis=2)  # Q × R: covariance of the effects with the pairs
    among = reach[levels].sum(axis=1) + residual * np.eye(len(levels))
    return np.asarray(covariance - reach @ np.linalg.solve(among, reach.T))


def _mean_sd(covariance: Array, levels: Codes, residual: float) -> float:
    return float(np.sqrt(_pair_variance(covariance, levels).mean() + residual))
