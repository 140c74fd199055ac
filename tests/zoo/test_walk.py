"""A part of the walks over types of models and kinds of adapters, one for each way in which they differ.

`make test-models` walks all of them.
"""

from __future__ import annotations

import pytest

from tests.zoo import kinds, types
from tests.zoo.table import KIND_COLUMNS, TYPE_COLUMNS, troubles

pytestmark = pytest.mark.filterwarnings("ignore")

WORK = (
    "opt",  # modules that see the tokens of all rows as one list
    "glm4_moe",  # fused experts, and names that PEFT reads as these
    "mamba",  # a state, and a module that PEFT refuses
    "zamba2",  # modules of the names "0" and "1"
    "deepseek_v3",  # heads as a dimension of their own
)
REFUSED = ("bert", "bart")
ADAPTERS = (
    "llama: LORA saves head and embedding",
    "llama: ADAPTION_PROMPT",
    "gpt2: LORA bias all",
    "gpt2: PREFIX_TUNING",
    "llama: LORA own tokens saved",
    "mixtral: LORA per expert",
)


@pytest.mark.parametrize("kind", WORK)
def test_a_type_is_trained_loaded_by_peft_and_scored_right(kind: str) -> None:
    found = types.one(kind)
    assert list(troubles([found], TYPE_COLUMNS)) == []
    assert {found.steps[column].outcome for column in TYPE_COLUMNS} == {"right"}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_type_that_is_no_causal_language_model_is_refused(kind: str) -> None:
    asked = types.one(kind).steps
    assert asked.pop("made").outcome == "right"
    assert {asked.pop("planned").outcome, *(step.outcome for step in asked.values())} <= {"right", "refused"}
    assert {asked[question].outcome for question in asked.keys() - {"identity"}} <= {"refused"}


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_kind_is_scored_right_and_so_is_what_follows(name: str) -> None:
    found = kinds.one(name)
    assert list(troubles([found], KIND_COLUMNS)) == []
    assert {found.steps[column].outcome for column in KIND_COLUMNS} == {"right"}
