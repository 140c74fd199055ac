"""From a gang's rows to micro-batches, on the device.

Rows are padded on the right to the longest of them; rows of like length of all members go together, and rows of one
member stand side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch

from adapters.bank.dropout import Dropout
from adapters.base.device import on_device, uploaded
from trainers.data import Row


@dataclass(frozen=True)
class GangRow:
    """A member's row in a step; `weight` is what its loss counts in the step's, `stream` is its dropout's key."""

    slot: int
    row: Row
    weight: float
    stream: int


@dataclass(frozen=True)
class MicroBatch:
    """Padded rows: input_ids and attention_mask [B, T], each row's slot (None: the base alone), and its dropout.

    On a GPU there is no mask. Rows are padded on the right, where nothing looks from before: a model would read a mask
    back to see what is in it, and with one leave the kernels that need none. On a CPU it decides the last bits.
    positions [N] are places in the flattened [B * T] to predict from, targets [N] the tokens that come there, weights
    [N] what each counts in the loss.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor | None
    slots: tuple[int | None, ...]
    dropout: Dropout | None
    positions: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor


@dataclass(frozen=True)
class Prompts:
    """Prompts as members read them, each token with its weight, and each of them once as the base alone does.

    The n-th position of the former is at `same[n]` among those of the latter.
    """

    own: MicroBatch
    base: MicroBatch
    same: torch.Tensor


@dataclass(frozen=True)
class Batching:
    """How a step is cut: the most rows, and tokens with their padding, per process and forward pass.

    `worth` is how many tokens of padding an own forward pass is worth: with more, shorter rows get one of their own.
    `padding` is the token that rows are filled up with, `dropout` that of the rows that are learned from. Where one row
    of more than `turn` tokens turns the positions of all beside it, only such rows are beside it. `virtual` tokens
    stand before each row as it goes through the model.
    """

    rows: int
    tokens: int
    worth: int
    padding: int
    dropout: float = 0.0
    turn: int | None = None
    virtual: int = 0


def deal(rows: Sequence[GangRow], how: Batching, world_size: int) -> list[list[list[GangRow]]]:
    """Micro-batches of a step for each process: result[rank][k] holds rows of like length, within the limits or alone.

    Every process gets equally many, for they meet in each; one may be empty. Longest rows come first, so that a step
    that does not fit in memory fails at its start.
    """
    ordered = sorted(rows, key=lambda row: len(row.row.tokens), reverse=True)
    dealt: list[list[list[GangRow]]] = [[] for _ in range(world_size)]
    while ordered:
        longest = len(ordered[0].row.tokens)
        most = world_size * max(1, min(how.rows, how.tokens // (longest + how.virtual)))
        waste = accumulate(longest - len(row.row.tokens) for row in ordered[:most])
        together = sum(1 for padding in waste if padding <= how.worth * world_size)
        if how.turn is not None and longest > how.turn:
            together = sum(1 for row in ordered[:together] if len(row.row.tokens) > how.turn)
        chunk, ordered = ordered[:together], ordered[together:]
        for rank in range(world_size):
            dealt[rank].append(sorted(chunk[rank::world_size], key=lambda row: row.slot))
    return dealt


def collate(rows: Sequence[GangRow], padding: int, dropout: float, device: torch.device) -> MicroBatch:
    """A micro-batch. A process without rows gets two tokens that count nothing: all must run the model together."""
    rows = rows or [_nothing(padding)]
    length = max(len(row.row.tokens) for row in rows)
    input_ids = torch.full((len(rows), length), padding)
    attention_mask = torch.zeros_like(input_ids)
    positions: list[int] = []
    targets: list[int] = []
    weights: list[float] = []
    for i, row in enumerate(rows):
        tokens, places = row.row.tokens, row.row.places
        input_ids[i, : len(tokens)] = torch.tensor(tokens)
        attention_mask[i, : len(tokens)] = 1
        positions += [i * length + place - 1 for place in places]
        targets += [tokens[place] if place < len(tokens) else padding for place in places]
        weights += [row.weight] * row.row.targets
    return MicroBatch(
        uploaded(input_ids, device),
        attention_mask if device.type == "cpu" else None,
        tuple(row.slot for row in rows),
        Dropout(dropout, on_device([row.stream for row in rows], device)) if dropout else None,
        on_device(positions, device),
        on_device(targets, device),
        on_device(weights, device),
    )


def collate_prompts(rows: Sequence[GangRow], padding: int, device: torch.device) -> Prompts:
    """A micro-batch of prompts, without dropout; a process without any gets what counts nothing."""
    rows = rows or [_nothing(padding)]
    once = list(dict.fromkeys(row.row for row in rows))
    starts = dict(zip(once, accumulate((row.targets for row in once), initial=0), strict=False))
    same = [starts[row.row] + n for row in rows for n in range(row.row.targets)]
    base = replace(collate([GangRow(0, row, 0.0, 0) for row in once], padding, 0.0, device), slots=(None,) * len(once))
    return Prompts(collate(rows, padding, 0.0, device), base, on_device(same, device))


def _nothing(padding: int) -> GangRow:
    return GangRow(0, Row((padding, padding), 1, False), 0.0, 0)
