"""What a plan will cost: tokens from the model's own tokenizer, device hours from measured throughput or a FLOP model.

FLOPs (Kaplan et al. 2020, eq. 2.2, without the attention term): a forward pass costs 2 per parameter and token;
training LoRA costs 4, since the frozen weights need no gradient of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from orchestrator.plan import Plan
from orchestrator.survey import Survey
from study.cells import Cell, Source
from study.config import Recipe
from study.models import Model
from study.store import Store
from study.tasks import Example

FORWARD_FLOPS, LORA_FLOPS = 2, 4
ASSUMED_FLOPS_PER_S = 0.4 * 989e12  # 40 % of an H100 SXM's dense bf16 peak (NVIDIA H100 data sheet)
ASSUMED = "FLOP model, an H100 at 40 % of its 989 bf16 TFLOP/s"
CHARS_PER_TOKEN = 4.0  # only where a tokenizer cannot be read without loading the model library


@dataclass(frozen=True)
class Cost:
    """What is left for one model. Tokens count a prompt once per option, as the plain path reads them."""

    model: str
    train_tokens: int
    score_tokens: int
    hours: float
    basis: str


def estimate(plan: Plan, survey: Survey, recipe: Recipe, store: Store) -> list[Cost]:
    """Cost of what is left, per model."""
    measured = _measured(store)
    return [_cost(model, plan, survey, recipe, measured.get(model.name, {})) for model in plan.grid.models]


def source_tokens(model: Model, examples: Mapping[Source, Sequence[Example]]) -> dict[Source, int]:
    """Tokens of each source's examples, once through."""
    count = _counter(model)
    return {
        source: sum(count([example.prompt + example.answer for example in rows])) for source, rows in examples.items()
    }


def _cost(model: Model, plan: Plan, survey: Survey, recipe: Recipe, speeds: Mapping[str, float]) -> Cost:
    count = _counter(model)
    per_source = {source: tokens * recipe.epochs for source, tokens in source_tokens(model, survey.examples).items()}
    per_target: dict[Cell, int] = {}
    for cell, texts in survey.target_texts.items():
        per_target[cell] = sum(count(texts))
    train = sum(per_source[unit.source] for unit in plan.train if unit.model == model.name)
    score = sum(per_target[unit.target] for unit in plan.score if unit.model == model.name)
    if speeds.keys() >= {"train", "score"}:
        return Cost(
            model.name,
            train,
            score,
            (train / speeds["train"] + score / speeds["score"]) / 3600,
            "measured in this store",
        )
    flops = model.params * (LORA_FLOPS * train + FORWARD_FLOPS * score)
    return Cost(model.name, train, score, flops / ASSUMED_FLOPS_PER_S / 3600, ASSUMED)


def _measured(store: Store) -> dict[str, dict[str, float]]:
    """Tokens per second and device that this store has seen, by model and kind of work."""
    speeds: dict[str, dict[str, float]] = {}
    table = store.scores(["score_id", "model", "tokens", "seconds", "metric"])
    units = table.group_by(["score_id", "model"]).aggregate([("tokens", "max"), ("seconds", "max")])
    for model in pc.unique(units.column("model")).to_pylist():
        of_model = units.filter(pc.equal(units.column("model"), model))
        seconds = pc.sum(of_model.column("seconds_max")).as_py()
        if seconds:
            speeds.setdefault(model, {})["score"] = pc.sum(of_model.column("tokens_max")).as_py() / seconds
    totals: dict[str, list[float]] = {}
    for record in store.records().values():
        total = totals.setdefault(record["model"], [0.0, 0.0])
        total[0] += record["tokens"]["useful"]
        total[1] += record["seconds"]
    for model, (tokens, seconds) in totals.items():
        if tokens and seconds:
            speeds.setdefault(model, {})["train"] = tokens / seconds
    return speeds


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
