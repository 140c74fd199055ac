"""The scoring pool: evaluator actors, one base model each, fed with batches of score units.

`Backlog` and `actors_wanted` decide; `ScoringPool` starts and stops actors, hands out batches and collects what comes
back. Units of an actor that dies go back into the backlog.
"""

from __future__ import annotations

import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray

from orchestrator.failures import NODE_LOST, TRANSIENT, Failure, backoff_s, budget, kind_of
from orchestrator.plan import batches
from study.config import StudyConfig
from study.models import Model
from study.store import Store
from study.units import ScoreUnit

TARGETS_PER_BATCH = 16  # what a lost actor can cost, at most


@dataclass
class Batch:
    """Score units of one adapter, handed to one evaluator."""

    units: tuple[ScoreUnit, ...]
    attempts: dict[str, int] = field(default_factory=dict)
    not_before: float = 0.0

    @property
    def model(self) -> str:
        return self.units[0].model


class Backlog:
    """Batches that wait, first come first served per model; the base's scores are put in first."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Batch]] = {}

    def add(self, units: Sequence[ScoreUnit]) -> None:
        for group in batches(units, TARGETS_PER_BATCH):
            self.put(Batch(group))

    def put(self, batch: Batch) -> None:
        self._waiting.setdefault(batch.model, deque()).append(batch)

    def take(self, model: str, now: float) -> Batch | None:
        """The first batch of a model that may run now."""
        waiting = self._waiting.get(model, deque())
        for _ in range(len(waiting)):
            batch = waiting.popleft()
            if batch.not_before <= now:
                return batch
            waiting.append(batch)
        return None

    def sizes(self) -> dict[str, int]:
        """Batches waiting, by model."""
        return {model: len(waiting) for model, waiting in self._waiting.items() if waiting}


def actors_wanted(
    waiting: dict[str, int], busy: dict[str, int], room: int, least: int, most: int | None
) -> dict[str, int]:
    """How many evaluators each model should have: one per batch in hand or waiting, as far as there is room.

    Room is shared out one at a time to the model with the most work per actor. `least` actors are kept even when idle.
    """
    work = {model: waiting.get(model, 0) + busy.get(model, 0) for model in waiting.keys() | busy.keys()}
    limit = min(room, most) if most is not None else room
    wanted = dict.fromkeys(work, 0)
    for _ in range(max(limit, min(least, room))):
        open_models = [model for model in work if wanted[model] < work[model]]
        if not open_models:
            break
        first = max(open_models, key=lambda model: (work[model] / (wanted[model] + 1), model))
        wanted[first] += 1
    return wanted


@dataclass
class _Actor:
    handle: Any
    model: str
    name: str
    batch: Batch | None = None


class EvaluatorProcess:
    """One evaluator in an actor of its own."""

    def __init__(self, config: StudyConfig, model: Model, store: Store) -> None:
        from evaluators.evaluator import Evaluator

        self._evaluator = Evaluator(model, config.tasks, config.scoring, store.uri, config.evaluators.tokens_per_batch)

    def score(self, units: tuple[ScoreUnit, ...]) -> list[Any]:
        return list(self._evaluator.score(units))


class ScoringPool:
    """Evaluator actors and the work they have in hand."""

    def __init__(
        self,
        config: StudyConfig,
        models: Sequence[Model],
        store: Store,
        on_scored: Callable[[list[str], int], None],
        on_failure: Callable[[Failure], None],
    ) -> None:
        self._config, self._store = config, store
        self._models = {model.name: model for model in models}
        self._on_scored, self._on_failure = on_scored, on_failure
        self._actors: list[_Actor] = []
        self._in_flight: dict[Any, _Actor] = {}
        self._started = 0
        self.backlog = Backlog()

    @property
    def is_idle(self) -> bool:
        return not self._in_flight and not self.backlog.sizes()

    @property
    def size(self) -> int:
        return len(self._actors)

    def step(self, room: int, wait_s: float) -> None:
        """Match the actors to the work, hand out batches, and collect what finishes within `wait_s` seconds."""
        self._resize(room)
        for actor in self._actors:
            if actor.batch is None and (batch := self.backlog.take(actor.model, time.monotonic())) is not None:
                actor.batch = batch
                self._in_flight[actor.handle.score.remote(batch.units)] = actor
        if not self._in_flight:
            time.sleep(wait_s)
            return
        ready, _ = ray.wait(list(self._in_flight), num_returns=1, timeout=wait_s)
        for ref in ready:
            self._collect(ref)

    def stop(self) -> None:
        for actor in list(self._actors):
            self._remove(actor)

    def _resize(self, room: int) -> None:
        busy: dict[str, int] = {}
        for actor in self._actors:
            if actor.batch is not None:
                busy[actor.model] = busy.get(actor.model, 0) + 1
        limits = self._config.evaluators
        most = None if limits.max == "auto" else limits.max
        wanted = actors_wanted(self.backlog.sizes(), busy, room, limits.min, most)
        have: dict[str, int] = {}
        for actor in self._actors:
            have[actor.model] = have.get(actor.model, 0) + 1
        for actor in [a for a in self._actors if a.batch is None]:  # an idle actor makes room for another model's work
            starved = any(wanted[model] > have.get(model, 0) for model in wanted)
            if (starved and have[actor.model] > wanted.get(actor.model, 0)) or self.size > room:
                have[actor.model] -= 1
                self._remove(actor)
        for model, count in wanted.items():
            for _ in range(min(count - have.get(model, 0), room - self.size)):
                self._add(model)

    def _add(self, model: str) -> None:
        self._started += 1
        resources = self._config.evaluators.resources
        name = f"evaluator {model} {self._started}"
        handle = (
            ray.remote(EvaluatorProcess)
            .options(
                name=name,
                num_cpus=resources.get("CPU", 0),
                num_gpus=resources.get("GPU", 0),
                resources={k: v for k, v in resources.items() if k not in ("CPU", "GPU")},
            )
            .remote(self._config, self._models[model], self._store)
        )
        self._actors.append(_Actor(handle, model, name))

    def _remove(self, actor: _Actor) -> None:
        ray.kill(actor.handle)
        self._actors.remove(actor)

    def _collect(self, ref: Any) -> None:
        actor = self._in_flight.pop(ref)
        batch, actor.batch = actor.batch, None
        assert batch is not None
        try:
            results = ray.get(ref)
        except Exception as error:  # noqa: BLE001 - whatever an evaluator raises is classified there
            self._failed(actor, batch, error)
            return
        units = {unit.score_id: unit for unit in batch.units}
        for result in results:
            if result.ok:
                self._on_scored([result.score_id], result.tokens)
            else:
                unit = units[result.score_id]
                self._on_failure(
                    Failure(unit.unit_id, str(unit), result.kind, result.message, 1, result.traceback or "")
                )

    def _failed(self, actor: _Actor, batch: Batch, error: Exception) -> None:
        kind = kind_of(error)
        if isinstance(error, ray.exceptions.RayActorError):
            self._remove(actor)
        batch.attempts[kind] = attempts = batch.attempts.get(kind, 0) + 1
        done = self._store.done_scores()
        left = tuple(unit for unit in batch.units if unit.score_id not in done)
        self._on_scored([unit.score_id for unit in batch.units if unit.score_id in done], 0)
        if attempts <= budget(kind, self._config.failures):
            wait = backoff_s(attempts) if kind in (TRANSIENT, NODE_LOST) else 0.0
            if left:
                self.backlog.put(Batch(left, batch.attempts, time.monotonic() + wait))
            return
        text = "".join(traceback.format_exception(error))
        for unit in left:
            self._on_failure(
                Failure(unit.unit_id, str(unit), kind, str(error).strip().splitlines()[-1], attempts, text)
            )
