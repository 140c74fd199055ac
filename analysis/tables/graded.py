"""Two studies on targets without an accuracy: each metric and task by itself, for units do not mix."""

from __future__ import annotations

import polars as pl

from analysis.frames import ALL_MODELS, KEYS, SOURCE, TARGET, Table, need
from analysis.statistics.corpus import corpus
from analysis.statistics.graded import graded
from analysis.tables.common import Pair, paired

OF = ["metric", "unit", "target_task"]


def compare_graded(pair: Pair) -> pl.DataFrame:
    """`metric, unit, target_task, n, here, there, difference, low, high, p` over the cells both have.

    NotComputable where either has no such target, or they share no cell of the same metric and unit.
    """
    return _compared(*(graded(study) for study in pair))


def compare_corpus(pair: Pair) -> pl.DataFrame:
    """The same of metrics that all items together have."""
    return _compared(*(corpus(study) for study in pair))


def _compared(*tables: pl.DataFrame) -> pl.DataFrame:
    here, there = (table.select(*OF[:2], *KEYS, "delta") for table in tables)
    if not set(here["model"]) & set(there["model"]):
        here, there = (_over_models(one) for one in (here, there))
    both = here.join(there.rename({"delta": "there"}), on=[*OF[:2], *KEYS]).rename({"delta": "here"})
    need(both.height > 0, "the two studies have no cell in common of the same metric, in the same unit")
    both = both.with_columns((pl.col("here") - pl.col("there")).alias("difference"))
    rows = []
    for names, part in both.sort(OF).group_by(OF, maintain_order=True):
        means = [part[name].mean() for name in ("here", "there", "difference")]
        rows.append((*names, part.height, *means, *paired(part).values()))
    kinds = dict.fromkeys(OF, pl.String) | {"n": pl.Int64} | dict.fromkeys(list(WORDS)[4:], pl.Float64)
    return pl.DataFrame(rows, schema=kinds, orient="row")


def _over_models(table: pl.DataFrame) -> pl.DataFrame:
    means = table.group_by(*OF[:2], *SOURCE, *TARGET).agg(pl.col("delta").mean())
    return means.with_columns(pl.lit(ALL_MODELS).alias("model"))


WORDS = {
    "metric": "the metric, oriented so that more is better",
    "unit": "of Δ: points (100 × a metric that is a proportion by its name), or the metric itself",
    "target_task": "task scored on",
    "n": "cells both have",
    "here": "mean Δ of this study",
    "there": "mean Δ of the other",
    "difference": "here − there",
    "low": "lower end of its paired 95 % interval, clustered by source and by target",
    "high": "upper end",
    "p": "p-value of: the mean difference is 0, by the same paired t; null where it cannot be told",
}
TABLES: tuple[Table[Pair], ...] = (
    Table[Pair](
        "compare_graded", "Graded metrics in both", "items of targets without an accuracy", WORDS, compare_graded
    ),
    Table[Pair](
        "compare_corpus",
        "Metrics of the whole corpus in both",
        "targets whose metric no single item has",
        WORDS,
        compare_corpus,
    ),
)
