"""Restricted maximum likelihood for y = μ + Σ_k Z_k u_k + e with independent random intercepts.

Idea: with variance ratios γ_k = σ_k²/σ² the covariance is σ²V, V = I + Σ γ_k Z_k Z_kᵀ. Everything the restricted
likelihood and its gradient need is q × q (q = levels of all factors), by the Woodbury identity and Henderson's
counts M = ZᵀZ: Zᵀ V⁻¹ Z = (I + MΓ)⁻¹ M, Zᵀ V⁻¹ y = (I + MΓ)⁻¹ Zᵀy, log|V| = log|I + MΓ|. Rows that share no level
form separate blocks, so nested designs cost one small block per group. The criterion is lme4's profiled REML
criterion (Bates et al. 2015, J. Stat. Softw. 67(1)). It is minimised by Fisher scoring, for D draws of y at a time,
over γ ≥ 0: where γ = 0 and the gradient points there, γ stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Which = npt.NDArray[np.bool_]
LEAST_FALL = 1e-9  # of the criterion in a step, as its slope promises it: at the optimum where it is less
MOST_STEPS, MOST_HALVINGS = 200, 40
MOST_NUMBERS = 1 << 20  # in D matrices of Q × Q


@dataclass(frozen=True)
class Block:
    """Sufficient statistics of rows that share levels only among themselves; Q levels."""

    counts: Array  # Q × Q: ZᵀZ
    ones: Array  # Q: Zᵀ1
    factor: Codes  # Q: which factor each level belongs to
    level: Codes  # N: index into Q, one column per factor (N × K)
    rows: Codes  # N: the block's rows of y
    design: int  # blocks of equal counts and factors have the same number: their algebra is done together


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
    """What the B blocks of one design contribute, for D draws of y: Zᵀy, 1ᵀy, yᵀy, and how many rows."""

    counts: Array  # Q × Q
    ones: Array  # Q
    member: Array  # Q × K: 1 where a level is of a factor
    levels: Array  # D × B × Q
    total: Array  # D × B
    square: Array  # D × B
    n: int  # of all B blocks

    def of(self, draws: Codes) -> Sums:
        """Those of some draws."""
        return replace(self, levels=self.levels[draws], total=self.total[draws], square=self.square[draws])


def sums(parts: Sequence[Block], y: Array) -> list[Sums]:
    """Sufficient statistics of D × N, made once per fit."""
    made = []
    for design in sorted({block.design for block in parts}):
        alike = [block for block in parts if block.design == design]
        first, d, q = alike[0], len(y), len(alike[0].ones)
        here = y[:, np.array([block.rows for block in alike])]  # D × B × N
        at = np.arange(d * len(alike)).reshape(d, -1, 1, 1) * q + np.array([block.level for block in alike])
        weights = np.broadcast_to(here[..., None], at.shape)
        levels = (
            np.bincount(at.ravel(), weights.ravel(), minlength=d * len(alike) * q).reshape(d, -1, q).astype(np.float64)
        )
        member = np.eye(int(first.factor.max()) + 1)[first.factor]
        n = here[0].size
        made.append(Sums(first.counts, first.ones, member, levels, here.sum(axis=2), (here**2).sum(axis=2), n))
    return made


@dataclass(frozen=True)
class Criterion:
    """REML criterion of D draws at their variance ratios, its gradient and expected second derivatives, μ̂ and σ̂²."""

    value: Array  # D
    gradient: Array  # D × K
    curvature: Array  # D × K × K
    mean: Array  # D
    residual: Array  # D


def criterion(data: Sequence[Sums], ratios: Array) -> Criterion:
    """At D × K ratios. With A = Zᵀ V⁻¹ Z and s = Zᵀ V⁻¹ 1, Zᵀ P Z is A − s sᵀ / 1ᵀ V⁻¹ 1."""
    n = sum(part.n for part in data)
    with np.errstate(divide="ignore", invalid="ignore"):  # nothing left over, or less: no step there
        return _criterion(data, ratios, n)


def _criterion(data: Sequence[Sums], ratios: Array, n: int) -> Criterion:
    solved = [_solved(part, ratios @ part.member.T) for part in data]
    log_det, one_one, one_y, y_y = (np.sum([one[i] for one in solved], axis=0) for i in range(4))
    mean = one_y / one_one
    rest = y_y - mean * one_y  # yᵀPy
    traces, squares, ends = np.zeros_like(ratios), np.zeros_like(ratios), np.zeros_like(ratios)
    curvature = np.zeros((*ratios.shape, ratios.shape[1]))
    for part, (*_, solved_y, solved_one, cross) in zip(data, solved, strict=True):
        b, outer = solved_y.shape[1], solved_one[:, :, None] * solved_one[:, None, :]
        traces += b * np.einsum("dii,ik->dk", cross, part.member)
        squares += b * solved_one**2 @ part.member
        ends += ((solved_y - (mean[:, None] * solved_one)[:, None]) ** 2).sum(axis=1) @ part.member
        curvature += b * (part.member.T @ (cross**2 - 2 * cross * outer / one_one[:, None, None]) @ part.member)
    share, traces = squares / one_one[:, None], traces - squares / one_one[:, None]
    curvature += share[:, :, None] * share[:, None, :] - traces[:, :, None] * traces[:, None, :] / (n - 1)
    value = log_det + np.log(one_one) + (n - 1) * (1 + np.log(2 * np.pi * rest / (n - 1)))
    return Criterion(value, traces - (n - 1) * ends / rest[:, None], curvature, mean, rest / (n - 1))


def _solved(part: Sums, gamma: Array) -> tuple[Array, ...]:
    """log|V|, 1ᵀV⁻¹1, 1ᵀV⁻¹y and yᵀV⁻¹y of all its blocks (D each), and for each of them Zᵀ V⁻¹ of y, of 1 and of Z."""
    b = part.levels.shape[1]
    inner = np.eye(len(part.ones)) + part.counts * gamma[:, None, :]
    inverse = np.linalg.inv(inner)
    solved_y = part.levels @ inverse.transpose(0, 2, 1)
    solved_one = inverse @ part.ones
    weight = part.ones * gamma
    one_one = part.n - b * (weight * solved_one).sum(axis=1)
    one_y = (part.total - (solved_y @ weight[:, :, None])[..., 0]).sum(axis=1)
    y_y = part.square.sum(axis=1) - (part.levels * gamma[:, None] * solved_y).sum(axis=(1, 2))
    return b * np.linalg.slogdet(inner)[1], one_one, one_y, y_y, solved_y, solved_one, inverse @ part.counts


def minimised(data: Sequence[Sums], start: Array) -> Array:
    """The D × K ratios ≥ 0 at which the criterion is least, from D × K of them."""
    ratios, left = start.copy(), np.arange(len(start))
    now = criterion(data, ratios)
    for _ in range(MOST_STEPS):
        here = ratios[left]
        held = (here <= 0) & (now.gradient >= 0)
        slope = np.where(held, 0.0, now.gradient)
        direction = _direction(now.curvature, held, slope)
        falls = -(slope * direction).sum(axis=1) > LEAST_FALL
        if not falls.any():
            break
        left = left[falls]
        some = [part.of(left) for part in data]
        ratios[left], now, moved = _stepped(some, _of(now, falls), here[falls], direction[falls])
        left, now = left[moved], _of(now, moved)
    return ratios


def _direction(curvature: Array, held: Which, slope: Array) -> Array:
    """Where Fisher scoring goes in what is not held."""
    k = held.shape[1]
    free = ~held[:, :, None] & ~held[:, None, :]
    ridge = np.einsum("dii->di", curvature) * 1e-9 + held
    inner = np.where(free, curvature, 0.0) + np.eye(k) * ridge[:, :, None]
    return np.asarray(-np.linalg.solve(inner, slope[:, :, None])[..., 0])


def _stepped(data: Sequence[Sums], now: Criterion, here: Array, direction: Array) -> tuple[Array, Criterion, Which]:
    """As far as the criterion falls: the new ratios, what holds there, and which draws have moved."""
    length = np.ones(len(here))
    for _ in range(MOST_HALVINGS):
        tried = np.maximum(here + length[:, None] * direction, 0.0)
        then = criterion(data, tried)
        worse = ~(then.value <= now.value)
        if not worse.any():
            break
        length[worse] /= 2
    tried[worse] = here[worse]
    return tried, then, ~worse


def _of(found: Criterion, draws: Which) -> Criterion:
    return Criterion(*(getattr(found, field.name)[draws] for field in fields(Criterion)))


def fits(parts: Sequence[Block], y: Array, start: Array) -> list[Fit]:
    """One for each of D × N, from D × K ratios, as many at a time as fit in the caches."""
    some = max(MOST_NUMBERS // max(len(block.ones) for block in parts) ** 2, 1)
    return [one for at in range(0, len(y), some) for one in _fits(parts, y[at : at + some], start[at : at + some])]


def _fits(parts: Sequence[Block], y: Array, start: Array) -> list[Fit]:
    centre = y.mean(axis=1)
    data = sums(parts, y - centre[:, None])
    ratios = minimised(data, start)
    at = criterion(data, ratios)
    variances = ratios * at.residual[:, None]
    values = zip(variances, at.residual.tolist(), (at.mean + centre).tolist(), at.value.tolist(), strict=True)
    return [Fit(*one) for one in values]


def fit(parts: Sequence[Block], y: Array, k: int) -> Fit:
    """The better of two, from ratios that are small and from ratios that are not."""
    start = np.stack([np.full(k, 0.05), np.full(k, 1.0)])
    return min(fits(parts, np.stack([y, y]), start), key=lambda one: one.criterion)


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
    start = np.maximum(at.components / at.residual, 1e-3)
    drawn = np.stack([simulate(parts, at, n, rng) for _ in range(draws)])
    shares = np.array([one.shares for one in fits(parts, drawn, np.tile(start, (draws, 1)))])
    return np.asarray(shares.std(axis=0, ddof=1))
