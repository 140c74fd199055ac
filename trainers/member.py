"""One member of a gang: what it learns from in which step, and what has become of it so far.

Nothing here depends on the other members, nor on how the gang is run.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import torch
from safetensors.torch import load

from adapters.kinds.kind import kind_of
from study.config import Recipe
from study.data.example import Example
from study.data.held_out import split
from study.identity import digest
from study.store.course import Course, Epoch, Examples, Tokens
from trainers.batch import GangRow
from trainers.checkpoint import MemberState
from trainers.data import Row, with_cuts
from trainers.job import Job
from trainers.learning_rates import learning_rates
from trainers.mixing import epochs
from trainers.near import drawn

_BOOKS = ("failure", "useful", "padded", "_epochs", "_best", "_best_epoch", "_loss", "_targets")


class Member:
    """A job in its slot of a gang. `failure` says why it was given up; `kept` is the best epoch's snapshot.

    `useful` and `padded` count its own training tokens and those with the padding; `seconds` is its share of the gang's
    time, by the latter.
    """

    def __init__(self, slot: int, job: Job, rows: Sequence[Row], recipe: Recipe) -> None:
        self.slot, self.job, self._rows, self._recipe = slot, job, with_cuts(rows, job.seed), recipe
        self._learn, self._held_out = split(len(rows), recipe.validation)
        own = recipe.of_source(max(1, len(job.cells)))
        self._mixing, plan = own.mixing, epochs(self._cells(), own, job.seed)
        self._steps = [step for epoch in plan for step in epoch][: recipe.max_steps]
        ends = accumulate(len(epoch) for epoch in plan)
        self._ends = sorted({min(end, len(self._steps)) for end in ends})  # the last epoch may be cut short
        self._rates = learning_rates(recipe, len(self._steps))
        self._keep = "last" if self._mixing.order == "sequential" else recipe.validation.keep
        self._dropout = kind_of(recipe).dropout
        self._near, self._prompts = own.keep_near_base, tuple[Row, ...]()
        self.failure: str | None = None
        self.kept: Mapping[str, torch.Tensor] = {}
        self.shown: dict[int, Mapping[str, torch.Tensor]] = {}  # snapshots by epoch, where all are to be scored
        self.useful = self.padded = 0
        self.seconds = 0.0
        self._epochs: list[dict[str, Any]] = []
        self._best, self._best_epoch = math.inf, 0
        self._loss, self._targets = 0.0, 0

    def _cells(self) -> list[list[int]]:
        """The rows to learn from, by cell; one that has none left is left out."""
        found: dict[int, list[int]] = {}
        ends = list(accumulate(self.job.cells))
        for i in self._learn:
            found.setdefault(bisect_right(ends, self._rows[i].example), []).append(i)
        return list(found.values())

    @property
    def is_slow(self) -> bool:
        """Whether it has slow weights, which are then what is validated and kept."""
        return self._mixing.inner_steps is not None

    def ends_loop(self, step: int) -> bool:
        """Whether its slow weights follow after this step: the last loop ends with the training."""
        inner = self._mixing.inner_steps
        return inner is not None and ((step + 1) % inner == 0 or step + 1 == len(self._steps))

    @property
    def epoch_steps(self) -> int:
        """Optimiser steps of an epoch."""
        return self._ends[0]

    def rate(self, step: int) -> float | None:
        """Learning rate of a step (0, 1, …); None when it is given up or done."""
        return self._rates[step] if self.failure is None and step < len(self._rates) else None

    def share(self, steps: int) -> float:
        """How much of its training is over after so many steps."""
        return 1.0 if self.rate(steps) is None else steps / len(self._steps)

    def rows(self, step: int) -> list[GangRow]:
        """What it learns from in a step; the step's loss is the mean over all target tokens."""
        if self.rate(step) is None:
            return []
        rows = [self._rows[i] for i in self._steps[step]]
        targets = sum(row.targets for row in rows)
        self._targets += targets
        streams = [0] * len(rows)
        if self._dropout:
            streams = [_stream(self.job, step, i) for i in self._steps[step]]
        return [GangRow(self.slot, row, 1 / targets, stream) for row, stream in zip(rows, streams, strict=True)]

    def begins_with(self) -> dict[str, torch.Tensor] | None:
        """The weights that it begins with, by their names in an adapter's files; None where it begins afresh."""
        return None if self.job.start is None else load(self.job.start)

    def drawn(self) -> tuple[Example, ...]:
        """The pairs on whose prompts it is kept near the base, in the order in which their rows are to be given."""
        if not self._near.kl_batch:
            return ()
        return drawn(self.job.prompts, self._near.kl_batch, self.job.seed, len(self._steps))

    def give(self, prompts: tuple[Row, ...]) -> None:
        """Take the rows of those that are `drawn`."""
        self._prompts = prompts

    def prompts(self, step: int) -> list[GangRow]:
        """The prompts of a step; what is added to its loss is the mean over their tokens, times `kl`."""
        if self.rate(step) is None or not self._near.kl_batch:
            return []
        begin = step * self._near.kl_batch
        rows = self._prompts[begin : begin + self._near.kl_batch]
        weight = self._near.kl / sum(row.targets for row in rows)
        return [GangRow(self.slot, row, weight, 0) for row in rows]

    def shrinks(self, step: int) -> float:
        """What ‖ΔW‖² counts in the loss of a step."""
        return self._near.l2 if self.rate(step) is not None else 0.0

    def add_loss(self, loss: float) -> None:
        """Take in the summed loss of an epoch's training rows."""
        self._loss += loss

    def validation_rows(self) -> list[GangRow]:
        """The rows that are held out. The validation loss is their losses' sum by weight, over `validated`."""
        rows, size = [self._rows[i] for i in self._held_out], self._recipe.batch_size
        if self._recipe.validation.mean == "token":
            return [GangRow(self.slot, row, 1.0, 0) for row in rows]
        batches = [rows[i : i + size] for i in range(0, len(rows), size)]
        shares = [len(batch) / sum(row.targets for row in batch) for batch in batches]
        return [
            GangRow(self.slot, row, share, 0) for batch, share in zip(batches, shares, strict=True) for row in batch
        ]

    @property
    def validated(self) -> int:
        """Over what validation losses are meaned: the tokens that count, or the rows."""
        if self._recipe.validation.mean == "batch":
            return len(self._held_out)
        return sum(self._rows[i].targets for i in self._held_out)

    def ends_epoch(self, step: int) -> bool:
        """Whether an epoch ends with this step."""
        return self.failure is None and step + 1 in self._ends

    def end_epoch(self, step: int, validation_loss: float | None) -> bool:
        """Book the epoch that ends with this step; whether its weights are to be taken: the best so far, or all."""
        number = self._ends.index(step + 1) + 1
        train_loss = self._loss / self._targets
        self._loss, self._targets = 0.0, 0
        self._epochs.append(
            {
                "epoch": number,
                "train_loss": train_loss,
                "validation_loss": validation_loss,
                "learning_rate": self._rates[step],
                "steps": step + 1,
                "tokens": self.useful,
            }
        )
        for name, loss in (("training", train_loss), ("validation", validation_loss)):
            if loss is not None and not math.isfinite(loss):
                self.failure = f"{name} loss is {loss} in epoch {number} of {len(self._ends)}"
                return False
        if validation_loss is None or self._keep == "last" or validation_loss < self._best:
            self._best = self._best if validation_loss is None else validation_loss
            self._best_epoch = number
            return True
        return self._recipe.shown_epochs > 0

    def keep(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Take the epoch's snapshot, on the CPU."""
        number = len(self._epochs)
        if number == self._best_epoch:
            self.kept = weights
        if self._recipe.shown_epochs:
            self.shown[number] = weights
        if not all(bool(torch.isfinite(tensor).all()) for tensor in weights.values()):
            self.failure = f"a weight is not finite after epoch {number} of {len(self._ends)}"

    def state(self, row_3P: torch.Tensor | None) -> MemberState:
        """All that `restore` needs to go on as if nothing had happened."""
        return MemberState({name: getattr(self, name) for name in _BOOKS}, row_3P, self.kept, self.shown)

    def others(self) -> list[tuple[int, Mapping[str, torch.Tensor]]]:
        """The epochs that are to be scored beside the kept one, and their snapshots."""
        return [(epoch, weights) for epoch, weights in sorted(self.shown.items()) if epoch != self._best_epoch]

    def restore(self, state: MemberState) -> None:
        for name in _BOOKS:
            setattr(self, name, state.books[name])
        self.kept, self.shown = state.kept, dict(state.shown)

    def course(self, learned_nothing: bool) -> Course:
        """How its training went; that of what it has come to is for those to say who know the base."""
        return Course(
            epochs=tuple(Epoch(**epoch) for epoch in self._epochs),
            best_epoch=self._best_epoch,
            kept=self._keep if self._held_out else "last: too few examples, or a fraction of 0, to validate on",
            steps=len(self._steps),
            examples=Examples(len(self._learn), len(self._held_out)),
            truncated=sum(row.truncated for row in self._rows),
            tokens=Tokens(self.useful, self.padded, sum(len(row.tokens) for row in self._prompts)),
            seconds=self.seconds,
            learned_nothing=learned_nothing,
        )


def _stream(job: Job, step: int, example: int) -> int:
    """The key of a row's dropout in a step: a signed 64-bit number."""
    named = {"dropout": job.adapter_id, "seed": job.seed, "step": step, "example": example}
    return int(digest(named), 16) - 2**63
