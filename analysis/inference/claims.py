"""Many cells: which of them may be called worse or better, and in how many such calls one errs.

A family is a set of p-values of one kind of claim in one model; harm and gain are families of their own, for many gains
in one family would buy false harms. q-values by Benjamini and Hochberg (1995): among the calls with q ≤ 0.05 at most
5 % are expected to be wrong; it holds for the positive dependence that a shared base makes (Benjamini and Yekutieli
2001). Groups of cells are called first (Simes 1986 over the group's cells, BH over groups), and the cells of a called
group at a level that allows for the choice of groups (Benjamini and Bogomolov 2014, J. R. Stat. Soc. B 76).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.inference.items import Floats, Ints

LEVEL = 0.05


def q_values(p: Floats) -> Floats:
    """The smallest false discovery rate at which each p would be called (step-up, monotone). NaN stays NaN."""
    q = np.full(p.shape, np.nan)
    there = ~np.isnan(p)
    known = p[there]
    order = np.argsort(known)
    scaled = known[order] * len(known) / np.arange(1, len(known) + 1)
    found = np.empty(len(known))
    found[order] = np.minimum(1.0, np.minimum.accumulate(scaled[::-1])[::-1])
    q[there] = found
    return q


def simes(p: Floats, group: Ints) -> Floats:
    """p-value of "no cell of the group" per group 0 … G − 1: min over i of n p_(i) / i. NaN cells are left out."""
    return np.array([_least(within_q(p, group, g)) for g in range(int(group.max(initial=-1)) + 1)])


def within_q(p: Floats, group: Ints, g: int) -> Floats:
    """BH-adjusted p-values of the cells of one group, as a family of its own."""
    return q_values(p[group == g])


def _least(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.min()) if len(known) else float("nan")


@dataclass(frozen=True)
class Gated:
    """Claims about groups and, behind them, about their cells."""

    group_p: Floats  # G
    group_q: Floats  # G
    cell_q: Floats  # of each cell: the smallest level at which its group and then it are called


def gated(p: Floats, group: Ints) -> Gated:
    """Groups by Simes and BH; cells of R called groups of G by BH at level q R / G within each."""
    group_p = simes(p, group)
    group_q = q_values(group_p)
    cell_q = np.full(p.shape, np.nan)
    known = np.sort(group_q[~np.isnan(group_q)])
    called = np.searchsorted(known, known, side="right")  # groups called at each of these levels
    for g in np.flatnonzero(~np.isnan(group_q)):
        levels, share = known[known >= group_q[g]], len(known) / called[known >= group_q[g]]
        needed = np.maximum(levels[:, None], within_q(p, group, int(g))[None] * share[:, None])
        cell_q[group == g] = np.minimum(1.0, needed.min(axis=0))
    return Gated(group_p, group_q, cell_q)
