"""Running a plan: Tune trains in a thread of its own, the main thread scores what is ready and keeps the books.

Invariant: whatever ends this process, the store holds every unit that was finished, and nothing half-finished.
"""

from __future__ import annotations

import queue
import tempfile
from contextlib import suppress
from typing import Any

from ray import tune

from orchestrator.cluster.nodes import Nodes, lacks_place, shape
from orchestrator.cluster.scouts import Scouts, autoscales
from orchestrator.costs.devices import SCORE
from orchestrator.costs.estimate import Estimates
from orchestrator.failures import kind_of
from orchestrator.planning.grid import Part
from orchestrator.planning.plan import Plan
from orchestrator.planning.survey import Survey
from orchestrator.progress.books import Books
from orchestrator.progress.numbers import Progress
from orchestrator.scheduling.backlog import Backlog
from orchestrator.scheduling.decide import Decision, Demand, decide, in_order, unmet
from orchestrator.scheduling.gang_queue import Gang, GangQueue
from orchestrator.scoring.actor import EvaluatorProcess
from orchestrator.scoring.pool import ScoringPool
from orchestrator.scoring.requests import StudyRequests
from orchestrator.stop import StudyStopped
from orchestrator.training.trial import AdapterTrial
from orchestrator.training.tune import Trials, planned
from orchestrator.training.workers import TrialContext, headline
from study.config import StudyConfig
from study.faults.kinds import NO_SPACE
from study.store.records import FailureRecord
from study.store.store import Store
from study.units import AdapterUnit, failure_of

WAIT_S = 0.5


class StudyRun:
    """One run of a plan on a connected cluster. `trainable` and `process` are what trials and evaluators run."""

    def __init__(
        self,
        config: StudyConfig,
        plan: Plan,
        survey: Survey,
        store: Store,
        estimates: Estimates,
        display_on: Any,
        profile: bool = False,
        trainable: type[tune.Trainable] = AdapterTrial,
        process: type = EvaluatorProcess,
    ) -> None:
        self._config, self._plan, self._store, self._estimates = config, plan, store, estimates
        grid = plan.grid
        models = {model.name: model for model in grid.models}
        self._units = {unit.adapter_id: unit for unit in grid.adapters}
        self._waiting: dict[str, Part] = {}  # scores of adapters that are not trained yet
        self._books = Books(config, plan, store, estimates, display_on)
        self._shape = shape(config)
        self._nodes = Nodes(self._shape, store.excluded_nodes(), self._books.node)
        self._pool = ScoringPool(
            config,
            grid.models,
            store,
            Backlog(estimates.evaluator_s(), grid.unit),
            StudyRequests(survey.library, config.scoring, grid.models, self._books.display.warn),
            dict(estimates.load_s),
            self._books.scored,
            self._books.score_failed,
            self._nodes,
            profile,
            process,
        )
        self._context = TrialContext(config, models, self._units, survey.examples, store)
        self._trainable = trainable
        self._scouts = Scouts(self._shape) if autoscales() else None

    @property
    def progress(self) -> Progress:
        return self._books.progress

    def run(self) -> list[FailureRecord]:
        """Do all that is left. Returns what failed. Raises StudyStopped when nothing more can be done."""
        training = {unit.adapter_id for unit in self._plan.train}
        self._waiting = {part.subject: part for part in self._plan.parts if part.subject in training}
        self._pool.backlog.add(part for part in self._plan.parts if part.subject not in training)
        gangs = GangQueue(self._gangs())
        trials = Trials(self._config, self._context, gangs, self._trainable, self._nodes)
        trials.start()
        try:
            with self._books.display:
                while self._is_running(gangs):
                    self._drain(gangs)
                    decision = self._decide(gangs)
                    gangs.allow(decision.trials)
                    self._pool.step(decision, WAIT_S, starved=gangs.starves() and lacks_place())
                    self._tell(gangs)
                self._books.export()
        except BaseException:
            with suppress(OSError):  # what has ended the run is what is said
                self._books.close()
            raise
        self._books.close()
        self._pool.stop()
        trials.join(timeout=60)
        return self.progress.failures

    def _is_running(self, gangs: GangQueue) -> bool:
        waiting, running = gangs.state()
        return bool(waiting or running or not gangs.events.empty() or not self._pool.is_idle)

    def _gangs(self) -> list[Gang]:
        """What is left to train, in gangs, those first that most waits for."""
        if not self._plan.train:
            return []
        alone = Demand(len(self._plan.train), 0, 0.0, {})
        devices = max(1, decide(self._nodes(), self._shape, alone).trials)
        todo = planned(self._context, self._plan.train, self._estimates.read_tokens, devices)
        each = self._estimates.devices[SCORE]
        waits = [sum(self._unlocks(unit) for unit in gang) / each for gang in todo]
        chains = [self._estimates.gang_s(gang) + wait for gang, wait in zip(todo, waits, strict=True)]
        return [todo[i] for i in in_order([gang[0].model for gang in todo], chains)]

    def _unlocks(self, unit: AdapterUnit) -> float:
        """Device seconds of scoring that wait for an adapter."""
        part = self._waiting.get(unit.adapter_id)
        return self._estimates.part_s(part) if part else 0.0

    def _decide(self, gangs: GangQueue) -> Decision:
        waiting, running = gangs.state()
        longest = max((self._estimates.gang_s(gang) for gang in waiting), default=0.0)
        demand = Demand(len(waiting), len(running), longest, self._pool.work())
        limits = self._config.evaluators
        most = None if limits.max == "auto" else limits.max
        decision = decide(self._nodes(), self._shape, demand, limits.min, most)
        if self._scouts is not None:
            self._scouts.ask(unmet(decision, demand, most), self._nodes.selector())
        return decision

    def _tell(self, gangs: GangQueue) -> None:
        have = self._pool.actors()
        self._books.hold(len(gangs.state()[1]), have, self._pool.work())
        for model in have:
            self._pool.backlog.pace[model] = self.progress.pace(SCORE, model) or 1.0

    def _drain(self, gangs: GangQueue) -> None:
        """Book every trial that has ended and pass its adapters on to scoring."""
        while True:
            try:
                kind, *details = gangs.events.get_nowait()
            except queue.Empty:
                return
            if kind == "stopped":
                full = kind_of(details[0]) == NO_SPACE
                where = f", on this machine's scratch, {tempfile.gettempdir()} and Ray's session in it" if full else ""
                raise StudyStopped(f"Ray Tune failed: {details[0]}{where}") from details[0]
            if kind == "result":
                self._ended(details[0])
            else:
                self._lost(*details)

    def _lost(self, adapter_ids: list[str], kind: str, message: str) -> None:
        """A trial has ended without an answer: those of its gang that are recorded are trained, the others failed."""
        for adapter_id in adapter_ids:
            unit = self._units[adapter_id]
            if (record := self._store.record(unit.folder)) is not None:
                self._ended({"trained": [headline(record)], "rejected": []})
                continue
            last, attempts = message.strip().splitlines()[-1], self._config.failures.node_lost + 1
            self._failed(failure_of(unit, kind, last, attempts, message))

    def _ended(self, result: dict[str, Any]) -> None:
        for adapter in result["trained"]:
            unit = self._units[adapter["adapter_id"]]
            self._books.trained(unit, adapter["tokens"], adapter["seconds"])
            if (part := self._waiting.pop(unit.adapter_id, None)) is not None:
                self._pool.backlog.add([part])
        for failed in result["rejected"]:
            self._failed(FailureRecord.from_json(failed))

    def _failed(self, failure: FailureRecord) -> None:
        unit = self._units[failure.unit_id]
        self._books.adapter_failed(failure, unit, self._waiting.pop(unit.adapter_id, None))
