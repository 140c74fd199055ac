"""What the items of a target say about each source: Δ, how much of it is chance of the items, and between its seeds.

Idea: the same items under three seeds are not three samples. An item is a cluster: all that happens on it, under every
seed, moves together. Δ is linear in the items, so one number per (source, item), its *influence*, tells how far that
item moves Δ; sums of squared influences are variances of Δ, of a mean of many Δ, and of a difference of two, whatever
the seeds, sources or languages that share an item. Where items hang together (questions about one passage), what they
add is summed within their cluster before it is squared, and degrees of freedom go by the number of clusters.

Units: a difference is adapter minus base, oriented so that more is better, in the unit that is printed (percentage
points for accuracies). NaN where an adapter lacks an item; nothing missing becomes 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
PSEUDO = 2  # pseudo-items: one gain and one loss
REALS = ("delta", "centre", "items", "square", "cube", "heavy", "n_apart")
COUNTS = ("n_items", "n_seeds", "n_gains", "n_losses")


@dataclass(frozen=True)
class Column:
    """One target of one model: U adapters beside the base on N items."""

    difference: Singles  # U × N
    adapter: Ints  # U: row in the model's list of adapters, which is sorted by source; increasing
    cluster: Ints  # N: number of the item's cluster: parallel items of other languages have the same, and its group
    task: int = 0  # number of the target's task
    whole: float = 100.0  # what one item gained adds to Σ difference: how large a pseudo-item is where nothing differs
    graded: bool = False  # whether an item's score may be any number, not only right or wrong


@dataclass(frozen=True)
class Grid:
    """One model: S sources on T targets. NaN where a source has not met a target."""

    delta: Floats  # S × T: mean over seeds of the seeds' mean differences
    centre: Floats  # S × T: the same with one pseudo-gain and one pseudo-loss among the items
    items: Floats  # S × T: variance of `centre` from the choice of items
    square: Floats  # S × T: Σ_c x_c² / N², x_c the sum over cluster c of means over seeds: variance of Δ were it 0
    cube: Floats  # S × T: third central moment of Δ from the choice of items
    heavy: Floats  # S × T: relative variance of the variance from items, by their fourth moment
    n_items: Ints  # S × T: items that any seed has
    n_apart: Floats  # S × T: clusters of these, counted as if all were as large: fewer where they are not
    n_seeds: Ints  # S × T
    n_gains: Ints  # S × T: items that are better than the base's in the mean over seeds
    n_losses: Ints  # S × T: and worse
    contrast: Floats  # P × T: difference of the Δ of two seeds of a source, on the items that both have
    noise: Floats  # P × T: what the choice of items alone adds to the square of `contrast`
    pair: Ints  # P: source of each pair of seeds
    influence: tuple[Singles, ...]  # T times S × C_t: what each cluster adds to Δ − E Δ; 0 where there is none
    cluster: tuple[Ints, ...]  # T times C_t: their numbers
    share: tuple[Floats, ...]  # T times C_t: their shares of the target's items
    task: Ints  # T
    graded: npt.NDArray[np.bool_]  # T
    n_clusters: int


def grid(columns: Sequence[Column], source: Ints, n_clusters: int) -> Grid:
    """Estimates of every cell of a model; `source` numbers the source of each of its adapters, sorted.

    Clusters are numbered 0 … n_clusters − 1, alike in every model that asks the same items.
    """
    shape = (int(source.max()) + 1, len(columns))
    first, second = pairs(source)
    filled: dict[str, Any] = {name: np.full(shape, np.nan) for name in REALS}
    filled |= {name: np.zeros(shape, np.int64) for name in COUNTS}
    contrast, noise = (np.full((len(first), len(columns)), np.nan) for _ in range(2))
    influence, together = [], [_Clusters.of(column.cluster) for column in columns]
    for t, column in enumerate(columns):
        kept = ~np.isnan(column.difference).all(axis=1)
        difference, adapter = column.difference[kept], column.adapter[kept]
        here = np.unique(source[adapter])
        starts = np.searchsorted(source[adapter], here)
        found, counted, moves = _cells(difference, starts, column.whole, together[t])
        for name, values in (*found.items(), *counted.items()):
            filled[name][here, t] = values
        moved = np.zeros((shape[0], moves.shape[1]), np.float32)
        moved[here] = moves
        influence.append(moved)
        _contrasts(difference, adapter, (first, second), (contrast[:, t], noise[:, t]), together[t])
    return Grid(
        **filled,
        contrast=contrast,
        noise=noise,
        pair=source[first],
        influence=tuple(influence),
        cluster=tuple(one.number for one in together),
        share=tuple(one.share for one in together),
        task=np.array([column.task for column in columns]),
        graded=np.array([column.graded for column in columns]),
        n_clusters=n_clusters,
    )


def pairs(source: Ints) -> tuple[Ints, Ints]:
    """Every two adapters of one source."""
    first, second = np.triu_indices(len(source), 1)
    same = source[first] == source[second]
    return first[same], second[same]


@dataclass(frozen=True)
class _Clusters:
    """Which items of a target hang together."""

    number: Ints  # C: of the clusters it has, in the order of their first items where each item is its own
    at: Ints | None  # N: which of them each item is of; None where each is its own

    @classmethod
    def of(cls, cluster: Ints) -> _Clusters:
        number, at = np.unique(cluster, return_inverse=True)
        return cls(cluster, None) if len(number) == len(cluster) else cls(number, at)

    def sums(self, values: Floats) -> Floats:
        """Of U × N values: U × C."""
        if self.at is None:
            return values
        order = np.argsort(self.at, kind="stable")
        starts = np.searchsorted(self.at[order], np.arange(len(self.number)))
        return np.asarray(np.add.reduceat(values[:, order], starts, axis=1))

    def apart(self, seen: npt.NDArray[np.bool_]) -> Floats:
        """Of each row of U × N how many clusters of one size would tell a variance as well as those it has."""
        if self.at is None:
            return np.asarray(seen.sum(axis=1), np.float64)
        sizes = self.sums(seen.astype(np.float64))
        return np.asarray((sizes**2).sum(axis=1) ** 2 / np.maximum((sizes**4).sum(axis=1), 1.0))

    @property
    def share(self) -> Floats:
        """C: which share of the items each has."""
        n = len(self.number) if self.at is None else len(self.at)
        return np.asarray(self.sums(np.full((1, n), 1 / n))[0])


def _cells(
    d: Singles, starts: Ints, whole: float, together: _Clusters
) -> tuple[dict[str, Floats], dict[str, Ints], Singles]:
    """Estimates and counts of each source of one target by name, and its influences.

    `items` is the variance of the mean of the augmented x_i (Bonett and Price 2012, J. Educ. Behav. Stat. 37(4), for
    paired proportions; here for means over seeds): the pseudo-items are as large as a typical x_i that is not 0, which
    for right and wrong under one seed is one whole item. Of items that hang together there are pseudo-clusters, each of
    as many items as one that changed typically has.
    """
    seen = ~np.isnan(d)
    k = np.diff(starts, append=len(d))
    n, total = seen.sum(axis=1), np.nansum(d, axis=1, dtype=np.float64)

    def over_seeds(values: Floats) -> Floats:
        return np.asarray(np.add.reduceat(values, starts, axis=0) / k.reshape(-1, *[1] * (values.ndim - 1)))

    def moved(mean: Floats, size: Floats) -> Floats:
        return together.sums(over_seeds(np.where(seen, d - mean[:, None], 0.0) / size[:, None]))

    x = over_seeds(np.where(seen, d, 0.0) / n[:, None])
    any_seed = np.add.reduceat(seen, starts, axis=0).astype(bool)
    n_items, n_apart, sums = any_seed.sum(axis=1), together.apart(any_seed), together.sums(x)
    typical, large = typical_of(x * n_items[:, None], whole), _typically(sums, x, together)
    shrunk = total / (n + PSEUDO * large)
    a, b = over_seeds(1 / (n + PSEUDO * large)), over_seeds(shrunk / (n + PSEUDO * large))
    spread = (moved(shrunk, n + PSEUDO * large) ** 2).sum(axis=1) + 2 * large**2 * ((typical * a) ** 2 + b**2)
    influence = moved(total / n, n)
    second, fourth = ((influence**power).sum(axis=1) for power in (2, 4))
    found = {
        "delta": over_seeds(total / n),
        "centre": over_seeds(shrunk),
        "items": spread * (n_apart + PSEUDO) / (n_apart + PSEUDO - 1),
        "square": (sums**2).sum(axis=1),
        "cube": (influence**3).sum(axis=1),
        "heavy": np.divide(fourth, second**2, out=np.zeros_like(second), where=second > 0) - 1 / n_apart.clip(1),
        "n_apart": n_apart,
    }
    signs = {"n_gains": (x > 0).sum(axis=1), "n_losses": (x < 0).sum(axis=1)}
    return found, {"n_items": n_items, "n_seeds": k, **signs}, influence.astype(np.float32)


def _typically(sums: Floats, x: Floats, together: _Clusters) -> float:
    """How many items a cluster moves like that changed; all of its own where nothing did, for nobody has seen it."""
    if together.at is None:
        return 1.0
    if not x.any():
        return len(together.at) / len(together.number)
    return max(typical_of(sums, 0.0) / typical_of(x, 1.0), 1.0)


def typical_of(x: Floats, whole: float) -> float:
    """Root mean square of what is not 0; `whole` where all is 0."""
    some = x[x != 0]
    return float(np.sqrt((some**2).mean())) if len(some) else whole


def _contrasts(
    d: Singles, adapter: Ints, pairs: tuple[Ints, Ints], out: tuple[Floats, Floats], together: _Clusters
) -> None:
    """Fill in each pair's difference of means over shared items, and that difference's variance from items."""
    at = np.full(max(int(pairs[0].max(initial=0)), int(pairs[1].max(initial=0)), int(adapter.max())) + 1, -1)
    at[adapter] = np.arange(len(adapter))
    one, two = at[pairs[0]], at[pairs[1]]
    both = np.flatnonzero((one >= 0) & (two >= 0))
    if not len(both):
        return
    e = d[one[both]] - d[two[both]]
    shared = ~np.isnan(e)
    n, n_apart = shared.sum(axis=1), together.apart(shared)
    told = n_apart > 1
    enough, e, n, n_apart = both[told], e[told], n[told], n_apart[told]
    mean = np.nansum(e, axis=1, dtype=np.float64) / n
    rest = np.where(shared[told], e - mean[:, None], 0.0)
    out[0][enough] = mean
    out[1][enough] = (together.sums(rest) ** 2).sum(axis=1) / n**2 * n_apart / (n_apart - 1)
