"""Which lambda a composition is reported with: the best on items that are there for that, and never on test items.

Whose items these are is said in `study.choosing`. Of lambdas that do alike, the one nearest to 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from analysis.frames import TARGET
from analysis.reading.study import Study
from analysis.statistics.graded import size_of
from study.cells import Cell
from study.choosing import Free, Where, free_of, places

ALIKE = 1e-9
SCHEMA = {
    "model": pl.String,
    "name": pl.String,
    **dict.fromkeys(TARGET, pl.String),
    "strength": pl.Float64,
    "validation": pl.Float64,
    "chosen": pl.Boolean,
}


def choices(study: Study) -> pl.DataFrame:
    """`model, name, target…, strength, validation, chosen` of every composition whose lambda is chosen, and target.

    Held-out scores of a metric that is a proportion are in points, as its Δ are.
    """
    found = study.compositions
    if found is None or not found.held_out.height:
        return pl.DataFrame(schema=SCHEMA)
    held_out = found.held_out
    sizes = {metric: size_of(str(metric), part["delta"].to_list()) for (metric,), part in held_out.group_by("metric")}
    size = pl.col("metric").replace_strict(sizes, return_dtype=pl.Float64)
    held_out = held_out.with_columns(pl.col("delta") * size)
    targets = study.units.select("model", *TARGET).unique().sort("model", *TARGET)
    rows = []
    for (model,), named in found.named.filter(pl.col("protocol").is_not_null()).group_by("model", maintain_order=True):
        free = free_of(named.to_dicts())
        told = _told(held_out.filter(pl.col("model") == model), named)
        for target in targets.filter(pl.col("model") == model).select(TARGET).iter_rows():
            for one in free:
                scored = _means(one, [told.get(place, {}) for place in places(one, Cell(*target), free, told)])
                best = chosen(scored)
                rows += [(model, one.name, *target, at, scored.get(at), at == best) for at in one.strengths]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def chosen(scored: Mapping[float, float]) -> float | None:
    """The lambda of the highest mean, the one nearest to 0 of those that do alike; None where nothing tells."""
    if not scored:
        return None
    most = max(scored.values())
    return min((one for one, value in scored.items() if value >= most - ALIKE), key=lambda one: (abs(one), one))


def _means(one: Free, told: Sequence[Mapping[float, float]]) -> dict[float, float]:
    """The mean of each lambda over the places where all were tried."""
    whole = [place for place in told if set(one.strengths) <= place.keys()]
    return {at: float(np.mean([place[at] for place in whole])) for at in one.strengths} if whole else {}


def _told(held_out: pl.DataFrame, named: pl.DataFrame) -> dict[Where, dict[float, float]]:
    """What every lambda of a composition gains on the held-out items of a cell, over seeds."""
    rows = held_out.join(named.select("adapter_id", "name", "strength"), on="adapter_id")
    means = rows.group_by("name", *TARGET, "strength").agg(pl.col("delta").mean()).sort("name", *TARGET, "strength")
    found: dict[Where, dict[float, float]] = {}
    for name, task, language, strength, delta in means.iter_rows():
        found.setdefault((name, Cell(task, language)), {})[strength] = delta
    return found
