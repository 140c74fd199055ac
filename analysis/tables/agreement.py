"""Two ways to train the same sources, cell by cell: LoRA beside full fine-tuning, one rank beside another.

The reference study's comparisons (scripts of arXiv 2511.13368): Pearson's correlation of Δ and of the normalised Δ,
share of cells with the same sign, mean and median of the difference; and for either the quantiles and harm rate of Δ.
Of all cells (MT-ML too), of MT-ML, of MT-CL, and off task (CT-ML and CT-CL).
"""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt
import polars as pl

from analysis.frames import ALL_MODELS, HARM, KEYS, Table, harm_rate
from analysis.inference.attenuation import clean_pearson
from analysis.inference.items import Singles
from analysis.reading.doubles import twice
from analysis.reading.grids import Clusters, clusters
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
    halves = _halves(pair, here) if _same_items(pair) else None
    plain = [transfer.get_column("delta_score_mean", default=transfer["delta"]) for transfer in (here, there)]
    sides = {"here": here["delta"], "there": there["delta"], "plain_here": plain[0], "plain_there": plain[1]}
    both = here.select("regime").with_columns(values.alias(name) for name, values in sides.items())
    rows = []
    for group, regimes in GROUPS.items():
        chosen = both["regime"].is_in(regimes)
        part = both.filter(chosen)
        if part.height:
            a, b, c, d = (part[name].to_numpy() for name in sides)
            middle = float((a - b).mean()), float(np.median(a - b))
            clean = _clean(halves, chosen.to_numpy())
            rows.append((group, part.height, _pearson(a, b), clean, _pearson(c, d), *_signs(c, d), *middle))
    return pl.DataFrame(rows, schema=list(AGREEMENT_WORDS), orient="row").fill_nan(None)


def _same_items(pair: Pair) -> bool:
    """Whether items are known, and the same in both: then they are dealt into the same halves."""
    if not all(study.grids for study in pair):
        return False
    here, there = (clusters(study.panels) for study in pair)
    return here.keys() == there.keys() and all(_alike(here[task], there[task]) for task in here)


def _alike(here: Clusters, there: Clusters) -> bool:
    return np.array_equal(here.docs, there.docs) and np.array_equal(here.first, there.first)


def _halves(pair: Pair, rows: pl.DataFrame) -> list[tuple[Singles, Singles]]:
    """Δ of the common cells from either half of the items, B × N each, of both studies."""
    found = []
    for study in pair:
        whole = twice(study.grids)
        at = [{name: i for i, name in enumerate(names)} for names in (whole.models, whole.sources, whole.targets)]
        keys = rows.select(KEYS).rows()
        source, target = [at[1][key[1:3]] for key in keys], [at[2][key[3:5]] for key in keys]
        one, two = whole.apart()
        if keys[0][0] == ALL_MODELS:
            found.append((_over_models(one)[:, source, target], _over_models(two)[:, source, target]))
        else:
            model = [at[0][key[0]] for key in keys]
            found.append((one[:, model, source, target], two[:, model, source, target]))
    return found


def _over_models(half: Singles) -> Singles:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmean(half, axis=1))


def _clean(halves: list[tuple[Singles, Singles]] | None, chosen: npt.NDArray[np.bool_]) -> float:
    if halves is None:
        return float("nan")
    here, there = (tuple(half[:, chosen] for half in study) for study in halves)
    return clean_pearson((here[0], here[1]), (there[0], there[1]))


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
    "pearson": "Pearson's correlation of Δ, with the noise of items in it",
    "pearson_clean": "the same without the noise of items (of seeds, too, where every source has two); null where "
    "items are not known or not the same in both, or nothing but noise varies",
    "pearson_plain": "as pearson, of Δ of the score that is not length-normalised",
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
        how="Noise of items is in pearson and in the signs: two measurements differ by it, and go together by what "
        "they share, the base's answers. In pearson_clean it is not. Cells in which one of the two shows no change "
        "have no sign to agree on and are counted apart.",
    ),
    Table[Pair](
        "compare_spread",
        "How Δ spreads in either",
        "cells both have",
        SPREAD_WORDS,
        compare_spread,
    ),
)
