"""How much Δ varies between seeds of a source beyond what its items make it vary, pooled over a model.

Two seeds of a source differ on a target by m; the choice of items alone makes m² about `noise`. Half of what is left is
an unbiased estimate of the variance between seeds. One cell has K − 1 degrees of freedom and is useless, so estimates
are averaged over the targets of a source and then over the sources of a model. Sources are independent of each other
(their seeds were drawn apart), so their spread tells how good the average is. Where sources differ by more than chance
makes them, each is moved from the average towards its own estimate (empirical Bayes: by the share of the spread that
is not chance); else all have the average.

A seed that is better everywhere moves all targets of its source together: products of m on two targets estimate that,
apart for targets of one task (`near`) and of two (`far`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from analysis.inference.items import Floats, Grid, Ints


class Contrasts(Protocol):
    """What a `Grid` has of its seeds."""

    @property
    def delta(self) -> Floats: ...  # S × T
    @property
    def contrast(self) -> Floats: ...  # P × T
    @property
    def noise(self) -> Floats: ...  # P × T
    @property
    def pair(self) -> Ints: ...  # P
    @property
    def task(self) -> Ints: ...  # T


@dataclass(frozen=True)
class SeedSpread:
    """Where no source of the model has two seeds nothing is `known`: all is 0 and Δ is that of the adapters at hand."""

    known: bool
    each: Floats  # S: variance between the seeds of a source on one target
    doubt: Floats  # S: variance of that estimate
    parts: Floats  # 3: pooled variance on a target, covariance on two targets of a task, and of two tasks; floored at 0
    error: Floats  # 3 × 3: covariance of these estimates

    @property
    def pooled(self) -> float:
        """σ²_seed."""
        return float(self.parts[0])


def seed_spread(grid: Contrasts) -> SeedSpread:
    """Pool over targets, then over sources, of one model."""
    n_sources = len(grid.delta)
    sources = np.unique(grid.pair[~np.isnan(grid.contrast).all(axis=1)])
    if not len(sources):
        return SeedSpread(False, np.zeros(n_sources), np.zeros(n_sources), np.zeros(3), np.zeros((3, 3)))
    own = np.array([_estimates(grid, s) for s in sources])
    raw = np.array([_mean(own[:, part]) for part in range(3)])
    variance = max(raw[0], 0.0)
    parts = np.array([variance, *np.clip(raw[1:], 0.0, variance)])
    chance = np.array([_chance(grid, s, parts) for s in sources])
    spread = (
        np.atleast_2d(np.cov(np.where(np.isnan(own), raw, own), rowvar=False)) if len(own) > 1 else np.zeros((3, 3))
    )
    error = spread / len(own)
    error[0, 0] = max(error[0, 0], chance.mean() / len(own))
    unlike = max(spread[0, 0] - chance.mean(), 0.0)
    each, doubt = np.full(n_sources, variance), np.full(n_sources, unlike + error[0, 0])
    weight = unlike / (unlike + chance) if unlike else np.zeros(len(own))
    each[sources] = np.maximum(raw[0] + weight * (own[:, 0] - raw[0]), 0.0)
    doubt[sources] = (1 - weight) * unlike + (1 - weight) ** 2 * error[0, 0]
    return SeedSpread(True, each, doubt, parts, error)


def _mean(values: Floats) -> float:
    """Mean of what is known; 0 where nothing is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else 0.0


def _estimates(grid: Contrasts, source: int) -> Floats:
    """The three estimates from one source, averaged over its pairs of seeds; NaN where it has no two such targets."""
    mine = grid.pair == source
    m, noise = grid.contrast[mine], grid.noise[mine]
    seen, filled = ~np.isnan(m), np.nan_to_num(m)
    member = np.eye(int(grid.task.max()) + 1)[grid.task]
    alone, near = _sums(filled, seen), _sums(filled @ member, seen @ member)
    every = _sums(filled.sum(axis=1, keepdims=True), seen.sum(axis=1, keepdims=True))
    squares = alone[0] - float(np.nansum(noise)), alone[1]
    found = (squares, (near[0] - alone[0], near[1] - alone[1]), (every[0] - near[0], every[1] - near[1]))
    return np.array([0.5 * total / n if n else np.nan for total, n in found])


def _sums(m: Floats, count: npt.NDArray[np.generic]) -> tuple[float, int]:
    """Sum of squares, and how many products of two targets are in it."""
    return float((m**2).sum()), round(float((count.astype(np.float64) ** 2).sum()))


def _chance(grid: Contrasts, source: int, parts: Floats) -> float:
    """Variance of one source's estimate of the variance if its seeds' shifts are normal with these (co)variances.

    s² of K normal values has variance 2σ⁴ / (K − 1); of an average over targets, their mean squared covariance counts.
    """
    mine = grid.pair == source
    there = ~np.isnan(grid.noise[mine]).all(axis=0)
    noise = np.nanmean(grid.noise[mine][:, there], axis=0)
    joint = np.where(grid.task[there][:, None] == grid.task[there], parts[1], parts[2])
    np.fill_diagonal(joint, parts[0] + noise / 2)
    return float(2 / (n_seeds(int(mine.sum())) - 1) * (joint**2).mean())


def n_seeds(pairs: int) -> int:
    """How many seeds have so many pairs."""
    return (1 + math.isqrt(1 + 8 * pairs)) // 2


def at_cells(parts: SeedSpread, seeds: Ints) -> tuple[Floats, Floats]:
    """Variance that seeds add to the Δ of each of S × T cells with so many seeds, and the variance of that estimate."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(seeds > 0, 1 / seeds, np.nan)
    return parts.each[:, None] * share, parts.doubt[:, None] * share**2


def seed_draws(grid: Grid, spread: SeedSpread, n: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """What seeds add to the Δ of every cell in each of n draws: S × T × n, normal with these (co)variances."""
    shape = (*grid.n_seeds.shape, n)
    if not spread.pooled:
        return np.zeros(shape, np.float32)
    near = min(float(max(spread.parts[1:])), spread.pooled) / spread.pooled
    far = float(spread.parts[2]) / spread.pooled
    tasks = rng.standard_normal((shape[0], int(grid.task.max()) + 1, n), np.float32)[:, grid.task]
    moved = np.sqrt(far) * rng.standard_normal((shape[0], 1, n), np.float32) + np.sqrt(near - far) * tasks
    moved += np.sqrt(1 - near) * rng.standard_normal(shape, np.float32)
    sd = np.sqrt(np.nan_to_num(at_cells(spread, grid.n_seeds)[0]))
    return np.asarray(sd[:, :, None] * moved, dtype=np.float32)
