"""Running a plan: Tune trains in a thread of its own, the main thread scores what is ready and keeps the books.

Invariant: whatever ends this process, the store holds every unit that was finished, and nothing half-finished.
"""

from __future__ import annotations

import json
import queue
import tempfile
import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from ray import tune

from orchestrator.backlog import Backlog
from orchestrator.blame import MOST_LOSSES
from orchestrator.cluster import Nodes, lacks_place, shape
from orchestrator.devices import SCORE, TRAIN
from orchestrator.display import Display
from orchestrator.estimate import Estimates
from orchestrator.evaluator import EvaluatorProcess
from orchestrator.failures import NO_SPACE, STOPS, Failure, kind_of
from orchestrator.grid import Part
from orchestrator.means import Means
from orchestrator.metrics import Metrics
from orchestrator.plan import Plan
from orchestrator.pool import ScoringPool
from orchestrator.progress import begin
from orchestrator.requests import StudyRequests
from orchestrator.schedule import Decision, Demand, decide, in_order, unmet
from orchestrator.scouts import Scouts, autoscales
from orchestrator.survey import Survey
from orchestrator.tracking import Tracking
from orchestrator.trial import AdapterTrial
from orchestrator.trials import Gang, Trials, planned
from orchestrator.workers import TrialContext, headline
from study.config import StudyConfig
from study.store import LOGS, RECORD_FILE, Store
from study.units import ScoreUnit

WAIT_S = 0.5
EXPORT_EVERY_S = 5.0


class StudyStopped(Exception):
    """The study cannot go on at all (the disk is full, Tune itself failed); what is done is in the store."""


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
        self._models = {model.name: model for model in grid.models}
        self._units = {unit.adapter_id: unit for unit in grid.adapters}
        self._target = {cell: number for number, cell in enumerate(grid.targets)}
        self._waiting: dict[str, Part] = {}
        self._failed_before = store.failed()
        self.progress = begin(plan, estimates)
        self._display = Display(self.progress, display_on)
        self._metrics = Metrics(config.study)
        self._tracking = Tracking(config, store, self._display.warn)
        self._means = Means(plan, store) if self._tracking.is_on else None
        self._exported = 0.0
        backlog = Backlog(estimates.evaluator_s(), grid.unit)
        self._shape = shape(config)
        self._nodes = Nodes(self._shape, store.excluded_nodes(), self._node)
        requests = StudyRequests(survey.library, config.scoring, grid.models, self._display.warn)
        self._pool = ScoringPool(
            config,
            grid.models,
            store,
            backlog,
            requests,
            dict(estimates.load_s),
            self._scored,
            self._failed,
            self._nodes,
            profile,
            process,
        )
        self._context = TrialContext(config, self._models, self._units, survey.examples, store)
        self._trainable = trainable
        self._scouts = Scouts(self._shape) if autoscales() else None

    def run(self) -> list[Failure]:
        """Do all that is left. Returns what failed. Raises StudyStopped when nothing more can be done."""
        training = {unit.adapter_id for unit in self._plan.train}
        self._waiting = {part.subject: part for part in self._plan.parts if part.subject in training}
        self._pool.backlog.add(part for part in self._plan.parts if part.subject not in training)
        trials = Trials(self._config, self._context, self._gangs(), self._trainable, self._nodes)
        trials.start()
        try:
            with self._display:
                while self._is_running(trials):
                    self._drain(trials)
                    decision = self._decide(trials)
                    trials.allow(decision.trials)
                    self._pool.step(decision, WAIT_S, starved=trials.starves() and lacks_place())
                    self._tell(trials)
                self._export()
        except BaseException:
            with suppress(OSError):  # what has ended the run is what is said
                self._end()
            raise
        self._end()
        self._pool.stop()
        trials.join(timeout=60)
        return self.progress.failures

    def _end(self) -> None:
        """Leave what was estimated of what this run did, and what it took, in the store's logs; let go of trackers."""
        record = {"ended_at": datetime.now(UTC).isoformat(timespec="seconds"), "seconds": self.progress.seconds}
        record |= {"units": self.progress.against_estimate(), "held_s": self.progress.held.device_s}
        record |= {"basis": dict(self._estimates.basis)}
        try:
            self._store.write(f"{LOGS}/runs/{time.time():.0f}.json", json.dumps(record, indent=1).encode())
        finally:
            self._tracking.close()

    def _is_running(self, trials: Trials) -> bool:
        waiting, running = trials.state()
        return bool(waiting or running or not trials.events.empty() or not self._pool.is_idle)

    def _gangs(self) -> list[Gang]:
        """What is left to train, in gangs, those first that most waits for."""
        if not self._plan.train:
            return []
        alone = Demand(len(self._plan.train), 0, 0.0, {})
        devices = max(1, decide(self._nodes(), self._shape, alone).trials)
        todo = planned(self._context, self._plan.train, self._estimates.read_tokens, devices)
        each = self._estimates.devices[SCORE]
        waits = [sum(self._unlocks(unit.adapter_id) for unit in gang) / each for gang in todo]
        chains = [self._estimates.gang_s(gang) + wait for gang, wait in zip(todo, waits, strict=True)]
        return [todo[i] for i in in_order([gang[0].model for gang in todo], chains)]

    def _unlocks(self, adapter_id: str) -> float:
        """Device seconds of scoring that wait for an adapter."""
        part = self._waiting.get(adapter_id)
        return sum(self._estimates.score_s[part.model.name][i] for i in part.targets) if part else 0.0

    def _decide(self, trials: Trials) -> Decision:
        waiting, running = trials.state()
        longest = max((self._estimates.gang_s(gang) for gang in waiting), default=0.0)
        demand = Demand(len(waiting), len(running), longest, self._pool.work())
        limits = self._config.evaluators
        most = None if limits.max == "auto" else limits.max
        decision = decide(self._nodes(), self._shape, demand, limits.min, most)
        if self._scouts is not None:
            self._scouts.ask(unmet(decision, demand, most), self._nodes.selector())
        return decision

    def _tell(self, trials: Trials) -> None:
        _, running = trials.state()
        have, work = self._pool.actors(), self._pool.work()
        at_work = sum(min(one.actors, one.units) for one in work.values())  # who has just finished goes on at once
        each = self._estimates.devices
        self.progress.hold(
            len(running) * each[TRAIN] + at_work * each[SCORE], len(running) * each[TRAIN] + have.total() * each[SCORE]
        )
        self.progress.evaluators = Counter({model: have[model] for model in self.progress.evaluators | have})
        for model in have:
            self._pool.backlog.pace[model] = self.progress.pace(SCORE, model) or 1.0
        self._display.update()
        if time.monotonic() - self._exported > EXPORT_EVERY_S:
            self._export()

    def _export(self) -> None:
        self._exported = time.monotonic()
        self._metrics.export(self.progress)
        self._tracking.progress(self.progress.numbers())

    def _drain(self, trials: Trials) -> None:
        """Book every trial that has ended and pass its adapters on to scoring."""
        while True:
            try:
                kind, *details = trials.events.get_nowait()
            except queue.Empty:
                return
            if kind == "stopped":
                full = kind_of(details[0]) == NO_SPACE
                where = f", on this machine's scratch, {tempfile.gettempdir()} and Ray's session in it" if full else ""
                raise StudyStopped(f"Ray Tune failed: {details[0]}{where}") from details[0]
            if kind == "result":
                self._book(details[0])
            else:
                self._lost_trial(*details)

    def _lost_trial(self, adapter_ids: list[str], kind: str, message: str) -> None:
        """A trial has ended without an answer: those of its gang that are recorded are trained, the others failed."""
        for adapter_id in adapter_ids:
            unit = self._units[adapter_id]
            if self._store.exists(f"{unit.folder}/{RECORD_FILE}"):
                record = json.loads(self._store.read(f"{unit.folder}/{RECORD_FILE}"))
                self._book({"trained": [headline(record)], "rejected": []})
                continue
            last, attempts = message.strip().splitlines()[-1], self._config.failures.node_lost + 1
            self._failed(Failure(adapter_id, str(unit), kind, last, attempts, message))

    def _book(self, result: dict[str, Any]) -> None:
        for adapter in result["trained"]:
            unit = self._units[adapter["adapter_id"]]
            estimated = self._estimates.train_s[unit.model][str(unit.source)]
            taken = adapter["seconds"] * self._estimates.devices[TRAIN]
            self.progress.finished(TRAIN, unit.model, adapter["tokens"], estimated, taken)
            self._succeeded(unit.unit_id)
            self._tracking.trained(unit)
            if (part := self._waiting.pop(unit.adapter_id, None)) is not None:
                self._pool.backlog.add([part])
        for failed in result["rejected"]:
            self._failed(
                Failure(**{key: failed[key] for key in ("unit_id", "unit", "kind", "message", "attempts", "traceback")})
            )

    def _scored(self, unit: ScoreUnit, result: Any) -> None:
        taken = result.seconds * self._estimates.devices[SCORE]
        self.progress.finished(SCORE, unit.model, result.tokens, self._estimated(unit), taken)
        self._succeeded(unit.score_id)
        if self._means is not None:
            self._tracking.scored(_subject(unit), self._means.scored(unit.subject_id, dict(result.metrics)))

    def _estimated(self, unit: ScoreUnit) -> float:
        return self._estimates.score_s[unit.model][self._target[unit.target]]

    def _succeeded(self, unit_id: str) -> None:
        if unit_id in self._failed_before:
            self._store.clear_failure(unit_id)

    def _node(self, node: str, used: bool) -> None:
        if used:
            self._store.take_back_node(node)
            self._display.warn(f"node {node} was excluded, but the study cannot go on without it: it is used again")
        else:
            self._store.exclude_node(node)
            self._display.warn(f"node {node} has lost {MOST_LOSSES} processes within the hour: it is used no more")

    def _failed(self, failure: Failure, score: ScoreUnit | None = None) -> None:
        """Record a failure, of a score or of an adapter; an adapter that failed takes its scores with it."""
        if failure.kind in STOPS:
            raise StudyStopped(f"{failure.kind} while working on {failure.unit}: {failure.message}")
        if score is not None:
            self.progress.lost(SCORE, score.model, failure.kind, 1, self._estimated(score))
            if self._means is not None:
                self._tracking.scored(_subject(score), self._means.failed(score.subject_id))
        else:
            unit = self._units[failure.unit_id]
            estimated = self._estimates.train_s[unit.model][str(unit.source)]
            self.progress.lost(TRAIN, unit.model, failure.kind, 1, estimated)
            seconds = self._unlocks(unit.adapter_id)
            if (part := self._waiting.pop(unit.adapter_id, None)) is not None:
                self.progress.lost(SCORE, unit.model, failure.kind, len(part.targets), seconds)
        self.progress.failures.append(failure)
        self._store.put_failure(failure.unit_id, failure.to_json())
        self._display.failure(failure)


def _subject(unit: ScoreUnit) -> str:
    return str(unit.adapter or f"{unit.model}/base")
