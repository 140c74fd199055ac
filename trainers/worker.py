"""One process of a trial's worker group, warm from trial to trial.

It keeps its imports, its process group, the base model and the tokenised data; another model replaces only the base.
Between jobs the base is bit for bit what was loaded. Every process of the group gets the same calls in the same order.
"""

from __future__ import annotations

import gc
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from adapters.kinds import lora, whole
from study.config import Recipe, Training
from study.errors import ConfigError
from study.faults.device import is_out_of_memory
from study.faults.kinds import BAD_DATA, NAN
from study.models.resolve import Model
from study.store.course import Conditions
from trainers.base import Base
from trainers.batch import Batching
from trainers.checkpoint import Checkpoint, Save
from trainers.data import BadData
from trainers.engine import opened
from trainers.gang import train_gang
from trainers.job import Job, Rejected, Trained
from trainers.member import Member
from trainers.settings import engine_config, zero_stage
from trainers.world import World

TOKENS = {"cpu": 2048, "cuda": 16384}  # padded tokens of a forward pass from which on more are hardly faster
WORTH = {"cpu": 128, "cuda": 2048}  # padded tokens that cost about as much as one more forward pass
_VERSIONS = ("torch", "deepspeed", "transformers", "peft")


class Worker:
    """Trains gangs. Knows nothing of Ray: an actor, a test or a benchmark holds one."""

    def __init__(self, rank: int, world_size: int) -> None:
        self.world = World(rank, world_size)
        self.base: Base | None = None

    def address(self) -> tuple[str, int]:
        """Host and free port at which rank 0 can be met; given to `join` of every process."""
        return self.world.address()

    def join(self, host: str, port: int) -> None:
        """Enter the process group; again with the same address it does nothing."""
        self.world.join(host, port)

    def train(
        self,
        model: Model,
        recipe: Recipe,
        training: Training,
        jobs: Sequence[Job],
        out: Path,
        start: Checkpoint | None = None,
        save: Save | None = None,
    ) -> list[Trained | Rejected]:
        """Train a gang, each adapter into `out/<adapter_id>`. Rank 0 returns a result per job, the others nothing.

        The jobs go on from `start`, where another gang may have left them, whatever its processes; rank 0 hands a
        checkpoint to `save` at the end of each epoch. A member that cannot be trained is Rejected and leaves the others
        alone. Raises ConfigError for DeepSpeed keys that the recipe decides, and torch.OutOfMemoryError, upon which the
        caller asks for fewer jobs or a smaller micro-batch: the adapters are the same. A group of processes, where the
        others wait in a collective, is of no more use after an error.
        """
        if not self.world.joined and self.world.size == 1:
            self.join(*self.address())
        settings = engine_config(training, model.dtype)
        if model.dtype == "float16" and self.world.device.type == "cpu":
            raise ConfigError("models.dtype", model.dtype, "cannot be trained on a CPU", "use bfloat16 or float32")
        base = self._load(model, settings if zero_stage(training) == 3 and recipe.lora is not None else None)
        results: dict[str, Trained | Rejected] = {}
        members: list[Member] = []
        for job in jobs:
            try:
                rows = base.rows(job.examples, recipe.max_length, recipe.loss_on)
                members.append(Member(len(members), job, rows, recipe))
            except BadData as error:
                results[job.adapter_id] = Rejected(job.adapter_id, BAD_DATA, str(error))
        if members:
            shared = self._train_gang(base, recipe, training, settings, members, start, save)
            for member in members:
                results[member.job.adapter_id] = self._result(member, shared, recipe, base, out)
        return [results[job.adapter_id] for job in jobs] if self.world.rank == 0 else []

    def _load(self, model: Model, spread: dict[str, Any] | None) -> Base:
        wanted = model.identity, spread is not None
        if self.base is None or (self.base.model.identity, self.base.partitioned) != wanted:
            self.base = None
            gc.unfreeze()
            gc.collect()  # the old one is freed before the new one is loaded
            self.base = Base(model, self.world.device, spread)
            gc.freeze()  # what is loaded by now stays: collecting after each job need not look at it again
        return self.base

    def _train_gang(
        self,
        base: Base,
        recipe: Recipe,
        training: Training,
        settings: dict[str, Any],
        members: Sequence[Member],
        start: Checkpoint | None,
        save: Save | None,
    ) -> Conditions:
        """Bring members to their ends; returns what their records share."""
        rows: list[torch.Tensor | None] = [None] * len(members)
        if start is not None:
            for member in members:
                state = start.members[member.job.adapter_id]
                member.restore(state)
                rows[member.slot] = state.row
        how = self._batching(recipe, training, len(members), base.padding)
        names = [(member.job.adapter_id, member.job.seed) for member in members]
        try:
            with opened(base.module, recipe, settings, names, self.world, rows) as engine:
                resumed = train_gang(engine, members, recipe, how, self.world, start, save)
            return self._conditions(base.model, training, how, len(members), resumed)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            reason = str(error)
        _empty_cache()  # only here does the error let go of what the failed attempt held
        raise torch.OutOfMemoryError(reason)

    def _result(self, member: Member, shared: Conditions, recipe: Recipe, base: Base, out: Path) -> Trained | Rejected:
        job = member.job
        if member.failure is not None:
            return Rejected(job.adapter_id, NAN, member.failure)
        folder = out / job.adapter_id
        if self.world.rank == 0 and recipe.lora is None:
            whole.write(folder, base.module, member.kept)
        elif self.world.rank == 0 and recipe.lora is not None:
            lora.write(folder, recipe.lora, base.model, member.kept)
        return Trained(job.adapter_id, folder, member.course(), shared)

    def _batching(self, recipe: Recipe, training: Training, gang: int, padding: int) -> Batching:
        """Rows and tokens per process and forward pass: what is fast, unless less is asked for or fits."""
        rows = -(-recipe.batch_size * gang // self.world.size)
        if training.micro_batch_size != "auto":
            rows = min(rows, training.micro_batch_size)
        kind = self.world.device.type
        return Batching(rows, TOKENS[kind], WORTH[kind], padding)

    def _conditions(
        self, model: Model, training: Training, how: Batching, gang_size: int, resumed: tuple[int, ...]
    ) -> Conditions:
        device = self.world.device
        return Conditions(
            device=torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            world_size=self.world.size,
            dtype=model.dtype,
            zero_stage=zero_stage(training),
            gang_size=gang_size,
            micro_batch_size=how.rows,
            micro_batch_tokens=how.tokens,
            resumed_at_steps=resumed,
            versions={name: importlib.metadata.version(name) for name in _VERSIONS},
        )


def _empty_cache() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
