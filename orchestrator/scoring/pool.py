"""The scoring pool: evaluator actors, one base model each, fed with batches of score units.

What to run is decided in `orchestrator.scheduling` (`decide`, `backlog`); `ScoringPool` starts and stops actors,
hands out batches and collects what comes back. Units of an actor that dies go back into the backlog.
"""

from __future__ import annotations

import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import ray

from orchestrator.cluster.kernel_kills import struck
from orchestrator.cluster.nodes import Nodes, died_on, placed_on
from orchestrator.failures import backoff_s, budget, is_spoilt, kind_of, last_line
from orchestrator.scheduling.backlog import Backlog, Batch
from orchestrator.scheduling.decide import Decision, Work
from orchestrator.scheduling.gangs import halves
from orchestrator.scheduling.starts import Starts
from orchestrator.scoring.actor import EvaluatorProcess, ScoringActor, start
from orchestrator.scoring.requests import StudyRequests
from study.config import StudyConfig
from study.faults.kinds import KILLED_FOR_MEMORY, NODE_LOST, STOPS, TRANSIENT
from study.models.resolve import Model
from study.store.records import FailureRecord
from study.store.store import Store
from study.units import ScoreUnit, failure_of

GIVE_WAY_S = 5.0  # between evaluators that give their places to a trial, one by one


class ScoringPool:
    """Evaluator actors and the work they have in hand. `process` is the class of the actors."""

    def __init__(
        self,
        config: StudyConfig,
        models: Sequence[Model],
        store: Store,
        backlog: Backlog,
        requests: StudyRequests,
        load_s: dict[str, float],
        on_scored: Callable[[ScoreUnit, Any], None],
        on_failure: Callable[[FailureRecord, ScoreUnit], None],
        nodes: Nodes,
        profile: bool = False,
        process: type = EvaluatorProcess,
    ) -> None:
        self._nodes, self._profile, self._process, self._requests = nodes, profile, process, requests
        self._config, self._store = config, store
        self._models = {model.name: model for model in models}
        self._load_s = dict(load_s)
        self._on_scored, self._on_failure = on_scored, on_failure
        self._actors: list[ScoringActor] = []
        self._pending: dict[Any, ScoringActor] = {}  # by what Ray will tell of: it has started, or scored its batch
        self._starts = Starts()
        self._able: set[str] = set()  # models of which scores were made
        self._freed = -GIVE_WAY_S  # when an evaluator's place was, last
        self._named = 0
        self.backlog = backlog

    @property
    def is_idle(self) -> bool:
        return not self.backlog.models() and not self.busy

    @property
    def busy(self) -> int:
        """Evaluators with a batch in hand."""
        return sum(actor.batch is not None for actor in self._actors)

    def actors(self) -> Counter[str]:
        """Evaluators by model, those that are starting among them."""
        return Counter(actor.model for actor in self._actors)

    def work(self) -> dict[str, Work]:
        """What there is to score, by model."""
        have = self.actors()
        result = {}
        for model in dict.fromkeys([*self.backlog.models(), *have]):
            hands = [actor.batch for actor in self._actors if actor.model == model and actor.batch]
            base = self.backlog.has_base(model) or any(batch.units[0].adapter is None for batch in hands)
            seconds = self.backlog.seconds(model, hands)
            units = self.backlog.units(model) + sum(len(batch.units) for batch in hands)
            result[model] = Work(seconds, units, base, have[model], self._load_s[model])
        return result

    def step(self, decision: Decision, wait_s: float, starved: bool = False) -> None:
        """Match the actors to the decision, hand out batches, and collect what finishes within `wait_s` seconds.

        `starved`: a trial finds no place. Where by the numbers there is room for it, evaluators lie across it.
        """
        self._resize(decision, starved)
        have = self.actors()
        for actor in self._actors:
            batch = self.backlog.take(actor.model, have[actor.model], time.monotonic()) if actor.is_free else None
            if batch is not None:
                requests = self._requests.refs(actor.model, {unit.target for unit in batch.units})
                self._pending[actor.score(batch, requests)] = actor
        if not self._pending:
            time.sleep(wait_s)
            return
        ray.wait(list(self._pending), num_returns=1, timeout=wait_s)
        ready, _ = ray.wait(list(self._pending), num_returns=len(self._pending), timeout=0)
        for ref in ready:
            if ref not in self._pending:  # it went with its actor
                continue
            actor = self._pending.pop(ref)
            if actor.starting is ref:
                self._started(actor)
            else:
                self._collect(actor, ref)

    def stop(self) -> None:
        for actor in list(self._actors):
            self._remove(actor)

    def _resize(self, decision: Decision, starved: bool) -> None:
        surplus = decision.surplus(self.actors())
        kept = min(self._config.evaluators.min, decision.room)  # a trial for which there is no other place comes first
        for actor in [actor for actor in self._actors if actor.batch is None]:
            if surplus.get(actor.model, 0) and len(self._actors) > kept:
                surplus[actor.model] -= 1  # an idle actor makes room for other work
                self._remove(actor)
        if starved and len(self._actors) <= decision.room:
            self._give_way()
            return
        for model, count in decision.missing(self.actors()).items():
            for _ in range(count):
                self._add(model)

    def _give_way(self) -> None:
        """Free one idle evaluator's place, and see whether that was it."""
        idle = [actor for actor in self._actors if actor.batch is None]
        if idle and time.monotonic() - self._freed >= GIVE_WAY_S:
            self._remove(idle[0])

    def _add(self, model: str) -> None:
        if not self._starts.may(model, time.monotonic()):
            return
        self._named += 1
        where, base = self._nodes.selector(), self._models[model]
        actor = start(self._process, str(self._named), self._config, base, self._store, self._profile, where)
        self._actors.append(actor)
        self._pending[actor.starting] = actor

    def _remove(self, actor: ScoringActor) -> None:
        ray.kill(actor.handle)
        self._freed = time.monotonic()
        self._actors.remove(actor)
        if actor.starting is not None:
            self._pending.pop(actor.starting, None)

    def _started(self, actor: ScoringActor) -> None:
        """An actor has loaded its model, or could not: after enough tries all that waits for the model has failed."""
        ref, actor.starting = actor.starting, None
        try:
            ray.get(ref)
            self._load_s[actor.model] = time.monotonic() - actor.since
            self._starts.succeeded(actor.model)
        except Exception as error:  # noqa: BLE001 - whatever a model raises when it is loaded is classified there
            kind = self._kind(actor, error, f"load {actor.model}")
            self._remove(actor)
            attempts = self._starts.failed(actor.model, kind, actor.since, time.monotonic())
            loaded = any(other.model == actor.model and other.starting is None for other in self._actors)
            if kind in STOPS or (attempts > budget(kind, self._config.failures) and not loaded):
                self._starts.succeeded(actor.model)
                self._give_up(self.backlog.drop(actor.model), kind, attempts, error)

    def _collect(self, actor: ScoringActor, ref: Any) -> None:
        batch, actor.batch = actor.batch, None
        assert batch is not None
        try:
            results = ray.get(ref)
        except Exception as error:  # noqa: BLE001 - whatever an evaluator raises is classified there
            self._failed(actor, batch, error)
            return
        units = {unit.score_id: unit for unit in batch.units}
        again = {result.score_id: result for result in results if result.kind == TRANSIENT}
        attempts = batch.attempts.get(TRANSIENT, 0) + 1
        if again and attempts <= budget(TRANSIENT, self._config.failures):
            left, share = tuple(units[score_id] for score_id in again), len(again) / len(units)
            counted = {**batch.attempts, TRANSIENT: attempts}
            self.backlog.put_back(Batch(left, batch.seconds * share, counted, time.monotonic() + backoff_s(attempts)))
            results = [result for result in results if result.score_id not in again]
        for result in results:
            unit = units[result.score_id]
            if result.ok:
                self._able.add(unit.model)
                self._on_scored(unit, result)
            else:
                tries, trace = attempts if result.score_id in again else 1, result.traceback or ""
                self._on_failure(failure_of(unit, result.kind, result.message, tries, trace), unit)

    def _failed(self, actor: ScoringActor, batch: Batch, error: Exception) -> None:
        """Try a batch again, or give it up. What of it is in the store already is made once more, and counts once.

        Where it has spent its budget while others of the model were scored, one of its units may be at fault: the
        halves are tried once more, and so on.
        """
        kind = self._kind(actor, error, *(unit.score_id for unit in batch.units))
        if kind in (NODE_LOST, KILLED_FOR_MEMORY) or is_spoilt(error):
            self._remove(actor)
        attempts = batch.attempts.get(kind, 0) + 1
        if attempts <= budget(kind, self._config.failures):
            wait_s = backoff_s(attempts) if kind in (TRANSIENT, NODE_LOST, KILLED_FOR_MEMORY) else 0.0
            counted = {**batch.attempts, kind: attempts}
            self.backlog.put_back(Batch(batch.units, batch.seconds, counted, time.monotonic() + wait_s))
        elif kind not in STOPS and len(batch.units) > 1 and actor.model in self._able:
            for half in halves(batch.units):
                share = len(half) / len(batch.units)
                self.backlog.put_back(Batch(tuple(half), batch.seconds * share, batch.attempts))
        else:
            self._give_up(batch.units, kind, attempts, error)

    def _kind(self, actor: ScoringActor, error: Exception, *work: str) -> str:
        """The kind of what an actor has raised, or died of; a death, or its device's failure, is booked on its node."""
        kind = kind_of(error)
        if kind in (NODE_LOST, KILLED_FOR_MEMORY):
            dead = died_on([actor.handle])
            self._nodes.lost(dead or (placed_on([actor.handle]) if is_spoilt(error) else []), work)
            kind = KILLED_FOR_MEMORY if dead and kind == NODE_LOST and struck([actor.watch]) else kind
        return kind

    def _give_up(self, units: Sequence[ScoreUnit], kind: str, attempts: int, error: Exception) -> None:
        text = "".join(traceback.format_exception(error))
        for unit in units:
            self._on_failure(failure_of(unit, kind, last_line(error), attempts, text), unit)
