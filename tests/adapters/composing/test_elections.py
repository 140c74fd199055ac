"""`ties`, `dare` and `dare_ties` are what plain loops over numbers say, and what PEFT's and mergekit's formulas do."""

from __future__ import annotations

import pytest
import torch
from peft.utils import merge_utils

from adapters.composing.composed import compose
from adapters.composing.elections import keeps
from adapters.folders.folder import AdapterWeights, Factors
from study.composition import Term
from tests.support.compositions import SHAPES, Dense, apart, at_random, composed, composition, dense, without

FIRST, *_, SCORE = SHAPES
PARTS = {"a": at_random(1, 4, 2.0), "b": without(at_random(2, 3, 0.7), SCORE), "c": at_random(3, 6, 0.4)}
WEIGHTS = {"a": 1.0, "b": -0.6, "c": 0.8}


def trimmed(matrices: Dense, density: float, by_adapter: bool) -> Dense:
    """The largest numbers, found by sorting them all."""
    groups = [sorted(matrices)] if by_adapter else [[name] for name in sorted(matrices)]
    found = {}
    for names in groups:
        flat = torch.cat([matrices[name].flatten() for name in names])
        keep = flat.abs().argsort(descending=True, stable=True)[: int(density * len(flat))]
        kept = torch.zeros_like(flat)
        kept[keep] = flat[keep]
        for name, x in zip(names, kept.split([matrices[name].numel() for name in names]), strict=True):
            found[name] = x.view(matrices[name].shape)
    return found


def merged(parts: list[Dense], scale: float = 1.0) -> Dense:
    """The election and the mean, number by number."""
    found = {}
    for name in sorted({name for part in parts for name in part}):
        xs = [part[name] for part in parts if name in part]
        result = torch.zeros_like(xs[0]).flatten()
        for i, numbers in enumerate(zip(*(x.flatten().tolist() for x in xs), strict=True)):
            positive = sum(numbers) >= 0
            chosen = [x for x in numbers if x != 0 and (x > 0) == positive]
            result[i] = scale * sum(chosen) / max(1, len(chosen))
        found[name] = result.view(xs[0].shape)
    return found


def weighted(weights: dict[str, float]) -> list[Dense]:
    return [{name: weight * x for name, x in dense(PARTS[part]).items()} for part, weight in weights.items()]


@pytest.mark.parametrize("trim", ["adapter", "module"])
@pytest.mark.parametrize("density", [0.0, 0.13, 0.5, 1.0])
def test_ties_is_what_the_paper_says(density: float, trim: str) -> None:
    made = composed("ties", WEIGHTS, PARTS, density=density, scale=1.5, trim=trim, rank="full")
    sparse = [trimmed(part, density, trim == "adapter") for part in weighted(WEIGHTS)]
    expected = merged(sparse, 1.5)
    if not density:
        assert made.geometry.norm == 0
        return
    assert apart(dense(made.weights), expected) < 1e-6
    assert made.geometry.truncation == 0
    for name, own in made.weights.modules.items():
        assert len(own.a) == min(SHAPES[name])
        assert torch.equal((own.b @ own.a == 0), expected[name] == 0)


def test_ties_is_cut_to_a_rank() -> None:
    made = composed("ties", WEIGHTS, PARTS, density=0.2, rank=3)
    lost = whole = 0.0
    for name, x in merged([trimmed(part, 0.2, True) for part in weighted(WEIGHTS)]).items():
        u, s, vt = torch.linalg.svd(x)
        best = u[:, :3] @ torch.diag(s[:3]) @ vt[:3]
        own = made.weights.modules[name]
        assert (own.b.double() @ own.a.double() - best).norm() < 1e-5 * best.norm()
        lost, whole = lost + float(s[3:].square().sum()), whole + float(s.square().sum())
    assert made.geometry.truncation == pytest.approx((lost / whole) ** 0.5, rel=1e-5)
    assert made.geometry.rank == 3


def test_of_equal_magnitudes_the_lower_name_and_index_stay() -> None:
    """Eight numbers of one size in two modules, five of which stay."""
    ones, signs = torch.ones(2, 1), torch.tensor([[1.0, -1.0]])
    part = AdapterWeights({"layers.1.x": Factors(signs, ones, 1.0), "layers.0.y": Factors(signs, ones, 1.0)})
    made = dense(compose(composition("ties", Term("a"), density=0.7), [part]).weights)
    assert made["layers.0.y"].tolist() == [[1, -1], [1, -1]]
    assert made["layers.1.x"].tolist() == [[1, 0], [0, 0]]
    made = dense(compose(composition("ties", Term("a"), density=0.5, trim="module"), [part]).weights)
    assert made["layers.1.x"].tolist() == [[1, -1], [0, 0]]


def test_a_sum_of_nothing_elects_the_positive() -> None:
    one = AdapterWeights({"layers.0.x": Factors(torch.ones(1, 1), torch.ones(1, 1), 1.0)})
    made = compose(composition("ties", Term("a", 1.0), Term("b", -1.0), density=1.0), [one, one])
    assert dense(made.weights)["layers.0.x"].item() == 1


def test_ties_is_pefts_where_weights_are_one() -> None:
    """PEFT trims each module, and elects before weights."""
    made = dense(composed("ties", dict.fromkeys("abc", 1.0), PARTS, density=0.3, trim="module").weights)
    for name in SHAPES:
        xs = [dense(part)[name] for part in PARTS.values() if name in part.modules]
        expected = merge_utils.ties(xs, torch.ones(len(xs), dtype=torch.float64), 0.3)
        torch.testing.assert_close(made[name], expected, rtol=1e-5, atol=1e-6)


def test_ties_is_mergekits_sum_over_those_elected() -> None:
    """mergekit weighs before it elects. Unnormalised it adds what our mean divides by the number of those elected."""
    made = dense(composed("ties", WEIGHTS, PARTS, density=0.3, trim="module").weights)
    for name in SHAPES:
        deltas = torch.stack(
            [
                weight * trimmed({name: dense(PARTS[part])[name]}, 0.3, False)[name]
                for part, weight in WEIGHTS.items()
                if name in PARTS[part].modules
            ]
        )
        majority = (deltas.sum(0) >= 0).double() * 2 - 1
        mask = deltas.sign() == majority
        expected = (deltas * mask).sum(0) / mask.sum(0).clamp(min=1)
        torch.testing.assert_close(made[name], expected, rtol=1e-5, atol=1e-6)


def masked(density: float, draw: int) -> list[Dense]:
    return [
        {
            name: weight * x * keeps(draw, part, name, x.shape, density) / density
            for name, x in dense(PARTS[part]).items()
        }
        for part, weight in WEIGHTS.items()
    ]


def test_dare_drops_at_random_and_makes_up_for_it() -> None:
    made = composed("dare", WEIGHTS, PARTS, density=0.4, draw=5)
    expected: Dense = {}
    for part in masked(0.4, 5):
        for name, x in part.items():
            expected[name] = expected.get(name, torch.zeros_like(x)) + x
    assert apart(dense(made.weights), expected) < 1e-6
    other = composed("dare", WEIGHTS, PARTS, density=0.4, draw=6)
    assert apart(dense(made.weights), dense(other.weights)) > 0.3
    whole = composed("dare", WEIGHTS, PARTS, density=1.0)
    assert apart(dense(whole.weights), dense(composed("sum", WEIGHTS, PARTS).weights)) < 1e-6


def test_dare_ties_elects_what_was_not_dropped() -> None:
    made = composed("dare_ties", WEIGHTS, PARTS, density=0.4, draw=5, scale=0.5)
    assert apart(dense(made.weights), merged(masked(0.4, 5), 0.5)) < 1e-6


def test_a_mask_is_of_its_draw_part_and_module() -> None:
    shape = torch.Size((300, 400))
    first = keeps(0, "a", "m", shape, 0.3)
    assert torch.equal(first, keeps(0, "a", "m", shape, 0.3))
    assert first.float().mean().item() == pytest.approx(0.3, abs=0.005)
    for other in (keeps(1, "a", "m", shape, 0.3), keeps(0, "b", "m", shape, 0.3), keeps(0, "a", "n", shape, 0.3)):
        assert (first & other).float().mean().item() == pytest.approx(0.09, abs=0.005), "they should be independent"
    assert keeps(0, "a", "m", shape, 1.0).all()
