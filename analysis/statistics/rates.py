"""Beside every harm rate: what noise alone would print, and how much true harm there is at least.

`harm_floor` is the rate that items and seeds would print if every Δ were 0; `harm_least` a lower 95 % bound on the
share of the rows that are truly at or below −1 pp (`analysis/inference/rates.py`). Both are null where items are not
known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.frames import KEYS
from analysis.inference.items import Floats, Singles
from analysis.inference.rates import bounding, lower_bound
from analysis.reading.grids import ModelGrid


@dataclass(frozen=True)
class Evidence:
    """Of n cells: where each stands, its chance of a harm printed by noise, its p-value, and its draws of noise."""

    places: pl.DataFrame  # n: KEYS, place
    floor: Floats  # n
    sure: Floats  # n: p of H0: Δ ≥ −1
    scores: Singles  # n × B

    def of(self, places: Sequence[int]) -> tuple[float, float]:
        """Floor and bound of some cells, %."""
        at = np.asarray(places)
        bound = lower_bound(self.sure[at], bounding(self.scores[at]))
        return 100 * float(self.floor[at].mean()), 100 * bound


def evidence(grids: Sequence[ModelGrid]) -> Evidence | None:
    """Of every cell of a study; None where items are not known."""
    if not grids:
        return None
    frames = pl.concat([one.frame().select(KEYS) for one in grids]).with_row_index("place")
    parts = [(one.floor[one.there], one.cells.sure[one.there], one.null_scores[one.there]) for one in grids]
    floor, sure, scores = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Evidence(frames, floor, sure, scores)


def beside(table: pl.DataFrame, rows: pl.DataFrame, by: list[str], known: Evidence | None) -> pl.DataFrame:
    """`table` with `harm_floor, harm_least`; `rows` of the transfer table made it, one line per value of `by`."""
    if known is None:
        return table.with_columns(pl.lit(None, pl.Float64).alias(name) for name in ("harm_floor", "harm_least"))
    placed = rows.join(known.places, on=KEYS, how="inner").group_by(by).agg("place")
    found = [known.of(places.to_list()) for places in placed["place"]]
    made = placed.select(by).with_columns(
        pl.Series("harm_floor", [floor for floor, _ in found], pl.Float64),
        pl.Series("harm_least", [least for _, least in found], pl.Float64),
    )
    return table.join(made, on=by, how="left", maintain_order="left")
