"""An adapter is put on as PEFT computes it, or by PEFT; a base that was changed meanwhile is loaded again."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.models.llama.modeling_llama import LlamaMLP

from adapters.base.fingerprint import changed, fingerprint
from adapters.folders.folder import WEIGHTS_FILE
from adapters.kinds import lora_check
from adapters.kinds.lora_check import check
from adapters.modules.comparison import banked
from adapters.modules.plain import plain_lora
from evaluators import evaluator as evaluators
from evaluators.evaluator import Evaluator, Settings
from evaluators.subjects import sharing
from evaluators.subjects.on_base import AdapterError, adapter_on, load_base, merged
from evaluators.subjects.touchstone import Touchstone
from evaluators.waves import Waves
from study.cells import Cell
from study.config import Lora, Scoring, TaskConfig
from study.errors import ConfigError
from study.models.resolve import Model
from study.store.store import Store
from study.units import ScoreUnit
from tests.evaluators.conftest import make_adapter, make_docs, model_of, put_adapter, unit_of, write_task
from tests.support import peft_zoo, zoo

pytestmark = [pytest.mark.filterwarnings("ignore::UserWarning"), pytest.mark.processes]  # PEFT loads DeepSpeed
TOKENS = torch.arange(20, 60)[None]
LORA = peft_zoo.kinds("llama")["LORA"]


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    found: torch.Tensor = model(input_ids=TOKENS, use_cache=False).logits
    return found


def by_peft(model: Path, folder: Path) -> torch.Tensor:
    base: Any = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    return logits(peft.PeftModel.from_pretrained(base, folder).eval())


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return zoo.make("llama", tmp_path_factory.mktemp("llama"))


@pytest.mark.parametrize(
    ("kind", "modules", "merges"),
    [
        ("mamba", ["x_proj", "dt_proj"], False),  # its mixer reads dt_proj's matrix, and not through the module
        ("zamba", ["q_proj", "down_proj"], False),  # layers that share a matrix
        ("llama", ["q_proj", "down_proj"], True),
    ],
)
def test_an_adapter_is_merged_where_that_is_what_peft_computes(
    kind: str, modules: list[str], merges: bool, tmp_path: Path
) -> None:
    model = zoo.make(kind, tmp_path / "model")
    folder = peft_zoo.make(model, tmp_path / "adapter", {**LORA, "target_modules": modules}, seed=1)
    base = load_base(model_of(model))
    known, plain = Touchstone(base), plain_lora(folder, base)
    assert plain is not None
    assert known.holds(merged, plain, folder) == merges
    assert known.holds(banked, plain, folder), "beside the modules it is PEFT's product"
    with adapter_on(base, folder, known) as found:
        torch.testing.assert_close(logits(found), by_peft(model, folder), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "kind", ["LORA pissa", "LORA olora", "GLORA", "LORA saves head and embedding", "LORA bias all"]
)
def test_kinds_that_change_or_wrap_more_than_a_product_are_what_peft_makes_of_them(
    kind: str, llama: Path, tmp_path: Path
) -> None:
    folder = peft_zoo.make(llama, tmp_path, peft_zoo.kinds("llama")[kind], seed=2)
    base = load_base(model_of(llama))
    before = fingerprint(base)
    with adapter_on(base, folder, Touchstone(base)) as found:
        torch.testing.assert_close(logits(found), by_peft(llama, folder), atol=1e-4, rtol=0)
    assert changed(base, before) is None


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_adapter_under_which_texts_know_of_each_other_is_refused(dtype: str, llama: Path, tmp_path: Path) -> None:
    folder = peft_zoo.make(llama, tmp_path, peft_zoo.kinds("llama")["LILY"], seed=2)
    base = load_base(model_of(llama, dtype))
    with pytest.raises(AdapterError, match="no score of its own"), adapter_on(base, folder, Touchstone(base)):
        pass


def weaker(folder: Path, copy: Path, share: float) -> Path:
    """The same adapter with its B multiplied: at 0 it is one that has learned nothing."""
    shutil.copytree(folder, copy)
    tensors = load_file(folder / WEIGHTS_FILE)
    save_file({n: w * share if "_B" in n else w for n, w in tensors.items()}, copy / WEIGHTS_FILE)
    return copy


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_adapters_that_do_too_little_to_tell_settle_nothing_for_others(dtype: str, tmp_path: Path) -> None:
    model = zoo.make("mamba", tmp_path / "model")
    kind = {**LORA, "target_modules": ["x_proj", "dt_proj"]}
    folder = peft_zoo.make(model, tmp_path / "adapter", kind, seed=1)
    base = load_base(model_of(model, dtype))
    known = Touchstone(base)
    for number in range(4):
        weak = weaker(folder, tmp_path / str(number), 0.0)
        plain = plain_lora(weak, base)
        assert plain is not None
        assert not known.holds(merged, plain, weak)
        assert known.holds(banked, plain, weak)


def test_an_adapter_under_which_texts_know_of_each_other_is_refused_after_weak_ones(
    llama: Path, tmp_path: Path
) -> None:
    folder = peft_zoo.make(llama, tmp_path / "adapter", peft_zoo.kinds("llama")["LILY"], seed=2)
    base = load_base(model_of(llama, "bfloat16"))
    known = Touchstone(base)
    for number in range(4):
        with adapter_on(base, weaker(folder, tmp_path / str(number), 0.0), known):
            pass
    with pytest.raises(AdapterError, match="no score of its own"), adapter_on(base, folder, known):
        pass


class ByPosition(LlamaMLP):
    """Sees the tokens of all rows as one list, position by position."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        positions_first: torch.Tensor = super().forward(x.transpose(0, 1).reshape(-1, x.shape[-1]))
        return positions_first.view(x.shape[1], x.shape[0], -1).transpose(0, 1)


class ByChoice(LlamaMLP):
    """Sees some of the tokens of all rows at a time, as experts that are modules do."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat, y = x.reshape(-1, x.shape[-1]), torch.empty_like(x).view(-1, x.shape[-1])
        first = torch.arange(len(flat)) < len(flat) // 2
        y[first], y[~first] = super().forward(flat[first]), super().forward(flat[~first])
        return y.view(x.shape)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("mlp", [ByPosition, ByChoice])
def test_a_module_that_does_not_see_its_tokens_row_by_row_is_in_no_bank(
    mlp: type[LlamaMLP], dtype: str, llama: Path, tmp_path: Path
) -> None:
    base = load_base(model_of(llama, dtype))
    base.get_submodule("model.layers.0.mlp").__class__ = mlp
    folder = make_adapter(llama, tmp_path / "adapter", 1)
    known, plain = Touchstone(base), plain_lora(folder, base)
    assert plain is not None
    assert not known.holds(banked, plain, folder)
    assert dtype == "bfloat16" or known.holds(merged, plain, folder)
    with pytest.raises(ConfigError, match=r"recipe\.lora\.modules"):
        check(base, Lora(), model_of(llama, dtype))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_adapter_that_peft_would_not_load_is_refused_before_training(
    dtype: str, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = load_base(model_of(llama, dtype))
    check(base, Lora(), model_of(llama, dtype))
    honest = lora_check.peft_model

    def loads_half(base: PreTrainedModel, folder: Path) -> peft.PeftModel:
        wrapped = honest(base, folder)
        for module in wrapped.modules():
            if isinstance(module, LoraLayer):
                module.scaling["default"] *= 0.5
        return wrapped

    monkeypatch.setattr(lora_check, "peft_model", loads_half)
    with pytest.raises(ConfigError, match="otherwise than it is trained"):
        check(base, Lora(), model_of(llama, dtype))


@pytest.fixture
def world(llama: Path, tmp_path: Path) -> tuple[Store, Evaluator, list[ScoreUnit]]:
    """A base and two plain adapters on it, to be scored in one call."""
    write_task(tmp_path / "tasks", "quiz_en", make_docs(4, seed=2))
    quiz = TaskConfig(name="quiz", lm_eval="quiz_{language}", include_path=str(tmp_path / "tasks"))
    store = Store(str(tmp_path / "store"))
    adapters = [put_adapter(store, make_adapter(llama, tmp_path / name, seed), name) for seed, name in enumerate("ab")]
    units = [unit_of(Cell("quiz", "en"), adapter) for adapter in (None, *adapters)]
    return store, Evaluator(model_of(llama), store, Settings((quiz,), Scoring())), units


def scored(store: Store) -> dict[tuple[str, int], list[float]]:
    """The log-likelihoods that readers take: those that were written last."""
    rows = sorted(store.items().to_pylist(), key=lambda row: str(row["written_at"]))
    return {(row["score_id"], row["doc_id"]): row["loglikelihoods"] for row in rows}


@pytest.mark.parametrize("last", [None, "IA3"])  # after one that PEFT puts on the base is looked at by itself
def test_a_batch_is_scored_again_where_the_base_was_written_to(
    last: str | None,
    world: tuple[Store, Evaluator, list[ScoreUnit]],
    llama: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, evaluator, units = world
    if last is not None:
        folder = peft_zoo.make(llama, tmp_path / last, peft_zoo.kinds("llama")[last], seed=3)
        units = [*units, unit_of(Cell("quiz", "en"), put_adapter(store, folder, last))]
    evaluator.score(units)
    expected, honest, times = scored(store), Waves.score, 0

    def writes_to_the_base(self: Waves, *arguments: Any) -> None:
        nonlocal times
        times += 1
        if times == 2:
            self._engine.model.get_input_embeddings().weight.data += 0.5
        honest(self, *arguments)

    before, loads, there = weakref.ref(evaluator._base), evaluators.load_base, list[bool]()

    def looks_and_loads(model: Model, gpus: int) -> PreTrainedModel:
        there.append(before() is not None)
        return loads(model, gpus)

    monkeypatch.setattr(Waves, "score", writes_to_the_base)
    monkeypatch.setattr(evaluators, "load_base", looks_and_loads)
    results = evaluator.score(units)
    assert all(result.ok for result in results)
    assert times == 2 * len(units)
    assert scored(store) == expected
    assert there == [False], "a device may have no room for two"
    assert evaluator._plain._base is evaluator._base


def test_an_evaluator_whose_base_could_not_be_loaded_again_tries_it_at_the_next_batch(
    world: tuple[Store, Evaluator, list[ScoreUnit]], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, evaluator, units = world
    evaluator._base.get_input_embeddings().weight.data += 0.5

    def no_room(*_: object) -> PreTrainedModel:
        raise torch.OutOfMemoryError("somebody else is on this device")

    with monkeypatch.context() as full:
        full.setattr(evaluators, "load_base", no_room)
        with pytest.raises(torch.OutOfMemoryError):
            evaluator.score(units)
    assert store.scores().num_rows == 0
    assert all(result.ok for result in evaluator.score(units))


def test_a_process_that_is_killed_before_the_base_was_looked_at_leaves_no_row(
    world: tuple[Store, Evaluator, list[ScoreUnit]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The window is that between what was scored on a changed base and the look that finds it."""
    store, evaluator, units = world
    honest, times = Waves.score, 0

    def writes_to_the_base_and_is_killed(self: Waves, *arguments: Any) -> None:
        nonlocal times
        times += 1
        self._engine.model.get_input_embeddings().weight.data += 0.5
        honest(self, *arguments)
        if times == len(units):
            os.kill(os.getpid(), signal.SIGKILL)

    with monkeypatch.context() as changed_waves:
        changed_waves.setattr(Waves, "score", writes_to_the_base_and_is_killed)
        process = multiprocessing.get_context("fork").Process(target=evaluator.score, args=(units,))
        process.start()
        process.join(120)
    assert process.exitcode == -signal.SIGKILL
    assert (store.items().num_rows, store.scores().num_rows) == (0, 0)
    assert all(result.ok for result in evaluator.score(units))
    assert store.items().num_rows == 4 * len(units)


def test_a_bank_that_says_other_than_peft_is_not_used(
    world: tuple[Store, Evaluator, list[ScoreUnit]], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, evaluator, units = world
    evaluator.score(units)
    expected = scored(store)

    @contextmanager
    def does_nothing(_base: object, _adapter: object) -> Iterator[None]:
        yield

    monkeypatch.setattr(sharing, "adapters_per_batch", lambda *_: 4)
    monkeypatch.setattr(evaluators, "banked", does_nothing)
    monkeypatch.setattr(evaluators, "bank_on", None)
    evaluator.score(units)
    assert scored(store) == expected
