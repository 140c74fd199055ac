"""One process of a trial's worker group, warm from trial to trial.

It keeps its imports, its process group, the base model and the tokenised data; another model replaces only the base.
Between jobs the base is bit for bit what was loaded. Every process of the group gets the same calls in the same order.
"""

from __future__ import annotations

import gc
import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from adapters.base.device import empty_cache
from adapters.base.positions import turn_of
from adapters.kinds.kind import kind_of
from study.errors import ConfigError
from study.faults.device import is_out_of_memory
from study.faults.kinds import BAD_DATA, NAN
from study.pulse import LOADING, beat
from study.store.course import Conditions
from study.store.layout import epoch_folder
from trainers.base import Base
from trainers.batch import Batching
from trainers.checkpoint import Checkpoint, Save
from trainers.data import BadData
from trainers.engine import Start, opened
from trainers.gang import check_packing, train_gang
from trainers.job import Job, Rejected, Setup, Trained
from trainers.meeting import Meeting
from trainers.member import Member
from trainers.settings import PASS_WORTH, engine_config, pass_tokens, rows_per_process, zero_stage
from trainers.world import World

_VERSIONS = ("torch", "deepspeed", "transformers", "peft")


class Worker:
    """Trains gangs. Knows nothing of Ray: an actor, a test or a benchmark holds one."""

    def __init__(self, rank: int, world_size: int) -> None:
        self.world = World(rank, world_size)
        self.base: Base | None = None

    def address(self) -> Meeting:
        """Where rank 0 can be met; given to `join` of every process."""
        return self.world.address()

    def join(self, meeting: Meeting) -> None:
        """Enter the process group; again with the same address it does nothing."""
        self.world.join(meeting)

    def train(
        self,
        setup: Setup,
        jobs: Sequence[Job],
        out: Path,
        start: Checkpoint | None = None,
        save: Save | None = None,
    ) -> list[Trained | Rejected]:
        """Train a gang, each adapter into `out/<adapter_id>`. Rank 0 returns a result per job, the others nothing.

        The jobs go on from `start`, where another gang may have left them, whatever its processes; rank 0 hands a
        checkpoint to `save` at the end of each epoch. A member that cannot be trained is Rejected and leaves the others
        alone. Raises ConfigError for DeepSpeed keys that the recipe decides, and torch.OutOfMemoryError, upon which the
        caller asks for fewer jobs or a smaller micro-batch: the adapters are the same up to rounding. A group of
        processes, where the others wait in a collective, is of no more use after an error.
        """
        if not self.world.joined and self.world.size == 1:
            self.join(self.address())
        beat(LOADING)
        base, recipe = self._load(setup), setup.recipe
        beat()
        base.left_out(kind_of(recipe))
        results: dict[str, Trained | Rejected] = {}
        members: list[Member] = []
        for job in jobs:
            try:
                rows = base.rows(job.examples, recipe.max_length, recipe.loss_on)
                beat()
                member = Member(len(members), job, rows, recipe)
                member.give(base.prompts(member.drawn(), recipe.max_length))
                members.append(member)
            except BadData as error:
                results[job.adapter_id] = Rejected(job.adapter_id, BAD_DATA, str(error))
        if members:
            shared = self._train_gang(base, setup, members, start, save)
            for member in members:
                results[member.job.adapter_id] = self._result(member, shared, setup, base, out)
        return [results[job.adapter_id] for job in jobs] if self.world.rank == 0 else []

    def _load(self, setup: Setup) -> Base:
        """The base of a gang: the one this process holds if it is the same, loaded in the same way; else a new one."""
        model, training = setup.model, setup.training
        settings = engine_config(training, model.dtype)
        if model.dtype == "float16" and self.world.device.type == "cpu":
            raise ConfigError("models.dtype", model.dtype, "cannot be trained on a CPU", "use bfloat16 or float32")
        is_spread = zero_stage(training) == 3 and kind_of(setup.recipe).spreads_base
        if self.base is None or (self.base.model.identity, self.base.partitioned) != (model.identity, is_spread):
            self.base = None
            gc.unfreeze()
            gc.collect()  # the old one is freed before the new one is loaded
            self.base = Base(model, self.world.device, settings if is_spread else None)
            gc.freeze()  # what is loaded by now stays: collecting after each job need not look at it again
        return self.base

    def _train_gang(
        self, base: Base, setup: Setup, members: Sequence[Member], start: Checkpoint | None, save: Save | None
    ) -> Conditions:
        """Train members to their ends; return the conditions, which their records share."""
        starts = []
        for member in members:
            row = None
            if start is not None:
                state = start.members[member.job.adapter_id]
                member.restore(state)
                row = state.row
            starts.append(Start(row, member.begins_with()))
        how = self._batching(setup, len(members), base)
        settings = engine_config(setup.training, setup.model.dtype)
        names = [(member.job.adapter_id, member.job.seed) for member in members]
        recipe = setup.recipe if any(member.is_slow for member in members) else setup.recipe.of_source(1)
        try:
            with opened(base.module, recipe, settings, names, self.world, starts) as engine:
                if setup.training.gradient_checkpointing:
                    engine.recompute()
                if how.packing:
                    check_packing(engine, base, how)
                resumed = train_gang(engine, members, how, start, save)
            return self._conditions(base, setup, how, members, resumed)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            reason = str(error)
        empty_cache()  # only here does the error let go of what the failed attempt held
        raise torch.OutOfMemoryError(reason)

    def _result(self, member: Member, shared: Conditions, setup: Setup, base: Base, out: Path) -> Trained | Rejected:
        job = member.job
        if member.failure is not None:
            return Rejected(job.adapter_id, NAN, member.failure)
        folder, kind, start = out / job.adapter_id, kind_of(setup.recipe), member.begins_with()
        nothing = kind.is_as_begun(base.module, member.kept) if start is None else _is_equal(member.kept, start)
        if self.world.rank == 0:
            beat(LOADING)  # weights of a whole model are written as slowly as they are read
            kind.write(folder, base.module, base.model, member.kept)
            for epoch, weights in member.others():
                kind.write(Path(epoch_folder(str(folder), epoch)), base.module, base.model, weights)
        return Trained(job.adapter_id, folder, member.course(nothing), shared)

    def _batching(self, setup: Setup, gang: int, base: Base) -> Batching:
        """Rows and tokens of a process per forward pass: what is fast, or what `training` sets."""
        rows = rows_per_process(setup.recipe, gang, self.world.size)
        if setup.training.micro_batch_size != "auto":
            rows = min(rows, setup.training.micro_batch_size)
        device = self.world.device.type
        kind, turn = kind_of(setup.recipe), turn_of(base.module.config)
        limits = rows, pass_tokens(setup.training, device), PASS_WORTH[device]
        return Batching(*limits, base.padding, kind.dropout, turn, kind.virtual_tokens, setup.training.packing)

    def _conditions(
        self, base: Base, setup: Setup, how: Batching, members: Sequence[Member], resumed: tuple[int, ...]
    ) -> Conditions:
        device = self.world.device
        return Conditions(
            device=torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            world_size=self.world.size,
            dtype=setup.model.dtype,
            zero_stage=zero_stage(setup.training),
            gang_size=len(members),
            micro_batch_size=how.rows,
            micro_batch_tokens=how.tokens,
            packing=how.packing,
            resumed_at_steps=resumed,
            left_out=base.left_out(kind_of(setup.recipe)),
            versions={name: importlib.metadata.version(name) for name in _VERSIONS},
        )


def _is_equal(weights: Mapping[str, torch.Tensor], others: Mapping[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, others[name].to(tensor)) for name, tensor in weights.items())
