"""Adapters on a base whose weights are quantised: in every way they are put on it they say what PEFT's modules say."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from adapters.base.fingerprint import changed, fingerprint
from adapters.base.probe import said, tokens_of
from adapters.modules.comparison import banked
from adapters.modules.plain import plain_lora
from adapters.quantising.weights import quantised_in
from evaluators.evaluator import Evaluator, Settings
from evaluators.forward.engine import Engine
from evaluators.subjects import sharing
from evaluators.subjects.on_base import AdapterError, adapter_on, load_base
from evaluators.subjects.touchstone import Touchstone
from study.config import Scoring, TaskConfig
from study.models.resolve import Model
from study.store.store import Store
from tests.evaluators.conftest import make_adapter, make_docs, model_of, put_adapter, write_task
from tests.evaluators.test_composed import put_together, unit
from tests.support.quantised import ARCHITECTURES, QUANTISATIONS, loaded, make_architecture, unpacked
from tests.support.tiny_models import save_model
from tests.support.yardsticks import by_lm_eval, largest

KINDS: dict[str, dict[str, Any]] = {"lora": {}, "rslora": {"use_rslora": True, "r": 8}, "dora": {"use_dora": True}}
PLAIN = ("lora", "rslora")
EXACT = 1e-4  # nats
WITHIN = {("nf4", "float32"): 1e-3, ("int8", "float32"): 0.25}  # nats of a text of some dozen tokens
ROUNDED = 0.25  # of int8, where the last bits of inputs, and other rows of a batch, move what they are rounded to

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@dataclass(frozen=True)
class World:
    """A model's folder, its adapters by kind, and a folder for more."""

    model: Model
    adapters: dict[str, Path]
    folder: Path

    def saved(self, quantization: str, dtype: str = "float32") -> Path:
        """A folder in which the model lies with quantised weights: what lm-eval reads."""
        own = self.folder / f"{quantization}-{dtype}"
        if not own.is_dir():
            shutil.copytree(self.model.path, own)
            save_model(loaded(self.model.path, quantization, dtype), own)
        return own

    def quantised(self, quantization: str, dtype: str = "float32") -> Model:
        return replace(self.model, quantization=quantization, dtype=dtype)

    def by_peft(self, quantization: str, kind: str) -> Any:
        """The adapter on a base of PEFT's own."""
        return PeftModel.from_pretrained(loaded(self.model.path, quantization), self.adapters[kind]).eval()


@pytest.fixture(scope="module", params=ARCHITECTURES)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp(request.param)
    model = make_architecture(request.param, folder / "model")
    made = {kind: make_adapter(model, folder / kind, seed, **lora) for seed, (kind, lora) in enumerate(KINDS.items())}
    return World(model_of(model), made, folder)


@pytest.fixture(scope="module")
def quiz(tmp_path_factory: pytest.TempPathFactory) -> TaskConfig:
    folder = tmp_path_factory.mktemp("tasks")
    write_task(folder, "quiz_en", make_docs(8, seed=2))
    return TaskConfig(name="quiz", lm_eval="quiz_{language}", include_path=str(folder))


@pytest.mark.parametrize("quantization", QUANTISATIONS)
def test_every_way_to_put_an_adapter_on_comes_to_what_peft_says(world: World, quantization: str) -> None:
    base = load_base(world.quantised(quantization))
    tokens, rows = tokens_of(base), [0, 2]  # the row between them is the base's own in a bank
    exact = EXACT if quantization == "nf4" else ROUNDED
    alone, since, known = said(base, tokens), fingerprint(base), Touchstone(base)
    assert list(quantised_in(base))
    assert torch.equal(alone, said(loaded(world.model.path, quantization), tokens))
    for kind, folder in world.adapters.items():
        if (kind, quantization) == ("dora", "int8"):
            with pytest.raises(AdapterError, match="PEFT does not compute DoRA"), adapter_on(base, folder, known):
                pass
            continue
        theirs = said(world.by_peft(quantization, kind), tokens)
        assert (theirs - alone).abs().max() > 1
        with adapter_on(base, folder, known) as model:
            assert model is not base, "nothing is merged into weights that are quantised"
            torch.testing.assert_close(said(model, tokens), theirs, atol=exact, rtol=0)
        plain = plain_lora(folder, base)
        assert (plain is not None) is (kind in PLAIN)
        if plain is not None:
            assert known.holds(banked, plain, folder)
            with banked(base, plain):
                torch.testing.assert_close(said(base, tokens)[rows], theirs[rows], atol=exact, rtol=0)
            engine = Engine(base)
            with sharing.alone_on(engine, plain) as slot, engine.rows_of([slot] * len(tokens)):
                torch.testing.assert_close(said(base, tokens), theirs, atol=exact, rtol=0)
    assert torch.equal(said(base, tokens), alone)
    assert changed(base, since) is None


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("quantization", QUANTISATIONS)
def test_an_evaluator_scores_as_lm_eval_does(
    world: World, quantization: str, dtype: str, quiz: TaskConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several adapters at once where rows do not move one another, else each row by itself, as there.

    Also what is put together and comes to `lora`: with what is added and taken away again, and alone to be routed to.
    """
    monkeypatch.setattr(sharing, "adapters_per_batch", lambda *_: 4)
    store, model = Store(str(tmp_path)), world.quantised(quantization, dtype)
    lora, rslora = (put_adapter(store, world.adapters[kind], kind) for kind in PLAIN)
    made = put_together("sum", [(lora, 1), (rslora, 1), (rslora, -1)]), put_together("arrow", [(lora, 1)], "routed")
    evaluator = Evaluator(model, store, Settings((quiz,), Scoring(), 300 if quantization == "nf4" else 1))
    assert all(done.ok for done in evaluator.score([unit(each) for each in (None, lora, rslora, *made)]))
    rows = sorted(store.items().to_pylist(), key=lambda row: row["doc_id"])
    known = {}
    for kind in (None, *PLAIN):
        with unpacked():
            adapter = None if kind is None else world.adapters[kind]
            known[kind] = by_lm_eval(world.saved(quantization, dtype), Path(str(quiz.include_path)), adapter, dtype)
    for subject, theirs in {**known, **{each.adapter_id: known[lora.adapter_id] for each in made}}.items():
        ours = [row["loglikelihoods"] for row in rows if row["adapter_id"] == subject]
        assert largest(ours, theirs) <= WITHIN.get((quantization, dtype), 1.0)
        chosen = [[max(range(len(one)), key=one.__getitem__) for one in each] for each in (ours, theirs)]
        assert sum(a == b for a, b in zip(*chosen, strict=True)) >= len(theirs) - (dtype != "float32")


@pytest.mark.parametrize("quantization", QUANTISATIONS)
def test_a_folder_that_is_quantised_already_is_read_as_it_is(world: World, quantization: str) -> None:
    one = load_base(world.quantised(quantization))
    other = load_base(replace(model_of(world.saved(quantization)), quantization=quantization))
    assert torch.equal(said(one, tokens_of(one)), said(other, tokens_of(one)))
