"""A gang on a base without DeepSpeed: the bank, loss and optimiser of training; and PEFT's own way beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from peft import LoraConfig, get_peft_model

from adapters.bank.bank import LoraBank
from adapters.bank.dropout import Dropout
from adapters.base.device import on_device, uploaded
from adapters.folders.folder import AdapterWeights, Factors
from adapters.folders.sites import sites_named
from adapters.folders.targeting import meant
from bench.gpu.kit import Shape
from trainers.loss import losses
from trainers.optimizer import GangAdamW

RANK, RATE = 8, 1e-3


def adapter(base: Any, seed: int, strength: float = 0.0, rank: int = RANK) -> AdapterWeights:
    """A fresh one, or one whose B is as strong."""
    draw = torch.Generator().manual_seed(seed)
    modules = {}
    for site in sites_named(base, meant(base, "all-linear")):
        a = torch.empty(rank, site.fan_in).uniform_(-1, 1, generator=draw) / site.fan_in**0.5
        b = torch.randn(site.fan_out, rank, generator=draw) * strength
        modules[site.name] = Factors(a, b, 2.0)
    return AdapterWeights(modules)


class Batches:
    """Batches of equally long random texts for each of some adapters, the same for one wherever it is trained."""

    def __init__(self, shape: Shape, device: torch.device, rows: int, tokens: int) -> None:
        self._shape, self._device, self.rows, self.tokens = shape, device, rows, tokens

    def texts(self, member: int, step: int) -> torch.Tensor:
        draw = torch.Generator().manual_seed(1000 * member + step)
        return torch.randint(3, self._shape.vocabulary, (self.rows, self.tokens + 1), generator=draw)

    def of(self, members: Sequence[int], step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs [B, T] and targets [B * T] of these members."""
        texts = uploaded(torch.cat([self.texts(member, step) for member in members]), self._device)
        return texts[:, :-1], texts[:, 1:].reshape(-1)


class Gang:
    """Members with a bank of their own on a base."""

    def __init__(self, base: Any, members: Sequence[int], batches: Batches, dropout: float = 0.0) -> None:
        self.base, self.members, self._batches, self._p = base, members, batches, dropout
        sites = sites_named(base, meant(base, "all-linear"))
        self.bank = LoraBank(base, sites, RANK, len(members), torch.float32, base.device)
        for slot, member in enumerate(members):
            self.bank.put(slot, adapter(base, member))
        self.bank.sheet.requires_grad_()
        self._optimizer = GangAdamW([self.bank.sheet], 0.0, 1.0, 0, self.bank.sheet.shape[1])
        self._step = 0

    def learn(self) -> torch.Tensor:
        """The gradients of a step; the losses of its tokens [B * T]."""
        rows = self._batches.rows
        ids_BT, targets_N = self._batches.of(self.members, self._step)
        slots = [slot for slot in range(len(self.members)) for _ in range(rows)]
        keys = [1000 * member + row for member in self.members for row in range(rows)]
        dropout = Dropout(self._p, on_device(keys, ids_BT.device)) if self._p else None
        with self.bank.rows(slots, dropout):
            logits_BTV = self.base(input_ids=ids_BT, use_cache=False).logits
            found_N = losses(logits_BTV.flatten(0, 1), targets_N)
            (found_N.sum() / (rows * self._batches.tokens)).backward()
        return found_N.detach()

    def step(self) -> torch.Tensor:
        """One optimiser step, of which nothing is read; the losses of its tokens [B * T]."""
        found_N = self.learn()
        self._optimizer.rates, self._optimizer.number = [RATE] * len(self.members), self._step + 1
        self._optimizer.step()
        self.bank.sheet.grad = None
        self._step += 1
        return found_N

    def rows(self) -> torch.Tensor:
        return self.bank.sheet.detach().to("cpu", copy=True)


@contextmanager
def gang(base: Any, members: Sequence[int], batches: Batches, dropout: float = 0.0) -> Iterator[Gang]:
    made = Gang(base, members, batches, dropout)
    try:
        yield made
    finally:
        made.bank.detach()


def by_peft(base: Any, batches: Batches, steps: int) -> list[float]:
    """A warm loop with PEFT's modules and torch's AdamW over one adapter's batches; seconds after each step."""
    import time

    config = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM")
    wrapped: Any = get_peft_model(base, config)
    trained = [weight for weight in wrapped.parameters() if weight.requires_grad]
    optimizer, ends = torch.optim.AdamW(trained, lr=RATE, foreach=True), []
    for step in range(steps):
        ids_BT, _ = batches.of([0], step)
        wrapped(input_ids=ids_BT, labels=ids_BT, use_cache=False).loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if base.device.type == "cuda":
            torch.cuda.synchronize(base.device)
        ends.append(time.perf_counter())
    wrapped.unload()
    return [end - begin for begin, end in pairwise(ends)]
