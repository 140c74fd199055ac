"""Every model's cells as arrays: what its items, its seeds and two halves of its items say of each source and target.

Items of a task that have the same number are one cluster in all languages and models: they are the same question, or
its translation. So are those of a group, where the config names a column for it (`groups`). A model's matrices of items
are let go of as soon as these arrays are read off them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from analysis.frames import HARM_PP, SEED, SOURCE, TARGET
from analysis.inference.cells import Cells, cells
from analysis.inference.halves import halves, sides
from analysis.inference.items import Column, Grid, Ints, Singles, grid
from analysis.inference.rates import DRAWS, noise_floor, null_scores
from analysis.reading.panels import Panel
from analysis.reading.transfer import Joint

POINTS = 100.0  # a proportion in percentage points
Name = tuple[str, str]  # task, language


@dataclass(frozen=True)
class Clusters:
    """The clusters of one task's items, which are numbered on over tasks."""

    start: int  # number of the first
    docs: Ints  # the task's items in order
    first: Ints  # of each cluster, its first item: the item itself where none hang together

    def of(self, panel: Panel) -> Ints:
        """The cluster of each of its items, counted from 0."""
        return panel.group if panel.group is not None else np.searchsorted(self.docs, panel.docs)


@dataclass(frozen=True)
class ModelGrid:
    """One model: S sources on T targets, R adapters."""

    model: str
    sources: tuple[Name, ...]
    targets: tuple[Name, ...]
    adapter: Ints  # R: source of each adapter
    grid: Grid
    cells: Cells
    one: Singles  # B × R × T: every adapter's Δ from the first half of the items of each split
    two: Singles  # the same from the second
    joint: Joint = field(default_factory=dict)  # the cells of sources of several

    @property
    def there(self) -> npt.NDArray[np.bool_]:
        """S × T: the cells that were scored."""
        return ~np.isnan(self.grid.delta)

    @property
    def about(self) -> str:
        """What a claim about one of its cells speaks of."""
        return "the source" if self.cells.seeds.known else "this adapter"

    @cached_property
    def floor(self) -> npt.NDArray[np.float64]:
        """S × T chances that noise alone prints a harm."""
        return noise_floor(self.grid, self.cells.seeds, HARM_PP)

    @cached_property
    def null_scores(self) -> Singles:
        """S × T × B normal scores of the cells in draws of noise; items are drawn alike in every model."""
        rng = np.random.default_rng([SEED, 5])
        noise = rng.standard_normal((self.grid.n_clusters, DRAWS), np.float32)
        own = np.random.default_rng([SEED, *self.model.encode()])
        return null_scores(self.grid, self.cells.seeds, noise, own)

    def frame(self) -> pl.DataFrame:
        """`model, source…, target…, row, column` of the cells that were scored, in order."""
        row, column = np.nonzero(self.there)
        named = [(*self.sources[i], *self.targets[j]) for i, j in zip(row.tolist(), column.tolist(), strict=True)]
        frame = pl.DataFrame(named, schema=dict.fromkeys([*SOURCE, *TARGET], pl.String), orient="row")
        return frame.with_columns(
            pl.lit(self.model).alias("model"), pl.Series("row", row), pl.Series("column", column)
        ).select("model", *SOURCE, *TARGET, "row", "column")


@dataclass(frozen=True)
class Unit:
    """In what Δ is printed, and from which loss on a cell counts as harm there."""

    size: float = POINTS  # of a difference of 1
    harm: Mapping[str, float] = field(default_factory=dict)  # by task, below 0

    def at(self, panels: Sequence[Panel]) -> npt.NDArray[np.float64]:
        """The threshold of each panel's target."""
        return np.array([self.harm.get(panel.task, HARM_PP) for panel in panels])


def model_grids(
    panels: Sequence[Panel],
    units: pl.DataFrame,
    unit: Unit | None = None,
    joint: Joint | None = None,
    against: Mapping[int, int] | None = None,
) -> tuple[ModelGrid, ...]:
    """Every model that has trained adapters beside its base, by name; in percentage points unless `unit` says other.

    `against` names for each unit another that takes the base's place: then Δ is what it has more than that one.
    """
    numbers, unit = clusters(panels), unit or Unit()
    first = sides(np.repeat(np.arange(len(numbers)), [len(one.first) for one in numbers.values()]))
    found = []
    for model in sorted({panel.model for panel in panels}):
        mine = sorted((p for p in panels if p.model == model), key=lambda panel: (panel.task, panel.language))
        adapters = _adapters(mine, units)
        made = [(panel, _column(panel, adapters, numbers, unit.size, against)) for panel in mine]
        columns = [(panel, column) for panel, column in made if column is not None]
        if columns:
            found.append(replace(_model(model, columns, adapters, (first, unit)), joint=joint or {}))
    return tuple(found)


def clusters(panels: Sequence[Panel]) -> dict[str, Clusters]:
    """The clusters of every task, numbered on; two studies with the same deal them into the same halves."""
    found: dict[str, Clusters] = {}
    start = 0
    for task in sorted({panel.task for panel in panels}):
        mine = [panel for panel in panels if panel.task == task]
        docs = first = np.unique(np.concatenate([panel.docs for panel in mine]))
        grouped = [(panel.group, panel.docs) for panel in mine if panel.group is not None]
        if grouped:
            first = np.full(max(int(group.max()) for group, _ in grouped) + 1, docs.max())
            for group, numbers in grouped:
                np.minimum.at(first, group, numbers)
        found[task] = Clusters(start, docs, first)
        start += len(first)
    return found


def _adapters(panels: Sequence[Panel], units: pl.DataFrame) -> pl.DataFrame:
    """`unit, adapter, source` of a model's score units, and `source…`: adapters in order of source and seed.

    Two adapters of a source without a seed, which others trained, are two.
    """
    scored = [panel.scored for panel in panels]
    place = pl.DataFrame({"unit": np.concatenate(scored)}).unique()
    kept = units.filter(pl.col("kind") == "trained").join(place, on="unit", how="semi", maintain_order="left")
    who = pl.when(pl.col("seed").is_null()).then(pl.col("adapter_id")).alias("who")
    return kept.select(
        "unit",
        *SOURCE,
        (pl.struct(*SOURCE, "seed", who).rank("dense").cast(pl.Int64) - 1).alias("adapter"),
        (pl.struct(SOURCE).rank("dense").cast(pl.Int64) - 1).alias("source"),
    )


def _column(
    panel: Panel,
    adapters: pl.DataFrame,
    numbers: Mapping[str, Clusters],
    size: float,
    against: Mapping[int, int] | None,
) -> Column | None:
    """The panel's trained adapters beside its base, or what is in its place; None where it has none."""
    place = pl.DataFrame({"unit": panel.units, "row": np.arange(len(panel.units))})
    here = adapters.join(place, on="unit", how="inner").sort("adapter")
    if against is not None:
        other = pl.DataFrame([*against.items()], schema={"unit": pl.Int64, "other": pl.Int64}, orient="row")
        there = other.join(place.rename({"unit": "other", "row": "beside"}), on="other", how="inner")
        here = here.join(there, on="unit", how="inner").sort("adapter")
    if not here.height:
        return None
    of_task = numbers[panel.task]
    scored = panel.norm[[0, *here["row"]]]
    beside = scored[0] if against is None else panel.norm[here["beside"].to_list()]
    difference = np.asarray(size * (scored[1:] - beside), np.float32)
    task, cluster = list(numbers).index(panel.task), of_task.start + of_task.of(panel)
    graded = not bool(((scored == 0) | (scored == 1) | np.isnan(scored)).all())
    whole = size * float(np.nanmax(np.abs(scored))) if graded else size
    return Column(difference, here["adapter"].to_numpy(), cluster, task, whole, graded)


def _model(
    model: str,
    columns: Sequence[tuple[Panel, Column]],
    adapters: pl.DataFrame,
    by: tuple[npt.NDArray[np.bool_], Unit],
) -> ModelGrid:
    first, unit = by
    source = adapters.unique("adapter").sort("adapter")["source"].to_numpy()
    names = adapters.unique("source").sort("source").select(SOURCE).rows()
    whole = [column for _, column in columns]
    made = grid(whole, source, len(first))
    one, two = halves(whole, len(source), first)
    targets = tuple((panel.task, panel.language) for panel, _ in columns)
    harm = unit.at([panel for panel, _ in columns])
    return ModelGrid(model, tuple(names), targets, source, made, cells(made, harm), one, two)
