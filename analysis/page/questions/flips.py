"""Which items a source gained and lost: those whose mean over seeds is above the base's, or below.

They are the items that `significance` counts as gains and losses. Of each cell the first MOST of either are chosen:
those that changed most over its seeds, of equal ones those that most sources of the model changed likewise, then the
first of the target. Counts are of all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from analysis.reading.panels import Floats, Ints, Panel
from analysis.reading.study import Study
from analysis.reading.translations import KIND as TRANSLATED

MOST = 16  # of each cell's gains, and of its losses
KINDS = ("trained", TRANSLATED, "composed", "existing")
Named = tuple[str, bool]  # a source, and whether the study trained it


@dataclass(frozen=True)
class CellFlips:
    """A source on a target: how many items it gained and lost, and some of them (numbers of the panel's columns)."""

    source: str
    trained: bool  # as the study trains its sources; else put together of these, or trained elsewhere
    units: Ints  # rows of its seeds in the units frame
    n_items: int
    n_gained: int
    n_lost: int
    items: Ints
    change: npt.NDArray[np.float64]  # of each of them, in the item's own unit


@dataclass(frozen=True)
class TargetFlips:
    """A model on a target: its cells, and how many of its trained sources gained and lost each item."""

    panel: Panel
    cells: tuple[CellFlips, ...]
    gained: Ints  # N
    lost: Ints  # N


def target_flips(panel: Panel, names: Mapping[int, Named]) -> TargetFlips | None:
    """The flips of a panel; `names` has the source of each unit that counts. None where no source has an item."""
    rows: dict[Named, list[int]] = {}
    for row, unit in enumerate(panel.units.tolist()):
        if unit in names and not np.isnan(panel.norm[row]).all():
            rows.setdefault(names[unit], []).append(row)
    if not rows:
        return None
    moves = [_moves(panel.norm, some) for some in rows.values()]
    trained = [move for named, (move, _) in zip(rows, moves, strict=True) if named[1]]
    gained, lost = (_count(trained, sign, len(panel.docs)) for sign in (1, -1))
    cells = []
    for (source, some), (move, n_items) in zip(rows.items(), moves, strict=True):
        first = [_first(sign * move, common) for sign, common in ((1, gained), (-1, lost))]
        items = np.concatenate(first)
        counts = (int((move > 0).sum()), int((move < 0).sum()))
        cells.append(CellFlips(*source, panel.units[some], n_items, *counts, items, move[items]))
    return TargetFlips(panel, tuple(cells), gained, lost)


def _count(moves: Sequence[npt.NDArray[np.float64]], sign: int, n_items: int) -> Ints:
    """How many sources moved each item that way."""
    counts = np.zeros(n_items, np.int64)
    for move in moves:
        counts += sign * move > 0
    return counts


def _moves(norm: Floats, rows: Sequence[int]) -> tuple[npt.NDArray[np.float64], int]:
    """Mean over seeds of what each item is above the base's, and how many items some seed has."""
    difference = norm[list(rows)].astype(np.float64) - norm[0]
    seen = ~np.isnan(difference)
    share = np.where(seen, difference, 0.0) / seen.sum(axis=1, keepdims=True).clip(1)
    n_items = int(seen.any(axis=0).sum())
    return share.mean(axis=0) * n_items, n_items


def _first(move: npt.NDArray[np.float64], common: Ints) -> Ints:
    some = np.flatnonzero(move > 0)
    order = np.lexsort((some, -common[some], -move[some].round(6)))
    return np.asarray(some[order[:MOST]])


def sources(study: Study) -> dict[int, Named]:
    """What each unit of an adapter is called, by its row: its cell, or its own name where the study trained none."""
    named = dict(study.given)
    if study.compositions is not None:
        for row in study.compositions.named.iter_rows(named=True):
            at = "" if row["strength"] is None or row["protocol"] else f" λ {row['strength']:g}"
            named.setdefault(row["adapter_id"], f"{row['name']}{at}")
    kept = study.units.filter(pl.col("kind").is_in(KINDS))
    columns = kept.select("unit", "kind", "adapter_id", "source_task", "source_language").iter_rows()
    return {
        unit: (f"{task}/{language}", True) if kind in KINDS[:2] else (named.get(adapter_id, adapter_id), False)
        for unit, kind, adapter_id, task, language in columns
    }


def flips(study: Study) -> Iterator[tuple[tuple[str, str], list[TargetFlips]]]:
    """The models of each target whose items have values, by task and language."""
    names = sources(study)
    panels = sorted((*study.panels, *study.graded), key=lambda one: (one.task, one.language, one.model))
    of: dict[tuple[str, str], list[Panel]] = {}
    for panel in panels:
        of.setdefault((panel.task, panel.language), []).append(panel)
    for target, some in of.items():
        found = [made for panel in some if (made := target_flips(panel, names)) is not None]
        if found:
            yield target, found
