"""Scoring on a device: what the CPU says, nothing on both sides, and a batch waits for nothing but its result."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lm_eval.api.instance import Instance

from adapters.base import device
from adapters.base.loading import load_model
from adapters.folders.folder import AdapterWeights, Factors
from adapters.folders.sites import sites_named
from adapters.folders.targeting import meant
from evaluators.evaluator import Evaluator, Settings
from evaluators.forward.blocks import block_mask
from evaluators.forward.engine import Engine, automatic_budget
from evaluators.forward.generate import Writer
from evaluators.forward.rows import Request, Row, plain_rows, shared_rows
from evaluators.items.encoder import encoder_of
from evaluators.subjects.on_base import load_base, merged
from evaluators.subjects.sharing import bank_on
from study.cells import Cell
from study.config import Scoring, TaskConfig
from study.store.store import Store
from tests.device import fake
from tests.evaluators.conftest import make_adapter, make_docs, model_of, put_adapter, unit_of, write_task
from tests.support.tiny_models import make_model

REQUESTS = 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("outspoken"), spread=0.2)


@pytest.fixture(scope="module")
def base(folder: Path) -> Any:
    found = load_base(model_of(folder))
    assert found.device.type == "cuda"
    return found


@pytest.fixture(scope="module")
def on_cpu(folder: Path) -> Any:
    return load_model(model_of(folder)).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def adapters(base: Any) -> list[AdapterWeights]:
    sites, draw = sites_named(base, meant(base, "all-linear")), torch.Generator().manual_seed(0)
    return [
        AdapterWeights(
            {
                site.name: Factors(
                    torch.randn(3, site.fan_in, generator=draw) * 0.2,
                    torch.randn(site.fan_out, 3, generator=draw) * 0.2,
                    scaling,
                )
                for site in sites
            }
        )
        for scaling in (1.0, 0.5, 2.0)
    ]


def requests() -> list[Request]:
    rng = np.random.default_rng(0)
    found = []
    for length in (9, 25, 40, 70, 9, 31):
        prompt = tuple(rng.integers(3, 300, length).tolist())
        found += [Request((*prompt, *rng.integers(3, 300, n).tolist()), n) for n in (3, 5, 2, 1)]
    return found


def rows(slots: tuple[int | None, ...] = (None,)) -> list[Row]:
    """The same requests for each slot, in rows that branch."""
    made = shared_rows(requests(), range(REQUESTS), 400)
    return [row.numbered_from(n * REQUESTS, slot) for n, slot in enumerate(slots) for row in made]


def once(engine: Engine, some: list[Row], count: int) -> np.ndarray:
    """What an engine says, which is read back once."""
    engine.loglikelihoods(some, count)  # what is made once
    with fake.waits() as found:
        said, _ = engine.loglikelihoods(some, count)
    assert len(found) == 1, found
    assert found[0].startswith("a copy to the host"), found
    assert "forward/engine.py" in found[0], found
    return said


def test_plain_and_shared_rows_and_blocks(base: Any, on_cpu: Any) -> None:
    expected, _ = Engine(on_cpu, 200).loglikelihoods(rows(), REQUESTS)
    engine = Engine(base, 200)
    assert once(engine, plain_rows(requests(), range(REQUESTS)), REQUESTS) == pytest.approx(expected, abs=1e-4)
    assert once(engine, rows(), REQUESTS) == pytest.approx(expected, abs=1e-4)
    engine._masks.flex_from = 60
    with torch.compiler.set_stance("force_eager"):  # what is computed so waits by itself
        found, _ = engine.loglikelihoods(rows(), REQUESTS)
    assert found == pytest.approx(expected, abs=1e-4)
    with fake.waits() as waited:
        block_mask(torch.full((2, 256), 256, device="cuda"), torch.arange(256, device="cuda").expand(2, -1), 9)
    assert waited == []


@pytest.mark.parametrize("slots", [(0, 1, 2), (1, None, 0)])
def test_adapters_in_one_batch(
    base: Any, on_cpu: Any, adapters: list[AdapterWeights], slots: tuple[int | None, ...]
) -> None:
    expected = []
    for slot in slots:
        with merged(on_cpu, adapters[slot] if slot is not None else AdapterWeights({})):
            expected += Engine(on_cpu, 200).loglikelihoods(rows(), REQUESTS)[0].tolist()
    engine = Engine(base, 300)
    with bank_on(engine, adapters):
        assert once(engine, rows(slots), len(expected)) == pytest.approx(np.array(expected), abs=2e-3)


def test_writing_waits_as_often_with_adapters_as_without(
    base: Any, folder: Path, adapters: list[AdapterWeights]
) -> None:
    """transformers reads after each token whether all texts have ended; 14 adapted modules add nothing to that."""
    engine = Engine(base, 512)
    writer = Writer(engine, encoder_of(model_of(folder)).tokenizer, 256)
    asked: Any = [
        Instance("generate_until", {}, (text, {"until": ["###"], "max_gen_toks": 8, "do_sample": False}), 0)
        for text in ("one two", "three four", "five six")
    ]

    def written(slots: list[int | None]) -> tuple[list[str], int]:
        writer.write(asked, slots, 40)
        with fake.waits() as found:
            texts = [one.text for one in writer.write(asked, slots, 40)]
        return texts, len(found)

    _, alone = written([None] * 3)
    with bank_on(engine, adapters):
        texts, together = written([2, 0, None])
    assert together == alone
    assert len(set(texts)) == 3


def test_a_batch_that_did_not_fit_is_let_go_of_before_memory_is_given_back(base: Any) -> None:
    engine, some = Engine(base, 2000), plain_rows(requests(), range(REQUESTS))
    before, freed = fake.allocated(), len(fake.freed_at)
    torch.cuda.reset_peak_memory_stats()
    expected, _ = engine.loglikelihoods(some, REQUESTS)
    with fake.room_for((torch.cuda.max_memory_allocated() - before) * 2 // 3):
        found, _ = engine.loglikelihoods(some, REQUESTS)
    assert len(fake.freed_at) > freed
    assert fake.freed_at[freed] < before + 50_000
    assert engine.budget < 2000
    assert found == pytest.approx(expected, abs=1e-4)


@pytest.fixture
def half() -> Iterator[None]:
    device.keep_to(0.5)
    yield
    device.keep_to(1.0)


def test_a_process_keeps_to_its_share(base: Any, half: None) -> None:
    room = device.room(base.device)
    assert room == fake.TOTAL // 2 - fake.allocated()
    with pytest.raises(torch.OutOfMemoryError):
        torch.empty(room + 1, dtype=torch.uint8, device="cuda")
    assert automatic_budget(base) > 0


def test_a_study_is_scored(folder: Path, tmp_path: Path) -> None:
    """The evaluator as a study uses it: the base, adapters that share batches, one that does not, and texts."""
    write_task(tmp_path / "tasks", "quiz_en", make_docs(6, seed=1))
    short = {"until": ["\n"], "max_gen_toks": 8}
    writes = {
        "output_type": "generate_until",
        "generation_kwargs": short,
        "doc_to_target": "{{choices[answer]}}",
        "doc_to_choice": None,
    }
    exact = {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}
    write_task(tmp_path / "tasks", "says_en", make_docs(3, seed=2), metric_list=[exact], **writes)
    tasks = tuple(
        TaskConfig(name=name, lm_eval=f"{name}_{{language}}", include_path=str(tmp_path / "tasks"))
        for name in ("quiz", "says")
    )
    store = Store(str(tmp_path / "store"))
    kinds: dict[str, dict[str, Any]] = {"a": {}, "b": {"r": 2}, "dora": {"use_dora": True}}
    found = [
        put_adapter(store, make_adapter(folder, tmp_path / name, seed, **lora), name)
        for seed, (name, lora) in enumerate(kinds.items())
    ]
    evaluator = Evaluator(model_of(folder), store, Settings(tasks, Scoring()))
    units = [unit_of(Cell(task.name, "en"), one) for one in (None, *found) for task in tasks]
    scored = evaluator.score(units)
    assert [one.message for one in scored if not one.ok] == []
    assert {row["device"] for row in store.scores().to_pylist()} == {"cuda:0"}
