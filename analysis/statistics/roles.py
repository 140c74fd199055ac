"""Who gives and who takes: donor and recipient scores of languages and of tasks.

donor(ℓ) is the mean over models of [mean Δ of that model's rows whose source has ℓ]; recipient(ℓ) the same by target.
Languages on MT-CL rows, tasks on CT-ML rows (arXiv 2511.13368), of single sources (`Study.singles`). A donor never
meets itself as a recipient, so these means compare unlike sets; the *adjusted* scores allow for whom each met
(`analysis/inference/additive.py`).

Intervals are 95 % intervals: over models by Student's t with one degree of freedom less than models, items that models
share added; with one model over its items and seeds, and nothing where items are not known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
import polars as pl

from analysis.frames import SOURCE, TARGET, Table, need, transfer_rows
from analysis.inference.additive import adjusted_weights, raw_weights
from analysis.inference.items import Floats, Ints
from analysis.inference.means import Interval, Means, alone, means, over_models, within_model
from analysis.reading.grids import ModelGrid
from analysis.reading.study import Study

REGIME_OF = {"language": "MT-CL", "task": "CT-ML"}
SIDES = {"donor": "source", "recipient": "target"}
Make = Callable[["_Table", Sequence[str]], Floats]  # weights of each name in one model
SCORES = ("donor", "donor_adjusted", "recipient", "recipient_adjusted")


@dataclass(frozen=True)
class Score:
    """One score of every name, in every model, and over them."""

    names: tuple[str, ...]
    models: tuple[Means, ...]
    weights: tuple[Floats, ...]  # per model: names × S × T
    interval: Interval
    grid: ModelGrid | None  # of the model where there is one only, and its items are known

    @property
    def value(self) -> Floats:
        """Mean over the models that have each name."""
        with np.errstate(invalid="ignore"):
            return np.asarray(
                np.nansum([one.value for one in self.models], axis=0) / np.where(self.n_models, self.n_models, np.nan)
            )

    @property
    def n_models(self) -> Ints:
        """Models that have each name."""
        return np.asarray(np.array([~np.isnan(one.value) for one in self.models]).sum(axis=0))


@dataclass(frozen=True)
class _Table:
    """One model's cells of one regime, as arrays."""

    rows: npt.NDArray[np.bool_]  # S × T
    delta: Floats  # S × T
    source: list[tuple[str, str]]
    target: list[tuple[str, str]]
    grid: ModelGrid | None


def scores(
    transfer: pl.DataFrame, grids: Sequence[ModelGrid], kind: str, group: Mapping[str, str] | None = None
) -> dict[str, Score]:
    """Every score of the languages or tasks of a study; NotComputable when there are no such rows.

    With `group`, of the groups that it puts every name into: the mean of its names' scores in each model.
    """
    rows = transfer_rows(transfer, REGIME_OF[kind])
    by_model = {one.model: one for one in grids}
    tables = [_arrays(part, by_model.get(str(model))) for (model,), part in _models(rows)]
    found = {}
    for role, end in SIDES.items():
        names = tuple(sorted(set(rows[f"{end}_{kind}"])))
        for name, adjusted in ((role, False), (f"{role}_adjusted", True)):
            make: Make = partial(_weights, role=role, kind=kind, adjusted=adjusted)
            if group is None:
                found[name] = _score(tables, names, make)
            else:
                groups = tuple(sorted({group[one] for one in names}))
                found[name] = _score(tables, groups, partial(_grouped, names=names, group=group, make=make))
    return found


def _grouped(
    table: _Table, groups: Sequence[str], names: Sequence[str], group: Mapping[str, str], make: Make
) -> Floats:
    """Weights of each group: the mean of those of its names that the model has."""
    each = make(table, names)
    member = np.array([[group[name] == one for name in names] for one in groups]) & each.any(axis=(1, 2))
    share = member / np.maximum(member.sum(axis=1, keepdims=True), 1)
    return np.asarray(np.tensordot(share, each, axes=1))


def mean_of_rows(rows: pl.DataFrame, grids: Sequence[ModelGrid], less: pl.DataFrame | None = None) -> Interval:
    """Interval of the mean Δ of some rows of the transfer table, as one score.

    Where other rows are given, less the mean of these, in the models that have both; NotComputable when none has.
    """
    by_model = {one.model: one for one in grids}
    sides = [(1.0, rows)] if less is None else [(1.0, rows), (-1.0, less)]
    weighed = [
        side.select("model", *SOURCE, *TARGET, "delta", (sign / pl.len().over("model")).alias("weight"))
        for sign, side in sides
    ]
    tables, weights = [], []
    for (model,), part in _models(pl.concat(weighed)):
        if len({weight > 0 for weight in part["weight"]}) == len(sides):
            tables.append(_arrays(part, by_model.get(str(model))))
            weight = _arrays(part.with_columns(pl.col("weight").alias("delta")), by_model.get(str(model))).delta
            weights.append(np.nan_to_num(weight)[None])
    need(bool(tables), "no model has rows of both kinds")
    made = iter(weights)
    return _score(tables, ("all",), lambda *_: next(made)).interval


def _models(rows: pl.DataFrame) -> list[tuple[tuple[object, ...], pl.DataFrame]]:
    return sorted(rows.partition_by("model", as_dict=True).items(), key=lambda item: str(item[0]))


def _arrays(rows: pl.DataFrame, grid: ModelGrid | None) -> _Table:
    """Rows of one model on the axes of its grid, or on their own."""
    if grid is not None:
        source, target = list(grid.sources), list(grid.targets)
    else:
        source, target = (sorted(set(rows.select(end).iter_rows())) for end in (SOURCE, TARGET))
    at_source, at_target = ({name: i for i, name in enumerate(names)} for names in (source, target))
    i = [at_source[name] for name in rows.select(SOURCE).iter_rows()]
    j = [at_target[name] for name in rows.select(TARGET).iter_rows()]
    delta = np.full((len(source), len(target)), np.nan)
    delta[i, j] = rows["delta"].to_numpy()
    return _Table(~np.isnan(delta), delta, source, target, grid)


def _weights(table: _Table, names: Sequence[str], role: str, kind: str, adjusted: bool) -> Floats:
    part = ("task", "language").index(kind)
    at = {name: n for n, name in enumerate(names)}
    shape = table.rows.shape
    if role == "donor":
        name = np.broadcast_to(np.array([at.get(cell[part], -1) for cell in table.source])[:, None], shape)
        other = np.broadcast_to(np.arange(shape[1]), shape)
    else:
        name = np.broadcast_to(np.array([at.get(cell[part], -1) for cell in table.target]), shape)
        other = np.broadcast_to(np.arange(shape[0])[:, None], shape)
    if adjusted:
        return adjusted_weights(table.rows, name, other, len(names))
    return raw_weights(table.rows, name, len(names))


def _score(tables: Sequence[_Table], names: tuple[str, ...], make: Make) -> Score:
    weights = tuple(make(table, names) for table in tables)
    several = tuple(_means(table, w) for table, w in zip(tables, weights, strict=True))
    interval = within_model(several[0]) if len(several) == 1 else over_models(several)
    return Score(names, several, weights, interval, tables[0].grid if len(tables) == 1 else None)


def _means(table: _Table, weights: Floats) -> Means:
    value = (weights * np.nan_to_num(table.delta)).sum(axis=(1, 2))
    value = np.where(weights.any(axis=(1, 2)), value, np.nan)
    if table.grid is None:
        return alone(value)
    return replace(means(table.grid.grid, table.grid.cells.seeds, weights), value=value)


def per_model(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    """Mean Δ per (model, value of the column): `model, key, delta`."""
    return rows.group_by("model", pl.col(column).alias("key")).agg(pl.col("delta").mean()).sort("model", "key")


def language_roles(transfer: pl.DataFrame, grids: Sequence[ModelGrid] = ()) -> pl.DataFrame:
    """Scores of languages from MT-CL rows, best donor first."""
    return joined(scores(transfer, grids, "language"), "language")


def task_roles(transfer: pl.DataFrame, grids: Sequence[ModelGrid] = ()) -> pl.DataFrame:
    """Scores of tasks from CT-ML rows, best donor first."""
    return joined(scores(transfer, grids, "task"), "task")


def joined(found: Mapping[str, Score], kind: str) -> pl.DataFrame:
    """Both roles of every name beside each other, best donor first."""
    sides = {role: _side(found, role, kind) for role in SIDES}
    both = sides["donor"].join(sides["recipient"], on=kind, how="full", coalesce=True)
    return both.sort("donor", kind, descending=[True, False], nulls_last=True)


def _side(found: Mapping[str, Score], role: str, kind: str) -> pl.DataFrame:
    raw = found[role]
    columns: dict[str, object] = {kind: raw.names}
    for name in (role, f"{role}_adjusted"):
        one = found[name]
        columns |= {name: one.value, f"{name}_low": one.interval.low, f"{name}_high": one.interval.high}
    columns |= {f"{role}_models": raw.n_models, f"{role}_over": ["models" if n > 1 else "items" for n in raw.n_models]}
    frame = pl.DataFrame(columns).with_columns(pl.col(pl.Float64).fill_nan(None))
    known = pl.col(f"{role}_low").is_not_null()
    return frame.with_columns(pl.when(known).then(f"{role}_over").alias(f"{role}_over"))


def _words(role: str, end: str) -> dict[str, str]:
    return {
        role: f"mean over models of the mean Δ of the rows that have it as {end}, pp",
        f"{role}_low": "lower end of its 95 % interval, pp; null with one model whose items are not known",
        f"{role}_high": "upper end, pp",
        f"{role}_adjusted": "the same, adjusted for what it met at the other end, pp; null where that cannot be told",
        f"{role}_adjusted_low": "lower end of its 95 % interval, pp",
        f"{role}_adjusted_high": "upper end, pp",
        f"{role}_models": "models averaged",
        f"{role}_over": "what the intervals are over: models, or items (and seeds) of the one model",
    }


ROLE_WORDS = {**_words("donor", "source"), **_words("recipient", "target")}
TABLES = (
    Table[Study](
        "language_roles",
        "Who gives and who takes: languages",
        "MT-CL rows",
        {"language": "language", **ROLE_WORDS},
        lambda study: language_roles(study.singles.transfer, study.singles.grids),
    ),
    Table[Study](
        "task_roles",
        "Who gives and who takes: tasks",
        "CT-ML rows",
        {"task": "task", **ROLE_WORDS},
        lambda study: task_roles(study.singles.transfer, study.singles.grids),
    ),
)
