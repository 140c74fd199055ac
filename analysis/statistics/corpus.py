"""Metrics that only all items together have a value of: F1, MCC, BLEU, chrF, in a bootstrap over items.

Each subject's metric is computed anew in the same draws of the items, so draw by draw the difference from the base is
paired. Its spread is the standard error over items (Efron and Tibshirani 1993, ch. 16; Koehn 2004 for BLEU). Seeds add
theirs, pooled within a model and metric; `analysis/inference/draws.py` has both, and Student's degrees of freedom.
q-values are counted within a metric of a model, as in `graded`; so is harm.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import polars as pl

from analysis.frames import CELL_WORDS, KEYS, MODEL_WORDS, SOURCE, TARGET, Table, need
from analysis.inference.claims import LEVEL, q_values
from analysis.inference.draws import Draws, drawn
from analysis.reading.grids import POINTS
from analysis.reading.scores import beside_base
from analysis.reading.study import Study
from analysis.reading.transfer import with_regime
from analysis.statistics.graded import LEAST, size_of, stated_harm

LEAST_DF = 0.5  # of seeds and draws: with fewer an interval reaches beyond any value
CLAIMS = ("worse", "better", "harmed")
Floats = npt.NDArray[np.float64]


def corpus(study: Study) -> pl.DataFrame:
    """One row per cell of each metric; NotComputable where every target's items have values of their own."""
    rows = study.scores.filter(pl.col("replicates").is_not_null()) if study.scores.height else study.scores
    need(rows.height > 0, "every target's metric has a value for each item")
    sizes = {
        str(name): size_of(str(name), part["value"].drop_nulls().drop_nans().to_list())
        for (name,), part in rows.group_by("metric")
    }
    mine = beside_base(study.scores, study.units).filter("comparable")
    need(mine.height > 0, "no adapter with a source cell has been scored by such a metric beside its base")
    stated = stated_harm(study.config)
    parts = mine.partition_by("model", "metric", maintain_order=True)
    table = with_regime(pl.concat([_metric(part, stated, sizes[part["metric"][0]]) for part in parts]), study.joint)
    family = ["model", "metric", pl.col("regime") == "MT-ML"]
    table = table.with_columns(_q(f"p_{claim}").over(family).alias(f"q_{claim}") for claim in CLAIMS)
    called = [(pl.col(f"q_{claim}") <= LEVEL).fill_null(False).alias(claim) for claim in CLAIMS]
    return table.with_columns(called).select(*COLUMNS).sort("metric", *KEYS)


def _q(column: str) -> pl.Expr:
    return pl.col(column).map_batches(
        lambda p: pl.Series(q_values(p.fill_null(float("nan")).to_numpy())).fill_nan(None), return_dtype=pl.Float64
    )


def _metric(rows: pl.DataFrame, stated: Mapping[str, float], size: float) -> pl.DataFrame:
    """One model's cells of one metric."""
    rows = rows.with_columns(
        pl.struct(*SOURCE, "seed", "who").rank("dense").cast(pl.Int64).alias("adapter") - 1,
        pl.struct(SOURCE).rank("dense").cast(pl.Int64).alias("source") - 1,
        pl.col("target_task").rank("dense").cast(pl.Int64).alias("task") - 1,
    ).sort("adapter")
    source = rows.unique("adapter").sort("adapter")["source"].to_numpy()
    parts = rows.sort(TARGET, maintain_order=True).partition_by(TARGET, maintain_order=True)
    found = drawn([_target(part, size) for part in parts], source)
    about = pl.concat(
        part.group_by(KEYS, maintain_order=True).agg(
            pl.first("source", "n_items"), (size * pl.first("base_value")).alias("base")
        ).with_columns(pl.lit(number).alias("column"))
        for number, part in enumerate(parts)
    )  # fmt: skip
    at = (about["source"].to_numpy(), about["column"].to_numpy())
    of = {name: getattr(found, name)[at] for name in ("delta", "se", "df", "n_seeds")}
    return _claimed(about, of, _harm(rows, stated, size)).with_columns(
        pl.lit(rows["metric"][0]).alias("metric"),
        pl.lit("points" if size == POINTS else rows["metric"][0]).alias("unit"),
        pl.lit("the source" if found.seeds_known else "this adapter").alias("about"),
    )


def _target(part: pl.DataFrame, size: float) -> Draws:
    oriented = -size if part["higher_is_better"][0] is False else size
    return Draws(
        oriented * (part["value"] - part["base_value"]).to_numpy(),
        oriented * (_draws(part["replicates"]) - _draws(part["base_replicates"][:1])),
        part["adapter"].to_numpy(),
        int(part["n_items"][0]),
        int(part["task"][0]),
    )


def _draws(column: pl.Series) -> Floats:
    """Units × B."""
    return np.array(column.to_list(), dtype=np.float64)


def _harm(rows: pl.DataFrame, stated: Mapping[str, float], size: float) -> dict[str, float]:
    """Of each target task the loss that counts, in the unit of Δ: as `graded` has it."""
    found = {}
    for (task,), part in rows.group_by("target_task"):
        least = LEAST if size == POINTS else LEAST * float(np.mean(np.abs(part["base_value"].to_numpy())))
        found[str(task)] = size * stated.get(str(task), least)
    return found


def _claimed(about: pl.DataFrame, of: Mapping[str, Floats], harm: Mapping[str, float]) -> pl.DataFrame:
    from scipy.stats import t

    delta, df = of["delta"], of["df"]
    se = np.where(of["se"] > 0, of["se"], np.nan)  # where nothing differs in any draw, nothing is known
    lost = about["target_task"].replace_strict(harm, return_dtype=pl.Float64).to_numpy()
    half = np.where(df < LEAST_DF, np.nan, t.ppf(0.975, df) * se)
    columns = {
        "delta": delta,
        "se": se,
        "low": delta - half,
        "high": delta + half,
        "harm": lost,
        "p_worse": t.cdf(delta / se, df),
        "p_better": t.sf(delta / se, df),
        "p_harmed": t.cdf((delta + lost) / se, df),
    }
    named = [pl.Series(name, values, pl.Float64).fill_nan(None) for name, values in columns.items()]
    return about.with_columns(*named, pl.Series("n_seeds", of["n_seeds"]))


COLUMNS = {
    "metric": "the metric, oriented so that more is better",
    "unit": "of Δ: points (100 × a metric that is a proportion by its name, as F1 and MCC are), or the metric itself",
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
