"""What a plan tells of a study's data beside numbers: rows that are left out, trainings too short to learn from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from adapters.kinds.kind import kind_of
from orchestrator.planning.survey import Survey
from study.cells import Cell, Source
from study.config import Recipe
from study.models.resolve import Model

_NOTHING_TO_LEARN = {"text": "they are empty", "prompt_completion": "their completions are empty"}
_HIDDEN = "their labels are hidden"


def remarks(found: Survey, rows: Mapping[str, int], to_learn: Mapping[str, tuple[Source, Recipe]]) -> Iterator[str]:
    """Give a line for each thing that a person should know before the study is run. `rows` are of `to_learn`."""
    for (cell, part), count in found.library.hidden.items():
        format_ = found.library.train(cell).format if part == "train" else None
        yield f"{cell}, {part} rows: {count:,} are left out, {_NOTHING_TO_LEARN.get(str(format_), _HIDDEN)}"
    for (cell, part), count in found.library.lacking.items():
        if count:
            of = found.library.train(cell).rows_of
            yield f"{cell}, {part} rows: {count:,} of those of {of} are not in its data; it goes without them"
    if found.samples_of_all:
        sample, count = next(iter(found.samples_of_all.items()))
        yield (
            f"{len(found.samples_of_all):,} samples are no less than all rows, e.g. {sample} of {count:,}: "
            "what is trained on all of them stands for these"
        )
    for (cell, part), count in found.library.nulls.items():
        if count:
            fix = "fill it, or write {{ column or '' }}"
            yield f"{cell}, {part} rows: {count:,} prompts hold a null as the word None: {fix}"
    told = (kind_of(recipe).remark for _, recipe in to_learn.values())
    yield from dict.fromkeys(line for line in told if line is not None)
    yield from _set_apart(found)
    short = {}
    for source, count in rows.items():
        recipe = to_learn[source][1]
        steps = math.ceil(count / recipe.batch_size) * recipe.epochs
        steps = min(steps, recipe.max_steps or steps)
        if steps <= math.ceil(steps * recipe.warmup_ratio):
            short[source] = steps
    if short:
        name, steps = next(iter(short.items()))
        yield (
            f"too short to learn: {len(short):,} sources end within their warm-up, e.g. {name} at step {steps:,}; the "
            "first step changes nothing. Raise recipe.epochs, or lower recipe.batch_size or recipe.warmup_ratio"
        )


def _is_left_without_shots(found: Survey, cell: Cell) -> bool:
    """Whether a config asks for few-shot examples of a task that states that it is given none, as lm-eval has it."""
    if cell in found.library.texts or not found.library.scoring(cell).num_fewshot:
        return False
    return not found.library.load(cell).get_config("num_fewshot")


def of_models(models: Sequence[Model], trains: bool) -> Iterator[str]:
    """Give a line for each model whose weights are quantised."""
    for model in models:
        if model.quantization is not None:
            one = "; adapters are trained one at a time" if trains and model.quantization == "int8" else ""
            yield (
                f"{model.name}: linear modules hold {model.quantization}, all weights {model.bytes / 1e9:.3g} GB; "
                f"adapters run beside them, none is merged{one}"
            )


def _set_apart(found: Survey) -> Iterator[str]:
    """What is scored and so not learned from, what is switched, what has no prompts to stay near the base on."""
    for cell, texts in found.library.texts.scored.items():
        if cell in found.targets:
            yield f"{cell}: {len(texts):,} texts are scored, and so are held out of what is learned"
    bare = [str(cell) for cell in found.targets if _is_left_without_shots(found, cell)]
    if bare:
        more = f" and {len(bare) - 3:,} more" if len(bare) > 3 else ""
        fix = "take that out of it, or leave scoring.num_fewshot out"
        yield f"no few-shot examples in {', '.join(bare[:3])}{more}: its YAML file states num_fewshot: 0; {fix}"
    for source, words in found.library.switched().items():
        share = f"{words.switched:,} of {words.words:,} words are switched, of {words.known:,} that the dictionary has"
        yield f"{source}: {share}"
    lacking = [str(cell) for cell, prompts in found.prompts.items() if not prompts.fingerprint]
    if lacking:
        yield f"kept near the base on no prompts of {', '.join(lacking)}: no training data can be read there"
