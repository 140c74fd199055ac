"""Is one adapter of several cells better than one of each? Joint and regularised sources beside the single ones.

A row is a source of several cells, or one that was kept near the base, by how its cells were mixed (`recipe.mixing`)
and how it was kept (`recipe.keep_near_base`: β weighs the divergence from the base, μ the size of ΔW). Beside it
stands the mean of the single sources of its cells on the same targets; together they read about as many tokens in
training as it did, and both counts are given. Intervals are those of means of cells (`analysis/inference/means.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.frames import HARM_PP, MODEL_WORDS, Table, need
from analysis.inference.items import Floats
from analysis.inference.means import means, within_model
from analysis.reading.grids import ModelGrid, model_grids
from analysis.reading.study import Study
from analysis.statistics.combinations.reported import all_scales
from analysis.statistics.graded import Scale
from study.cells import Cell, regime_of

SIDES = {"own": ("MT-ML",), "on_task": ("MT-CL",), "off_task": ("CT-ML", "CT-CL")}


@dataclass(frozen=True)
class Learned:
    """How a source of a model was learned; `tokens` are those of one adapter, the mean over seeds."""

    cells: tuple[Cell, ...]
    tokens: float
    mixing: str | None
    kl: float
    l2: float

    @property
    def name(self) -> tuple[str, str]:
        """As results have it."""
        parts = ("+".join(dict.fromkeys(getattr(c, end) for c in self.cells)) for end in ("task", "language"))
        task, language = parts
        return task, language

    @property
    def is_special(self) -> bool:
        return len(self.cells) > 1 or self.kl > 0 or self.l2 > 0


def schedules(study: Study) -> pl.DataFrame:
    """One row per such source and metric; NotComputable where all sources are single and none is kept near the base."""
    learned = _learned(study)
    need(
        any(one.is_special for mine in learned.values() for one in mine),
        "no source has several cells, and none was kept near the base",
    )
    rows = []
    for scale in all_scales(study):
        for one in model_grids(scale.panels, study.units, scale.measure, study.joint):
            rows += list(_rows(one, scale, learned.get(one.model, ())))
    need(bool(rows), "no such source was scored on a target that its base was scored on")
    return (
        pl.DataFrame(rows, infer_schema_length=None).fill_nan(None).select(*COLUMNS).sort("model", "source", "metric")
    )


def _learned(study: Study) -> dict[str, list[Learned]]:
    """Of every model how its sources were learned, as their records say."""
    trained = set(study.units.filter(pl.col("kind") == "trained")["adapter_id"]) if study.units.width else set()
    tokens: dict[tuple[str, tuple[str, ...]], list[tuple[int, Mapping[str, object]]]] = {}
    for record in study.records:
        if record.adapter_id in trained:
            tokens.setdefault((record.model, record.source), []).append((record.course.tokens.useful, record.recipe))
    found: dict[str, list[Learned]] = {}
    for (model, source), of_seeds in sorted(tokens.items()):
        recipe = of_seeds[0][1]
        near, cells = recipe.get("keep_near_base"), tuple(Cell.parse(cell) for cell in source)
        kl, l2 = (float(near.get(name) or 0) for name in ("kl", "l2")) if isinstance(near, Mapping) else (0.0, 0.0)
        mean = float(np.mean([count for count, _ in of_seeds]))
        found.setdefault(model, []).append(Learned(cells, mean, _mixing(recipe.get("mixing")), kl, l2))
    return found


def _mixing(stated: object) -> str | None:
    """Order and weights in words; None where examples are mixed as they come."""
    if not isinstance(stated, Mapping):
        return None
    weights = stated.get("weights")
    drawn = (
        " ".join(f"{name} {value:g}" for name, value in weights.items()) if isinstance(weights, Mapping) else weights
    )
    words = [stated.get("order"), drawn]
    if stated.get("order") == "reptile":
        words += [f"K {stated.get('inner_steps')}", f"η {stated.get('outer_rate')}"]
    return ", ".join(str(word) for word in words if word is not None)


def _rows(one: ModelGrid, scale: Scale, learned: Sequence[Learned]) -> Iterator[dict[str, object]]:
    """Every special source of a model, beside the single ones of its cells."""
    at = {name: i for i, name in enumerate(one.sources)}
    alone = {mine.cells[0]: mine for mine in learned if len(mine.cells) == 1}
    for mine in learned:
        if not mine.is_special or mine.name not in at:
            continue
        row = at[mine.name]
        others = [
            alone[cell] for cell in mine.cells if cell in alone and alone[cell].name in at and len(mine.cells) > 1
        ]
        whole = [at[other.name] for other in others] if len(others) == len(mine.cells) else []
        found: dict[str, object] = {
            "model": one.model, "source": "+".join(map(str, mine.cells)), "n_cells": len(mine.cells),
            "mixing": mine.mixing, "kl": mine.kl, "l2": mine.l2, "metric": scale.metric, "unit": scale.unit,
            "tokens": mine.tokens, "single_tokens": sum(other.tokens for other in others) if whole else None,
        }  # fmt: skip
        for side, regimes in SIDES.items():
            targets = np.array([regime_of(mine.cells, Cell(*target)) in regimes for target in one.targets])
            found |= _side(one, row, whole, targets, side)
        yield found | _harm(one, scale, row, whole)


def _side(one: ModelGrid, row: int, singles: Sequence[int], targets: Floats, side: str) -> dict[str, object]:
    """Mean Δ on some targets, of it and of the single sources, and the difference with its interval."""
    there = targets & one.there[row]
    both = there & one.there[list(singles)].all(axis=0)
    weights = np.zeros((2, *one.there.shape))
    weights[0, row, there] = 1 / max(there.sum(), 1)
    if singles and both.any():
        weights[1, row, both] = 1 / both.sum()
        weights[1][np.ix_(np.array(singles), np.flatnonzero(both))] = -1 / both.sum() / len(singles)
    found = within_model(means(one.grid, one.cells.seeds, weights))
    value, more = (float(x) for x in found.value)
    return {
        side: value, f"{side}_single": value - more, f"{side}_more": more,
        f"{side}_low": float(found.low[1]) if more == more else None,
        f"{side}_high": float(found.high[1]) if more == more else None,
    }  # fmt: skip


def _harm(one: ModelGrid, scale: Scale, row: int, singles: Sequence[int]) -> dict[str, object]:
    """Share of the targets that show a loss that counts, %."""
    harm = np.array([scale.measure.harm.get(task, HARM_PP) for task, _ in one.targets])
    harmed = np.where(one.there, one.grid.delta.round(9) <= harm, np.nan)
    rate = 100 * float(np.nanmean(harmed[row]))
    return {"harm_rate": rate, "harm_rate_single": 100 * float(np.nanmean(harmed[list(singles)])) if singles else None}


_WORDS = {"own": "its own cells", "on_task": "other languages of its tasks", "off_task": "other tasks"}
COLUMNS = {
    **MODEL_WORDS,
    "source": "the cells that one adapter was trained on",
    "n_cells": "how many",
    "mixing": "order and weights of its cells in training; null: examples in one heap",
    "kl": "β of recipe.keep_near_base",
    "l2": "μ of it",
    "tokens": "tokens that training read, mean over seeds",
    "single_tokens": "those of the single sources of its cells together; null where the study lacks one",
    "metric": "accuracy, or the metric that items are graded by",
    "unit": "of Δ",
    **{
        f"{side}{end}": text.format(words)
        for side, words in _WORDS.items()
        for end, text in (
            ("", "mean Δ on {}"),
            ("_single", "mean Δ of the single sources of its cells on the same targets"),
            ("_more", "how much more that is than of the single ones"),
            ("_low", "lower end of its 95 % interval over items and seeds"),
            ("_high", "upper end"),
        )
    },
    "harm_rate": "share of targets that show a loss that counts as harm, %",
    "harm_rate_single": "the same of the single sources",
}
TABLES = (
    Table[Study](
        "schedules",
        "One adapter of several cells beside one of each",
        "sources of several cells, or kept near the base, on every target",
        COLUMNS,
        schedules,
    ),
)
