"""QLoRA, and other kinds of tuning beside quantised weights: as PEFT trains them, step by step, in a gang as alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.base.fingerprint import changed, fingerprint
from study.config import ModelConfig
from study.models.resolve import Model, resolve
from tests.support.quantised import ARCHITECTURES, QUANTISATIONS, make_architecture
from tests.support.training import assert_close, told, weights
from tests.trainers.test_kinds import GANG, by_peft, gang_of, recipe_of, train
from trainers.worker import Worker

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
KINDS = ("lora+", "dora+", "ia3", "prompt tuning", "prefix tuning")
CASES = [
    pytest.param((one, how), kind, marks=[] if one == "llama" or kind == "lora+" else [pytest.mark.long])
    for one in ARCHITECTURES
    for how in QUANTISATIONS
    for kind in KINDS
    if (kind, how) != ("dora+", "int8")  # which PEFT itself does not compute on a CPU
]


@pytest.fixture(scope="module")
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    name, quantization = request.param
    folder = make_architecture(name, tmp_path_factory.mktemp(name))
    found = resolve(ModelConfig(id=str(folder), quantization=quantization), "float32", "models[0]")
    assert found.quantization == quantization
    return found


@pytest.mark.parametrize(("model", "name"), CASES, indirect=["model"])
def test_adapters_beside_quantised_weights_train_as_pefts_modules_do(
    worker: Worker, model: Model, tmp_path: Path, name: str
) -> None:
    recipe, one = recipe_of(name, weight_decay=0.1, max_grad_norm=0.5), GANG[1]
    mine = train(worker, model, tmp_path / "gang", recipe, gang_of(recipe))[one.adapter_id]
    assert worker.base is not None
    since = fingerprint(worker.base.module)
    expected, learned = by_peft(worker, model, one, recipe, tmp_path)
    losses = [epoch["train_loss"] for epoch in told(mine)["epochs"]]
    assert losses == pytest.approx(learned.losses, rel=1e-5)
    assert losses[-1] < losses[0]
    within = 1e-4 if model.quantization == "nf4" else 5e-3  # Adam makes much of rounding where a gradient is near zero
    assert_close(weights(mine), expected, within)
    again = recipe.low_rank is not None  # of the others a base's layers cannot be computed again
    alone = train(worker, model, tmp_path / "alone", recipe, [one], gradient_checkpointing=again)
    assert_close(weights(alone[one.adapter_id]), expected, within)
    assert changed(worker.base.module, since) is None
