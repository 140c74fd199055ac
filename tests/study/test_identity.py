"""Identities: a function of what decides a result, and of nothing else."""

from __future__ import annotations

import math
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import create_model

from study.config import Lora, Recipe, Scoring
from study.config.file import load
from study.data.tasks import TaskLibrary
from study.identity import AS_BEFORE, adapter_id, adapter_ids, canonical_json, deciding, digest, score_id, target_id

BASE = ("model", ["examples"], Recipe(), 17)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def without_marks(value: object) -> bool:
    """Without the marks of places in the text of an identity, which are refused in a config."""
    return not any(mark in canonical_json(value) for mark in ('"@seed"', '"@examples"'))


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


def test_mixing_names_adapters_of_several_cells_alone() -> None:
    """One cell is trained as ever. What says nothing, or what is said in other words, changes no identity."""
    mixed = [{}, {"weights": "uniform"}, {"order": "sequential"}, *({"weights": {"temperature": t}} for t in (1, 5))]
    slow = [
        {"order": "reptile", "inner_steps": steps, "outer_rate": rate} for steps, rate in ((2, 1), (4, 1), (4, 0.5))
    ]
    recipes = [Recipe.model_validate({"mixing": one}) for one in (*mixed, *slow)]
    assert {adapter_id("m", ["a"], one, 17) for one in recipes} == {adapter_id("m", ["a"], Recipe(), 17)}
    assert len({adapter_id("m", ["a", "b"], one, 17) for one in recipes}) == len(recipes)
    assert adapter_id("m", ["a", "b"], recipes[0], 17) == adapter_id("m", ["a", "b"], Recipe(), 17)
    assert adapter_id("m", ["a"], Recipe(lora={"start": "shared"}), 17) != adapter_id("m", ["a"], Recipe(), 17)


def test_what_keeps_near_the_base_names_an_adapter() -> None:
    """The prompts' fingerprint comes last, and is no cell; the number of prompts counts as it comes out."""
    near = [{"kl": 0.1}, {"kl": 0.2}, {"l2": 0.1}, {"kl": 0.1, "l2": 0.1}, {"kl": 0.1, "kl_batch": 3}]
    recipes = [Recipe.model_validate({"keep_near_base": one}) for one in near]
    assert len({adapter_id("m", ["a", "p"], one, 17) for one in (Recipe(), *recipes)}) == len(recipes) + 1
    said = Recipe.model_validate({"keep_near_base": {"kl": 0.1, "kl_batch": 2}})
    assert adapter_id("m", ["a", "p"], said, 17) == adapter_id("m", ["a", "p"], recipes[0], 17)
    assert adapter_id("m", ["a", "q"], said, 17) != adapter_id("m", ["a", "p"], recipes[0], 17)
    mixing = {"mixing": {"weights": "uniform"}, "keep_near_base": {"kl": 0.1}}
    assert adapter_id("m", ["a", "p"], Recipe.model_validate(mixing), 17) == adapter_id("m", ["a", "p"], said, 17)
    assert adapter_id("m", ["a"], Recipe.model_validate({"keep_near_base": {"kl": 0}}), 17) == adapter_id(
        "m", ["a"], Recipe(), 17
    )


def test_a_kind_of_tuning_names_an_adapter() -> None:
    stated: list[dict[str, Any]] = [{}, {"kind": "dora"}, {"lora": None}]
    stated += [{"lora": one} for one in ({"init": "pissa"}, {"init": "olora"}, {"lr_ratio": 4}, {"lr_ratio": 16})]
    stated += [{"kind": "ia3"}, {"kind": "ia3", "ia3": {"modules": "all-linear"}}]
    stated += [
        {"kind": one, one: {"num_virtual_tokens": n}} for one in ("prompt_tuning", "prefix_tuning") for n in (20, 8)
    ]
    recipes = [Recipe.model_validate(one) for one in stated]
    assert len({adapter_id("m", ["a"], one, 17) for one in recipes}) == len(recipes)


def test_only_the_keys_of_its_kind_name_an_adapter() -> None:
    """A section that says what is so anyway, or that is another kind's, decides nothing."""
    others: dict[str, Any] = {"lora": {"r": 3}, "prefix_tuning": {"num_virtual_tokens": 8}}
    pairs: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({}, {"ia3": {"modules": ["q_proj"]}}),
        ({"kind": "ia3"}, {"kind": "ia3", "ia3": {}, **others}),
        ({"kind": "prompt_tuning"}, {"kind": "prompt_tuning", "lora": None, **{"ia3": {}}}),
    ]
    for one, other in pairs:
        assert adapter_id("m", ["a"], Recipe.model_validate(one), 1) == adapter_id(
            "m", ["a"], Recipe.model_validate(other), 1
        )


def test_identities_are_stable_over_releases() -> None:
    assert adapter_id(*BASE) == "fa9c8a71ee9730af"


def test_the_scoring_limit_is_in_the_requests_and_nowhere_else() -> None:
    assert target_id("requests", Scoring(limit=8)) == target_id("requests", Scoring())
    assert target_id("requests", Scoring(num_fewshot=1)) != target_id("requests", Scoring())
    assert target_id("other", Scoring()) != target_id("requests", Scoring())


def test_the_number_of_examples_in_effect_names_a_target() -> None:
    before = target_id("requests", Scoring(num_fewshot=0))
    assert target_id("requests", Scoring()) == before
    assert target_id("requests", Scoring(), own_shots=5) == target_id("requests", Scoring(num_fewshot=5)) != before
    assert target_id("requests", Scoring(num_fewshot=0), own_shots=5) == before
    assert target_id("requests", Scoring(system_prompt="Be brief.")) != before


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


@pytest.mark.parametrize(("model", "key"), [(Recipe, "recipe"), (Scoring, "scoring")])
@given(before=json_values.filter(without_marks), other=json_values.filter(without_marks))
def test_a_later_key_changes_an_identity_only_where_it_changes_a_result(
    model: type[Recipe] | type[Scoring], key: str, before: object, other: object
) -> None:
    wider = create_model("Wider", __base__=model, later=(Any, before))
    expected, listed = identity_of(model()), {f"{key}.later": before}
    with mock.patch.dict("study.identity.AS_BEFORE", listed):
        assert identity_of(wider()) == expected
        assert (identity_of(wider(later=other)) == expected) is (canonical_json(other) == canonical_json(before))
        assert identity_of(model()) == expected
    assert identity_of(wider()) != expected


def test_a_later_key_may_lie_deeper(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, without = (deciding("recipe", Recipe().model_dump(mode="json")) for _ in range(2))
    monkeypatch.setitem(AS_BEFORE, "recipe.lora.r", 8)
    del without["lora"]["r"]  # type: ignore[attr-defined]
    assert deciding("recipe", Recipe(lora=Lora(r=8)).model_dump(mode="json")) == without
    assert deciding("recipe", Recipe(lora=None).model_dump(mode="json"))["lora"] is None
    assert deciding("recipe", Recipe().model_dump(mode="json")) == whole


def identity_of(values: Recipe | Scoring) -> str:
    return adapter_id("m", ["e"], values, 1) if isinstance(values, Recipe) else target_id("r", values)


# Of commit 638e63d: adapters, targets and scores of a preset, on a model whose identity is "stand-in". The smollm2
# preset scores 48 of 100 items: since a limit draws its items, instead of taking the first, its targets are others.
PINNED = {
    "quickstart": ("baffd16488d05878", "fb48b2420b1e289f", "7bff4bc6480312aa"),
    "smollm2": ("42eac101952559ba", "cf111bd504819fc9", "65c0871f235b0fe5"),
}
ONE_OF_EACH = {  # of the first of their cells by name: an adapter, a target, the score of the one on the other
    "quickstart": ("c06267c2f1f03cfd", "55e6901b45dcf1f2", "714c5db1ecdb079f"),
    "smollm2": ("c74d31fdf42d0ceb", "cff45b20dae66c3a", "0dee169ce25bed3c"),
}


@pytest.mark.parametrize("preset", PINNED)
def test_the_presets_have_the_ids_that_they_always_had(preset: str) -> None:
    """Templates, data, recipe and scoring as they stand in the examples: a store of an older release stays whole."""
    config = load(f"examples/{preset}/study.yaml")
    library, named = TaskLibrary.of(config), adapter_ids("stand-in", config.recipe)
    adapters = {
        f"{source} {seed}": named(library.example_fingerprints(source), seed)
        for seed in config.seeds
        for source in config.source_list()
    }
    targets = {
        str(cell): target_id(library.target_fingerprint(cell, library.build_requests(cell)), config.scoring)
        for cell in config.target_list()
    }
    scores = sorted(score_id(one, target) for one in ("stand-in", *adapters.values()) for target in targets.values())
    adapter, target = adapters[min(adapters)], targets[min(targets)]
    assert (adapter, target, score_id(adapter, target)) == ONE_OF_EACH[preset]
    assert (digest(adapters), digest(targets), digest(scores)) == PINNED[preset]


def test_the_published_study_keeps_its_recipe() -> None:
    """Its data are on the Hub: fingerprints stand in for them."""
    config = load("examples/donors_and_recipients/study.yaml")
    ids = [adapter_id("stand-in", ["first", "second"], config.recipe, seed) for seed in config.seeds]
    assert ids == ["049b30269ed08995", "ed1bff872bd8dae1", "8d55b6ed5e0bcf67"]
    by_tokens = config.recipe.validation.model_copy(update={"mean": "token"})
    before = config.recipe.model_copy(update={"validation": by_tokens})
    ids = [adapter_id("stand-in", ["first", "second"], before, seed) for seed in config.seeds]
    assert ids == ["cfde1b6414a0417e", "55d1e5fc2f50f882", "c51240554481440a"]
    assert target_id("requests", config.scoring) == "bdd0a4a83a236aea"
