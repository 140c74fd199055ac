"""By which scores are judged in tests: the model alone, text by text, and lm-eval's `hf` model. Imports no trainer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from adapters.base.loading import tokenizer_in
from evaluators.items.encoder import Encoder, encoder_of
from study.cells import Cell
from study.data.tasks import TaskLibrary
from study.models.resolve import Model
from study.store.layout import TOKENIZER_FILE

CELL = Cell("quiz", "en")
LM_EVALS_WAYS = {  # what it does to a model that has an adapter: a habit of `by_hand`, and how it is told
    "ties": "it ties weights again that the adapter has parted",
    "cuts": "it cuts the vocabulary to the tokenizer's",
}


@torch.no_grad()
def by_hand(model: Model, library: TaskLibrary, adapter: Path | None, habit: str = "") -> list[list[float]]:
    """Log-likelihoods of each document's options by the model itself, text by text; with a `habit` of lm-eval's."""
    running: Any = AutoModelForCausalLM.from_pretrained(model.path, dtype=getattr(torch, model.dtype))
    encoder = encoder_of(model)
    if adapter is not None and (adapter / TOKENIZER_FILE).is_file():
        encoder = Encoder(encoder.model, tokenizer_in(adapter))
        running.resize_token_embeddings(len(encoder.tokenizer))
    if habit == "cuts":
        running.resize_token_embeddings(len(AutoTokenizer.from_pretrained(model.path)))
    running = (running if adapter is None else PeftModel.from_pretrained(running, adapter)).eval()
    if habit == "ties":
        running.tie_weights()
    instances = library.build_requests(CELL)
    found: dict[int, list[float]] = {}
    for instance, request in zip(instances, encoder.requests(instances), strict=True):
        logprobs = (
            running(input_ids=torch.tensor([request.tokens[:-1]]), use_cache=False).logits[0].float().log_softmax(-1)
        )
        wanted = torch.tensor(request.tokens[-request.n_scored :])[:, None]
        found.setdefault(instance.doc_id, []).append(float(logprobs[-request.n_scored :].gather(1, wanted).sum()))
    return [found[doc_id] for doc_id in sorted(found)]


def largest(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> float:
    off = [abs(a - b) for one, other in zip(ours, theirs, strict=True) for a, b in zip(one, other, strict=True)]
    return float("nan") if any(map(math.isnan, off)) else max(off)


def why_lm_eval_differs(
    model: Model, library: TaskLibrary, adapter: Path, theirs: Sequence[Sequence[float]], within: float
) -> str | None:
    """Which of lm-eval's habits gives its numbers; None where none does."""
    for habit, words in LM_EVALS_WAYS.items():
        if largest(by_hand(model, library, adapter, habit), theirs) <= within:
            return words
    return None


def by_lm_eval(model: Path, tasks: Path, adapter: Path | None = None, dtype: str = "float32") -> list[list[float]]:
    """Log-likelihoods of each document's options by lm-eval's `hf` model."""
    from lm_eval import evaluator, simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    evaluator.add_env_info = lambda results: None  # `pip list` each time, longer than most tasks
    peft = None if adapter is None else str(adapter)
    own = peft if adapter is not None and (adapter / TOKENIZER_FILE).is_file() else None
    lm = HFLM(pretrained=str(model), tokenizer=own, peft=peft, dtype=dtype, device="cpu", batch_size=1)
    output = simple_evaluate(
        model=lm,
        tasks=["quiz_en"],
        task_manager=TaskManager(include_path=str(tasks), include_defaults=False),
        num_fewshot=0,
        bootstrap_iters=0,
        log_samples=True,
    )
    samples = sorted(output["samples"]["quiz_en"], key=lambda sample: sample["doc_id"])
    return [[response[0][0] for response in sample["resps"]] for sample in samples]
