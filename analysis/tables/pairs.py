"""Several studies or recipes, every two of them on the cells that both have.

Differences are paired as those of two studies are; q-values are counted over all pairs, regime by regime (Benjamini and
Hochberg 1995), for the more pairs there are the more of them chance sets apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import polars as pl

from analysis.frames import NotComputable, Table, need
from analysis.inference.claims import LEVEL, q_values
from analysis.reading.study import Study
from analysis.tables.common import paired
from analysis.tables.compare import by_regime, shared_rows

Several = Mapping[str, Study]  # by what each is called, this study first


def compare_pairs(several: Several) -> pl.DataFrame:
    """WORDS: a row per pair and regime; NotComputable where no two have a cell in common."""
    rows = []
    for (name, one), (other, two) in combinations(several.items(), 2):
        try:
            both = shared_rows((one, two))
        except NotComputable:
            continue
        for regime, part in by_regime(both).items():
            means = [part[column].mean() for column in ("here", "there", "difference")]
            rows.append((name, other, regime, part.height, *means, *paired(part).values()))
    need(bool(rows), "no two of the studies have a source and target cell in common")
    texts = dict.fromkeys(("study", "other", "regime"), pl.String)
    numbers = dict.fromkeys(("mean", "mean_other", "difference", "low", "high", "p"), pl.Float64)
    table = pl.DataFrame(rows, schema={**texts, "n": pl.Int64, **numbers}, orient="row")
    q = pl.col("p").map_batches(_q_values, return_dtype=pl.Float64).over("regime").alias("q")
    return table.with_columns(q).with_columns((pl.col("q") <= LEVEL).alias("differ")).select(*WORDS)


def _q_values(p: pl.Series) -> pl.Series:
    return pl.Series(q_values(p.cast(pl.Float64).fill_null(float("nan")).to_numpy())).fill_nan(None)


WORDS = {
    "study": "one study or recipe",
    "other": "the other",
    "regime": "all, MT-ML, MT-CL, CT-ML or CT-CL",
    "n": "cells both have; where they share no model, after averaging over models",
    "mean": "mean Δ of the one on these, pp",
    "mean_other": "mean Δ of the other on these, pp",
    "difference": "mean − mean_other, pp",
    "low": "lower end of its paired 95 % interval, clustered by source and by target, pp",
    "high": "upper end, pp",
    "p": "p-value of: the mean difference is 0, by the same paired t; null where it cannot be told",
    "q": "its q-value over all pairs of the regime",
    "differ": f"q ≤ {LEVEL}",
}
TABLES: tuple[Table[Several], ...] = (
    Table[Several](
        "compare_pairs",
        "Every two of the studies",
        "cells that both of a pair have",
        WORDS,
        compare_pairs,
        how="Each pair is compared on its own common cells, so means of one study differ from pair to pair.",
    ),
)
