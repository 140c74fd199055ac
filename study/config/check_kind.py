"""Checks of what a recipe says of its kind of tuning."""

from __future__ import annotations

from study.config import Recipe
from study.errors import ConfigError


def check_kind(recipe: Recipe) -> None:
    """Raise ConfigError for keys that the kind does not go by."""
    lora = recipe.lora
    if lora is None:
        if recipe.kind != "lora":
            raise ConfigError("recipe.lora", None, f"says how a {recipe.kind} is made", "set it, or drop recipe.kind")
        return
    if lora.init != "default" and recipe.kind == "dora":
        problem = "cannot be written as an adapter of the unchanged base where magnitudes are trained"
        raise ConfigError("recipe.lora.init", lora.init, problem, "drop it, or take kind: lora")
    if lora.init != "default" and lora.start == "shared":
        problem = f"says nothing where init is {lora.init}: all adapters of a base begin alike"
        raise ConfigError("recipe.lora.start", lora.start, problem, "drop it")
    if lora.lr_ratio == 1:
        raise ConfigError("recipe.lora.lr_ratio", 1, "says nothing: both have one rate then", "drop it, or say another")
