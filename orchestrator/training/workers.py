"""The worker actors of a trial: one process each, in one group, warm from gang to gang.

A group trains together or not at all: where one worker is lost, the others wait for it in vain, so the group is
stopped and started anew.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from orchestrator.cluster.actors import Actor, Answer, Method, start_actor
from orchestrator.cluster.beats import own_pulse
from orchestrator.cluster.kernel_kills import Count, struck, watch
from orchestrator.cluster.nodes import died_on, placed_on
from orchestrator.cluster.resources import as_options
from orchestrator.cluster.stacks import processes, wait
from orchestrator.cluster.vigil import Vigil, as_hung, remove
from orchestrator.costs.devices import load_s
from orchestrator.failures import Hung, NotStarted, kind_of
from orchestrator.scheduling.silence import Duty
from orchestrator.scheduling.waits import Waits
from orchestrator.training.checkpoints import file_of
from orchestrator.training.context import TrialContext
from orchestrator.training.outcome import GangEnded
from orchestrator.training.record import adapter_record, headline
from study.config import Training
from study.config.fields import share_of_gpu
from study.data.prompts import others
from study.faults.kinds import BUG, NODE_LOST
from study.pulse import LOADING, beat
from study.scratch import scratch
from study.store.layout import WEIGHTS_FILE
from study.units import AdapterUnit, failure_of
from trainers.job import Job, Rejected, Setup
from trainers.meeting import Meeting

START_LOOK_S = 5.0


class TrainerProcess:
    """One worker of a group: trains, and (rank 0) puts the adapters into the store."""

    def __init__(self, rank: int, world_size: int, share: float = 1.0) -> None:
        self._pulse = own_pulse()
        from adapters.base.device import keep_to
        from trainers.worker import Worker

        keep_to(share)
        self._worker = Worker(rank, world_size)

    def address(self) -> Meeting:
        return self._worker.address()

    def join(self, meeting: Meeting) -> None:
        self._worker.join(meeting)

    def train(
        self, context: TrialContext, adapter_ids: Sequence[str], training: Training, start: bytes | None
    ) -> GangEnded:
        """Train a gang, or go on with it from the checkpoint `start`. Only rank 0 knows what became of it."""
        from trainers.checkpoint import Checkpoint

        self._pulse.begin(LOADING)

        def save(reached: Checkpoint) -> None:
            limits = training.micro_batch_size, training.micro_batch_tokens
            rows, tokens = (None if limit == "auto" else limit for limit in limits)
            context.store.write(file_of(adapter_ids), reached.to_bytes(rows=rows, tokens=tokens))

        begun = Checkpoint.if_whole(start)
        units = [context.units[adapter_id] for adapter_id in adapter_ids]
        jobs = [_job(unit, context) for unit in units]
        recipe = context.config.recipe_of(units[0].source, units[0].recipe)  # a gang's is one
        trained, failed = [], []
        with scratch() as local:
            model = context.models[units[0].model]
            for outcome in self._worker.train(Setup(model, recipe, training), jobs, local, begun, save):
                unit = context.units[outcome.adapter_id]
                if isinstance(outcome, Rejected):
                    failed.append(failure_of(unit, outcome.kind, outcome.message, attempts=1))
                    continue
                record = adapter_record(unit, context, outcome)
                context.store.put_adapter(unit.folder, outcome.folder, record)
                trained.append(headline(record))
        return GangEnded(tuple(trained), tuple(failed))


def _job(unit: AdapterUnit, context: TrialContext) -> Job:
    """What a trainer is told of an adapter."""
    examples, cells = context.examples[unit.source], context.counts.get(unit.source, ())
    near = tuple(prompts.examples for prompts in others(context.prompts, unit.source))
    return Job(unit.adapter_id, unit.seed, examples, cells, near, _start(unit, context))


def _start(unit: AdapterUnit, context: TrialContext) -> bytes | None:
    """The file of the adapter that one begins with."""
    if unit.start is None:
        return None
    begins = context.units.get(unit.start.adapter_id, unit.start)  # which may lie where another recipe has left it
    return context.store.read(f"{begins.folder}/{WEIGHTS_FILE}")


class Trainer(Actor, Protocol):
    """A handle of a TrainerProcess."""

    address: Method[Meeting]
    join: Method[None]
    train: Method[GangEnded]


class WorkerGroup:
    """The workers of one placement group, which are started when there is something to train."""

    def __init__(self, places: PlacementGroup | None, training: Training, waits: Waits | None = None) -> None:
        self._places, self._resources = places, training.resources_per_worker
        self._waits = waits or Waits()
        self.size = training.workers_per_trial
        self.workers: list[Trainer] = []
        self._watches: list[Count] = []
        self._vigil: Vigil | None = None
        self._shared: tuple[TrialContext, ray.ObjectRef[TrialContext]] | None = None  # lies in Ray's store once

    def train(
        self, context: TrialContext, adapter_ids: Sequence[str], training: Training, start: bytes | None
    ) -> GangEnded:
        """Train a gang on the group, starting it first if need be; from a checkpoint where `start` is one.

        Raises what a worker raises or died of, and Hung where one has lived and done nothing: all are dead then.
        """
        if self._shared is None or self._shared[0] is not context:
            self._shared = context, ray.put(context)
            self._vigil = Vigil(context.config.failures.hung_after_s)
        arguments = self._shared[1], adapter_ids, training, ray.put(start)  # one copy for all, and the same for all
        answers: list[ray.ObjectRef[GangEnded]] = []
        try:
            self.start()
            self._watches = [watch(worker) for worker in self.workers]
            answers += [worker.train.remote(*arguments) for worker in self.workers]
            return self._answers(answers, _duty(context, adapter_ids))[0]
        except Hung as hung:
            with suppress(OSError):  # it says what there is to say anyway
                context.store.write(hung.file, hung.found)
            raise
        except RayTaskError as error:
            if answers and kind_of(error) in (BUG, NODE_LOST):
                self._raise_loss(answers)
            raise

    def _answers(self, answers: list[ray.ObjectRef[GangEnded]], duty: Duty) -> list[GangEnded]:
        """Wait for the workers as long as any of those that have not answered says its steps: others wait for it."""
        assert self._vigil is not None
        while (found := _soon(answers, self._vigil.every_s)) is None:
            left = set(ray.wait(answers, num_returns=len(answers), timeout=0)[1])
            at_work = [(worker, duty) for worker, one in zip(self.workers, answers, strict=True) if one in left]
            silent = [seconds for _, seconds in self._vigil.silent(at_work)]
            if silent and len(silent) == len(at_work):
                raise self._vigil.end(self.workers, duty.what, min(silent))
            if (far := self._vigil.reached(self.workers[0], duty)) is not None:
                beat(reached=far[0])  # the driver hears the trial alone
        return found

    def failed_on(self) -> list[str]:
        """The nodes of those workers that are dead; of all where none is, since one of their devices has failed."""
        return died_on(self.workers) or placed_on(self.workers)

    def struck(self) -> bool:
        """Whether the kernel has killed for memory on their nodes since they were given what they train."""
        return struck(self._watches)

    def stop(self) -> None:
        wait(remove(self.workers))
        self.workers, self._watches = [], []

    def start(self) -> None:
        """Have the workers ready. Raises NotStarted where they are not all there in time, Hung where they are."""
        if self.workers:
            return
        name = f"trainer {uuid.uuid4().hex[:6]}"  # of its own: the group before it may still be dying
        self.workers = [self._worker(rank, f"{name} worker {rank}") for rank in range(self.size)]
        [meeting] = self._started([self.workers[0].address.remote()])
        self._started([worker.join.remote(meeting) for worker in self.workers])

    def _started(self, answers: list[ray.ObjectRef[Answer]]) -> list[Answer]:
        deadline = time.monotonic() + self._waits.start_s
        while (found := _soon(answers, min(START_LOOK_S, self._waits.start_s))) is None:
            if time.monotonic() > deadline:
                raise self._not_started(f"not all ready within {self._waits.start_s:.0f} s")
        return found

    def _not_started(self, problem: str) -> Exception:
        what = f"{self.size} workers that start"
        if len(processes(self.workers)) == self.size:
            return as_hung(self.workers, what, problem)
        self.stop()
        return NotStarted(f"{what}: {problem}, as they found no place, or were lost")

    def _worker(self, rank: int, name: str) -> Trainer:
        options = {**as_options(self._resources), "name": name}
        if self._places is not None:
            bundle = len(self._places.bundle_specs) - self.size + rank
            options["scheduling_strategy"] = PlacementGroupSchedulingStrategy(self._places, bundle)
        worker: Trainer = start_actor(TrainerProcess, rank, self.size, share_of_gpu(self._resources), **options)
        return worker

    def _raise_loss(self, answers: list[ray.ObjectRef[GangEnded]]) -> None:
        """Raise that a process is lost, if one is: what others raise is then its consequence, and no bug.

        A process sees the connection to a lost one end a moment before Ray does.
        """
        for answer in ray.wait(answers, num_returns=len(answers), timeout=self._waits.loss_s)[0]:
            with suppress(RayTaskError):
                ray.get(answer)


def _duty(context: TrialContext, adapter_ids: Sequence[str]) -> Duty:
    """What a gang is to those who watch over it."""
    model = context.models[context.units[adapter_ids[0]].model]
    what = f"{model.name}, training {context.units[adapter_ids[0]]} and {len(adapter_ids) - 1} more"
    return Duty(what, model.name, LOADING, load_s(model))


def _soon(answers: list[ray.ObjectRef[Answer]], within_s: float) -> list[Answer] | None:
    """What some workers answer within so many seconds, if they do; this process, too, says that it goes on."""
    beat()
    try:
        return ray.get(answers, timeout=within_s)
    except GetTimeoutError as error:
        if isinstance(error, RayTaskError):  # a worker's own
            raise
        return None


def is_lost(error: Exception) -> bool:
    """Whether Ray says that a worker is gone, rather than that it has raised something."""
    return isinstance(error, RayError) and not isinstance(error, RayTaskError)
