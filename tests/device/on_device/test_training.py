"""Every kind of tuning, and architectures of each family, train on a device: there, and without waiting.

A step is waited for once: to read whether its gradients are finite. DeepSpeed's part in it is measured, too.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from adapters.kinds.whole import WholeKind
from evaluators.subjects.on_base import load_base
from study.config import ModelConfig, Recipe, Validation
from study.models.resolve import resolve
from tests.device import fake
from tests.support import flash, zoo
from tests.support.tiny_models import make_model
from tests.support.training import RECIPE, job, shared_worker, training
from trainers.checkpoint import Checkpoint
from trainers.engine import Engine
from trainers.job import Setup, Trained

LORA = {"r": 4, "alpha": 8}
DROPPING = {**LORA, "dropout": 0.1}
KINDS: dict[str, dict[str, Any]] = {
    "lora": {"lora": LORA},
    "dropout": {"lora": DROPPING},
    "dora": {"kind": "dora", "lora": DROPPING},
    "pissa": {"lora": {**DROPPING, "init": "pissa", "lr_ratio": 8}},
    "near": {"lora": LORA, "keep_near_base": {"kl": 0.1, "l2": 0.1}},
    "slow": {"lora": LORA, "mixing": {"order": "reptile", "inner_steps": 2, "outer_rate": 0.5}},
    "ia3": {"kind": "ia3"},
    "prompt tuning": {"kind": "prompt_tuning", "prompt_tuning": {"num_virtual_tokens": 3}},
    "prefix tuning": {"kind": "prefix_tuning", "prefix_tuning": {"num_virtual_tokens": 3}},
    "whole": {"lora": None},
}
TYPES = ("gpt2", "mixtral", "qwen2", "gemma3_text", "opt", "bloom", "falcon", "qwen2_moe", "mamba", "jamba")
READ = "trainers/engine.py"  # where a step is waited for


class Steps:
    """The waits between one step's end and the next one's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._marks: list[int] = []
        step, marks = Engine.step, self._marks

        def marked(engine: Engine, *arguments: Any) -> None:
            step(engine, *arguments)
            marks.append(fake.so_far())

        monkeypatch.setattr(Engine, "step", marked)

    def waits(self, found: list[str]) -> list[Counter[str]]:
        """Of each step but the first, in which what stays is made, and those after which an epoch ends."""
        return [Counter(found[begin:end]) for begin, end in pairwise(self._marks)]


def recipe_of(changes: dict[str, Any]) -> Recipe:
    stated = RECIPE.model_dump(mode="json") | {"validation": Validation(fraction=0.0).model_dump(), "epochs": 1}
    return Recipe.model_validate({**stated, **changes})


def trained(folder: Path, out: Path, recipe: Recipe, steps: Steps, **how: Any) -> list[Counter[str]]:
    """Train a gang of two, where its kind shares a base; what its steps wait for."""
    entry = ModelConfig(id=str(folder), attn_implementation=how.pop("attention", None))
    model = resolve(entry, how.pop("dtype", "float32"), "models[0]")
    jobs = [job("a", count=16), job("b", count=16)]
    if recipe.keep_near_base.kl:
        jobs = [replace(one, prompts=(other.examples,)) for one, other in zip(jobs, reversed(jobs), strict=True)]
    if recipe.mixing.inner_steps:
        jobs = [replace(one, cells=(8, 8)) for one in jobs]
    if recipe.lora is None or recipe.kind in ("ia3", "prompt_tuning", "prefix_tuning"):
        jobs = jobs[:1]
    with fake.waits() as found:
        ended = shared_worker().train(Setup(model, recipe, training(**how)), jobs, out)
    assert all(isinstance(one, Trained) for one in ended), ended
    return steps.waits(found)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("tiny"), spread=0.2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_is_waited_for_once(kind: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = trained(tiny, tmp_path, recipe_of(KINDS[kind]), Steps(monkeypatch))
    assert len(steps) >= 3
    for waits in steps:
        assert waits.total() == 1, waits
        assert READ in next(iter(waits)), waits


@pytest.mark.parametrize("type_", ["llama", "gemma3_text"])
def test_texts_that_share_rows_are_kept_apart_and_not_waited_for(
    type_: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker looks itself whether they are, and trains none else. transformers would wait to see whether any do."""
    folder = zoo.make(type_, tmp_path / "model")
    steps = trained(folder, tmp_path / "out", recipe_of(KINDS["dropout"]), Steps(monkeypatch), packing=True)
    assert len(steps) >= 3
    assert {waits.total() for waits in steps} == {1}, steps


def test_the_library_flash_attn_is_called_without_a_mask(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands for a real one. transformers would look in every layer whether a single row is of several texts."""
    flash.install(tmp_path / "libraries", monkeypatch)
    how: dict[str, Any] = {"dtype": "bfloat16", "attention": "flash_attention_2", "micro_batch_size": 1}
    steps = trained(tiny, tmp_path / "out", recipe_of(KINDS["dropout"]), Steps(monkeypatch), **how)
    assert len(steps) >= 3
    assert {waits.total() for waits in steps} == {1}, steps
    calls = flash.calls()
    assert len(calls) > len(steps)
    assert all(is_causal for _, is_causal in calls)
    assert 1 in {shape[0] for shape, _ in calls}


@pytest.mark.parametrize("type_", [*TYPES[:2], *(pytest.param(one, marks=pytest.mark.long) for one in TYPES[2:])])
def test_architectures_wait_for_nothing_of_ours(type_: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a model's own code waits for is its own: torch's grouped products of experts, on all GPUs but the newest."""
    folder = zoo.make(type_, tmp_path / "model")
    steps = trained(folder, tmp_path / "out", recipe_of(KINDS["dropout"]), Steps(monkeypatch))
    assert len(steps) >= 3
    for waits in steps:
        ours = {wait: times for wait, times in waits.items() if is_ours(wait)}
        assert sum(ours.values()) == 1, waits


def is_ours(wait: str) -> bool:
    """Not from a model's code, nor from backward passes of torch's own operations, which have no line of Python."""
    _, _, lines = wait.partition(" at ")
    return bool(lines) and "modeling_" not in lines and "integrations/" not in lines


@pytest.mark.parametrize(
    ("stage", "dtype"),
    [
        (3, "bfloat16"),
        *(pytest.param(stage, dtype, marks=pytest.mark.long) for stage in (0, 1) for dtype in ("float32", "bfloat16")),
        pytest.param(3, "float32", marks=pytest.mark.long),
    ],
)
def test_stages_and_precisions_and_going_on(tiny: Path, tmp_path: Path, stage: int, dtype: str) -> None:
    """A gang goes on from a checkpoint, which is made without a copy too many."""
    model = resolve(ModelConfig(id=str(tiny)), dtype, "models[0]")
    recipe = recipe_of({**KINDS["dropout"], "epochs": 2})
    saved: list[bytes] = []
    setup = Setup(model, recipe, training(stage))
    for name in ("whole", "later"):
        start = Checkpoint.from_bytes(saved[0]) if saved else None
        keep = (lambda made: saved.append(made.to_bytes())) if start is None else None
        ended = shared_worker().train(setup, [job("a"), job("b")], tmp_path / name, start, keep)
        assert all(isinstance(one, Trained) for one in ended), ended
    files = [tmp_path / name / "a" / "adapter_model.safetensors" for name in ("whole", "later")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_all_weights_are_copied_once_in_their_own_precision(tiny: Path) -> None:
    """Before ZeRO spreads them each process holds them beside the base: 2 bytes of each in bfloat16, and no more."""
    model = resolve(ModelConfig(id=str(tiny)), "bfloat16", "models[0]")
    base = load_base(model)
    weights, before = sum(weight.numel() for weight in base.parameters()), fake.allocated()
    torch.cuda.reset_peak_memory_stats()
    sheet = WholeKind().sheet(base, [("a", 0)], base.device)
    assert sum(part.numel() for part in sheet.parts) == weights
    assert torch.cuda.max_memory_allocated() - before < 2.2 * weights
