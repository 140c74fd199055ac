"""The scoring pool: evaluator actors, one base model each, fed with batches of score units.

`Backlog` and `actors_wanted` decide; `ScoringPool` starts and stops actors, hands out batches and collects what comes
back. Units of an actor that dies go back into the backlog.
"""

from __future__ import annotations

import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray

from orchestrator.failures import (
    KILLED_FOR_MEMORY,
    NODE_LOST,
    TRANSIENT,
    Failure,
    backoff_s,
    budget,
    kind_of,
    last_line,
)
from orchestrator.plan import batches
from study.config import StudyConfig
from study.models import Model
from study.store import Store
from study.units import ScoreUnit

TARGETS_PER_BATCH = 16  # what a lost actor can cost, at most


@dataclass
class Batch:
    """Score units of one model, handed to one evaluator."""

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

    def drop(self, model: str) -> list[ScoreUnit]:
        """Take out everything that waits for a model."""
        return [unit for batch in self._waiting.pop(model, ()) for unit in batch.units]

    def sizes(self) -> dict[str, int]:
        """Batches waiting, by model."""
        return {model: len(waiting) for model, waiting in self._waiting.items() if waiting}


def actors_wanted(
    waiting: Mapping[str, int], busy: Mapping[str, int], room: int, least: int, most: int | None
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
    starting: Any  # resolves when the base model is loaded; None from then on
    batch: Batch | None = None


class EvaluatorProcess:
    """One evaluator in an actor of its own."""

    def __init__(self, config: StudyConfig, model: Model, store: Store, profile: bool) -> None:
        from evaluators.evaluator import Evaluator

        self._evaluator = Evaluator(
            model, config.tasks, config.scoring, store.uri, config.evaluators.tokens_per_batch, profile=profile
        )

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
        profile: bool = False,
    ) -> None:
        self._profile = profile
        self._config, self._store = config, store
        self._models = {model.name: model for model in models}
        self._on_scored, self._on_failure = on_scored, on_failure
        self._actors: list[_Actor] = []
        self._pending: dict[Any, _Actor] = {}  # what Ray will tell us of: an actor that starts, or a batch in hand
        self._start_failures: dict[str, dict[str, int]] = {}
        self._named = 0
        self.backlog = Backlog()

    @property
    def is_idle(self) -> bool:
        return not self.backlog.sizes() and not any(actor.batch for actor in self._actors)

    def step(self, room: int, wait_s: float) -> None:
        """Match the actors to the work, hand out batches, and collect what finishes within `wait_s` seconds."""
        self._resize(room)
        for actor in self._actors:
            if actor.starting is None and actor.batch is None:
                actor.batch = self.backlog.take(actor.model, time.monotonic())
                if actor.batch is not None:
                    self._pending[actor.handle.score.remote(actor.batch.units)] = actor
        if not self._pending:
            time.sleep(wait_s)
            return
        ready, _ = ray.wait(list(self._pending), num_returns=1, timeout=wait_s)
        for ref in ready:
            actor = self._pending.pop(ref)
            if actor.starting is ref:
                self._started(actor)
            else:
                self._collect(actor, ref)

    def stop(self) -> None:
        for actor in list(self._actors):
            self._remove(actor)

    def _resize(self, room: int) -> None:
        busy = Counter(actor.model for actor in self._actors if actor.batch is not None)
        have = Counter(actor.model for actor in self._actors)
        limits = self._config.evaluators
        most = None if limits.max == "auto" else limits.max
        wanted = actors_wanted(self.backlog.sizes(), busy, room, limits.min, most)
        for actor in [actor for actor in self._actors if actor.batch is None]:
            starved = any(count > have[model] for model, count in wanted.items())
            if (starved and have[actor.model] > wanted.get(actor.model, 0)) or len(self._actors) > room:
                have[actor.model] -= 1  # an idle actor makes room for other work
                self._remove(actor)
        for model, count in wanted.items():
            for _ in range(min(count - have[model], room - len(self._actors))):
                self._add(model)

    def _add(self, model: str) -> None:
        self._named += 1
        resources = self._config.evaluators.resources
        remote = ray.remote(EvaluatorProcess).options(
            name=f"evaluator {model} {self._named}",
            num_cpus=resources.get("CPU", 0),
            num_gpus=resources.get("GPU", 0),
            resources={name: amount for name, amount in resources.items() if name not in ("CPU", "GPU")},
        )
        handle: Any = remote.remote(self._config, self._models[model], self._store, self._profile)
        actor = _Actor(handle, model, handle.__ray_ready__.remote())
        self._actors.append(actor)
        self._pending[actor.starting] = actor

    def _remove(self, actor: _Actor) -> None:
        ray.kill(actor.handle)
        self._actors.remove(actor)
        if actor.starting is not None:
            self._pending.pop(actor.starting, None)

    def _started(self, actor: _Actor) -> None:
        """An actor has loaded its model, or could not: after enough tries all that waits for the model has failed."""
        ref, actor.starting = actor.starting, None
        try:
            ray.get(ref)
        except Exception as error:  # noqa: BLE001 - whatever a model raises when it is loaded is classified there
            self._remove(actor)
            kind, attempts = self._count(self._start_failures.setdefault(actor.model, {}), error)
            if attempts > budget(kind, self._config.failures):
                self._give_up(self.backlog.drop(actor.model), kind, attempts, error)

    def _collect(self, actor: _Actor, ref: Any) -> None:
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
        if kind_of(error) in (NODE_LOST, KILLED_FOR_MEMORY):
            self._remove(actor)
        kind, attempts = self._count(batch.attempts, error)
        done = self._store.done_scores()
        self._on_scored([unit.score_id for unit in batch.units if unit.score_id in done], 0)
        left = tuple(unit for unit in batch.units if unit.score_id not in done)
        if attempts > budget(kind, self._config.failures):
            self._give_up(left, kind, attempts, error)
        elif left:
            wait_s = backoff_s(attempts) if kind in (TRANSIENT, NODE_LOST, KILLED_FOR_MEMORY) else 0.0
            self.backlog.put(Batch(left, batch.attempts, time.monotonic() + wait_s))

    @staticmethod
    def _count(attempts: dict[str, int], error: Exception) -> tuple[str, int]:
        kind = kind_of(error)
        attempts[kind] = attempts.get(kind, 0) + 1
        return kind, attempts[kind]

    def _give_up(self, units: Sequence[ScoreUnit], kind: str, attempts: int, error: Exception) -> None:
        text = "".join(traceback.format_exception(error))
        for unit in units:
            self._on_failure(Failure(unit.unit_id, str(unit), kind, last_line(error), attempts, text))
