"""The scoring actor: an evaluator in a process of its own."""

from __future__ import annotations

from typing import Any

import ray

from study.cells import Cell
from study.config import StudyConfig
from study.models import Model
from study.store import Store
from study.units import ScoreUnit


class EvaluatorProcess:
    """One evaluator in an actor of its own, which is there before the base model is."""

    def load(self, config: StudyConfig, model: Model, store: Store, profile: bool) -> None:
        from evaluators.evaluator import Evaluator

        self._requests: dict[Cell, Any] = {}
        self._evaluator = Evaluator(
            model,
            config.tasks,
            config.scoring,
            store.uri,
            config.evaluators.tokens_per_batch,
            profile=profile,
            shared=self._table,
        )

    def score(self, units: tuple[ScoreUnit, ...], requests: dict[Cell, Any]) -> list[Any]:
        self._requests.update(requests)
        return list(self._evaluator.score(units))

    def _table(self, cell: Cell) -> Any:
        ref = self._requests.get(cell)
        return None if ref is None else ray.get(ref)
