"""A study that was drawn, and what the report makes of its cells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.frames import HARM_PP
from analysis.inference.cells import Cells, cells
from analysis.inference.items import Floats, Grid, Ints, grid
from bench.calibration.worlds import Study, World, kept


@dataclass(frozen=True)
class Seen:
    """A study and what the report makes of its cells, model by model."""

    study: Study
    grids: list[Grid]
    cells: list[Cells]

    def truth(self, model: int) -> Floats:
        """What the cells claim to know: the source's Δ, or with one seed everywhere this adapter's."""
        known = self.cells[model].seeds.known
        return np.asarray((self.study.of_source if known else self.study.of_adapter)[model])


def analyse(study: Study) -> Seen:
    """Grids and cells of every model."""
    n = sum(study.world.clusters)
    grids = [grid(columns, source, n) for columns, source in zip(study.columns, study.source, strict=True)]
    return Seen(study, grids, [cells(one, HARM_PP) for one in grids])


@dataclass(frozen=True)
class Positions:
    """Task and language, as numbers, of the sources and of the targets of a study: 2 × S and 2 × T."""

    source: Ints
    target: Ints


def positions(world: World) -> Positions:
    sources, targets = kept(world)
    cells = np.array([[int(name[1:]) for name in cell] for cell in world.cells]).T
    return Positions(cells[:, sources], cells[:, targets])
