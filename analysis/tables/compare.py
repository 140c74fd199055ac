"""Two studies side by side: which numbers differ, whether the matrices agree, which conclusions hold in both.

Numbers are compared on the cells both have: per (model, source, target) when they share a model, else per (source,
target) after averaging over models. Conclusions are drawn from each study whole (`conclusions`).
"""

from __future__ import annotations

import numpy as np
import polars as pl

from analysis.frames import (
    ALL_MODELS,
    CELL_WORDS,
    KEYS,
    MODEL_WORDS,
    SOURCE,
    TARGET,
    NotComputable,
    Table,
    harm_rate,
    need,
)
from analysis.statistics.mantel import Array, correlate, ranked
from analysis.statistics.matrices import cell_matrix, language_matrix, square, task_matrix
from analysis.statistics.roles import language_roles, task_roles
from analysis.tables import conclusions
from analysis.tables.conclusions import Pair, Transfer
from study.cells import REGIMES


def shared_rows(here: Transfer, there: Transfer) -> pl.DataFrame:
    """`model, source…, target…, regime, here, there, difference` over the cells both have, Δ in pp."""
    sides = [frame.filter(pl.col("delta").is_not_null()).select(*KEYS, "regime", "delta") for frame in (here, there)]
    if not set(sides[0]["model"]) & set(sides[1]["model"]):
        by_cell = [*SOURCE, *TARGET, "regime"]
        sides = [
            frame.group_by(by_cell).agg(pl.col("delta").mean()).with_columns(pl.lit(ALL_MODELS).alias("model"))
            for frame in sides
        ]
    renamed = [
        frame.select(*KEYS, "regime", pl.col("delta").alias(name))
        for frame, name in zip(sides, ("here", "there"), strict=True)
    ]
    both = renamed[0].join(renamed[1].drop("regime"), on=KEYS).sort(KEYS)
    need(both.height > 0, "the two studies have no source and target cell in common")
    return both.with_columns((pl.col("here") - pl.col("there")).alias("difference"))


def compare_regimes(here: Transfer, there: Transfer) -> pl.DataFrame:
    """`regime, n, here, there, difference, harm_here, harm_there` over shared cells."""
    both = shared_rows(here, there)
    harm = [harm_rate(side).alias(f"harm_{side}") for side in ("here", "there")]
    stats = [pl.len().cast(pl.Int64).alias("n"), *(pl.col(c).mean() for c in ("here", "there", "difference"))]
    tables = [
        part.select(pl.lit(name).alias("regime"), *stats, *harm)
        for name, part in (
            ("all", both.filter(pl.col("regime") != "MT-ML")),
            *((r, both.filter(pl.col("regime") == r)) for r in REGIMES),
        )
        if part.height
    ]
    return pl.concat(tables)


def compare_roles(here: Transfer, there: Transfer) -> pl.DataFrame:
    """`kind, role, name, here, there, difference` for languages and tasks that both rank."""
    tables, reasons = [], []
    for kind, make in (("language", language_roles), ("task", task_roles)):
        try:
            both = make(here).join(make(there), on=kind, suffix="_there")
        except NotComputable as why:
            reasons.append(f"{kind}s: {why}")
            continue
        for role in ("donor", "recipient"):
            pair = [pl.col(role).alias("here"), pl.col(f"{role}_there").alias("there")]
            labels = [pl.lit(kind).alias("kind"), pl.lit(role).alias("role"), pl.col(kind).alias("name")]
            tables.append(both.select(*labels, *pair).drop_nulls())
    need(any(table.height for table in tables), "; ".join(reasons) or "they rank no language or task in common")
    table = pl.concat(tables).with_columns((pl.col("here") - pl.col("there")).alias("difference"))
    return table.sort("kind", "role", "here", descending=[False, False, True])


def compare_matrices(here: Transfer, there: Transfer) -> pl.DataFrame:
    """`matrix, n_cells, pearson, spearman, mantel_p, mean_difference` of language, task and cell matrix."""
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


def _aligned(here: pl.DataFrame, there: pl.DataFrame) -> tuple[Array, Array]:
    labels = sorted((set(here["source"]) | set(here["target"])) & (set(there["source"]) | set(there["target"])))
    need(len(labels) >= 3, "fewer than three labels in common")
    return square(here, labels), square(there, labels)


TABLES: tuple[Table[Pair], ...] = (
    *conclusions.TABLES,
    Table[Pair](
        "compare_regimes",
        "Effect by regime in both",
        "cells both have",
        {
            "regime": "all, MT-ML, MT-CL, CT-ML or CT-CL",
            "n": "cells both have",
            "here": "mean Δ of this study, pp",
            "there": "mean Δ of the other, pp",
            "difference": "here − there, pp",
            "harm_here": "harm rate of this study, %",
            "harm_there": "harm rate of the other, %",
        },
        lambda pair: compare_regimes(*pair),
    ),
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
        lambda pair: compare_matrices(*pair),
    ),
    Table[Pair](
        "compare_roles",
        "Who gives and takes in both",
        "each study whole",
        {
            "kind": "language or task",
            "role": "donor or recipient",
            "name": "the language or task",
            "here": "its score in this study, pp",
            "there": "its score in the other, pp",
            "difference": "here − there, pp",
        },
        lambda pair: compare_roles(*pair),
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
        lambda pair: shared_rows(*pair),
    ),
)
