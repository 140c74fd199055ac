"""Ids of each kind of tuning, section of a recipe, method of composing and shape of example: a release changes none.

Fixed fingerprints stand in for model and data. An id that changes here changes in every store.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from study.composition import Composition, Search, Term
from study.config import Ia3, KeepNearBase, Mixing, PrefixTuning, PromptTuning, Recipe, Scoring
from study.data.example import Example, told
from study.identity import AS_BEFORE, adapter_id, deciding, digest, target_id

LORA = {"r": 4, "alpha": 8, "dropout": 0.1, "modules": ["q_proj"], "rslora": True, "start": "shared", "lr_ratio": 16}
TRAINING = {
    "epochs": 2,
    "max_steps": 7,
    "max_length": 64,
    "score_epochs": "all",
    "batch_size": 4,
    "learning_rate": 1e-3,
}
TRAINING |= {"loss_on": "all", "schedule": "cosine", "warmup_ratio": 0, "weight_decay": 0.1, "max_grad_norm": None}
VALIDATION = {"fraction": 0.2, "seed": 1, "split": "datasets", "mean": "batch", "keep": "last"}
REPTILE = {"order": "reptile", "weights": "uniform", "inner_steps": 16, "outer_rate": 0.5}
RECIPES: list[tuple[dict[str, Any], str]] = [
    ({}, "3ef783af9f68ca5d"),
    ({"lora": LORA}, "76300fcd43aea35e"),
    ({"lora": {"init": "pissa"}}, "97c812c1dbed7678"),
    ({"lora": {"init": "olora"}}, "188c66bd4baff3ef"),
    ({"kind": "dora"}, "c13ce145f2c5da24"),
    ({"lora": None}, "01ebcc42bdcbd871"),
    ({"kind": "ia3"}, "7d4ad8d5b0ddd401"),
    ({"kind": "ia3", "ia3": {"modules": ["k_proj", "down_proj"], "feedforward": ["down_proj"]}}, "e040331e3e95c5b9"),
    ({"kind": "prompt_tuning"}, "fc5348499a5a66dd"),
    (
        {"kind": "prompt_tuning", "prompt_tuning": {"num_virtual_tokens": 8, "init": "sample_vocab"}},
        "13265b1079cee1ab",
    ),
    ({"kind": "prefix_tuning"}, "69b8bf72957d14ea"),
    ({"kind": "prefix_tuning", "prefix_tuning": {"num_virtual_tokens": 8, "init": "zero"}}, "f46c5907bddb45b9"),
    (TRAINING, "6ff13985e566006c"),
    ({"validation": VALIDATION}, "aea714f51bed1591"),
    ({"mixing": {"order": "sequential"}}, "59a974871bcbecce"),
    ({"mixing": {"weights": {"temperature": 2}}}, "e584e043e586e2b6"),
    ({"mixing": REPTILE}, "eedad68470ec5bd4"),
    ({"keep_near_base": {"kl": 0.5}}, "ad5ca4cf8c77608a"),
    ({"keep_near_base": {"kl": 0.5, "l2": 0.001, "kl_batch": 3}}, "a0b07800f927cf14"),
]
TERMS = (Term("a", 0.5), Term("b", -1.0, (0.0, 1.0), 0.0))
COMPOSITIONS = [
    (Composition("sum", TERMS), "c5a202903264dfe4"),
    (Composition("svd", TERMS, 8), "bcc719e3bf6606c1"),
    (Composition("ties", TERMS, "full", 0.2, trim="module"), "2cc07dc1d7c62337"),
    (Composition("dare", TERMS, 16, 0.5, draw=1), "6f01dc5810f6c1d8"),
    (Composition("dare_ties", TERMS, 16, 0.5), "7ff5e4b59a8aae14"),
    (Composition("factors", TERMS, scale=2.0), "f640c147baec10b9"),
    (Composition("factors_b", TERMS), "74e187f24fdfb913"),
    (Composition("factors_peft", TERMS), "15b1580ba288faad"),
    (Composition("factors_peft_ties", TERMS, None, 0.5), "808decef29d69976"),
    (Composition("arrow", TERMS, top_k=1, temperature=0.5), "a9782e63ffd3c37a"),
    (Composition("sum", TERMS, search=Search("digest/de", "of the examples", 16, 40, 2.0, 0.05)), "22eba40e10e4e80d"),
]
EXAMPLES = [
    (Example("Q", " A"), "8ce1a6e6316be921"),
    (Example("Q", "A"), "5108378b3f222e13"),  # nothing parts the two
    (Example("Q ", "A", "", "all", False, 64, "right", "prompt_completion", True), "dbaedb9f4520137d"),
    (Example("Q:", " A", format="prompt_completion", append_eos=True), "704732f417af4a2b"),
    (Example("Q: ", "A", format="prompt_completion", append_eos=True), "87bd1f4745db33b6"),  # where tokens may join
    (Example("Q ", "A", append_eos=True), "0b6c428bb4ee7dc7"),
    (Example("", "A text.", format="text"), "3328296a719e5bde"),
    (Example("", "A text.", format="text", objective="prefix"), "0d334fa3f2c4202d"),
    (Example("", "[]", format="messages"), "fbffb278580f8227"),
]
# The keys that an identity always holds, where the section that they are in is there at all. None joins them.
ALWAYS = {
    "ia3": {"modules", "feedforward"},
    "prompt_tuning": {"num_virtual_tokens", "init"},
    "prefix_tuning": {"num_virtual_tokens", "init"},
    "lora": {"r", "alpha", "dropout", "modules", "rslora"},
    "validation": {"fraction", "seed", "keep"},
    "mixing": {"order", "weights", "inner_steps", "outer_rate"},
    "keep_near_base": {"kl", "l2", "kl_batch"},
    "": {"epochs", "batch_size", "learning_rate", "schedule", "warmup_ratio", "weight_decay", "max_grad_norm"}
    | {"max_length", "loss_on"},
}


@pytest.mark.parametrize(("stated", "pinned"), RECIPES)
def test_a_recipe_names_an_adapter_as_ever(stated: dict[str, Any], pinned: str) -> None:
    assert adapter_id("model", ["one", "two"], Recipe.model_validate(stated), 17) == pinned


@pytest.mark.parametrize(("made", "pinned"), COMPOSITIONS)
def test_a_composition_has_the_id_that_it_always_had(made: Composition, pinned: str) -> None:
    assert made.identity == pinned


@pytest.mark.parametrize(("example", "pinned"), EXAMPLES)
def test_an_example_tells_what_it_always_told(example: Example, pinned: str) -> None:
    assert digest(told(example)) == pinned


def test_a_scoring_names_a_target_as_ever() -> None:
    chat = Scoring(num_fewshot=2, apply_chat_template=True, system_prompt="Be brief.", chat_template_args={"a": False})
    assert target_id("requests", chat) == "2bb0ffb7f5c1cca3"


def test_a_later_key_of_any_section_is_left_out_where_it_means_as_before() -> None:
    """With its default it would change the ids of every adapter that has the section."""
    sections = {"ia3": Ia3(), "prompt_tuning": PromptTuning(), "prefix_tuning": PrefixTuning()}
    near = {"mixing": Mixing(order="sequential"), "keep_near_base": KeepNearBase(kl=1)}
    found: dict[str, set[str]] = {}
    for section, key in keys(deciding("recipe", Recipe(**sections, **near).model_dump(mode="json"))):
        found.setdefault(section, set()).add(key)
    assert found == ALWAYS, f"a new key needs its value that means as before in {sorted(AS_BEFORE)}"


def keys(values: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from keys(value, key)
        else:
            yield within, key
