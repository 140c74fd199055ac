"""The scoring actor: an evaluator in a process of its own, and the pool's end of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray

from orchestrator.cluster.kernel_kills import watch
from orchestrator.scheduling.backlog import Batch
from study.cells import Cell
from study.config import StudyConfig
from study.models.resolve import Model
from study.store.store import Store
from study.units import ScoreUnit


class EvaluatorProcess:
    """One evaluator in an actor of its own, which is there before the base model is."""

    def load(self, config: StudyConfig, model: Model, store: Store, profile: bool) -> None:
        from evaluators.evaluator import Evaluator, Settings

        self._requests: dict[Cell, Any] = {}
        self._evaluator = Evaluator(model, store, Settings.of(config, profile), self._table)

    def score(self, units: tuple[ScoreUnit, ...], requests: dict[Cell, Any]) -> list[Any]:
        self._requests.update(requests)
        return list(self._evaluator.score(units))

    def _table(self, cell: Cell) -> Any:
        ref = self._requests.get(cell)
        return None if ref is None else ray.get(ref)


@dataclass
class ScoringActor:
    """What the pool knows of an evaluator, which begins by loading its base model."""

    handle: Any
    model: str
    watch: Any  # of its node, from before what it does now
    starting: Any  # resolves when the base model is loaded; None from then on
    since: float
    batch: Batch | None = None

    @property
    def is_free(self) -> bool:
        return self.starting is None and self.batch is None

    def score(self, batch: Batch, requests: Mapping[Cell, Any]) -> Any:
        """Give it a batch; the reference of its results."""
        self.batch, self.watch = batch, watch(self.handle)
        return self.handle.score.remote(batch.units, requests)


def start(
    process: type, name: str, config: StudyConfig, model: Model, store: Store, profile: bool, where: dict[str, str]
) -> ScoringActor:
    """Start a `process`, on a node that Ray's label selector `where` allows."""
    resources = config.evaluators.resources
    remote: Any = ray.remote(process).options(
        name=f"evaluator {model.name} {name}",
        num_cpus=resources.get("CPU", 0),
        num_gpus=resources.get("GPU", 0),
        label_selector=where,
        resources={name: amount for name, amount in resources.items() if name not in ("CPU", "GPU")},
    )
    handle: Any = remote.remote()
    seen = watch(handle)
    return ScoringActor(handle, model.name, seen, handle.load.remote(config, model, store, profile), time.monotonic())
