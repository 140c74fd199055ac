"""Several cells at once: which rows a step learns from, and weights that follow slowly, as their formulas say."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest
import torch

from study.config import Lora, Mixing, ModelConfig, Recipe, Validation
from study.config.recipe import Temperature
from study.models.resolve import Model, resolve
from tests.support.training import RECIPE, assert_close, job, told, train, training, weights
from trainers.checkpoint import Checkpoint
from trainers.checkpoint_header import header
from trainers.data import steps
from trainers.job import Job, Setup, Trained
from trainers.member import Member
from trainers.mixing import epochs, shares
from trainers.optimizer import GangAdamW
from trainers.worker import Worker

CELLS = [list(range(0, 60)), list(range(60, 75)), list(range(75, 80))]
REPTILE = Mixing(order="reptile", weights="uniform", inner_steps=3, outer_rate=0.5)
ORDERS = [
    Mixing(weights="uniform"),
    Mixing(weights=Temperature(temperature=5)),
    Mixing(order="sequential"),
    REPTILE,
]


def recipe(mixing: Mixing, **changes: object) -> Recipe:
    return RECIPE.model_copy(update={"mixing": mixing, "lora": Lora(r=4, alpha=8, dropout=0.2), **changes})


def joint(name: str, *counts: int, seed: int = 7) -> Job:
    """Examples of several cells, which differ from cell to cell."""
    parts = [job(f"{name}{number}", count=count).examples for number, count in enumerate(counts)]
    return Job(name, seed, tuple(example for part in parts for example in part), counts)


def file_bytes(trained: Trained) -> bytes:
    return (trained.folder / "adapter_model.safetensors").read_bytes()


def test_by_size_rows_come_as_they_always_did() -> None:
    rows = [row for cell in CELLS for row in cell]
    plan = epochs(CELLS, RECIPE, 7)
    assert plan == [steps(rows, RECIPE.batch_size, 7, epoch) for epoch in range(RECIPE.epochs)]


def test_one_cell_after_the_other_with_all_its_epochs() -> None:
    plan = epochs(CELLS, recipe(Mixing(order="sequential")), 7)
    assert [sorted(row for step in epoch for row in step) for epoch in plan] == [c for c in CELLS for _ in range(3)]
    assert plan[0] != plan[1]


@pytest.mark.parametrize("mixing", [one for one in ORDERS if one.order != "sequential"])
def test_an_epoch_keeps_its_steps_and_rows_come_again_when_all_have_come(mixing: Mixing) -> None:
    plain, plan = epochs(CELLS, RECIPE, 7), epochs(CELLS, recipe(mixing), 7)
    assert [[len(step) for step in epoch] for epoch in plan] == [[len(step) for step in epoch] for epoch in plain]
    assert epochs(CELLS, recipe(mixing), 7) == plan != epochs(CELLS, recipe(mixing), 8)
    seen = Counter(row for epoch in plan for step in epoch for row in step)
    for cell in CELLS:
        times = [seen[row] for row in cell]
        assert max(times) - min(times) <= 1
    if mixing.order == "reptile":
        of = {row: number for number, cell in enumerate(CELLS) for row in cell}
        assert all(len({of[row] for row in step}) == 1 for epoch in plan for step in epoch)


@pytest.mark.parametrize("order", ["mixed", "reptile"])
@pytest.mark.parametrize(("power", "name"), [(1.0, "size"), (0.0, "uniform"), (0.2, Temperature(temperature=5))])
def test_cells_are_drawn_as_often_as_their_shares_say(order: str, power: float, name: object) -> None:
    """Within three standard deviations."""
    mixing = Mixing.model_validate({**REPTILE.model_dump(), "order": order, "weights": name})
    parts = [len(cell) ** power for cell in CELLS]
    assert shares([len(cell) for cell in CELLS], mixing) == pytest.approx([part / sum(parts) for part in parts])
    plan = epochs(CELLS, recipe(mixing, epochs=400), 7)
    drawn = [step[:1] if order == "reptile" else step for epoch in plan for step in epoch]
    rows = [row for step in drawn for row in step]
    for cell, part in zip(CELLS, parts, strict=True):
        p, n = part / sum(parts), len(rows)
        assert abs(sum(row in cell for row in rows) - n * p) < 3 * math.sqrt(n * p * (1 - p))


def test_slow_weights_follow_as_computed_by_hand() -> None:
    """Two numbers each, whole and in two processes' parts. The second is frozen, the third has no slow weights."""
    start = torch.tensor([[0.5, -1.0], [1.0, 1.0], [2.0, 2.0]])
    gradients = [torch.tensor([[1.0, -2.0], [1.0, 1.0], [0.5, 0.5]]) * scale for scale in (1.0, 0.5, -1.0, 2.0)]
    rates, loops = [0.1, None, 0.1], [(), (0, 1), (), (0, 1)]

    def go(flat: torch.Tensor, parts: list[torch.Tensor], rank: int) -> tuple[torch.Tensor, torch.Tensor]:
        parameter = torch.nn.Parameter(flat.clone())
        optimizer = GangAdamW([torch.nn.Parameter(start.clone())], 0.0, None, rank, 2)
        optimizer.outer_rate, optimizer.param_groups[0]["params"] = 0.25, [parameter]
        for number, (gradient, following) in enumerate(zip(parts, loops, strict=True), 1):
            optimizer.rates, optimizer.number, optimizer.following = rates, number, following
            parameter.grad = gradient.clone()
            optimizer.step()
        return parameter.detach(), optimizer.state[parameter]["slow"]

    fast = torch.nn.Parameter(start[0].clone())
    by_torch = torch.optim.AdamW([fast], lr=0.1, weight_decay=0.0)
    slow = start[0].clone()
    for number, gradient in enumerate(gradients, 1):
        fast.grad = gradient[0].clone()
        by_torch.step()
        if number % 2 == 0:
            slow = slow + 0.25 * (fast.detach() - slow)
            fast.data.copy_(slow)
    theta, phi = go(start, gradients, 0)
    torch.testing.assert_close(theta[0], slow)
    assert torch.equal(theta[0], phi[0])
    assert torch.equal(theta[1], start[1])
    assert torch.equal(phi[2], start[2])
    assert not torch.equal(theta[2], start[2])
    for rank, cut in enumerate((slice(0, 3), slice(3, 6))):  # the border is within the second's row
        own, following = go(start.flatten()[cut], [gradient.flatten()[cut] for gradient in gradients], rank)
        assert torch.equal(own, theta.flatten()[cut])
        assert torch.equal(following, phi.flatten()[cut])


@pytest.mark.parametrize("mixing", ORDERS[1:])
def test_in_a_gang_as_alone_and_one_cell_as_ever(worker: Worker, model: Model, tmp_path: Path, mixing: Mixing) -> None:
    how = recipe(mixing, epochs=2)
    gang = [joint("a", 6, 9), job("b", seed=8, count=9), joint("c", 9, 4, 5, seed=9)]
    together = worker.train(Setup(model, how, training(2)), gang, tmp_path / "gang")
    for one, mine in zip(gang, together, strict=True):
        alone = train(worker, model, tmp_path / "alone", one, how if one.cells else recipe(Mixing(), epochs=2))
        assert isinstance(mine, Trained)
        assert_close(weights(mine), weights(alone))
        assert told(mine)["best_epoch"] == told(alone)["best_epoch"]
        for actual, expected in zip(told(mine)["epochs"], told(alone)["epochs"], strict=True):
            assert actual == pytest.approx(expected, rel=1e-4)
    if mixing.order == "sequential":
        [last, *_] = [told(mine) for mine in together if isinstance(mine, Trained)]
        assert (last["kept"], last["best_epoch"], len(last["epochs"])) == ("last", 4, 4)
        rates = [epoch["learning_rate"] for epoch in last["epochs"]]
        assert rates == sorted(rates, reverse=True)  # one schedule over all


def test_with_an_outer_rate_of_one_it_is_plain_steps(
    worker: Worker, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the same batches of one cell each, bit for bit."""
    one, changes = joint("a", 9, 14), {"validation": Validation(fraction=0.2, keep="last"), "epochs": 2}
    how = recipe(REPTILE.model_copy(update={"outer_rate": 1.0}), **changes)
    followed = train(worker, model, tmp_path / "slow", one, how)
    half = train(worker, model, tmp_path / "half", one, recipe(REPTILE, **changes))
    monkeypatch.setattr(Member, "is_slow", False)
    monkeypatch.setattr(Member, "ends_loop", lambda self, step: False)
    plain = train(worker, model, tmp_path / "plain", one, how)
    assert file_bytes(followed) == file_bytes(plain) != file_bytes(half)


@pytest.mark.parametrize(("dtype", "stage"), [("float32", 0), ("float32", 2), ("float32", 3), ("bfloat16", 1)])
def test_in_the_middle_of_a_loop_it_goes_on_bit_for_bit(
    worker: Worker, tiny_model_dir: Path, tmp_path: Path, dtype: str, stage: int
) -> None:
    """Also where those who go on have no slow weights, beside one who has."""
    gang, saved = [joint("a", 7, 8), job("b", seed=8, count=6)], list[bytes]()
    model = resolve(ModelConfig(id=str(tiny_model_dir)), dtype, "models[0]")
    setup = Setup(model, recipe(REPTILE, epochs=2), training(stage, micro_batch_size=5))
    whole = worker.train(setup, gang, tmp_path / "whole", None, lambda reached: saved.append(reached.to_bytes()))
    assert [header(data)["step"] for data in saved] == [2, 4, 6]  # loops end after 3 and 6 steps
    for number in (0, 1) if stage == 2 else (1,):
        begun = Checkpoint.from_bytes(saved[number])
        rows = [state.row for state in begun.members.values()]
        assert [len(row) for row in rows if row is not None] == ([4, 3] if number == 0 else [4])
        again = worker.train(setup, gang, tmp_path / str(number), begun)
        for mine, theirs in zip(again, whole, strict=True):
            assert isinstance(mine, Trained)
            assert isinstance(theirs, Trained)
            assert file_bytes(mine) == file_bytes(theirs)
            assert told(mine)["epochs"] == told(theirs)["epochs"]
    if stage == 2:
        [alone] = worker.train(setup, gang[1:], tmp_path / "alone", Checkpoint.from_bytes(saved[0]))
        assert isinstance(alone, Trained)
        assert isinstance(whole[1], Trained)
        assert_close(weights(alone), weights(whole[1]))
