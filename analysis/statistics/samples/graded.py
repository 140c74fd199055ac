"""Learning curves of targets that are not scored by an accuracy: each metric by itself, in its own unit.

The points and steps are those of `curves`, of differences as `graded` has them: oriented so that more is better, in
points where the metric is a proportion by its name. q-values are counted within a metric of a model.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from analysis.frames import Table, need
from analysis.reading.grids import model_grids
from analysis.reading.study import Study
from analysis.statistics.graded import scales
from analysis.statistics.samples.curves import COLUMNS as POINTS_OF
from analysis.statistics.samples.curves import FAMILIES, by_size, family, with_examples

NONE = "no source has samples that were scored by a metric of items that is no accuracy"


def graded_curve(study: Study) -> pl.DataFrame:
    """One row per point of every curve of each metric; NotComputable where no sample was scored by one."""
    scored = [unit for panel in study.graded for unit in panel.scored.tolist()]
    units = by_size(study.units, pl.col("unit").is_in(scored)) if scored else pl.DataFrame()
    need(units.height > 0, NONE)
    found = []
    for scale in scales(study):
        largest = max(float(np.nanmax(np.abs(panel.norm))) for panel in scale.panels)
        for one in model_grids(scale.panels, units, scale.measure):
            for name in FAMILIES:
                table = family(one, name, scale.measure.size * largest)
                found.append(table.with_columns(pl.lit(scale.metric).alias("metric"), pl.lit(scale.unit).alias("unit")))
    need(bool(found), NONE)
    return with_examples(pl.concat(found), study, units).select(*COLUMNS)


COLUMNS = {
    "metric": "the metric, oriented so that more is better",
    "unit": "of all differences: points (100 × a metric that is a proportion by its name), or the metric itself",
    **{name: words.replace(", pp", "") for name, words in POINTS_OF.items()},
    "mean": "mean difference from the base over its cells",
}
TABLES = (
    Table[Study](
        "graded_curve",
        "What more examples bring, by other metrics",
        "items of targets without an accuracy, of samples and of the sources that they are drawn from",
        COLUMNS,
        graded_curve,
    ),
)
