"""Training a gang: its members take each optimiser step together, each as if it were alone.

Invariants: the loss of a step is the sum over members of each member's own mean over its target tokens, and of what
keeps it near the base, so gradients do not mix; a member that has finished, or whose loss, gradient or weights are not
finite, has no rows in the batch and its row of the sheet is frozen exactly.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from adapters.base.device import on_device
from adapters.base.loading import embedded
from adapters.base.probe import TOLERANCE, precision
from study.errors import ConfigError
from study.pulse import WORKING, Reached, beat
from trainers.base import Base
from trainers.batch import Batching, GangRow, collate, collate_prompts, deal, joined, packed
from trainers.checkpoint import Checkpoint, Save
from trainers.data import Row
from trainers.engine import Engine
from trainers.member import Member


def train_gang(
    engine: Engine, members: Sequence[Member], how: Batching, start: Checkpoint | None, save: Save | None
) -> tuple[int, ...]:
    """Train all members to their ends, in every process of the world alike. Returns the steps it was resumed at.

    `start` is where engine and members stand; when a checkpoint `_is_due`, rank 0 hands it to `save`.
    """
    step, before = (start.step, start.seconds * _share(members, start)) if start else (0, 0.0)
    resumed = (*start.resumed, step) if start else ()
    started = time.perf_counter() - before
    losses = _Losses(engine, members, how)
    while any(member.rate(step) is not None for member in members):
        rows = [row for member in members for row in member.rows(step)]
        losses.of(rows, learn=True)
        losses.keep_near([row for member in members for row in member.prompts(step)])
        losses.keep_small([member.shrinks(step) for member in members])
        for slot in engine.bad_slots():
            if members[slot].rate(step) is not None:
                members[slot].failure = f"the gradient is not finite in step {step + 1}"
        following = [member.slot for member in members if member.ends_loop(step)]
        engine.step([member.rate(step) for member in members], step + 1, following)
        _end_epochs(engine, [member for member in members if member.ends_epoch(step)], step, losses)
        step += 1
        if _is_due(members, step):
            _book_losses(members, losses)
            if save is not None:
                reached = _checkpoint(engine, members, step, time.perf_counter() - started, resumed)
                if reached is not None:
                    save(reached)
        beat(WORKING, Reached(sum(member.share(step) for member in members), time.perf_counter() - started))
    _share_out(time.perf_counter() - started, members)
    return resumed


@torch.no_grad()
def check_packing(engine: Engine, base: Base, how: Batching) -> None:
    """Raise ConfigError where a text that shares a row is read otherwise than alone, or hangs on what it stands beside.

    Texts of tokens drawn from a seed, of which one comes after others and after itself: a model that knows what came
    before says much about it then. In half precision numbers are means over a text, for there single tokens may differ
    by rounding; it hangs on what is before it where that moves it by a share of what it moves one continued text.
    """
    draw = torch.Generator().manual_seed(0)
    x, y, z = (torch.randint(embedded(base.module), (count,), generator=draw).tolist() for count in (12, 12, 7))

    def read(rows: Sequence[Sequence[list[int]]]) -> list[torch.Tensor]:
        """The losses of each text of each row."""
        given = [joined([GangRow(0, Row(tuple(text), 1, False), 1.0, 0) for text in row]) for row in rows]
        losses_N = engine.losses(collate(given, how.padding, 0.0, engine.world.device))
        return list(losses_N.split([len(text) - 1 for row in rows for text in row]))

    try:
        of_x, of_y, of_z = read([[x], [y], [z]])
        in_x, after_x, in_z, in_y, after_y = read([[x, y, z], [y, y]])
        one_x, one_y = (losses[-len(of_y) :] for losses in read([[x + y], [y + y]]))
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:  # whatever its code comes to
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise _not_packed(base, f"does not run on them: {reason}") from error
    pairs = zip((in_x, after_x, in_z, in_y, after_y), (of_x, of_y, of_z, of_y, of_y), strict=True)
    half = precision(base.module) < 4
    off = max(float(apart.mean() if half else apart.max()) for apart in ((a - b).abs() for a, b in pairs))
    moved, moves = float((after_x - after_y).abs().mean()), float((one_x - one_y).abs().mean())
    if off > TOLERANCE.get(precision(base.module), 1e-3) or moved > moves / 10:
        raise _not_packed(base, f"lets texts of a row read each other ({max(off, moved):.2g} nats)")


def _not_packed(base: Base, problem: str) -> ConfigError:
    return ConfigError("training.packing", True, f"{base.model.name} {problem}", "set it to false")


def _share_out(seconds: float, members: Sequence[Member]) -> None:
    """Each member's part of the gang's time, by what it put through the model."""
    padded = sum(member.padded for member in members)
    for member in members:
        member.seconds = seconds * member.padded / padded


def _share(members: Sequence[Member], start: Checkpoint) -> float:
    """Of a checkpoint's time that of these members, by what they had put through the model: others may have left."""
    return sum(member.padded for member in members) / sum(state.books["padded"] for state in start.members.values())


def _is_due(members: Sequence[Member], steps: int) -> bool:
    """Whether a checkpoint is due after so many steps: when an epoch of the shortest member still in training ends.

    So no member ever loses more than an epoch of its own, and members of like size share a checkpoint.
    """
    training = [member for member in members if member.rate(steps - 1) is not None]
    return bool(training) and min(training, key=lambda member: member.epoch_steps).ends_epoch(steps - 1)


def _book_losses(members: Sequence[Member], losses: _Losses) -> None:
    """Also of those in the middle of an epoch: the sums' last bits are the same whether or not it is interrupted."""
    totals = losses.take([member.slot for member in members])
    for member in members:
        member.add_loss(totals[member.slot])


def _checkpoint(
    engine: Engine, members: Sequence[Member], step: int, seconds: float, resumed: tuple[int, ...]
) -> Checkpoint | None:
    """What members that go on will need, and what the others have come to; on rank 0, where it is saved."""
    rows_SKP = engine.state()
    if rows_SKP is None:
        return None
    states = {}
    for member in members:
        goes_on = member.rate(step) is not None
        row_SP = rows_SKP[: 4 if member.is_slow else 3, member.slot] if goes_on else None
        states[member.job.adapter_id] = member.state(row_SP)
    return Checkpoint(step, seconds, resumed, states)


def _end_epochs(engine: Engine, ending: list[Member], step: int, losses: _Losses) -> None:
    """Book the epochs that end with this step: training loss, validation loss, snapshot; of slow weights if any."""
    if not ending:
        return
    slots = [member.slot for member in ending]
    totals = losses.take(slots)
    held_out = {member.slot: member.validation_rows() for member in ending}
    with engine.slow([member.slot for member in ending if member.is_slow]):
        losses.of([row for rows in held_out.values() for row in rows], learn=False)
        validation = losses.take(slots)
        best = []
        for member in ending:
            member.add_loss(totals[member.slot])
            rows = held_out[member.slot]
            if member.end_epoch(step, validation[member.slot] / member.validated if rows else None):
                best.append(member)
        weights = engine.weights([member.slot for member in best])
    for member in best:
        member.keep(weights[member.slot])


class _Losses:
    """Summed losses of the members, in nats, kept on the device until they are taken; without `learn` by weight."""

    def __init__(self, engine: Engine, members: Sequence[Member], how: Batching) -> None:
        self._engine, self._members, self._how, self._world = engine, members, how, engine.world
        self._sums = torch.zeros(len(members), dtype=torch.float64, device=self._world.device)

    def of(self, rows: list[GangRow], learn: bool) -> None:
        """Add the losses of rows; with `learn` their gradients too, under dropout."""
        dropout = self._how.dropout if learn else 0.0
        rows = packed(rows, self._how.turn) if self._how.packing else rows
        dealt = deal(rows, self._how, self._world.size)
        if learn:
            self._count(dealt)
        with torch.set_grad_enabled(learn):
            for micro_batch in dealt[self._world.rank]:
                batch = collate(micro_batch, self._how.padding, dropout, self._world.device)
                losses_N = self._engine.losses(batch)
                if learn:
                    self._engine.backward((losses_N * batch.weights).sum())
                if micro_batch:
                    self._add(losses_N.detach().double(), micro_batch, by_weight=not learn)
                beat(WORKING)

    def keep_near(self, prompts: list[GangRow]) -> None:
        """Add the gradients of KL(base ‖ adapter), by weight. Theirs is a pass of their own: they need no answers."""
        for micro_batch in deal(prompts, self._how, self._world.size)[self._world.rank]:
            batch = collate_prompts(micro_batch, self._how.padding, self._world.device)
            self._engine.backward((self._engine.losses(batch) * batch.own.weights).sum())
            beat(WORKING)

    def keep_small(self, weights: list[float]) -> None:
        """Add the gradients of members' ‖ΔW‖², by weight; all processes have them, so each adds its part."""
        if any(weights):
            weights_K = on_device(weights, self._world.device) / self._world.size
            self._engine.backward((self._engine.losses(None) * weights_K).sum())

    def take(self, slots: list[int]) -> dict[int, float]:
        """These members' sums over all processes since they were last taken; every process has to ask."""
        sums = self._world.sum_each(self._sums)
        for slot in slots:
            self._sums[slot] = 0.0
        return {slot: sums[slot] for slot in slots}

    def _add(self, losses_N: torch.Tensor, rows: list[GangRow], by_weight: bool) -> None:
        """Losses stand row by row, rows member by member: added up in that order, on any device."""
        if by_weight:
            weights = [row.weight for row in rows for _ in range(row.row.targets)]
            losses_N = losses_N * on_device(weights, losses_N.device, torch.float64)
        counts = [0] * len(self._members)
        for row in rows:
            counts[row.slot] += row.row.targets
        lengths = on_device(counts, losses_N.device)  # unsafe: they are right, and are not read to see whether they are
        self._sums += torch.segment_reduce(losses_N, "sum", lengths=lengths, unsafe=True)

    def _count(self, dealt: list[list[list[GangRow]]]) -> None:
        """Note each member's tokens: its own, and those that went through the model with the padding."""
        for micro_batches in dealt:
            for rows in micro_batches:
                longest = max((len(row.row.tokens) for row in rows), default=0)
                for row in rows:
                    self._members[row.slot].useful += len(row.row.tokens)
                    self._members[row.slot].padded += longest
