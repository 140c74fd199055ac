"""How the sources of a study were learned, as the records of their adapters say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.reading.study import Study
from analysis.reading.transfer import learned_from
from study.cells import Cell, Source
from study.store.records import AdapterRecord

EQUAL = 0.1  # by so large a share of them tokens may differ that are called equal: languages take unequally many


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
    adapters: frozenset[str]

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

    def reads_as_much_as(self, other: Learned) -> bool:
        return abs(self.tokens - other.tokens) <= EQUAL * other.tokens


def learned(study: Study) -> dict[str, list[Learned]]:
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
        whose = frozenset(record.adapter_id for record in of_seeds)
        found.setdefault(model, []).append(Learned(source, cells, mean, _mixing(recipe.get("mixing")), kl, l2, whose))
    return found


def _tokens(record: AdapterRecord, known: Mapping[str, AdapterRecord]) -> int:
    """Those that an adapter's training read, with that of what it begins with."""
    before = known.get(record.stage.start_id) if record.stage and record.stage.start_id else None
    return record.course.tokens.read + (_tokens(before, known) if before else 0)


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
