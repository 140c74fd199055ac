"""Is one adapter of several cells better than one of each? Joint, staged and regularised sources beside others.

A row is a source of several cells, a stage, or one that was kept near the base, by how its cells were mixed
(`recipe.mixing`) and how it was kept (`recipe.keep_near_base`: β weighs the divergence from the base, μ the size of
ΔW). `beside` it stands the mean of the single sources of its cells on the same targets; together they read about as
many tokens in training as it did, and both counts are given. A stage has learned the cells that came before it, too; it
stands beside what it begins with, its own cells begun afresh, and the joint source of all its cells as well. Intervals
are those of means of cells (`analysis/inference/means.py`).
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
from analysis.reading.transfer import learned_from
from analysis.statistics.combinations.reported import all_scales
from analysis.statistics.graded import Scale
from study.cells import Cell, Source, regime_of
from study.store.records import AdapterRecord

SINGLE = "single sources of its cells"
SIDES = {"own": ("MT-ML",), "on_task": ("MT-CL",), "off_task": ("CT-ML", "CT-CL")}


@dataclass(frozen=True)
class Learned:
    """How a source of a model was learned: of a stage `cells` and `tokens` are those before it, too.

    `tokens` are those of one adapter, the mean over seeds.
    """

    source: Source
    cells: tuple[Cell, ...]
    tokens: float
    mixing: str | None
    kl: float
    l2: float

    @property
    def name(self) -> tuple[str, str]:
        """As results have it."""
        return self.source.task, self.source.language

    @property
    def is_plain(self) -> bool:
        return self.source.name is None

    @property
    def is_special(self) -> bool:
        return not self.is_plain or len(self.cells) > 1 or self.kl > 0 or self.l2 > 0


def schedules(study: Study) -> pl.DataFrame:
    """A row per such source, what stands beside it, and metric; NotComputable where all sources are plain ones."""
    learned = _learned(study)
    need(
        any(one.is_special for mine in learned.values() for one in mine),
        "no source has several cells or is a stage, and none was kept near the base",
    )
    rows = []
    for scale in all_scales(study):
        for one in model_grids(scale.panels, study.units, scale.measure, study.joint):
            rows += list(_rows(one, scale, learned.get(one.model, ())))
    need(bool(rows), "no such source was scored on a target that its base was scored on")
    return pl.DataFrame(rows, infer_schema_length=None).fill_nan(None).select(*COLUMNS).sort(*_KEY)


def _learned(study: Study) -> dict[str, list[Learned]]:
    """Of every model how its sources were learned, as their records say."""
    trained = set(study.units.filter(pl.col("kind") == "trained")["adapter_id"]) if study.units.width else set()
    known = {record.adapter_id: record for record in study.records}
    alike: dict[tuple[str, str], list[AdapterRecord]] = {}
    for record in study.records:
        if record.adapter_id in trained:
            alike.setdefault((record.model, record.called), []).append(record)
    found: dict[str, list[Learned]] = {}
    for (model, _), of_seeds in sorted(alike.items()):
        recipe, source = of_seeds[0].recipe, learned_from(of_seeds[0])
        cells = study.joint.get((source.task, source.language), source.cells)
        near = recipe.get("keep_near_base")
        kl, l2 = (float(near.get(name) or 0) for name in ("kl", "l2")) if isinstance(near, Mapping) else (0.0, 0.0)
        mean = float(np.mean([_tokens(record, known) for record in of_seeds]))
        found.setdefault(model, []).append(Learned(source, cells, mean, _mixing(recipe.get("mixing")), kl, l2))
    return found


def _tokens(record: AdapterRecord, known: Mapping[str, AdapterRecord]) -> int:
    """Those that an adapter's training read, with that of what it begins with."""
    before = known.get(record.stage.start_id) if record.stage else None
    return record.course.tokens.useful + (_tokens(before, known) if before else 0)


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
    """Every special source of a model, beside others."""
    at = {name: i for i, name in enumerate(one.sources)}
    there = [mine for mine in learned if mine.name in at]
    for mine in there:
        if not mine.is_special:
            continue
        row = at[mine.name]
        for what, others in _others(mine, there):
            rows = [at[other.name] for other in others]
            found: dict[str, object] = {
                "model": one.model, "source": str(mine.source), "start": mine.source.start, "n_cells": len(mine.cells),
                "mixing": mine.mixing, "kl": mine.kl, "l2": mine.l2, "metric": scale.metric, "unit": scale.unit,
                "beside": what, "tokens": mine.tokens,
                "beside_tokens": sum(other.tokens for other in others) if others else None,
            }  # fmt: skip
            for side, regimes in SIDES.items():
                targets = np.array([regime_of(mine.cells, Cell(*target)) in regimes for target in one.targets])
                found |= _side(one, row, rows, targets, side)
            yield found | _harm(one, scale, row, rows)


def _others(mine: Learned, there: Sequence[Learned]) -> Iterator[tuple[str, Sequence[Learned]]]:
    """What stands beside a source: the single ones of its cells, and more beside a stage; of each all, or nothing."""
    alone = {other.cells[0]: other for other in there if other.is_plain and len(other.cells) == 1}
    whole = len(mine.cells) > 1 and alone.keys() >= set(mine.cells)
    yield SINGLE, [alone[cell] for cell in mine.cells] if whole else []
    if mine.is_plain:
        return
    plain = [other for other in there if other.is_plain and other is not mine]
    named = {
        "what it begins with": [other for other in there if str(other.source) == mine.source.start],
        "its own cells alone": [other for other in plain if other.cells == mine.source.cells],
        "its cells together": [
            other for other in plain if len(other.cells) > 1 and set(other.cells) == set(mine.cells)
        ],
    }
    yield from ((what, others[:1]) for what, others in named.items() if others)


def _side(one: ModelGrid, row: int, others: Sequence[int], targets: Floats, side: str) -> dict[str, object]:
    """Mean Δ on some targets, of it and of the others, and the difference with its interval."""
    there = targets & one.there[row]
    both = there & one.there[list(others)].all(axis=0)
    weights = np.zeros((2, *one.there.shape))
    weights[0, row, there] = 1 / max(there.sum(), 1)
    if others and both.any():
        weights[1, row, both] = 1 / both.sum()
        weights[1][np.ix_(np.array(others), np.flatnonzero(both))] = -1 / both.sum() / len(others)
    found = within_model(means(one.grid, one.cells.seeds, weights))
    value, more = (float(x) for x in found.value)
    return {
        side: value, f"{side}_beside": value - more, f"{side}_more": more,
        f"{side}_low": float(found.low[1]) if more == more else None,
        f"{side}_high": float(found.high[1]) if more == more else None,
    }  # fmt: skip


def _harm(one: ModelGrid, scale: Scale, row: int, others: Sequence[int]) -> dict[str, object]:
    """Share of the targets that show a loss that counts, %."""
    harm = np.array([scale.measure.harm.get(task, HARM_PP) for task, _ in one.targets])
    harmed = np.where(one.there, one.grid.delta.round(9) <= harm, np.nan)
    rate = 100 * float(np.nanmean(harmed[row]))
    return {"harm_rate": rate, "harm_rate_beside": 100 * float(np.nanmean(harmed[list(others)])) if others else None}


_KEY = ("model", "source", "metric", "beside")
_WORDS = {"own": "its own cells", "on_task": "other languages of its tasks", "off_task": "other tasks"}
COLUMNS = {
    **MODEL_WORDS,
    "source": "the cells that one adapter was trained on; of a stage with its name behind an @",
    "start": "what a stage begins with; null: it begins afresh",
    "n_cells": "how many cells, of a stage with those before it",
    "mixing": "order and weights of its cells in training; null: examples in one heap",
    "kl": "β of recipe.keep_near_base",
    "l2": "μ of it",
    "beside": f"what it is compared with: {SINGLE} (their mean), or what else a stage stands beside",
    "tokens": "tokens that training read, mean over seeds; of a stage with that of what it begins with",
    "beside_tokens": "those of the others together; null where the study lacks one",
    "metric": "accuracy, or the metric that items are graded by",
    "unit": "of Δ",
    **{
        f"{side}{end}": text.format(words)
        for side, words in _WORDS.items()
        for end, text in (
            ("", "mean Δ on {}"),
            ("_beside", "mean Δ of the others on the same targets"),
            ("_more", "how much more that is than theirs"),
            ("_low", "lower end of its 95 % interval over items and seeds"),
            ("_high", "upper end"),
        )
    },
    "harm_rate": "share of targets that show a loss that counts as harm, %",
    "harm_rate_beside": "the same of the others",
}
TABLES = (
    Table[Study](
        "schedules",
        "One adapter of several cells beside one of each",
        "sources of several cells, stages, and those kept near the base, on every target",
        COLUMNS,
        schedules,
    ),
)
