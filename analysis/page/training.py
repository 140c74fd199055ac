"""What the adapters of a study are, and how much of what their training read was padding, read off their records."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.reading.study import Study
from study.config import Recipe
from study.config.assumed import assumptions
from study.store.records import AdapterRecord

_SMALL = "a small set of trained weights ({}) put on top of the untouched model, the base"
LORA = _SMALL.format("LoRA")
WHOLE = "here a whole model (full fine-tuning): all weights are trained, and scored in place of the base, the untouched"


def meaning(study: Study) -> str:
    """What “adapter” means in a study."""
    recipes = [Recipe.of_record(record.recipe) for record in _trained(study)]
    if recipes and all(recipe.trains_all for recipe in recipes):
        return WHOLE
    kinds = sorted({recipe.tuning_name for recipe in recipes if not recipe.trains_all})
    return _SMALL.format(", ".join(kinds)) if kinds else LORA


def sentence(study: Study) -> str | None:
    """How many adapters were trained, how, and the share of useful tokens; None where no record says it."""
    records = _trained(study)
    if not records:
        return None
    ways = sorted({_way(Recipe.of_record(record.recipe)) for record in records})
    useful = sum(record.course.tokens.useful for record in records)
    padded = sum(record.course.tokens.padded for record in records)
    return (
        f"{len(records):,} adapters were trained: {'; '.join(ways)}. Training read {useful:,} tokens, which are "
        f"{useful / padded:.0%} of those that went through the model; the others were padding.{_notes(records)}"
    )


def assumed(study: Study) -> str | None:
    """What of the config was a guess; None where nothing is said to be."""
    told = assumptions(study.config)
    return f"Assumed in this study’s config: {'; '.join(told)}." if told else None


def _notes(records: Sequence[AdapterRecord]) -> str:
    """What of the training was not as one might think."""
    left_out = {record.model: ", ".join(record.conditions.left_out) for record in records if record.conditions.left_out}
    told = [f" Of {model}’s modules, {names} were not trained." for model, names in sorted(left_out.items())]
    if nothing := sum(record.course.learned_nothing for record in records):
        told.append(f" {nothing:,} adapters came out as they began: they change nothing, and say nothing of transfer.")
    return "".join(told)


def _way(recipe: Recipe) -> str:
    ends = "" if recipe.max_steps is None else f" but {recipe.max_steps:,} steps at most"
    return f"{recipe.tuning}, {recipe.epochs} epochs{ends}, learning rate {recipe.learning_rate:g}"


def _trained(study: Study) -> list[AdapterRecord]:
    """Records of the current config's adapters; what was trained elsewhere has none."""
    scored = set(study.units["adapter_id"]) if study.records else set()
    return [record for record in study.records if record.adapter_id in scored]
