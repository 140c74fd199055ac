"""Checks of what a recipe says of sources of several cells, and of staying near the base."""

from __future__ import annotations

from study.config import Mixing, Recipe, StudyConfig
from study.config.expansion import cells_used, learned
from study.errors import ConfigError


def check_mixing(mixing: Mixing, of: str) -> None:
    """Raise ConfigError for keys that the order does not go by, or that it lacks; `of` is the recipe's key."""
    for name, example in (("inner_steps", 16), ("outer_rate", 0.5)):
        key, value = f"{of}.mixing.{name}", getattr(mixing, name)
        if mixing.order == "reptile" and value is None:
            raise ConfigError(key, None, "is required where the order is reptile", f"write it, e.g. {example}")
        if mixing.order != "reptile" and value is not None:
            raise ConfigError(key, value, f"says nothing where the order is {mixing.order}", "drop it")
    if mixing.order == "sequential" and mixing.weights != "size":
        problem, fix = "says nothing where the order is sequential: each cell has all its epochs", "drop it"
        raise ConfigError(f"{of}.mixing.weights", mixing.model_dump()["weights"], problem, fix)


def check_near(config: StudyConfig, recipe: Recipe, of: str) -> None:
    """Raise ConfigError where there is no adapter beside the base, or no prompt of another task to stay near it on."""
    near, key = recipe.keep_near_base, f"{of}.keep_near_base"
    if (near.kl or near.l2) and recipe.trains_all:
        name = "kl" if near.kl else "l2"
        problem, fix = "is of an adapter on a base, and all weights are trained", f"set it to 0, or set {of}.lora"
        raise ConfigError(f"{key}.{name}", getattr(near, name), problem, fix)
    if near.l2 and not recipe.is_plain_lora:
        problem = f"is of the product that LoRA adds to a matrix, and {of}.kind is {recipe.kind}"
        raise ConfigError(f"{key}.l2", near.l2, problem, "set it to 0, or use kl")
    if near.kl_batch is not None and not near.kl:
        raise ConfigError(f"{key}.kl_batch", near.kl_batch, "says nothing where kl is 0", "drop it, or set kl")
    tasks = {cell.task for cell in cells_used(config)} - {text.name for text in config.texts}
    for source in learned(config) if near.kl else []:
        if tasks <= {cell.task for cell in source.cells}:
            problem = f"goes by prompts of other tasks, and the study has none beside those of {source}"
            raise ConfigError(f"{key}.kl", near.kl, problem, "add a task, leave that source out, or set kl to 0")
