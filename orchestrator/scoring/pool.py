"""The scoring pool: evaluator actors, one base model each, fed with batches of score units.

Each step of the main loop matches the actors to a `Decision`, takes a batch from the `Backlog` for every actor that has
none, and books what has come back with `Bookkeeper`: a score, a failure, or a batch that is to be tried again. What to
run is decided in `orchestrator.scheduling`; this module starts actors, stops them and waits for them.

Invariant: a unit is at every moment in the backlog, in the hands of one actor, or booked. The units of an actor that
dies go back into the backlog, so that nothing is lost with it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import ray

from evaluators.scored import Scored
from orchestrator.cluster.kernel_kills import struck
from orchestrator.cluster.nodes import Nodes, died_on, placed_on
from orchestrator.cluster.stacks import Killing, pending, wait
from orchestrator.cluster.vigil import Vigil, remove
from orchestrator.costs.pace import UnderWay
from orchestrator.failures import Hung, budget, is_spoilt, kind_of, raised
from orchestrator.scheduling.backlog import Backlog, Batch
from orchestrator.scheduling.decide import Decision, Work
from orchestrator.scheduling.retry import again, later
from orchestrator.scheduling.starts import Starts
from orchestrator.scheduling.waits import Waits
from orchestrator.scoring.actor import Awaited, Evaluators, ScoringActor, failure, start
from orchestrator.scoring.requests import StudyRequests
from study.faults.kinds import HUNG, KILLED_FOR_MEMORY, NODE_LOST, STOPS, TRANSIENT, FailureKind
from study.store.records import FailureRecord
from study.units import ScoreUnit


class Bookkeeper(Protocol):
    """Who is told what became of each unit."""

    def scored(self, unit: ScoreUnit, result: Scored, around: float) -> None: ...

    def score_failed(self, failure: FailureRecord, unit: ScoreUnit) -> None: ...

    def hung(self, error: Hung) -> None: ...


class ScoringPool:
    """Evaluator actors and the work they have in hand."""

    def __init__(
        self,
        evaluators: Evaluators,
        backlog: Backlog,
        requests: StudyRequests,
        books: Bookkeeper,
        nodes: Nodes,
        waits: Waits | None = None,
    ) -> None:
        self._evaluators, self._requests, self._books, self._nodes = evaluators, requests, books, nodes
        self._config, self._waits = evaluators.context.config, waits or Waits()
        self._load_s = dict(evaluators.load_s)
        self._actors: list[ScoringActor] = []
        self._pending: dict[Awaited, ScoringActor] = {}
        self._starts = Starts()
        self._vigil = Vigil(self._config.failures.hung_after_s)
        self._able: set[str] = set()  # models of which scores were made
        self._freed = -self._waits.give_way_s  # when an evaluator's place was, last
        self._named, self._killings = 0, list[Killing]()  # those under way, on other nodes
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

    def under_way(self) -> list[UnderWay]:
        """What evaluators have in hand, by the clock."""
        busy = (actor for actor in self._actors if not actor.is_free)
        return [actor.under_way(self._load_s[actor.model], time.monotonic()) for actor in busy]

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
                seconds = batch.seconds * self.backlog.pace.get(actor.model, 1.0)
                self._pending[actor.begin(batch, requests, seconds)] = actor
        if not self._pending:
            time.sleep(wait_s)
            return
        ray.wait(list(self._pending), num_returns=1, timeout=wait_s)
        for ref in ray.wait(list(self._pending), num_returns=len(self._pending), timeout=0)[0]:
            if ref not in self._pending:  # it went with its actor
                continue
            actor = self._pending.pop(ref)
            if actor.starting is not None:
                self._started(actor, actor.starting)
            elif actor.scoring is not None:
                self._collect(actor, actor.scoring)
        self._end_hung()

    def stop(self) -> None:
        for actor in list(self._actors):
            self._remove(actor)
        wait(self._killings)

    def _end_hung(self) -> None:
        """End evaluators that live and do nothing; what they had in hand is tried elsewhere."""
        at_work = [(actor.handle, actor.duty) for actor in self._actors if not actor.is_free]
        for handle, seconds in self._vigil.silent(at_work):
            actor = next(one for one in self._actors if one.handle is handle)
            error = self._vigil.end([handle], actor.duty.what, seconds)
            self._books.hung(error)
            if actor.batch is None:
                self._not_started(actor, error)
            else:
                self._failed(actor, actor.batch, error)

    def _resize(self, decision: Decision, starved: bool) -> None:
        surplus = decision.surplus(self.actors())
        for actor in [actor for actor in self._actors if actor.batch is None]:
            if surplus.get(actor.model, 0):
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
        if idle and time.monotonic() - self._freed >= self._waits.give_way_s:
            self._remove(idle[0])

    def _add(self, model: str) -> None:
        if not self._starts.may(model, time.monotonic()):
            return
        self._named += 1
        actor = start(self._evaluators, model, str(self._named), self._nodes.selector())
        self._actors.append(actor)
        if actor.starting is not None:
            self._pending[actor.starting] = actor

    def _remove(self, actor: ScoringActor) -> None:
        self._killings = [*pending(self._killings), *remove([actor.handle])]
        self._freed = time.monotonic()
        self._actors.remove(actor)
        if actor.awaits is not None:
            self._pending.pop(actor.awaits, None)

    def _started(self, actor: ScoringActor, ref: ray.ObjectRef[None]) -> None:
        """An actor has loaded its model, or could not: after enough tries all that waits for the model has failed."""
        actor.starting = None
        try:
            ray.get(ref)
            self._load_s[actor.model] = time.monotonic() - actor.since
            self._starts.succeeded(actor.model)
        except Exception as error:  # noqa: BLE001 - whatever a model raises when it is loaded is classified there
            self._not_started(actor, error)

    def _not_started(self, actor: ScoringActor, error: Exception) -> None:
        kind = self._kind(actor, error, f"load {actor.model}")
        self._remove(actor)
        attempts = self._starts.failed(actor.model, kind, actor.since, time.monotonic())
        loaded = any(other.model == actor.model and other.starting is None for other in self._actors)
        if kind in STOPS or (attempts > budget(kind, self._config.failures) and not loaded):
            self._starts.succeeded(actor.model)
            self._give_up(self.backlog.drop(actor.model), kind, attempts, error)

    def _collect(self, actor: ScoringActor, ref: ray.ObjectRef[list[Scored]]) -> None:
        """An actor has scored its batch, or could not: each unit of it is booked, or goes back into the backlog."""
        batch, actor.batch, actor.scoring = actor.batch, None, None
        assert batch is not None
        try:
            results = ray.get(ref)
        except Exception as error:  # noqa: BLE001 - whatever an evaluator raises is classified there
            self._failed(actor, batch, error)
            return
        units, around = {unit.score_id: unit for unit in batch.units}, actor.around(results)
        passing = [units[result.score_id] for result in results if result.kind == TRANSIENT]
        put_back = later(batch, passing, self._config.failures, time.monotonic())
        for rest in put_back:
            self.backlog.put_back(rest)
        for result in results:
            unit = units[result.score_id]
            if result.ok:
                self._able.add(unit.model)
                self._books.scored(unit, result, around)
            elif result.kind != TRANSIENT:
                self._books.score_failed(failure(unit, result, attempts=1), unit)
            elif not put_back:
                self._books.score_failed(failure(unit, result, batch.attempts.get(TRANSIENT, 0) + 1), unit)

    def _failed(self, actor: ScoringActor, batch: Batch, error: Exception) -> None:
        """Try a batch again, or give it up. What of it is in the store already is made once more, and counts once."""
        kind = self._kind(actor, error, *(unit.score_id for unit in batch.units))
        if kind in (NODE_LOST, KILLED_FOR_MEMORY, HUNG) or is_spoilt(error):
            self._remove(actor)
        batches = again(batch, kind, actor.model in self._able, self._config.failures, time.monotonic())
        for one in batches:
            self.backlog.put_back(one)
        if not batches:
            self._give_up(batch.units, kind, batch.attempts.get(kind, 0) + 1, error)

    def _kind(self, actor: ScoringActor, error: Exception, *work: str) -> FailureKind:
        """The kind of what an actor has raised, or died of; a death, or its device's failure, is booked on its node."""
        kind = kind_of(error)
        if kind == HUNG:
            self._nodes.lost(placed_on([actor.handle]), work)
        elif kind in (NODE_LOST, KILLED_FOR_MEMORY):
            dead = died_on([actor.handle])
            self._nodes.lost(dead or (placed_on([actor.handle]) if is_spoilt(error) else []), work)
            kind = KILLED_FOR_MEMORY if dead and kind == NODE_LOST and struck([actor.watch]) else kind
        return kind

    def _give_up(self, units: Sequence[ScoreUnit], kind: FailureKind, attempts: int, error: Exception) -> None:
        for unit in units:
            self._books.score_failed(raised(unit, kind, error, attempts), unit)
