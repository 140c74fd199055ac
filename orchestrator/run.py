"""Running a plan: Tune trains in a thread of its own, the main thread scores what is ready and keeps the books.

The main loop asks `scheduling.decide` how many trials and evaluators there should be (`_decide`), tells the queue of
gangs and the scoring pool (`allow`, `step`), books the trials that have ended and puts the scores that waited for their
adapters into the backlog (`_drain`), and shows how far it is (`_tell`). A step of the pool takes half a second
at most, which is the loop's clock.

Invariant: whatever ends this process, the store holds every unit that was finished, and nothing half-finished.
"""

from __future__ import annotations

import queue
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from ray import tune
from rich.console import Console

from orchestrator.cluster.gpu_memory import least_gpu
from orchestrator.cluster.nodes import Nodes, lacks_place, shape
from orchestrator.cluster.scouts import Scouts, autoscales
from orchestrator.costs.devices import SCORE, TRAIN
from orchestrator.costs.pace import UnderWay, loading_left
from orchestrator.failures import LOST, kind_of
from orchestrator.planning.plan import followers
from orchestrator.prepare import Prepared
from orchestrator.progress.books import Books
from orchestrator.progress.numbers import Progress
from orchestrator.scheduling.backlog import Backlog
from orchestrator.scheduling.decide import Decision, Demand, decide, in_order, unmet
from orchestrator.scheduling.gang_queue import GangQueue
from orchestrator.scheduling.gangs import Gang, Place, planned
from orchestrator.scheduling.room import memory
from orchestrator.scheduling.silence import SetBack
from orchestrator.scheduling.waiting import Waiting
from orchestrator.scoring.actor import EvaluatorProcess, Evaluators, ScoringContext
from orchestrator.scoring.pool import ScoringPool
from orchestrator.scoring.requests import StudyRequests
from orchestrator.stop import LimitReached, StudyStopped, at_latest, exit_code
from orchestrator.training.context import TrialContext
from orchestrator.training.outcome import Event, GangEnded, GangLost, TuneStopped
from orchestrator.training.record import headline
from orchestrator.training.trial import AdapterTrial
from orchestrator.training.tune import Trials
from study.config.fields import on_gpu
from study.faults.kinds import NO_SPACE, START
from study.store.contents import Damaged
from study.store.nodes import excluded
from study.store.records import FailureRecord
from study.units import AdapterUnit, failure_of

WAIT_S = 0.5


@dataclass(frozen=True)
class Actors:
    """The classes whose actors train and score; others take their places where the driver alone is looked at."""

    trial: type[tune.Trainable] = AdapterTrial
    evaluator: type = EvaluatorProcess


class StudyRun:
    """One run of a prepared study on a connected cluster."""

    def __init__(
        self,
        prepared: Prepared,
        console: Console,
        profile: bool = False,
        actors: Actors | None = None,
        most_device_hours: float | None = None,
        asked: Callable[[], float | None] = lambda: None,
    ) -> None:
        """`asked`: since when the store has owed an answer to whoever else asks it (by time.monotonic)."""
        config, plan, store, estimates = prepared.config, prepared.plan, prepared.store, prepared.estimates
        self._config, self._plan, self._store, self._estimates = config, plan, store, estimates
        self._actors, self._most_hours, self._asked = actors or Actors(), most_device_hours, asked
        models = {model.name: model for model in plan.grid.models}
        self._units = {unit.adapter_id: unit for unit in plan.grid.adapters}
        found = prepared.survey
        learned = (found.examples, store, found.counts, found.prompts)
        self._context = TrialContext(config, models, self._units, *learned)
        self._waiting = Waiting(plan)
        self._books = Books(config, plan, store, estimates, console)
        self._shape = shape(config)
        self._nodes = Nodes(self._shape, excluded(store), self._books.node)
        scoring = ScoringContext(config, store, profile)
        self._pool = ScoringPool(
            Evaluators(scoring, models, estimates.load_s, self._actors.evaluator),
            Backlog(estimates.evaluator_s(), plan.grid.unit),
            StudyRequests(prepared.survey.library, plan.grid.models, self._books.display.warn),
            self._books,
            self._nodes,
        )
        self._scouts = Scouts(self._shape) if autoscales() else None
        self._clock = SetBack()

    @property
    def progress(self) -> Progress:
        return self._books.progress

    def run(self) -> list[FailureRecord]:
        """Do all there is to do. Returns what failed. Raises StudyStopped when nothing more can be done, and
        LimitReached when it has held devices for as long as it may.
        """
        self._pool.backlog.add(self._waiting.ready)
        gangs: GangQueue[Event] = GangQueue(self._gangs())
        trials = Trials(self._context, gangs, self._actors.trial, self._nodes)
        trials.start()
        try:
            with self._books.display:
                while self._is_running(gangs):
                    decision = self._decide(gangs)
                    gangs.allow(decision.trials)
                    self._pool.step(decision, WAIT_S, starved=gangs.starves() and lacks_place())
                    for hung in trials.end_hung():
                        self._books.hung(hung)
                    self._drain(gangs)
                    self._tell(gangs, trials, decision)
                    self._books.visit(self._asked())
                self._books.export()
        except BaseException as error:
            trials.stop()
            with suppress(Exception), at_latest(exit_code(error)):  # what has ended the run is what is said
                self._books.close()
            raise
        self._books.close()
        self._pool.stop()
        trials.join(timeout=60)
        trials.stop()
        return self.progress.failures

    def _is_running(self, gangs: GangQueue[Event]) -> bool:
        waiting, running = gangs.state()
        told = gangs.events.empty() and not self._books.errands.pending
        return bool(waiting or running or not told or not self._pool.is_idle)

    def _gangs(self) -> list[Gang]:
        """What there is to train, in gangs, those first that most waits for."""
        if not self._plan.train:
            return []
        alone = Demand(len(self._plan.train), 0, 0.0, {})
        training, nodes = self._config.training, self._nodes()
        gpu = least_gpu() if on_gpu(training.resources_per_worker) and training.gang_size == "auto" else None
        place = Place(max(1, decide(nodes, self._shape, alone).trials), memory(training, nodes, gpu))
        to_do = planned(self._config, self._plan, self._context.examples, self._estimates.read_tokens, place)
        each = self._estimates.devices[SCORE]
        waits = [sum(self._unlocks(unit) for unit in gang) / each for gang in to_do]
        chains = [self._estimates.gang_s(gang) + wait for gang, wait in zip(to_do, waits, strict=True)]
        return [to_do[i] for i in in_order([gang[0].model for gang in to_do], chains)]

    def _unlocks(self, unit: AdapterUnit) -> float:
        """Device seconds of scoring that wait for an adapter."""
        return sum(self._estimates.part_s(part) for part in self._waiting.of(unit.adapter_id))

    def _decide(self, gangs: GangQueue[Event]) -> Decision:
        waiting, running = gangs.able(), gangs.state()[1]
        longest = max((self._estimates.gang_s(gang) for gang in waiting), default=0.0)
        demand = Demand(len(waiting), len(running), longest, self._pool.work())
        limits = self._config.evaluators
        most = None if limits.max == "auto" else limits.max
        decision = decide(self._nodes(), self._shape, demand, limits.min, most)
        if self._scouts is not None:
            self._scouts.ask(unmet(decision, demand, most), self._nodes.selector())
        return decision

    def _tell(self, gangs: GangQueue[Event], trials: Trials, decision: Decision) -> None:
        if (seconds := self._clock.look()) > 0:
            self._books.display.set_back(seconds)
        have = self._pool.actors()
        under_way = [*self._trained(trials), *self._pool.under_way()]
        self._books.hold(len(gangs.state()[1]), have, self._pool.work(), under_way, decision)
        for model in have:
            self._pool.backlog.pace[model] = self.progress.pace(SCORE, model)
        held = self.progress.held.device_s / 3600
        if self._most_hours is not None and held >= self._most_hours:
            raise LimitReached(held)

    def _trained(self, trials: Trials) -> Iterator[UnderWay]:
        """What trials have in hand, by the clock."""
        for gang, seconds, reached in trials.under_way():
            model, whole = gang[0].model, self._estimates.gang_s(gang)
            if reached is None:
                loads = loading_left(self._estimates.load_s[model], seconds)
                yield UnderWay(TRAIN, model, whole, loading_s=loads, works=False)
            else:
                far, ago = reached
                yield UnderWay(TRAIN, model, whole, min(1.0, far.units / len(gang)), far.seconds, ago)

    def _drain(self, gangs: GangQueue[Event]) -> None:
        """Book every trial that has ended and pass its adapters on to scoring."""
        while True:
            try:
                event = gangs.events.get_nowait()
            except queue.Empty:
                return
            match event:
                case TuneStopped(error):
                    full = kind_of(error) == NO_SPACE
                    scratch = f", on this machine's scratch, {tempfile.gettempdir()} and Ray's session in it"
                    raise StudyStopped(f"Ray Tune failed: {error}{scratch * full}") from error
                case GangLost():
                    self._books.errands.send(partial(self._found, event), partial(self._ended, gangs))
                case GangEnded():
                    self._ended(gangs, event)

    def _found(self, gang: GangLost) -> GangEnded:
        """A trial has ended without an answer: those of its gang that are recorded are trained, the others failed."""
        trained, failed = [], []
        for unit in (self._units[adapter_id] for adapter_id in gang.adapter_ids):
            with suppress(Damaged):  # which counts as none
                if (record := self._store.record(unit.folder)) is not None:
                    trained.append(headline(record))
                    continue
            last = LOST.get(gang.kind) or gang.message.strip().splitlines()[-1]
            attempts = self._config.failures.node_lost + 1
            failed.append(failure_of(unit, gang.kind, last, attempts, gang.message))
        return GangEnded(tuple(trained), tuple(failed))

    def _ended(self, gangs: GangQueue[Event], gang: GangEnded) -> None:
        for adapter in gang.trained:
            gangs.trained(adapter.adapter_id)
            unit = self._units[adapter.adapter_id]
            self._books.trained(unit, adapter.tokens, adapter.seconds, adapter.notes)
            self._pool.backlog.add(self._books.spared(self._waiting.trained(unit.adapter_id), adapter.epoch))
        for failure in gang.failed:
            self._failed(failure)
            lost = followers(self._plan.train, [failure.unit_id])
            gangs.lost({unit.adapter_id for unit in lost})
            for unit in lost:
                message = f"{self._units[failure.unit_id]}, which comes before it, has failed: {failure.message}"
                self._failed(failure_of(unit, START, message, 0))

    def _failed(self, failure: FailureRecord) -> None:
        unit = self._units[failure.unit_id]
        self._books.adapter_failed(failure, unit, self._waiting.lost(unit.adapter_id))
