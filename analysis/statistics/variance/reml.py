"""Restricted maximum likelihood for y = μ + Σ_k Z_k u_k + e with independent random intercepts.

Idea: with variance ratios γ_k = σ_k²/σ² the covariance is σ²V, V = I + Σ γ_k Z_k Z_kᵀ. Everything the restricted
likelihood and its gradient need is q × q (q = levels of all factors), by the Woodbury identity and Henderson's
counts M = ZᵀZ: Zᵀ V⁻¹ Z = (I + MΓ)⁻¹ M, Zᵀ V⁻¹ y = (I + MΓ)⁻¹ Zᵀy, log|V| = log|I + MΓ|. Rows that share no level
form separate blocks, so nested designs cost one small block per group. The criterion is lme4's profiled REML
criterion (Bates et al. 2015, J. Stat. Softw. 67(1)); γ = 0 is allowed and found: its gradient does not vanish there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Block:
    """Sufficient statistics of rows that share levels only among themselves; Q levels."""

    counts: Array  # Q × Q: ZᵀZ
    ones: Array  # Q: Zᵀ1
    factor: Codes  # Q: which factor each level belongs to
    level: Codes  # N: index into Q, one column per factor (N × K)
    rows: Codes  # N: the block's rows of y
    design: int  # blocks of equal counts and factors have the same number: their algebra is done once


@dataclass(frozen=True)
class Fit:
    """Variances at the optimum: `components` per factor, then `residual`; `criterion` is −2 × REML log-likelihood."""

    components: Array
    residual: float
    mean: float
    criterion: float

    @property
    def shares(self) -> Array:
        """Share of each component and, last, of the residual in their sum, %."""
        parts = np.append(self.components, self.residual)
        return np.asarray(100 * parts / parts.sum())


def blocks(factors: Sequence[Codes], group: Codes | None = None) -> list[Block]:
    """Blocks of rows: all in one, or one per value of `group` (then levels are counted within it)."""
    n = len(factors[0])
    parts = [np.arange(n)] if group is None else [np.flatnonzero(group == g) for g in np.unique(group)]
    made: list[Block] = []
    designs: dict[bytes, int] = {}
    for rows in parts:
        level, factor, width = np.empty((len(rows), len(factors)), np.int64), [], 0
        for k, codes in enumerate(factors):
            values, inverse = np.unique(codes[rows], return_inverse=True)
            level[:, k] = inverse + width
            factor += [k] * len(values)
            width += len(values)
        design = np.zeros((len(rows), width))
        design[np.arange(len(rows))[:, None], level] = 1.0
        counts = design.T @ design
        number = designs.setdefault(counts.tobytes() + bytes(factor), len(designs))
        made.append(Block(counts, design.sum(axis=0), np.array(factor), level, rows, number))
    return made


@dataclass(frozen=True)
class Sums:
    """What one block of y contributes: Zᵀy, 1ᵀy, yᵀy, 1ᵀ1."""

    block: Block
    levels: Array  # Q
    total: float
    square: float
    n: int


def sums(parts: Sequence[Block], y: Array) -> list[Sums]:
    """Sufficient statistics of y, made once per fit."""
    made = []
    for block in parts:
        here = y[block.rows]
        repeated = np.repeat(here, block.level.shape[1])
        levels = np.bincount(block.level.ravel(), repeated, minlength=len(block.ones)).astype(np.float64)
        made.append(Sums(block, levels, float(here.sum()), float(here @ here), len(here)))
    return made


def criterion(data: Sequence[Sums], ratios: Array) -> tuple[float, Array, float, float]:
    """REML criterion at the variance ratios, its gradient, the mean μ̂ and the residual variance σ̂²."""
    n = sum(part.n for part in data)
    log_det = one_one = one_y = y_y = 0.0
    solved = []
    done: dict[int, tuple[Array, Array, float]] = {}
    for part in data:
        block, gamma = part.block, ratios[part.block.factor]
        if block.design not in done:
            done[block.design] = _invert(block.counts, gamma)
        inverse, trace, log_inner = done[block.design]
        log_det += log_inner
        solved_y, solved_one = inverse @ part.levels, inverse @ block.ones
        one_one += part.n - float((block.ones * gamma) @ solved_one)
        one_y += part.total - float((block.ones * gamma) @ solved_y)
        y_y += part.square - float((part.levels * gamma) @ solved_y)
        solved.append((block.factor, solved_y, solved_one, trace))
    mean = one_y / one_one
    rest = y_y - mean * one_y  # yᵀPy
    gradient = np.zeros(len(ratios))
    for factor, solved_y, solved_one, trace in solved:
        weight = trace - solved_one**2 / one_one - (n - 1) * (solved_y - mean * solved_one) ** 2 / rest
        gradient += np.bincount(factor, weight, minlength=len(ratios))
    value = log_det + np.log(one_one) + (n - 1) * (1 + np.log(2 * np.pi * rest / (n - 1)))
    return float(value), gradient, mean, rest / (n - 1)


def _invert(counts: Array, gamma: Array) -> tuple[Array, Array, float]:
    """(I + MΓ)⁻¹, the diagonal of Zᵀ V⁻¹ Z, and log|I + MΓ|."""
    inner = np.eye(len(gamma)) + counts * gamma
    inverse = np.asarray(np.linalg.inv(inner), dtype=np.float64)
    return inverse, np.einsum("ij,ji->i", inverse, counts), float(np.linalg.slogdet(inner)[1])


def fit(parts: Sequence[Block], y: Array, k: int, start: Array | None = None) -> Fit:
    """Minimise the criterion over ratios ≥ 0, from `start` (coarsely) or from two starting points (finely)."""
    from scipy.optimize import minimize

    centre = float(y.mean())
    data = sums(parts, y - centre)

    def target(ratios: Array) -> tuple[float, Array]:
        value, gradient, _, _ = criterion(data, ratios)
        return value, gradient

    starts = [start] if start is not None else [np.full(k, 0.05), np.full(k, 1.0)]
    options = {"maxiter": 500, "ftol": 1e-9 if start is not None else 1e-14, "gtol": 1e-9}
    found = [minimize(target, s, jac=True, method="L-BFGS-B", bounds=[(0, None)] * k, options=options) for s in starts]
    best = min(found, key=lambda result: float(result.fun))
    value, _, mean, residual = criterion(data, best.x)
    return Fit(best.x * residual, residual, mean + centre, value)


def simulate(parts: Sequence[Block], at: Fit, n: int, rng: np.random.Generator) -> Array:
    """One draw of y from the fitted model."""
    y = rng.normal(at.mean, np.sqrt(at.residual), n)
    for block in parts:
        effects = rng.normal(size=len(block.factor)) * np.sqrt(at.components[block.factor])
        y[block.rows] += effects[block.level].sum(axis=1)
    return y


def share_errors(parts: Sequence[Block], at: Fit, n: int, draws: int, seed: int) -> Array:
    """Standard deviation of each share over parametric-bootstrap refits, %."""
    rng = np.random.default_rng(seed)
    k = len(at.components)
    start = np.maximum(at.components / at.residual, 1e-3)
    shares = np.array([fit(parts, simulate(parts, at, n, rng), k, start).shares for _ in range(draws)])
    return np.asarray(shares.std(axis=0, ddof=1))
