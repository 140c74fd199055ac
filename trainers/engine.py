"""A gang on a DeepSpeed engine: what is trained is the sheet that holds all its adapters, or the weights of a model.

Invariant: a member's gradient that is not finite never reaches DeepSpeed, which would skip the step for all of them.
"""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional
from transformers import PreTrainedModel

from adapters.base.device import on_device, texts_in_rows
from adapters.base.spread import size_of
from adapters.kinds.kind import Sheet, kind_of
from adapters.quantising.weights import learning
from study.config import Recipe
from study.errors import ConfigError
from trainers.batch import MicroBatch, Prompts
from trainers.gathered import exchange, read
from trainers.loss import losses
from trainers.optimizer import GangAdamW
from trainers.settings import sized
from trainers.world import World, deepspeed, forget_modules


@dataclass(frozen=True)
class Start:
    """Where a member begins: afresh, or with the `weights` of an adapter, by their names in its files.

    One that goes on from a checkpoint has its `row` there: weights, moments and slow weights [3 or 4, P].
    """

    row: torch.Tensor | None = None
    weights: Mapping[str, torch.Tensor] | None = None


class GangModel(torch.nn.Module):
    """A base with the weights of a gang; it gives the loss of each target of a micro-batch, and how far it has come.

    The base stays in evaluation mode, so that any dropout of its own is off: the adapters' dropout alone is a function
    of the adapter. A forward hook hands the LM head only the positions that predict a target: with a small model and a
    large vocabulary the head would else be most of the work.
    """

    def __init__(self, sheet: Sheet) -> None:
        super().__init__()
        self.sheet, self.name = sheet, type(sheet.model).__name__
        self._length = 0
        self._positions: torch.Tensor | None = None
        head: torch.nn.Module | None = sheet.model.get_output_embeddings()
        self._handle = head.register_forward_pre_hook(self._select) if head is not None else None

    def forward(self, batch: MicroBatch | Prompts | None) -> torch.Tensor:
        """-log p of each target given what comes before it, in nats, float32 [N].

        Of prompts KL(base ‖ adapter) at each of their tokens, in nats [N]; without a batch ‖ΔW‖² of each member [K].
        """
        if batch is None:
            return self.sheet.squared_norms()
        if isinstance(batch, MicroBatch):
            return losses(self._logits(batch), batch.targets)
        with torch.no_grad():
            base_NV = self._logits(batch.base).float().log_softmax(-1).index_select(0, batch.same)
        own_NV = self._logits(batch.own).float().log_softmax(-1)
        return functional.kl_div(own_NV, base_NV, reduction="none", log_target=True).sum(-1)

    def _logits(self, batch: MicroBatch) -> torch.Tensor:
        """What is predicted from each position [N, V]."""
        self._length, self._positions = batch.input_ids.shape[1], batch.positions
        with texts_in_rows(batch.position_ids is not None):
            logits = self.sheet.logits(batch.inputs, batch.slots, batch.dropout)
        return self._selected(logits) if self._handle is None else logits.flatten(0, 1)

    def detach(self) -> None:
        """Take adapters and hooks off the base."""
        self.sheet.detach()
        if self._handle is not None:
            self._handle.remove()

    def _select(self, _head: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (self._selected(inputs[0])[None], *inputs[1:])

    def _selected(self, values_BTX: torch.Tensor) -> torch.Tensor:
        """What stands at the batch's positions [N, X]; what an adapter puts before the texts is passed over."""
        assert self._positions is not None
        return values_BTX[:, -self._length :].flatten(0, 1).index_select(0, self._positions)


class Engine:
    """What the training loop needs of DeepSpeed. Slots are the gang's members, in order."""

    def __init__(self, engine: Any, model: GangModel, optimizer: GangAdamW, world: World) -> None:
        self._engine, self._sheet, self._optimizer, self.world = engine, model.sheet, optimizer, world
        self._name = model.name
        self._bad = torch.zeros(self._sheet.slots, device=world.device)
        if not engine.fp16_enabled():  # there infinite gradients are how DeepSpeed finds its loss scale
            for part in self._sheet.parts:
                part.register_hook(self._without_bad)

    def recompute(self) -> None:
        """Keep no activations within the base's layers: they are computed again. Raises ConfigError."""
        self._sheet.recompute()

    def losses(self, batch: MicroBatch | Prompts | None) -> torch.Tensor:
        """The loss of each target of a micro-batch [N], in nats; of prompts, or without a batch, how far it has come.

        That is KL(base ‖ adapter) at each of their tokens [N], or ‖ΔW‖² of each member [K].
        """
        losses = self._engine(batch)
        assert isinstance(losses, torch.Tensor)
        return losses

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradient of this process's part of the step's loss; the parts of all processes add up.

        Raises ConfigError for a base whose layers run backward passes of their own, which DeepSpeed does not let them.
        """
        try:
            self._engine.backward(loss * self.world.size)  # DeepSpeed averages gradients over processes
        except AssertionError as error:
            problem = f"DeepSpeed does not run its backward pass: {error}"
            raise ConfigError("models", self._name, problem, "take another model to train") from error

    def bad_slots(self) -> set[int]:
        """Members whose gradient was NaN or infinite in this step, in any process. Theirs did not reach DeepSpeed."""
        bad = self.world.sum_each(self._bad)
        self._bad.zero_()
        return {slot for slot, times in enumerate(bad) if times}

    def step(self, rates: Sequence[float | None], number: int, following: Sequence[int]) -> None:
        """Take optimiser step `number` (1, 2, …) with a learning rate per member, None for one that is frozen.

        The slow weights of `following` follow.
        """
        self._optimizer.rates, self._optimizer.number, self._optimizer.following = list(rates), number, following
        self._engine.step()

    def state(self) -> torch.Tensor | None:
        """All members' weights and moments, and slow weights if there are any, [3 or 4, K, P] float32 on the CPU.

        Put together where ZeRO has spread them; on rank 0 alone, though every process has to ask.
        """
        return self._optimizer.state_of_all()

    @contextmanager
    def slow(self, slots: Sequence[int]) -> Iterator[None]:
        """Within, the weights of these members are their slow ones. Every process has to ask."""
        if not slots:
            yield
            return
        slow_KP = self._optimizer.slow_of_all()[list(slots)]
        fast_KP = self._exchanged(slots, slow_KP)
        yield
        self._exchanged(slots, fast_KP)

    def weights(self, slots: Collection[int]) -> dict[int, dict[str, torch.Tensor]]:
        """Copies of members' weights on the CPU, as an adapter's file has them."""
        parts = [read(part, self.world.device) for part in self._sheet.parts]
        return {slot: self._sheet.copies(slot, parts) for slot in slots}

    def _exchanged(self, slots: Sequence[int], rows_KP: torch.Tensor) -> torch.Tensor:
        """Put rows into the sheet, in place of what is returned, on the CPU."""
        return exchange(self._sheet.parts, on_device(slots, self.world.device), rows_KP)

    def _without_bad(self, gradient: torch.Tensor) -> torch.Tensor:
        """A part's gradient with the rows that are not finite (or too large to square) set to zero, and noted."""
        gradient_KP = gradient.view(self._sheet.slots, -1)
        bad = ~torch.isfinite(torch.linalg.vector_norm(gradient_KP, dim=1, dtype=torch.float32).square_())
        self._bad += bad
        return gradient_KP.masked_fill(bad[:, None], 0.0).view_as(gradient)


@contextmanager
def opened(
    base: PreTrainedModel,
    recipe: Recipe,
    settings: Mapping[str, object],
    members: Sequence[tuple[str, int]],
    world: World,
    starts: Sequence[Start],
) -> Iterator[Engine]:
    """An engine over a base with an adapter per (adapter_id, seed). Afterwards the base is as it was."""
    base.eval()
    outer_rate = recipe.mixing.outer_rate
    sheet = kind_of(recipe).sheet(base, members, world.device)
    model = GangModel(sheet)
    engine, more = None, ExitStack()
    try:
        more.enter_context(learning(sheet.model))
        for slot, start in enumerate(starts):
            if start.weights is not None:
                sheet.begin(slot, start.weights)
        start_SKP = _together([start.row for start in starts], 3 if outer_rate is None else 4)
        if start_SKP is not None:
            exchange(sheet.parts, torch.arange(sheet.slots, device=world.device), start_SKP[0])
        for part in sheet.parts:
            part.requires_grad_()
        optimizer = GangAdamW(sheet.parts, recipe.weight_decay, recipe.max_grad_norm, world.rank, sheet.decayed)
        optimizer.outer_rate, optimizer.pace = outer_rate, sheet.pace
        config = sized(settings, [size_of(part) for part in sheet.parts])
        engine, *_ = deepspeed.initialize(model=model, model_parameters=sheet.parts, optimizer=optimizer, config=config)
        if start_SKP is not None:
            optimizer.load(start_SKP)
        yield Engine(engine, model, optimizer, world)
    finally:
        if engine is not None:
            engine.destroy()
        more.close()
        model.detach()
        forget_modules(model)
        del engine, model, sheet
        gc.collect()  # engine and model refer to each other: without it their device memory would linger


def _together(rows: Sequence[torch.Tensor | None], count: int) -> torch.Tensor | None:
    """Members' weights, moments and so on as [count, K, P]; zeros for one that has ended, and for what one has not."""
    width = next((row_SP.shape[1] for row_SP in rows if row_SP is not None), None)
    if width is None:
        return None
    together = torch.zeros(count, len(rows), width)
    for slot, row_SP in enumerate(rows):
        if row_SP is not None:
            together[: len(row_SP), slot] = row_SP
    return together
