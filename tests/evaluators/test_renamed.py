"""Adapters of a language model within another model, scored on that language model alone, and the reverse.

What PEFT makes of a folder on the model it was trained on is what is wanted.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, Gemma3ForCausalLM

from evaluators.evaluator import Evaluator, Settings
from study.config import Scoring, TaskConfig
from study.data.tasks import TaskLibrary
from study.store.layout import WEIGHTS_FILE
from study.store.store import Store
from tests.evaluators.conftest import make_docs, model_of, put_adapter, unit_of, write_task
from tests.support import zoo
from tests.support.tiny_models import make_tokenizer
from tests.support.yardsticks import CELL, by_hand, largest

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.processes]  # transformers loads DeepSpeed when it saves
WITHIN = r".*language_model.*\.(q_proj|down_proj)"
KINDS: dict[str, dict[str, Any]] = {  # on the whole model
    "pattern": {
        "target_modules": WITHIN,
        "rank_pattern": {"q_proj": 2},
        "alpha_pattern": {"layers.1.mlp.down_proj": 3},
    },
    "head": {"target_modules": WITHIN, "modules_to_save": ["lm_head", "embed_tokens"]},
    "images-too": {"target_modules": ["q_proj"], "modules_to_save": ["multi_modal_projector", "lm_head"]},
}
TEXT_KINDS: dict[str, dict[str, Any]] = {  # on the language model alone
    "layers": {"target_modules": ["q_proj", "k_proj"], "layers_to_transform": [1], "use_dora": True},
    "embedding": {"target_modules": ["q_proj", "embed_tokens"]},
}


class Worlds:
    """A language model within another and alone, an evaluator of each."""

    def __init__(self, folder: Path) -> None:
        whole = zoo.make("gemma3", folder / "whole")
        loaded: Any = AutoModelForCausalLM.from_pretrained(whole)
        alone = Gemma3ForCausalLM(loaded.config.text_config)
        known = alone.state_dict().keys()
        weights = {name.replace(".language_model.", "."): value for name, value in loaded.state_dict().items()}
        alone.load_state_dict({name: value for name, value in weights.items() if name in known})
        make_tokenizer(folder / "alone", bos=True)
        alone.save_pretrained(folder / "alone")
        write_task(folder / "tasks", "quiz_en", make_docs(4, seed=3))
        self.quiz = TaskConfig(name="quiz", lm_eval="quiz_{language}", include_path=str(folder / "tasks"))
        self.models = {"whole": whole, "alone": folder / "alone"}
        self.store = Store(str(folder / "store"))
        settings = Settings((self.quiz,), Scoring())
        self.evaluators = {
            name: Evaluator(model_of(where), self.store, settings) for name, where in self.models.items()
        }

    def adapter(self, model: str, folder: Path, **lora: Any) -> Path:
        base: Any = AutoModelForCausalLM.from_pretrained(self.models[model])
        torch.manual_seed(1)
        wrapped = get_peft_model(base, LoraConfig(r=4, lora_alpha=8, task_type="CAUSAL_LM", **lora))
        for parameter in wrapped.parameters():
            if parameter.requires_grad:
                parameter.data += 0.1 * torch.randn(parameter.shape)
        wrapped.save_pretrained(folder)
        return folder

    def expected(self, model: str, folder: Path) -> list[list[float]]:
        return by_hand(model_of(self.models[model]), TaskLibrary((self.quiz,), Scoring()), folder)

    def scored(self, model: str, folder: Path, name: str) -> list[list[float]]:
        unit = unit_of(CELL, put_adapter(self.store, folder, name))
        (result,) = self.evaluators[model].score([unit])
        assert result.ok, result.message
        rows = [row for row in self.store.items().to_pylist() if row["score_id"] == unit.score_id]
        return [row["loglikelihoods"] for row in sorted(rows, key=lambda row: row["doc_id"])]


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Worlds:
    return Worlds(tmp_path_factory.mktemp("worlds"))


def older(folder: Path) -> Path:
    """The same folder with the names that libraries gave before: the language model stood first."""
    copy = folder.with_name(f"{folder.name}-older")
    shutil.copytree(folder, copy)
    names = {".model.language_model.": ".language_model.model.", "model.lm_head.": "model.language_model.lm_head."}
    tensors = load_file(folder / WEIGHTS_FILE)
    for ours, theirs in names.items():
        tensors = {name.replace(ours, theirs): value for name, value in tensors.items()}
    save_file(tensors, copy / WEIGHTS_FILE, metadata={"format": "pt"})
    return copy


@pytest.mark.parametrize("kind", KINDS)
def test_one_of_the_whole_model_is_scored_on_its_language_model(kind: str, worlds: Worlds, tmp_path: Path) -> None:
    folder = worlds.adapter("whole", tmp_path / kind, **KINDS[kind])
    expected = worlds.expected("whole", folder)
    assert largest(worlds.scored("alone", folder, kind), expected) < 1e-3
    before = older(folder)
    assert largest(worlds.scored("alone", before, f"{kind}-older"), expected) < 1e-3
    assert largest(worlds.scored("whole", before, f"{kind}-whole"), expected) < 1e-3


@pytest.mark.parametrize("kind", TEXT_KINDS)
def test_one_of_a_language_model_is_scored_on_the_whole(kind: str, worlds: Worlds, tmp_path: Path) -> None:
    folder = worlds.adapter("alone", tmp_path / kind, **TEXT_KINDS[kind])
    assert largest(worlds.scored("whole", folder, kind), worlds.expected("alone", folder)) < 1e-3
