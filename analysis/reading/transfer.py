"""The transfer table: one row per (model, source, target), after seeds are averaged.

Per seed Δ = 100 × (score(adapter) − score(base)) percentage points, on the same items; over seeds the mean, the
sample standard deviation (n − 1) and the standard error sd/√n. A missing seed lowers n_seeds, it never becomes 0;
with one seed sd and se are null. The base has one score per target, so its sd is null too: unknown, not zero.
`delta` is that of `score_norm`, the headline metric.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import polars as pl

from analysis.frames import CELL_WORDS, KEYS, MODEL_WORDS, SOURCE, TARGET
from study.cells import Cell, Change, Regime, Source, regime, regime_of
from study.store.records import AdapterRecord

MEASURES = {
    "score": "score, proportion",
    "score_base": "score of the base, proportion",
    "score_norm": "length-normalised score, proportion",
    "score_norm_base": "the same of the base, proportion",
    "delta_score": "100 × (score − base), pp",
    "delta_score_norm": "100 × (normalised score − base), pp",
}
_OVER_SEEDS = {"mean": "mean over seeds", "std": "sample standard deviation over seeds"}
STATISTICS = {f"{m}_{s}": f"{words}: {kind}" for m, words in MEASURES.items() for s, kind in _OVER_SEEDS.items()}
ERRORS = {f"{m}_se": f"{words}: standard error over seeds" for m, words in MEASURES.items()}
COLUMNS = {
    **MODEL_WORDS,
    "model_size": "billions of parameters",
    "model_family": "model family",
    **CELL_WORDS,
    "delta": "headline Δ: 100 × (score_norm − base score_norm), pp, mean over seeds",
    "delta_sd": "its sample standard deviation over seeds, pp; null with one seed",
    "delta_se": "its standard error over seeds, pp; null with one seed",
    "n_seeds": "seeds averaged",
    "n_items": "items that adapter and base share, the smallest over seeds",
    **STATISTICS,
    **ERRORS,
}  # of the transfer table, in their order
Joint = dict[tuple[str, str], tuple[Cell, ...]]  # task and language of a stage or a source of several cells: these


def joint_sources(records: Iterable[AdapterRecord], adapters: Collection[str]) -> Joint:
    """The cells of every stage, with those before it, and source of several that these adapters are of, by its names.

    Names do not tell which task is in which language.
    """
    found: Joint = {}
    for record in records:
        if record.adapter_id in adapters and (len(record.source) > 1 or record.stage):
            source = learned_from(record)
            found[source.task, source.language] = cells_learned(record)
    return found


def cells_learned(record: AdapterRecord) -> tuple[Cell, ...]:
    """The cells that an adapter was trained on, of a stage with those before it, in the order of training."""
    before = record.stage.before if record.stage else ()
    return tuple(dict.fromkeys(map(_cell, (*before, *record.source))))


def learned_from(record: AdapterRecord) -> Source:
    """What an adapter was trained on; of what a stage begins with its name alone is known."""
    cells = tuple(map(_cell, record.source))
    if record.stage is None:
        return Source(cells)
    sized = zip(cells, record.source, strict=True)
    shots = tuple((cell, int(name.partition("@")[2])) for cell, name in sized if "@" in name)
    change = Change(shots=shots) if shots else None
    return Source(cells, name=record.stage.name, start=record.stage.start, change=change)


def _cell(name: str) -> Cell:
    """The cell that a source has learned from, or some examples of."""
    return Cell.parse(name.partition("@")[0])


def regime_in(joint: Joint, source: tuple[str, str], target: Cell) -> Regime:
    """How a target relates to a source, by its cells where these are known."""
    cells = joint.get(source)
    return regime_of(cells, target) if cells else regime(*source, target.task, target.language)


def with_regime(frame: pl.DataFrame, joint: Joint | None = None) -> pl.DataFrame:
    """Add `regime` from the source's and the target's cell."""
    pairs = frame.select(SOURCE + TARGET).unique()
    names = [regime_in(joint or {}, row[:2], Cell(*row[2:])) for row in pairs.iter_rows()]
    named = pairs.with_columns(pl.Series("regime", names, dtype=pl.String))
    return frame.join(named, on=SOURCE + TARGET, how="left", nulls_equal=True, maintain_order="left")


def transfer(units: pl.DataFrame, joint: Joint | None = None) -> pl.DataFrame:
    """Average seeds: per-seed rows (`Study.units`) to the transfer table, sorted by its keys."""
    seeds = units.filter(pl.col("score").is_not_null()).with_columns(
        pl.col("base_score").alias("score_base"),
        pl.col("base_score_norm").alias("score_norm_base"),
        (100 * (pl.col("score") - pl.col("base_score"))).alias("delta_score"),
        (100 * (pl.col("score_norm") - pl.col("base_score_norm"))).alias("delta_score_norm"),
    )
    base = ["score_base", "score_norm_base"]
    table = seeds.group_by(["model", "model_size", "model_family", *SOURCE, *TARGET]).agg(
        *(pl.col(m).mean().round(9 if "delta" in m else 12).alias(f"{m}_mean") for m in MEASURES),
        *(pl.col(m).std().alias(f"{m}_std") for m in MEASURES if m not in base),
        *(pl.lit(None, pl.Float64).alias(f"{m}_std") for m in base),
        pl.len().cast(pl.Int64).alias("n_seeds"),
        pl.col("n_items").min(),
    )
    table = table.with_columns((pl.col(f"{m}_std") / pl.col("n_seeds").sqrt()).alias(f"{m}_se") for m in MEASURES)
    return finish(table, joint)


def finish(table: pl.DataFrame, joint: Joint | None = None) -> pl.DataFrame:
    """Add regime and the headline columns, order columns and rows."""
    table = with_regime(table, joint).with_columns(
        pl.col("delta_score_norm_mean").alias("delta"),
        pl.col("delta_score_norm_std").alias("delta_sd"),
        pl.col("delta_score_norm_se").alias("delta_se"),
    )
    return table.select(*COLUMNS).sort(KEYS)
