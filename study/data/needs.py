"""What cells need beside the config: manifests, sets on the Hub, addresses that data come from. No data are loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from study.cells import Cell
from study.config import TrainOverride
from study.data.manifest import not_there
from study.data.sets import far
from study.errors import ConfigError
from study.models.hub import Repository

Train = Callable[[Cell], TrainOverride[str]]


def missing_manifests(train: Train, cells: Iterable[Cell]) -> list[ConfigError]:
    """List the manifests that are not there, each once."""
    named = {train(one).manifest: f"tasks[{one.task}].train.manifest" for one in _and_like(train, cells)}
    return [missing for manifest, key in named.items() if (missing := not_there(manifest, key)) is not None]


def far_away(
    train: Train, definitions: Callable[[Sequence[Cell]], list[list[dict[str, object]]]], cells: Sequence[Cell]
) -> tuple[list[Repository], list[str]]:
    """List the sets on the Hub and the addresses that the cells' data come from. Raises ConfigError."""
    asked = _and_like(train, cells)
    read = zip(definitions(asked), map(train, asked), strict=True)
    return far([(one, own) for each, own in read for one in each])


def _and_like(train: Train, cells: Iterable[Cell]) -> list[Cell]:
    """Cells, and those whose rows they have."""
    asked = list(cells)
    like = [Cell(cell.task, other) for cell in asked if (other := train(cell).rows_of)]
    return list(dict.fromkeys([*asked, *like]))
