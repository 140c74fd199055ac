"""Weighted adapters as a composition has them: in any order the same, and none that cancels."""

from __future__ import annotations

from itertools import permutations

import pytest

from study.composition import Composition, Term, gathered


@pytest.mark.parametrize("layers", [(), (0.1, 0.7), (1.0, 1.0)])
def test_any_order_of_terms_of_one_adapter_is_one_composition(layers: tuple[float, ...]) -> None:
    """0.1 + 0.2 + 0.3 is not 0.3 + 0.2 + 0.1 in floats."""
    weights = (0.1, 0.2, 0.3, -0.7)
    terms = [Term("a", weight, layers if weight < 0.3 else ()) for weight in weights] + [Term("b", 0.5)]
    made = {Composition("sum", gathered(order)).identity for order in permutations(terms)}
    assert len(made) == 1


def test_terms_that_cancel_are_gone_and_small_ones_are_not() -> None:
    assert gathered([Term("a", 0.1), Term("a", 0.2), Term("a", -0.3), Term("b")]) == (Term("b"),)
    assert gathered([Term("a", 1e-15)]) == (Term("a", 1e-15),)
    assert gathered([Term("a", 1.0), Term("a", -0.999999)]) != ()
