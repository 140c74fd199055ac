"""Arithmetic on A and B apart is bilinear: what it gives is written out, and what it needs is asked for."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from safetensors.torch import save

from adapters.composing.composed import compose
from adapters.folders.folder import UnsupportedAdapter
from adapters.kinds.lora_weights import named
from study.composition import Term
from tests.support.compositions import SHAPES, apart, at_random, composed, composition, dense, without

FIRST, *_, SCORE = SHAPES
PARTS = {"a": at_random(1, 4, 0.5), "b": at_random(2, 4, 0.5), "c": without(at_random(3, 4, 0.5), SCORE)}
WEIGHTS = {"a": 0.5, "b": -1.5, "c": 1.0}


@pytest.mark.parametrize("method", ["factors", "factors_b"])
def test_a_and_b_are_added_apart(method: str) -> None:
    made = dense(composed(method, WEIGHTS, PARTS).weights)  # type: ignore[arg-type]
    for name in SHAPES:
        own = [(PARTS[part].modules[name], w) for part, w in WEIGHTS.items() if name in PARTS[part].modules]
        a = sum((abs(w) if method == "factors_b" else w) * factors.a.double() for factors, w in own)
        b = sum(w * factors.b.double() for factors, w in own)
        torch.testing.assert_close(made[name], 0.5 * (b @ a), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", ["factors", "factors_b", "factors_peft", "factors_peft_ties"])
def test_any_order_of_terms_gives_equal_bytes(method: str) -> None:
    density, found = (0.4 if method == "factors_peft_ties" else None), set()
    for terms in permutations(Term(name, weight) for name, weight in WEIGHTS.items()):
        asked = composition(method, *terms, density=density)  # type: ignore[arg-type]
        found.add(save(named(compose(asked, [PARTS[term.adapter_id] for term in asked.terms]).weights)))
    assert len(found) == 1


def test_it_is_no_sum_and_weights_enter_squared() -> None:
    exact = dense(composed("sum", {"a": 1.0, "b": 1.0}, PARTS).weights)
    assert apart(dense(composed("factors", {"a": 1.0, "b": 1.0}, PARTS).weights), exact) > 0.5
    doubled = dense(composed("factors", {"a": 2.0}, PARTS).weights)
    assert apart(doubled, {name: 4 * x for name, x in dense(PARTS["a"]).items()}) < 1e-6


@pytest.mark.parametrize("method", ["factors", "factors_b", "factors_peft", "factors_peft_ties"])
def test_unequal_ranks_are_named(method: str) -> None:
    parts = {"a": at_random(1, 4), "z": at_random(2, 3)}
    with pytest.raises(UnsupportedAdapter, match=r"its rank is 4 in a, 3 in z"):
        composed(method, {"a": 1.0, "z": 1.0}, parts, density=0.5)  # type: ignore[arg-type]


def test_unequal_scalings_are_named_where_they_matter() -> None:
    parts = {"a": at_random(1, 4, 2.0), "z": at_random(2, 4, 0.5)}
    with pytest.raises(UnsupportedAdapter, match=r"its scaling is 2 in a, 0.5 in z"):
        composed("factors", {"a": 1.0, "z": 1.0}, parts)
    made = dense(composed("factors_peft", {"a": 1.0, "z": -3.0}, parts).weights)
    for name in SHAPES:
        one, other = (parts[part].modules[name] for part in "az")
        a = 2.0**0.5 * one.a.double() - 1.5**0.5 * other.a.double()
        b = 2.0**0.5 * one.b.double() + 1.5**0.5 * other.b.double()
        torch.testing.assert_close(made[name], b @ a, rtol=1e-5, atol=1e-5)
