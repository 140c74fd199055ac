"""Is a test set's translation the same test? Every adapter on both, item by item beside its original.

A row is a source on a target that the config calls a translation (`tasks[].translation_of`). Of each seed and item it
counts what the adapter changed on the translation less what it changed on the original: Δ of one less Δ of the other,
on the items that both have. All rules of one cell hold for it (`analysis/inference`): items are clusters, what seeds
add is that of the differences, Student's t. q-values are counted over all rows of a model and a metric, side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import polars as pl

from analysis.frames import MODEL_WORDS, SOURCE, TARGET, TARGET_WORDS, Table, need
from analysis.inference.claims import LEVEL, q_values
from analysis.reading.grids import ModelGrid, model_grids
from analysis.reading.panels import Panel
from analysis.reading.study import Study
from analysis.reading.translations import KIND, original_of, originals
from analysis.statistics.combinations.reported import all_scales
from analysis.statistics.graded import Scale
from study.cells import Cell

SIDES = ("worse", "better")


def translated_tests(study: Study) -> pl.DataFrame:
    """A row per source and translated target of a metric; NotComputable where there is none."""
    known = originals(study.config)
    need(bool(known), "no task is a translation of another: `translation_of` in the config says which is")
    tables = [table for scale in all_scales(study) for table in _scale(study, scale, known)]
    need(bool(tables), "no adapter has items with values of one metric on a translated target and on its original")
    sides = [
        pl.col(f"p_{side}").map_batches(_q_values, return_dtype=pl.Float64).over("metric", "model").alias(f"q_{side}")
        for side in SIDES
    ]
    table = pl.concat(tables).with_columns(sides)
    called = [(pl.col(f"q_{side}") <= LEVEL).alias(side) for side in SIDES]
    return table.with_columns(called).select(*COLUMNS).sort("metric", "model", *SOURCE, *TARGET)


def _q_values(p: pl.Series) -> pl.Series:
    return pl.Series(q_values(p.to_numpy()))


def _scale(study: Study, scale: Scale, known: Mapping[str, str]) -> Iterator[pl.DataFrame]:
    at = {(panel.model, Cell(panel.task, panel.language)): panel for panel in scale.panels}
    trained = study.units.filter(pl.col("kind").is_in(["trained", KIND]))
    adapters = dict(trained.select("unit", "adapter_id").iter_rows())
    pairs = [
        _paired(panel, other, adapters)
        for (model, cell), panel in at.items()
        if (other := at.get((model, original_of(cell, known) or cell))) not in (None, panel)
    ]
    if not pairs:
        return
    kind = pl.when(pl.col("kind") == KIND).then(pl.lit("trained")).otherwise("kind").alias("kind")
    units = study.units.with_columns(kind)
    sides = zip(*(model_grids(some, units, scale.measure) for some in zip(*pairs, strict=True)), strict=True)
    bases = {(one.model, one.task, one.language): (one, other) for _, one, other in pairs}
    for difference, one, other in sides:
        of = [str(original_of(Cell(*target), known)) for target in _targets(difference)]
        yield _rows(difference, (one, other), bases, scale).with_columns(pl.Series("original", of, pl.String))


def _targets(one: ModelGrid) -> Iterator[tuple[str, str]]:
    yield from one.frame().select(TARGET).iter_rows()


def _paired(panel: Panel, other: Panel, adapters: Mapping[int, str]) -> tuple[Panel, Panel, Panel]:
    """A target and its original as panels of the same units and items: what differs more on it, itself, the original.

    Each is of the adapters that both have, on the items that both bases have; what one side lacks neither has.
    """
    places = {adapters[unit]: row for row, unit in enumerate(other.units.tolist()) if unit in adapters}
    mine = [row for row, unit in enumerate(panel.units.tolist()) if adapters.get(unit) in places]
    theirs = [places[adapters[int(panel.units[row])]] for row in mine]
    docs, here, there = np.intersect1d(panel.docs, other.docs, return_indices=True)
    one = panel.norm[[0, *mine]][:, here]
    two = other.norm[[0, *theirs]][:, there]
    one, two = np.where(np.isnan(two), np.nan, one), np.where(np.isnan(one), np.nan, two)
    group = None if panel.group is None else panel.group[here]
    whole = replace(panel, units=panel.units[[0, *mine]], docs=docs, group=group)
    return (
        replace(whole, norm=(one - one[0]) - (two - two[0])),
        replace(whole, norm=one),
        replace(whole, norm=two),
    )


def _rows(
    one: ModelGrid,
    sides: tuple[ModelGrid, ModelGrid],
    bases: Mapping[tuple[str, str, str], tuple[Panel, Panel]],
    scale: Scale,
) -> pl.DataFrame:
    there, size = one.there, scale.measure.size
    asked = [bases[one.model, *target] for target in _targets(one)]
    found = {
        "base": [size * float(np.nanmean(panel.norm[0], dtype=np.float64)) for panel, _ in asked],
        "base_original": [size * float(np.nanmean(panel.norm[0], dtype=np.float64)) for _, panel in asked],
        **{name: side.grid.delta[there] for name, side in zip(("delta", "delta_original"), sides, strict=True)},
        "difference": one.grid.delta[there],
        "low": one.cells.low[there],
        "high": one.cells.high[there],
        **{f"p_{side}": getattr(one.cells, side)[there] for side in SIDES},
    }
    counts = {"n_items": one.grid.n_items[there], "n_seeds": one.grid.n_seeds[there]}
    words = {"metric": scale.metric, "unit": scale.unit, "about": one.about}
    return (
        one.frame()
        .drop("row", "column")
        .with_columns(
            *(pl.Series(name, values, pl.Float64).fill_nan(None) for name, values in found.items()),
            *(pl.Series(name, values, pl.Int64) for name, values in counts.items()),
            *(pl.lit(value).alias(name) for name, value in words.items()),
        )
    )


COLUMNS = {
    "metric": "accuracy, or the metric that items are graded by",
    "unit": "of scores, Δ and their difference",
    **MODEL_WORDS,
    "source_task": "task of the source",
    "source_language": "its language",
    **TARGET_WORDS,
    "original": "the target that this one is a translation of",
    "n_items": "items that both have",
    "n_seeds": "seeds averaged",
    "base": "what the untouched model scores on the translation",
    "base_original": "and on the original, on the same items",
    "delta": "Δ on the translation, on these items",
    "delta_original": "Δ on the original, on these items",
    "difference": "Δ on the translation less Δ on the original, item by item",
    "low": "lower end of its 95 % interval over items and seeds",
    "high": "upper end",
    "p_worse": "one-sided p-value of: the adapter does no worse on the translation",
    "q_worse": "its q-value over all rows of the model and the metric",
    "worse": f"q_worse ≤ {LEVEL}",
    "p_better": "the same of: it does no better there",
    "q_better": "its q-value",
    "better": f"q_better ≤ {LEVEL}",
    "about": "what is claimed: of the source over seeds, or of this adapter where there is one seed",
}
TABLES = (
    Table[Study](
        "translated_tests",
        "Is a translated test the same test?",
        "targets that the config calls translations of others, on the items that both have",
        COLUMNS,
        translated_tests,
        how="Each adapter on a translated test set beside the original, item by item: what it changed more there than "
        "on the original. Near 0, with an interval that is narrow enough, the translation tells what the original "
        "would. Such targets are in no other table of transfer. Of the rows called worse, or better, at most one in "
        "twenty is expected to be called so wrongly.",
    ),
)
