"""Norms, cosines and conflicts are those of the dense updates."""

from __future__ import annotations

from dataclasses import astuple

import pytest
import torch

from adapters.composing.geometry import GRID, pairs
from adapters.folders.folder import AdapterWeights, Factors
from tests.support.compositions import SHAPES, apart, at_random, composed, dense, norm, without

FIRST, *_, SCORE = SHAPES
PARTS = [at_random(1, 4, 2.0), without(at_random(2, 3, 0.7), SCORE), at_random(3, 6, 0.4)]


def test_pairs_are_those_of_dense_updates() -> None:
    found = pairs(PARTS)
    assert [(pair.first, pair.second) for pair in found] == [(0, 1), (0, 2), (1, 2)]
    for pair in found:
        one, other = dense(PARTS[pair.first]), dense(PARTS[pair.second])
        both = sorted(one.keys() & other.keys())
        product = sum(float((one[name] * other[name]).sum()) for name in both)
        assert pair.cosine == pytest.approx(product / (norm(one) * norm(other)), abs=1e-6)
        assert pair.norm_ratio == pytest.approx(min(norm(one) / norm(other), norm(other) / norm(one)), rel=1e-6)
        unlike = sum(int((one[name] * other[name] < 0).sum()) for name in both)
        assert pair.sign_conflicts == pytest.approx(unlike / sum(one[name].numel() for name in both), abs=1e-6)


def test_like_and_unlike_parts() -> None:
    one = PARTS[0]
    turned = AdapterWeights({name: Factors(own.a, -3 * own.b, own.scaling) for name, own in one.modules.items()})
    same, against = pairs([one, one])[0], pairs([one, turned])[0]
    assert astuple(same)[2:] == pytest.approx((1, 1, 0))
    assert astuple(against)[2:] == pytest.approx((-1, 1 / 3, 1))
    beside = AdapterWeights({"elsewhere": one.modules[FIRST]})
    assert pairs([one, beside])[0].cosine == 0
    idle = AdapterWeights({n: Factors(own.a, 0 * own.b, 1.0) for n, own in one.modules.items()})
    assert astuple(pairs([one, idle])[0])[2:] == (0, 0, 0)


def test_of_large_modules_a_grid_tells_the_share() -> None:
    """It is an estimate there: within a few points of what all entries say, at a size some times the grid's."""
    size = 6 * GRID + 5
    shapes = {f"layers.{i}.x": (size, size + 40) for i in range(4)}
    parts = [at_random(1, 8, 1.0, shapes), at_random(2, 8, 1.0, shapes)]
    mixed = AdapterWeights(
        {
            name: Factors(
                torch.cat([parts[0].modules[name].a, own.a]), torch.cat([parts[0].modules[name].b, own.b], 1), 1.0
            )
            for name, own in parts[1].modules.items()
        }
    )
    one, other = dense(parts[0]), dense(mixed)
    share = sum(int((one[name] * other[name] < 0).sum()) for name in one) / sum(x.numel() for x in one.values())
    assert share < 0.3
    assert pairs([parts[0], mixed])[0].sign_conflicts == pytest.approx(share, abs=0.03)


def test_a_grid_does_not_fall_in_with_what_repeats() -> None:
    """Every second output turns around, as halves of a head may: a grid of an even step would see one half alone."""
    size = 4 * GRID
    one = at_random(1, 2, 1.0, {"x": (size, size)})
    own = one.modules["x"]
    turned = own.b * torch.tensor([1.0, -1.0]).repeat(size // 2)[:, None]
    other = AdapterWeights({"x": Factors(own.a, turned, 1.0)})
    assert pairs([one, other])[0].sign_conflicts == pytest.approx(0.5, abs=0.02)


def test_the_norm_of_a_difference_is_not_lost_in_rounding() -> None:
    """Two parts that differ by a ten-thousandth."""
    one = at_random(1, 4, 1.0)
    near = AdapterWeights({n: Factors(own.a, own.b * (1 + 1e-4), own.scaling) for n, own in one.modules.items()})
    made = composed("sum", {"a": 1.0, "b": -1.0}, {"a": one, "b": near})
    assert made.geometry.norm == pytest.approx(norm(dense(made.weights)), rel=1e-4)
    assert made.geometry.norm == pytest.approx(1e-4 * norm(dense(one)), rel=0.01)
    assert apart(dense(near), dense(one)) < 2e-4
