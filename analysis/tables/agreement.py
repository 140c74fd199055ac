"""Two ways to train the same sources, cell by cell: LoRA beside full fine-tuning, one rank beside another.

The reference study's comparisons (scripts of arXiv 2511.13368): Pearson's correlation of Δ and of the normalised Δ,
share of cells with the same sign, mean and median of the difference; and for either the quantiles and harm rate of Δ. By
regime, all cells (MT-ML too), and off-task (CT-ML and CT-CL).
"""

from __future__ import annotations

import numpy as np
import polars as pl

from analysis.frames import HARM, KEYS, Table, harm_rate
from analysis.tables.common import Pair, on_common_cells

GROUPS = {
    "all": ("MT-ML", "MT-CL", "CT-ML", "CT-CL"),
    "MT-ML": ("MT-ML",),
    "MT-CL": ("MT-CL",),
    "off task": ("CT-ML", "CT-CL"),
}
QUANTILES = {"p10": 0.1, "p25": 0.25, "median": 0.5, "p75": 0.75, "p90": 0.9}


def compare_agreement(pair: Pair) -> pl.DataFrame:
    """`group, n, pearson, pearson_plain, same_sign, mean_difference, median_difference`."""
    here, there = on_common_cells(pair)
    plain = "delta_score_mean" if "delta_score_mean" in here.columns and "delta_score_mean" in there.columns else "delta"
    columns = {"delta": "delta", "plain": plain}
    both = here.select(*KEYS, "regime", *(pl.col(c).alias(f"{n}_here") for n, c in columns.items())).join(
        there.select(*KEYS, *(pl.col(c).alias(f"{n}_there") for n, c in columns.items())), on=KEYS
    )
    rows = []
    for group, regimes in GROUPS.items():
        part = both.filter(pl.col("regime").is_in(regimes))
        if part.height:
            a, b, c, d = (part[f"{n}_{side}"].to_numpy() for n in columns for side in ("here", "there"))
            same = 100 * float((np.sign(c.round(9)) == np.sign(d.round(9))).mean())
            rows.append((group, part.height, _pearson(a, b), _pearson(c, d), same, (a - b).mean(), float(np.median(a - b))))
    schema = ["group", "n", "pearson", "pearson_plain", "same_sign", "mean_difference", "median_difference"]
    return pl.DataFrame(rows, schema=schema, orient="row").fill_nan(None)


def _pearson(a: np.ndarray, b: np.ndarray) -> float:
    if len(a) < 3 or np.ptp(a) < 1e-12 or np.ptp(b) < 1e-12:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def compare_spread(pair: Pair) -> pl.DataFrame:
    """`group, study, n, mean, p10 … p90, harm_rate` of either on the cells both have."""
    tables = []
    for study, transfer in zip(("here", "there"), on_common_cells(pair), strict=True):
        for group, regimes in GROUPS.items():
            part = transfer.filter(pl.col("regime").is_in(regimes))
            quantiles = [pl.col("delta").quantile(q, "linear").alias(name) for name, q in QUANTILES.items()]
            stats = [pl.len().cast(pl.Int64).alias("n"), pl.col("delta").mean().alias("mean"), *quantiles, harm_rate()]
            if part.height:
                tables.append(part.select(pl.lit(group).alias("group"), pl.lit(study).alias("study"), *stats))
    return pl.concat(tables).sort("group", "study", maintain_order=True)


TABLES: tuple[Table[Pair], ...] = (
    Table[Pair](
        "compare_agreement",
        "Do the two ways of training agree, cell by cell",
        "cells both have",
        {
            "group": "all, MT-ML, MT-CL, or off task (CT-ML and CT-CL)",
            "n": "cells both have",
            "pearson": "Pearson's correlation of Δ; noise of items keeps it below 1",
            "pearson_plain": "the same of Δ of the score that is not length-normalised",
            "same_sign": "share of cells whose plain Δ has the same sign in both, %",
            "mean_difference": "mean of here − there, pp",
            "median_difference": "its median, pp",
        },
        compare_agreement,
    ),
    Table[Pair](
        "compare_spread",
        "How Δ spreads in either",
        "cells both have",
        {
            "group": "all, MT-ML, MT-CL, or off task (CT-ML and CT-CL)",
            "study": "here or there",
            "n": "cells both have",
            "mean": "mean Δ, pp",
            **{name: f"quantile {q:g} of Δ, pp" for name, q in QUANTILES.items()},
            "harm_rate": f"share of cells with {HARM}, %; noise has its part in it",
        },
        compare_spread,
    ),
)
