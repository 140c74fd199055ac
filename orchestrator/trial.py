"""A Tune trial: one gang of adapters, trained by a group of worker actors that outlives the trial.

Tune reuses the trial's actor for the next trial (`reuse_actors`), and with it the workers: their imports, base model,
tokenised data and process group stay warm. A lost worker rebuilds the group. Failures that trying again cannot mend
end the trial with a record, not with an exception, so that they do not cost the warm actor.
"""

from __future__ import annotations

import tempfile
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from orchestrator.failures import (
    KILLED_FOR_MEMORY,
    NODE_LOST,
    OUT_OF_MEMORY,
    TRANSIENT,
    Failure,
    backoff_s,
    budget,
    kind_of,
    last_line,
)
from orchestrator.gangs import smaller
from study.cells import Source
from study.config import StudyConfig, Training
from study.models import Model
from study.store import Store
from study.tasks import Example
from study.units import AdapterUnit

START_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class TrialContext:
    """What every trial of a study needs; in Ray's object store once."""

    config: StudyConfig
    models: Mapping[str, Model]
    units: Mapping[str, AdapterUnit]
    examples: Mapping[Source, tuple[Example, ...]]
    store: Store


class TrainerProcess:
    """One worker of a group: trains, and (rank 0) puts the adapters into the store."""

    def __init__(self, rank: int, world_size: int) -> None:
        from trainers.worker import Worker

        self._worker = Worker(rank, world_size)

    def address(self) -> tuple[str, int]:
        return self._worker.address()

    def join(self, host: str, port: int) -> None:
        self._worker.join(host, port)

    def train(self, context: TrialContext, adapter_ids: list[str], training: Training) -> dict[str, Any]:
        """Train a gang. Rank 0 returns {"trained": [headline], "rejected": [failure]}; the others nothing."""
        from trainers.job import Job, Rejected

        units = [context.units[adapter_id] for adapter_id in adapter_ids]
        jobs = [Job(unit.adapter_id, unit.seed, context.examples[unit.source]) for unit in units]
        config = context.config
        trained, rejected = [], []
        with tempfile.TemporaryDirectory(prefix="adapters-") as scratch:
            outcomes = self._worker.train(context.models[units[0].model], config.recipe, training, jobs, Path(scratch))
            for outcome in outcomes:
                unit = context.units[outcome.adapter_id]
                if isinstance(outcome, Rejected):
                    rejected.append(
                        Failure(unit.unit_id, str(unit), outcome.kind, outcome.message, attempts=1).to_json()
                    )
                    continue
                record = adapter_record(unit, context, outcome.record)
                context.store.put_adapter(unit.folder, outcome.folder, record)
                trained.append(headline(record))
        return {"trained": trained, "rejected": rejected}


def adapter_record(unit: AdapterUnit, context: TrialContext, measured: dict[str, Any]) -> dict[str, Any]:
    """What record.json says: what the adapter is, and how its training went."""
    return {
        **measured,
        "adapter_id": unit.adapter_id,
        "model": unit.model,
        "model_identity": context.models[unit.model].identity,
        "source": [str(cell) for cell in unit.source.cells],
        "seed": unit.seed,
        "recipe": context.config.recipe.model_dump(mode="json"),
        "train_doc_hashes": sorted({example.doc_hash for example in context.examples[unit.source]}),
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


class WorkerGroup:
    """The worker actors of one placement group."""

    def __init__(self, placement_group: PlacementGroup | None, config: StudyConfig, name: str) -> None:
        self._placement_group, self._config, self._name = placement_group, config, name
        self._workers: list[Any] = []

    def train(self, context_ref: Any, adapter_ids: list[str], training: Training) -> dict[str, Any]:
        """Train a gang on the group, starting it first if need be."""
        if not self._workers:
            self._start()
        answers = ray.get([worker.train.remote(context_ref, adapter_ids, training) for worker in self._workers])
        return dict(answers[0])

    def stop(self) -> None:
        for worker in self._workers:
            ray.kill(worker)
        self._workers = []

    def _start(self) -> None:
        training = self._config.training
        size = training.workers_per_trial
        for rank in range(size):
            options: dict[str, Any] = {
                "num_cpus": training.resources_per_worker.get("CPU", 0),
                "num_gpus": training.resources_per_worker.get("GPU", 0),
                "resources": {k: v for k, v in training.resources_per_worker.items() if k not in ("CPU", "GPU")},
                "name": f"{self._name} worker {rank}",
            }
            if self._placement_group is not None:
                bundle = len(self._placement_group.bundle_specs) - size + rank
                options["scheduling_strategy"] = PlacementGroupSchedulingStrategy(self._placement_group, bundle)
            self._workers.append(ray.remote(TrainerProcess).options(**options).remote(rank, size))
        host, port = ray.get(self._workers[0].address.remote(), timeout=START_TIMEOUT_S)
        ray.get([worker.join.remote(host, port) for worker in self._workers], timeout=START_TIMEOUT_S)


class AdapterTrial(tune.Trainable):
    """Tune's view of a gang: one step that trains it. config = {"gang": [adapter_id, …], …}."""

    def setup(self, config: dict[str, Any], context: TrialContext) -> None:  # type: ignore[override]  # the rest comes by tune.with_parameters
        self._context, self._context_ref = context, ray.put(context)
        self._gang: list[str] = list(config["gang"])
        name = f"trainer {str(ray.get_runtime_context().get_actor_id())[:8]}"
        self._group = WorkerGroup(ray.util.get_current_placement_group(), context.config, name)

    def step(self) -> dict[str, Any]:
        started = time.monotonic()
        attempts: dict[str, int] = {}
        training, recipe = self._context.config.training, self._context.config.recipe
        outcome: dict[str, list[Any]] = {"trained": [], "rejected": []}
        pending = [self._gang]
        while pending:
            try:
                part = self._group.train(self._context_ref, pending[0], training)
            except Exception as error:  # noqa: BLE001 - whatever a worker raises is classified here
                kind = kind_of(error)
                shrinks = kind == OUT_OF_MEMORY and len(pending[0]) > 1  # it ends by itself: no attempt is counted
                attempts[kind] = attempts.get(kind, 0) + (not shrinks)
                if attempts[kind] > budget(kind, self._context.config.failures):
                    part = self._give_up(pending[0], kind, error, attempts[kind])
                else:
                    if kind in (
                        NODE_LOST,
                        KILLED_FOR_MEMORY,
                        OUT_OF_MEMORY,
                    ):  # a group waits for the process that is gone: begin anew
                        self._group.stop()
                    if kind == OUT_OF_MEMORY:
                        pending, training = smaller(pending, training, recipe)
                    elif kind == TRANSIENT:
                        time.sleep(backoff_s(attempts[kind]))
                    continue
            pending = pending[1:]
            for key in outcome:
                outcome[key] += part[key]
        return {"done": True, "seconds": time.monotonic() - started, **outcome, **_means(outcome["trained"])}

    def _give_up(self, gang: list[str], kind: str, error: Exception, attempts: int) -> dict[str, Any]:
        if kind in (NODE_LOST, KILLED_FOR_MEMORY):
            self._group.stop()
        text = "".join(traceback.format_exception(error))
        failures = [
            Failure(adapter_id, str(self._context.units[adapter_id]), kind, last_line(error), attempts, text).to_json()
            for adapter_id in gang
        ]
        return {"trained": [], "rejected": failures}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._gang = list(new_config["gang"])
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: the store is the truth."""

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Nothing: the store is the truth."""

    def cleanup(self) -> None:
        self._group.stop()


def headline(record: dict[str, Any]) -> dict[str, Any]:
    """What of a record the driver needs to know."""
    best = record["epochs"][record["best_epoch"] - 1]
    losses = {name: best[name] for name in ("train_loss", "validation_loss")}
    spent = {"tokens": record["tokens"]["useful"], "seconds": record["seconds"]}
    return {"adapter_id": record["adapter_id"], **spent, **losses}


def _means(trained: list[dict[str, Any]]) -> dict[str, float]:
    """Means over the gang of what Tune's table and the dashboard show."""
    numbers = {}
    for name in ("train_loss", "validation_loss"):
        values = [adapter[name] for adapter in trained if adapter[name] is not None]
        if values:
            numbers[name] = sum(values) / len(values)
    return numbers
