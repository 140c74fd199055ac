"""Does a source order its recipients the same way in every model? The Consistency Index (arXiv 2511.13368).

Per source and regime, a recipients × models table of Δ (recipient = language in MT-CL, task in CT-ML, cell in
CT-CL); Kendall's τ-b for every pair of models over the recipients both have, at least 3; the index of the source is
the mean τ. Three axes: models; families (Δ averaged within family first); sizes (averaged over models of the same
size). Pairs in which one side is constant have no τ and are left out.
"""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt
import polars as pl

from analysis.frames import SOURCE, TARGET, Table, cell, need, quantile, transfer_rows
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


def consistency(transfer: pl.DataFrame) -> pl.DataFrame:
    """`axis, regime, median, q1, q3, n_sources`: the spread of the index over sources."""
    found = indices(transfer)
    rows = []
    for axis in AXES:
        for regime in RECIPIENT:
            values = found.filter(pl.col("axis") == axis, pl.col("regime") == regime)["index"].to_list()
            if values:
                rows.append((axis, regime, *(quantile(values, q) for q in (0.5, 0.25, 0.75)), len(values)))
    return pl.DataFrame(rows, schema=["axis", "regime", "median", "q1", "q3", "n_sources"], orient="row")


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
        },
        lambda study: consistency(study.transfer),
    ),
)
