"""Content hashes that name adapters and scores: equal identity means equal result, so nothing is computed twice.

An identity is sha256 over canonical JSON of what decides the result and of nothing else, cut to 16 hex digits.

No store may grow stale by a release that changes no result. So a key that a recipe, an example, a scoring or a
composition did not have at first is left out while it has the value that means "as before" (`AS_BEFORE`). A key of a
section has a line of its own there, as a section is filled with its defaults, or there for another key. An identity
holds what a value comes to, not how it is written. Where a meaning has to change, that enters the identity of the
models or tasks that it touches, and of no others; the two versions below are for what touches all.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Protocol

from study.config import KeepNearBase, Mixing, Recipe, Scoring

AS_BEFORE: dict[str, object] = {  # the value at which results are what they were before
    "model.quantization": None,
    "model.attn_implementation": None,
    "scoring.system_prompt": None,
    "scoring.chat_template_args": None,
    "recipe.validation.split": "floor",
    "recipe.validation.mean": "token",
    "recipe.kind": "lora",
    "recipe.ia3": None,
    "recipe.prompt_tuning": None,
    "recipe.prefix_tuning": None,
    "recipe.lora.start": "own",
    "recipe.lora.init": "default",
    "recipe.lora.lr_ratio": None,
    "recipe.max_steps": None,
    "recipe.score_epochs": "kept",
    "recipe.mixing": Mixing().model_dump(mode="json"),
    "recipe.keep_near_base": KeepNearBase().model_dump(mode="json"),
    "example.bos": True,
    "example.max_length": None,
    "example.truncation": "left",
    "example.format": None,
    "example.append_eos": False,
    "example.objective": "causal",
    "composition.search": None,
}
RECIPE_VERSION = 2  # raise when training maths changes
SCORING_VERSION = 1  # raise when scoring maths changes


def canonical_json(value: object) -> str:
    """Write JSON with sorted keys and no spaces. Raises TypeError for what JSON does not define exactly."""
    _check(value, "$")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: object) -> str:
    """Name a value by 16 hex digits."""
    return _digest(canonical_json(value).encode())


class Names(Protocol):
    """Names an adapter by the fingerprints of its source's examples, one per cell, and a seed.

    And by the adapter_id of that which it begins with, if any.
    """

    def __call__(self, prints: Sequence[str], seed: int, start: str | None = None) -> str: ...


def adapter_ids(model: str, recipe: Recipe, adapts: Sequence[str] = ()) -> Names:
    """Make a function that names adapters of a model by a recipe.

    `model` is the base model's identity; `adapts` are the modules that are trained where they are others than those
    that the first release trained of this model, so that only its adapters grow stale. Where an adapter is kept near
    the base on prompts, their fingerprint comes last. The text that adapters share is made once: a study may have
    100,000.
    """
    beside = 1 if recipe.keep_near_base.kl else 0

    @cache
    def around(cells: int, marks: tuple[str, ...]) -> list[str]:
        of_source = deciding("recipe", recipe.of_source(cells).model_dump(mode="json"))
        named = {"kind": "adapter", "version": RECIPE_VERSION, "model": model, "recipe": of_source}
        adapted = {"adapts": list(adapts)} if adapts else {}
        return _around(canonical_json({**named, **adapted, **{mark: f"@{mark}" for mark in marks}}), marks)

    @lru_cache(1 << 14)  # a source's fingerprints serve all seeds, and a seed all sources
    def text_of(value: tuple[str, ...] | int | str) -> str:
        return canonical_json(list(value) if isinstance(value, tuple) else value)

    def name(prints: Sequence[str], seed: int, start: str | None = None) -> str:
        values = (tuple(prints), seed) if start is None else (tuple(prints), seed, start)
        head, *others = around(min(2, len(prints) - beside), ("examples", "seed", "start")[: len(values)])
        parts = zip(map(text_of, values), others, strict=True)
        return _digest((head + "".join(text + more for text, more in parts)).encode())

    return name


def adapter_id(model: str, examples: Sequence[str], recipe: Recipe, seed: int) -> str:
    """Name an adapter by its base model's identity, the fingerprint of each source cell's examples, recipe and seed."""
    return adapter_ids(model, recipe)(examples, seed)


def target_id(requests: str, scoring: Scoring, own_shots: int = 0) -> str:
    """Name a target as it is scored: by the fingerprint of its data and task definition, and the scoring recipe.

    Of few-shot examples the number in effect counts: `own_shots`, the task's, where the recipe leaves it to the task.
    """
    recipe = deciding("scoring", scoring.model_dump(mode="json", exclude={"limit"}))
    recipe["num_fewshot"] = own_shots if scoring.num_fewshot is None else scoring.num_fewshot
    return digest({"kind": "target", "version": SCORING_VERSION, "requests": requests, "scoring": recipe})


def score_id(subject: str, target: str) -> str:
    """Name a score by its subject, which is an adapter_id or the base model's identity, and its target_id."""
    return digest({"kind": "score", "subject": subject, "target": target})


def deciding(where: str, values: Mapping[str, object]) -> dict[str, object]:
    """Pick the values of a mapping that enter an identity: all but those of later keys that mean "as before".

    `where` is the mapping's own key: `model`, `recipe`, `example`, `scoring` or `composition`.
    """
    kept: dict[str, object] = {}
    for key, value in values.items():
        name = f"{where}.{key}"
        if name in AS_BEFORE and canonical_json(value) == canonical_json(AS_BEFORE[name]):
            continue
        kept[key] = deciding(name, value) if isinstance(value, Mapping) else value
    return kept


def _around(text: str, marks: Sequence[str]) -> list[str]:
    """Cut a JSON text at the places of these keys, each of which has its name behind an @."""
    parts = []
    for mark in marks:
        before, found, text = text.partition(f'"@{mark}"')
        if not found or f'"@{mark}"' in text:
            raise ValueError(f"'@{mark}' cannot be a value of a config")
        parts.append(before)
    return [*parts, text]


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:16]


def _check(value: object, where: str) -> None:
    if value is None or isinstance(value, str | bool | int):
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            raise TypeError(f"{where} is {value}, which has no canonical JSON")
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise TypeError(f"{where} has the key {key!r}: only text can be a key")
            _check(inner, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            _check(inner, f"{where}[{index}]")
    else:
        raise TypeError(f"{where} is a {type(value).__name__}, which cannot be serialised deterministically")
