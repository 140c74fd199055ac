"""The scoring actor: an evaluator in a process of its own, and the pool's end of it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa
import ray

from evaluators.scored import Scored
from orchestrator.cluster.actors import Actor, Method, start_actor
from orchestrator.cluster.beats import own_pulse
from orchestrator.cluster.kernel_kills import Count, watch
from orchestrator.cluster.resources import as_options
from orchestrator.costs.devices import SCORE
from orchestrator.costs.pace import UnderWay, loading_left
from orchestrator.scheduling.backlog import Batch
from orchestrator.scheduling.silence import Duty
from orchestrator.scoring.requests import Table
from study.cells import Cell
from study.config import StudyConfig
from study.config.fields import share_of_gpu
from study.models.resolve import Model
from study.pulse import LOADING, WORKING, beat
from study.store.records import FailureRecord
from study.store.store import Store
from study.units import ScoreUnit, failure_of

Awaited = ray.ObjectRef[None] | ray.ObjectRef[list[Scored]]  # what tells that an actor has started, or has scored


@dataclass(frozen=True)
class ScoringContext:
    """What every evaluator of a study needs to know of it. `profile`: write where the time goes to the store's logs."""

    config: StudyConfig
    store: Store
    profile: bool = False


class EvaluatorProcess:
    """One evaluator in an actor of its own, which is there before the base model is."""

    def load(self, context: ScoringContext, model: Model) -> None:
        self._pulse = own_pulse()
        self._pulse.begin(LOADING)
        from adapters.base.device import keep_to
        from evaluators.evaluator import Evaluator, Settings

        beat()
        keep_to(share_of_gpu(context.config.evaluators.resources))
        self._requests: dict[Cell, Table] = {}
        settings = Settings.of(context.config, context.profile)
        self._evaluator = Evaluator(model, context.store, settings, self._table)

    def score(self, units: tuple[ScoreUnit, ...], requests: Mapping[Cell, Table]) -> list[Scored]:
        self._pulse.begin(WORKING)
        self._requests.update(requests)
        return list(self._evaluator.score(units))

    def _table(self, cell: Cell) -> pa.Table | None:
        ref = self._requests.get(cell)
        return None if ref is None else ray.get(ref)


@dataclass(frozen=True)
class Evaluators:
    """How evaluators of a study's models are made. `load_s`: seconds that each model is expected to take to load."""

    context: ScoringContext
    models: Mapping[str, Model]
    load_s: Mapping[str, float]
    process: type = EvaluatorProcess


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
    since: float  # when it began with what it does
    duty: Duty  # what it does, or did last
    batch: Batch | None = None
    scoring: ray.ObjectRef[list[Scored]] | None = None  # of the batch

    @property
    def is_free(self) -> bool:
        return self.starting is None and self.batch is None

    @property
    def awaits(self) -> Awaited | None:
        """What tells that it has started, or has scored its batch."""
        return self.scoring if self.starting is None else self.starting

    def under_way(self, load_s: float, now: float) -> UnderWay:
        """What it has in hand, by the clock, where a model is loaded within so many seconds."""
        if self.batch is None:
            return UnderWay(SCORE, self.model, 0.0, loading_s=loading_left(load_s, now - self.since), works=False)
        return UnderWay(SCORE, self.model, self.batch.seconds, since_s=now - self.since)

    def around(self, results: Sequence[Scored]) -> float:
        """How many times what its units took themselves has passed since it began with them: files are read, too."""
        return max(1.0, (time.monotonic() - self.since) / max(sum(one.seconds for one in results), 1e-9))

    def begin(self, batch: Batch, requests: Mapping[Cell, Table], seconds: float) -> ray.ObjectRef[list[Scored]]:
        """Give it a batch that should take so many seconds; the reference of what becomes of its units."""
        self.batch, self.watch, self.since = batch, watch(self.handle), time.monotonic()
        what = f"{self.model}, scoring {batch.units[0]} and {len(batch.units) - 1} more"
        self.duty = Duty(what, self.model, WORKING, seconds)
        self.scoring = self.handle.score.remote(batch.units, requests)
        return self.scoring


def start(evaluators: Evaluators, model: str, name: str, where: Mapping[str, str]) -> ScoringActor:
    """Start an evaluator of a model, on a node that Ray's label selector `where` allows."""
    context = evaluators.context
    handle: EvaluatorActor = start_actor(
        evaluators.process,
        name=f"evaluator {model} {name}",
        label_selector=dict(where),
        **as_options(context.config.evaluators.resources),
    )
    seen = watch(handle)
    duty = Duty(f"{model}, loading an evaluator", model, LOADING, evaluators.load_s[model])
    starting = handle.load.remote(context, evaluators.models[model])
    return ScoringActor(handle, model, seen, starting, time.monotonic(), duty)


def failure(unit: ScoreUnit, result: Scored, attempts: int) -> FailureRecord:
    """How an evaluator says that a unit has failed."""
    assert result.kind is not None
    return failure_of(unit, result.kind, result.message or "", attempts, result.traceback or "")
