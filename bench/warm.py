"""Seconds that a trial costs beside its training, once its worker is warm.

`python -m bench.warm [CONFIG] [TRIALS]` runs trials of one adapter each on a Ray cluster of its own, as a study does,
and prints wall time minus the time in the training loop: of the first trial, and of those after it. With a config of
several models it also prints a trial's after a change of model.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from dataclasses import replace

import ray

from evaluators.items.item import check_supported
from orchestrator.planning.grid import expand
from orchestrator.planning.survey import survey
from orchestrator.training.context import TrialContext
from orchestrator.training.trial import GangTrainer
from orchestrator.training.workers import WorkerGroup
from study.config.file import load
from study.data.tasks import TaskLibrary
from study.models.resolve import resolve_all
from study.store.store import Store
from study.units import AdapterUnit


def beside(trainer: GangTrainer, unit: AdapterUnit, store: Store) -> tuple[float, float]:
    """Train an adapter: the seconds beside its training, and those of it."""
    started = time.perf_counter()
    trainer.train([unit.adapter_id], {})
    whole = time.perf_counter() - started
    trained = store.records()[unit.adapter_id].course.seconds
    return whole - trained, trained


def main(config_file: str, trials: int) -> None:
    config = load(config_file, [], None)
    library, models = TaskLibrary.of(config), resolve_all(config)
    found = survey(config, library, check_supported, print)
    units = expand(config, models, found.sources, found.targets).adapters
    first = next(iter(found.examples.values()))
    ray.init("local", include_dashboard=False, log_to_driver=False)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        known = {model.name: model for model in models}
        by_id = {unit.adapter_id: unit for unit in units}
        context = TrialContext(config, known, by_id, found.examples, store, found.counts)
        group = WorkerGroup(None, config.training)
        trainer = GangTrainer(context, group)
        seconds = [beside(trainer, unit, store) for unit in units[:trials]]
        other = replace(models[0], identity="the same, loaded again")
        again = GangTrainer(replace(context, models={models[0].name: other}), group)
        reload, _ = beside(again, units[trials], store)
        group.stop()
    ray.shutdown()
    after = sorted(more for more, _ in seconds[1:])
    mean = statistics.mean(trained for _, trained in seconds[1:])
    print(f"{config.study}: {len(first)} examples, {mean:.2f} s of training per trial")
    print(f"first trial: {seconds[0][0]:.2f} s beside its training; after a change of model: {reload:.2f} s")
    print(f"{len(after)} trials after it: median {statistics.median(after):.2f} s, most {after[-1]:.2f} s")


if __name__ == "__main__":
    main((sys.argv[1:2] or ["examples/quickstart/study.yaml"])[0], int((sys.argv[2:3] or ["22"])[0]))
