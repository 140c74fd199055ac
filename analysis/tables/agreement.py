"""Two ways to train the same sources, cell by cell: LoRA beside full fine-tuning, one rank beside another.

The reference study's comparisons (scripts of arXiv 2511.13368): Pearson's correlation of Δ and of the normalised Δ,
share of cells with the same sign, mean and median of the difference; and for either the quantiles and harm rate of Δ.
Of all cells (MT-ML too), of MT-ML, of MT-CL, and off task (CT-ML and CT-CL).
"""

from __future__ import annotations

import numpy as np
import polars as pl

from analysis.frames import HARM, KEYS, Table, harm_rate
from analysis.statistics.rates import beside, evidence
from analysis.tables.common import UNKNOWN, Pair, on_common_cells

GROUPS = {
    "all": ("MT-ML", "MT-CL", "CT-ML", "CT-CL"),
    "MT-ML": ("MT-ML",),
    "MT-CL": ("MT-CL",),
    "off task": ("CT-ML", "CT-CL"),
}
QUANTILES = {"p10": 0.1, "p25": 0.25, "median": 0.5, "p75": 0.75, "p90": 0.9}


def compare_agreement(pair: Pair) -> pl.DataFrame:
    """`group, n`, correlations of Δ, signs, and differences: a row per group of regimes that has cells."""
    here, there = on_common_cells(pair)
    plain = [transfer.get_column("delta_score_mean", default=transfer["delta"]) for transfer in (here, there)]
    sides = {"here": here["delta"], "there": there["delta"], "plain_here": plain[0], "plain_there": plain[1]}
    both = here.select("regime").with_columns(values.alias(name) for name, values in sides.items())
    rows = []
    for group, regimes in GROUPS.items():
        part = both.filter(pl.col("regime").is_in(regimes))
        if part.height:
            a, b, c, d = (part[name].to_numpy() for name in sides)
            middle = float((a - b).mean()), float(np.median(a - b))
            rows.append((group, part.height, _pearson(a, b), _pearson(c, d), *_signs(c, d), *middle))
    return pl.DataFrame(rows, schema=list(AGREEMENT_WORDS), orient="row").fill_nan(None)


def _signs(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Share of cells with the same sign among those that have one in both, and share of the others, %."""
    signs = np.sign(a.round(9)) * np.sign(b.round(9))
    told = signs != 0
    same = 100 * float((signs[told] > 0).mean()) if told.any() else float("nan")
    return same, 100 * float((~told).mean())


def _pearson(a: np.ndarray, b: np.ndarray) -> float:
    if len(a) < 3 or np.ptp(a) < 1e-12 or np.ptp(b) < 1e-12:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def compare_spread(pair: Pair) -> pl.DataFrame:
    """`group, study, n, mean, p10 … p90, harm_rate, harm_floor, harm_least` of either on the cells both have."""
    tables = []
    quantiles = [pl.col("delta").quantile(q, "linear").alias(name) for name, q in QUANTILES.items()]
    stats = [pl.len().cast(pl.Int64).alias("n"), pl.col("delta").mean().alias("mean"), *quantiles, harm_rate()]
    for side, study, transfer in zip(("here", "there"), pair, on_common_cells(pair), strict=True):
        rows = pl.concat(
            transfer.filter(pl.col("regime").is_in(regimes)).select(pl.lit(group).alias("group"), *KEYS, "delta")
            for group, regimes in GROUPS.items()
        )
        table = beside(rows.group_by("group").agg(stats), rows, ["group"], evidence(study.grids))
        tables.append(table.with_columns(pl.lit(side).alias("study")))
    order = pl.col("group").replace_strict({group: i for i, group in enumerate(GROUPS)})
    return pl.concat(tables).select(*SPREAD_WORDS).sort(order, "study")


SPREAD_WORDS = {
    "group": "all, MT-ML, MT-CL, or off task (CT-ML and CT-CL)",
    "study": "here or there",
    "n": "cells both have",
    "mean": "mean Δ, pp",
    **{name: f"quantile {q:g} of Δ, pp" for name, q in QUANTILES.items()},
    "harm_rate": f"share of cells with {HARM}, %",
    "harm_floor": f"the share that noise alone would show, %; {UNKNOWN}",
    "harm_least": f"lower 95 % bound on the share whose true {HARM}, %; {UNKNOWN}",
}
AGREEMENT_WORDS = {
    "group": "all, MT-ML, MT-CL, or off task (CT-ML and CT-CL)",
    "n": "cells both have",
    "pearson": "Pearson's correlation of Δ; noise of items keeps it below 1",
    "pearson_plain": "the same of Δ of the score that is not length-normalised",
    "same_sign": "share of cells whose plain Δ has the same sign in both, % of the cells where neither is 0",
    "no_sign": "share of cells whose plain Δ is 0 in one or both, %",
    "mean_difference": "mean of here − there, pp",
    "median_difference": "its median, pp",
}
TABLES: tuple[Table[Pair], ...] = (
    Table[Pair](
        "compare_agreement",
        "Do the two ways of training agree, cell by cell",
        "cells both have",
        AGREEMENT_WORDS,
        compare_agreement,
        how="Noise of items keeps the correlations below 1, and where nothing happens half of the signs agree. Cells "
        "in which one of the two shows no change have no sign to agree on and are counted apart.",
    ),
    Table[Pair](
        "compare_spread",
        "How Δ spreads in either",
        "cells both have",
        SPREAD_WORDS,
        compare_spread,
    ),
)
