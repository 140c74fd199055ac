"""What units will take: from the speed that a store has seen, else from a FLOP model; and what a plan costs.

Seconds are device seconds: a trial of two workers spends two a second. A source or target that a store has results of
is expected to take what it took; another one takes its tokens at the model's speed; another model goes by the
parameters of those measured. Without any measurement FLOPs decide (Kaplan et al. 2020, eq. 2.2, without the attention
term): a forward pass costs 2 per parameter and token; training costs 6, and LoRA 4, since the frozen weights need no
gradient of their own. Parameters are there, and here, those outside the embeddings: these are looked up, and the output
head sees only the positions that predict an answer. Tokens count a prompt once per question, as the engine reads it,
and an example once per epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from orchestrator.grid import Grid
from orchestrator.measured import SCORE, TRAIN, Measured
from orchestrator.plan import Plan
from orchestrator.survey import Survey
from study.cells import Source
from study.config import StudyConfig
from study.errors import ConfigError
from study.models import Model

FLOPS = {TRAIN: 4, SCORE: 2}  # per parameter and token
WHOLE_TRAIN_FLOPS = 6
UTILISATION = 0.4  # of the peak, in training and in scoring: assumed
PEAK_FLOPS = {  # dense bf16 (T4, V100: fp16) by the makers' data sheets; CPU: a core with AVX2 at 3 GHz in float32
    "B200": 2250e12, "H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12, "A10G": 70e12,
    "V100": 125e12, "T4": 65e12, "CPU": 96e9,
}  # fmt: skip
START_S, BYTES_PER_S = 10.0, 1e9  # to import the libraries, and to load weights: assumed
CHARS_PER_TOKEN = 4.0  # only where a tokenizer cannot be read without loading the model library
SAMPLE = 256  # texts of a target that are tokenised; the others are taken to be like them


@dataclass(frozen=True)
class Estimates:
    """Device seconds and tokens by model name: per source to train once, per target (in the grid's order) to score."""

    train_s: Mapping[str, Mapping[str, float]]
    train_tokens: Mapping[str, Mapping[str, int]]
    score_s: Mapping[str, Sequence[float]]
    score_tokens: Mapping[str, Sequence[int]]
    load_s: Mapping[str, float]
    basis: Mapping[str, str]


@dataclass(frozen=True)
class Cost:
    """What is left for one model."""

    model: str
    train_tokens: int
    score_tokens: int
    train_s: float
    score_s: float
    basis: str

    @property
    def hours(self) -> float:
        return (self.train_s + self.score_s) / 3600


def estimate(grid: Grid, survey: Survey, config: StudyConfig, measured: Measured, device: str) -> Estimates:
    """What each unit of the grid takes. `device` is a key of PEAK_FLOPS and counts only where nothing is measured."""
    workers = config.training.workers_per_trial
    result = Estimates({}, {}, {}, {}, {}, {})
    peak = PEAK_FLOPS[device] * (config.training.resources_per_worker.get("CPU", 1.0) if device == "CPU" else 1.0)
    counted: dict[str, tuple[Mapping[str, int], list[int]]] = {}
    for model in grid.models:
        key, count = _counter(model)
        if key not in counted:
            per_target = [_sampled(survey.target_texts[cell], count) for cell in grid.targets]
            counted[key] = _once(survey, count), per_target
        once, per_target = counted[key]
        epochs = config.recipe.epochs
        name = model.name
        result.train_tokens[name] = {source: tokens * epochs for source, tokens in once.items()}  # type: ignore[index]
        result.score_tokens[name] = per_target  # type: ignore[index]
        flops = FLOPS if config.recipe.lora else {**FLOPS, TRAIN: WHOLE_TRAIN_FLOPS}
        body = model.params - model.embedded
        assumed = {stage: flops[stage] * body / (UTILISATION * peak) for stage in flops}
        train, how = measured.rate(TRAIN, name, model.params) or (assumed[TRAIN], None)
        score, also = measured.rate(SCORE, name, model.params) or (assumed[SCORE], None)
        result.train_s[name] = {  # type: ignore[index]
            source: workers * measured.seconds(TRAIN, name, source, tokens * train)
            for source, tokens in result.train_tokens[name].items()
        }
        result.score_s[name] = [  # type: ignore[index]
            measured.seconds(SCORE, name, str(cell), tokens * score)
            for cell, tokens in zip(grid.targets, per_target, strict=True)
        ]
        size = model.params * (4 if model.dtype == "float32" else 2)
        result.load_s[name] = START_S + size / BYTES_PER_S  # type: ignore[index]
        model_of_flops = f"FLOP model, {device} at {UTILISATION:.0%} of {peak / 1e12:.4g} TFLOP/s (assumed)"
        parts = (f"training by {how or model_of_flops}", f"scoring by {also or model_of_flops}")
        result.basis[name] = (how or model_of_flops) if how == also else "; ".join(parts)  # type: ignore[index]
    return result


def costs(plan: Plan, estimates: Estimates) -> list[Cost]:
    """What is left of a plan, by model."""
    result = []
    for model in plan.grid.models:
        name, adapters = model.name, [str(unit.source) for unit in plan.train if unit.model == model.name]
        tokens, seconds = estimates.score_tokens[name], estimates.score_s[name]
        whole = (sum(tokens), sum(seconds))
        score_tokens, score_s = 0, 0.0
        for part in plan.parts:
            if part.model.name == name:
                full = len(part.targets) == len(tokens)
                score_tokens += whole[0] if full else sum(tokens[i] for i in part.targets)
                score_s += whole[1] if full else sum(seconds[i] for i in part.targets)
        train_tokens = sum(estimates.train_tokens[name][source] for source in adapters)
        train_s = sum(estimates.train_s[name][source] for source in adapters)
        result.append(Cost(name, train_tokens, score_tokens, train_s, score_s, estimates.basis[name]))
    return result


def device_name(config: StudyConfig, asked: str | None) -> str:
    """The device to assume: the one asked for, else an H100 where the config asks for GPUs. Raises ConfigError."""
    if asked is None:
        return "H100" if "GPU" in config.training.resources_per_worker else "CPU"
    if asked not in PEAK_FLOPS:
        raise ConfigError("--device", asked, "its speed is not known", f"use one of {', '.join(PEAK_FLOPS)}")
    return asked


def source_tokens(model: Model, survey: Survey) -> dict[Source, int]:
    """Tokens of each source's examples, once through."""
    once = _once(survey, _counter(model)[1])
    return {source: once[str(source)] for source in survey.examples}


def _once(survey: Survey, count: Callable[[list[str]], list[int]]) -> dict[str, int]:
    rows = survey.examples.items()
    return {str(source): sum(count([one.prompt + one.answer for one in examples])) for source, examples in rows}


def _sampled(texts: Sequence[str], count: Callable[[list[str]], list[int]]) -> int:
    """Tokens of all texts, judged by some of them."""
    some = list(texts[:: max(1, len(texts) // SAMPLE)])
    letters = sum(map(len, some))
    return round(sum(count(some)) * (sum(map(len, texts)) / letters if letters else 1.0))


def _counter(model: Model) -> tuple[str, Any]:
    """A function from texts to token counts, and what tells it from that of another tokenizer."""
    file = _tokenizer_file(model)
    if file is None:
        return "", lambda texts: [max(1, round(len(text) / CHARS_PER_TOKEN)) for text in texts]
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    return sha256(file.read_bytes()).hexdigest(), lambda texts: [len(code) for code in tokenizer.encode_batch(texts)]


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
