"""The study's requests: built and tokenised once, put into Ray's object store, read from there by every evaluator.

Models with one tokenizer share them. The study's own process makes them, from the tasks it has loaded to plan, when a
target is first handed out; it owns them, so they live as long as the study, whatever node is lost meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import ray

from evaluators.requests import Encoder, encoder_of
from evaluators.tokenised import tokenised
from study.cells import Cell
from study.config import Scoring
from study.models import Model
from study.tasks import TaskError, TaskLibrary


class StudyRequests:
    """References to the requests' Arrow tables, by tokenizer and target."""

    def __init__(self, library: TaskLibrary, scoring: Scoring, models: Sequence[Model]) -> None:
        self._library, self._scoring = library, scoring
        self._models = {model.name: model for model in models}
        self._encoders: dict[str, tuple[str, Encoder]] = {}
        self._refs: dict[tuple[str, Cell], Any] = {}

    def refs(self, model: str, cells: Iterable[Cell]) -> dict[Cell, Any]:
        """A reference per cell. One whose requests cannot be made has none: the evaluator finds why, and it is told."""
        try:
            if model not in self._encoders:
                encoder = encoder_of(self._models[model])
                self._encoders[model] = encoder.identity, encoder
            found = {cell: self._ref(*self._encoders[model], cell) for cell in cells}
        except Exception:  # noqa: BLE001 - a tokenizer's own code: where it fails, an evaluator fails with the reason
            return {}
        return {cell: ref for cell, ref in found.items() if ref is not None}

    def _ref(self, identity: str, encoder: Encoder, cell: Cell) -> Any:
        if (identity, cell) not in self._refs:
            try:
                _, table = tokenised(self._library, encoder, cell, self._scoring.apply_chat_template)
            except TaskError:
                self._refs[identity, cell] = None
            else:
                self._refs[identity, cell] = ray.put(table)
        return self._refs[identity, cell]
