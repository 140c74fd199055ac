"""Every causal model type: is it trained, loaded by PEFT and scored as PEFT and lm-eval do? An outcome for each.

python -m tests.zoo.types OUTCOMES.jsonl [--seconds N] [--types TYPE …]
"""

from __future__ import annotations

import argparse
import gc
import math
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from adapters.bank.bank import for_adapters
from adapters.base.loading import shell_of
from adapters.folders.folder import WEIGHTS_FILE, AdapterWeights, Factors
from adapters.folders.targeting import other_than_first
from evaluators.evaluator import Evaluator, Settings
from study.config import Lora, ModelConfig, Recipe, Scoring, TaskConfig, Training, Validation
from study.data.tasks import TaskLibrary
from study.models.resolve import Model, resolve
from study.store.store import Store
from tests.evaluators.conftest import make_docs, put_adapter, unit_of, write_task
from tests.support import zoo
from tests.support.training import job, shared_worker
from tests.support.yardsticks import CELL, by_hand, by_lm_eval, largest
from tests.zoo.lm_eval import ask_lm_eval
from tests.zoo.outcome import Crashed, Outcome, Refused, part, walk
from trainers.job import Job, Setup, Trained

JOBS = (job("a", count=8), job("b", count=5))
MOVED, SAME = 0.1, 0.01  # of an adapter's largest B; of a matrix' length
TOKENS = torch.arange(20, 60)[None]
RECIPE = Recipe(
    lora=Lora(r=4, alpha=8),
    epochs=2,
    batch_size=4,
    learning_rate=2e-2,
    warmup_ratio=0.0,
    max_length=64,
    validation=Validation(fraction=0.0, keep="last"),
)


def one(kind: str) -> Outcome:
    """All that is asked about a type, on a model of its own in a folder of its own."""
    found = Outcome(kind)
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        _ask(found, kind, Path(scratch))
    found.about["warnings"] = sorted({str(w.message)[:300] for w in warned if "PEFT" in str(w.message)})
    gc.collect()
    return found


def _ask(found: Outcome, kind: str, scratch: Path) -> None:
    made: dict[str, Any] = {}

    def make() -> None:
        zoo.make(kind, scratch / "model")

    def plan() -> None:
        made["model"] = resolve(ModelConfig(id=str(scratch / "model")), "float32", "models[0]")

    def train() -> None:
        made["gang"] = _trained(made["model"], scratch / "trained", JOBS)

    def load() -> float:
        return _by_peft(scratch / "model", made["gang"][0])

    def score(adapter: bool) -> float:
        return _scored(found, made["model"], made["gang"][0] if adapter else None, scratch)

    if not (found.ask("made", make) and found.ask("planned", plan)):
        return
    found.ask("identity", lambda: _is_asked(made["model"]))
    found.ask("base", lambda: score(False))
    if found.ask("trained", train):
        found.ask("gang", lambda: _beside_alone(made["model"], made["gang"], scratch))
        found.ask("loads in PEFT", load)
        found.ask("adapter", lambda: score(True))


def _is_asked(model: Model) -> None:
    """Whether planning asks which modules a model's adapters have where they are others than in the first release."""
    if other_than_first(shell_of(model), "all-linear") and not model.is_mixed:
        raise Crashed("other modules are trained than at first, under the same identity")


def _trained(model: Model, out: Path, jobs: Sequence[Job]) -> list[Path]:
    """The folders of a gang: each must not know of the others."""
    training = Training.model_validate({"deepspeed": {"zero_optimization": {"stage": 0}}})
    worker = shared_worker()
    try:
        results = worker.train(Setup(model, RECIPE, training), jobs, out)
    finally:
        worker.base = None
    for result in results:
        if not isinstance(result, Trained):
            raise Refused(result.message)
    return [result.folder for result in results if isinstance(result, Trained)]


def _beside_alone(model: Model, gang: Sequence[Path], scratch: Path) -> float:
    """The largest difference of log-probabilities between members of a gang and themselves trained alone.

    Rows beside others are added up in another order, and where a gradient is nothing but rounding Adam makes steps of
    it: matrices are held to be the same only where training has moved them.
    """
    base = AutoModelForCausalLM.from_pretrained(model.path, dtype=torch.float32).eval()
    off = []
    for number, (one, member) in enumerate(zip(JOBS, gang, strict=True)):
        [alone] = _trained(model, scratch / f"alone{number}", [one])
        _check_same(load_file(member / WEIGHTS_FILE), load_file(alone / WEIGHTS_FILE))
        off.append(float((_said(base, member) - _said(base, alone)).abs().max()))
    return float("nan") if any(map(math.isnan, off)) else max(off)


def _check_same(beside: dict[str, torch.Tensor], alone: dict[str, torch.Tensor]) -> None:
    if beside.keys() != alone.keys():
        raise Crashed("other modules are trained in a gang than alone")
    size = {name: float(tensor.norm()) for name, tensor in alone.items()}
    least = MOVED * max(length for name, length in size.items() if ".lora_B." in name)
    for name in alone:
        off = float((beside[name] - alone[name]).norm()) / max(size[name], 1e-30)
        if off > SAME and size[name.replace(".lora_A.", ".lora_B.")] >= least:
            raise Crashed(f"in a gang {name} is {off:.2g} of its length from itself alone")


@torch.no_grad()
def _said(base: Any, adapter: Path) -> torch.Tensor:
    """Log-probabilities of a few tokens with an adapter's matrices beside the base's, as in training."""
    tensors = load_file(adapter / WEIGHTS_FILE)
    names = {name.removeprefix("base_model.model.").rpartition(".lora_")[0] for name in tensors}
    scaling = RECIPE.lora.alpha / RECIPE.lora.r if RECIPE.lora else 0.0
    matrices = {
        name: Factors(*(tensors[f"base_model.model.{name}.lora_{half}.weight"] for half in "AB"), scaling)
        for name in names
    }
    bank = for_adapters(base, {0: AdapterWeights(matrices)}, 1, torch.float32)
    with bank.rows([0]):
        said: torch.Tensor = base(input_ids=TOKENS, use_cache=False).logits.log_softmax(-1)
    bank.detach()
    return said


@torch.no_grad()
def _by_peft(model: Path, adapter: Path) -> float:
    """The largest difference of log-probabilities between what was trained and what PEFT makes of its folder."""
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    ours = _said(base, adapter)
    plain = base(input_ids=TOKENS, use_cache=False).logits.log_softmax(-1)
    if torch.allclose(ours, plain, atol=1e-3):
        raise Refused("the adapter changes nothing, so nothing can be compared")
    wrapped = PeftModel.from_pretrained(base, adapter).eval()
    theirs = wrapped(input_ids=TOKENS, use_cache=False).logits.log_softmax(-1)
    return float((ours - theirs).abs().max())


def _scored(found: Outcome, model: Model, adapter: Path | None, scratch: Path) -> float:
    """The largest difference of an option's log-likelihood from lm-eval's."""
    tasks = scratch / "tasks"
    if not tasks.exists():
        write_task(tasks, "quiz_en", make_docs(4, seed=3))
    quiz = TaskConfig(name="quiz", lm_eval="quiz_{language}", include_path=str(tasks))
    store = Store(str(scratch / ("base" if adapter is None else "store")))
    unit = unit_of(CELL, None if adapter is None else put_adapter(store, adapter, "a"))
    (scored,) = Evaluator(model, store, Settings((quiz,), Scoring())).score([unit])
    if not scored.ok:
        raise (Refused if scored.kind == "bad_data" else Crashed)(f"{scored.kind}: {scored.message}")
    found.about["path"] = next(iter(store.scores().to_pylist()))["engine"].split()[0]
    ours = [row["loglikelihoods"] for row in sorted(store.items().to_pylist(), key=lambda row: row["doc_id"])]
    theirs = by_hand(model, TaskLibrary((quiz,), Scoring()), adapter)
    if adapter is not None:
        ask_lm_eval(found, model, quiz, adapter, theirs)
        return largest(ours, theirs)
    try:
        return max(largest(ours, theirs), largest(ours, by_lm_eval(Path(model.path), tasks)))
    except Exception as error:  # noqa: BLE001  # lm-eval's own: then the model is asked alone
        found.about["lm-eval"] = f"{type(error).__name__}: {error}"[:200]
        return largest(ours, theirs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("outcomes", type=Path)
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--part", default="1/1", help="the first of two parts is 1/2")
    parser.add_argument("--types", nargs="*", default=[])
    options = parser.parse_args()
    names = options.types or list(zoo.TYPES)
    done = walk(part(names, options.part), options.outcomes, options.seconds, one)
    print("all" if done else "more to come")


if __name__ == "__main__":
    main()
