"""From a gang's rows to micro-batches, on the device.

Rows are padded on the right to the longest of them; rows of like length of all members go together, and rows of one
member stand side by side. Where texts are `packed`, several of one member share a row, each as if it stood alone: its
positions begin anew, attention stays within it, and its dropout is what it is in a row of its own.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch

from adapters.bank.dropout import Dropout
from adapters.base.device import on_device, uploaded
from trainers.data import Row


@dataclass(frozen=True)
class GangRow:
    """A member's row in a step; `weight` is what its loss counts in the step's, `stream` is its dropout's key.

    Where texts share it, they stand one after the other: `texts` has the length and the stream of each.
    """

    slot: int
    row: Row
    weight: float
    stream: int
    texts: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class MicroBatch:
    """Padded rows: input_ids and attention_mask [B, T], each row's slot (None: the base alone), and its dropout.

    On a GPU there is no mask. Rows are padded on the right, where nothing looks from before: a model would read a mask
    back to see what is in it, and with one leave the kernels that need none. On a CPU it decides the last bits.
    Where texts share a row there is position_ids [B, T] in its place, which begins anew with each of them: by that the
    model knows them apart.
    positions [N] are places in the flattened [B * T] to predict from, targets [N] the tokens that come there, weights
    [N] what each counts in the loss.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor | None
    position_ids: torch.Tensor | None
    slots: tuple[int | None, ...]
    dropout: Dropout | None
    positions: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor

    @property
    def inputs(self) -> dict[str, object]:
        """What the model is called with."""
        given = {name: getattr(self, name) for name in ("input_ids", "attention_mask", "position_ids")}
        return {"use_cache": False} | {name: tensor for name, tensor in given.items() if tensor is not None}


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
    stand before each row as it goes through the model. With `packing` short texts share rows.
    """

    rows: int
    tokens: int
    worth: int
    padding: int
    dropout: float = 0.0
    turn: int | None = None
    virtual: int = 0
    packing: bool = False


def packed(rows: Sequence[GangRow], turn: int | None) -> list[GangRow]:
    """Texts of one member and weight in as few rows as hold them, none longer than the longest text: best fit.

    So no pass has more tokens, nor more of attention, than with a row for each. A text of more than `turn` tokens
    stands in no row with others of fewer.
    """
    sides: dict[bool, list[GangRow]] = {}
    for row in sorted(rows, key=lambda row: len(row.row.tokens), reverse=True):
        sides.setdefault(turn is not None and len(row.row.tokens) > turn, []).append(row)
    return [row for side in sides.values() for row in _filled(side, len(side[0].row.tokens))]


def _filled(ordered: Iterable[GangRow], most: int) -> list[GangRow]:
    """Rows of `most` tokens at the most, filled by the texts from the longest on."""
    found: list[list[GangRow]] = []
    rooms: dict[tuple[int, float], list[tuple[int, int]]] = {}  # of whom each row's room, and its number
    for row in ordered:
        own, length = rooms.setdefault((row.slot, row.weight), []), len(row.row.tokens)
        fitting = bisect_left(own, (length, 0))
        room, number = own.pop(fitting) if fitting < len(own) else (most, len(found))
        if number == len(found):
            found.append([])
        found[number].append(row)
        insort(own, (room - length, number))
    return [joined(texts) for texts in found]


def joined(texts: Sequence[GangRow]) -> GangRow:
    """One row of texts. No first token of one is learned: what comes before it is another text."""
    if len(texts) == 1:
        return texts[0]
    starts = accumulate((len(text.row.tokens) for text in texts), initial=0)
    places = tuple(start + place for start, text in zip(starts, texts, strict=False) for place in text.row.places)
    row = Row(tuple(token for text in texts for token in text.row.tokens), places[0], False, places)
    lengths = tuple((len(text.row.tokens), text.stream) for text in texts)
    return replace(texts[0], row=row, texts=lengths)


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
    position_ids = None
    streams = on_device([row.stream for row in rows], device)
    if any(row.texts for row in rows):
        position_ids, streams = (uploaded(tensor, device) for tensor in _texts(rows, length))
    return MicroBatch(
        uploaded(input_ids, device),
        attention_mask if device.type == "cpu" and position_ids is None else None,
        position_ids,
        tuple(row.slot for row in rows),
        Dropout(dropout, streams, position_ids) if dropout else None,
        on_device(positions, device),
        on_device(targets, device),
        on_device(weights, device),
    )


def _texts(rows: Sequence[GangRow], length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Each token's place in its text, and the stream of that, [B, length]; each token of the padding is at 0."""
    places, streams = torch.zeros(len(rows), length, dtype=torch.long), torch.zeros(len(rows), length, dtype=torch.long)
    for i, row in enumerate(rows):
        start = 0
        for count, stream in row.texts or [(len(row.row.tokens), row.stream)]:
            places[i, start : start + count] = torch.arange(count)
            streams[i, start : start + count] = stream
            start += count
    return places, streams


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
