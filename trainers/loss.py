"""Causal LM loss of a micro-batch, taken where it counts.

Rows are padded on the right to the longest of them. The LM head runs only on positions that predict a target of at
least one row: with a small model and a large vocabulary it would else be most of the work.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from trainers.data import Row

IGNORED = -100


@dataclass(frozen=True)
class MicroBatch:
    """Padded rows: input_ids and attention_mask [B, T], the positions [P] to predict from, and targets [B, P]."""

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    positions: torch.Tensor
    targets: torch.Tensor


def collate(rows: Sequence[Row], padding: int, device: torch.device) -> MicroBatch:
    """A micro-batch. Without rows it is one token that predicts nothing: a process with no row still takes part."""
    length = max((len(row.tokens) for row in rows), default=2)
    input_ids = torch.full((max(1, len(rows)), length), padding)
    attention_mask = torch.zeros_like(input_ids)
    labels = torch.full_like(input_ids, IGNORED)
    attention_mask[:, 0] = 1
    for i, row in enumerate(rows):
        tokens = torch.tensor(row.tokens)
        input_ids[i, : len(tokens)] = tokens
        attention_mask[i, : len(tokens)] = 1
        labels[i, row.first : len(tokens)] = tokens[row.first :]
    counted = (labels != IGNORED).any(dim=0).nonzero().flatten()
    if not len(counted):
        counted = torch.tensor([1])
    targets = labels[:, counted]
    return MicroBatch(*(tensor.to(device) for tensor in (input_ids, attention_mask, counted - 1, targets)))


def summed_loss(forward: Any, batch: MicroBatch, keeps_logits: bool) -> torch.Tensor:
    """Sum over the batch's targets of -log p(target | what comes before), in nats, float32.

    `forward` is the model or its engine; `keeps_logits` says whether it can leave logits out (`can_keep_logits`).
    """
    options = {"logits_to_keep": batch.positions} if keeps_logits else {}
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    logits_BPV = forward(**inputs, **options, use_cache=False).logits
    if not keeps_logits:
        logits_BPV = logits_BPV[:, batch.positions]
    counts_BP = batch.targets != IGNORED
    return functional.cross_entropy(logits_BPV[counts_BP].float(), batch.targets[counts_BP], reduction="sum")


def can_keep_logits(base: torch.nn.Module) -> bool:
    """Whether a transformers model takes `logits_to_keep`."""
    return "logits_to_keep" in inspect.signature(base.forward).parameters
