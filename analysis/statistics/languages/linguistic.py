"""Do related languages help each other more? Transfer against linguistic distance.

Over (source language, target language) pairs of MT-CL means: Spearman's and Pearson's correlation with the cosine
distance of URIEL's syntax, phonology and inventory vectors (arXiv 2511.13368). Pairs share languages, so the p-value
is a Mantel permutation's. A negative correlation means that closer languages transfer better.

Noise in Δ draws a correlation towards 0. The *ceilings* are what one would be, but for its sign, if Δ went with
distance perfectly beneath that noise (`analysis/inference/attenuation.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from analysis.frames import SEED, Table, need
from analysis.inference.attenuation import means_of, reliability, spearman_ceiling
from analysis.inference.items import Singles
from analysis.reading.doubles import twice
from analysis.reading.grids import ModelGrid
from analysis.reading.study import Study
from analysis.statistics.languages import uriel
from analysis.statistics.mantel import PERMUTATIONS, correlate, ranked
from analysis.statistics.matrices import language_matrix, square


def linguistic(
    transfer: pl.DataFrame, grids: Sequence[ModelGrid] = (), permutations: int = PERMUTATIONS, seed: int = SEED
) -> pl.DataFrame:
    """`distance`, correlations, their ceilings and p-values, `n_pairs, n_languages, unknown_languages`."""
    long = language_matrix(transfer)
    labels = _languages(long)
    matrix = square(long, labels)
    lacking = uriel.unknown(labels)
    need(len(labels) - len(lacking) >= 3, f"URIEL's vectors are known for fewer than three of {', '.join(labels)}")
    halves = _halves(grids, labels) if grids else None
    rows = []
    for feature in uriel.FEATURES:
        apart = uriel.distances(labels, feature)
        apart = np.where(np.isnan(matrix), np.nan, apart)
        seen = np.where(np.isnan(apart), np.nan, matrix)
        pearson, p, n = correlate(seen, apart, permutations, seed)
        spearman, p_spearman, _ = correlate(ranked(seen), ranked(apart), permutations, seed)
        most = _ceiling(halves, seen)
        named = n, len(labels) - len(lacking), ", ".join(lacking)
        rows.append((feature, spearman, pearson, spearman_ceiling(most), most, p, p_spearman, *named))
    need(any(row[1] == row[1] for row in rows), "every language pair has the same Δ or the same distance")
    return pl.DataFrame(rows, schema=list(COLUMNS), orient="row").fill_nan(None)


def _halves(grids: Sequence[ModelGrid], labels: Sequence[str]) -> tuple[Singles, Singles]:
    """The matrix of languages measured twice, B × L × L each."""
    whole = twice(grids).only("MT-CL")
    source, target = (
        np.array([[name == label for _, name in ends] for label in labels]) for ends in (whole.sources, whole.targets)
    )
    one, two = whole.apart()
    return means_of(one, source, target), means_of(two, source, target)


def _ceiling(halves: tuple[Singles, Singles] | None, seen: npt.NDArray[np.float64]) -> float:
    """Highest |r| to expect of the pairs with a Δ and a distance; NaN where items are not known."""
    if halves is None:
        return float("nan")
    there = ~(np.isnan(seen) | np.eye(len(seen), dtype=bool))
    one, two = (half[:, there] for half in halves)
    return float(np.sqrt(reliability(one, two, seen[there])))


def _languages(long: pl.DataFrame) -> list[str]:
    """The languages of either side."""
    return sorted(set(long["source"]) | set(long["target"]))


def pairs(transfer: pl.DataFrame) -> pl.DataFrame:
    """`source, target, delta, distance, value`: every pair with its distances, for the figure."""
    long = language_matrix(transfer)
    labels = _languages(long)
    at = {label: i for i, label in enumerate(labels)}
    parts = []
    for feature in uriel.FEATURES:
        apart = uriel.distances(labels, feature)
        value = [float(apart[at[s], at[t]]) for s, t in zip(long["source"], long["target"], strict=True)]
        parts.append(long.with_columns(pl.lit(feature).alias("distance"), pl.Series("value", value)))
    return pl.concat(parts).filter(pl.col("value").is_not_nan())


COLUMNS = {
    "distance": "URIEL vector: syntax_knn, phonology_knn or inventory_knn; cosine distance",
    "spearman": "Spearman's correlation of Δ with distance",
    "pearson": "Pearson's correlation",
    "spearman_ceiling": "how far from 0 Spearman's would be if Δ went with distance perfectly beneath the noise of "
    "items (of seeds, too, where every source has two); null where items are not known",
    "pearson_ceiling": "the same of Pearson's",
    "mantel_p": "Mantel permutation p-value of Pearson's",
    "mantel_p_spearman": "Mantel permutation p-value of Spearman's",
    "n_pairs": "language pairs",
    "n_languages": "languages with known vectors",
    "unknown_languages": "languages without",
}
TABLES = (
    Table[Study](
        "linguistic",
        "Do related languages help each other more",
        "language pairs, means of MT-CL rows",
        COLUMNS,
        lambda study: linguistic(study.transfer, study.grids),
    ),
)
