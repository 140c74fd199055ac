"""Several adapters in one batch score as each does alone; one that a bank cannot hold is scored on its own."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from adapters.base.probe import said, tokens_of
from adapters.folders.folder import AdapterWeights, Factors
from adapters.kinds.kind import kind_of
from adapters.modules.loaded import peft_model, runs
from adapters.modules.plain import plain_lora
from evaluators import evaluator as evaluators
from evaluators.evaluator import Evaluator, Settings
from evaluators.forward.engine import Engine
from evaluators.subjects import sharing
from evaluators.subjects.on_base import load_base
from evaluators.subjects.sharing import MOST_ADAPTERS, adapters_per_batch, bank_on, by_rank
from study.cells import Cell
from study.config import Lora, Recipe, Scoring, TaskConfig
from study.store.store import Store
from tests.evaluators.conftest import make_adapter, make_docs, model_of, put_adapter, unit_of, write_task
from tests.evaluators.test_texts import WRITING
from tests.support import zoo

KINDS: dict[str, dict[str, Any]] = {
    "lora": {},
    "rslora": {"use_rslora": True, "r": 8},
    "some": {"target_modules": ["q_proj", "down_proj"], "alpha_pattern": {"q_proj": 32}},
    "full": {"r": 64, "lora_alpha": 8},
    "ranks": {"rank_pattern": {"v_proj": 2}},
    "dora": {"use_dora": True},
    "head": {"target_modules": ["lm_head", "q_proj"]},
    "embedding": {"target_modules": ["embed_tokens", "q_proj"]},
}
ALONE = {"dora", "head", "embedding"}


@pytest.fixture(scope="module")
def adapters(outspoken_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("adapters")
    return {
        kind: make_adapter(outspoken_model, folder / kind, seed, **lora)
        for seed, (kind, lora) in enumerate(KINDS.items())
    }


@pytest.fixture(scope="module")
def quiz(tmp_path_factory: pytest.TempPathFactory) -> TaskConfig:
    folder = tmp_path_factory.mktemp("tasks")
    write_task(folder, "quiz_choice", make_docs(8, seed=2))
    write_task(folder, "quiz_writing", make_docs(6, seed=3), **WRITING)
    return TaskConfig(name="quiz", lm_eval="quiz_{language}", include_path=str(folder))


def found(store: Store) -> dict[tuple[str, int], tuple[list[float], str | None]]:
    return {
        (row["score_id"], row["doc_id"]): (row["loglikelihoods"], row["generation"])
        for row in store.items().to_pylist()
    }


def test_a_bank_takes_what_it_computes_as_peft_does(adapters: dict[str, Path], outspoken_model: Path) -> None:
    base = load_base(model_of(outspoken_model))
    assert {kind for kind, folder in adapters.items() if plain_lora(folder, base) is None} == ALONE


@pytest.mark.parametrize(
    "changes",
    [{"r": 8}, {"target_modules": ["q_proj"]}, {"layers_to_transform": [0]}, {"init_lora_weights": "pissa"}],
)
def test_a_config_that_does_not_describe_the_weights_is_not_shared(
    changes: dict[str, Any], outspoken_model: Path, tmp_path: Path
) -> None:
    folder = make_adapter(outspoken_model, tmp_path, seed=1)
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    assert plain_lora(folder, load_base(model_of(outspoken_model))) is None


def test_several_adapters_at_once_score_as_each_alone(
    adapters: dict[str, Path],
    quiz: TaskConfig,
    outspoken_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stores, ranks = {}, []

    def noted(engine: Engine, group: Sequence[AdapterWeights]) -> AbstractContextManager[None]:
        ranks.append([one.rank for one in group])
        return bank_on(engine, group)

    monkeypatch.setattr(evaluators, "bank_on", noted)
    for many in (1, 3):
        monkeypatch.setattr(sharing, "adapters_per_batch", lambda *_, many=many: many)
        store = stores[many] = Store(str(tmp_path / str(many)))
        units = [None, *(put_adapter(store, folder, kind) for kind, folder in adapters.items())]
        evaluator = Evaluator(model_of(outspoken_model), store, Settings((quiz,), Scoring(), 300))
        wanted = [unit_of(Cell("quiz", language), unit) for unit in units for language in ("choice", "writing")]
        results = evaluator.score(wanted)
        assert [result.score_id for result in results] == [unit.score_id for unit in wanted]
        assert all(result.ok and result.seconds > 0 for result in results)
        assert evaluator._engine.bank is None
    alone, together = found(stores[1]), found(stores[3])
    assert alone.keys() == together.keys()
    for key, (lls, text) in alone.items():
        assert together[key][0] == pytest.approx(lls, abs=1e-3)
        assert together[key][1] == text
    assert len({text for _, text in alone.values()}) > len(adapters), "adapters write different texts"
    assert ranks == [[4, 4, 4], [8], [64]], "a large rank is in no bank of small ones"


def test_adapters_of_like_rank_share_a_bank() -> None:
    assert by_rank([8] * 5, 3, math.inf) == [[0, 1, 2], [3, 4]]
    assert by_rank([2048, *[16] * 15], 16, math.inf) == [list(range(1, 16)), [0]]
    assert by_rank([48, 16, 64, 32, 65], 16, math.inf) == [[1, 3, 0, 2], [4]], "a sum of four, beside its parts"


def test_a_bank_has_no_more_ranks_than_a_gpu_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rank of modules [24, 8] and [8, 8] is 32 + 16 numbers of four bytes; a quarter of the room is for a bank."""
    some, other = (
        AdapterWeights({name: Factors(torch.zeros(2, 8), torch.zeros(out, 2), 1.0)})
        for name, out in (("q", 24), ("v", 8))
    )
    one, two = torch.device("cuda", 0), torch.device("cuda", 1)
    monkeypatch.setattr(sharing, "room", lambda device: 4 * 48 * 4 * (4096 if device == one else 1024))

    def ranks(*devices: torch.device) -> float:
        places = dict(zip(("q.weight", "v.weight"), devices, strict=True))
        base: Any = SimpleNamespace(device=one, get_parameter=lambda name: SimpleNamespace(device=places[name]))
        return sharing.most_ranks(base, [some, other, some])

    most = ranks(one, one)
    assert most == 4096, "whatever lies on no module's device does not count"
    assert ranks(two, two) == 1024
    assert ranks(one, two) == 1024 * 48 / 16, "the other has 32 of its 48 numbers, and room for 6144"
    assert by_rank([2048] * 5, 16, most) == [[0, 1], [2, 3], [4]], "of full ranks a few at once"
    assert by_rank([5000, 5000], 16, most) == [[0], [1]], "one alone, whatever it takes"
    on_cpu: Any = SimpleNamespace(device=torch.device("cpu"))
    assert sharing.most_ranks(on_cpu, [some]) == math.inf


def test_a_broken_adapter_among_others_fails_alone(
    adapters: dict[str, Path],
    quiz: TaskConfig,
    outspoken_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sharing, "adapters_per_batch", lambda *_: 4)
    store = Store(str(tmp_path / "store"))
    broken = make_adapter(outspoken_model, tmp_path / "broken", seed=9)
    (broken / "adapter_model.safetensors").write_bytes(b"nothing")
    names = {"lora": adapters["lora"], "broken": broken, "rslora": adapters["rslora"]}
    units = [put_adapter(store, folder, name) for name, folder in names.items()]
    evaluator = Evaluator(model_of(outspoken_model), store, Settings((quiz,), Scoring(), 300))
    results = evaluator.score([unit_of(Cell("quiz", "choice"), unit) for unit in units])
    assert [result.ok for result in results] == [True, False, True]


def test_adapters_share_a_batch_where_one_does_not_fill_the_device() -> None:
    assert adapters_per_batch("cpu", 2048, 10) == 1
    assert adapters_per_batch("cuda", 32768, 10**6) == 1
    assert 1 < adapters_per_batch("cuda", 32768, 20_000) <= MOST_ADAPTERS
    assert adapters_per_batch("cuda", 32768, 0) == MOST_ADAPTERS


@pytest.mark.parametrize("init", ["default", "pissa"])
def test_factors_that_cancel_out_are_not_rounded_to_half_precision(init: str, tmp_path: Path) -> None:
    base = zoo.build("llama", 320).to(torch.bfloat16).requires_grad_(False)
    kind = kind_of(Recipe(lora=Lora(r=8, alpha=8, init=init)))
    sheet: Any = kind.sheet(base, [("a", 1)], torch.device("cpu"))
    change = torch.randn(sheet.weights.shape, generator=torch.Generator().manual_seed(0))
    sheet.weights.data += 1e-3 * change
    kind.write(tmp_path, base, model_of(tmp_path), sheet.copies(0))
    sheet.detach()
    engine, tokens, weights = Engine(base, 300), tokens_of(base), plain_lora(tmp_path, base)
    assert weights is not None
    theirs = said(runs(peft_model(base, tmp_path)), tokens)
    with bank_on(engine, [weights]):
        assert engine.bank is not None
        with engine.bank.rows([0] * len(tokens)):
            ours = said(base, tokens)
        is_exact = engine.bank.sheet.dtype == torch.float32
    assert is_exact is (init == "pissa")
    off, effect = ((one - theirs).square().mean().sqrt() for one in (ours, said(base, tokens)))
    assert off < (0.05 if is_exact else 1.0) * effect
