"""What a trial does about what its workers raise: stand-ins for these fail as they are told to, and no time passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from ray.exceptions import ActorDiedError

from orchestrator.failures import NotStarted
from orchestrator.training.context import TrialContext
from orchestrator.training.outcome import GangEnded, GangMoved, Trained
from orchestrator.training.trial import GangTrainer
from study.config import Training
from study.config.file import parse
from study.store.store import Store
from tests.orchestrator.planning.test_plan import TEXT, grid_of

Tried = tuple[int, int | str]  # adapters at once, tokens of a micro-batch
OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory")


class StandIns:
    """Workers that raise what `fails` answers, given the adapters they are to train and how many tokens at once."""

    size = 1

    def __init__(self, fails: Callable[[Sequence[str], Training], Exception | None]) -> None:
        self._fails = fails
        self.tried: list[Tried] = []
        self.stops = 0

    def train(
        self, context: TrialContext, adapter_ids: Sequence[str], training: Training, start: bytes | None
    ) -> GangEnded:
        self.tried.append((len(adapter_ids), training.micro_batch_tokens))
        error = self._fails(adapter_ids, training)
        if error is not None:
            raise error
        return GangEnded(tuple(Trained(name, 10, 1.0) for name in adapter_ids))

    def failed_on(self) -> list[str]:
        return ["node"]

    def struck(self) -> bool:
        return False

    def stop(self) -> None:
        self.stops += 1


@pytest.fixture
def context(tmp_path: Path) -> TrialContext:
    """A study of four adapters of a model."""
    config = parse(TEXT, [f"store={tmp_path}", "seeds=[1]", "models=[{id: a}]", "failures={out_of_memory: 1}"])
    grid = grid_of(config)
    units = {unit.adapter_id: unit for unit in grid.adapters}
    return TrialContext(config, {model.name: model for model in grid.models}, units, {}, Store(config.store))


def trainer_of(context: TrialContext, workers: StandIns) -> tuple[GangTrainer, list[float]]:
    """With the seconds that it waits between its tries."""
    slept: list[float] = []
    return GangTrainer(context, workers, slept.append), slept


def names(outcome: GangEnded | GangMoved) -> tuple[list[str], list[tuple[str, str, int]]]:
    """Who is trained, and who has failed of what after how many tries."""
    assert isinstance(outcome, GangEnded)
    failed = [(failure.unit_id, failure.kind, failure.attempts) for failure in outcome.failed]
    return [adapter.adapter_id for adapter in outcome.trained], failed


def test_too_little_memory_makes_batches_smaller_then_gangs_and_the_next_gang_begins_with_that(
    context: TrialContext,
) -> None:
    def fails(gang: Sequence[str], training: Training) -> Exception | None:
        return OUT_OF_MEMORY if len(gang) > 2 or training.micro_batch_tokens != 512 else None

    workers = StandIns(fails)
    trainer, slept = trainer_of(context, workers)
    gang = list(context.units)
    assert names(trainer.train(gang, {})) == (gang, [])
    assert workers.tried == [(4, "auto"), *[(4, tokens) for tokens in (8192, 4096, 2048, 1024, 512)], *[(2, 512)] * 2]
    workers.tried.clear()
    assert names(trainer.train(gang, {})) == (gang, [])
    assert workers.tried == [(2, 512)] * 2
    assert slept == []


def test_a_member_at_fault_is_found_once_the_model_has_been_trained_here(context: TrialContext) -> None:
    gang = list(context.units)
    workers = StandIns(lambda some, _: ZeroDivisionError("a bug") if gang[1] in some else None)
    trainer, _ = trainer_of(context, workers)
    assert names(trainer.train(gang, {})) == ([], [(name, "bug", 1) for name in gang])
    assert names(trainer.train(gang[:1], {})) == (gang[:1], [])
    trained, failed = names(trainer.train(gang, {}))
    assert (sorted(trained), failed) == (sorted({*gang} - {gang[1]}), [(gang[1], "bug", 1)])
    assert workers.stops == 0  # their processes are as good as before


def test_a_node_that_loses_workers_is_left_with_what_was_spent_there(context: TrialContext) -> None:
    workers = StandIns(lambda *_: ActorDiedError())
    trainer, slept = trainer_of(context, workers)
    assert trainer.train(list(context.units), {"transient": 1}) == GangMoved(
        {"transient": 1, "node_lost": 3}, lost=("node",) * 3
    )
    assert (workers.stops, slept) == (3, [1.0, 2.0, 4.0])


def test_a_place_where_workers_do_not_start_is_left_at_once_until_the_budget_is_spent(context: TrialContext) -> None:
    workers = StandIns(lambda *_: NotStarted("1 workers were not all there"))
    trainer, slept = trainer_of(context, workers)
    gang = list(context.units)
    assert trainer.train(gang, {}) == GangMoved({"node_lost": 1}, lost=("node",))
    assert names(trainer.train(gang, {"node_lost": 20})) == ([], [(name, "node_lost", 21) for name in gang])
    assert slept == []
