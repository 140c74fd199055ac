"""Kinds that PEFT's own modules train: refused where a model cannot take them, before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from adapters.base.fingerprint import changed, fingerprint
from adapters.kinds import peft_weights
from adapters.kinds.kind import kind_of
from study.config import Recipe
from study.errors import ConfigError
from study.models.resolve import Model
from tests.evaluators.conftest import model_of
from tests.support import zoo

pytestmark = [pytest.mark.filterwarnings("ignore::UserWarning"), pytest.mark.processes]  # PEFT loads DeepSpeed
ALL = {"kind": "ia3", "ia3": {"modules": "all-linear", "feedforward": []}}
SAMPLED = {"kind": "prompt_tuning", "prompt_tuning": {"init": "sample_vocab"}}
STATED: list[dict[str, Any]] = [{"kind": "ia3"}, ALL, {"kind": "prompt_tuning"}, SAMPLED, {"kind": "prefix_tuning"}]


def kind(stated: dict[str, Any]) -> Any:
    return kind_of(Recipe.model_validate(stated))


def planned(base: Any, folder: Path) -> Model:
    """A model of which a plan knows no more than its configuration."""
    base.config.save_pretrained(folder)
    return Model("m", str(folder), None, "m", "float32", "m", 1.0, 10, False, ())


@pytest.mark.parametrize("base_of", ["llama", "gpt2", "gemma3_text"])
def test_what_is_trained_is_what_peft_loads(base_of: str, tmp_path: Path) -> None:
    base = zoo.build(base_of, 320).eval().requires_grad_(False)
    model, before = planned(base, tmp_path), fingerprint(base)
    for stated in STATED:
        kind(stated).check_plan(model, 64)
        kind(stated).check(base, model)
    assert changed(base, before) is None


def test_a_model_that_cannot_take_a_kind_is_refused_in_a_line_while_it_is_planned(tmp_path: Path) -> None:
    base = zoo.build("mamba", 320).eval()
    model = planned(base, tmp_path)
    for stated, fix in (({"kind": "ia3"}, "recipe.ia3"), ({"kind": "prefix_tuning"}, "another model")):
        with pytest.raises(ConfigError, match=rf"recipe\.kind = '{stated['kind']}': m cannot be tuned so: .*") as told:
            kind(stated).check_plan(model, 64)
        assert fix in str(told.value)
    kind(ALL).check_plan(model, 64)


@pytest.mark.parametrize("name", ["prompt_tuning", "prefix_tuning"])
@pytest.mark.parametrize("base_of", ["gpt2", "opt", "gptj", "llama"])
def test_vectors_and_texts_must_find_room_among_positions_that_are_in_a_table(
    name: str, base_of: str, tmp_path: Path
) -> None:
    base = zoo.build(base_of, 320).eval().requires_grad_(False)
    model, tuning = planned(base, tmp_path), kind({"kind": name, name: {"num_virtual_tokens": 8}})
    most = base.config.max_position_embeddings - 8
    tuning.check_plan(model, most)
    sheet = tuning.sheet(base, [("a", 1)], torch.device("cpu"))
    sheet.logits({"input_ids": torch.ones(1, most, dtype=torch.long)}, [0], None)
    if base_of == "llama":  # what it makes of a position it computes
        return tuning.check_plan(model, most + 1)
    with pytest.raises((IndexError, RuntimeError)):
        sheet.logits({"input_ids": torch.ones(1, most + 1, dtype=torch.long)}, [0], None)
    with pytest.raises(ConfigError, match=rf"recipe\.{name}\.num_virtual_tokens = '8': and texts of up to {most + 1}"):
        tuning.check_plan(model, most + 1)


def test_a_difference_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = zoo.build("llama", 320).eval().requires_grad_(False)
    honest = peft_weights.write_files

    def halved(folder: Path, config: Any, model: Any, tensors: Any) -> None:
        honest(folder, config, model, {name: tensor / 2 for name, tensor in tensors.items()})

    monkeypatch.setattr(peft_weights, "write_files", halved)
    for stated in STATED:
        with pytest.raises(ConfigError, match="otherwise than it is trained"):
            kind(stated).check(base, model_of(tmp_path))


@pytest.mark.parametrize("stated", STATED)
def test_an_adapter_begins_as_its_seed_and_name_say(stated: dict[str, Any]) -> None:
    base = zoo.build("llama", 320).eval().requires_grad_(False)
    begun = [kind(stated).sheet(base, [of], torch.device("cpu")).weights for of in (("a", 1), ("a", 1), ("b", 1))]
    assert torch.equal(begun[0], begun[1])
    assert torch.equal(begun[0], begun[2]) is (stated["kind"] == "ia3")
    if stated is SAMPLED:
        vectors = begun[0].view(20, -1)
        assert all((base.get_input_embeddings().weight == vector).all(1).any() for vector in vectors)


def test_rows_without_an_adapter_are_the_bases() -> None:
    base = zoo.build("llama", 320).eval().requires_grad_(False)
    given = {"input_ids": torch.arange(8)[None], "use_cache": False}
    for stated in STATED:
        sheet = kind(stated).sheet(base, [("a", 1)], torch.device("cpu"))
        sheet.weights.data *= 2
        assert torch.equal(sheet.logits(given, [None], None), base(**given).logits)
        own = sheet.logits(given, [0], None)[:, -8:]
        assert not torch.allclose(own, base(**given).logits, atol=1e-3)
