"""Two studies side by side, on the cells both have: what differs, whether matrices agree, what holds in both.

Differences of means are paired: cell by cell, with an interval and a p-value that allow for cells of a source and cells
of a target that move together (`analysis/inference/paired.py`). A harm rate stands beside what noise alone would show.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from analysis.frames import (
    CELL_WORDS,
    HARM,
    KEYS,
    MODEL_WORDS,
    NotComputable,
    Table,
    harm_rate,
    need,
)
from analysis.statistics.mantel import Array, correlate, ranked
from analysis.statistics.matrices import cell_matrix, language_matrix, square, task_matrix
from analysis.statistics.rates import beside, evidence
from analysis.statistics.roles import REGIME_OF, SIDES, language_roles, task_roles
from analysis.tables import agreement, common, conclusions, graded
from analysis.tables.common import UNKNOWN, Pair, Transfer, on_common_cells, paired
from study.cells import REGIMES

REGIME_WORDS = {
    "regime": "all, MT-ML, MT-CL, CT-ML or CT-CL",
    "n": "cells both have",
    "here": "mean Δ of this study, pp",
    "there": "mean Δ of the other, pp",
    "difference": "here − there, pp",
    "low": "lower end of its paired 95 % interval, clustered by source and by target, pp",
    "high": "upper end, pp",
    "p": "p-value of: the mean difference is 0, by the same paired t; null where it cannot be told",
    "harm_here": f"share of cells with {HARM} in this study, %",
    "floor_here": f"the share that noise alone would show, %; {UNKNOWN}",
    "least_here": f"lower 95 % bound on the share whose true {HARM}, %; {UNKNOWN}",
    "harm_there": "the same three of the other, %",
    "floor_there": "noise alone, of the other, %",
    "least_there": "bound, of the other, %",
}


def shared_rows(pair: Pair) -> pl.DataFrame:
    """`model, source…, target…, regime, here, there, difference` over the cells both have, Δ in pp."""
    here, there = on_common_cells(pair)
    both = here.select(*KEYS, "regime", pl.col("delta").alias("here")).join(
        there.select(*KEYS, pl.col("delta").alias("there")), on=KEYS, maintain_order="left"
    )
    return both.with_columns((pl.col("here") - pl.col("there")).alias("difference"))


def by_regime(both: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """`shared_rows` of all transfer and of each regime, where there are any."""
    parts = {"all": both.filter(pl.col("regime") != "MT-ML")} | {r: both.filter(pl.col("regime") == r) for r in REGIMES}
    return {name: part for name, part in parts.items() if part.height}


def compare_regimes(pair: Pair) -> pl.DataFrame:
    """`regime, n, here, there, difference, low, high, p` over shared cells, and the harm rates of either."""
    parts = by_regime(shared_rows(pair))
    means = [pl.col(c).mean() for c in ("here", "there", "difference")]
    table = pl.concat(
        part.select(
            pl.lit(name).alias("regime"),
            pl.len().cast(pl.Int64).alias("n"),
            *means,
            *(pl.lit(value, pl.Float64).alias(column) for column, value in paired(part).items()),
            *(harm_rate(side).alias(f"harm_{side}") for side in ("here", "there")),
        )
        for name, part in parts.items()
    )
    named = pl.concat(part.with_columns(pl.lit(name).alias("regime")) for name, part in parts.items())
    for side, study in zip(("here", "there"), pair, strict=True):
        table = beside(table, named, ["regime"], evidence(study.grids))
        table = table.rename({"harm_floor": f"floor_{side}", "harm_least": f"least_{side}"})
    return table.select(*REGIME_WORDS)


def compare_roles(pair: Pair) -> pl.DataFrame:
    """`kind, role, name, here, there, difference, low, high` for languages and tasks that both rank."""
    pair = pair[0].singles, pair[1].singles
    here, there = on_common_cells(pair)
    both_rows = shared_rows(pair)
    tables, reasons = [], []
    for kind, make in (("language", language_roles), ("task", task_roles)):
        try:
            both = make(here).join(make(there), on=kind, suffix="_there")
        except NotComputable as why:
            reasons.append(f"{kind}s: {why}")
            continue
        rows = both_rows.filter(pl.col("regime") == REGIME_OF[kind])
        for role, end in SIDES.items():
            sides = [pl.col(role).alias("here"), pl.col(f"{role}_there").alias("there")]
            labels = [pl.lit(kind).alias("kind"), pl.lit(role).alias("role"), pl.col(kind).alias("name")]
            found = both.select(*labels, *sides).drop_nulls()
            ends = [paired(rows.filter(pl.col(f"{end}_{kind}") == name)) for name in found["name"]]
            tables.append(found.with_columns(pl.Series(c, [e[c] for e in ends], pl.Float64) for c in ("low", "high")))
    need(any(table.height for table in tables), "; ".join(reasons) or "they rank no language or task in common")
    table = pl.concat(tables).with_columns((pl.col("here") - pl.col("there")).alias("difference"))
    columns = ["kind", "role", "name", "here", "there", "difference", "low", "high"]
    return table.select(columns).sort("kind", "role", "here", "name", descending=[False, False, True, False])


def compare_matrices(pair: Pair) -> pl.DataFrame:
    """`matrix, n_cells, pearson, spearman, mantel_p, mean_difference` of language, task and cell matrix."""
    here, there = on_common_cells(pair)
    rows = []
    for name, make in (("language", language_matrix), ("task", task_matrix), ("cell", cell_matrix)):
        try:
            a, b = _aligned(make(here), make(there))
        except NotComputable:
            continue
        pearson, p, n = correlate(a, b)
        both = np.where(np.isnan(a) | np.isnan(b), np.nan, 1.0)
        spearman = correlate(ranked(a * both), ranked(b * both), permutations=0)[0]
        off = ~np.eye(len(a), dtype=bool) & ~np.isnan(both)
        difference = float((a - b)[off].mean()) if off.any() else float("nan")
        rows.append((name, n, pearson, spearman, p, difference))
    need(any(row[2] == row[2] for row in rows), "no matrix has three cells in common")
    columns = ["matrix", "n_cells", "pearson", "spearman", "mantel_p", "mean_difference"]
    return pl.DataFrame(rows, schema=columns, orient="row").fill_nan(None)


def _aligned(here: Transfer, there: Transfer) -> tuple[Array, Array]:
    labels = sorted((set(here["source"]) | set(here["target"])) & (set(there["source"]) | set(there["target"])))
    need(len(labels) >= 3, "fewer than three labels in common")
    return square(here, labels), square(there, labels)


TABLES: tuple[Table[Pair], ...] = (
    *common.TABLES,
    *conclusions.TABLES,
    Table[Pair](
        "compare_regimes",
        "Effect by regime in both",
        "cells both have",
        REGIME_WORDS,
        compare_regimes,
    ),
    *agreement.TABLES,
    *graded.TABLES,
    Table[Pair](
        "compare_matrices",
        "Do the matrices agree",
        "cells both have",
        {
            "matrix": "language, task or cell",
            "n_cells": "off-diagonal cells both have",
            "pearson": "Pearson's correlation of the two matrices",
            "spearman": "Spearman's correlation",
            "mantel_p": "Mantel permutation p-value of Pearson's",
            "mean_difference": "mean of here − there, pp",
        },
        compare_matrices,
    ),
    Table[Pair](
        "compare_roles",
        "Who gives and takes in both",
        "cells both have",
        {
            "kind": "language or task",
            "role": "donor or recipient",
            "name": "the language or task",
            "here": "its score in this study, pp",
            "there": "its score in the other, pp",
            "difference": "here − there, pp",
            "low": "lower end of its paired 95 % interval, clustered by source and by target, pp; null where either is "
            "a single one",
            "high": "upper end, pp",
        },
        compare_roles,
    ),
    Table[Pair](
        "compare_transfer",
        "Cell by cell",
        "cells both have",
        {
            **MODEL_WORDS,
            **CELL_WORDS,
            "here": "Δ of this study, pp; averaged over models when the studies share none",
            "there": "Δ of the other, pp",
            "difference": "here − there, pp",
        },
        shared_rows,
    ),
)
