"""Recipes as an axis: under each name what is done otherwise than in `recipe`, laid over it mapping by mapping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from study.config.recipe import Recipe
from study.errors import ConfigError

Stated = Mapping[str, Mapping[str, Any]]


def resolved(recipe: Recipe, stated: Stated) -> dict[str | None, Recipe]:
    """What each name comes to; without any, `recipe` alone, which has none. Raises pydantic's ValidationError."""
    if not stated:
        return {None: recipe}
    general = recipe.model_dump(exclude_unset=True)
    return {name: Recipe.model_validate(merged(general, own)) for name, own in stated.items()}


def key_of(name: str | None) -> str:
    """Where a recipe stands in a config."""
    return "recipe" if name is None else f"recipes.{name}"


def merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Lay `own` over `base`, mapping by mapping; lists are replaced."""
    result = {**base, **own}
    for key, value in own.items():
        if isinstance(value, Mapping) and isinstance(before := base.get(key), Mapping):
            result[key] = merged(before, value)
    return result


def check_different(recipes: Mapping[str | None, Recipe]) -> None:
    """Raise ConfigError for two that train equal adapters, whichever of their epochs they score."""
    known: dict[Recipe, str] = {}
    for name, recipe in recipes.items():
        other = known.setdefault(recipe.deciding().model_copy(update={"score_epochs": "kept"}), key_of(name))
        if other != key_of(name):
            raise ConfigError(key_of(name), name, f"comes to the same as {other}", "leave one of the two out")
