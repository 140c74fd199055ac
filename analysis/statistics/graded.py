"""Targets that are not scored by an accuracy: ROUGE, F1, bits per byte, each in its own unit.

The claims are those of `significance`, of differences oriented so that more is better, metric by metric: units do not
mix, so seeds are pooled and q-values are counted within a metric of a model. A metric that is a proportion by its name
is printed in points (times 100), any other as it is. Harm is a loss of at least the task's `harm` in the config, in the
metric's own unit; where the config says nothing, of a point, or of a hundredth of the mean size of the base's items.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.frames import CELL_WORDS, KEYS, MODEL_WORDS, Table, need
from analysis.reading.grids import POINTS, Unit, model_grids
from analysis.reading.panels import Panel
from analysis.reading.study import Study
from analysis.statistics.significance import COLUMNS as CLAIMED
from analysis.statistics.significance import significance
from study.store.study_file import entries

# a metric with one of these words in its name is a proportion; that of any other is its own
PROPORTIONS = {
    *("acc", "accuracy", "contains", "em", "exact", "f1", "mc1", "mc2", "mcc", "pass@1", "script"),
    *("rouge1", "rouge2", "rougel", "rougelsum"),
}
LEAST = 0.01  # harm where the config says nothing: of a proportion, or of the base's mean size


def graded(study: Study) -> pl.DataFrame:
    """One row per cell of each metric; NotComputable where every task has an accuracy."""
    need(bool(study.graded), "every task is scored by an accuracy")
    return pl.concat([_metric(study, scale) for scale in scales(study)]).sort("metric", *KEYS)


@dataclass(frozen=True)
class Scale:
    """Targets whose Δ are of one metric, in one unit."""

    metric: str
    unit: str
    panels: tuple[Panel, ...]
    measure: Unit


def scales(study: Study) -> Iterator[Scale]:
    """The metrics that items are graded by."""
    stated = stated_harm(study.config)
    for metric in sorted({panel.metric for panel in study.graded}):
        panels = tuple(panel for panel in study.graded if panel.metric == metric)
        size = size_of(metric, [value for panel in panels for value in _values(panel, study.units)])
        harm = {task: -size * stated.get(task, _default(panels, task, size)) for task in {p.task for p in panels}}
        yield Scale(metric, "points" if size == POINTS else metric, panels, Unit(size, harm))


def _metric(study: Study, scale: Scale) -> pl.DataFrame:
    made = model_grids(scale.panels, study.units, scale.measure, study.joint)
    need(bool(made), f"no adapter with a source cell has been scored by {scale.metric}")
    table = significance(made, scale.panels)
    return table.with_columns(
        pl.lit(scale.metric).alias("metric"),
        pl.lit(scale.unit).alias("unit"),
        (-pl.col("target_task").replace_strict(dict(scale.measure.harm), return_dtype=pl.Float64)).alias("harm"),
    ).select(*COLUMNS)


def size_of(metric: str, values: Sequence[float]) -> float:
    """What a difference of 1 is printed as: the name decides, unless a unit's value is none of a proportion.

    A single item may lie above 1 (a bonus, a rounding): its unit's mean does not, and no unit of print changes.
    """
    named = PROPORTIONS.intersection(metric.partition(",")[0].lower().split("_"))
    return POINTS if named and all(abs(value) <= 1 for value in values) else 1.0


def _values(panel: Panel, units: pl.DataFrame) -> list[float]:
    """Of each unit that has an item, samples and single epochs apart."""
    samples = units.filter(pl.col("kind").is_in(["sample", "epoch"]))["unit"].to_numpy()
    scored = panel.norm[~np.isnan(panel.norm).all(axis=1) & ~np.isin(panel.units, samples)]
    return [float(value) for value in np.nanmean(scored, axis=1)]


def _default(panels: Sequence[Panel], task: str, size: float) -> float:
    if size == POINTS:
        return LEAST
    return LEAST * float(np.mean([np.nanmean(np.abs(panel.norm[0])) for panel in panels if panel.task == task]))


def stated_harm(config: Mapping[str, object]) -> dict[str, float]:
    """The `harm` of each task of the config that states one."""
    stated = ((task.get("name"), task.get("harm")) for task in entries(config, "tasks"))
    return {str(name): float(str(harm)) for name, harm in stated if harm is not None}


_OWN = ("delta", "low", "high", "se", "p_harmed", "harmed", "gains", "losses")
COLUMNS = {
    "metric": "the metric, oriented so that more is better",
    "unit": "of Δ: points (100 × a metric that is a proportion by its name), or the metric itself",
    **MODEL_WORDS,
    **CELL_WORDS,
    "delta": "Δ: mean difference from the base over items and seeds, more is better",
    "low": "lower end of its 95 % interval",
    "high": "upper end",
    "se": "its standard error over items and seeds",
    "harm": "loss that counts as harm, in the same unit",
    "gains": "items that are better than under the base in the mean over seeds",
    "losses": "items that are worse",
    **{name: words for name, words in CLAIMED.items() if name.startswith(("p_", "q_")) and name not in _OWN},
    "p_harmed": "one-sided p-value of a loss smaller than that",
    "worse": CLAIMED["worse"],
    "better": CLAIMED["better"],
    "harmed": "harmed for certain: q_harmed ≤ 0.05",
    **{name: CLAIMED[name] for name in ("lowest", "about", "n_items", "n_seeds")},
}
TABLES = (
    Table[Study](
        "graded",
        "Graded metrics",
        "items of targets without an accuracy",
        COLUMNS,
        graded,
        how="Targets that are scored by ROUGE, F1, bits per byte and the like. They are in no other table, for their "
        "units do not mix. More is better: where less of a metric is, Δ has the other sign. Where nine of ten items "
        "never change, about 7 % of what is called better is not, in simulations, in place of 5 %.",
    ),
)
