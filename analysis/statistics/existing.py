"""Adapters that were trained elsewhere, one by one: they are no seeds of the study's own sources.

Those without a source cell, and those of a source that the study trains itself; an adapter of a source that nobody else
trained is in the transfer table. Δ and intervals are made as those of a source with one seed.
"""

from __future__ import annotations

import polars as pl

from analysis.frames import MODEL_WORDS, SOURCE, TARGET, TARGET_WORDS, Table, need
from analysis.reading.grids import model_grids
from analysis.reading.study import Study
from analysis.statistics.combinations.reported import all_scales, beside_sources, told_cells, within


def existing(study: Study) -> pl.DataFrame:
    """One row per adapter and target; NotComputable where the study has none."""
    rows = study.units.filter(pl.col("kind") == "existing") if study.units.width else study.units
    need(rows.height > 0, "every adapter is of a source of this study, or alone with its source")
    known = rows.select(pl.col("adapter_id"), *(pl.col(name).alias(f"own_{name}") for name in SOURCE)).unique()
    tables = []
    for scale in all_scales(study):
        if within(rows, scale.panels).height:
            made = model_grids(scale.panels, beside_sources(study, rows.clear()), scale.measure)
            told = pl.concat([told_cells(one, scale) for one in made]).rename({"source_task": "adapter_id"})
            of = pl.lit(scale.metric).alias("metric"), pl.lit(scale.unit).alias("unit")
            tables.append(told.join(known, on="adapter_id", how="inner").with_columns(of))
    need(bool(tables), "no adapter that was trained elsewhere was scored on a target that its base was scored on")
    names = pl.col("adapter_id").replace(dict(study.given)).alias("adapter")
    cell = pl.concat_str("own_source_task", "own_source_language", separator="/").alias("source")
    return pl.concat(tables).with_columns(names, cell).select(*COLUMNS).sort("model", "adapter", *TARGET)


COLUMNS = {
    **MODEL_WORDS,
    "adapter": "name of the adapter, or its id where the config names it no more",
    "source": "the cell that the config says it was trained on; null where it says none",
    **TARGET_WORDS,
    "metric": "accuracy, or the metric that items are graded by",
    "unit": "of Δ",
    "delta": "Δ against the base",
    "low": "lower end of its 95 % interval over items",
    "high": "upper end",
    "harmed": "whether it shows a loss that counts as harm",
    "n_items": "items that adapter and base share",
}
TABLES = (
    Table[Study](
        "existing",
        "Adapters that were trained elsewhere",
        "items of adapters without a source, or beside others of it",
        COLUMNS,
        existing,
    ),
)
