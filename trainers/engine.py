"""A gang on a DeepSpeed engine: one trainable parameter, the sheet that holds all its adapters, or all of a model.

Invariant: a member's gradient that is not finite never reaches DeepSpeed, which would skip the step for all of them.
"""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import functional
from transformers import PreTrainedModel

from adapters.bank import LoraBank, linear_sites
from adapters.kinds import lora
from adapters.kinds.whole import WholeModel
from study.config import Lora, Recipe
from trainers.batch import MicroBatch
from trainers.optimizer import GangAdamW
from trainers.world import World, deepspeed, forget_modules


class GangModel(torch.nn.Module):
    """A base with a bank of adapters on it, or with other weights; it gives the loss of each target of a micro-batch.

    The base stays in evaluation mode, so that any dropout of its own is off: the adapters' dropout alone is a function
    of the adapter. A forward hook hands the LM head only the positions that predict a target: with a small model and a
    large vocabulary the head would else be most of the work.
    """

    def __init__(self, base: torch.nn.Module, bank: LoraBank | WholeModel) -> None:
        super().__init__()
        self.bank = bank
        if isinstance(bank, LoraBank):
            self.base = base
        else:
            self.__dict__["base"] = base  # no module of this one: its own weights are not DeepSpeed's business
        self._positions: torch.Tensor | None = None
        head = base.get_output_embeddings() if isinstance(base, PreTrainedModel) else None
        self._handle = head.register_forward_pre_hook(self._select) if head is not None else None

    def forward(self, batch: MicroBatch) -> torch.Tensor:
        """-log p of each target given what comes before it, in nats, float32 [N]."""
        self._positions = batch.positions
        inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask, "use_cache": False}
        if isinstance(self.bank, LoraBank):
            with self.bank.rows(batch.slots, batch.dropout):
                logits_BTV = self.base(**inputs).logits
        else:
            logits_BTV = self.bank.run(self.base, inputs).logits
        logits_NV = logits_BTV.flatten(0, 1)
        if self._handle is None:
            logits_NV = logits_NV.index_select(0, batch.positions)
        return functional.cross_entropy(logits_NV.float(), batch.targets, reduction="none")

    def detach(self) -> None:
        """Take adapters and hooks off the base."""
        if isinstance(self.bank, LoraBank):
            self.bank.detach()
        if self._handle is not None:
            self._handle.remove()

    def _select(self, _head: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        assert self._positions is not None
        return (inputs[0].flatten(0, 1).index_select(0, self._positions)[None], *inputs[1:])


class Engine:
    """What the training loop needs of DeepSpeed. Slots are the gang's members, in order."""

    def __init__(self, engine: Any, model: GangModel, optimizer: GangAdamW, world: World) -> None:
        self._engine, self._bank, self._optimizer, self._world = engine, model.bank, optimizer, world
        self.device = world.device
        self._bad = torch.zeros(self._bank.slots, device=self.device)
        if not engine.fp16_enabled():  # there infinite gradients are how DeepSpeed finds its loss scale
            self._bank.sheet.register_hook(self._without_bad)

    def losses(self, batch: MicroBatch) -> torch.Tensor:
        """The loss of each target of a micro-batch [N], in nats."""
        losses = self._engine(batch)
        assert isinstance(losses, torch.Tensor)
        return losses

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradient of this process's part of the step's loss; the parts of all processes add up."""
        self._engine.backward(loss * self._world.size)  # DeepSpeed averages gradients over processes

    def bad_slots(self) -> set[int]:
        """Members whose gradient was NaN or infinite in this step, in any process; it has not been passed on."""
        bad = self._world.sum_each(self._bad)
        self._bad.zero_()
        return {slot for slot, times in enumerate(bad) if times}

    def step(self, rates: Sequence[float | None], number: int) -> None:
        """Take optimiser step `number` (1, 2, …) with a learning rate per member, None for one that stays as it is."""
        self._optimizer.rates, self._optimizer.number = list(rates), number
        self._engine.step()

    def state(self) -> torch.Tensor:
        """All members' weights and moments, [3, K, P] float32 on the CPU, put together where ZeRO has spread them."""
        return self._optimizer.state_of_all()

    def weights(self, slots: Collection[int]) -> dict[int, dict[str, torch.Tensor]]:
        """Copies of members' weights on the CPU, as an adapter's file has them."""
        bank = self._bank
        with deepspeed.zero.GatheredParameters([bank.sheet], enabled=hasattr(bank.sheet, "ds_id")):
            if isinstance(bank, WholeModel):
                return {slot: bank.copies() for slot in slots}
            return {slot: lora.named(bank.get(slot)) for slot in slots}

    def _without_bad(self, gradient_KP: torch.Tensor) -> torch.Tensor:
        """The sheet's gradient with the rows that are not finite (or too large to square) set to zero, and noted."""
        bad = ~torch.isfinite(torch.linalg.vector_norm(gradient_KP, dim=1, dtype=torch.float32).square_())
        self._bad += bad
        return gradient_KP.masked_fill(bad[:, None], 0.0)


@contextmanager
def opened(
    base: torch.nn.Module,
    recipe: Recipe,
    settings: dict[str, Any],
    members: Sequence[tuple[str, int]],
    world: World,
    rows: Sequence[torch.Tensor | None],
) -> Iterator[Engine]:
    """An engine over a base with an adapter per (adapter_id, seed). Afterwards the base is as it was.

    An adapter starts afresh, or from weights and moments [3, P] where `rows` has them.
    """
    base.eval()
    bank: LoraBank | WholeModel
    bank = WholeModel(base, world.device) if recipe.lora is None else _fresh_bank(base, recipe.lora, members, world)
    start_3KP = _together(rows)
    if start_3KP is not None:
        bank.sheet.data.copy_(start_3KP[0])
    bank.sheet.requires_grad_()
    model = GangModel(base, bank)
    engine = None
    try:
        decayed = bank.decayed if isinstance(bank, WholeModel) else bank.sheet.shape[1]
        optimizer = GangAdamW(bank.sheet, recipe.weight_decay, recipe.max_grad_norm, world.rank, decayed)
        engine, *_ = deepspeed.initialize(
            model=model, model_parameters=[bank.sheet], optimizer=optimizer, config=_sized(settings, bank.sheet.numel())
        )
        if start_3KP is not None:
            optimizer.load(start_3KP)
        yield Engine(engine, model, optimizer, world)
    finally:
        if engine is not None:
            engine.destroy()
        model.detach()
        del engine, model
        forget_modules()
        gc.collect()  # engine and model refer to each other: without it their device memory would linger


def _fresh_bank(base: torch.nn.Module, recipe: Lora, members: Sequence[tuple[str, int]], world: World) -> LoraBank:
    sites = linear_sites(base, recipe.modules if isinstance(recipe.modules, str) else list(recipe.modules))
    bank = LoraBank(base, sites, recipe.r, len(members), torch.float32, world.device)
    for slot, (adapter_id, seed) in enumerate(members):
        bank.put(slot, lora.initial(recipe, sites, adapter_id, seed))
    return bank


def _sized(settings: dict[str, Any], weights: int) -> dict[str, Any]:
    """Settings with a buffer for gradients of the sheet's size; DeepSpeed's default takes 2 GB in float32."""
    asked = settings.get("zero_optimization", {})
    return {**settings, "zero_optimization": {"reduce_bucket_size": weights, **asked}}


def _together(rows: Sequence[torch.Tensor | None]) -> torch.Tensor | None:
    """Members' weights and moments as [3, K, P]; zeros for one that has come to its end, for it stays frozen."""
    width = next((row_3P.shape[1] for row_3P in rows if row_3P is not None), None)
    if width is None:
        return None
    return torch.stack([torch.zeros(3, width) if row_3P is None else row_3P for row_3P in rows], dim=1)
