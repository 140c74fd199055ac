"""The scoring actor: an evaluator in a process of its own, and the pool's end of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa
import ray

from evaluators.scored import Scored
from orchestrator.cluster.actors import Actor, Method, start_actor
from orchestrator.cluster.kernel_kills import Count, watch
from orchestrator.cluster.resources import as_options
from orchestrator.scheduling.backlog import Batch
from orchestrator.scoring.requests import Table
from study.cells import Cell
from study.config import StudyConfig
from study.models.resolve import Model
from study.store.store import Store
from study.units import ScoreUnit


@dataclass(frozen=True)
class ScoringContext:
    """What every evaluator of a study needs to know of it. `profile`: write where the time goes to the store's logs."""

    config: StudyConfig
    store: Store
    profile: bool = False


class EvaluatorProcess:
    """One evaluator in an actor of its own, which is there before the base model is."""

    def load(self, context: ScoringContext, model: Model) -> None:
        from evaluators.evaluator import Evaluator, Settings

        self._requests: dict[Cell, Table] = {}
        settings = Settings.of(context.config, context.profile)
        self._evaluator = Evaluator(model, context.store, settings, self._table)

    def score(self, units: tuple[ScoreUnit, ...], requests: Mapping[Cell, Table]) -> list[Scored]:
        self._requests.update(requests)
        return list(self._evaluator.score(units))

    def _table(self, cell: Cell) -> pa.Table | None:
        ref = self._requests.get(cell)
        return None if ref is None else ray.get(ref)


class EvaluatorActor(Actor, Protocol):
    """A handle of an EvaluatorProcess."""

    load: Method[None]
    score: Method[list[Scored]]


@dataclass
class ScoringActor:
    """What the pool knows of an evaluator, which begins by loading its base model."""

    handle: EvaluatorActor
    model: str
    watch: Count  # of its node, from before what it does now
    starting: ray.ObjectRef[None] | None  # resolves when the base model is loaded; None from then on
    since: float
    batch: Batch | None = None
    scoring: ray.ObjectRef[list[Scored]] | None = None  # of the batch

    @property
    def is_free(self) -> bool:
        return self.starting is None and self.batch is None

    def begin(self, batch: Batch, requests: Mapping[Cell, Table]) -> ray.ObjectRef[list[Scored]]:
        """Give it a batch; the reference of what becomes of its units."""
        self.batch, self.watch = batch, watch(self.handle)
        self.scoring = self.handle.score.remote(batch.units, requests)
        return self.scoring


def start(process: type, name: str, context: ScoringContext, model: Model, where: Mapping[str, str]) -> ScoringActor:
    """Start a `process` for a model, on a node that Ray's label selector `where` allows."""
    handle: EvaluatorActor = start_actor(
        process,
        name=f"evaluator {model.name} {name}",
        label_selector=dict(where),
        **as_options(context.config.evaluators.resources),
    )
    seen = watch(handle)
    return ScoringActor(handle, model.name, seen, handle.load.remote(context, model), time.monotonic())
