"""Compositions for a target, beside single sources; and sums that nobody has tried, by what their parts let one expect.

A sum of two sources that is not in the study is expected to do slope · (Δ₁ + Δ₂): the expected Δ of either, and the
slope of `additivity` of the study's own sums. It is an extrapolation, and says so.
"""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import polars as pl

from analysis.advice.advice import Advice
from analysis.advice.metric import Metric
from analysis.frames import NotComputable
from analysis.reading.grids import POINTS
from analysis.reading.study import Study
from analysis.statistics.combinations.additivity import ALL, additivity
from analysis.statistics.combinations.compositions import compositions

SUM = "sum"
SOURCES, MOST = 5, 3  # of so many sources, the best, so many sums are proposed


def beside(study: Study, target: str, sources: pl.DataFrame, metric: Metric) -> tuple[Advice, ...]:
    """What there is to say of compositions where somebody asks for sources; nothing of a study without any."""
    if study.compositions is None:
        return ()
    there, more = tried(study, target, metric), untried(study, target, sources.filter("measured"), metric)
    words, sums = metric.words, "Sums not tried yet that may do better than the first source, as far as sums add up"
    found = [
        (f"Compositions for {target}, best Δ first, {words} (over_donor: beyond the best single donor):", there),
        (f"{sums} here, {words}:", more),
    ]
    return tuple(Advice(sentence, table) for sentence, table in found if table.height)


def tried(study: Study, target: str, metric: Metric) -> pl.DataFrame:
    """`composition, claim, delta, low, high, over_donor, harmed_targets` on a target, best first; no rows without any.

    Means over models; the interval is that of the composition in its one model.
    """
    try:
        rows = compositions(study)
    except NotComputable:
        return pl.DataFrame()
    here = pl.concat_str("target_task", "target_language", separator="/") == target
    at = pl.when(pl.col("lambda").is_not_null()).then(pl.format(" λ {}", "lambda")).otherwise(pl.lit(""))
    rows = rows.filter(here, pl.col("metric") == metric.name).with_columns((pl.col("name") + at).alias("composition"))
    one = rows["model"].n_unique() == 1
    ends = [pl.col(end).first() if one else pl.lit(None, pl.Float64).alias(end) for end in ("low", "high")]
    means = [pl.col("delta").mean(), *ends, pl.col("gain_donor").mean().alias("over_donor")]
    table = rows.group_by("composition", "claim").agg(*means, pl.col("harmed_targets").mean())
    return table.sort("delta", "composition", descending=[True, False])


def _room(metric: Metric, target: str) -> float:
    """How much can be gained on a target at most: no item can be more than right, or more than alike. Of all bases."""
    if metric.size != POINTS:
        return math.inf
    here = [panel.norm[0] for panel in metric.panels if f"{panel.task}/{panel.language}" == target]
    scores = [float(np.nanmean(base)) for base in here if not np.isnan(base).all()]
    return metric.size * (1 - (sum(scores) / len(scores) if scores else 0.0))


def untried(study: Study, target: str, sources: pl.DataFrame, metric: Metric) -> pl.DataFrame:
    """`sum_of, and, expected` of pairs of the best sources of a target that no composition sums, best first.

    `sources` has `source, expected`, best first. No rows where the study's own sums do not tell how far they add up.
    """
    try:
        slope = additivity(study).filter(metric=metric.name, method=SUM, regime=ALL)["slope"].to_list()
    except NotComputable:
        return pl.DataFrame()
    if study.compositions is None or not slope or slope[0] is None:
        return pl.DataFrame()
    known = {frozenset(term["source"] for term in terms) for terms in study.compositions.named["terms"]}
    best = sources.select("source", "expected").head(SOURCES).rows()
    pairs = [(a, b, slope[0] * (x + y)) for (a, x), (b, y) in combinations(best, 2) if frozenset((a, b)) not in known]
    table = pl.DataFrame(pairs, schema={"sum_of": pl.String, "and": pl.String, "expected": pl.Float64}, orient="row")
    table = table.filter(pl.col("expected") <= _room(metric, target))  # too far beyond what was seen
    return table.filter(pl.col("expected") > sources["expected"][0]).sort("expected", descending=True).head(MOST)
