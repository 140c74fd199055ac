"""Metrics that only all items together have a value of: F1, MCC, BLEU, chrF, in a bootstrap over items.

Each subject's metric is computed anew in the same draws of the items, so draw by draw the difference from the base is
paired. Its spread is the standard error over items (Efron and Tibshirani 1993, ch. 16; Koehn 2004 for BLEU). Seeds add
their sample variance, pooled over the cells of a model and metric, over their number; the items' noise in it is not
taken out, which errs to the wide side. Intervals and p-values are Student's t with items − 1 degrees of freedom.
q-values are counted within a metric of a model, as in `graded`; so is harm.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import polars as pl

from analysis.frames import CELL_WORDS, KEYS, MODEL_WORDS, SOURCE, TARGET, Table, need
from analysis.inference.claims import LEVEL, q_values
from analysis.reading.grids import POINTS
from analysis.reading.study import Study
from analysis.reading.transfer import with_regime
from analysis.statistics.graded import LEAST, stated_harm

CLAIMS = ("worse", "better", "harmed")
SIDES = ["value", "replicates", "n_items"]
Floats = npt.NDArray[np.float64]


def corpus(study: Study) -> pl.DataFrame:
    """One row per cell of each metric; NotComputable where every target's items have values of their own."""
    rows = study.scores.filter(pl.col("replicates").is_not_null()) if study.scores.height else study.scores
    need(rows.height > 0, "every target's metric has a value for each item")
    rows = rows.join(study.units.select("unit", "model", *SOURCE, "seed", *TARGET, "kind"), on="unit", how="inner")
    key = ["model", *TARGET, "metric"]
    base = rows.filter(pl.col("kind") == "base").select(*key, *(pl.col(name).alias(f"base_{name}") for name in SIDES))
    mine = rows.filter(pl.col("kind") == "trained").join(base, on=key, how="inner")
    mine = mine.filter(pl.col("n_items") == pl.col("base_n_items"))  # else they are not the same items
    need(mine.height > 0, "no adapter with a source cell has been scored by such a metric beside its base")
    stated = stated_harm(study.config)
    parts = mine.partition_by("model", "metric", maintain_order=True)
    table = with_regime(pl.concat([_metric(part, stated) for part in parts]))
    family = ["model", "metric", pl.col("regime") == "MT-ML"]
    table = table.with_columns(_q(f"p_{claim}").over(family).alias(f"q_{claim}") for claim in CLAIMS)
    called = [(pl.col(f"q_{claim}") <= LEVEL).fill_null(False).alias(claim) for claim in CLAIMS]
    return table.with_columns(called).select(*COLUMNS).sort("metric", *KEYS)


def _q(column: str) -> pl.Expr:
    return pl.col(column).map_batches(
        lambda p: pl.Series(q_values(p.fill_null(float("nan")).to_numpy())).fill_nan(None), return_dtype=pl.Float64
    )


def _metric(rows: pl.DataFrame, stated: Mapping[str, float]) -> pl.DataFrame:
    """One model's cells of one metric."""
    size = POINTS if rows.select(pl.col("value", "base_value").abs().max() <= 1).row(0) == (True, True) else 1.0
    cells, pooled = [], []
    for key, part in rows.sort("seed").group_by(KEYS, maintain_order=True):
        sign = -1.0 if part["higher_is_better"][0] is False else 1.0
        delta_K = size * sign * (part["value"] - part["base_value"]).to_numpy()
        drawn_B = size * sign * (_draws(part["replicates"]) - _draws(part["base_replicates"])).mean(axis=0)
        if len(delta_K) > 1:
            pooled.append(float(np.var(delta_K, ddof=1)))
        cells.append(
            (*key, float(delta_K.mean()), float(np.nanstd(drawn_B, ddof=1)), *_about(part, size), len(delta_K))
        )
    names = [*KEYS, "delta", "of_items", "base", "n_items", "n_seeds"]
    table = pl.DataFrame(cells, schema=names, orient="row")
    return _claimed(table, float(np.mean(pooled)) if pooled else None, _harm(rows, stated, size)).with_columns(
        pl.lit(rows["metric"][0]).alias("metric"),
        pl.lit("points" if size == POINTS else rows["metric"][0]).alias("unit"),
    )


def _about(part: pl.DataFrame, size: float) -> tuple[float, int]:
    return size * float(part["base_value"][0]), int(part["n_items"][0])


def _draws(column: pl.Series) -> Floats:
    """K × B."""
    return np.array(column.to_list(), dtype=np.float64)


def _harm(rows: pl.DataFrame, stated: Mapping[str, float], size: float) -> dict[str, float]:
    """Of each target task the loss that counts, in the unit of Δ: as `graded` has it."""
    found = {}
    for (task,), part in rows.group_by("target_task"):
        least = LEAST if size == POINTS else LEAST * float(np.mean(np.abs(part["base_value"].to_numpy())))
        found[str(task)] = size * stated.get(str(task), least)
    return found


def _claimed(table: pl.DataFrame, seeds: float | None, harm: Mapping[str, float]) -> pl.DataFrame:
    from scipy.stats import t

    delta, k = table["delta"].to_numpy(), table["n_seeds"].to_numpy()
    se = np.sqrt(table["of_items"].to_numpy() ** 2 + (seeds or 0.0) / k)
    se = np.where(se > 0, se, np.nan)  # where nothing differs in any draw, nothing is known
    df, lost = table["n_items"].to_numpy() - 1, table["target_task"].replace_strict(harm, return_dtype=pl.Float64)
    half = t.ppf(0.975, df) * se
    columns = {
        "se": se,
        "low": delta - half,
        "high": delta + half,
        "harm": lost.to_numpy(),
        "p_worse": t.cdf(delta / se, df),
        "p_better": t.sf(delta / se, df),
        "p_harmed": t.cdf((delta + lost.to_numpy()) / se, df),
    }
    about = "this adapter" if seeds is None else "the source"
    named = [pl.Series(name, values, pl.Float64).fill_nan(None) for name, values in columns.items()]
    return table.with_columns(named).with_columns(pl.lit(about).alias("about"))


COLUMNS = {
    "metric": "the metric, oriented so that more is better",
    "unit": "of Δ: points (100 × a metric between −1 and 1), or the metric itself",
    **MODEL_WORDS,
    **CELL_WORDS,
    "base": "the base's value, in the same unit",
    "delta": "Δ: mean difference from the base over seeds, more is better",
    "low": "lower end of its 95 % interval",
    "high": "upper end",
    "se": "its standard error, from draws of the items and from seeds; null where no draw differs",
    "harm": "loss that counts as harm, in the same unit",
    "p_worse": "one-sided p-value of Δ ≥ 0",
    "q_worse": "its q-value over the transfer cells of the model and metric (MT-ML is a family of its own)",
    "worse": f"q_worse ≤ {LEVEL}",
    "p_better": "one-sided p-value of Δ ≤ 0",
    "q_better": "its q-value",
    "better": f"q_better ≤ {LEVEL}",
    "p_harmed": "one-sided p-value of a loss smaller than `harm`",
    "q_harmed": "its q-value",
    "harmed": f"harmed for certain: q_harmed ≤ {LEVEL}",
    "about": "what is claimed: of the source over seeds, or of this adapter where there is one seed",
    "n_items": "items of each draw",
    "n_seeds": "seeds",
}
TABLES = (
    Table[Study](
        "corpus",
        "Metrics of the whole corpus",
        "targets whose metric no single item has",
        COLUMNS,
        corpus,
        how="Targets that are scored by F1, MCC, BLEU, chrF and the like, which all items together have and none by "
        "itself. Base and adapters are scored anew in the same 200 draws of the items. More is better: where less of a "
        "metric is, Δ has the other sign.",
    ),
)
