"""What a study of so many items and seeds can see, before it is run or after.

A cell's Δ has variance (ψ (ρ + (1 − ρ) / K) − (Δ/100)²) / N + σ²_seed / K, in proportions: ψ is the discordance, the
share of items that adapter and base answer differently, ρ the share of an item's changes that seeds have in common.
Two pseudo-items are in N and in the variance, as in the test. Power is that of Student's one-sided t against Δ ≥ 0, at
the level that BH leaves to one cell when a share of the family is harmed as much: the level solves
t = q ((1 − π) t + π power(t)) (Genovese and Wasserman 2002, J. R. Stat. Soc. B 64). Of what
differs between seeds each source has K − 1 degrees of freedom, and Satterthwaite's formula adds the items'; the test
takes the fewer of these and those at an upper bound of the seeds' variance, so with few sources it sees a little less.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

WANTED = 0.8
MOST_ITEMS, MOST_SEEDS = 100_000, 50


@dataclass(frozen=True)
class Plan:
    """A planned or finished study, seen from one cell."""

    n_items: float
    n_seeds: int
    discordance: float = 0.2  # ψ
    agreement: float = 0.5  # ρ
    seed_sd: float = 0.0  # pp; with one seed it does not count: the claim is of this adapter
    n_sources: int = 1  # of the model: what varies between seeds is learned from all of them
    n_cells: int = 1  # in the family
    harmed: float = 0.1  # share of them that are harmed as much
    level: float = 0.05


def standard_error(plan: Plan, delta: float = 0.0) -> float:
    """Of Δ in pp."""
    return float(100 * np.sqrt(sum(_variances(plan, delta)[:2])))


def _variances(plan: Plan, delta: float) -> tuple[float, float, float]:
    """In proportions: from items, from seeds, and from seeds with what items add between them."""
    changed = max(plan.discordance, abs(delta) / 100)
    items = changed * (plan.agreement + (1 - plan.agreement) / plan.n_seeds) * plan.n_items + 2
    n = plan.n_items + 2
    mean = delta / 100 * plan.n_items / n
    within = max(items / n - mean**2, 0.0) / n
    if plan.n_seeds < 2:
        return within, 0.0, 0.0
    seeds = (plan.seed_sd / 100) ** 2 / plan.n_seeds
    return within, seeds, seeds + changed * (1 - plan.agreement) / plan.n_seeds / n


def _degrees(plan: Plan, delta: float) -> float:
    within, seeds, whole = _variances(plan, delta)
    unsure = within**2 / (plan.n_items + 1)
    unsure += whole**2 / (plan.n_sources * (plan.n_seeds - 1)) if plan.n_seeds > 1 else 0.0
    return (within + seeds) ** 2 / unsure


def power(plan: Plan, harm: float) -> float:
    """Chance that a cell with true Δ = `harm` (below 0, pp) is called worse at q ≤ `level` in its family."""
    if plan.n_cells <= 1:
        return _power(plan, harm, plan.level)
    share = max(plan.harmed, 1 / plan.n_cells)
    at = plan.level
    for _ in range(200):  # from above, so that the largest solution is found: it is what a step-up procedure reaches
        called = (1 - share) * at + share * _power(plan, harm, at)
        at, before = max(plan.level * called, plan.level / plan.n_cells), at
        if abs(at - before) < 1e-12:
            break
    return _power(plan, harm, at)


def _power(plan: Plan, harm: float, at: float) -> float:
    """Of one test at level `at`; the noncentral t is taken as a shifted t."""
    from scipy.special import stdtr, stdtrit

    df = _degrees(plan, harm)
    shift = harm * plan.n_items / (plan.n_items + 2) / standard_error(plan, harm)
    return float(stdtr(df, stdtrit(df, at) - shift))


def items_needed(plan: Plan, harm: float, wanted: float = WANTED) -> int | None:
    """Fewest items with which such a harm is seen with chance `wanted`; None where no number is enough."""
    return _least(lambda n: power(replace(plan, n_items=n), harm) >= wanted, 2, MOST_ITEMS)


def seeds_needed(plan: Plan, harm: float, wanted: float = WANTED) -> int | None:
    """Fewest seeds, from two on, with the items at hand; None where no number is enough."""
    return _least(lambda k: power(replace(plan, n_seeds=k), harm) >= wanted, 2, MOST_SEEDS)


def smallest_harm(plan: Plan, wanted: float = WANTED) -> float:
    """The Δ (pp, below 0) that is seen with chance `wanted`; −100 where none is."""
    low, high = -100.0, 0.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if power(plan, middle) >= wanted else (low, middle)
    return low


def _least(enough: Callable[[int], bool], low: int, high: int) -> int | None:
    if not enough(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return low
