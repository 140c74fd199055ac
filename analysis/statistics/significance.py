"""Which changes are more than chance? Paired tests and intervals per (model, source, target), from item rows.

McNemar's exact test on items that adapter and base answer differently, pooled over seeds: under no effect gains and
losses are equally likely, p = min(1, 2·P(X ≤ min(b, c))), X ~ Binomial(b + c, ½) (McNemar 1947; for scores between 0
and 1 a gain is any item scored higher: the sign test). Seeds of one source share items and much of their training, so
pooled p-values err on the bold side; the interval does not rest on that. A paired bootstrap interval of Δ: 10,000
draws of items, seeds drawn within, 2.5th to 97.5th percentile. q-values by Benjamini and Hochberg (1995) over all rows
of a model.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from analysis.frames import CELL_WORDS, HARM, KEYS, MODEL_WORDS, SEED, Table, harmed, need
from analysis.reading.panels import Panel
from analysis.reading.study import Study
from analysis.reading.transfer import with_regime
from analysis.statistics.resample import (
    ItemDraws,
    Rows,
    by_source,
    interval,
    seed_weights,
    tasks_together,
    trained_rows,
)

Array = npt.NDArray[np.float64]
DRAWS = 10_000
SIGNIFICANT = 0.05


def mcnemar(gains: npt.NDArray[np.int64], losses: npt.NDArray[np.int64]) -> Array:
    """Two-sided exact p-values; 1 where nothing changed."""
    from scipy.stats import binom

    n = gains + losses
    return np.asarray(np.minimum(1.0, 2 * binom.cdf(np.minimum(gains, losses), n, 0.5)))


def benjamini_hochberg(p: Array) -> Array:
    """q-values: the smallest false discovery rate at which each p would be called (step-up, monotone)."""
    order = np.argsort(p)
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    q = np.empty(len(p))
    q[order] = np.minimum(1.0, np.minimum.accumulate(scaled[::-1])[::-1])
    return q


def significance(panels: Sequence[Panel], units: pl.DataFrame, draws: int = DRAWS, seed: int = SEED) -> pl.DataFrame:
    """`model, source…, target…, regime, delta, low, high, gains, losses, p_value, q_value, harmed, n_items, n_seeds`.

    `harmed` is Δ ≤ −1.0 pp with q ≤ 0.05. NotComputable without item rows.
    """
    need(bool(panels), "it needs item rows, and there are none")
    items = ItemDraws(draws, seed)
    tables = []
    for panel in tasks_together(panels):
        rows = trained_rows(panel, units)
        if rows is not None:
            tables.append(_panel(panel, rows, items.weights(panel.task, len(panel.docs)), seed))
    need(bool(tables), "no adapter with a source cell has been scored beside the base")
    table = with_regime(pl.concat(tables))
    q = pl.col("p_value").map_batches(lambda p: pl.Series(benjamini_hochberg(p.to_numpy())), return_dtype=pl.Float64)
    table = table.with_columns(q.over("model").alias("q_value"))
    sure = harmed() & (pl.col("q_value") <= SIGNIFICANT)
    measured = ["delta", "low", "high", "gains", "losses", "p_value", "q_value", "harmed", "n_items", "n_seeds"]
    return table.with_columns(sure.alias("harmed")).select(*KEYS, "regime", *measured).sort(KEYS)


def _panel(panel: Panel, rows: Rows, weights: npt.NDArray[np.float32], seed: int) -> pl.DataFrame:
    n_sources, starts = len(rows.sources), np.searchsorted(rows.source, np.arange(len(rows.sources)))
    drawn = rows.estimates(weights)
    if len(rows.unit) > n_sources:
        drawn *= seed_weights(rows.source, weights.shape[1], np.random.default_rng([seed, 2]), alike=True)
        drawn = by_source(drawn, rows.source, n_sources)
    low, high = interval(drawn)
    seen = ~np.isnan(rows.difference)
    n_items = seen.sum(axis=1)
    deltas = 100 * np.nansum(rows.difference, axis=1, dtype=np.float64) / n_items
    counts = np.bincount(rows.source, minlength=n_sources)
    gains = np.add.reduceat((rows.difference > 0).sum(axis=1), starts)
    losses = np.add.reduceat((rows.difference < 0).sum(axis=1), starts)
    return pl.DataFrame(
        {
            "model": [panel.model] * n_sources,
            "source_task": [task for task, _ in rows.sources],
            "source_language": [language for _, language in rows.sources],
            "target_task": [panel.task] * n_sources,
            "target_language": [panel.language] * n_sources,
            "delta": (np.add.reduceat(deltas, starts) / counts).round(9),
            "low": low,
            "high": high,
            "gains": gains,
            "losses": losses,
            "p_value": mcnemar(gains, losses),
            "n_items": np.minimum.reduceat(n_items, starts),
            "n_seeds": counts,
        }
    )


def harm_that_survives(table: pl.DataFrame) -> tuple[int, int]:
    """How many transfer rows are harmed, and how many of them with q ≤ 0.05."""
    rows = table.filter(pl.col("regime") != "MT-ML")
    return rows.filter(harmed()).height, int(rows["harmed"].sum())


TABLES = (
    Table[Study](
        "significance",
        "Which changes are more than chance",
        "all rows, from their items",
        {
            **MODEL_WORDS,
            **CELL_WORDS,
            "delta": "headline Δ, pp",
            "low": f"2.5th percentile of Δ over {DRAWS:,} draws of items and seeds, pp",
            "high": "97.5th percentile, pp",
            "gains": "items that the adapter gets right and the base does not, over all seeds",
            "losses": "items that the base gets right and the adapter does not, over all seeds",
            "p_value": "McNemar's exact test, two-sided",
            "q_value": "Benjamini–Hochberg q-value over all rows of the model",
            "harmed": f"{HARM} and q ≤ {SIGNIFICANT}",
            "n_items": "items that adapter and base share, the smallest over seeds",
            "n_seeds": "seeds pooled",
        },
        lambda study: significance(study.panels, study.units),
    ),
)
