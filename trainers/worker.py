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

from adapters import lora
from study.config import Recipe, Training
from study.errors import ConfigError
from study.models import Model
from trainers.base import Base
from trainers.data import BadData
from trainers.engine import opened
from trainers.job import Job, Rejected, Trained
from trainers.member import Diverged, Member, train_member
from trainers.settings import engine_config, zero_stage
from trainers.world import World

_VERSIONS = ("torch", "deepspeed", "transformers", "peft")


class Worker:
    """Trains gangs. Knows nothing of Ray: an actor, a test or a benchmark holds one."""

    def __init__(self, rank: int, world_size: int) -> None:
        self.world = World(rank, world_size)
        self.base: Base | None = None
        self._fits: int | None = None  # the micro-batch that an out-of-memory has brought this base down to

    def address(self) -> tuple[str, int]:
        """Host and free port at which rank 0 can be met; given to `join` of every process."""
        return self.world.address()

    def join(self, host: str, port: int) -> None:
        """Enter the process group; again with the same address it does nothing."""
        self.world.join(host, port)

    def train(
        self, model: Model, recipe: Recipe, training: Training, jobs: Sequence[Job], out: Path
    ) -> list[Trained | Rejected]:
        """Train a gang, each adapter into `out/<adapter_id>`. Rank 0 returns a result per job, the others nothing.

        A member that cannot be trained is Rejected and leaves the others alone. Raises ConfigError for DeepSpeed keys
        that the recipe decides, and torch.OutOfMemoryError: alone, a process halves its micro-batch down to one row
        first; in a group, where the others wait in a collective, the caller starts a new group with a smaller
        `training.micro_batch_size`. The adapters are the same.
        """
        if not self.world.joined and self.world.size == 1:
            self.join(*self.address())
        settings = engine_config(training, recipe, model.dtype)
        if model.dtype == "float16" and self.world.device.type == "cpu":
            raise ConfigError("models.dtype", model.dtype, "cannot be trained on a CPU", "use bfloat16 or float32")
        base = self._load(model, partitioned=zero_stage(training) == 3)
        results = [self._train_one(base, recipe, training, settings, job, out) for job in jobs]
        return [result for result in results if result is not None] if self.world.rank == 0 else []

    def _load(self, model: Model, partitioned: bool) -> Base:
        if self.base is None or (self.base.model.identity, self.base.partitioned) != (model.identity, partitioned):
            self.base, self._fits = None, None
            gc.unfreeze()
            gc.collect()  # the old one is freed before the new one is loaded
            self.base = Base(model, self.world.device, partitioned)
            gc.freeze()  # what is loaded by now stays: collecting after each job need not look at it again
        return self.base

    def _train_one(
        self, base: Base, recipe: Recipe, training: Training, settings: dict[str, Any], job: Job, out: Path
    ) -> Trained | Rejected | None:
        """One member, its micro-batch halved on out-of-memory. None on every rank but the first."""
        try:
            rows = base.rows(job.examples, recipe.max_length, recipe.loss_on)
        except BadData as error:
            return Rejected(job.adapter_id, "bad_data", str(error))
        while True:
            micro_batch = self._micro_batch(recipe, training)
            member = Member(job, rows, recipe, micro_batch, base.padding, base.keeps_logits)
            try:
                with opened(base.module, recipe, settings, job.adapter_id, job.seed, self.world.size) as engine:
                    weights, record = train_member(engine, member, self.world)
                break
            except Diverged as error:
                return Rejected(job.adapter_id, "nan", str(error))
            except torch.OutOfMemoryError:
                if self.world.size > 1 or micro_batch == 1:
                    raise
                self._fits = micro_batch // 2
            _empty_cache()  # only here does the error let go of what the failed attempt held
        if self.world.rank != 0:
            return None
        folder = out / job.adapter_id
        lora.write(folder, recipe.lora, base.model, weights)
        return Trained(job.adapter_id, folder, {**record, **self._circumstances(base.model, training)})

    def _micro_batch(self, recipe: Recipe, training: Training) -> int:
        """Rows per process and forward pass: a process's share of the batch unless less is asked for or fits."""
        share = -(-recipe.batch_size // self.world.size)
        asked = share if training.micro_batch_size == "auto" else training.micro_batch_size
        return min(share, asked, self._fits or share)

    def _circumstances(self, model: Model, training: Training) -> dict[str, Any]:
        device = self.world.device
        return {
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            "dtype": model.dtype,
            "world_size": self.world.size,
            "zero_stage": zero_stage(training),
            "versions": {name: importlib.metadata.version(name) for name in _VERSIONS},
        }


def _empty_cache() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
