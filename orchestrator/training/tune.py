"""Ray Tune's part of a run: it trains gangs, each when the scheduler wants one more.

Tune runs in a thread of its own and asks `_Gangs` for the next trial; how many may run can change at any time. When
none may run for now, Tune ends, so that its idle actor gives its devices back, and is started again later. How a trial
ended reaches the main thread through the queue of gangs, as one of `outcome.Event`.
"""

from __future__ import annotations

import os
import threading
import time
from operator import attrgetter
from pathlib import Path
from typing import Any, cast

from ray import cloudpickle, tune
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from orchestrator.cluster.actors import Actor
from orchestrator.cluster.address import is_only_ours
from orchestrator.cluster.nodes import Nodes
from orchestrator.cluster.vigil import Vigil
from orchestrator.failures import Hung, kind_of, kind_of_words
from orchestrator.scheduling.gang_queue import GangQueue
from orchestrator.scheduling.gangs import Gang
from orchestrator.scheduling.silence import Duty
from orchestrator.training.context import TrialContext
from orchestrator.training.outcome import Event, GangEnded, GangLost, GangMoved, TuneStopped, of_result
from study.pulse import LOADING, Reached
from study.scratch import scratch

STOP_S = 5.0  # a step of Tune takes less, unless it waits for a cluster that does not answer


class Stopped(Exception):
    """The run is over before its trials are."""


class Trials(threading.Thread):
    """Runs the gangs of a queue until none is left."""

    def __init__(
        self, context: TrialContext, gangs: GangQueue[Event], trainable: type[tune.Trainable], nodes: Nodes
    ) -> None:
        super().__init__(name="tune", daemon=True)
        self._config, self._context, self._trainable = context.config, context, trainable
        self.gangs, self.nodes = gangs, nodes
        self._where = nodes.selector()
        self.stopped = False
        self._vigil = Vigil(context.config.failures.hung_after_s)
        self._at_work: dict[str, tuple[Actor, Duty, float]] = {}  # by trial, and since when

    def end_hung(self) -> list[Hung]:
        """Kill the actors of trials that do nothing, not even watch over their workers: Tune tries them again."""
        found, at_work = [], list(self._at_work.values())
        for actor, seconds in self._vigil.silent([(actor, duty) for actor, duty, _ in at_work]):
            asked = next(one for one in at_work if one[0] is actor)
            if any(one is asked for one in list(self._at_work.values())):  # Tune has not given it other work meanwhile
                found.append(self._vigil.end([actor], asked[1].what, seconds))
        return found

    def under_way(self) -> list[tuple[Gang, float, tuple[Reached, float] | None]]:
        """The gangs that are at work: for how many seconds, and how far each had come how many seconds ago."""
        now, gangs = time.monotonic(), self.gangs.running()
        at_work = [(gangs.get(trial), *one) for trial, one in list(self._at_work.items())]
        return [(gang, now - since, self._vigil.reached(actor, duty)) for gang, actor, duty, since in at_work if gang]

    def began(self, trial: Trial) -> None:
        """A trial's actor is there."""
        name, actor = trial.config["name"], cast(Actor, trial.temporary_state.ray_actor)
        self._at_work[trial.trial_id] = actor, Duty(f"the trial of {name}", name, LOADING), time.monotonic()
        self.gangs.placed(trial.trial_id)

    def over(self, trial: Trial) -> None:
        """A trial does nothing more."""
        self._at_work.pop(trial.trial_id, None)

    def run(self) -> None:
        try:
            while not self.stopped and self.gangs.is_wanted():
                self._fit()
        except Exception as error:  # noqa: BLE001 - a thread's exception would vanish: the main thread gets it
            self.gangs.events.put(TuneStopped(error))

    def is_over(self) -> bool:
        """Whether Tune should end: also when a node is used no more, which it cannot learn."""
        return self.gangs.is_over() or self._where != self.nodes.selector()

    def stop(self) -> None:
        """End Tune with the run, whatever its trials do, so that nobody asks Ray for anything any more."""
        self.stopped = True
        self.gangs.stop()
        if self.is_alive():
            self.join(STOP_S)

    def _placed(self) -> list[dict[str, str]]:
        """Where Tune may put the workers of trials, as label selectors of their bundles."""
        self._where = self.nodes.selector()
        self.gangs.keeps_none()
        return [self._where] * self._config.training.workers_per_trial

    def _fit(self) -> None:
        training = self._config.training
        bundles = [{}, *([dict(training.resources_per_worker)] * training.workers_per_trial)]
        trainable = tune.with_resources(
            tune.with_parameters(self._trainable, context=self._context),
            tune.PlacementGroupFactory(bundles, "PACK", bundle_label_selector=self._placed()),
        )
        trainable.__qualname__ = self._trainable.__name__  # processes and the dashboard show it, not Tune's wrapper
        with scratch() as local:
            tune.Tuner(
                trainable,
                tune_config=tune.TuneConfig(
                    search_alg=_Gangs(self),
                    num_samples=len(self.gangs.state()[0]),
                    reuse_actors=True,
                    trial_name_creator=_name,
                    trial_dirname_creator=attrgetter("trial_id"),
                ),
                run_config=tune.RunConfig(
                    name=self._config.study,
                    storage_path=str(local),
                    verbose=0,
                    failure_config=tune.FailureConfig(max_failures=self._config.failures.node_lost),
                    callbacks=[_Report(self)],
                ),
            ).fit()


class _Gangs(Searcher):
    """Tune's source of trials."""

    def __init__(self, trials: Trials) -> None:
        super().__init__()
        self._trials = trials

    def __getstate__(self) -> dict[str, object]:
        """Tune saves its search for its own restore, which is not used: the store is the truth."""
        return {}

    def suggest(self, trial_id: str) -> Any:
        if self._trials.is_over():
            return Searcher.FINISHED
        gang = self._trials.gangs.next(trial_id)
        if gang is None:
            return None
        names = [unit.adapter_id for unit in gang]
        return {"gang": names, "attempts": self._trials.gangs.attempts(gang), "name": trial_name(gang)}

    def on_trial_complete(self, trial_id: str, result: dict[str, object] | None = None, error: bool = False) -> None:
        """Nothing: `_Report` is told too, with the error."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the store is the truth."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the store is the truth."""


class _Report(tune.Callback):
    """Hands every finished trial to the main thread."""

    def __init__(self, trials: Trials) -> None:
        self._trials = trials

    def __getstate__(self) -> dict[str, object]:
        return {}

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: object) -> None:
        if self._trials.stopped:
            raise Stopped

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: object) -> None:
        self._trials.began(trial)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: object) -> None:
        self._trials.over(trial)
        outcome, gangs = of_result(trial.last_result), self._trials.gangs
        self._trials.nodes.lost(outcome.lost, trial.config["gang"])
        if isinstance(outcome, GangMoved):
            gone = {failure.unit_id for failure in outcome.failed}
            gangs.moved(trial.trial_id, outcome.attempts, gone, GangEnded(failed=outcome.failed))
        else:
            gangs.ended(trial.trial_id, outcome)

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: object) -> None:
        self._trials.over(trial)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: object) -> None:
        """The trial's actor is lost, or could not be made, as often as the budget allows."""
        self._trials.over(trial)
        error = _error_of(trial)
        text = str(error) if error else _words_of(trial)
        kind = kind_of(error) if error else kind_of_words(text)
        self._trials.gangs.ended(trial.trial_id, GangLost(tuple(trial.config["gang"]), kind, text))


def _error_of(trial: Trial) -> BaseException | None:
    """The last exception of a trial, from where Tune keeps it: its own accessor reads a copy that comes later.

    None also where others can write, as below the `/tmp/ray` of one's own `ray start`: reading it runs what it says.
    """
    file = trial.pickled_error_file
    if file is None or not os.path.exists(file) or not is_only_ours(Path(file)):
        return None
    with open(file, "rb") as source:
        error = cloudpickle.load(source)
    return error if isinstance(error, BaseException) else None


def _words_of(trial: Trial) -> str:
    """What Tune has written down of the last exception; words do nothing, whoever wrote them."""
    file = trial.error_file
    if file is None or not os.path.exists(file):
        return "the trial's actor was lost"
    return Path(file).read_text(errors="replace").rpartition("Failure # ")[2]


def trial_name(gang: Gang) -> str:
    """`model/task/[languages]/seed`; a gang joins its members' tasks, languages and seeds."""
    tasks = "+".join(dict.fromkeys(f"{unit.source.task}{unit.source.mark}" for unit in gang))
    languages = ",".join(dict.fromkeys(unit.source.language for unit in gang))
    seeds = "+".join(dict.fromkeys(str(unit.seed) for unit in gang))
    return f"{gang[0].model}/{tasks}/[{languages}]/{seeds}"


def _name(trial: Trial) -> str:
    """For Tune, which copies whatever makes names for every trial: this holds nothing that grows with the study."""
    return str(trial.config["name"])
