"""Does a source order its recipients the same way in every model? The Consistency Index (arXiv 2511.13368).

Per source and regime, a recipients × models table of Δ (recipient = language in MT-CL, task in CT-ML, cell in
CT-CL); Kendall's τ-b for every pair of models over the recipients both have, at least 3; the index of the source is
the mean τ. Three axes: models; families (Δ averaged within family first); sizes (averaged over models of the same
size). Pairs in which one side is constant have no τ and are left out.

Noise alone keeps τ below 1. The *ceiling* is the τ that two models would show that agree perfectly, given how much of
a source's Δ over its recipients is noise in each (`analysis/inference/ceiling.py`), averaged over pairs.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt
import polars as pl

from analysis.frames import SOURCE, TARGET, Table, cell, need, quantile, transfer_rows
from analysis.inference.ceiling import reliability, tau_ceiling
from analysis.inference.components import Doubles
from analysis.reading.doubles import Twice, twice
from analysis.reading.grids import ModelGrid
from analysis.reading.study import Study

Array = npt.NDArray[np.float64]
AXES = {"model": "model", "family": "model_family", "size": "model_size"}
RECIPIENT = {"MT-CL": ["target_language"], "CT-ML": ["target_task"], "CT-CL": TARGET}
MIN_RECIPIENTS = 3


def tau_b(values: Array) -> Array:
    """Kendall's τ-b for every pair of columns of R × M values, over rows that both have; NaN where undefined.

    τ-b = Σ s_a s_b / √(Σ s_a² Σ s_b²) over pairs of rows, s the sign of the difference (Kendall 1945).
    """
    seen = ~np.isnan(values)
    first, second = np.triu_indices(len(values), 1)
    both = (seen[first] & seen[second]).astype(float)
    signs = np.where(both > 0, np.sign(np.nan_to_num(values[first]) - np.nan_to_num(values[second])), 0.0)
    untied = (signs**2).T @ both  # pairs that a orders, among those b has too
    shared = seen.T.astype(int) @ seen.astype(int)
    with np.errstate(invalid="ignore", divide="ignore"):
        tau = (signs.T @ signs) / np.sqrt(untied * untied.T)
    return np.where(shared >= MIN_RECIPIENTS, tau, np.nan)


def indices(transfer: pl.DataFrame) -> pl.DataFrame:
    """`axis, regime, source_task, source_language, index, n_pairs`: the index of every source that has one."""
    rows = transfer_rows(transfer)
    records = []
    for axis, column in AXES.items():
        averaged = rows.group_by(column, *SOURCE, *TARGET, "regime").agg(pl.col("delta").mean().round(9))
        for regime, recipient in RECIPIENT.items():
            part = averaged.filter(pl.col("regime") == regime, pl.col(column).is_not_null())
            for (task, language), group in sorted(part.partition_by(SOURCE, as_dict=True).items()):
                mean, pairs = _index(group, column, recipient)
                if pairs:
                    records.append((axis, regime, task, language, mean, pairs))
    columns = ["axis", "regime", *SOURCE, "index", "n_pairs"]
    need(bool(records), "no source has two models with three recipients in common")
    return pl.DataFrame(records, schema=columns, orient="row")


def _index(group: pl.DataFrame, column: str, recipient: list[str]) -> tuple[float, int]:
    name = cell(*recipient) if len(recipient) == 2 else pl.col(recipient[0])
    wide = group.with_columns(name.alias("recipient"), pl.col(column).cast(pl.String)).pivot(
        on=column, index="recipient", values="delta", aggregate_function="mean"
    )
    values = wide.drop("recipient").to_numpy().astype(float)
    if values.shape[1] < 2:
        return float("nan"), 0
    taus = tau_b(values)[np.triu_indices(values.shape[1], 1)]
    taus = taus[np.isfinite(taus)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(taus.mean()) if len(taus) else float("nan"), len(taus)


def consistency(transfer: pl.DataFrame, grids: Sequence[ModelGrid] = ()) -> pl.DataFrame:
    """`axis, regime, median, q1, q3, n_sources, ceiling`: the spread of the index over sources."""
    found = indices(transfer)
    ceilings = noise_ceilings(transfer, grids) if grids else {}
    rows = []
    for axis in AXES:
        for regime in RECIPIENT:
            values = found.filter(pl.col("axis") == axis, pl.col("regime") == regime)["index"].to_list()
            if values:
                quartiles = (quantile(values, q) for q in (0.5, 0.25, 0.75))
                rows.append((axis, regime, *quartiles, len(values), ceilings.get((axis, regime))))
    names = ["axis", "regime", "median", "q1", "q3", "n_sources"]
    return pl.DataFrame(rows, schema=[*names, ("ceiling", pl.Float64)], orient="row")


def noise_ceilings(transfer: pl.DataFrame, grids: Sequence[ModelGrid]) -> dict[tuple[str, str], float]:
    """The ceiling of every axis and regime that has two groups of models whose Δ vary."""
    whole = twice(grids)
    of_model = transfer.unique("model")
    found = {}
    for axis, column in AXES.items():
        group = dict(of_model.select("model", pl.col(column).cast(pl.String).alias("group")).iter_rows())
        names = sorted({group[model] for model in whole.models if group.get(model) is not None})
        for regime in RECIPIENT:
            part = whole.only(regime)
            known = [_reliability(part, [group.get(model) == name for model in part.models]) for name in names]
            pairs = [tau_ceiling(a, b) for a, b in combinations([r for r in known if np.isfinite(r)], 2)]
            if pairs:
                found[axis, regime] = float(np.mean(pairs))
    return found


def _reliability(part: Twice, mine: Sequence[bool]) -> float:
    """Of the Δ of a group of models, averaged over them first; seeds are told apart where it is one model."""
    data, printed = part.data, part.printed[np.array(mine)]
    one, two = (half[:, np.array(mine)] for half in (data.one, data.two))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        if len(printed) == 1:
            return reliability(Doubles(one, two, data.seeds), printed[0])
        means = [np.nanmean(half, axis=(1, 3))[:, None, :, None] for half in (one, two)]
        return reliability(Doubles(means[0], means[1], seeds=False), np.nanmean(printed, axis=0))


TABLES = (
    Table[Study](
        "consistency",
        "Does a source order its targets alike in every model",
        "transfer rows",
        {
            "axis": "what is compared: model, family or size",
            "regime": "MT-CL, CT-ML or CT-CL",
            "median": "median over sources of the Consistency Index (mean Kendall τ-b of pairs), −1 to 1",
            "q1": "lower quartile",
            "q3": "upper quartile",
            "n_sources": "sources that have an index",
            "ceiling": "mean to expect of models that agree perfectly, given the noise of items and seeds, a little "
            "too low where it is large; of few recipients, which have few orders, a median may lie above it; null "
            "where items are not known",
        },
        lambda study: consistency(study.singles.transfer, study.singles.grids),
    ),
)
