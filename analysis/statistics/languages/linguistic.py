"""Do related languages help each other more? Transfer against linguistic distance.

Over (source language, target language) pairs of MT-CL means: Spearman's and Pearson's correlation with the cosine
distance of URIEL's syntax, phonology and inventory vectors (arXiv 2511.13368). Pairs share languages, so the p-value
is a Mantel permutation's. A negative correlation means that closer languages transfer better.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from analysis.frames import SEED, Table, need
from analysis.reading.study import Study
from analysis.statistics.languages import uriel
from analysis.statistics.mantel import PERMUTATIONS, correlate, ranked
from analysis.statistics.matrices import language_matrix, square


def linguistic(transfer: pl.DataFrame, permutations: int = PERMUTATIONS, seed: int = SEED) -> pl.DataFrame:
    """`distance, spearman, pearson, mantel_p, mantel_p_spearman, n_pairs, n_languages, unknown_languages`."""
    long = language_matrix(transfer)
    labels = _languages(long)
    matrix = square(long, labels)
    lacking = uriel.unknown(labels)
    need(len(labels) - len(lacking) >= 3, f"URIEL's vectors are known for fewer than three of {', '.join(labels)}")
    rows = []
    for feature in uriel.FEATURES:
        apart = uriel.distances(labels, feature)
        apart = np.where(np.isnan(matrix), np.nan, apart)
        seen = np.where(np.isnan(apart), np.nan, matrix)
        pearson, p, n = correlate(seen, apart, permutations, seed)
        spearman, p_spearman, _ = correlate(ranked(seen), ranked(apart), permutations, seed)
        rows.append((feature, spearman, pearson, p, p_spearman, n, len(labels) - len(lacking), ", ".join(lacking)))
    need(any(row[1] == row[1] for row in rows), "every language pair has the same Δ or the same distance")
    columns = ["distance", "spearman", "pearson", "mantel_p", "mantel_p_spearman", "n_pairs", "n_languages"]
    return pl.DataFrame(rows, schema=[*columns, "unknown_languages"], orient="row").fill_nan(None)


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


TABLES = (
    Table[Study](
        "linguistic",
        "Do related languages help each other more",
        "language pairs, means of MT-CL rows",
        {
            "distance": "URIEL vector: syntax_knn, phonology_knn or inventory_knn; cosine distance",
            "spearman": "Spearman's correlation of Δ with distance",
            "pearson": "Pearson's correlation",
            "mantel_p": "Mantel permutation p-value of Pearson's",
            "mantel_p_spearman": "Mantel permutation p-value of Spearman's",
            "n_pairs": "language pairs",
            "n_languages": "languages with known vectors",
            "unknown_languages": "languages without",
        },
        lambda study: linguistic(study.transfer),
    ),
)
