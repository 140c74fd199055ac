"""What a plan tells of a study's data beside numbers: rows that are left out, trainings too short to learn from."""

from __future__ import annotations

import math
from collections.abc import Iterator

from orchestrator.planning.survey import Survey
from study.config import Recipe
from trainers.data import split


def remarks(found: Survey, recipe: Recipe) -> Iterator[str]:
    """Give a line for each thing that a person should know before the study is run."""
    for (cell, part), count in found.library.hidden.items():
        yield f"{cell}, {part} rows: {count:,} are left out, their labels are hidden"
    for (cell, part), count in found.library.nulls.items():
        if count:
            fix = "fill it, or write {{ column or '' }}"
            yield f"{cell}, {part} rows: {count:,} prompts hold a null as the word None: {fix}"
    short = {}
    for source, examples in found.examples.items():
        learn, _ = split(len(examples), recipe.validation)
        steps = math.ceil(len(learn) / recipe.batch_size) * recipe.epochs
        if steps <= math.ceil(steps * recipe.warmup_ratio):
            short[str(source)] = steps
    if short:
        name, steps = next(iter(short.items()))
        yield (
            f"too short to learn: {len(short):,} sources end within their warm-up, e.g. {name} at step {steps:,}; the "
            "first step changes nothing. Raise recipe.epochs, or lower recipe.batch_size or recipe.warmup_ratio"
        )
