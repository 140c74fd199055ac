"""Which lambda a composition is reported with: the best on items that are there for that, and never on test items.

Protocols differ in whose items: those of the parts' own cells (`source`), of the same task in all languages of `for`
but the target's (`other_languages`), or of the target itself (`target`, which is few-shot). In another language it is
that language's own expansion that tells: what German text adds to German says how much French text may add to French. A
combination that is for no language tells by itself. Of lambdas that do alike, the one nearest to 0.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.frames import TARGET
from analysis.reading.study import Study
from analysis.statistics.graded import size_of
from study.cells import Cell

ALIKE = 1e-9
SCHEMA = {
    "model": pl.String,
    "name": pl.String,
    **dict.fromkeys(TARGET, pl.String),
    "strength": pl.Float64,
    "validation": pl.Float64,
    "chosen": pl.Boolean,
}
Where = tuple[str, Cell]  # the name of a composition, and a cell with items held out


@dataclass(frozen=True)
class Free:
    """A composition of which lambda is to be chosen."""

    name: str
    protocol: str
    language: str | None
    strengths: tuple[float, ...]
    cells: tuple[Cell, ...]  # of its parts

    @property
    def family(self) -> str:
        """What its expansions for other languages share: its name, and its task where it is for one."""
        return self.name.removesuffix(f"{self.language}]")


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
        free = _free(named)
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


def places(one: Free, target: Cell, free: Sequence[Free], told: Collection[Where]) -> list[Where]:
    """Whose items of which cells choose the lambda of a composition for a target; `told` is where there are any."""
    if one.protocol == "source":
        return [(one.name, cell) for cell in one.cells if (one.name, cell) in told]
    if one.protocol == "target":
        return [(one.name, target)]
    if one.language is None:
        mine = [cell for name, cell in told if name == one.name]
        return [(one.name, cell) for cell in mine if cell.task == target.task and cell.language != target.language]
    siblings = [other for other in free if other.family == one.family and other.language not in (None, target.language)]
    return [(other.name, Cell(target.task, str(other.language))) for other in siblings]


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


def _free(named: pl.DataFrame) -> list[Free]:
    found = []
    for (name,), rows in named.group_by("name", maintain_order=True):
        first = rows.row(0, named=True)
        terms = [term for one in rows["terms"] for term in one]
        strengths = tuple(sorted(rows["strength"].drop_nulls().unique()))
        found.append(Free(str(name), first["protocol"], first["language"], strengths, cells_of(terms)))
    return found


def cells_of(terms: Sequence[Mapping[str, object]]) -> tuple[Cell, ...]:
    """The cells that the parts of a composition were trained on, as far as these are known."""
    plain = (str(term["source"]).partition("@")[0] for term in terms)  # of a stage without its name
    texts = [text for source in plain for text in source.split("+") if "/" in text]
    return tuple(dict.fromkeys(Cell.parse(text) for text in texts))
