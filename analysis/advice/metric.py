"""A study as one of its metrics sees it: accuracies in points, or what items are graded by, each in its own unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import polars as pl

from analysis.frames import KEYS, TARGET, cell
from analysis.reading.grids import POINTS, ModelGrid, model_grids
from analysis.reading.panels import Panel
from analysis.reading.study import Study
from analysis.reading.transfer import Joint, with_regime
from analysis.statistics.graded import Scale, scales
from analysis.statistics.languages.distances import Distances, distances

ACCURACY = "accuracy"


@dataclass(frozen=True)
class Metric:
    """`transfer` has `model, source…, target…, regime, delta, n_seeds` and more; `harm` the tasks' losses that count.

    `size` is what a difference of 1 is printed as.
    """

    name: str
    unit: str
    size: float
    transfer: pl.DataFrame
    grids: tuple[ModelGrid, ...]
    panels: tuple[Panel, ...]
    joint: Joint
    harm: Mapping[str, float] = field(default_factory=dict)
    apart: Distances | None = None  # of the languages of its cells

    @property
    def words(self) -> str:
        """The unit, with the metric where it is no accuracy."""
        return self.unit if self.name == ACCURACY else f"{self.unit} of {self.name}".removesuffix(f" of {self.unit}")

    @property
    def targets(self) -> list[str]:
        return sorted(set(self.transfer.select(cell(*TARGET).alias("target"))["target"]))


def metrics_of(study: Study) -> list[Metric]:
    """Those by which a source of the study was scored, accuracies first."""
    found = []
    if study.transfer.height:
        found.append(Metric(ACCURACY, "pp", POINTS, study.transfer, study.grids, study.panels, study.joint))
    found += [one for scale in scales(study) if (one := _graded(study, scale)) is not None]
    return [replace(one, apart=_apart(study, one.transfer)) for one in found]


def _apart(study: Study, transfer: pl.DataFrame) -> Distances:
    languages = sorted(set(transfer["source_language"]) | set(transfer["target_language"]))
    return distances(study, languages, sorted(set(transfer["model"])))


def _graded(study: Study, scale: Scale) -> Metric | None:
    grids = model_grids(scale.panels, study.units, scale.measure, study.joint)
    if not grids:
        return None
    rows = []
    for one in grids:
        more = {"delta": one.grid.delta, "n_seeds": one.grid.n_seeds}
        values = (pl.Series(name, table[one.there]) for name, table in more.items())
        rows.append(one.frame().select(KEYS).with_columns(*values))
    table = with_regime(pl.concat(rows), study.joint).with_columns(pl.col("delta").round(9))
    return Metric(
        scale.metric, scale.unit, scale.measure.size, table, grids, scale.panels, study.joint, scale.measure.harm
    )
