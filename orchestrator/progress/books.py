"""The books of a run: every unit that ends is entered in its numbers, its failure records and its trackers."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

from rich.console import Console

from evaluators.scored import Scored
from orchestrator.costs.devices import SCORE, TRAIN
from orchestrator.costs.estimate import Estimates
from orchestrator.costs.pace import UnderWay
from orchestrator.failures import Hung
from orchestrator.planning.grid import Part
from orchestrator.planning.plan import Plan
from orchestrator.progress.display import Display
from orchestrator.progress.errands import Errands
from orchestrator.progress.means import Means
from orchestrator.progress.metrics import Metrics
from orchestrator.progress.numbers import begin
from orchestrator.progress.trackers import Tracking
from orchestrator.scheduling.blame import MOST_LOSSES
from orchestrator.scheduling.decide import Decision, Work
from orchestrator.scheduling.silence import Awake, Unanswered
from orchestrator.stop import StudyStopped
from study.config import StudyConfig
from study.faults.kinds import STOPS
from study.store import nodes
from study.store.layout import RUNS
from study.store.records import FailureRecord
from study.store.store import Store
from study.units import AdapterUnit, EpochAdapter, ScoreUnit

EXPORT_EVERY_S = 5.0
CLOSE_S = 10.0  # for what is to be written yet, however a run ends


class Books:
    """What a run of `plan` keeps of it; the `console` shows it."""

    def __init__(self, config: StudyConfig, plan: Plan, store: Store, estimates: Estimates, console: Console) -> None:
        self._store, self._estimates = store, estimates
        self.errands = Errands()
        self._unanswered, self._most_silence_s = Unanswered(Awake()), config.failures.hung_after_s / 2
        self._target = {cell: number for number, cell in enumerate(plan.grid.targets)}
        self._failed_before = store.failed()
        self.progress = begin(plan, estimates)
        self.display = Display(self.progress, console)
        self._metrics = Metrics(config.study)
        self._tracking = Tracking(config, store, self.display.warn)
        self._means = Means(plan, store) if self._tracking.is_on else None
        self._exported = 0.0
        self._told: set[str] = set()

    def trained(self, unit: AdapterUnit, tokens: int, seconds: float, notes: Sequence[str] = ()) -> None:
        """An adapter is done. Each of `notes` is told once in a run."""
        for note in notes:
            if note not in self._told:
                self._told.add(note)
                self.display.warn(note)
        taken = seconds * self._estimates.devices[TRAIN]
        self.progress.finished(TRAIN, unit.model, tokens, self._train_s(unit), taken)
        self._succeeded(unit.unit_id)
        if self._tracking.is_on:
            self.errands.send(partial(self._tracking.course, unit), partial(self._tracking.trained, unit))

    def spared(self, parts: Sequence[Part], kept: int) -> list[Part]:
        """Of what waited for an adapter all but its kept epoch, which is that adapter: one has the scores of both."""
        left = []
        for part in parts:
            if isinstance(part.adapter, EpochAdapter) and part.adapter.epoch == kept:
                self.progress.spared(SCORE, part.model.name, len(part.targets), self._estimates.part_s(part))
            else:
                left.append(part)
        return left

    def scored(self, unit: ScoreUnit, result: Scored, around: float) -> None:
        """A score is made. `around`: how many times what it took has passed for it."""
        taken = result.seconds * self._estimates.devices[SCORE]
        self.progress.finished(SCORE, unit.model, result.tokens, self._score_s(unit), taken, around)
        self._succeeded(unit.score_id)
        if self._means is not None:
            self._tracking.scored(unit.subject, self._means.scored(unit.subject_id, dict(result.metrics)))

    def score_failed(self, failure: FailureRecord, unit: ScoreUnit) -> None:
        """Raises StudyStopped where nothing more can be done."""
        _check(failure)
        self.progress.lost(SCORE, unit.model, failure.kind, 1, self._score_s(unit))
        if self._means is not None:
            self._tracking.scored(unit.subject, self._means.failed(unit.subject_id))
        self._record(failure)

    def adapter_failed(self, failure: FailureRecord, unit: AdapterUnit, waiting: Sequence[Part]) -> None:
        """An adapter takes the scores that waited for it along. Raises StudyStopped where nothing more can be done."""
        _check(failure)
        self.progress.lost(TRAIN, unit.model, failure.kind, 1, self._train_s(unit))
        for part in waiting:
            self.progress.lost(SCORE, unit.model, failure.kind, len(part.targets), self._estimates.part_s(part))
        self._record(failure)

    def node(self, node: str, used: bool) -> None:
        """A node is used no more, or again."""
        if used:
            self.errands.send(partial(nodes.take_back, self._store, node))
            self.display.warn(f"node {node} was excluded, but the study cannot go on without it: it is used again")
        else:
            self.errands.send(partial(nodes.exclude, self._store, node))
            self.display.warn(f"node {node} has lost {MOST_LOSSES} processes within the hour: it is used no more")

    def hung(self, error: Hung) -> None:
        """Tell of a process that lived and did nothing, and leave where it stood in the store's logs."""
        self.display.warn(str(error))
        self.errands.send(partial(self._store.write, error.file, error.found))

    def hold(
        self,
        trials: int,
        evaluators: Counter[str],
        work: dict[str, Work],
        under_way: Sequence[UnderWay],
        decision: Decision,
    ) -> None:
        """What there is of either kind from now on, and should be; shown and exported when it is time to.

        What is `under_way` is by the clock.
        """
        at_work = sum(min(one.actors, one.units) for one in work.values())  # who has just finished goes on at once
        each = self._estimates.devices
        training = trials * each[TRAIN]
        held = training + evaluators.total() * each[SCORE]
        soon = decision.trials * each[TRAIN] + sum(decision.evaluators.values()) * each[SCORE]
        on = [one.on(each[one.stage]) for one in under_way]
        self.progress.hold(training + at_work * each[SCORE], held, on, soon)
        self.progress.evaluators = Counter(
            {model: evaluators[model] for model in self.progress.evaluators | evaluators}
        )
        self.display.update()
        if time.monotonic() - self._exported > EXPORT_EVERY_S:
            self.export()

    def visit(self, asked: float | None) -> None:
        """Take in what came of errands into the store. `asked`: since when somebody else has waited for its answer.

        Raises StudyStopped where it has not answered for too long: before those who wait for it are taken for hung.
        """
        self.errands.collect()
        silent_s = self.progress.store_silent_s = self._unanswered.look((asked, self.errands.asked))
        if silent_s > self._most_silence_s:
            problem = f"the store {self._store.uri} has not answered for {silent_s:.0f} s"
            raise StudyStopped(f"{problem}: its file system, or the way there, is frozen")

    def export(self) -> None:
        self._exported = time.monotonic()
        self._metrics.export(self.progress)
        self._tracking.progress(self.progress.numbers())

    def close(self) -> None:
        """Leave what was estimated of what this run did, and what it took, in the store's logs; let go of trackers."""
        record = {"ended_at": datetime.now(UTC).isoformat(timespec="seconds"), "seconds": self.progress.seconds}
        record |= {"units": self.progress.against_estimate(), "held_s": self.progress.held.device_s}
        record |= {"basis": dict(self._estimates.basis)}
        try:
            file = f"{RUNS}/{time.time():.0f}.json"
            self.errands.send(partial(self._store.write, file, json.dumps(record, indent=1).encode()))
            self.errands.finish(CLOSE_S)
        finally:
            self.errands.close()
            self._tracking.close()

    def _train_s(self, unit: AdapterUnit) -> float:
        return self._estimates.train_s[unit.model][unit.work]

    def _score_s(self, unit: ScoreUnit) -> float:
        return self._estimates.score_s[unit.model][self._target[unit.target]]

    def _succeeded(self, unit_id: str) -> None:
        if unit_id in self._failed_before:
            self.errands.send(partial(self._store.clear_failure, unit_id))

    def _record(self, failure: FailureRecord) -> None:
        self.progress.failures.append(failure)
        self.errands.send(partial(self._store.put_failure, failure))
        self.display.failure(failure)


def _check(failure: FailureRecord) -> None:
    if failure.kind in STOPS:
        raise StudyStopped(f"{failure.message} (while working on {failure.unit})")
