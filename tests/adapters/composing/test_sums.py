"""`sum` and `svd` are what a few lines on dense float64 matrices say."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from adapters.composing.composed import compose
from adapters.composing.shares import layer_of
from adapters.folders.folder import AdapterWeights, UnsupportedAdapter, scaling
from adapters.kinds.lora_weights import named
from study.composition import Term
from tests.support.compositions import SHAPES, Dense, apart, at_random, composed, composition, dense, norm, without

FIRST, _, SECOND, LAST, SCORE = SHAPES
PARTS = {  # unequal ranks, alphas, rsLoRA, sets of modules
    "a": at_random(1, 4, scaling(8, 4, False)),
    "b": without(at_random(2, 3, scaling(5, 3, True)), SCORE),
    "c": without(at_random(3, 7, scaling(0.5, 7, False)), FIRST, LAST),
}
WEIGHTS = [{"a": 1.0}, {"a": 0.5, "b": 0.5}, {"a": 1.0, "b": -0.7, "c": 2.5}, {"b": -1.0, "c": 0.25}]


def summed(weights: dict[str, float]) -> Dense:
    """Σ w ΔW in float64."""
    found: Dense = {}
    for name, weight in weights.items():
        for module, x in dense(PARTS[name]).items():
            found[module] = found.get(module, torch.zeros_like(x)) + weight * x
    return found


@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
def test_a_sum_is_exact(weights: dict[str, float]) -> None:
    made = composed("sum", weights, PARTS)
    expected = summed(weights)
    assert apart(dense(made.weights), expected) < 1e-6
    assert made.geometry.norm == pytest.approx(norm(expected), rel=1e-6)
    assert made.geometry.truncation == 0
    assert all(own.scaling == 1 and own.a.dtype == torch.float32 for own in made.weights.modules.values())


def test_a_rank_is_no_larger_than_its_module() -> None:
    """Of `score` [6, 20] the parts make rank 11."""
    made = composed("sum", {"a": 1.0, "c": -2.0}, PARTS)
    assert {name: len(own.a) for name, own in made.weights.modules.items()} == dict.fromkeys(SHAPES, 11) | {
        SCORE: 6,
        FIRST: 4,
        LAST: 4,
    }
    assert made.geometry.rank == 11
    assert made.geometry.truncations[SCORE] == 0
    assert apart(dense(made.weights), summed({"a": 1.0, "c": -2.0})) < 1e-6


@pytest.mark.parametrize("rank", [1, 2, 5, 30])
@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
def test_svd_is_the_best_of_its_rank(weights: dict[str, float], rank: int) -> None:
    made = composed("svd", weights, PARTS, rank=rank)
    lost = whole = 0.0
    for name, x in summed(weights).items():
        u, s, vt = torch.linalg.svd(x, full_matrices=False)
        own, best = made.weights.modules[name], u[:, :rank] @ torch.diag(s[:rank]) @ vt[:rank]
        assert len(own.a) == min(rank, *x.shape)
        assert (own.b.double() @ own.a.double() - best).norm() < 1e-5 * best.norm()
        error = float(s[rank:].norm() / s.norm())
        assert made.geometry.truncations[name] == pytest.approx(error, rel=1e-5, abs=1e-7)
        lost, whole = lost + float(s[rank:].square().sum()), whole + float(s.square().sum())
    assert made.geometry.truncation == pytest.approx((lost / whole) ** 0.5, rel=1e-5, abs=1e-7)


def test_svd_puts_singular_values_on_both_sides_and_fixes_signs() -> None:
    own = composed("svd", {"a": 1.0}, PARTS, rank=6).weights.modules[FIRST]
    sizes = own.a.norm(dim=1)
    torch.testing.assert_close(own.b.norm(dim=0), sizes)
    assert (sizes[:3] > sizes[1:4]).all()
    assert (own.b.gather(0, own.b.abs().argmax(0, keepdim=True)) >= 0).all()
    assert not own.a[4:].any()
    assert not own.b[:, 4:].any(), "the part is of rank 4"


def test_a_module_that_no_term_changes_is_zero() -> None:
    """One layer of two, and nothing outside the layers: a term whose other modules are left out."""
    term = Term("a", 2.0, layers=(0.0, 0.5), outside=0.0)
    for method, more in (("sum", {}), ("svd", {"rank": 3}), ("ties", {"density": 0.5}), ("factors", {})):
        made = compose(composition(method, term, **more), [PARTS["a"]]).weights
        assert made.modules.keys() == set(SHAPES)
        for name in (FIRST, SCORE):
            own, (fan_out, fan_in) = made.modules[name], SHAPES[name]
            assert (own.a.shape, own.b.shape) == ((1, fan_in), (fan_out, 1))
            assert not own.a.any()
            assert not own.b.any()
    expected = dense(PARTS["a"])[SECOND]
    made = compose(composition("sum", term), [PARTS["a"]]).weights
    torch.testing.assert_close(dense(made)[SECOND], expected)


def test_layers_have_weights_of_their_own() -> None:
    terms = (Term("a", 1.0, layers=(1.0, 0.25), outside=1.0), Term("b", -1.0, layers=(0.0, 2.0), outside=0.5))
    made = dense(compose(composition("sum", *terms), [PARTS["a"], PARTS["b"]]).weights)
    of_a, of_b = dense(PARTS["a"]), dense(PARTS["b"])
    expected = {FIRST: of_a[FIRST], SECOND: 0.25 * of_a[SECOND] - 2 * of_b[SECOND], SCORE: of_a[SCORE]}
    assert apart({name: made[name] for name in expected}, expected) < 1e-6
    with pytest.raises(UnsupportedAdapter, match=r"layers\.1.*in layer 1.*of 1 layers"):
        compose(composition("sum", Term("a", layers=(1.0,))), [PARTS["a"]])


@pytest.mark.parametrize(
    ("module", "layer"),
    [
        ("model.layers.11.mlp.experts.3.up_proj", 11),
        ("transformer.h.0.attn.c_attn", 0),
        ("layers.2", 2),
        ("model.language_model.layers.7.self_attn.q_proj", 7),
        ("transformer.attentions.1.q_lin", 1),
        ("model.vision_tower.encoder.layers.26.self_attn.q_proj", None),
        ("model.altup_projections.2", None),
        ("lm_head", None),
        ("mlp.c_fc2", None),
    ],
)
def test_a_layer_is_the_first_number_but_of_towers(module: str, layer: int | None) -> None:
    assert layer_of(module) == layer


def written(method: str, terms: Sequence[Term], **more: object) -> bytes:
    asked = composition(method, *terms, **more)
    return save(named(compose(asked, [PARTS[term.adapter_id] for term in asked.terms]).weights))


METHODS = [
    ("sum", {}),
    ("svd", {"rank": 4}),
    ("ties", {"density": 0.3, "rank": "full"}),
    ("ties", {"density": 0.3, "rank": 3, "trim": "module"}),
    ("dare", {"density": 0.5, "draw": 3}),
    ("dare_ties", {"density": 0.5}),
]


@given(st.permutations([Term("a", 0.5), Term("b", -1.0), Term("c", 0.3)]), st.sampled_from(METHODS))
def test_any_order_of_terms_gives_equal_bytes(terms: list[Term], method: tuple[str, dict[str, object]]) -> None:
    ordered = [Term("a", 0.5), Term("b", -1.0), Term("c", 0.3)]
    assert written(method[0], terms, **method[1]) == written(method[0], ordered, **method[1])


def test_what_is_subtracted_is_gone() -> None:
    terms = [Term("a"), Term("b"), Term("b", -1.0)]
    assert composition("sum", *terms).identity == composition("sum", Term("a")).identity
    assert written("sum", terms) == written("sum", [Term("a")])


def test_a_weight_of_minus_one_is_the_negative_but_for_factors() -> None:
    """`factors` multiplies A and B by it: what should be subtracted is added."""
    negative, own = {"a": -1.0}, dense(PARTS["a"])
    assert apart(dense(composed("sum", negative, PARTS).weights), {name: -x for name, x in own.items()}) < 1e-6
    assert apart(dense(composed("factors", negative, PARTS).weights), own) < 1e-6
    assert apart(dense(composed("factors_peft", negative, PARTS).weights), {n: -x for n, x in own.items()}) < 1e-6


def test_parts_of_two_models_are_refused() -> None:
    other = at_random(1, 4, 2.0, {FIRST: (24, 21)})
    with pytest.raises(UnsupportedAdapter, match="several shapes"):
        compose(composition("sum", Term("a"), Term("z")), [PARTS["a"], other])


def test_half_precision_is_composed_in_float32() -> None:
    half = AdapterWeights(
        {name: type(own)(own.a.bfloat16(), own.b.bfloat16(), own.scaling) for name, own in PARTS["a"].modules.items()}
    )
    made = compose(composition("sum", Term("a", 0.3)), [half]).weights
    assert apart(dense(made), {name: 0.3 * x for name, x in dense(half).items()}) < 1e-6
