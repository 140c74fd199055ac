"""Identities: a function of what decides a result, and of nothing else."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from study.config import Recipe, Scoring
from study.identity import adapter_id, canonical_json, digest, score_id, target_id

BASE = ("model", ["examples"], Recipe(), 17)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def test_each_ingredient_changes_the_adapter() -> None:
    variants = [
        BASE,
        ("other", *BASE[1:]),
        (BASE[0], ["other"], *BASE[2:]),
        (*BASE[:2], Recipe(epochs=4), 17),
        (*BASE[:2], Recipe(lora={"r": 16}), 17),
        (*BASE[:3], 18),
    ]
    assert len({adapter_id(*variant) for variant in variants}) == len(variants)


def test_identities_are_stable_over_releases() -> None:
    assert adapter_id(*BASE) == "fa9c8a71ee9730af"


def test_the_scoring_limit_is_in_the_requests_and_nowhere_else() -> None:
    assert target_id("requests", Scoring(limit=8)) == target_id("requests", Scoring())
    assert target_id("requests", Scoring(num_fewshot=1)) != target_id("requests", Scoring())
    assert target_id("other", Scoring()) != target_id("requests", Scoring())


def test_a_score_is_of_its_subject_and_its_target() -> None:
    assert len({score_id(*pair) for pair in (("a", "t"), ("b", "t"), ("a", "u"), ("t", "a"))}) == 4


@given(json_values)
def test_key_order_does_not_matter(value: object) -> None:
    def reversed_keys(node: object) -> object:
        if isinstance(node, dict):
            return {key: reversed_keys(node[key]) for key in reversed(list(node))}
        return [reversed_keys(inner) for inner in node] if isinstance(node, list) else node

    assert digest(value) == digest(reversed_keys(value))


@pytest.mark.parametrize("value", [math.nan, {"a": math.inf}, {1: 2}, [object()], {"a": {1, 2}}, b"bytes"])
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        canonical_json(value)
