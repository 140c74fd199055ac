"""Checks of what a recipe says of its kind of tuning."""

from __future__ import annotations

from study.config import Recipe
from study.errors import ConfigError


def check_recomputing(recipe: Recipe, of: str) -> None:
    """Raise ConfigError where `training.gradient_checkpointing` cannot be: `of` is the recipe's key."""
    if recipe.low_rank is None and not recipe.trains_all:
        problem = f"goes with LoRA, its kin and full fine-tuning, and {of} is {recipe.tuning}"
        key = "training.gradient_checkpointing"
        raise ConfigError(key, True, problem, "set it to false, or lower training.micro_batch_size")


def check_packing(recipe: Recipe, of: str) -> None:
    """Raise ConfigError where `training.packing` cannot be: `of` is the recipe's key."""
    if recipe.kind in ("prompt_tuning", "prefix_tuning"):
        problem = (
            f"{of}.kind is {recipe.kind}, whose vectors stand before each text, and texts of a row would share them"
        )
        raise ConfigError("training.packing", True, problem, "set it to false")


def check_kind(recipe: Recipe, of: str) -> None:
    """Raise ConfigError for keys that the kind does not go by; `of` is the recipe's key."""
    lora = recipe.low_rank
    if lora is None:
        if recipe.kind == "dora":
            raise ConfigError(f"{of}.lora", None, "says how a dora is made", f"set it, or drop {of}.kind")
        return
    if lora.init != "default" and recipe.kind == "dora":
        problem = "cannot be written as an adapter of the unchanged base where magnitudes are trained"
        raise ConfigError(f"{of}.lora.init", lora.init, problem, "drop it, or take kind: lora")
    if lora.init != "default" and lora.start == "shared":
        problem = f"says nothing where init is {lora.init}: all adapters of a base begin alike"
        raise ConfigError(f"{of}.lora.start", lora.start, problem, "drop it")
    if lora.lr_ratio == 1:
        raise ConfigError(f"{of}.lora.lr_ratio", 1, "says nothing: both have one rate then", "drop it, or say another")
