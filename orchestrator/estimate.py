"""What a plan will cost: tokens from the model's own tokenizer, device hours from measured throughput or a FLOP model.

FLOPs (Kaplan et al. 2020, eq. 2.2, without the attention term): a forward pass costs 2 per parameter and token;
training costs 6, and LoRA 4, since the frozen weights need no gradient of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from orchestrator.plan import Plan
from orchestrator.survey import Survey
from study.cells import Source
from study.config import Recipe
from study.models import Model
from study.store import Store
from study.tasks import Example

FORWARD_FLOPS, LORA_FLOPS, FULL_FLOPS = 2, 4, 6
ASSUMED_FLOPS_PER_S = 0.4 * 989e12  # 40 % of an H100 SXM's dense bf16 peak (NVIDIA H100 data sheet)
ASSUMED = "FLOP model, an H100 at 40 % of its 989 bf16 TFLOP/s"
CHARS_PER_TOKEN = 4.0  # only where a tokenizer cannot be read without loading the model library


@dataclass(frozen=True)
class Cost:
    """What is left for one model. Tokens count a prompt once per option and an example once per epoch."""

    model: str
    train_tokens: int
    score_tokens: int
    hours: float
    basis: str


@dataclass(frozen=True)
class Sizes:
    """Tokens of a unit by what it reads, with one model's tokenizer."""

    source: Mapping[str, int]
    target: Mapping[str, int]


def estimate(plan: Plan, survey: Survey, recipe: Recipe, store: Store) -> list[Cost]:
    """Cost of what is left, per model."""
    return [_cost(model, plan, recipe, _sizes(model, survey, recipe), store) for model in plan.grid.models]


def source_tokens(model: Model, examples: Mapping[Source, Sequence[Example]]) -> dict[Source, int]:
    """Tokens of each source's examples, once through."""
    count = _counter(model)
    return {
        source: sum(count([example.prompt + example.answer for example in rows])) for source, rows in examples.items()
    }


def _sizes(model: Model, survey: Survey, recipe: Recipe) -> Sizes:
    count = _counter(model)
    return Sizes(
        {str(source): tokens * recipe.epochs for source, tokens in source_tokens(model, survey.examples).items()},
        {str(cell): sum(count(texts)) for cell, texts in survey.target_texts.items()},
    )


def _cost(model: Model, plan: Plan, recipe: Recipe, sizes: Sizes, store: Store) -> Cost:
    train = sum(sizes.source[str(unit.source)] for unit in plan.train if unit.model == model.name)
    score = sum(sizes.target[str(unit.target)] for unit in plan.score if unit.model == model.name)
    train_s, score_s = _train_seconds(model, sizes, store), _score_seconds(model, sizes, store)
    if (train and train_s is None) or (score and score_s is None):
        learning = FULL_FLOPS if recipe.lora is None else LORA_FLOPS
        flops = model.params * (learning * train + FORWARD_FLOPS * score)
        return Cost(model.name, train, score, flops / ASSUMED_FLOPS_PER_S / 3600, ASSUMED)
    hours = (train * (train_s or 0.0) + score * (score_s or 0.0)) / 3600
    return Cost(model.name, train, score, hours, "the speed measured in this store")


def _train_seconds(model: Model, sizes: Sizes, store: Store) -> float | None:
    """Seconds per token that this store's adapters of the model took; None without one."""
    tokens = seconds = 0.0
    for record in store.records().values():
        size = sizes.source.get("+".join(record["source"]))
        if record["model"] == model.name and size is not None:
            tokens, seconds = tokens + size, seconds + record["seconds"]
    return seconds / tokens if tokens else None


def _score_seconds(model: Model, sizes: Sizes, store: Store) -> float | None:
    """Seconds per token that this store's scores of the model took; None without one."""
    table = store.scores(["score_id", "model", "target_task", "target_language", "seconds"])
    keys = ["score_id", "target_task", "target_language"]
    units = table.filter(pc.equal(table.column("model"), model.name)).group_by(keys).aggregate([("seconds", "max")])
    tokens = seconds = 0.0
    for unit in units.to_pylist():
        size = sizes.target.get(f"{unit['target_task']}/{unit['target_language']}")
        if size is not None:
            tokens, seconds = tokens + size, seconds + unit["seconds_max"]
    return seconds / tokens if tokens else None


def _counter(model: Model) -> Any:
    """A function from texts to token counts."""
    file = _tokenizer_file(model)
    if file is None:
        return lambda texts: [max(1, round(len(text) / CHARS_PER_TOKEN)) for text in texts]
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    return lambda texts: [len(encoding) for encoding in tokenizer.encode_batch(texts)]


def _tokenizer_file(model: Model) -> Path | None:
    if model.revision is None:
        file = Path(model.path) / "tokenizer.json"
        return file if file.exists() else None
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(model.path, "tokenizer.json", revision=model.revision))
    except (EntryNotFoundError, LocalEntryNotFoundError):
        return None
