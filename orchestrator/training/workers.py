"""The worker actors of a trial: one process each, in one group, warm from gang to gang."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from orchestrator.cluster.kernel_kills import struck, watch
from orchestrator.cluster.nodes import died_on, placed_on
from orchestrator.failures import NotStarted, kind_of
from orchestrator.training.checkpoints import file_of
from study.cells import Source
from study.config import StudyConfig, Training
from study.data.example import Example
from study.faults.kinds import BUG, NODE_LOST
from study.models.resolve import Model
from study.scratch import scratch
from study.store.records import AdapterRecord
from study.store.store import Store
from study.units import AdapterUnit, failure_of
from trainers.job import Trained

START_TIMEOUT_S = 300.0
LOSS_SEEN_S = 30.0  # Ray takes about one


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

    def train(
        self, context: TrialContext, adapter_ids: Sequence[str], training: Training, start: bytes | None
    ) -> dict[str, Any]:
        """Train a gang, or go on with it. Rank 0 returns {"trained": [headline], "rejected": [failure]}."""
        from trainers.checkpoint import Checkpoint
        from trainers.job import Job, Rejected, Setup

        def save(reached: Checkpoint) -> None:
            rows = None if training.micro_batch_size == "auto" else training.micro_batch_size
            context.store.write(file_of(adapter_ids), reached.to_bytes(rows=rows))

        begun = Checkpoint.if_whole(start)
        units = [context.units[adapter_id] for adapter_id in adapter_ids]
        jobs = [Job(unit.adapter_id, unit.seed, context.examples[unit.source]) for unit in units]
        config = context.config
        trained, rejected = [], []
        with scratch() as local:
            model = context.models[units[0].model]
            outcomes = self._worker.train(Setup(model, config.recipe, training), jobs, local, begun, save)
            for outcome in outcomes:
                unit = context.units[outcome.adapter_id]
                if isinstance(outcome, Rejected):
                    rejected.append(failure_of(unit, outcome.kind, outcome.message, attempts=1).to_json())
                    continue
                record = adapter_record(unit, context, outcome)
                context.store.put_adapter(unit.folder, outcome.folder, record)
                trained.append(headline(record))
        return {"trained": trained, "rejected": rejected}


def adapter_record(unit: AdapterUnit, context: TrialContext, trained: Trained) -> AdapterRecord:
    """What record.json says: what the adapter is, and how its training went."""
    return AdapterRecord(
        adapter_id=unit.adapter_id,
        model=unit.model,
        model_identity=context.models[unit.model].identity,
        source=tuple(str(cell) for cell in unit.source.cells),
        seed=unit.seed,
        recipe=context.config.recipe.model_dump(mode="json"),
        train_doc_hashes=tuple(sorted({example.doc_hash for example in context.examples[unit.source]})),
        course=trained.course,
        conditions=trained.conditions,
    )


class WorkerGroup:
    """The worker actors of one placement group."""

    def __init__(self, placement_group: PlacementGroup | None, config: StudyConfig) -> None:
        self._placement_group, self._config = placement_group, config
        self.size = config.training.workers_per_trial
        self._workers: list[Any] = []
        self._watches: list[Any] = []

    def train(
        self, context_ref: Any, adapter_ids: Sequence[str], training: Training, start: bytes | None
    ) -> dict[str, Any]:
        """Train a gang on the group, starting it first if need be."""
        if not self._workers:
            self._start()
        arguments = context_ref, adapter_ids, training, ray.put(start)  # one copy for all, and the same for all
        self._watches = [watch(worker) for worker in self._workers]
        answers = [worker.train.remote(*arguments) for worker in self._workers]
        try:
            return dict(ray.get(answers)[0])
        except RayTaskError as error:
            if kind_of(error) in (BUG, NODE_LOST):
                _raise_loss(answers)
            raise

    def failed_on(self) -> list[str]:
        """The nodes of those workers that are dead; of all where none is, since one of their devices has failed."""
        return died_on(self._workers) or placed_on(self._workers)

    def struck(self) -> bool:
        """Whether the kernel has killed for memory on their nodes since they were given what they train."""
        return struck(self._watches)

    def stop(self) -> None:
        for worker in self._workers:
            ray.kill(worker)
        self._workers, self._watches = [], []

    def _start(self) -> None:
        training = self._config.training
        name = f"trainer {uuid.uuid4().hex[:6]}"  # of its own: the group before it may still be dying
        for rank in range(self.size):
            options: dict[str, Any] = {
                "num_cpus": training.resources_per_worker.get("CPU", 0),
                "num_gpus": training.resources_per_worker.get("GPU", 0),
                "resources": {k: v for k, v in training.resources_per_worker.items() if k not in ("CPU", "GPU")},
                "name": f"{name} worker {rank}",
            }
            if self._placement_group is not None:
                bundle = len(self._placement_group.bundle_specs) - self.size + rank
                options["scheduling_strategy"] = PlacementGroupSchedulingStrategy(self._placement_group, bundle)
            self._workers.append(ray.remote(TrainerProcess).options(**options).remote(rank, self.size))
        try:
            host, port = ray.get(self._workers[0].address.remote(), timeout=START_TIMEOUT_S)
            ray.get([worker.join.remote(host, port) for worker in self._workers], timeout=START_TIMEOUT_S)
        except GetTimeoutError as error:
            self.stop()
            raise NotStarted(f"{self.size} workers were not all there within {START_TIMEOUT_S:.0f} s") from error


def _raise_loss(answers: list[Any]) -> None:
    """Raise that a process is lost, if one is: what others raise is then its consequence, and no bug.

    A process sees the connection to a lost one end a moment before Ray does.
    """
    for answer in ray.wait(answers, num_returns=len(answers), timeout=LOSS_SEEN_S)[0]:
        with suppress(RayTaskError):
            ray.get(answer)


def is_lost(error: Exception) -> bool:
    """Whether Ray says that a worker is gone, rather than that it has raised something."""
    return isinstance(error, RayError) and not isinstance(error, RayTaskError)


def headline(record: AdapterRecord) -> dict[str, Any]:
    """What of a record the driver needs to know."""
    best = record.course.best
    losses = {name: getattr(best, name, None) for name in ("train_loss", "validation_loss")}
    spent = {"tokens": record.course.tokens.useful, "seconds": record.course.seconds}
    return {"adapter_id": record.adapter_id, **spent, **losses}
