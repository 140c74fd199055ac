"""Running a plan: Tune trains in a thread of its own, the main thread scores what is ready and keeps the books.

Invariant: whatever ends this process, the store holds every unit that was finished, and nothing half-finished.
"""

from __future__ import annotations

import queue
import tempfile
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any

import ray
from ray import tune

from orchestrator.cluster import share, trial_resources
from orchestrator.estimate import source_tokens
from orchestrator.failures import NO_SPACE, NODE_LOST, Failure
from orchestrator.gangs import gang_size, gangs, resumed
from orchestrator.plan import Plan
from orchestrator.pool import ScoringPool
from orchestrator.progress import Counts, Display, Progress
from orchestrator.survey import Survey
from orchestrator.trial import AdapterTrial, TrialContext
from study.config import StudyConfig
from study.store import Store
from study.units import AdapterUnit, ScoreUnit

WAIT_S = 0.5


class StudyStopped(Exception):
    """The study cannot go on at all (the disk is full, Tune itself failed); what is done is in the store."""


class Trials(threading.Thread):
    """Tune's run of all gangs. What ends goes into `events`: ("result", dict) or ("error", [adapter_id], message)."""

    def __init__(
        self, config: StudyConfig, context: TrialContext, train: Sequence[AdapterUnit], concurrent: int
    ) -> None:
        super().__init__(name="tune", daemon=True)
        self.events: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
        self._config, self._context, self._concurrent = config, context, concurrent
        self._gangs = planned(context, train, concurrent)
        self.left = len(self._gangs)

    def run(self) -> None:
        training = self._config.training
        bundles = [{}, *([dict(training.resources_per_worker)] * training.workers_per_trial)]
        trainable = tune.with_resources(
            tune.with_parameters(AdapterTrial, context=self._context),
            tune.PlacementGroupFactory(bundles, strategy="PACK"),
        )
        try:
            with tempfile.TemporaryDirectory(prefix="tune-") as scratch:
                tune.Tuner(
                    trainable,
                    param_space={
                        "gang": tune.grid_search([[unit.adapter_id for unit in gang] for gang in self._gangs])
                    },
                    tune_config=tune.TuneConfig(
                        reuse_actors=True,
                        max_concurrent_trials=self._concurrent,
                        trial_name_creator=partial(trial_name, self._context.units),
                        trial_dirname_creator=attrgetter("trial_id"),
                    ),
                    run_config=tune.RunConfig(
                        name=self._config.study,
                        storage_path=scratch,
                        verbose=0,
                        failure_config=tune.FailureConfig(max_failures=self._config.failures.node_lost),
                        callbacks=[_Report(self.events)],
                    ),
                ).fit()
        except Exception as error:  # noqa: BLE001 - a thread's exception would vanish: the main thread gets it
            self.events.put(("stopped", error))


def planned(context: TrialContext, train: Sequence[AdapterUnit], devices: int) -> list[tuple[AdapterUnit, ...]]:
    """The gangs of what is left to train, sized and balanced by the models' own tokens."""
    sizes, tokens, config = {}, {}, context.config
    everything = list(context.units.values())
    for name in dict.fromkeys(unit.model for unit in everything):
        per_source = source_tokens(context.models[name], context.examples)
        mine = [unit for unit in everything if unit.model == name]
        tokens.update({unit.adapter_id: per_source[unit.source] for unit in mine})
        examples = sum(len(context.examples[unit.source]) for unit in mine)
        mean = sum(tokens[unit.adapter_id] for unit in mine) / examples
        sizes[name] = gang_size(config.training, config.recipe, context.models[name], mean)
    return resumed(everything, train, partial(gangs, size=sizes, tokens=tokens, devices=devices))


def trial_name(units: Mapping[str, AdapterUnit], trial: Any) -> str:
    """`model/task/[languages]/seed`; a gang joins its members' tasks, languages and seeds."""
    gang = [units[adapter_id] for adapter_id in trial.config["gang"]]
    tasks = "+".join(dict.fromkeys(unit.source.task for unit in gang))
    languages = ",".join(dict.fromkeys(unit.source.language for unit in gang))
    seeds = "+".join(dict.fromkeys(str(unit.seed) for unit in gang))
    return f"{gang[0].model}/{tasks}/[{languages}]/{seeds}"


class _Report(tune.Callback):
    """Hands every finished trial to the main thread."""

    def __init__(self, events: queue.SimpleQueue[tuple[Any, ...]]) -> None:
        self._events = events

    def __getstate__(self) -> dict[str, Any]:
        """Tune saves its callbacks for its own restore, which is not used: the store is the truth."""
        return {}

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._events.put(("result", trial.last_result))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        error = trial.get_error()
        self._events.put(("error", list(trial.config["gang"]), str(error) if error else "the trial's actor was lost"))


class StudyRun:
    """One run of a plan on a connected cluster."""

    def __init__(
        self, config: StudyConfig, plan: Plan, survey: Survey, store: Store, display_on: Any, profile: bool = False
    ) -> None:
        self._config, self._plan, self._store = config, plan, store
        grid = plan.grid
        self._units = {unit.adapter_id: unit for unit in grid.adapters}
        self._waiting: dict[str, list[ScoreUnit]] = {}
        self._failed_before = store.failed()
        self.progress = Progress(
            Counts(len(grid.adapters), len(grid.adapters) - len(plan.train)),
            Counts(len(grid.scores), len(grid.scores) - len(plan.score)),
        )
        self._display = Display(self.progress, display_on)
        self._pool = ScoringPool(config, grid.models, store, self._scored, self._failed, profile)
        self._context = TrialContext(
            config, {model.name: model for model in grid.models}, self._units, survey.examples, store
        )

    def run(self) -> list[Failure]:
        """Do all that is left. Returns what failed. Raises StudyStopped when nothing more can be done."""
        training = {unit.adapter_id for unit in self._plan.train}
        for unit in self._plan.score:  # in the grid's order: the base first
            if unit.adapter and unit.adapter.adapter_id in training:
                self._waiting.setdefault(unit.adapter.adapter_id, []).append(unit)
        ready = [u for u in self._plan.score if not (u.adapter and u.adapter.adapter_id in training)]
        self._pool.backlog.add([u for u in ready if u.adapter is None] + [u for u in ready if u.adapter is not None])
        total = ray.cluster_resources()
        concurrent, _ = share(
            total, trial_resources(self._config), self._config.evaluators.resources, len(self._plan.train)
        )
        trials = Trials(self._config, self._context, self._plan.train, max(1, concurrent))
        with self._display:
            if self._plan.train:
                trials.start()
            while trials.left or not self._pool.is_idle:
                self._drain(trials)
                self._pool.step(self._room(trials.left), WAIT_S)
                self._display.update()
        self._pool.stop()
        if self._plan.train:
            trials.join(timeout=60)
        return self.progress.failures

    def _room(self, trials_left: int) -> int:
        total = ray.cluster_resources()
        return share(total, trial_resources(self._config), self._config.evaluators.resources, trials_left)[1]

    def _drain(self, trials: Trials) -> None:
        """Book every trial that has ended and pass its adapters on to scoring."""
        while True:
            try:
                kind, *details = trials.events.get_nowait()
            except queue.Empty:
                return
            if kind == "stopped":
                raise StudyStopped(f"Ray Tune failed: {details[0]}") from details[0]
            trials.left -= 1
            if kind == "result":
                self._book(details[0])
            else:
                adapter_ids, message = details
                for adapter_id in adapter_ids:
                    unit = self._units[adapter_id]
                    last = message.strip().splitlines()[-1]
                    attempts = self._config.failures.node_lost + 1
                    self._failed(Failure(adapter_id, str(unit), NODE_LOST, last, attempts, message))

    def _book(self, result: dict[str, Any]) -> None:
        for adapter in result["trained"]:
            self.progress.adapters.done += 1
            self.progress.tokens += adapter["tokens"]
            self._succeeded([adapter["adapter_id"]])
            self._pool.backlog.add(self._waiting.pop(adapter["adapter_id"], []))
        for failed in result["rejected"]:
            self._failed(
                Failure(**{key: failed[key] for key in ("unit_id", "unit", "kind", "message", "attempts", "traceback")})
            )

    def _scored(self, score_ids: list[str], tokens: int) -> None:
        self.progress.scores.done += len(score_ids)
        self.progress.tokens += tokens
        self._succeeded(score_ids)

    def _succeeded(self, unit_ids: list[str]) -> None:
        for unit_id in self._failed_before & set(unit_ids):
            self._store.clear_failure(unit_id)

    def _failed(self, failure: Failure) -> None:
        """Record a failure; an adapter that failed takes its scores with it."""
        if failure.kind == NO_SPACE:
            raise StudyStopped(f"no space left while working on {failure.unit}: {failure.message}")
        lost = self._waiting.pop(failure.unit_id, [])
        if failure.unit_id in self._units:
            self.progress.adapters.failed += 1
            self.progress.scores.failed += len(lost)
        else:
            self.progress.scores.failed += 1
        self.progress.failures.append(failure)
        self._store.put_failure(failure.unit_id, failure.to_json())
        self._display.failure(failure)
